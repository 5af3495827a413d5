package redact

import "strings"

// printable returns the edits for a text in quoted-printable (RFC 2045 section 6.7), as in a mail: its
// escapes and soft line breaks may be inside a name or a value. It returns nil if the text has none.
func (t *task) printable(s string) (edits []edit) {
	if !strings.Contains(s, "=\n") && !strings.Contains(s, "=\r\n") && !strings.Contains(s, "=3D") && !strings.Contains(s, "=3d") {
		return nil
	}
	plain, at := unprintable(s)
	for _, e := range t.hits(plain, t.assignments(plain)) {
		edits = append(edits, edit{int(at[e.start]), int(at[e.end]), e.with})
	}
	return edits
}

// unprintable decodes quoted-printable. at has the place in s of each byte, and of the end.
func unprintable(s string) (plain string, at []int32) {
	var b strings.Builder
	b.Grow(len(s))
	at = make([]int32, 0, len(s)+1)
	for i := 0; i < len(s); i++ {
		from, c := i, s[i]
		if c == '=' {
			if end := strings.TrimPrefix(s[i+1:], "\r"); after(end, 0) == '\n' {
				i = len(s) - len(end)
				continue
			}
			if i+2 < len(s) {
				if n, ok := hex2(s[i+1], s[i+2]); ok {
					c, i = n, i+2
				}
			}
		}
		b.WriteByte(c)
		at = append(at, int32(from))
	}
	return b.String(), append(at, int32(len(s)))
}

// together are the edits of two sorted lists. One of b does not count if it overlaps one of a.
func together(a, b []edit) []edit {
	if len(a) == 0 {
		return b
	}
	fixed := len(a)
	for _, e := range b {
		if !inside(a[:fixed], e.start, e.end) {
			a = append(a, e)
		}
	}
	return tidy(a)
}
