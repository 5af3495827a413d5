// Package jsontext reads values in JSON texts without decoding the whole, as DuckDB reads them: RFC
// 8259, plus a trailing comma and the literals NaN and Infinity. If a key repeats, its first value
// counts.
//
// Except for Valid, its functions require one valid value without white space around it.
package jsontext

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Kinds of values.
const (
	Null   = 'n'
	True   = 't'
	False  = 'f'
	String = '"'
	Object = '{'
	Array  = '['
	Number = '0'
	Word   = 'N' // NaN, Infinity: not comparable numbers
)

// Kind returns the kind of a valid JSON value.
func Kind(s string) byte {
	c := s[0]
	switch {
	case c == '-' && len(s) > 1 && isLetter(s[1]), c == 'N', c == 'I', c == 'i', c == 'n' && s != "null":
		return Word
	case c == '-' || isDigit(c):
		return Number
	}
	return c
}

// Valid reports whether s is one JSON value.
func Valid(s string) bool {
	i := space(s, 0)
	end, ok := skip(s, i)
	return ok && space(s, end) == len(s)
}

func space(s string, i int) int {
	for i < len(s) && (s[i] == ' ' || s[i] == '\t' || s[i] == '\n' || s[i] == '\r') {
		i++
	}
	return i
}

// skip skips the value at i. It keeps the open brackets in a list, so nesting costs 1 byte
// per level and no stack.
func skip(s string, i int) (end int, ok bool) {
	var open []byte
	for {
		i = space(s, i)
		if i >= len(s) {
			return 0, false
		}
		begun := false
		switch c := s[i]; c {
		case '{', '[':
			open = append(open, c)
			i, begun = i+1, true
		case '"':
			if i, ok = skipString(s, i); !ok {
				return 0, false
			}
		default:
			if i, ok = skipScalar(s, i); !ok {
				return 0, false
			}
		}
		// After a value: close lists and objects that end here, then go to the next value.
		for {
			if len(open) == 0 {
				return i, true
			}
			i = space(s, i)
			if i >= len(s) {
				return 0, false
			}
			if !begun && s[i] == ',' {
				i, begun = space(s, i+1), true
				if i >= len(s) {
					return 0, false
				}
			} else if !begun && s[i] != ']' && s[i] != '}' {
				return 0, false
			}
			top := open[len(open)-1]
			if s[i] == top+2 { // in ASCII, ] and } are two after [ and {
				open = open[:len(open)-1]
				i, begun = i+1, false
				continue
			}
			if !begun {
				return 0, false
			}
			if top == '{' {
				if i, ok = skipString(s, i); !ok {
					return 0, false
				}
				if i = space(s, i); i >= len(s) || s[i] != ':' {
					return 0, false
				}
				i++
			}
			break
		}
	}
}

func skipString(s string, i int) (int, bool) {
	if s[i] != '"' {
		return 0, false
	}
	for i++; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return i + 1, true
		case c < ' ':
			return 0, false
		case c == '\\':
			_, n, ok := escape(s[i:])
			if !ok {
				return 0, false
			}
			i += n - 1
		}
	}
	return 0, false
}

// escape reads the escape at the start of s.
func escape(s string) (r rune, n int, ok bool) {
	if len(s) < 2 {
		return 0, 0, false
	}
	if i := strings.IndexByte(`"\/bfnrt`, s[1]); i >= 0 {
		return rune("\"\\/\b\f\n\r\t"[i]), 2, true
	}
	unit := func(s string) (rune, bool) {
		if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
			return 0, false
		}
		var v rune
		for _, c := range []byte(s[2:6]) {
			d := hexDigit(c)
			if d < 0 {
				return 0, false
			}
			v = v<<4 | rune(d)
		}
		return v, true
	}
	r, ok = unit(s)
	if !ok || !utf16.IsSurrogate(r) {
		return r, 6, ok
	}
	low, ok := unit(s[6:])
	r = utf16.DecodeRune(r, low)
	return r, 12, ok && r != utf8.RuneError
}

