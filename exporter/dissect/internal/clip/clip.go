// Package clip makes bounded, valid text of bytes from the wire.
package clip

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Text is b as valid text of at most n bytes, with an ellipsis if it is longer. Bytes that are not
// text become U+FFFD.
func Text(b []byte, n int) string {
	if len(b) > n {
		for n > 0 && !utf8.RuneStart(b[n]) {
			n--
		}
		return strings.ToValidUTF8(string(b[:n]), "\uFFFD") + "…"
	}
	return strings.ToValidUTF8(string(b), "\uFFFD")
}

// Line is Text on one line: control characters become spaces.
func Line(b []byte, n int) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, Text(b, n)))
}

// Printable reports whether b has no control characters.
func Printable(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c == 0x7f {
			return false
		}
	}
	return true
}

// Count is a number with its noun: one for 1, else many.
func Count(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.FormatInt(n, 10) + " " + many
}
