package ask

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/redact"
)

// Limits of texts in answers.
const (
	aroundText = 120      // bytes of text on each side of a find
	saidText   = 300      // bytes of what an answer said
	maskedText = 64 << 10 // bytes that are read and masked before an excerpt is cut out of them
)

// masked is a text from the traffic with secrets masked, in one line of at most most bytes.
func masked(p *redact.Policy, contentType, s string, most int) string {
	if len(s) > maskedText {
		s = strings.ToValidUTF8(s[:maskedText], "")
	}
	s, _ = p.Text(contentType, s)
	return clip(strings.TrimSpace(oneLine(s)), most)
}

// oneLine makes white space within a text single blanks.
func oneLine(s string) string {
	if !strings.ContainsAny(s, "\n\r\t") {
		return s
	}
	return strings.Join(strings.Fields(s), " ")
}

// said is what the answer of a call said.
type said struct {
	Bundle int64  `json:"bundle"`
	No     int64  `json:"call_no"`
	Hash   string `json:"hash"`
	Type   string `json:"type"`
	Words  string `json:"words"`
}

// answers reads what the answers of calls said: the error where a protocol has one, else
// the body. Credentials are masked.
func answers(ctx context.Context, c *forensics.Case, keys []rowKey) (map[rowKey]string, error) {
	out := map[rowKey]string{}
	if len(keys) == 0 {
		return out, nil
	}
	var list []said
	err := byRuns(c, keys, func(where, nos string) error {
		some, _, err := readRows[said](ctx, c, maxLoaded, "SELECT "+bundleOf(c, "k.")+`, k.call_no, coalesce(k.response_body_sha256, ''::BLOB) AS hash, coalesce(k.response_content_type, '') AS type,
		coalesce(k.postgresql_error_severity || ': ' || k.postgresql_error_message, k.redis_error, k.grpc_message, array_to_string(k.tls_alerts, ', '), '') AS words
		FROM calls_raw k WHERE `+where, nos)
		list = append(list, some...)
		return err
	})
	if err != nil {
		return nil, err
	}
	wanted := map[rowKey]bool{}
	for _, key := range keys {
		wanted[key] = true
	}
	var hashes []string
	for _, s := range list {
		if s.Hash != "" && s.Words == "" && wanted[rowKey{s.Bundle, s.No}] && !slices.Contains(hashes, s.Hash) {
			hashes = append(hashes, s.Hash)
		}
	}
	bodies, err := bodyTexts(ctx, c, hashes, maskedText)
	if err != nil {
		return nil, err
	}
	for _, s := range list {
		text := s.Words
		if text == "" {
			text = bodies[s.Hash]
		}
		if key := (rowKey{s.Bundle, s.No}); text != "" && wanted[key] {
			out[key] = masked(c.Policy(), s.Type, text, saidText)
		}
	}
	return out, nil
}

// bodyTexts reads the first part of bodies that are text, at most most bytes of each.
func bodyTexts(ctx context.Context, c *forensics.Case, hashes []string, most int) (map[string]string, error) {
	type body struct {
		Hash string `json:"sha256"`
		Text string `json:"text"`
	}
	out := map[string]string{}
	for len(hashes) > 0 {
		some := hashes[:min(len(hashes), 500)]
		hashes = hashes[len(some):]
		var list []string
		for _, h := range some {
			if len(h) == 64 && strings.Trim(h, "0123456789abcdef") == "" {
				list = append(list, "unhex('"+h+"')")
			}
		}
		if len(list) == 0 {
			continue
		}
		rows, _, err := readRows[body](ctx, c, len(list), fmt.Sprintf(`SELECT sha256, min(left(text, %d)) AS text FROM bodies_raw WHERE sha256 IN (%s) AND part = 0 AND text IS NOT NULL GROUP BY 1 ORDER BY 1`, most, strings.Join(list, ", ")))
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			out[r.Hash] = r.Text
		}
	}
	return out, nil
}

// excerpt is the text around a find, and where in a JSON text it stands.
func excerpt(p *redact.Policy, contentType, text string, n *needle) (cutout, path string) {
	text, _ = p.Text(contentType, text)
	at := n.find(text)
	if at == nil {
		return clip(oneLine(text), aroundText) + " [what was found is masked or further down]", ""
	}
	from, to := max(0, at[0]-aroundText), min(len(text), at[1]+aroundText)
	for from > 0 && !utf8.RuneStart(text[from]) {
		from--
	}
	for to < len(text) && !utf8.RuneStart(text[to]) {
		to++
	}
	cutout = oneLine(text[from:to])
	if from > 0 {
		cutout = "…" + cutout
	}
	if to < len(text) {
		cutout += "…"
	}
	if strings.HasPrefix(strings.TrimLeft(text, " \t\r\n"), "{") || strings.HasPrefix(text, "[") {
		path = jsonPath(text, n)
	}
	return cutout, path
}

// jsonPath is where in a JSON text the first value or key stands that holds the needle.
func jsonPath(text string, n *needle) string {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	type level struct {
		array bool
		index int
		key   string
		want  bool // a key comes next
	}
	var at []level
	where := func() string {
		b := strings.Builder{}
		b.WriteByte('$')
		for _, l := range at {
			if l.array {
				b.WriteString("[" + strconv.Itoa(l.index) + "]")
			} else {
				b.WriteString("." + l.key)
			}
		}
		return clip(b.String(), 200)
	}
	next := func() {
		if len(at) > 0 {
			if l := &at[len(at)-1]; l.array {
				l.index++
			} else {
				l.want = true
			}
		}
	}
	for {
		t, err := d.Token()
		if err != nil || len(at) > 200 {
			return ""
		}
		switch t := t.(type) {
		case json.Delim:
			switch t {
			case '{':
				at = append(at, level{want: true})
			case '[':
				at = append(at, level{array: true})
			default:
				at = at[:len(at)-1]
				next()
			}
		case string:
			if l := len(at) - 1; l >= 0 && at[l].want {
				at[l].key, at[l].want = t, false
				if n.find(t) != nil {
					return where()
				}
				continue
			}
			if n.find(t) != nil {
				return where()
			}
			next()
		default:
			if t != nil && n.find(fmt.Sprint(t)) != nil {
				return where()
			}
			next()
		}
	}
}

// within cuts a list where its JSON would pass most bytes, and says whether it did.
func within[T any](list []T, most int) ([]T, bool) {
	for i := range list {
		text, err := json.Marshal(list[i])
		if most -= len(text) + 1; err != nil || most < 0 && i > 0 {
			return list[:i], true
		}
	}
	return list, false
}
