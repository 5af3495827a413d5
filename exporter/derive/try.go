package derive

import "github.com/pcapsule/pcapsule/exporter/internal/encoded"

// Try returns a text as a redaction by the policy would leave it: the value of a header if header
// is set, else a text of a content type.
func Try(p Policy, contentType, header, text string) string {
	s := newSearcher()
	t := &target{blank: -1}
	search := p.Search(func(_, value, whole string, _ bool) {
		switch {
		case isBlank(value):
		case everywhere(value):
			s.add(value, whole, 0)
		default:
			t.values = append(t.values, local{value, "", 0})
		}
	})
	if header != "" {
		search.Header(header, text)
	} else {
		search.Text(contentType, text)
	}
	s.finish()
	w := worker{search: s, deep: encoded.Finder{Values: s}, targets: map[int64]*target{0: t}}
	w.packet(&item{bit: bit{payload: []byte(text)}})
	out := []byte(text)
	for _, c := range w.changes {
		copy(out[c.at:], c.with)
	}
	return string(out)
}
