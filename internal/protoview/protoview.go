// Package protoview renders a protobuf message without its schema.
//
// The wire format has field numbers and four shapes of values. The meaning of a value is
// guessed, so the text is for reading and searching, never a proof of types. The bytes remain
// the evidence. Output, depth and work are limited for any message.
package protoview

import (
	"math"
	"strconv"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// Limits of one text.
const (
	maxDepth = 16       // nested messages
	maxLook  = 64 << 10 // bytes of a field that the guess uses
	maxHex   = 256      // bytes shown of a field that is neither text nor message
	maxPack  = 64       // numbers shown of one packed field
)

// Append renders msg in at most limit bytes or slightly more, and appends that to dst; truncated text
// ends with "…":
//
//	{1: "world", 2: 150, 3: {1: -1}, 4: [1, 2, 3], 5: 0x00ff}
//
// Fields are in wire order, including repeated ones. Bytes that are not a message become hex.
func Append(dst, msg []byte, limit int) []byte {
	v := viewer{out: dst, end: len(dst) + limit}
	switch text, _ := isText(msg[:min(len(msg), maxLook)]); {
	case isMessage(msg, true):
		v.message(msg, 0)
	case text:
		v.text(msg)
	default:
		v.hex(msg)
	}
	return v.out
}

type viewer struct {
	out []byte
	end int
	cut bool
}

// full reports whether the limit is reached, and adds "…" once.
func (v *viewer) full() bool {
	if !v.cut && len(v.out) >= v.end {
		v.cut = true
		v.out = append(v.out, "…"...)
	}
	return v.cut
}

func (v *viewer) message(b []byte, depth int) {
	v.out = append(v.out, '{')
	v.fields(b, 0, depth)
	v.out = append(v.out, '}')
}

// fields renders fields up to the end of b or of the group. It returns the rest.
func (v *viewer) fields(b []byte, group protowire.Number, depth int) []byte {
	for first := true; len(b) > 0; first = false {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			v.hex(b)
			return nil
		}
		b = b[n:]
		if typ == protowire.EndGroupType {
			if num == group {
				return b
			}
			continue
		}
		if !first {
			v.out = append(v.out, ", "...)
		}
		if v.full() {
			return nil
		}
		v.out = strconv.AppendInt(v.out, int64(num), 10)
		v.out = append(v.out, ": "...)
		b = v.value(b, num, typ, depth)
	}
	return nil
}

func (v *viewer) value(b []byte, num protowire.Number, typ protowire.Type, depth int) []byte {
	switch typ {
	case protowire.VarintType:
		x, n := protowire.ConsumeVarint(b)
		if n >= 0 {
			v.out = strconv.AppendInt(v.out, int64(x), 10) // a negative int32 or int64 has ten bytes
			return b[n:]
		}
	case protowire.Fixed32Type:
		x, n := protowire.ConsumeFixed32(b)
		if n >= 0 {
			v.fixed32(x)
			return b[n:]
		}
	case protowire.Fixed64Type:
		x, n := protowire.ConsumeFixed64(b)
		if n >= 0 {
			v.fixed64(x)
			return b[n:]
		}
	case protowire.BytesType:
		x, n := protowire.ConsumeBytes(b)
		if n >= 0 {
			v.bytes(x, depth+1)
			return b[n:]
		}
	case protowire.StartGroupType:
		if depth < maxDepth {
			v.out = append(v.out, '{')
			b = v.fields(b, num, depth+1)
			v.out = append(v.out, '}')
			return b
		}
	}
	v.hex(b)
	return nil
}

// fixed32 renders a float if the bits make a likely one, else an integer.
func (v *viewer) fixed32(x uint32) {
	if f := float64(math.Float32frombits(x)); likely(f) {
		v.out = strconv.AppendFloat(v.out, f, 'g', -1, 32)
		return
	}
	v.out = strconv.AppendInt(v.out, int64(int32(x)), 10)
}

func (v *viewer) fixed64(x uint64) {
	if f := math.Float64frombits(x); likely(f) {
		v.out = strconv.AppendFloat(v.out, f, 'g', -1, 64)
		return
	}
	v.out = strconv.AppendInt(v.out, int64(x), 10)
}

