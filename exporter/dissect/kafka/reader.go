package kafka

import (
	"encoding/hex"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/cursor"
	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// reader reads the types of the protocol. flex selects the compact ones of flexible versions,
// KIP-482.
type reader struct {
	cursor.Cursor
	flex bool
}

func newReader(b []byte, flex bool) *reader { return &reader{cursor.New(b), flex} }

func (r *reader) int8() int8   { return int8(r.Uint8()) }
func (r *reader) int16() int16 { return int16(r.Uint16()) }
func (r *reader) int32() int32 { return int32(r.Uint32()) }
func (r *reader) int64() int64 { return int64(r.Uint64()) }

// uvarint reads an unsigned number of at most 5 groups of 7 bits.
func (r *reader) uvarint() (n uint64) {
	for shift := 0; shift < 35; shift += 7 {
		b := r.Uint8()
		n |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return n
		}
	}
	r.Bytes(-1) // too long: the rest is not readable
	return 0
}

// varint reads a signed number of at most 10 groups, in zigzag coding.
func (r *reader) varint() int64 {
	var n uint64
	for shift := 0; shift < 70; shift += 7 {
		b := r.Uint8()
		n |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return int64(n>>1) ^ -int64(n&1)
		}
	}
	r.Bytes(-1)
	return 0
}

// count is the number of elements of an array or of bytes; 0 for null.
func (r *reader) count() int {
	n := int64(r.uncheckedCount())
	if n < 0 || r.Short() {
		return 0
	}
	return int(n)
}

func (r *reader) uncheckedCount() int32 {
	if r.flex {
		return int32(r.uvarint()) - 1
	}
	return r.int32()
}

// str reads a string, "" for null.
func (r *reader) str() []byte {
	n := 0
	if r.flex {
		n = int(r.uvarint()) - 1
	} else {
		n = int(r.int16())
	}
	if n <= 0 {
		return nil
	}
	return r.Bytes(n)
}

func (r *reader) uuid() (id [16]byte) {
	copy(id[:], r.Bytes(16))
	return id
}

// tags skips the tagged fields of a flexible version.
func (r *reader) tags() {
	if !r.flex {
		return
	}
	for n := r.uvarint(); n > 0 && !r.Short(); n-- {
		r.uvarint()
		r.Skip(int(r.uvarint()))
	}
}

// parseUUID is the id that uuidText wrote.
func parseUUID(s string) (id dissect.ID) {
	b, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err == nil {
		copy(id[:], b)
	}
	return id
}
