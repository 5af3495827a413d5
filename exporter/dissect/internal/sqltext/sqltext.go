// Package sqltext contains the code that dissectors of SQL databases share: the first word of a
// statement, a statement as one line, and valid texts of limited length.
package sqltext

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

const (
	maxLine = 120     // bytes of a statement in a summary
	maxLead = 1 << 10 // bytes before the first word of a statement
	maxVerb = 32      // bytes of the first word
)

// Verb is the first word of a statement in upper case, after any comments and parentheses.
func Verb(q string) string {
	for i := 0; i < min(len(q), maxLead); {
		c := q[i]
		switch {
		case isLetter(c):
			n := i
			for n < len(q) && n < i+maxVerb && isLetter(q[n]) {
				n++
			}
			return Word([]byte(strings.ToUpper(q[i:n])))
		case strings.HasPrefix(q[i:], "--") || c == '#':
			n := strings.IndexByte(q[i:], '\n')
			if n < 0 {
				return ""
			}
			i += n + 1
		case strings.HasPrefix(q[i:], "/*!"): // MySQL executes what it contains
			for i += 3; i < len(q) && (q[i] >= '0' && q[i] <= '9'); i++ {
			}
		case strings.HasPrefix(q[i:], "/*"):
			i = comment(q, i)
		case c <= ' ' || c == '(' || c == ';':
			i++
		default:
			return ""
		}
	}
	return ""
}

// comment is the place after a comment, which may contain others.
func comment(q string, i int) int {
	depth := 0
	for i < len(q) {
		switch {
		case strings.HasPrefix(q[i:], "/*"):
			depth++
			i += 2
		case strings.HasPrefix(q[i:], "*/"):
			depth--
			i += 2
			if depth == 0 {
				return i
			}
		default:
			i++
		}
	}
	return i
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' }

// Word is b as a string; common words cost no memory.
func Word(b []byte) string {
	switch string(b) {
	case "SELECT":
		return "SELECT"
	case "INSERT":
		return "INSERT"
	case "UPDATE":
		return "UPDATE"
	case "DELETE":
		return "DELETE"
	case "BEGIN":
		return "BEGIN"
	case "COMMIT":
		return "COMMIT"
	case "END":
		return "END"
	case "ROLLBACK":
		return "ROLLBACK"
	case "SET":
		return "SET"
	case "COPY":
		return "COPY"
	}
	return Text(b)
}

// AppendLine appends the beginning of a statement as one line.
func AppendLine(b []byte, q string) []byte {
	start := len(b)
	space := false
	for i := 0; i < len(q); i++ {
		c := q[i]
		if c <= ' ' || c == 0x7f {
			space = len(b) > start
			continue
		}
		if len(b)-start >= maxLine && (c < 0x80 || c >= 0xC0) {
			return append(b, "…"...)
		}
		if space {
			b, space = append(b, ' '), false
		}
		b = append(b, c)
	}
	return b
}

// Text is b as valid text.
func Text(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	return strings.ToValidUTF8(string(b), "\ufffd")
}

// AppendField appends a value to a row in the text format of PostgreSQL's COPY.
func AppendField(dst, v []byte) []byte {
	if !utf8.Valid(v) {
		v = bytes.ToValidUTF8(v, []byte("\ufffd"))
	}
	for _, c := range v {
		switch c {
		case '\n':
			dst = append(dst, `\n`...)
		case '\t':
			dst = append(dst, `\t`...)
		case '\r':
			dst = append(dst, `\r`...)
		case '\\':
			dst = append(dst, `\\`...)
		default:
			dst = append(dst, c)
		}
	}
	return dst
}
