package search

import (
	"bytes"
	"encoding/binary"
	"regexp/syntax"
	"slices"
	"strings"
)

// sieve finds the places in a block of texts where one may hold a needle. It looks at
// bytes alone and leaves out no text that holds it.
type sieve struct {
	words [][]byte // one of them must be there, without case where fold
	fold  bool
	high  bool       // or any byte of a letter that is not ASCII's
	run   int        // or where there are no words: so many bytes in a row
	class *[256]bool // of this class; nil: every text may hold the needle

	block []byte
	low   []byte // block without case
	at    []int  // next place of each word; len(block) where there is none
}

// newSieve makes a sieve for a needle.
func newSieve(n *Needle) *sieve {
	s := &sieve{fold: n.fold}
	if n.pattern != "" {
		s.ofPattern(n)
		return s
	}
	for _, f := range n.lower {
		ascii := strings.IndexFunc(f, func(r rune) bool { return r >= 0x80 }) < 0
		if !n.fold || ascii {
			s.words = append(s.words, []byte(f))
		} else {
			s.high = true
		}
		// Small letters of ASCII that come of others: of İ, and of the sign for Kelvin.
		if n.fold && strings.ContainsAny(f, "ik") {
			s.words = append(s.words, []byte("\u0130"), []byte("\u212a"))
		}
	}
	return s
}

func (s *sieve) ofPattern(n *Needle) {
	flags := syntax.Perl | syntax.DotNL
	if n.fold {
		flags |= syntax.FoldCase
	}
	tree, err := syntax.Parse(n.pattern, flags)
	if err != nil {
		return // it was compiled, so it parses; if not, every text is looked at
	}
	var r reader
	words := r.words(tree, 0)
	run, class := runIn(tree, 0)
	if s.fold = false; shortest(words) < 2 && run >= 3 || shortest(words) == 0 {
		s.run, s.class = run, class
		return
	}
	s.fold = r.fold
	for _, w := range words {
		if s.fold {
			w = string(lowered(nil, []byte(w)))
		}
		s.words = append(s.words, []byte(w))
	}
}

func shortest(words []string) int {
	if len(words) == 0 {
		return 0
	}
	n := len(words[0])
	for _, w := range words {
		n = min(n, len(w))
	}
	return n
}

// Limits of what is read out of a pattern.
const (
	maxWords = 8
	maxTree  = 100 // levels; a deeper part is passed over
)

// reader reads patterns.
type reader struct{ fold bool } // a word was taken in which case does not count

// words are texts of which every match of a pattern has one; none where that cannot be
// said.
func (r *reader) words(t *syntax.Regexp, depth int) []string {
	if depth > maxTree {
		return nil
	}
	switch t.Op {
	case syntax.OpLiteral:
		if t.Flags&syntax.FoldCase == 0 {
			return []string{string(t.Rune)}
		}
		r.fold = true
		return plainest(t.Rune)
	case syntax.OpCapture, syntax.OpPlus:
		return r.words(t.Sub[0], depth+1)
	case syntax.OpRepeat:
		if t.Min > 0 {
			return r.words(t.Sub[0], depth+1)
		}
	case syntax.OpConcat:
		var best []string
		for _, sub := range t.Sub {
			if words := r.words(sub, depth+1); shortest(words) > shortest(best) {
				best = words
			}
		}
		return best
	case syntax.OpAlternate:
		var all []string
		for _, sub := range t.Sub {
			words := r.words(sub, depth+1)
			if all = append(all, words...); len(words) == 0 || len(all) > maxWords {
				return nil
			}
		}
		return all
	}
	return nil
}

// plainest is the longest piece of a word without letters that have other cases than the
// two of ASCII: k is also the sign for Kelvin, s the long ſ.
func plainest(word []rune) []string {
	best := ""
	for _, piece := range strings.FieldsFunc(string(word), func(r rune) bool { return r >= 0x80 || strings.ContainsRune("kKsS", r) }) {
		if len(piece) > len(best) {
			best = piece
		}
	}
	if best == "" {
		return nil
	}
	return []string{best}
}

