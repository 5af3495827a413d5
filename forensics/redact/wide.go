package redact

import (
	"encoding/binary"
	"slices"
	"strings"
	"unicode/utf16"
)

// wide reads text in UTF-16 (RFC 2781, section 3). Without a byte order mark most of its characters must be in ASCII, so that
// every second byte is zero.
func wide(v string) (text string, order binary.ByteOrder) {
	if len(v) < 8 || len(v)%2 != 0 {
		return "", nil
	}
	switch {
	case v[0] == 0xff && v[1] == 0xfe:
		order = binary.LittleEndian
	case v[0] == 0xfe && v[1] == 0xff:
		order = binary.BigEndian
	default:
		var zeros [2]int // at even and odd places
		for i := range len(v) {
			if v[i] == 0 {
				zeros[i%2]++
			}
		}
		switch most := len(v) / 2 * 3 / 4; {
		case zeros[1] >= most && zeros[0] == 0:
			order = binary.LittleEndian
		case zeros[0] >= most && zeros[1] == 0:
			order = binary.BigEndian
		default:
			return "", nil
		}
	}
	units := make([]uint16, len(v)/2)
	for i := range units {
		units[i] = order.Uint16([]byte(v[2*i : 2*i+2]))
	}
	return string(utf16.Decode(units)), order
}

// widen writes text in UTF-16.
func widen(text string, order binary.ByteOrder) string {
	var v []byte
	for _, u := range utf16.Encode([]rune(text)) {
		v = append(v, 0, 0)
		order.PutUint16(v[len(v)-2:], u)
	}
	return string(v)
}

// binary masks bytes that are not text: text in UTF-16, values after names and signs, and values after names and lengths.
func (t *task) binary(s string) string {
	if text, order := wide(s); order != nil {
		return widen(t.text("", text, 1), order)
	}
	return t.narrow(s)
}

// narrow is binary for bytes that are no text in UTF-16.
func (t *task) narrow(s string) string {
	return apply(s, t.hits(s, tidy(slices.Concat(t.assignments(s), t.counted(s), t.cbor(s)))))
}

// maxLength is the largest size of the length before a text, with its type, in bytes: MessagePack has 5.
const maxLength = 5

// counted returns the edits for texts after secret names in MessagePack, Kafka and similar formats: a name, the length of the
// text in bytes that are no letters, and the text.
func (t *task) counted(s string) (edits []edit) {
	for i := 0; i < len(s); {
		n := span(s, i, len(s), token)
		if n == 0 {
			i++
			continue
		}
		name := s[i : i+n]
		i += n
		start := i
		for start < len(s) && start-i < maxLength && !printable(s[start]) {
			start++
		}
		end := start
		for end < len(s) && printable(s[end]) {
			end++
		}
		if start > i && end > start && t.secret(nil, name) && !strings.HasPrefix(s[start:], t.p.mask) {
			edits = append(edits, t.cover(s, start, end))
			i = end
		}
	}
	return edits
}

// printable reports whether a byte is a character of ASCII that is shown.
func printable(c byte) bool { return c >= ' ' && c < 0x7f }

// CBOR (RFC 8949, section 3.1): the high three bits of the first byte of an item are its type, the others its length or where
// that is.
const (
	cborBytes, cborText = 2, 3
	cborShort           = 24 // lengths below it are in the first byte
)

// cbor returns the edits for values after secret names in CBOR, whose lengths may be characters: "hpasswordgsecret1".
func (t *task) cbor(s string) (edits []edit) {
	for i := 0; i < len(s); i++ {
		n := int(s[i] & 31)
		if s[i]>>5 != cborText || n < 3 || n >= cborShort || i+1+n >= len(s) || span(s, i+1, n, token) < n {
			continue
		}
		start := i + 1 + n
		length, head := cborLength(s[start:])
		if head == 0 || length == 0 || !t.secret(nil, s[i+1:start]) {
			continue
		}
		start += head
		if end := min(start+length, len(s)); end > start && !strings.HasPrefix(s[start:], t.p.mask) {
			edits = append(edits, t.cover(s, start, end))
			i = end - 1
		}
	}
	return edits
}

// cborLength reads the beginning of a text or of bytes: their length, and that of the beginning in bytes, 0 if s is neither.
func cborLength(s string) (length, head int) {
	if kind := s[0] >> 5; kind != cborText && kind != cborBytes {
		return 0, 0
	}
	switch n := int(s[0] & 31); {
	case n < cborShort:
		return n, 1
	case n == 24 && len(s) > 1:
		return int(s[1]), 2
	case n == 25 && len(s) > 2:
		return int(s[1])<<8 | int(s[2]), 3
	}
	return 0, 0
}
