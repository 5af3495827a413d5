package derive

import (
	"encoding/binary"
	"sort"
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
	heads   map[uint64][]int32 // needles by their first 8 bytes, longest first
	seen    map[string]bool
	first   filter // of these 8 bytes
	inside  filter // of the 4 bytes at each of the first stride places of a needle
	longest int
	values  map[string]bool
	names   *pseudonyms // nil if addresses stay
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
	return &searcher{heads: map[uint64][]int32{}, seen: map[string]bool{}, values: map[string]bool{}}
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

// add adds a value. It reports whether the value is new.
func (s *searcher) add(value, whole string, rule int32) bool {
	key := value + "\x00" + whole
	if s.values[key] {
		return false
	}
	s.values[key] = true
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
	if len(f.text) < leastValue || s.seen[f.text] || f.text == f.with {
		return
	}
	s.seen[f.text] = true
	s.needles = append(s.needles, needle{f, rule})
}

// finish makes the tables. It must be called after the last add and before find.
func (s *searcher) finish() {
	s.heads = make(map[uint64][]int32, len(s.needles))
	s.first, s.inside = newFilter(len(s.needles)), newFilter(stride*len(s.needles))
	s.longest = 0
	for i := range s.needles {
		text := s.needles[i].text
		head := binary.LittleEndian.Uint64([]byte(text[:8]))
		s.heads[head] = append(s.heads[head], int32(i))
		s.first.add(head)
		for k := range stride {
			s.inside.add(head >> (8 * k) & 0xffffffff)
		}
		s.longest = max(s.longest, len(text)+s.needles[i].post)
	}
	for _, list := range s.heads {
		sort.Slice(list, func(a, b int) bool { return len(s.needles[list[a]].text) > len(s.needles[list[b]].text) })
	}
}

const hashHead = 0x9E3779B97F4A7C15

// find calls hit for every place in b where a needle begins, in order, with the longest that is
// there.
func (s *searcher) find(b []byte, hit func(at int, n *needle)) {
	if len(s.needles) == 0 {
		return
	}
	inside := s.inside
	for i := stride - 1; i+4 <= len(b); i += stride {
		if inside.may(uint64(binary.LittleEndian.Uint32(b[i:]))) {
			s.findAt(b, i-stride+1, min(i+1, len(b)-7), hit)
		}
	}
}

// findAt is find for needles that begin in b[from:to].
func (s *searcher) findAt(b []byte, from, to int, hit func(at int, n *needle)) {
	for i := from; i < to; i++ {
		head := binary.LittleEndian.Uint64(b[i:])
		if !s.first.may(head) {
			continue
		}
		for _, k := range s.heads[head] {
			if n := &s.needles[k]; len(n.text) <= len(b)-i && string(b[i:i+len(n.text)]) == n.text && (!n.alone || alone(b, i, i+len(n.text))) {
				hit(i, n)
				break
			}
		}
	}
}

// begins calls may for every place from from to to in b where a needle begins that is there, or
// that b cuts after at least 8 bytes.
func (s *searcher) begins(b []byte, from, to int, may func(at int, n *needle)) {
	if len(s.needles) == 0 {
		return
	}
	for i := from; i < to && i+8 <= len(b); i++ {
		head := binary.LittleEndian.Uint64(b[i:])
		if !s.first.may(head) {
			continue
		}
		for _, k := range s.heads[head] {
			n := &s.needles[k]
			if size := min(len(n.text), len(b)-i); n.text[:size] == string(b[i:i+size]) {
				may(i, n)
			}
		}
	}
}