// likely reports whether f has the magnitude of a number that people use; small integers read as
// floats are far below.
func likely(f float64) bool {
	f = math.Abs(f)
	return f > 1e-9 && f < 1e15
}

// bytes guesses between text, message, packed numbers and bytes.
func (v *viewer) bytes(b []byte, depth int) {
	look := b[:min(len(b), maxLook)]
	text, controls := isText(look)
	message := len(b) > 0 && depth < maxDepth && (!text || controls && look[0] < ' ') && isMessage(b, false)
	switch {
	case message:
		v.message(b, depth)
	case text:
		v.text(b)
	case isPacked(look) && len(look) == len(b):
		v.packed(b)
	default:
		v.hex(b)
	}
}

// isText reports whether b is likely text, possibly cut inside a character by maxLook, and
// whether it has tabs or line ends, with which a message may also begin.
func isText(b []byte) (ok, controls bool) {
	for i := 0; i < len(b); {
		c := b[i]
		switch {
		case c == '\n' || c == '\r' || c == '\t':
			controls = true
			i++
		case c < ' ' || c == 0x7f:
			return false, controls
		case c < utf8.RuneSelf:
			i++
		default:
			r, n := utf8.DecodeRune(b[i:])
			if r == utf8.RuneError && n < 2 {
				return len(b) == maxLook && len(b)-i < utf8.UTFMax, controls
			}
			i += n
		}
	}
	return true, controls
}

// isMessage reports whether b consists of fields, up to maxLook and without reading inside them.
// Groups are allowed only if b was sent as a message: elsewhere they are too rare, and would
// make random bytes look like one.
func isMessage(b []byte, groups bool) bool {
	for seen := 0; len(b) > 0 && seen < maxLook; {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 || typ == protowire.EndGroupType || typ == protowire.StartGroupType && !groups {
			return false
		}
		m := protowire.ConsumeFieldValue(num, typ, b[n:])
		if m < 0 {
			return false
		}
		b = b[n+m:]
		seen += n + 1
	}
	return true
}

// isPacked reports whether b can be a sequence of small varints, each in its shortest form.
// Hashes seldom match.
func isPacked(b []byte) bool {
	for len(b) > 0 {
		x, n := protowire.ConsumeVarint(b)
		if n < 0 || n > 3 || n != protowire.SizeVarint(x) {
			return false
		}
		b = b[n:]
	}
	return true
}

func (v *viewer) packed(b []byte) {
	v.out = append(v.out, '[')
	for i := 0; len(b) > 0; i++ {
		if i > 0 {
			v.out = append(v.out, ", "...)
		}
		if v.full() {
			break
		}
		if i == maxPack {
			v.out = append(v.out, "…"...)
			break
		}
		x, n := protowire.ConsumeVarint(b)
		v.out = strconv.AppendUint(v.out, x, 10)
		b = b[n:]
	}
	v.out = append(v.out, ']')
}

func (v *viewer) text(b []byte) {
	v.out = append(v.out, '"')
	for len(b) > 0 && !v.full() {
		r, n := utf8.DecodeRune(b)
		switch {
		case r == '"' || r == '\\':
			v.out = append(v.out, '\\', byte(r))
		case r == '\n':
			v.out = append(v.out, `\n`...)
		case r == '\r':
			v.out = append(v.out, `\r`...)
		case r == '\t':
			v.out = append(v.out, `\t`...)
		case r < ' ' || r == 0x7f || r == utf8.RuneError && n < 2:
			v.out = append(v.out, `\x`...)
			v.out = append(v.out, digits[b[0]>>4], digits[b[0]&15])
		default:
			v.out = append(v.out, b[:n]...)
		}
		b = b[n:]
	}
	v.out = append(v.out, '"')
}

const digits = "0123456789abcdef"

func (v *viewer) hex(b []byte) {
	v.out = append(v.out, '0', 'x')
	for i, c := range b {
		if v.full() {
			return
		}
		if i == maxHex {
			v.out = append(v.out, "…"...)
			return
		}
		v.out = append(v.out, digits[c>>4], digits[c&15])
	}
}
