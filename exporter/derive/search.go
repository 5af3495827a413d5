package derive

import (
	"encoding/binary"
	"slices"
	"sort"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/internal/encoded"
)

// Limits of values.
const (
	leastValue = 8   // bytes of a value, and of a form, that is searched everywhere
	piece      = 256 // a longer value is searched in pieces of this size
	leastWord  = 12  // bytes of a value of letters alone that is searched everywhere
)

// needle is a form of a value that is searched everywhere.
type needle struct {
	form
	rule int32
}

// searcher finds many texts of at least leastValue bytes in one pass. It is immutable after
// finish and safe for concurrent use.
type searcher struct {
	needles []needle
	byText  map[string]int32   // index of each needle
	heads   map[uint64]*bucket // needles by their first 8 bytes
	first   filter             // of these 8 bytes
	inside  filter             // of the 4 bytes at each of the first stride places of a needle
	longest int
	values  map[string]bool // that were added, alone or in a line
	lines   map[string]bool // values, each with the line that holds it
	names   *pseudonyms     // nil if addresses stay
}

// bucket has the needles with the same first 8 bytes. Those of tokens may be most of all needles, so no
// search looks at each.
type bucket struct {
	lengths []int    // of them, longest first, each once
	sorted  []string // their texts
}

// startWith returns the range of the longer texts that begin with a prefix, within sorted[lo:hi].
func (k *bucket) startWith(prefix string, lo, hi int) (int, int) {
	lo += sort.Search(hi-lo, func(i int) bool { return k.sorted[lo+i] > prefix })
	return lo, lo + sort.Search(hi-lo, func(i int) bool { return !strings.HasPrefix(k.sorted[lo+i], prefix) })
}

// open are the needles of a bucket, sorted[lo:hi], whose first bytes were found where data ends.
type open struct {
	k      *bucket
	lo, hi int
	have   int
}

// stride is the distance of the places that find looks at: one of stride places in a row is in the
// first 8 bytes of a needle, with 4 bytes from there.
const stride = leastValue - 4 + 1

// filter reports numbers that are certainly not in a set.
type filter struct {
	bits  []uint64 // one for each hash
	shift uint
}

// newFilter makes a filter for about n numbers.
func newFilter(n int) filter {
	f := filter{shift: 64 - 16}
	for n *= 16; n > 1<<16 && f.shift > 64-27; n /= 2 {
		f.shift--
	}
	f.bits = make([]uint64, 1<<(64-f.shift)/64)
	return f
}

func (f *filter) add(n uint64) {
	h := n * hashHead >> f.shift
	f.bits[h/64] |= 1 << (h % 64)
}

func (f *filter) may(n uint64) bool {
	h := n * hashHead >> f.shift
	return f.bits[h/64]&(1<<(h%64)) != 0
}

func newSearcher() *searcher {
	return &searcher{byText: map[string]int32{}, values: map[string]bool{}, lines: map[string]bool{}}
}

// everywhere reports whether a value is long and odd enough to be searched everywhere; another one
// is replaced only in the messages in which it was found.
func everywhere(value string) bool {
	if len(value) < leastValue {
		return false
	}
	if len(value) >= leastWord {
		return varied(value)
	}
	for i := range len(value) {
		if c := value[i] | 0x20; c < 'a' || c > 'z' {
			return varied(value)
		}
	}
	return false
}

// varied reports whether a value has at least 4 different bytes: runs of zeros or blanks are
// everywhere.
func varied(value string) bool {
	var seen [256]bool
	n := 0
	for i := range len(value) {
		if !seen[value[i]] {
			seen[value[i]] = true
			n++
		}
	}
	return n >= 4
}

// has reports whether a value was added, with the line that holds it.
func (s *searcher) has(value, whole string) bool {
	return s.lines[value+"\x00"+whole] || whole == "" && s.values[value]
}

// add adds a value, and the line that holds it if there is one. It reports whether any of this is new.
func (s *searcher) add(value, whole string, rule int32) bool {
	if s.has(value, whole) {
		return false
	}
	s.values[value], s.lines[value+"\x00"+whole] = true, true
	if plain := encoded.Unescape(value); plain != value && everywhere(plain) {
		s.add(plain, "", rule)
	}
	if len(whole) > 4*piece {
		whole = ""
	}
	for len(value) > 0 {
		part := value
		if len(part) > piece+leastValue {
			part = part[:piece]
		}
		value = value[len(part):]
		if everywhere(part) {
			for _, f := range formsOf(part, whole) {
				s.form(f, rule)
			}
		}
	}
	return true
}

func (s *searcher) form(f form, rule int32) {
	if _, seen := s.byText[f.text]; seen || len(f.text) < leastValue || f.text == f.with {
		return
	}
	s.byText[f.text] = int32(len(s.needles))
	s.needles = append(s.needles, needle{f, rule})
}

