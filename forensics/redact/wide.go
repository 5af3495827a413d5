package redact

import (
	"encoding/binary"
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
	return apply(s, t.hits(s, tidy(append(t.assignments(s), t.counted(s)...))))
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
			t.n++
			t.report(byName, s[start:end])
			edits = append(edits, edit{start, end, t.p.mask})
			i = end
		}
	}
	return edits
}

// printable reports whether a byte is a character of ASCII that is shown.
func printable(c byte) bool { return c >= ' ' && c < 0x7f }
