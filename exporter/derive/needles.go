package derive

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"hash/maphash"
	"math"
	"math/bits"
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
	at    uint32 // of its text in pieces, or of what its coding writes
	rule  int32
	size  uint16 // of its text
	fill  uint8  // character that replaces each byte; 0: the bytes after its text do
	flags uint8
}

// Flags of packed. Above them is its coding.
const (
	isPacked = 1 << iota
	isAlone
	isMasked
	isPre // one byte before it shares bits with it
	isPost
	codeBits = iota
)

func (p *packed) code() coding { return coding(p.flags >> codeBits) }

// shared is how many bytes around a text are replaced, too.
func (p *packed) shared() (pre, post int) {
	return int(p.flags & isPre / isPre), int(p.flags & isPost / isPost)
}

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

// base is what a needle's coding writes.
func (s *needles) base(no uint32) string {
	p := &s.list[no]
	return unsafe.String(s.byte(p.at), int(p.size)/p.code().width())
}

// room is for the text of a needle with a coding.
type room [widest * (piece + leastValue)]byte

// text is the text of a needle, in r if it has a coding.
func (s *needles) text(no uint32, r *room) []byte {
	base := s.base(no)
	if c := s.list[no].code(); c != asIs {
		return c.append(r[:0], base)
	}
	return unsafe.Slice(unsafe.StringData(base), len(base))
}

// is reports whether a needle has this text.
func (s *needles) is(no uint32, text string) bool {
	if int(s.list[no].size) != len(text) {
		return false
	}
	if s.list[no].code() == asIs {
		return s.base(no) == text
	}
	var r room
	return string(s.text(no, &r)) == text
}

// compare compares the texts of two needles.
func (s *needles) compare(a, b uint32) int {
	if s.list[a].code() == s.list[b].code() {
		return strings.Compare(s.base(a), s.base(b))
	}
	var r, q room
	return bytes.Compare(s.text(a, &r), s.text(b, &q))
}

// byte is the address of the first byte of a text.
func (s *needles) byte(at uint32) *byte {
	return &s.pieces[at>>(pieceBits-alignBits)][at<<alignBits&(1<<pieceBits-1)]
}

// head is the first 8 bytes of a needle.
func (s *needles) head(no uint32) uint64 {
	base := s.base(no)
	var b [8 + widest]byte
	c := s.list[no].code()
	return binary.LittleEndian.Uint64(c.append(b[:0], base[:(8+c.width()-1)/c.width()]))
}

// get returns a needle.
func (s *needles) get(no uint32) needle {
	p := &s.list[no]
	n := needle{form{text: s.base(no), packed: p.flags&isPacked != 0, alone: p.flags&isAlone != 0, masked: p.flags&isMasked != 0}, p.rule}
	n.pre, n.post = p.shared()
	c := p.code()
	switch {
	case c != asIs:
		n.with = strings.Repeat(codings[c].with, len(n.text))
		n.text = string(c.append(nil, n.text))
	case p.fill == 0:
		size := int(p.size)
		n.with = unsafe.String(&unsafe.Slice(s.byte(p.at), 2*size)[size], size)
	case p.fill == fill && int(p.size) <= len(fills):
		n.with = fills[:p.size]
	default:
		n.with = strings.Repeat(string([]byte{p.fill}), int(p.size))
	}
	return n
}

var fills = strings.Repeat(string(fill), 4*(piece+leastValue))

// lookUp returns the needle with a text, and its slot in byText; no is 0 if there is none, else its number and 1.
func (s *needles) lookUp(text string) (no uint32, slot uint64) {
	return s.byText.find(maphash.String(s.seed, text), func(n uint32) bool { return s.is(n-1, text) })
}

// put adds a needle, unless one has its text. with must be as long as the text.
func (s *needles) put(f form, rule int32) {
	if len(f.with) != len(f.text) || len(f.text) > math.MaxUint16 || max(f.pre, f.post) > 1 {
		panic("a replacement of another length, or too long")
	}
	no, slot := s.lookUp(f.text)
	if no != 0 {
		return
	}
	if s.byText.full() {
		s.byText = s.rehashed()
		_, slot = s.lookUp(f.text)
	}
	p := packed{size: uint16(len(f.text)), rule: rule, flags: uint8(f.code) << codeBits}
	flag := func(is bool, flag uint8) {
		if is {
			p.flags |= flag
		}
	}
	flag(f.packed, isPacked)
	flag(f.alone, isAlone)
	flag(f.masked, isMasked)
	flag(f.pre > 0, isPre)
	flag(f.post > 0, isPost)
	given := ""
	if p.fill = f.with[0]; p.fill == 0 || strings.Count(f.with, f.with[:1]) != len(f.with) {
		p.fill, given = 0, f.with
	}
	if f.code != asIs {
		p.at = s.keep(f.base)
	} else {
		p.at = s.write(f.text, given)
	}
	s.list = append(s.list, p)
	s.byText.put(slot, uint32(len(s.list)))
}

// keep returns the place of a text. It stores the text, unless a needle without a coding has it.
func (s *needles) keep(text string) (at uint32) {
	if no, _ := s.lookUp(text); no != 0 && s.list[no-1].code() == asIs {
		return s.list[no-1].at
	}
	return s.write(text, "")
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
	var r room
	for no := range s.list {
		_, slot := t.find(maphash.Bytes(s.seed, s.text(uint32(no), &r)), func(uint32) bool { return false })
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
		count[int(byte(s.head(uint32(no))))+1]++
	}
	for b := range 256 {
		count[b+1] += count[b]
	}
	s.order = slices.Grow(s.order[:0], len(s.list))[:len(s.list)]
	next := count
	for no := range s.list {
		first := byte(s.head(uint32(no)))
		s.order[next[first]] = uint32(no)
		next[first]++
	}
	heads := 0
	var keys []keyed
	for b := range 256 {
		part := s.order[count[b]:count[b+1]]
		keys = keys[:0]
		for _, no := range part {
			keys = append(keys, keyed{bits.ReverseBytes64(s.head(no)), no})
		}
		slices.SortFunc(keys, func(a, b keyed) int {
			if a.head != b.head {
				return cmp.Compare(a.head, b.head)
			}
			return s.compare(a.no, b.no)
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
	var r room
	lo += sort.Search(hi-lo, func(i int) bool { return string(s.text(s.order[lo+i], &r)) > prefix })
	return lo, lo + sort.Search(hi-lo, func(i int) bool { return !strings.HasPrefix(string(s.text(s.order[lo+i], &r)), prefix) })
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
		size := int(s.list[s.order[i]].size)
		if size > least && size <= len(b) && s.is(s.order[i], unsafe.String(unsafe.SliceData(b), size)) && !each(s.get(s.order[i])) {
			return
		}
	}
}
