package clickhouse

import (
	"encoding/binary"
	"errors"
	"unicode/utf8"
)

var (
	errShort = errors.New("more bytes are needed")
	errBytes = errors.New("reading a packet: it is not of ClickHouse's native protocol")
)

// cursor reads the fields of a packet. After an error, every field is zero.
type cursor struct {
	b    []byte
	at   int
	need int // bytes that are needed, if that is known
	err  error
}

func (r *cursor) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// take returns the next n bytes.
func (r *cursor) take(n int) []byte {
	if r.err != nil {
		return nil
	}
	if n > len(r.b)-r.at {
		r.need = r.at + n
		r.fail(errShort)
		return nil
	}
	r.at += n
	return r.b[r.at-n : r.at]
}

func (r *cursor) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

// flag reads a byte that is 0 or 1.
func (r *cursor) flag() bool {
	b := r.byte()
	if b > 1 {
		r.fail(errBytes)
	}
	return b == 1
}

func (r *cursor) u32() uint32 {
	if b := r.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (r *cursor) u64() uint64 {
	if b := r.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// uvarint reads a number in LEB128.
func (r *cursor) uvarint() uint64 {
	if r.err != nil {
		return 0
	}
	v, n := binary.Uvarint(r.b[r.at:])
	switch {
	case n > 0:
		r.at += n
		return v
	case n == 0 && len(r.b)-r.at < binary.MaxVarintLen64:
		r.fail(errShort)
	default:
		r.fail(errBytes)
	}
	return 0
}

// bytes reads a text of at most most bytes.
func (r *cursor) bytes(most int) []byte {
	n := r.uvarint()
	if n > uint64(most) {
		r.fail(errBytes)
		return nil
	}
	return r.take(int(n))
}

// name reads a short text, which must be one line of valid text, also as far as it is there.
func (r *cursor) name() string {
	n := r.uvarint()
	if n > maxName {
		r.fail(errBytes)
	}
	if r.err != nil {
		return ""
	}
	have := r.b[r.at:min(r.at+int(n), len(r.b))]
	if !readable(have, len(have) < int(n)) {
		r.fail(errBytes)
	}
	return string(r.take(int(n)))
}

// readable reports whether b has no control characters. cut says that its last character may be incomplete.
func readable(b []byte, cut bool) bool {
	for i := 0; i < len(b); {
		c, n := utf8.DecodeRune(b[i:])
		if c < ' ' || c == 0x7f || c == utf8.RuneError && n == 1 && !(cut && len(b)-i < utf8.UTFMax) {
			return false
		}
		i += n
	}
	return true
}
