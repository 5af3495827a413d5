package amqp1

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"strconv"
	"time"

	"github.com/pcapsule/pcapsule/exporter/cursor"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/message"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// value is a value of AMQP 1.0, part 1. What a list or map holds is only read on request, so nesting
// costs nothing.
type value struct {
	code  byte
	b     []byte
	count int    // of a list, map or array
	desc  uint64 // descriptor, 0 if it has none
}

// reader reads values, AMQP 1.0 section 1.2.
type reader struct{ cursor.Cursor }

func newReader(b []byte) *reader { return &reader{cursor.New(b)} }

// value reads a value with its descriptor.
func (r *reader) value() value {
	code := r.Uint8()
	if code != 0 {
		return r.plain(code)
	}
	d := r.plain(r.Uint8())
	v := r.plain(r.Uint8())
	v.desc = d.uint()
	return v
}

// plain reads a value without a descriptor.
func (r *reader) plain(code byte) value {
	v := value{code: code}
	switch high := code >> 4; high {
	case 4:
	case 5, 6, 7, 8, 9:
		v.b = r.Bytes(1 << (high - 5))
	case 0xa:
		v.b = r.Bytes(int(r.Uint8()))
	case 0xb:
		v.b = r.Bytes(int(r.Uint32()))
	case 0xc, 0xe:
		if v.b = r.Bytes(int(r.Uint8())); len(v.b) > 0 {
			v.count, v.b = int(v.b[0]), v.b[1:]
		}
	case 0xd, 0xf:
		if v.b = r.Bytes(int(r.Uint32())); len(v.b) >= 4 {
			v.count, v.b = int(binary.BigEndian.Uint32(v.b)), v.b[4:]
		}
	default:
		r.Bytes(-1)
	}
	return v
}

// fields are the values of a list; those at its end may be left out.
type fields []value

// at is a field.
func (f fields) at(i int) value {
	if i < len(f) {
		return f[i]
	}
	return value{}
}

// items reads at most most values of a list or map.
func (v value) items(most int) (list fields) {
	if high := v.code >> 4; high != 0xc && high != 0xd {
		return nil
	}
	for r := newReader(v.b); len(list) < min(v.count, most) && r.Left() > 0; {
		i := r.value()
		if r.Short() {
			break
		}
		list = append(list, i)
	}
	return list
}

// null reports whether the value is absent.
func (v value) null() bool { return v.code == 0 || v.code == 0x40 }

// uint is a number without a sign.
func (v value) uint() uint64 {
	var wide [8]byte
	if high := v.code >> 4; high < 5 || high > 8 {
		return 0
	}
	copy(wide[8-len(v.b):], v.b)
	return binary.BigEndian.Uint64(wide[:])
}

// yes is a boolean.
func (v value) yes() bool { return v.code == 0x41 || v.code == 0x56 && len(v.b) > 0 && v.b[0] != 0 }

// bytes are those of a binary, a string or a symbol.
func (v value) bytes() []byte {
	if high := v.code >> 4; high == 0xa || high == 0xb {
		return v.b
	}
	return nil
}

// text is a value in a row, empty if it is a list, map or array.
func (v value) text() string {
	n := v.uint()
	switch v.code {
	case 0x41, 0x42, 0x56:
		return strconv.FormatBool(v.yes())
	case 0x51, 0x54, 0x55: // one byte with a sign
		return strconv.Itoa(int(int8(n)))
	case 0x61:
		return strconv.Itoa(int(int16(n)))
	case 0x71:
		return strconv.Itoa(int(int32(n)))
	case 0x81:
		return strconv.FormatInt(int64(n), 10)
	case 0x72:
		return strconv.FormatFloat(float64(math.Float32frombits(uint32(n))), 'g', -1, 32)
	case 0x82:
		return strconv.FormatFloat(math.Float64frombits(n), 'g', -1, 64)
	case 0x83:
		return time.UnixMilli(int64(n)).UTC().Format(time.RFC3339Nano)
	case 0x43, 0x44, 0x50, 0x52, 0x53, 0x60, 0x70, 0x80:
		return strconv.FormatUint(n, 10)
	case 0x98: // uuid
		return hex.EncodeToString(v.b)
	}
	return message.Show(v.bytes())
}

// opt is the text of a value that may be absent.
func (v value) opt() table.Opt[string] { return table.NonEmpty(v.text()) }
