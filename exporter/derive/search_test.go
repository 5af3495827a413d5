package derive

import (
	"fmt"
	"slices"
	"testing"
)

// TestAlikeNeedles searches for 20,000 tokens that begin with the same bytes, as those of one issuer do, in
// whole and cut at each place. Some tokens are the beginning of others.
func TestAlikeNeedles(t *testing.T) {
	s := newSearcher()
	token := func(i int) string { return fmt.Sprintf("eyJhbGciOiJIUzI1NiJ9.%06d-end", i) }
	for i := range 20_000 {
		s.form(form{text: token(i), with: "x"}, 0)
	}
	s.form(form{text: token(7) + "ing", with: "x"}, 0)
	s.finish()
	data := []byte("of " + token(19_999) + " and " + token(7) + "ing " + token(20_000))
	var found []string
	s.find(data, func(at int, n *needle) { found = append(found, fmt.Sprint(at, " ", n.text)) })
	if want := []string{"3 " + token(19_999), "39 " + token(7) + "ing"}; !slices.Equal(found, want) {
		t.Errorf("%q, want %q", found, want)
	}
	text := token(7) + "ing"
	for cut := 8; cut < len(text); cut++ {
		for second := cut + 1; second <= len(text); second++ {
			var got []string
			var begun []open
			s.begins([]byte(text[:cut]), 0, cut, func(_ int, n *needle) { got = append(got, n.text) }, func(o open) { begun = append(begun, o) })
			for _, more := range []string{text[cut:second], text[second:] + " etc."} {
				var still []open
				for _, o := range begun {
					if rest, ok := s.grow(o, []byte(more), func(n *needle) { got = append(got, n.text) }); ok {
						still = append(still, rest)
					}
				}
				begun = still
			}
			slices.Sort(got)
			if want := []string{token(7), text}; !slices.Equal(got, want) || len(begun) > 0 {
				t.Fatalf("cut at %d and %d: %q, %d open, want %q", cut, second, got, len(begun), want)
			}
		}
	}
}
