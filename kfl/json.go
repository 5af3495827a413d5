package kfl

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// JSON is read as DuckDB reads it: RFC 8259, plus a trailing comma and the literals NaN and
// Infinity. If a key repeats, its first value counts.

const (
	jsonNull   = 'n'
	jsonTrue   = 't'
	jsonFalse  = 'f'
	jsonString = '"'
	jsonObject = '{'
	jsonArray  = '['
	jsonNumber = '0'
	jsonWord   = 'N' // NaN, Infinity: not comparable numbers
)

// jsonKind returns the kind of a valid JSON value.
func jsonKind(s string) byte {
	c := s[0]
	switch {
	case c == '-' && len(s) > 1 && isLetter(s[1]), c == 'N', c == 'I', c == 'i', c == 'n' && s != "null":
		return jsonWord
	case c == '-' || isDigit(c):
		return jsonNumber
	}
	return c
}

// jsonValid reports whether s is one JSON value.
func jsonValid(s string) bool {
	i := jsonSpace(s, 0)
	end, ok := jsonSkip(s, i)
	return ok && jsonSpace(s, end) == len(s)
}

func jsonSpace(s string, i int) int {
	for i < len(s) && (s[i] == ' ' || s[i] == '\t' || s[i] == '\n' || s[i] == '\r') {
		i++
	}
	return i
}

// jsonSkip skips the value at i. It keeps the open brackets in a list, so nesting costs 1 byte
// per level and no stack.
func jsonSkip(s string, i int) (end int, ok bool) {
	var open []byte
	for {
		i = jsonSpace(s, i)
		if i >= len(s) {
			return 0, false
		}
		begun := false
		switch c := s[i]; c {
		case '{', '[':
			open = append(open, c)
			i, begun = i+1, true
		case '"':
			if i, ok = jsonSkipString(s, i); !ok {
				return 0, false
			}
		default:
			if i, ok = jsonSkipScalar(s, i); !ok {
				return 0, false
			}
		}
		// After a value: close lists and objects that end here, then go to the next value.
		for {
			if len(open) == 0 {
				return i, true
			}
			i = jsonSpace(s, i)
			if i >= len(s) {
				return 0, false
			}
			if !begun && s[i] == ',' {
				i, begun = jsonSpace(s, i+1), true
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
				if i, ok = jsonSkipString(s, i); !ok {
					return 0, false
				}
				if i = jsonSpace(s, i); i >= len(s) || s[i] != ':' {
					return 0, false
				}
				i++
			}
			break
		}
	}
}

func jsonSkipString(s string, i int) (int, bool) {
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
			_, n, ok := jsonEscape(s[i:])
			if !ok {
				return 0, false
			}
			i += n - 1
		}
	}
	return 0, false
}

// jsonEscape reads the escape at the start of s.
func jsonEscape(s string) (r rune, n int, ok bool) {
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

func jsonSkipScalar(s string, i int) (int, bool) {
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

// jsonText returns the string value at the start of s, and its end.
func jsonText(s string) (string, int) {
	end, _ := jsonSkipString(s, 0)
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
		r, n, _ := jsonEscape(raw[i:])
		b.WriteRune(r)
		i += n
	}
	return b.String(), end
}

// jsonAt returns the value at path in a valid JSON text.
func jsonAt(s string, path []string) (string, bool) {
	i := jsonSpace(s, 0)
	for _, step := range path {
		var ok bool
		switch s[i] {
		case '{':
			i, ok = jsonMember(s, i+1, step)
		case '[':
			i, ok = jsonElement(s, i+1, step)
		}
		if !ok {
			return "", false
		}
	}
	end, ok := jsonSkip(s, i)
	return s[i:max(end, i)], ok
}

func jsonMember(s string, i int, key string) (int, bool) {
	for {
		if i = jsonSpace(s, i); s[i] == '}' {
			return 0, false
		}
		k, n := jsonText(s[i:])
		i = jsonSpace(s, jsonSpace(s, i+n)+1)
		if k == key {
			return i, true
		}
		i = jsonNext(s, i)
	}
}

func jsonElement(s string, i int, step string) (int, bool) {
	at, err := strconv.ParseUint(step, 10, 62)
	if err != nil || len(step) > 1 && step[0] == '0' || step[0] == '+' {
		return 0, false
	}
	for {
		if i = jsonSpace(s, i); s[i] == ']' {
			return 0, false
		}
		if at == 0 {
			return i, true
		}
		at--
		i = jsonNext(s, i)
	}
}

// jsonNext skips the value at i and a comma after it.
func jsonNext(s string, i int) int {
	end, _ := jsonSkip(s, i)
	if end = jsonSpace(s, end); s[end] == ',' {
		end++
	}
	return end
}

// jsonAs converts a JSON value to kind to; a value of another kind is absent.
func jsonAs(s string, to kind) Value {
	kind := jsonKind(s)
	switch {
	case to == kText && kind == jsonString:
		t, _ := jsonText(s)
		return Text(t)
	case to == kFloat && kind == jsonNumber:
		f, _ := strconv.ParseFloat(s, 64)
		return Value{kind: kFloat, there: isFinite(f), flt: f}
	case to == kInt && kind == jsonNumber:
		v, err := strconv.ParseInt(s, 10, 64)
		return Value{kind: kInt, there: err == nil, num: v}
	case to == kBool && (kind == jsonTrue || kind == jsonFalse):
		return Bool(kind == jsonTrue)
	case to == kList && kind == jsonArray:
		out := Value{kind: kList, there: true, list: []Value{}}
		for i := jsonSpace(s, 1); s[i] != ']'; i = jsonSpace(s, jsonNext(s, i)) {
			end, _ := jsonSkip(s, i)
			out.list = append(out.list, Value{kind: kJSON, there: true, str: s[i:end]})
		}
		return out
	}
	return Value{}
}

// jsonMembers returns the elements of a JSON list or the values of a JSON object.
func jsonMembers(s string) (out []Value, ok bool) {
	kind := jsonKind(s)
	if kind != jsonArray && kind != jsonObject {
		return nil, false
	}
	out = []Value{}
	for i := jsonSpace(s, 1); s[i] != ']' && s[i] != '}'; i = jsonSpace(s, jsonNext(s, i)) {
		if kind == jsonObject {
			_, n := jsonText(s[i:])
			i = jsonSpace(s, jsonSpace(s, i+n)+1)
		}
		end, _ := jsonSkip(s, i)
		out = append(out, Value{kind: kJSON, there: true, str: s[i:end]})
	}
	return out, true
}

// jsonDeep returns the strings, numbers and bools under a key anywhere in a valid JSON text. It
// finds only keys without escapes.
func jsonDeep(s, key string) []Value {
	out := []Value{}
	for i := 0; i < len(s); {
		if s[i] != '"' {
			i++
			continue
		}
		end, _ := jsonSkipString(s, i)
		at := jsonSpace(s, end)
		if at >= len(s) || s[at] != ':' {
			i = end
			continue
		}
		name := s[i+1 : end-1]
		i = jsonSpace(s, at+1)
		if name != key || s[i] == '{' || s[i] == '[' {
			continue
		}
		end, _ = jsonSkip(s, i)
		if v := s[i:end]; jsonKind(v) != jsonNull && jsonKind(v) != jsonWord {
			out = append(out, Value{kind: kJSON, there: true, str: v})
		}
		i = end
	}
	return out
}
