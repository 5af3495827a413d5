package redact

import (
	"encoding/json"
	"strings"
)

// maxDepth is how deep names are remembered; below it only the last one counts.
const maxDepth = 256

// level is an object or list that is open.
type level struct {
	key    string // under which it stands
	mask   bool   // all below it is masked
	object bool
}

// document is a JSON text being read. It need be neither whole nor right: what cannot be
// a token of JSON is passed over as bare text.
type document struct {
	t     *task
	s     string
	depth int // texts around this one
	edits []edit
	open  []level
	over  int // levels beyond maxDepth
	key   string
	path  []string
}

func (t *task) json(s string, depth int) string {
	d := document{t: t, s: s, depth: depth}
	for i := 0; i < len(s); {
		switch c := s[i]; c {
		case ' ', '\t', '\r', '\n', ':':
			i++
		case ',':
			if n := len(d.open); n == 0 || d.open[n-1].object {
				d.key = ""
			}
			i++
		case '{', '[':
			d.push(c == '{')
			i++
		case '}', ']':
			d.pop()
			i++
		case '"':
			i = d.string(i)
		default:
			i = d.bare(i)
		}
	}
	return apply(s, d.edits)
}

func (d *document) push(object bool) {
	if len(d.open) == maxDepth {
		d.over++
		return
	}
	l := level{key: d.key, mask: d.masked(), object: object}
	d.open = append(d.open, l)
	if object {
		if l.key != "" {
			d.path = append(d.path, l.key)
		}
		d.key = ""
	}
}

func (d *document) pop() {
	d.key = ""
	switch n := len(d.open); {
	case d.over > 0:
		d.over--
	case n > 0:
		l := d.open[n-1]
		d.open = d.open[:n-1]
		if l.object && l.key != "" {
			d.path = d.path[:len(d.path)-1]
		}
		if n > 1 && !d.open[n-2].object {
			d.key = d.open[n-2].key // the next element of the list
		}
	}
}

// masked says that what comes next is to be masked.
func (d *document) masked() bool {
	if n := len(d.open); n > 0 && d.open[n-1].mask {
		return true
	}
	return d.key != "" && d.t.secret(d.path, d.key)
}

// string takes the string at i and answers where it ends.
func (d *document) string(i int) int {
	start, escaped := i+1, false
	end := start
	for {
		at := strings.IndexByte(d.s[end:], '"')
		if at < 0 {
			end = len(d.s) // cut
			escaped = escaped || strings.IndexByte(d.s[start:], '\\') >= 0
			break
		}
		at += end
		slashes := back(d.s[start:at], at-start, at-start, func(c byte) bool { return c == '\\' })
		end = at
		if slashes%2 == 0 {
			escaped = escaped || strings.IndexByte(d.s[start:end], '\\') >= 0
			break
		}
		escaped, end = true, at+1
	}
	text := d.s[start:end]
	next := min(end+1, len(d.s))
	if colon := next + span(d.s, next, len(d.s), isBlank); after(d.s, colon) == ':' && (len(d.open) == 0 || d.open[len(d.open)-1].object) {
		d.key = text
		if escaped {
			d.key = unescape(text)
		}
		return colon + 1
	}
	var out string
	switch {
	case d.masked():
		out = d.t.value(text)
	case escaped:
		out = d.escaped(text)
	case len(text) > 8 && strings.IndexAny(text, "=:&") >= 0:
		out = d.t.inner(text)
	default:
		out = d.t.words(text)
	}
	if out != text {
		d.edits = append(d.edits, edit{start, end, out})
	}
	return next
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// inner is a string that may say names of its own: a URL, a log line, a command.
func (t *task) inner(s string) string {
	if strings.IndexByte(s, '=') >= 0 && (strings.IndexByte(s, '?') >= 0 || isForm(s)) {
		return t.form(s)
	}
	return t.plain(s)
}

// escaped is a string with escapes, searched as it reads and written anew where
// something was found.
func (d *document) escaped(text string) string {
	plain := unescape(text)
	had := d.t.n
	out := d.t.text("", plain, d.depth+1)
	if d.t.n == had {
		return text
	}
	b, err := json.Marshal(out)
	if err != nil {
		return d.t.p.mask
	}
	return string(b[1 : len(b)-1])
}

// unescape reads a string; one that is cut loses what is left of its last escape.
func unescape(text string) string {
	if len(text) > 16<<20 {
		return text
	}
	for range 8 {
		var plain string
		if json.Unmarshal([]byte(`"`+strings.NewReplacer("\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(text)+`"`), &plain) == nil {
			return plain
		}
		at := strings.LastIndexByte(text, '\\')
		if at < len(text)-12 || at < 0 {
			break
		}
		text = text[:at]
	}
	return text
}

// bare takes a number, a word, or what should not be there.
func (d *document) bare(i int) int {
	end := i
	for end < len(d.s) && strings.IndexByte(" \t\r\n,:{}[]\"", d.s[end]) < 0 {
		end++
	}
	if end == i {
		return i + 1
	}
	text := d.s[i:end]
	if text == "null" || text == d.t.p.mask {
		return end
	}
	if d.masked() {
		d.t.n++
		d.edits = append(d.edits, edit{i, end, `"` + d.t.p.mask + `"`})
		return end
	}
	if out := d.t.bareWord(text); out != text {
		d.edits = append(d.edits, edit{i, end, `"` + out + `"`})
	}
	return end
}

func (t *task) bareWord(s string) string {
	if len(s) < 9 {
		return s
	}
	if strings.IndexByte(s, '=') >= 0 {
		return t.plain(s)
	}
	return t.words(s)
}
