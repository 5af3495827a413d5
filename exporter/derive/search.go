package derive

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"slices"

	"github.com/pcapsule/pcapsule/exporter/internal/encoded"
)

// Limits of values.
const (
	leastValue = 8   // bytes of a value, and of a form, that is searched everywhere
	piece      = 256 // a longer value is searched in pieces of this size
	leastWord  = 12  // bytes of a value of letters alone that is searched everywhere
)

// searcher finds many texts of at least leastValue bytes in one pass. It is immutable after
// finish and safe for concurrent use.
type searcher struct {
	needles
	first  filter      // of the first 8 bytes of needles
	inside filter      // of the 4 bytes at each of the first stride places of a needle
	reach  int         // bytes of the longest needle, with what shares bits with it
	values set         // that were added, alone or in a line
	lines  set         // values, each with the line that holds it
	names  *pseudonyms // nil if addresses stay
	limit  int64       // bytes of all
}

// Bytes that the limit counts: those of a needle are in list, which grows by a quarter, in order, and in tables and
// filters, half of whose places may be free.
const (
	eachNeedle = 44
	eachHash   = 32
)

// size is about how many bytes all takes.
func (s *searcher) size() int64 {
	return int64(len(s.pieces))<<pieceBits + int64(len(s.list))*eachNeedle + int64(len(s.values)+len(s.lines))*eachHash
}

// ErrMemory means that there are too many values for the memory limit.
var ErrMemory = errors.New("too many different values for the memory limit")

// fits fails with ErrMemory if the values take more than the limit.
func (s *searcher) fits() error {
	if s.size() <= s.limit {
		return nil
	}
	return fmt.Errorf("%w: %d of them, in all their encodings, take more than %d MB", ErrMemory, len(s.values), s.limit>>20)
}

// set has the hashes of texts: 64 bits with a secret seed, so that nobody can choose two that are equal.
type set map[uint64]struct{}

// open are needles that are alike, at these places in order, whose first bytes were found where data ends.
type open struct {
	alike
	from, to int
	have     int
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
	return &searcher{needles: newNeedles(), values: set{}, lines: set{}, limit: math.MaxInt64}
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

// knows reports whether a value was added.
func (s *searcher) knows(value string) bool {
	_, ok := s.values[maphash.String(s.seed, value)]
	return ok
}

// has reports whether a value was added, with the line that holds it.
func (s *searcher) has(value, whole string) bool {
	if whole == "" {
		return s.knows(value)
	}
	_, ok := s.lines[s.line(value, whole)]
	return ok
}

// line is the hash of a value with the line that holds it.
func (s *searcher) line(value, whole string) uint64 {
	return maphash.Comparable(s.seed, brief{value, whole})
}

// add adds a value, and the line that holds it if there is one. It reports whether any of this is new.
func (s *searcher) add(value, whole string, rule int32) bool {
	if s.has(value, whole) {
		return false
	}
	s.values[maphash.String(s.seed, value)] = struct{}{}
	if whole != "" {
		s.lines[s.line(value, whole)] = struct{}{}
	}
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
	if len(f.text) < leastValue || f.text == f.with {
		return
	}
	s.put(f, rule)
}

// finish makes the tables. It must be called after the last add and before find.
func (s *searcher) finish() {
	if len(s.order) == len(s.list) {
		return // nothing is new
	}
	s.sort()
	s.first, s.inside = newFilter(len(s.list)), newFilter(stride*len(s.list))
	s.reach = 0
	for no := range s.list {
		head := s.head(uint32(no))
		s.first.add(head)
		for k := range stride {
			s.inside.add(head >> (8 * k) & 0xffffffff)
		}
		_, post := s.list[no].shared()
		s.reach = max(s.reach, int(s.list[no].size)+post)
	}
}

const hashHead = 0x9E3779B97F4A7C15

// find calls hit for every place in b where a needle begins, in order, with the longest that is
// there.
func (s *searcher) find(b []byte, hit func(at int, n *needle)) {
	if s.None() {
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
			r, ok := s.alike(head)
			if !ok {
				continue
			}
			s.at(r, b[k:], 0, func(n needle) bool {
				if !n.alone || alone(b, k, k+len(n.text)) {
					found = &n
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
func (s *searcher) None() bool { return len(s.list) == 0 }

// Next implements encoded.Values.
func (s *searcher) Next(b []byte, from int) (f encoded.Found, next int, ok bool) {
	at, n := s.next(b, from)
	if n == nil {
		return f, at, false
	}
	return encoded.Found{From: max(0, at-n.pre), To: min(len(b), at+len(n.text)+n.post), Rule: n.rule}, at + 1, true
}

// begins looks at every place from from to to in b: whole gets each needle that is there, cut those that
// b cuts after at least 8 bytes.
func (s *searcher) begins(b []byte, from, to int, whole func(at int, n *needle), cut func(open)) {
	if s.None() {
		return
	}
	for i := from; i < to && i+8 <= len(b); i++ {
		head := binary.LittleEndian.Uint64(b[i:])
		if !s.first.may(head) { // this saves most look-ups
			continue
		}
		r, ok := s.alike(head)
		if !ok {
			continue
		}
		s.at(r, b[i:], 0, func(n needle) bool {
			whole(i, &n)
			return true
		})
		if s.longest(r) > len(b)-i {
			if lo, hi := s.startWith(string(b[i:]), r.lo, r.hi); lo < hi {
				cut(open{r, lo, hi, len(b) - i})
			}
		}
	}
}

// grow continues needles with the data that follows: each gets those that end in it. It returns those
// that do not end yet, with more as false if there are none.
func (s *searcher) grow(o open, data []byte, each func(n *needle)) (rest open, more bool) {
	data = data[:min(len(data), s.longest(o.alike)-o.have)]
	var r room
	b := append(slices.Clone(s.text(s.order[o.from], &r)[:o.have]), data...)
	s.at(o.alike, b, o.have, func(n needle) bool {
		each(&n)
		return true
	})
	lo, hi := s.startWith(string(b), o.from, o.to)
	return open{o.alike, lo, hi, len(b)}, lo < hi
}
