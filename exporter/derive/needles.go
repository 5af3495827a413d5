package derive

import (
	"cmp"
	"encoding/binary"
	"hash/maphash"
	"slices"
	"sort"
	"strings"
	"unsafe"
)

// needle is a form of a value that is searched everywhere.
type needle struct {
	form
	rule int32
}

// needles are the texts for which a searcher looks. There are millions if each call has a token of its own, so they
// have no pointers: the garbage collector walks over none, and each takes its text and about 30 bytes.
type needles struct {
	seed   maphash.Seed
	pieces [][]byte // of texts
	list   []packed
	byText table32 // numbers in list, by the hash of the text

	// Made by sort:
	order  []uint32 // numbers in list, by text
	byHead table32  // places in order where others begin, by the first 8 bytes
	many   map[uint32]alike
}

// packed is a needle.
type packed struct {
	at, size  uint32 // of its text in pieces
	rule      int32
	pre, post uint8
	fill      uint8 // character that replaces each byte; 0: the bytes after its text do
	flags     uint8
}

// Flags of packed.
const (
	isPacked = 1 << iota
	isAlone
	isMasked
)

// A text begins at a multiple of 4 in a piece, so that 32 bits are enough for 16 GiB.
const (
	pieceBits = 20
	alignBits = 2
)

// manyAlike is how many needles are looked at one by one.
const manyAlike = 16

// alike are the needles with the same first 8 bytes: places in order.
type alike struct {
	lo, hi  int
	lengths []int // of more than manyAlike, longest first, each once; those of tokens may be most of all needles
}

// table32 is a hash table of numbers: 0 is an empty slot.
type table32 struct {
	slots []uint32
	shift uint
	used  int
}

// newTable makes a table that n numbers fill to three quarters at most.
func newTable(n int) table32 {
	t := table32{shift: 64 - 4}
	for 1<<(64-t.shift)*3/4 < n {
		t.shift--
	}
	t.slots = make([]uint32, 1<<(64-t.shift))
	return t
}

// find returns the first number after the hash of which is accepts it, and its slot, or 0 and the slot for it.
func (t *table32) find(hash uint64, is func(n uint32) bool) (n uint32, slot uint64) {
	mask := uint64(len(t.slots) - 1)
	for i := hash >> t.shift; ; i = (i + 1) & mask {
		if n := t.slots[i]; n == 0 || is(n) {
			return n, i
		}
	}
}

func (t *table32) put(slot uint64, n uint32) {
	t.slots[slot] = n
	t.used++
}

func (t *table32) full() bool { return t.used >= len(t.slots)*3/4 }

func newNeedles() needles { return needles{seed: maphash.MakeSeed(), byText: newTable(0)} }

// text is the text of a needle.
func (s *needles) text(no uint32) string {
	p := &s.list[no]
	return unsafe.String(s.byte(p.at), p.size)
}

// byte is the address of the first byte of a text.
func (s *needles) byte(at uint32) *byte {
	return &s.pieces[at>>(pieceBits-alignBits)][at<<alignBits&(1<<pieceBits-1)]
}

func (s *needles) head(no uint32) uint64 {
	return binary.LittleEndian.Uint64(unsafe.Slice(s.byte(s.list[no].at), 8))
}

// get returns a needle.
func (s *needles) get(no uint32) needle {
	p := &s.list[no]
	n := needle{form{text: s.text(no), pre: int(p.pre), post: int(p.post), packed: p.flags&isPacked != 0, alone: p.flags&isAlone != 0, masked: p.flags&isMasked != 0}, p.rule}
	switch {
	case p.fill == 0:
		text := unsafe.Slice(s.byte(p.at), 2*p.size)
		n.with = unsafe.String(&text[p.size], p.size)
	case p.fill == fill && int(p.size) <= len(fills):
		n.with = fills[:p.size]
	default:
		n.with = strings.Repeat(string(rune(p.fill)), int(p.size))
	}
	return n
}

var fills = strings.Repeat(string(fill), 4*(piece+leastValue))

// lookUp returns the needle with a text, and its slot in byText; no is 0 if there is none, else its number and 1.
func (s *needles) lookUp(text string) (no uint32, slot uint64) {
	return s.byText.find(maphash.String(s.seed, text), func(n uint32) bool { return s.text(n-1) == text })
}

// put adds a needle, unless one has its text. with must be as long as the text.
func (s *needles) put(f form, rule int32) {
	if len(f.with) != len(f.text) {
		panic("a replacement of another length")
	}
	no, slot := s.lookUp(f.text)
	if no != 0 {
		return
	}
	if s.byText.full() {
		s.byText = s.rehashed()
		_, slot = s.lookUp(f.text)
	}
	p := packed{size: uint32(len(f.text)), rule: rule, pre: uint8(f.pre), post: uint8(f.post)}
	given := ""
	if p.fill = f.with[0]; p.fill == 0 || p.fill >= 0x80 || strings.Count(f.with, f.with[:1]) != len(f.with) {
		p.fill, given = 0, f.with
	}
	flag := func(is bool, flag uint8) {
		if is {
			p.flags |= flag
		}
	}
	flag(f.packed, isPacked)
	flag(f.alone, isAlone)
	flag(f.masked, isMasked)
	p.at = s.write(f.text, given)
	s.list = append(s.list, p)
	s.byText.put(slot, uint32(len(s.list)))
}

