package search

import (
	"bytes"
	"encoding/binary"
	"regexp/syntax"
	"slices"
	"strings"
)

// prefilter finds the places in a block of texts that may contain a needle. It
// compares bytes only, and never skips a text that contains the needle.
type prefilter struct {
	words [][]byte // a match contains one of them, in lower case if fold
	fold  bool
	high  bool       // or any byte outside ASCII
	run   int        // without words: a match contains this many bytes in a row
	class *[256]bool // of this class; nil: every text may contain the needle

	block []byte
	low   []byte // block in lower case
	at    []int  // next place of each word; len(block) if there is none
}

// newPrefilter makes the prefilter for a needle.
func newPrefilter(n *Needle) *prefilter {
	s := &prefilter{fold: n.fold}
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
		// İ and the Kelvin sign have ASCII letters as their lower case.
		if n.fold && strings.ContainsAny(f, "ik") {
			s.words = append(s.words, []byte("\u0130"), []byte("\u212a"))
		}
	}
	return s
}

func (s *prefilter) ofPattern(n *Needle) {
	flags := syntax.Perl | syntax.DotNL
	if n.fold {
		flags |= syntax.FoldCase
	}
	tree, err := syntax.Parse(n.pattern, flags)
	if err != nil {
		return // cannot happen, because the pattern compiled; then every text is checked
	}
	var r patternReader
	words := r.words(tree, 0)
	run, class := runIn(tree, 0)
	if s.fold = false; shortest(words) < 2 && run >= 3 || shortest(words) == 0 {
		s.run, s.class = run, class
		return
	}
	s.fold = r.fold
	for _, w := range words {
		if s.fold {
			w = string(toLower(nil, []byte(w)))
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

// Limits of the analysis of a pattern.
const (
	maxWords = 8
	maxTree  = 100 // levels; deeper parts are ignored
)

// patternReader analyzes a pattern.
type patternReader struct{ fold bool } // a word ignores case

// words returns texts of which every match of the pattern contains at least one, or nil if they
// cannot be determined.
func (r *patternReader) words(t *syntax.Regexp, depth int) []string {
	if depth > maxTree {
		return nil
	}
	switch t.Op {
	case syntax.OpLiteral:
		if t.Flags&syntax.FoldCase == 0 {
			return []string{string(t.Rune)}
		}
		r.fold = true
		return longestPlain(t.Rune)
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

// longestPlain returns the longest piece of a word without letters that have a third form besides
// upper and lower case: k also folds to the Kelvin sign, s to the long ſ.
func longestPlain(word []rune) []string {
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

// runIn returns the longest run of bytes of one class that every match contains, and the class.
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

// all reports whether the prefilter passes every text.
func (s *prefilter) all() bool { return len(s.words) == 0 && !s.high && s.run == 0 }

// begin starts a block.
func (s *prefilter) begin(block []byte) {
	s.block = block
	if s.fold {
		s.low = toLower(s.low, block)
		s.block = s.low
	}
	s.at = slices.Grow(s.at[:0], len(s.words))[:len(s.words)]
	for i := range s.at {
		s.at[i] = -1
	}
}

// next returns the next candidate place from at on, or -1.
func (s *prefilter) next(at int) int {
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

// nextRun checks backward from the end of each possible run: a byte outside the class rules out
// every run across it.
func (s *prefilter) nextRun(at int) int {
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

// toLower converts ASCII letters to lower case, eight bytes at a time.
func toLower(to, block []byte) []byte {
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

// indexHigh returns the place of the first byte outside ASCII, or -1.
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