func skipScalar(s string, i int) (int, bool) {
	for _, w := range []string{"true", "false", "null"} {
		if strings.HasPrefix(s[i:], w) {
			return i + len(w), true
		}
	}
	start := i
	if s[i] == '-' {
		i++
	}
	for _, w := range []string{"infinity", "inf", "nan"} {
		if len(s) >= i+len(w) && strings.EqualFold(s[i:i+len(w)], w) {
			return i + len(w), true
		}
	}
	run := func() bool {
		from := i
		for i < len(s) && isDigit(s[i]) {
			i++
		}
		return i > from
	}
	zero := i < len(s) && s[i] == '0'
	from := i
	if !run() || zero && i > from+1 {
		return start, false
	}
	if i < len(s) && s[i] == '.' {
		if i++; !run() {
			return start, false
		}
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		if i++; i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		if !run() {
			return start, false
		}
	}
	return i, true
}

// Text returns the string value at the start of s, and its end.
func Text(s string) (string, int) {
	end, _ := skipString(s, 0)
	raw := s[1 : end-1]
	if !strings.Contains(raw, `\`) {
		return raw, end
	}
	var b strings.Builder
	for i := 0; i < len(raw); {
		if raw[i] != '\\' {
			b.WriteByte(raw[i])
			i++
			continue
		}
		r, n, _ := escape(raw[i:])
		b.WriteRune(r)
		i += n
	}
	return b.String(), end
}

// At returns the value at path in a valid JSON text.
func At(s string, path []string) (string, bool) {
	i := space(s, 0)
	for _, step := range path {
		var ok bool
		switch s[i] {
		case '{':
			i, ok = member(s, i+1, step)
		case '[':
			i, ok = element(s, i+1, step)
		}
		if !ok {
			return "", false
		}
	}
	end, ok := skip(s, i)
	return s[i:max(end, i)], ok
}

func member(s string, i int, key string) (int, bool) {
	for {
		if i = space(s, i); s[i] == '}' {
			return 0, false
		}
		k, n := Text(s[i:])
		i = space(s, space(s, i+n)+1)
		if k == key {
			return i, true
		}
		i = next(s, i)
	}
}

func element(s string, i int, step string) (int, bool) {
	at, err := strconv.ParseUint(step, 10, 62)
	if err != nil || len(step) > 1 && step[0] == '0' || step[0] == '+' {
		return 0, false
	}
	for {
		if i = space(s, i); s[i] == ']' {
			return 0, false
		}
		if at == 0 {
			return i, true
		}
		at--
		i = next(s, i)
	}
}

// next skips the value at i and a comma after it.
func next(s string, i int) int {
	end, _ := skip(s, i)
	if end = space(s, end); s[end] == ',' {
		end++
	}
	return end
}

// Elements returns the elements of an array.
func Elements(s string) []string {
	out := []string{}
	for i := space(s, 1); s[i] != ']'; i = space(s, next(s, i)) {
		end, _ := skip(s, i)
		out = append(out, s[i:end])
	}
	return out
}

// Members returns the elements of an array or the values of an object.
func Members(s string) (out []string, ok bool) {
	switch Kind(s) {
	case Array:
		return Elements(s), true
	case Object:
	default:
		return nil, false
	}
	out = []string{}
	for i := space(s, 1); s[i] != '}'; i = space(s, next(s, i)) {
		_, n := Text(s[i:])
		i = space(s, space(s, i+n)+1)
		end, _ := skip(s, i)
		out = append(out, s[i:end])
	}
	return out, true
}

// Deep returns the strings, numbers and bools under a key anywhere in a valid JSON text. It
// finds only keys without escapes.
func Deep(s, key string) []string {
	out := []string{}
	for i := 0; i < len(s); {
		if s[i] != '"' {
			i++
			continue
		}
		end, _ := skipString(s, i)
		at := space(s, end)
		if at >= len(s) || s[at] != ':' {
			i = end
			continue
		}
		name := s[i+1 : end-1]
		i = space(s, at+1)
		if name != key || s[i] == '{' || s[i] == '[' {
			continue
		}
		end, _ = skip(s, i)
		if v := s[i:end]; Kind(v) != Null && Kind(v) != Word {
			out = append(out, v)
		}
		i = end
	}
	return out
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// hexDigit returns the value of a hexadecimal digit, or -1.
func hexDigit(c byte) int {
	switch {
	case isDigit(c):
		return int(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' }
