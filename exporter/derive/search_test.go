package derive

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/internal/encoded"
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
	if each := taken(s) / values; each > 1300 || len(s.list) < 10*values {
		t.Errorf("%d bytes for each value of %d, in %d forms", each, 32, len(s.list)/values)
	}
	if kind := reflect.TypeFor[packed](); kind.Size() > 12 {
		t.Errorf("a needle takes %d bytes without its text", kind.Size())
	}
}

// TestValuesAsTheirForms compares a searcher of values with one that tries each form of each: values that begin, hold
// and repeat others, or are another's encoding, of all sizes and kinds of bytes.
func TestValuesAsTheirForms(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	letters := []string{"ab1-", "0123456789abcdef", "pä%ß<\"\\/+", "Zx9.", "\x00\x01\xfe\xffk"}
	word := func(n int) string {
		set := []rune(letters[r.IntN(len(letters))])
		if r.IntN(8) == 0 {
			n *= 40
		}
		var b strings.Builder
		for range n {
			b.WriteRune(set[r.IntN(len(set))])
		}
		return b.String()
	}
	for round := range 60 {
		s := newSearcher()
		known := map[string]form{}
		var values []string
		for range 1 + r.IntN(12) {
			v := word(8 + r.IntN(20))
			if len(values) > 0 {
				switch old := values[r.IntN(len(values))]; r.IntN(6) {
				case 0:
					v = old + v
				case 1:
					v = old[:len(old)/2]
				case 2:
					v = hex.EncodeToString([]byte(old))
				case 3:
					v = string(wideLittle.append(nil, old))
				}
			}
			values = append(values, v)
			whole := []string{"", "key: " + v}[r.IntN(2)]
			for part := v; s.limit > 0 && len(part) <= piece && everywhere(part) && !s.has(v, whole); part = "" {
				for _, f := range formsOf(part, whole) {
					if _, has := known[f.text]; !has && len(f.text) >= leastValue && f.text != f.with {
						f.code, f.base = asIs, ""
						known[f.text] = f
					}
				}
			}
			if len(v) <= piece && encoded.Unescape(v) == v {
				s.add(v, whole, 1)
			} else {
				clear(known)
				s, values = newSearcher(), nil
			}
		}
		s.finish()
		if len(s.list) != len(known) {
			t.Fatalf("round %d: %d needles, want %d", round, len(s.list), len(known))
		}
		for text, f := range known {
			no, _ := s.lookUp(text)
			if no == 0 {
				t.Fatalf("round %d: no needle %q", round, text)
			}
			if got := s.get(no - 1).form; got != f {
				t.Fatalf("round %d: %+v, want %+v", round, got, f)
			}
			longest := ""
			for other := range known {
				if strings.HasPrefix(text, other) && len(other) > len(longest) {
					longest = other
				}
			}
			at, n := s.next([]byte(text), 0)
			if n == nil || at != 0 || n.text != longest && !known[longest].alone {
				t.Fatalf("round %d: in %q at %d %+v", round, text, at, n)
			}
		}
		for i := 1; i < len(s.order); i++ {
			var a, b room
			if string(s.text(s.order[i-1], &a)) >= string(s.text(s.order[i], &b)) {
				t.Fatalf("round %d: %d needles are not in order", round, len(s.order))
			}
		}
	}
}

// TestValuesFit: what the limit counts is what the tables take, and a value too many is an error.
func TestValuesFit(t *testing.T) {
	s := newSearcher()
	for i := range 20_000 {
		sum := sha256.Sum256([]byte{byte(i), byte(i >> 8)})
		s.add(hex.EncodeToString(sum[:16]), "", 0)
	}
	s.finish()
	if size := s.size(); size < taken(s)*9/10 || size > taken(s)*3/2 {
		t.Errorf("%d bytes are counted, %d are taken", size, taken(s))
	}
	s.limit = s.size()
	if err := s.fits(); err != nil {
		t.Error(err)
	}
	s.limit--
	if err := s.fits(); !errors.Is(err, ErrMemory) {
		t.Errorf("the error is %v", err)
	}
}

// taken is how many bytes a searcher takes.
func taken(s *searcher) (size int64) {
	for _, p := range s.pieces {
		size += int64(cap(p))
	}
	size += int64(4*(cap(s.order)+len(s.byText.slots)+len(s.byHead.slots)) + int(unsafe.Sizeof(packed{}))*cap(s.list))
	return size + int64(8*(len(s.first.bits)+len(s.inside.bits))) + int64(len(s.values)+len(s.lines))*eachHash
}
