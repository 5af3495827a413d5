package redact

import (
	"sort"
	"strings"
)

// maxNested is the highest nesting of texts in texts, such as JSON in a JSON string.
const maxNested = 4

// maxEscapes is the highest number of URL encodings in one another.
const maxEscapes = 3

// edit replaces a part of a text.
type edit struct {
	start, end int
	with       string
}

// task is the masking of one value.
type task struct {
	p    *Policy
	n    int                      // places masked
	seen func(kind, value string) // receives masked values; may be nil

	depth   int // number of base64 runs around the text
	escapes int // number of URL encodings around it

	code   bool // a program: an unquoted value is an expression of it
	strict bool // words are not harmless
}

// byName is the kind of a value that is masked because of its name.
const byName = "name"

// report reports a masked value to seen. kind is that of the detector, the name of the pattern,
// or byName.
func (t *task) report(kind, s string) {
	if t.seen != nil {
		t.seen(kind, s)
	}
}

// judge returns the policy's verdict for a name. It caches verdicts because texts repeat names.
func (t *task) judge(name string) verdict {
	if len(name) < t.p.least && ascii(name) || len(name) > maxName {
		return no
	}
	if v, known := t.p.verdicts.get(name); known {
		return v
	}
	v := no
	if t.p.mayMatch(name) {
		if v = t.p.keys.judge(name); v != no && t.p.except.judge(name) == yes {
			v = no
		}
	} else if strings.ContainsAny(name, "0123456789") {
		return no // times and numbers would evict names that repeat
	}
	t.p.verdicts.put(name, v)
	return v
}

// secret reports whether the value of a name below path must be masked.
func (t *task) secret(path []string, name string) bool {
	switch t.judge(name) {
	case yes:
		return !t.p.except.secret(path, name)
	case depends:
		return t.p.keys.secret(path, name) && !t.p.except.secret(path, name)
	}
	return false
}

// value masks an entire value with a secret name.
func (t *task) value(s string) string {
	if s == "" || s == t.p.mask {
		return s
	}
	t.n++
	t.report(byName, s)
	return t.p.mask
}

// cover counts and reports a value with a secret name, and returns its edit.
func (t *task) cover(s string, start, end int) edit {
	t.n++
	t.report(byName, s[start:end])
	return edit{start, end, t.p.mask}
}

// apply applies edits, which must be sorted and must not overlap.
func apply(s string, edits []edit) string {
	if len(edits) == 0 {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	done := 0
	for _, e := range edits {
		b.WriteString(s[done:e.start])
		b.WriteString(e.with)
		done = e.end
	}
	b.WriteString(s[done:])
	return b.String()
}

// words masks the matches of detectors and patterns.
func (t *task) words(s string) string {
	if len(s) < 5 {
		return s
	}
	return apply(s, t.hits(s, nil))
}

// inside reports whether a range overlaps one of the first edits, which are sorted.
func inside(list []edit, start, end int) bool {
	i := sort.Search(len(list), func(i int) bool { return list[i].end > start })
	return i < len(list) && list[i].start < end
}

// hits adds the matches of detectors and patterns outside the existing edits.
func (t *task) hits(s string, have []edit) []edit {
	fixed := len(have)
	if t.p.scan.want != 0 {
		for m := t.p.scan.open(s, 0); m.End > 0; m = t.p.scan.open(s, m.End) {
			if inside(have[:fixed], m.Start, m.End) {
				continue
			}
			if t.p.mask != Mask {
				m.Masked = strings.Replace(m.Masked, Mask, t.p.mask, 1)
			}
			t.n++
			t.report(m.Kind, s[m.Start:m.End])
			have = append(have, edit{m.Start, m.End, m.Masked})
		}
	}
	have = t.runs(s, tidy(have), t.depth)
	for i := range t.p.patterns {
		q := &t.p.patterns[i]
		if q.need != "" && !strings.Contains(s, q.need) {
			continue
		}
		have = tidy(have)
		fixed = len(have)
		for _, at := range q.re.FindAllStringIndex(s, -1) {
			if at[1] > at[0] && !inside(have[:fixed], at[0], at[1]) {
				t.n++
				t.report(q.kind, s[at[0]:at[1]])
				have = append(have, edit{at[0], at[1], t.p.mask})
			}
		}
	}
	return tidy(have)
}

// tidy sorts edits and removes those that overlap an earlier one.
func tidy(list []edit) []edit {
	if len(list) < 2 {
		return list
	}
	if sort.SliceIsSorted(list, func(i, j int) bool { return list[i].start < list[j].start }) && apart(list) {
		return list
	}
	sort.SliceStable(list, func(i, j int) bool { return list[i].start < list[j].start })
	out := list[:0]
	for _, e := range list {
		if len(out) == 0 || e.start >= out[len(out)-1].end {
			out = append(out, e)
		}
	}
	return out
}

func apart(list []edit) bool {
	for i := 1; i < len(list); i++ {
		if list[i].start < list[i-1].end {
			return false
		}
	}
	return true
}

// text masks a text according to its type.
func (t *task) text(contentType, s string, depth int) string {
	if len(s) < 4 {
		return s
	}
	if depth > maxNested {
		return t.plain(s)
	}
	kind, _, _ := strings.Cut(strings.ToLower(contentType), ";")
	kind = strings.TrimSpace(kind)
	head := strings.TrimLeft(s[:min(len(s), 256)], " \t\r\n\ufeff")
	first := after(head, 0)
	t.code = strings.HasSuffix(kind, "javascript") || strings.HasSuffix(kind, "ecmascript")
	switch comma := csvKinds[kind]; {
	case kind == "sql", kind == "" && isStatement(head):
		return t.sql(s)
	case kind == sqlSummary:
		if at := strings.LastIndex(s, arrow); at >= 0 {
			return t.sql(s[:at]) + t.plain(s[at:])
		}
		return t.sql(s)
	case comma != 0 && first != '<' && first != '{':
		return t.csv(s, comma)
	case kind == "command":
		return t.command(s)
	case strings.HasPrefix(kind, "multipart/"), kind == "" && isMultipart(head):
		return t.multipart(contentType, s, depth)
	case first == '{' || first == '[' || first == '"' && strings.Contains(kind, "json"):
		return t.json(s, depth)
	case first == '<':
		return t.xml(s, depth)
	case kind == "application/x-www-form-urlencoded", isForm(head):
		return t.form(s)
	}
	return t.plain(s)
}

// isStatement reports whether a text is a statement of SQL that has columns and then their values.
func isStatement(head string) bool {
	return len(head) > 12 && strings.EqualFold(head[:12], "insert into ")
}

// isMultipart reports whether a text begins like a multipart form.
func isMultipart(head string) bool {
	line, rest, ok := strings.Cut(head, "\n")
	return ok && strings.HasPrefix(line, "--") && hasFold(rest, "content-disposition:")
}

// isForm reports whether a text begins like a form: a name, an equals sign, and no blank before the
// first ampersand.
func isForm(head string) bool {
	amp := strings.IndexByte(head, '&')
	eq := strings.IndexByte(head, '=')
	return eq > 0 && amp > eq && !strings.ContainsAny(head[:amp], " \t\r\n\"{}:")
}
