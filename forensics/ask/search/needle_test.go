package search

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestPrefilterSkipsNoMatch searches for needles in texts made of their pieces: the prefilter must
// report a place in every text that contains a needle.
func TestPrefilterSkipsNoMatch(t *testing.T) {
	type row struct {
		text, pattern string
		whole, fold   bool
		all           bool // the prefilter passes every text
	}
	rows := []row{
		{text: "ab"}, {text: "order 12/5"}, {text: "12345", whole: true}, {text: "Kilo", fold: true}, {text: "Straße", fold: true}, {text: "ÉTÉ", fold: true}, {text: "x@y", fold: true},
		{pattern: "token_(expired|old)"}, {pattern: `[0-9]{4,6}`}, {pattern: `\d\d-\d\d`}, {pattern: `(?i)kilo|mask`}, {pattern: "Mask+ed", fold: true}, {pattern: `a.c`}, {pattern: `(foo|ba[rz])x?`},
		{pattern: `(ab){2,}c`}, {pattern: `^x`}, {pattern: `x$`}, {pattern: `\w+@\w+`}, {pattern: `[^a]`, all: true}, {pattern: `(?i:É)x*`, all: true}, {pattern: `a*b*c|d`}, {pattern: "ß", fold: true, all: true},
		{pattern: `[a-f]{3}[0-9]{3}`}, {pattern: `(x|y)z?|w`, all: true}, {pattern: `\pL{5}`, all: true}, {pattern: `s`, fold: true, all: true},
	}
	pieces := []string{"ab", "c", "order ", "12", "/5", "12345", "9", "ki", "K", "\u212a", "lo", "Stra", "ß", "ẞ", "SS", "é", "É", "tÉ", "\u0130", "x", "@", "y", "token_", "expired", "old", "-", "MA", "ma", "s", "ſ", "k", "ED", "ed", "foo", "ba", "rz", "\x01", "\x00\x00", "abc", "123", "fff", "order 12", "x@y", "12-34", "maSKked", "STRAßE"}
	r := rand.New(rand.NewPCG(1, 9))
	for _, row := range rows {
		n, err := NewNeedle(t.Context(), row.text, row.pattern, row.whole, row.fold)
		if err != nil {
			t.Fatal(err)
		}
		s := newPrefilter(n)
		if s.all() != row.all {
			t.Errorf("%+v: the prefilter is %+v", row, s)
		}
		pending := 0
		for range 4000 {
			var block []byte
			var ends [][2]int
			for range 1 + r.IntN(4) {
				var b strings.Builder
				for range r.IntN(6) {
					b.WriteString(pieces[r.IntN(len(pieces))])
				}
				ends = append(ends, [2]int{len(block), len(block) + b.Len()})
				block = append(append(block, b.String()...), "\x05\x00"[:r.IntN(3)]...)
			}
			s.begin(block)
			for _, e := range ends {
				at := s.next(e[0])
				if n.contains(block[e[0]:e[1]]) {
					if pending++; at < e[0] || at >= e[1] {
						t.Fatalf("%+v: %q of %q is skipped: next is %d", row, block[e[0]:e[1]], block, at)
					}
				}
			}
		}
		if pending == 0 {
			t.Errorf("%+v: no text contains it", row)
		}
	}
}

func FuzzPrefilter(f *testing.F) {
	f.Add("order", "", "an Order", true)
	f.Add("", `[a-z]{3}\d+`, "xyzabc12", false)
	f.Fuzz(func(t *testing.T, text, pattern, in string, fold bool) {
		n, err := NewNeedle(t.Context(), text, pattern, false, fold)
		if err != nil {
			return
		}
		in = strings.ToValidUTF8(in, "")
		s := newPrefilter(n)
		s.begin([]byte(in))
		if at := s.next(0); in != "" && n.contains([]byte(in)) && (at < 0 || at >= len(in)) {
			t.Errorf("%q is skipped for %q: next is %d", in, text+pattern, at)
		}
	})
}

// TestSlowPatternsEnd has patterns for which one text takes much longer than the time of an answer.
func TestSlowPatternsEnd(t *testing.T) {
	text := strings.Repeat("ab", 2<<20)
	for _, pattern := range []string{`.{900}z|.{901}z|.{902}z|.{903}z|.{904}z|.{905}z|.{906}z|.{907}z`, `(.*z){200}`, `((a|b|.){30}){30}z`, `(?:.?){900}z`} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		n, err := NewNeedle(ctx, "", pattern, false, true)
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		if n.contains([]byte(text)) || n.find(text) != nil {
			t.Errorf("%s: found", pattern)
		}
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("%s: %v", pattern, took)
		}
		cancel()
	}
}

// TestLongTextsMatchAsShortOnes matches the same text with and without stops.
func TestLongTextsMatchAsShortOnes(t *testing.T) {
	for _, pattern := range []string{`^a`, `z$`, `\bend\b`, `\x{FFFD}+`, `é.`, `(a|ab)(c|bcd)`, `(?m)^end$`, `q{2}`} {
		n, err := NewNeedle(t.Context(), "", pattern, false, false)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{"abcd é\xff\xfe end", "\nend\n", "éz", "az\xff"} {
			n.steps = 1
			short := n.find(text)
			n.steps = maxSteps + 1
			if long := n.find(text); !slices.Equal(short, long) {
				t.Errorf("%s in %q: %v with stops, %v without", pattern, text, long, short)
			}
		}
	}
}
