package redact

import (
	"sort"
	"strings"
)

// maxNested is how deep texts within texts are read: JSON in a JSON string.
const maxNested = 4

// edit replaces a stretch of a text.
type edit struct {
	start, end int
	with       string
}

// task is the masking of one value.
type task struct {
	p     *Policy
	n     int // places masked
	cache [64]struct {
		name string
		says verdict
	}
}

// judge is what the policy says of a name, remembered, since texts repeat their names.
func (t *task) judge(name string) verdict {
	if name == "" || len(name) > maxName {
		return no
	}
	h := uint(len(name))*31 + uint(name[0])*17 + uint(name[len(name)/2])*5 + uint(name[len(name)-1])
	slot := &t.cache[h%uint(len(t.cache))]
	if slot.says != unasked && slot.name == name {
		return slot.says
	}
	v := t.p.keys.judge(name)
	if v != no && t.p.except.judge(name) == yes {
		v = no
	}
	slot.name, slot.says = name, v
	return v
}

// secret says that the value under a name, below the names of path, is to be masked.
func (t *task) secret(path []string, name string) bool {
	switch t.judge(name) {
	case yes:
		return !t.p.except.secret(path, name)
	case depends:
		return t.p.keys.secret(path, name) && !t.p.except.secret(path, name)
	}
	return false
}

// value masks the whole of a value that has a secret name.
func (t *task) value(s string) string {
	if s == "" || s == t.p.mask {
		return s
	}
	t.n++
	return t.p.mask
}

// apply makes the edits, which are in order and do not overlap.
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

// words masks what detectors and patterns find.
func (t *task) words(s string) string {
	if len(s) < 5 {
		return s
	}
	return apply(s, t.hits(s, nil))
}

// hits adds what detectors and patterns find outside the edits that are there already.
func (t *task) hits(s string, have []edit) []edit {
	fixed := len(have)
	add := func(start, end int, with string) {
		i := sort.Search(fixed, func(i int) bool { return have[i].end > start })
		if i < fixed && have[i].start < end {
			return
		}
		t.n++
		have = append(have, edit{start, end, with})
	}
	if t.p.scan.want != 0 {
		t.p.scan.each(s, func(m Match) {
			with := m.Masked
			if t.p.mask != Mask {
				with = strings.Replace(with, Mask, t.p.mask, 1)
			}
			add(m.Start, m.End, with)
		})
	}
	for i := range t.p.patterns {
		q := &t.p.patterns[i]
		if q.need != "" && !strings.Contains(s, q.need) {
			continue
		}
		have = tidy(have)
		fixed = len(have)
		for _, at := range q.re.FindAllStringIndex(s, -1) {
			if at[1] > at[0] {
				add(at[0], at[1], t.p.mask)
			}
		}
	}
	return tidy(have)
}

// tidy puts edits in order and drops those that overlap an earlier one.
func tidy(list []edit) []edit {
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

// text masks a text by what it is.
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
	switch {
	case kind == "sql":
		return t.sql(s)
	case kind == "command":
		return t.command(s)
	case strings.HasPrefix(kind, "multipart/"):
		return t.multipart(contentType, s, depth)
	case first == '{' || first == '[' || first == '"' && strings.Contains(kind, "json"):
		return t.json(s, depth)
	case first == '<':
		return t.xml(s)
	case kind == "application/x-www-form-urlencoded", isForm(head):
		return t.form(s)
	}
	return t.plain(s)
}

// isForm says that a text begins as a form does: a name, an equals sign, and no blank
// before the first ampersand.
func isForm(head string) bool {
	amp := strings.IndexByte(head, '&')
	eq := strings.IndexByte(head, '=')
	return eq > 0 && amp > eq && !strings.ContainsAny(head[:amp], " \t\r\n\"{}:")
}
