package filter

import (
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"
)

type tokenKind uint8

const (
	tokEnd     tokenKind = iota
	tokNumber            // decimal, octal, hexadecimal or a named constant
	tokIPv4              // two to four numbers separated by dots
	tokIPv6              //
	tokMAC               //
	tokName              // a word that is not a keyword, or any word after a backslash
	tokKeyword           //
	tokOp                // an operator or a bracket
)

type token struct {
	kind tokenKind
	text string
	num  uint32
	off  int
}

// is reports whether the token is the keyword or operator s.
func (t token) is(s string) bool {
	return (t.kind == tokKeyword || t.kind == tokOp) && t.text == s
}

func (t token) String() string {
	if t.kind == tokEnd {
		return "the end"
	}
	return fmt.Sprintf("%q", t.text)
}

// maxAddress is the longest text of an address: six IPv6 groups and four decimal numbers.
const maxAddress = 45

// lex splits an expression into tokens; the last one is tokEnd. At each place the longest
// possible token wins, and an address wins over a name of the same length.
func lex(s string) ([]token, error) {
	var out []token
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			i++
			continue
		case c == '\\':
			n := strings.IndexAny(s[i+1:], " !()\n\t")
			if n < 0 {
				n = len(s) - i - 1
			}
			if n == 0 {
				return nil, &Error{i, "a backslash needs a name after it"}
			}
			out = append(out, token{tokName, s[i+1 : i+1+n], 0, i})
			i += 1 + n
			continue
		}
		t, err := lexOne(s, i)
		if err != nil {
			return nil, err
		}
		n := len(t.text)
		if t.kind == tokOp || t.kind == tokKeyword {
			t.text = canonical(t.text)
		}
		out = append(out, t)
		i += n
	}
	return append(out, token{kind: tokEnd, off: len(s)}), nil
}

func lexOne(s string, i int) (token, error) {
	word := wordLen(s[i:])
	mac, ip6 := addressLen(s[i:], isMAC), addressLen(s[i:], isIPv6)
	switch {
	case mac > 0 && mac >= word && mac >= ip6:
		return token{tokMAC, s[i : i+mac], 0, i}, nil
	case ip6 > 0 && ip6 >= word:
		return token{tokIPv6, s[i : i+ip6], 0, i}, nil
	}
	if word > 0 {
		return lexWord(s[i:i+word], i)
	}
	if i+1 < len(s) {
		switch two := s[i : i+2]; two {
		case ">=", "<=", "!=", "==", "<<", ">>", "&&", "||":
			return token{tokOp, two, 0, i}, nil
		}
	}
	if strings.IndexByte("+-*/%:[]!<>()&|^=", s[i]) >= 0 {
		return token{tokOp, s[i : i+1], 0, i}, nil
	}
	_, size := utf8.DecodeRuneInString(s[i:])
	return token{}, &Error{i, fmt.Sprintf("unexpected character %q", s[i:i+size])}
}

func lexWord(w string, off int) (token, error) {
	switch {
	case isNumber(w):
		n, err := number(w, off)
		return token{tokNumber, w, n, off}, err
	case isDotted(w):
		return token{tokIPv4, w, 0, off}, nil
	case isKeyword(w):
		return token{tokKeyword, w, 0, off}, nil
	}
	if n, ok := constant(w); ok {
		return token{tokNumber, w, n, off}, nil
	}
	return token{tokName, w, 0, off}, nil
}

func alnum(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// wordLen is the length of the name or number at the start of s. A name may contain
// hyphens and underscores but not end with one.
func wordLen(s string) int {
	if s == "" || !alnum(s[0]) {
		return 0
	}
	n := 1
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case alnum(c) || c == '.':
			n = i + 1
		case c != '-' && c != '_':
			return n
		}
	}
	return n
}

// addressLen is the length of the longest address at the start of s.
func addressLen(s string, is func(string) bool) int {
	n, marks := 0, 0
	for n < len(s) && n < maxAddress && (isHex(s[n]) || s[n] == ':' || s[n] == '.' || s[n] == '-') {
		if !isHex(s[n]) {
			marks++
		}
		n++
	}
	if marks < 2 && n < 12 {
		return 0
	}
	for ; n > 0; n-- {
		if is(s[:n]) {
			return n
		}
	}
	return 0
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func isIPv6(s string) bool {
	if strings.Count(s, ":") < 2 {
		return false
	}
	_, err := netip.ParseAddr(s)
	return err == nil
}

// isMAC accepts 1:2:3:4:5:6, also with hyphens or dots, 0011.2233.4455 and 001122334455.
func isMAC(s string) bool {
	_, ok := parseMAC(s)
	return ok
}

func parseMAC(s string) (mac [6]byte, ok bool) {
	var mark byte
	var groups []string
	for _, m := range []byte(":-.") {
		if strings.IndexByte(s, m) >= 0 {
			mark, groups = m, strings.Split(s, string(m))
			break
		}
	}
	switch {
	case mark == 0 && len(s) == 12:
		groups = []string{s[:2], s[2:4], s[4:6], s[6:8], s[8:10], s[10:]}
	case mark == '.' && len(groups) == 3 && len(s) == 14:
		flat := strings.Join(groups, "")
		if len(groups[0]) != 4 || len(groups[1]) != 4 {
			return mac, false
		}
		return parseMAC(flat)
	case len(groups) != 6:
		return mac, false
	}
	for i, g := range groups {
		if len(g) == 0 || len(g) > 2 {
			return mac, false
		}
		for j := 0; j < len(g); j++ {
			if !isHex(g[j]) {
				return mac, false
			}
			mac[i] = mac[i]<<4 | hexDigit(g[j])
		}
	}
	return mac, true
}

func hexDigit(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c >= 'a':
		return c - 'a' + 10
	}
	return c - 'A' + 10
}

func isNumber(s string) bool {
	if len(s) > 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X') {
		for i := 2; i < len(s); i++ {
			if !isHex(s[i]) {
				return false
			}
		}
		return true
	}
	return isDigits(s)
}

func isDigits(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

func isDotted(s string) bool {
	parts := strings.Split(s, ".")
	if len(parts) < 2 || len(parts) > 4 {
		return false
	}
	for _, p := range parts {
		if !isDigits(p) {
			return false
		}
	}
	return true
}

// number parses 12, 014 (octal) and 0xc.
func number(s string, off int) (uint32, error) {
	base, digits := uint64(10), s
	if s[0] == '0' && len(s) > 1 {
		base, digits = 8, s[1:]
		if s[1] == 'x' || s[1] == 'X' {
			base, digits = 16, s[2:]
		}
	}
	var n uint64
	for i := 0; i < len(digits); i++ {
		d := uint64(hexDigit(digits[i]))
		if d >= base {
			return 0, &Error{off, fmt.Sprintf("number %s is octal because it starts with 0, but has the digit %d", s, d)}
		}
		if n = n*base + d; n > 0xffffffff {
			return 0, &Error{off, fmt.Sprintf("number %s does not fit in 32 bits", s)}
		}
	}
	return uint32(n), nil
}

// canonical returns the preferred spelling of a keyword or operator that has several.
func canonical(w string) string {
	switch w {
	case "and":
		return "&&"
	case "or":
		return "||"
	case "not":
		return "!"
	case "==":
		return "="
	case "length":
		return "len"
	case "link", "ppp", "slip", "fddi", "tr", "wlan":
		return "ether"
	case "es-is":
		return "esis"
	case "is-is":
		return "isis"
	}
	return w
}
