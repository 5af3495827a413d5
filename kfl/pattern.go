package kfl

import (
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

const wordClass = "[0-9A-Za-z_]"

// backtracking writes a Go pattern for engines with Java's syntax, which read classes, line ends,
// word boundaries and case in other ways: so it spells out their characters. It reports whether
// the pattern is valid.
func backtracking(pattern string) (string, bool) {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return "", false
	}
	var b strings.Builder
	writePattern(&b, re)
	return b.String(), true
}

var patternAnchors = map[syntax.Op]string{
	syntax.OpNoMatch: "(?!)", syntax.OpAnyCharNotNL: `[^\n]`, syntax.OpAnyChar: "(?s:.)",
	syntax.OpBeginLine: `(?<![^\n])`, syntax.OpEndLine: `(?![^\n])`, syntax.OpBeginText: `\A`, syntax.OpEndText: `\z`,
	syntax.OpWordBoundary:   "(?:(?<=" + wordClass + ")(?!" + wordClass + ")|(?<!" + wordClass + ")(?=" + wordClass + "))",
	syntax.OpNoWordBoundary: "(?:(?<=" + wordClass + ")(?=" + wordClass + ")|(?<!" + wordClass + ")(?!" + wordClass + "))",
}

func writePattern(b *strings.Builder, re *syntax.Regexp) {
	if text, ok := patternAnchors[re.Op]; ok {
		b.WriteString(text)
		return
	}
	switch re.Op {
	case syntax.OpLiteral:
		b.WriteString("(?:")
		for _, r := range re.Rune {
			if class := folded(r); re.Flags&syntax.FoldCase != 0 && len(class) > 2 {
				writeClass(b, class)
				continue
			}
			writeRune(b, r)
		}
		b.WriteString(")")
	case syntax.OpCharClass:
		writeClass(b, re.Rune)
	case syntax.OpAlternate, syntax.OpConcat, syntax.OpCapture:
		b.WriteString("(?:")
		for i, sub := range re.Sub {
			if i > 0 && re.Op == syntax.OpAlternate {
				b.WriteString("|")
			}
			writePattern(b, sub)
		}
		b.WriteString(")")
	case syntax.OpStar, syntax.OpPlus, syntax.OpQuest, syntax.OpRepeat:
		b.WriteString("(?:")
		writePattern(b, re.Sub[0])
		b.WriteString(")")
		b.WriteString(repetition(re))
	}
}

func repetition(re *syntax.Regexp) string {
	out := map[syntax.Op]string{syntax.OpStar: "*", syntax.OpPlus: "+", syntax.OpQuest: "?"}[re.Op]
	if re.Op == syntax.OpRepeat {
		out = "{" + strconv.Itoa(re.Min)
		if re.Max != re.Min {
			out += ","
		}
		if re.Max > re.Min {
			out += strconv.Itoa(re.Max)
		}
		out += "}"
	}
	if re.Flags&syntax.NonGreedy != 0 {
		out += "?"
	}
	return out
}

// folded returns the characters that are equal to r without case, as a class.
func folded(r rune) (class []rune) {
	all := []rune{r}
	for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
		all = append(all, f)
	}
	slices.Sort(all)
	for _, f := range all {
		class = append(class, f, f)
	}
	return class
}

// writeClass writes ranges of characters, as their complement if that is shorter.
func writeClass(b *strings.Builder, ranges []rune) {
	if len(ranges) == 0 {
		b.WriteString("(?!)")
		return
	}
	head := "["
	if ranges[0] == 0 && ranges[len(ranges)-1] == unicode.MaxRune {
		var rest []rune
		for i := 1; i+1 < len(ranges); i += 2 {
			rest = append(rest, ranges[i]+1, ranges[i+1]-1)
		}
		if len(rest) == 0 {
			b.WriteString("(?s:.)")
			return
		}
		head, ranges = "[^", rest
	}
	b.WriteString(head)
	for i := 0; i < len(ranges); i += 2 {
		lo, hi := outside(ranges[i], 1), outside(ranges[i+1], -1)
		if lo > hi {
			continue // surrogates only, which no text has
		}
		writeRune(b, lo)
		if hi > lo {
			b.WriteString("-")
			writeRune(b, hi)
		}
	}
	b.WriteString("]")
}

// outside moves a surrogate out of their range.
func outside(r rune, step rune) rune {
	switch {
	case r < 0xd800 || r > 0xdfff:
		return r
	case step > 0:
		return 0xe000
	}
	return 0xd7ff
}

func writeRune(b *strings.Builder, r rune) {
	switch {
	case r == '\n':
		b.WriteString(`\n`)
	case r < ' ' || r == 0x7f:
		b.WriteString(`\x` + string("0123456789abcdef"[r>>4]) + string("0123456789abcdef"[r&15]))
	case r < 0x80 && !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != ' ' && r != '_':
		b.WriteString(`\` + string(r))
	default:
		b.WriteRune(r)
	}
}