// runIn is the longest run of bytes of one class that every match has, and the class.
func runIn(t *syntax.Regexp, depth int) (int, *[256]bool) {
	if depth > maxTree {
		return 0, nil
	}
	switch t.Op {
	case syntax.OpCharClass:
		if len(t.Rune) > 0 && t.Rune[len(t.Rune)-1] < 0x80 {
			var class [256]bool
			for i := 0; i < len(t.Rune); i += 2 {
				for r := t.Rune[i]; r <= t.Rune[i+1]; r++ {
					class[r] = true
				}
			}
			return 1, &class
		}
	case syntax.OpCapture:
		return runIn(t.Sub[0], depth+1)
	case syntax.OpPlus, syntax.OpRepeat:
		n, class := runIn(t.Sub[0], depth+1)
		switch {
		case t.Op == syntax.OpPlus:
			return n, class
		case t.Min > 0 && n == 1 && t.Sub[0].Op == syntax.OpCharClass:
			return t.Min, class
		case t.Min > 0:
			return n, class
		}
	case syntax.OpConcat:
		best, of := 0, (*[256]bool)(nil)
		for _, sub := range t.Sub {
			if n, class := runIn(sub, depth+1); n > best {
				best, of = n, class
			}
		}
		return best, of
	}
	return 0, nil
}

// all says that the sieve holds nothing back.
func (s *sieve) all() bool { return len(s.words) == 0 && !s.high && s.run == 0 }

// begin takes a block.
func (s *sieve) begin(block []byte) {
	s.block = block
	if s.fold {
		s.low = lowered(s.low, block)
		s.block = s.low
	}
	s.at = slices.Grow(s.at[:0], len(s.words))[:len(s.words)]
	for i := range s.at {
		s.at[i] = -1
	}
}

// next is the next place from at on, or -1.
func (s *sieve) next(at int) int {
	switch {
	case s.run > 0:
		return s.nextRun(at)
	case s.all():
		return at
	}
	first := len(s.block)
	for i, w := range s.words {
		if s.at[i] < at {
			s.at[i] = len(s.block)
			if n := bytes.Index(s.block[at:], w); n >= 0 {
				s.at[i] = at + n
			}
		}
		first = min(first, s.at[i])
	}
	if s.high {
		if n := indexHigh(s.block[at:first]); n >= 0 {
			first = at + n
		}
	}
	if first == len(s.block) {
		return -1
	}
	return first
}

// nextRun looks at every run-th byte first: a run cannot be between two that are not of
// the class.
func (s *sieve) nextRun(at int) int {
	for at+s.run <= len(s.block) {
		i := at + s.run - 1
		for i >= at && s.class[s.block[i]] {
			i--
		}
		if i < at {
			return at
		}
		at = i + 1
	}
	return -1
}

const (
	eachByte = 0x0101010101010101
	highBits = 0x80 * eachByte
)

// lowered is a block with the capital letters of ASCII made small, eight bytes at once.
func lowered(to, block []byte) []byte {
	to = append(to[:0], block...)
	i := 0
	for ; i+8 <= len(to); i += 8 {
		x := binary.LittleEndian.Uint64(to[i:])
		low := x &^ highBits
		fromA, afterZ := low+(0x80-'A')*eachByte, low+(0x7f-'Z')*eachByte
		capitals := (fromA ^ afterZ) & highBits &^ x
		binary.LittleEndian.PutUint64(to[i:], x|capitals>>2)
	}
	for ; i < len(to); i++ {
		if to[i]-'A' < 26 {
			to[i] |= 0x20
		}
	}
	return to
}

// indexHigh is the first byte that is not of ASCII, or -1.
func indexHigh(b []byte) int {
	i := 0
	for i+8 <= len(b) && binary.LittleEndian.Uint64(b[i:])&highBits == 0 {
		i += 8
	}
	for ; i < len(b); i++ {
		if b[i] >= 0x80 {
			return i
		}
	}
	return -1
}
