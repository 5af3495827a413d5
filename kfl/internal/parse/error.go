package parse

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Error describes why a query is invalid, with the position.
type Error struct {
	Offset int    // byte offset in Source
	Line   int    // from 1
	Col    int    // from 1, in characters
	Len    int    // bytes concerned, at least 1 except at the end of the text
	Msg    string // what was found and what was expected
	Hint   string // what to write instead; may be empty
	Source string // the text of the position: the whole query, or a macro
	Macro  string // name of the macro in Source, empty for the query itself
	Word   string // the word that was not expected here; empty in other errors
	Limit  bool   // a limit was exceeded; the query may be valid
}

// Error returns one line: position, message, hint.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Macro != "" {
		fmt.Fprintf(&b, "macro %s, ", e.Macro)
	}
	fmt.Fprintf(&b, "line %d, column %d: %s", e.Line, e.Col, e.Msg)
	if e.Hint != "" {
		b.WriteString("; hint: " + e.Hint)
	}
	return b.String()
}

// Pretty returns the message, the line concerned and a caret under the position.
func (e *Error) Pretty() string {
	var b strings.Builder
	if e.Macro != "" {
		fmt.Fprintf(&b, "macro %s, ", e.Macro)
	}
	fmt.Fprintf(&b, "line %d, column %d: %s\n", e.Line, e.Col, e.Msg)
	start := strings.LastIndexByte(e.Source[:e.Offset], '\n') + 1
	end := len(e.Source)
	if i := strings.IndexByte(e.Source[e.Offset:], '\n'); i >= 0 {
		end = e.Offset + i
	}
	before, rest, marked := excerpt(e.Source[start:e.Offset], e.Source[e.Offset:end], e.Len)
	// Keep tabs, so that the caret is under its character.
	pad := strings.Map(func(r rune) rune {
		if r == '\t' {
			return r
		}
		return ' '
	}, before)
	fmt.Fprintf(&b, "  %s\n  %s%s\n", printable(before+rest), pad, strings.Repeat("^", max(1, marked)))
	if e.Hint != "" {
		b.WriteString("hint: " + e.Hint + "\n")
	}
	return b.String()
}

const maxQuoted = 56 // characters of a line, which fit on a narrow terminal

// excerpt shortens a long line to the characters around its marked part: the first n bytes of rest. It returns both
// parts, and how many characters of rest are marked.
func excerpt(before, rest string, n int) (string, string, int) {
	left, right, marked := []rune(before), []rune(rest), utf8.RuneCountInString(rest[:min(max(n, 0), len(rest))])
	if over := min(len(left)+len(right)-maxQuoted, len(left)-maxQuoted/2); over > 0 {
		left = append([]rune("…"), left[over+1:]...)
	}
	if room := maxQuoted - len(left); len(right) > room {
		right = append(right[:room-1:room-1], '…')
	}
	return string(left), string(right), min(marked, len(right))
}

// printable replaces each character that would move a terminal's cursor.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\t' && (r < ' ' || r == 0x7f || r == utf8.RuneError) {
			return '?'
		}
		return r
	}, s)
}

// ErrorAt returns the error for src[pos:end].
func ErrorAt(src string, pos, end int, hint, format string, args ...any) *Error {
	pos = min(max(pos, 0), len(src))
	end = min(max(end, pos), len(src))
	before := src[:pos]
	line := strings.LastIndexByte(before, '\n') + 1
	return &Error{
		Offset: pos, Len: end - pos, Source: src, Hint: hint,
		Line: strings.Count(before, "\n") + 1,
		Col:  utf8.RuneCountInString(before[line:]) + 1,
		Msg:  fmt.Sprintf(format, args...),
	}
}

// Clip shortens text for a message.
func Clip(s string) string {
	const most = 40 // bytes shown
	if len(s) <= most {
		return s
	}
	s = s[:most]
	for len(s) > 0 && !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s + "…"
}

// Quote returns s as a literal.
func Quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < ' ' || r == 0x7f:
			b.WriteString(`\x`)
			b.WriteByte("0123456789abcdef"[r>>4])
			b.WriteByte("0123456789abcdef"[r&15])
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
