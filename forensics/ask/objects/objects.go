// Package objects lists the files that calls carried, from the table objects.
package objects

import (
	"context"
	"encoding/hex"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// In is the input of list_objects.
type In struct {
	ask.Scope
	Name      string `json:"name,omitempty" jsonschema:"* matches any text"`
	Type      string `json:"type,omitempty" jsonschema:"detected or declared; * matches any text"`
	SHA256    string `json:"sha256,omitempty"`
	Direction string `json:"direction,omitempty" jsonschema:"upload or download"`
}

// Answer is the answer of list_objects.
type Answer struct {
	ask.Frame
	Objects []Object `json:"objects" jsonschema:"by time"`
	Total   int64    `json:"total_objects"`
	Bytes   int64    `json:"total_bytes" jsonschema:"captured bytes of all of them"`
}

// Object is a file that a call carried.
type Object struct {
	ObjectID  string `json:"object_id"`
	CallID    string `json:"call_id" jsonschema:"get_api_call shows it in full"`
	Time      string `json:"time"`
	Src       string `json:"src" jsonschema:"client of the call"`
	Dst       string `json:"dst" jsonschema:"server of the call"`
	Protocol  string `json:"protocol"`
	Direction string `json:"direction" jsonschema:"upload (sent to the server) or download"`
	Name      string `json:"name,omitempty" jsonschema:"in the protocol's own words; text from the traffic"`
	NamedBy   string `json:"named_by,omitempty" jsonschema:"disposition, type, url, path or subject"`
	Declared  string `json:"declared_type,omitempty"`
	Detected  string `json:"detected_type,omitempty" jsonschema:"by content"`
	Size      int64  `json:"size" jsonschema:"captured bytes"`
	SHA256    string `json:"sha256"`
	Complete  bool   `json:"complete"`
	Why       string `json:"why,omitempty" jsonschema:"why it is not complete: gap, cut, range, hole, rewritten, limit, decoding"`
	Packets   string `json:"packets" jsonschema:"file and frames of the call, as Wireshark counts them"`
}

// Question is the question list_objects.
func Question() ask.Question {
	return ask.New("list_objects", "List files seen in transfer", "Files that HTTP, FTP, SMB, NFS and mail carried: name, declared type and type by content, size, SHA-256, completeness, call.", false, Ask).
		Allow("direction", "upload", "download")
}

// Ask answers list_objects.
func Ask(ctx context.Context, c *forensics.Case, in In) (*Answer, error) {
	w, err := in.Read(ctx, c)
	if err != nil {
		return nil, err
	}
	out := &Answer{Objects: []Object{}}
	if out.Frame, err = w.Frame(ctx, c); err != nil {
		return nil, err
	}
	from, args, err := Source(c, w, in)
	if err != nil {
		return nil, err
	}
	sum, err := ask.One[struct {
		N     int64 `json:"n"`
		Bytes int64 `json:"bytes"`
	}](ctx, c, "SELECT count(*) AS n, coalesce(sum(size), 0)::BIGINT AS bytes FROM ("+from+")", args...)
	if err != nil {
		return nil, err
	}
	out.Total, out.Bytes = sum.N, sum.Bytes
	out.Objects, out.Truncated, err = ask.Rows[Object](ctx, c, w.Limit, `SELECT object_id, call_id, make_timestamp_ns(ts_ns) AS time, src, dst, protocol, direction, coalesce(left(name, 300), '') AS name, named_by,
		content_type AS declared_type, detected_type, size, sha256, complete, why, `+terms.Cites(c, "")+` AS packets FROM (`+from+`) ORDER BY ts_ns, call_no, object_id`, args...)
	if err != nil {
		return nil, err
	}
	out.Match(len(out.Objects))
	return out, nil
}

// Source is the SQL for the objects that a window and an input select, with all columns of the table, the
// names of both ends and the direction.
func Source(c *forensics.Case, w *ask.Window, in In) (sql string, args []any, err error) {
	conds := []string{"true"}
	add := func(cond string, values ...any) { conds, args = append(conds, cond), append(args, values...) }
	args = append(args, w.Args...)
	if in.Name != "" {
		add(`name ILIKE ? ESCAPE '\'`, terms.Pattern(in.Name))
	}
	if in.Type != "" {
		p := terms.Pattern(strings.ToLower(in.Type))
		add(`(detected_type LIKE ? ESCAPE '\' OR lower(split_part(content_type, ';', 1)) LIKE ? ESCAPE '\')`, p, p)
	}
	if in.SHA256 != "" {
		if b, err := hex.DecodeString(in.SHA256); err != nil || len(b) != 32 {
			return "", nil, ask.Wrong("sha256", "must be 64 hexadecimal digits, not %q", ask.Clip(in.SHA256, 80))
		}
		add("lower(hex(sha256)) = ?", strings.ToLower(in.SHA256))
	}
	switch in.Direction {
	case "":
	case "upload":
		add("side = 'request'")
	case "download":
		add("side = 'response'")
	}
	key := terms.Key(c, "") + "call_no"
	return `SELECT o.*, k.src, k.dst, CASE side WHEN 'request' THEN 'upload' ELSE 'download' END AS direction
		FROM (SELECT ` + key + `, ` + terms.Who("src_") + ` AS src, ` + terms.Who("dst_") + ` AS dst FROM calls WHERE ` + w.Where + `) k JOIN objects o USING (` + key + `)
		WHERE ` + strings.Join(conds, " AND "), args, nil
}

// Sentence is the answer in one sentence.
func (a *Answer) Sentence() string {
	return plural.Sprintf("%d {file was|files were} seen in transfer, %d {byte|bytes}.", a.Total, a.Bytes)
}
