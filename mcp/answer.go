package mcp

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/forensics"
)

// coverage is how much of the asked time was recorded.
type coverage struct {
	State string `json:"state" jsonschema:"complete: all of it was recorded; partial: see holes; none: nothing was recorded, so an empty answer says nothing"`
	From  string `json:"from,omitempty" jsonschema:"start of the asked time, RFC 3339"`
	To    string `json:"to,omitempty" jsonschema:"end of the asked time, RFC 3339"`
	Holes []hole `json:"holes,omitempty"`
	More  int64  `json:"more_holes,omitempty" jsonschema:"holes that are not listed"`
}

type hole struct {
	Source  string `json:"source"`
	Reason  string `json:"reason" jsonschema:"filter, policy, drop, restart, retention, redaction, damaged, not_scheduled or not_recorded"`
	From    string `json:"from"`
	To      string `json:"to"`
	Packets int64  `json:"packets,omitempty" jsonschema:"packets known to be lost"`
	Detail  string `json:"detail,omitempty"`
}

// maxHoles is how many holes an answer lists.
const maxHoles = 10

func coverageOf(c forensics.Coverage) coverage {
	out := coverage{State: string(c.State), More: c.More}
	if c.From != 0 {
		out.From = stamp(c.From)
	}
	if c.To != 0 {
		out.To = stamp(c.To)
	}
	for i, h := range c.Holes {
		if i == maxHoles {
			out.More += int64(len(c.Holes) - i)
			break
		}
		out.Holes = append(out.Holes, hole{h.Source, h.Reason, stamp(h.From), stamp(h.To), h.Packets, clip(h.Detail, 200)})
	}
	return out
}

// page is what every list answers beside its rows.
type page struct {
	Coverage  coverage `json:"coverage"`
	Matched   string   `json:"matched" jsonschema:"some, nothing_matched (the time was recorded and nothing fits), or not_recorded (the time was not recorded)"`
	Truncated bool     `json:"truncated" jsonschema:"there are more rows: ask again with cursor"`
	Cursor    string   `json:"next_cursor,omitempty" jsonschema:"give it as cursor, with the same question, for the rows that follow"`
	Now       string   `json:"now,omitempty" jsonschema:"what now() meant: the time of the last packet"`
	Notes     []string `json:"notes,omitempty"`
	Verified  bool     `json:"verified" jsonschema:"every file of the bundles was checked against its hash in this run"`
}

func (s *answerer) page(r *forensics.Result) page {
	p := page{Coverage: coverageOf(r.Coverage), Truncated: r.Truncated, Cursor: r.Next, Notes: r.Notes, Matched: "some", Verified: s.verified()}
	if r.Now != 0 {
		p.Now = stamp(r.Now)
	}
	if len(r.Rows) == 0 {
		p.Matched = "nothing_matched"
		if r.Coverage.State == forensics.None {
			p.Matched = "not_recorded"
		}
	}
	return p
}

// packets writes a citation: ranges of packet numbers, "12-15,20".
func packets(c table.Cites) string {
	var b strings.Builder
	for i, r := range c {
		if i > 0 {
			b.WriteByte(',')
		}
		if i == 40 {
			fmt.Fprintf(&b, "… %d packets in all", c.Count())
			break
		}
		if r.First == r.Last {
			fmt.Fprintf(&b, "%d", r.First)
		} else {
			fmt.Fprintf(&b, "%d-%d", r.First, r.Last)
		}
	}
	return b.String()
}

func citation(r *forensics.Result, i int) string {
	if i >= len(r.Citations) {
		return ""
	}
	return packets(r.Citations[i].Packets)
}

// cellSize is how many bytes of one text an answer has.
func (s *answerer) cellSize() int {
	if s.cell > 0 {
		return s.cell
	}
	return maxCell
}

// value makes a value of a row one for JSON, short enough for a conversation.
func (s *answerer) value(v any) any {
	switch v := v.(type) {
	case string:
		return clip(v, s.cellSize())
	case []byte:
		return clip(hex.EncodeToString(v), s.cellSize())
	case time.Time:
		return v.UTC().Format("2006-01-02T15:04:05.000000000Z")
	case forensics.Decimal:
		return json.Number(v)
	case *big.Int:
		return json.Number(v.String())
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = s.value(v[i])
		}
		return out
	case forensics.Struct:
		out := make(map[string]any, len(v))
		for _, f := range v {
			out[f.Name] = s.value(f.Value)
		}
		return out
	case forensics.Map:
		out := map[string]any{}
		for _, e := range v {
			out[fmt.Sprint(e.Key)] = s.value(e.Value)
		}
		return out
	}
	return v
}

func text(v any) string { s, _ := v.(string); return s }

func number(v any) int64 {
	switch v := v.(type) {
	case int64:
		return v
	case *big.Int:
		return v.Int64()
	}
	return 0
}

func optional(v any) *int64 {
	if n, ok := v.(int64); ok {
		return &n
	}
	return nil
}
