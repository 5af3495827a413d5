package content

import (
	"bytes"
	"encoding/json"
	"iter"
	"strings"
)

// JSON is read without building it: Members, Elements and Documents give the parts of a value as
// they were written. They never recurse, and read damaged or cut text as far as it goes.

// Members are the names and values of an object, in order.
func Members(object []byte) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		i := space(object, 0)
		if i >= len(object) || object[i] != '{' {
			return
		}
		for i++; ; {
			if i = space(object, i); i < len(object) && object[i] == ',' {
				i = space(object, i+1)
			}
			if i >= len(object) || object[i] != '"' {
				return
			}
			name := i
			i = skip(object, i)
			key := object[name:i]
			if i = space(object, i); i >= len(object) || object[i] != ':' {
				return
			}
			value := space(object, i+1)
			if i = skip(object, value); i <= value || !yield(String(key), object[value:i]) {
				return
			}
		}
	}
}

// Elements are the values of an array, in order.
func Elements(array []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		i := space(array, 0)
		if i >= len(array) || array[i] != '[' {
			return
		}
		for i++; ; {
			if i = space(array, i); i < len(array) && array[i] == ',' {
				i = space(array, i+1)
			}
			if i >= len(array) || array[i] == ']' {
				return
			}
			value := i
			if i = skip(array, i); i <= value || !yield(array[value:i]) {
				return
			}
		}
	}
}

// Documents are the values of a text that has several, one after another.
func Documents(text []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for i := space(text, 0); i < len(text); i = space(text, i) {
			value := i
			if i = skip(text, i); i <= value || !yield(text[value:i]) {
				return
			}
		}
	}
}

// Member is the value of a member of an object, or nil.
func Member(object []byte, name string) []byte {
	for k, v := range Members(object) {
		if k == name {
			return v
		}
	}
	return nil
}

// Kind is the first byte of a value: { for an object, [ for an array, " for a text, else the
// number's or the word's; 0 if there is none.
func Kind(value []byte) byte {
	if i := space(value, 0); i < len(value) {
		return value[i]
	}
	return 0
}

// String is the text of a value that is one, or "".
func String(value []byte) string {
	if len(value) < 2 || value[0] != '"' || value[len(value)-1] != '"' {
		return ""
	}
	if in := value[1 : len(value)-1]; bytes.IndexByte(in, '\\') < 0 {
		return strings.ToValidUTF8(string(in), "\uFFFD")
	}
	var s string
	if json.Unmarshal(value, &s) != nil {
		return ""
	}
	return s
}

// Scalar is the text of a value that is a text, a number or a word.
func Scalar(value []byte) string {
	switch Kind(value) {
	case '"':
		return String(value)
	case '{', '[':
		return ""
	}
	return strings.ToValidUTF8(string(value), "\uFFFD")
}

// space returns the position of the first byte from i on that is not white space.
func space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

// skip returns the position after the value at i; at most the end of b.
func skip(b []byte, i int) int {
	if i >= len(b) {
		return i
	}
	if b[i] != '{' && b[i] != '[' {
		return skipScalar(b, i)
	}
	for depth := 0; i < len(b); {
		switch b[i] {
		case '{', '[':
			depth++
			i++
		case '}', ']':
			i++
			if depth--; depth == 0 {
				return i
			}
		case '"':
			i = skipScalar(b, i)
		default:
			i++
		}
	}
	return i
}

// skipScalar returns the position after the text, number or word at i.
func skipScalar(b []byte, i int) int {
	if b[i] != '"' {
		for ; i < len(b); i++ {
			switch b[i] {
			case ' ', '\t', '\r', '\n', ',', ':', ']', '}', '[', '{', '"':
				return i
			}
		}
		return i
	}
	for i++; i < len(b); {
		n := bytes.IndexByte(b[i:], '"')
		if n < 0 {
			return len(b)
		}
		i += n + 1
		slashes := 0
		for j := i - 2; j >= 0 && b[j] == '\\'; j-- {
			slashes++
		}
		if slashes%2 == 0 {
			return i
		}
	}
	return len(b)
}
