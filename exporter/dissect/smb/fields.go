package smb

import (
	"encoding/binary"
	"unicode/utf16"

	"github.com/pcapsule/pcapsule/internal/clip"
)

// message is one command, or its beginning. Fields beyond its end are zero and set short.
type message struct {
	b     []byte
	at    int // of b in the input
	short bool
}

func (m *message) bytes(at, n int) []byte {
	if at < 0 || n < 0 || at > len(m.b) || n > len(m.b)-at {
		m.short = true
		return nil
	}
	return m.b[at : at+n]
}

func (m *message) u8(at int) int {
	if b := m.bytes(at, 1); b != nil {
		return int(b[0])
	}
	return 0
}

func (m *message) u16(at int) int {
	if b := m.bytes(at, 2); b != nil {
		return int(binary.LittleEndian.Uint16(b))
	}
	return 0
}

func (m *message) u32(at int) int64 {
	if b := m.bytes(at, 4); b != nil {
		return int64(binary.LittleEndian.Uint32(b))
	}
	return 0
}

func (m *message) u64(at int) uint64 {
	if b := m.bytes(at, 8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// wide is text in UTF-16.
func (m *message) wide(at, n int) string { return wide(m.bytes(at, n)) }

// wide is b, text in UTF-16, on one line.
func wide(b []byte) string {
	units := make([]uint16, 0, min(len(b)/2, maxText))
	for i := 0; i+1 < len(b) && len(units) < maxText; i += 2 {
		units = append(units, binary.LittleEndian.Uint16(b[i:]))
	}
	return clip.Line([]byte(string(utf16.Decode(units))), maxText)
}

// text is the text at a position up to its zero, in UTF-16 or one byte for each character, and where
// it ends. UTF-16 begins at an even position.
func (m *message) text(at int, unicode bool) (string, int) {
	if at < 0 || at >= len(m.b) {
		return "", at
	}
	if !unicode {
		end := at
		for end < len(m.b) && m.b[end] != 0 {
			end++
		}
		return clip.Line(m.b[at:end], maxText), end + 1
	}
	at += at & 1
	end := at
	for end+1 < len(m.b) && (m.b[end] != 0 || m.b[end+1] != 0) {
		end += 2
	}
	return wide(m.b[min(at, len(m.b)):min(end, len(m.b))]), end + 2
}
