package derive

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unsafe"
)

// TestAlikeNeedles searches for 20,000 tokens that begin with the same bytes, as those of one issuer do, in
// whole and cut at each place. Some tokens are the beginning of others.
func TestAlikeNeedles(t *testing.T) {
	s := newSearcher()
	token := func(i int) string { return fmt.Sprintf("eyJhbGciOiJIUzI1NiJ9.%06d-end", i) }
	for i := range 20_000 {
		s.form(form{text: token(i), with: blank(token(i))}, 0)
	}
	s.form(form{text: token(7) + "ing", with: blank(token(7) + "ing")}, 0)
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

// TestSearchAsOneByOne compares the search with one that tries each needle at each place: with needles that are
// alike, few and many, that begin others, and that are replaced in each way.
func TestSearchAsOneByOne(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	word := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = "ab\x00\xff"[r.IntN(4)]
		}
		return string(b)
	}
	for round := range 200 {
		s := newSearcher()
		known := map[string]form{}
		heads := []string{word(8), word(8), word(8)}
		for range 1 + r.IntN(3*manyAlike) {
			f := form{text: heads[r.IntN(3)][:8-r.IntN(2)] + word(1+r.IntN(6)), pre: r.IntN(2), post: r.IntN(2), packed: r.IntN(2) > 0, masked: r.IntN(2) > 0}
			f.with = []string{strings.Repeat("x", len(f.text)), strings.Repeat("\x00", len(f.text)), strings.Repeat("\x99", len(f.text)), word(len(f.text))}[r.IntN(4)]
			if _, has := known[f.text]; !has && len(f.text) >= leastValue && f.text != f.with {
				known[f.text] = f
			}
			s.form(f, int32(len(f.text)))
		}
		s.finish()
		if len(s.list) != len(known) {
			t.Fatalf("round %d: %d needles, want %d", round, len(s.list), len(known))
		}
		data := word(20)
		for _, h := range heads {
			data += h + word(r.IntN(20))
		}
		for text := range known {
			data += text + word(r.IntN(3))
		}
		var got, want []string
		s.find([]byte(data), func(at int, n *needle) { got = append(got, fmt.Sprintf("%d %q %+v", at, n.rule, n.form)) })
		for i := range data {
			longest := form{}
			for text, f := range known {
				if strings.HasPrefix(data[i:], text) && len(text) > len(longest.text) {
					longest = f
				}
			}
			if longest.text != "" {
				want = append(want, fmt.Sprintf("%d %q %+v", i, int32(len(longest.text)), longest))
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("round %d: found %q, want %q", round, got, want)
		}
	}
}

// TestNeedlesAreSmall: 60,000 calls with a token each must not need gigabytes.
func TestNeedlesAreSmall(t *testing.T) {
	const values = 5000
	s := newSearcher()
	for i := range values {
		sum := sha256.Sum256([]byte{byte(i), byte(i >> 8)})
		token := hex.EncodeToString(sum[:16])
		s.add(token, "Bearer "+token, 0)
	}
	s.finish()
	size := 4*(cap(s.order)+len(s.byText.slots)+len(s.byHead.slots)) + int(unsafe.Sizeof(packed{}))*cap(s.list) + 8*(len(s.first.bits)+len(s.inside.bits))
	for _, p := range s.pieces {
		size += cap(p)
	}
	if each := size / values; each > 2500 || len(s.list) < 10*values {
		t.Errorf("%d bytes for each value of %d, in %d forms", each, 32, len(s.list)/values)
	}
	if kind := reflect.TypeFor[packed](); kind.Size() > 20 {
		t.Errorf("a needle takes %d bytes without its text", kind.Size())
	}
}
