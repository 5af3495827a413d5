// Package clip makes valid text of limited length from bytes that others wrote: on the wire, in a file, in an error.
package clip

import (
	"encoding/hex"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Text is the first n bytes of b as valid text, with an ellipsis if b is longer. Bytes that are not
// text become U+FFFD.
func Text[T ~string | ~[]byte](b T, n int) string {
	if len(b) > n {
		return strings.ToValidUTF8(string(Cut(b, n)), "\uFFFD") + "…"
	}
	return strings.ToValidUTF8(string(b), "\uFFFD")
}

// Cut is the longest beginning of b of at most n bytes that does not end within a character.
func Cut[T ~string | ~[]byte](b T, n int) T {
	if len(b) <= n {
		return b
	}
	for i := n; i > n-utf8.UTFMax && i >= 0; i-- {
		if utf8.RuneStart(b[i]) {
			return b[:i]
		}
	}
	return b[:n]
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

// UUID is the usual form of 16 bytes.
func UUID(b []byte) string {
	s := hex.EncodeToString(b)
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}
