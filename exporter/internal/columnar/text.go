package columnar

import (
	"strings"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// EscapeText makes s valid UTF-8 in a way that UnescapeText can undo: a byte that is not
// part of valid UTF-8 becomes \xhh with two lower-case hexadecimal digits, and a
// backslash that already stands before x and two such digits becomes \x5c. All other
// text stays as it is. See docs/format/parts.md.
func EscapeText(s string) string {
	if plainText(s) {
		return s
	}
	return string(appendText(make([]byte, 0, len(s)+16), s))
}

// UnescapeText returns the original argument of EscapeText.
func UnescapeText(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if looksEscaped(s[i:]) {
			out = append(out, unhex(s[i+2])<<4|unhex(s[i+3]))
			i += 3
			continue
		}
		out = append(out, s[i])
	}
	return string(out)
}

// plainText reports whether s needs no escaping. False may also mean that a closer check would
// have been slower.
func plainText(s string) bool {
	const ones = 0x0101010101010101
	i := 0
	for ; i+8 <= len(s); i += 8 {
		w := uint64(s[i]) | uint64(s[i+1])<<8 | uint64(s[i+2])<<16 | uint64(s[i+3])<<24 |
			uint64(s[i+4])<<32 | uint64(s[i+5])<<40 | uint64(s[i+6])<<48 | uint64(s[i+7])<<56
		x := w ^ '\\'*ones // a byte of 0 is a backslash
		if (w|(x-ones)&^x)&(0x80*ones) != 0 {
			break
		}
	}
	for ; i < len(s) && s[i] < utf8.RuneSelf && s[i] != '\\'; i++ {
	}
	return i == len(s) || utf8.ValidString(s[i:]) && strings.IndexByte(s[i:], '\\') < 0
}

func appendText(dst []byte, s string) []byte {
	for len(s) > 0 {
		n := 0
		for n < len(s) && s[n] < utf8.RuneSelf && s[n] != '\\' {
			n++
		}
		dst = append(dst, s[:n]...)
		if s = s[n:]; s == "" {
			break
		}
		_, n = utf8.DecodeRuneInString(s)
		switch b := s[0]; {
		case looksEscaped(s):
			dst = append(dst, `\x5c`...)
		case n == 1 && b != '\\':
			dst = append(dst, '\\', 'x', hexDigits[b>>4], hexDigits[b&15])
		default:
			dst = append(dst, s[:n]...)
		}
		s = s[n:]
	}
	return dst
}

func looksEscaped(s string) bool {
	return len(s) >= 4 && s[0] == '\\' && s[1] == 'x' && isHex(s[2]) && isHex(s[3])
}

func isHex(b byte) bool { return '0' <= b && b <= '9' || 'a' <= b && b <= 'f' }

func unhex(b byte) byte {
	if b <= '9' {
		return b - '0'
	}
	return b - 'a' + 10
}