// write stores a text with what follows it.
func (s *needles) write(text, given string) (at uint32) {
	size := len(text) + len(given)
	last := len(s.pieces) - 1
	if last < 0 || len(s.pieces[last])+size > cap(s.pieces[last]) {
		s.pieces = append(s.pieces, make([]byte, 0, max(1<<pieceBits, size)))
		last++
	}
	b := s.pieces[last]
	at = uint32(last<<(pieceBits-alignBits) + len(b)>>alignBits)
	b = append(append(b, text...), given...)
	for len(b)%(1<<alignBits) != 0 && len(b) < cap(b) {
		b = append(b, 0)
	}
	s.pieces[last] = b
	return at
}

// rehashed is byText with twice the slots.
func (s *needles) rehashed() table32 {
	t := newTable(2 * s.byText.used)
	for no := range s.list {
		_, slot := t.find(maphash.String(s.seed, s.text(uint32(no))), func(uint32) bool { return false })
		t.put(slot, uint32(no)+1)
	}
	return t
}

// sort makes the order of the needles, and the tables of those that are alike.
func (s *needles) sort() {
	type keyed struct {
		head uint64 // first 8 bytes, as a number that sorts like them
		no   uint32
	}
	var count [257]int // of the needles whose first byte is lower
	for no := range s.list {
		count[int(*s.byte(s.list[no].at))+1]++
	}
	for b := range 256 {
		count[b+1] += count[b]
	}
	s.order = slices.Grow(s.order[:0], len(s.list))[:len(s.list)]
	next := count
	for no := range s.list {
		first := *s.byte(s.list[no].at)
		s.order[next[first]] = uint32(no)
		next[first]++
	}
	heads := 0
	var keys []keyed
	for b := range 256 {
		part := s.order[count[b]:count[b+1]]
		keys = keys[:0]
		for _, no := range part {
			keys = append(keys, keyed{binary.BigEndian.Uint64(unsafe.Slice(s.byte(s.list[no].at), 8)), no})
		}
		slices.SortFunc(keys, func(a, b keyed) int {
			if a.head != b.head {
				return cmp.Compare(a.head, b.head)
			}
			return strings.Compare(s.text(a.no), s.text(b.no))
		})
		for i, k := range keys {
			part[i] = k.no
			if i == 0 || k.head != keys[i-1].head {
				heads++
			}
		}
	}
	s.byHead, s.many = newTable(heads), map[uint32]alike{}
	for lo := 0; lo < len(s.order); {
		head, hi := s.head(s.order[lo]), lo+1
		for hi < len(s.order) && s.head(s.order[hi]) == head {
			hi++
		}
		_, slot := s.byHead.find(head*hashHead, func(uint32) bool { return false })
		s.byHead.put(slot, uint32(lo)+1)
		if hi-lo > manyAlike {
			s.many[uint32(lo)] = alike{lo, hi, s.lengths(lo, hi)}
		}
		lo = hi
	}
}

// lengths lists those of texts, longest first.
func (s *needles) lengths(lo, hi int) (list []int) {
	seen := map[int]bool{}
	for _, no := range s.order[lo:hi] {
		if n := int(s.list[no].size); !seen[n] {
			seen[n] = true
			list = append(list, n)
		}
	}
	slices.Sort(list)
	slices.Reverse(list)
	return list
}

// alike returns the needles with these first 8 bytes.
func (s *needles) alike(head uint64) (r alike, ok bool) {
	n, _ := s.byHead.find(head*hashHead, func(n uint32) bool { return s.head(s.order[n-1]) == head })
	if n == 0 {
		return r, false
	}
	if r, ok := s.many[n-1]; ok {
		return r, true
	}
	r = alike{lo: int(n - 1), hi: int(n)}
	for r.hi < len(s.order) && s.head(s.order[r.hi]) == head {
		r.hi++
	}
	return r, true
}

// longest is the length of the longest of these texts.
func (s *needles) longest(r alike) (n int) {
	if r.lengths != nil {
		return r.lengths[0]
	}
	for _, no := range s.order[r.lo:r.hi] {
		n = max(n, int(s.list[no].size))
	}
	return n
}

// startWith returns the range of the texts that begin with a prefix and are longer, within those from lo to hi.
func (s *needles) startWith(prefix string, lo, hi int) (int, int) {
	lo += sort.Search(hi-lo, func(i int) bool { return s.text(s.order[lo+i]) > prefix })
	return lo, lo + sort.Search(hi-lo, func(i int) bool { return !strings.HasPrefix(s.text(s.order[lo+i]), prefix) })
}

// at calls each for those of these needles that b begins with and that are longer than least, longest first, until it
// returns false.
func (s *needles) at(r alike, b []byte, least int, each func(n needle) bool) {
	for _, size := range r.lengths {
		if size <= least {
			return
		}
		if size > len(b) {
			continue
		}
		if no, _ := s.lookUp(unsafe.String(unsafe.SliceData(b), size)); no != 0 && !each(s.get(no-1)) {
			return
		}
	}
	if r.lengths != nil {
		return
	}
	for i := r.hi - 1; i >= r.lo; i-- { // of two that b begins with, the longer one is the later one
		text := s.text(s.order[i])
		if len(text) > least && len(text) <= len(b) && string(b[:len(text)]) == text && !each(s.get(s.order[i])) {
			return
		}
	}
}