// finish makes the tables. It must be called after the last add and before find.
func (s *searcher) finish() {
	s.heads = make(map[uint64]*bucket, len(s.needles))
	s.first, s.inside = newFilter(len(s.needles)), newFilter(stride*len(s.needles))
	s.longest = 0
	for i := range s.needles {
		text := s.needles[i].text
		head := binary.LittleEndian.Uint64([]byte(text[:8]))
		if s.heads[head] == nil {
			s.heads[head] = &bucket{}
		}
		s.heads[head].sorted = append(s.heads[head].sorted, text)
		s.first.add(head)
		for k := range stride {
			s.inside.add(head >> (8 * k) & 0xffffffff)
		}
		s.longest = max(s.longest, len(text)+s.needles[i].post)
	}
	for _, k := range s.heads {
		slices.Sort(k.sorted)
		for _, text := range k.sorted {
			k.lengths = append(k.lengths, len(text))
		}
		slices.Sort(k.lengths)
		k.lengths = slices.Compact(k.lengths)
		slices.Reverse(k.lengths)
	}
}

const hashHead = 0x9E3779B97F4A7C15

// find calls hit for every place in b where a needle begins, in order, with the longest that is
// there.
func (s *searcher) find(b []byte, hit func(at int, n *needle)) {
	if len(s.needles) == 0 {
		return
	}
	for from := 0; ; {
		at, n := s.next(b, from)
		if n == nil {
			return
		}
		hit(at, n)
		from = at + 1
	}
}

// next is the first place in b, from a place on, where a needle begins, and the longest that is there; nil if there
// is none.
func (s *searcher) next(b []byte, from int) (at int, found *needle) {
	inside := s.inside
	for i := from + stride - 1; i+4 <= len(b); i += stride {
		if !inside.may(uint64(binary.LittleEndian.Uint32(b[i:]))) {
			continue
		}
		for k := i - stride + 1; k < min(i+1, len(b)-7); k++ {
			head := binary.LittleEndian.Uint64(b[k:])
			if !s.first.may(head) {
				continue
			}
			s.at(s.heads[head], b[k:], 0, func(n *needle) bool {
				if !n.alone || alone(b, k, k+len(n.text)) {
					found = n
				}
				return found == nil
			})
			if found != nil {
				return k, found
			}
		}
	}
	return len(b), nil
}

// None implements encoded.Values.
func (s *searcher) None() bool { return len(s.needles) == 0 }

// Next implements encoded.Values.
func (s *searcher) Next(b []byte, from int) (f encoded.Found, next int, ok bool) {
	at, n := s.next(b, from)
	if n == nil {
		return f, at, false
	}
	return encoded.Found{From: max(0, at-n.pre), To: min(len(b), at+len(n.text)+n.post), Rule: n.rule}, at + 1, true
}

// at calls each for the needles of a bucket that b begins with and that are longer than least, longest
// first, until it returns false.
func (s *searcher) at(k *bucket, b []byte, least int, each func(n *needle) bool) {
	if k == nil {
		return
	}
	for _, size := range k.lengths {
		if size <= least {
			return
		}
		if size > len(b) {
			continue
		}
		if no, ok := s.byText[string(b[:size])]; ok && !each(&s.needles[no]) {
			return
		}
	}
}

// begins looks at every place from from to to in b: whole gets each needle that is there, cut those that
// b cuts after at least 8 bytes.
func (s *searcher) begins(b []byte, from, to int, whole func(at int, n *needle), cut func(open)) {
	if len(s.needles) == 0 {
		return
	}
	for i := from; i < to && i+8 <= len(b); i++ {
		head := binary.LittleEndian.Uint64(b[i:])
		if !s.first.may(head) { // this saves most look-ups
			continue
		}
		k := s.heads[head]
		if k == nil {
			continue
		}
		s.at(k, b[i:], 0, func(n *needle) bool {
			whole(i, n)
			return true
		})
		if k.lengths[0] > len(b)-i {
			if lo, hi := k.startWith(string(b[i:]), 0, len(k.sorted)); lo < hi {
				cut(open{k, lo, hi, len(b) - i})
			}
		}
	}
}

// grow continues needles with the data that follows: each gets those that end in it. It returns those
// that do not end yet, with more as false if there are none.
func (s *searcher) grow(o open, data []byte, each func(n *needle)) (rest open, more bool) {
	data = data[:min(len(data), o.k.lengths[0]-o.have)]
	b := append([]byte(o.k.sorted[o.lo][:o.have]), data...)
	s.at(o.k, b, o.have, func(n *needle) bool {
		each(n)
		return true
	})
	lo, hi := o.k.startWith(string(b), o.lo, o.hi)
	return open{o.k, lo, hi, len(b)}, lo < hi
}
