package mongodb

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"strconv"
	"time"

	"github.com/pcapsule/pcapsule/internal/clip"
)

// Types of BSON, https://bsonspec.org/spec.html
const (
	typeDouble    = 0x01
	typeString    = 0x02
	typeDocument  = 0x03
	typeArray     = 0x04
	typeBinary    = 0x05
	typeUndefined = 0x06
	typeObjectID  = 0x07
	typeBool      = 0x08
	typeDate      = 0x09
	typeNull      = 0x0a
	typeRegex     = 0x0b
	typePointer   = 0x0c
	typeCode      = 0x0d
	typeSymbol    = 0x0e
	typeScoped    = 0x0f
	typeInt32     = 0x10
	typeTimestamp = 0x11
	typeInt64     = 0x12
	typeDecimal   = 0x13
	typeMax       = 0x7f
	typeMin       = 0xff
)

const (
	minDocument = 5        // its length and the zero at its end
	maxDocument = 48 << 20 // a message's limit; the server's limit for a document is 16 MiB and some
	maxDepth    = 32       // nested documents that are shown; the server's limit is 100
)

var errDocument = errors.New("expected a BSON document")

var le = binary.LittleEndian

// element is an element of a document. Its value aliases the message.
type element struct {
	kind  byte
	key   []byte
	value []byte // what follows the key; of a document that is cut, as far as it goes
	whole bool
}

// elements calls f for the elements of a document until it returns false. A document that is longer
// than b ends early: whole is false then. This is a reader of our own because documents here may be
// cut, which no library reads. It never recurses.
func elements(b []byte, f func(e element) bool) (whole bool, err error) {
	if len(b) < 4 {
		return false, nil
	}
	size := int64(int32(le.Uint32(b)))
	if size < minDocument || size > maxDocument {
		return false, errDocument
	}
	cut := int64(len(b)) < size
	b = b[:min(int64(len(b)), size)]
	if !cut && b[size-1] != 0 {
		return false, errDocument
	}
	if !cut {
		b = b[:size-1]
	}
	for at := 4; at < len(b); {
		e := element{kind: b[at]}
		n := bytes.IndexByte(b[at+1:], 0)
		if n < 0 {
			return false, notCut(cut)
		}
		e.key = b[at+1 : at+1+n]
		at += n + 2
		length := valueSize(e.kind, b[at:])
		if length == errSize {
			return false, errDocument
		}
		e.whole = length >= 0 && length <= len(b)-at
		if !e.whole && !cut {
			return false, errDocument
		}
		if !e.whole {
			length = len(b) - at
		}
		e.value = b[at : at+length]
		at += length
		if !f(e) {
			return false, nil
		}
	}
	return !cut, nil
}

func notCut(cut bool) error {
	if cut {
		return nil
	}
	return errDocument
}

const (
	moreSize = -1 // more bytes are needed
	errSize  = -2
)

// valueSize is the number of bytes of a value at the front of b.
func valueSize(kind byte, b []byte) int {
	switch kind {
	case typeUndefined, typeNull, typeMax, typeMin:
		return 0
	case typeBool:
		return 1
	case typeInt32:
		return 4
	case typeDouble, typeDate, typeTimestamp, typeInt64:
		return 8
	case typeObjectID:
		return 12
	case typeDecimal:
		return 16
	case typeRegex:
		n := bytes.IndexByte(b, 0)
		if n < 0 {
			return moreSize
		}
		m := bytes.IndexByte(b[n+1:], 0)
		if m < 0 {
			return moreSize
		}
		return n + m + 2
	case typeString, typeCode, typeSymbol:
		return prefixed(b, 4, 1)
	case typePointer:
		return prefixed(b, 16, 1)
	case typeBinary:
		return prefixed(b, 5, 0)
	case typeDocument, typeArray, typeScoped:
		return prefixed(b, 0, minDocument)
	}
	return errSize
}

// prefixed is the size of a value that begins with its length, plus more bytes.
func prefixed(b []byte, more, least int) int {
	if len(b) < 4 {
		return moreSize
	}
	n := int64(int32(le.Uint32(b)))
	if n < int64(least) || n > maxDocument {
		return errSize
	}
	return int(n) + more
}

// text is a string's content, if e is one and complete.
func (e *element) text() ([]byte, bool) {
	if e.kind != typeString || !e.whole {
		return nil, false
	}
	return e.value[4 : len(e.value)-1], true
}

// number is a value as a number, if e is one.
func (e *element) number() (float64, bool) {
	if !e.whole {
		return 0, false
	}
	switch e.kind {
	case typeDouble:
		return math.Float64frombits(le.Uint64(e.value)), true
	case typeInt32:
		return float64(int32(le.Uint32(e.value))), true
	case typeInt64:
		return float64(int64(le.Uint64(e.value))), true
	case typeBool:
		return float64(e.value[0]), true
	}
	return 0, false
}

// integer is a value as an integer, if e is a number.
func (e *element) integer() (int64, bool) {
	if e.kind == typeInt64 && e.whole {
		return int64(le.Uint64(e.value)), true
	}
	f, ok := e.number()
	if !ok || math.IsNaN(f) || f < math.MinInt64 || f > 1<<62 {
		return 0, false
	}
	return int64(f), true
}

func (e *element) nested() bool { return e.kind == typeDocument || e.kind == typeArray }

// text is b as valid text of at most maxText bytes.
func text(b []byte) string { return clip.Text(b, maxText) }

// show appends a value as text to b, at most until it has most bytes.
func show(b []byte, e element, most, depth int) []byte {
	if len(b) >= most {
		return b
	}
	switch e.kind {
	case typeNull, typeUndefined:
		return append(b, "NULL"...)
	case typeMax:
		return append(b, "MaxKey"...)
	case typeMin:
		return append(b, "MinKey"...)
	}
	if e.nested() {
		return showNested(b, e, most, depth)
	}
	if !e.whole {
		return append(b, "…"...)
	}
	v := e.value
	switch e.kind {
	case typeString, typeCode, typeSymbol:
		return append(b, text(v[4:len(v)-1])...)
	case typeDouble:
		return strconv.AppendFloat(b, math.Float64frombits(le.Uint64(v)), 'g', -1, 64)
	case typeInt32:
		return strconv.AppendInt(b, int64(int32(le.Uint32(v))), 10)
	case typeInt64:
		return strconv.AppendInt(b, int64(le.Uint64(v)), 10)
	case typeBool:
		return strconv.AppendBool(b, v[0] != 0)
	case typeDate:
		return time.UnixMilli(int64(le.Uint64(v))).UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z")
	case typeTimestamp:
		return strconv.AppendUint(append(strconv.AppendUint(b, uint64(le.Uint32(v[4:])), 10), ','), uint64(le.Uint32(v)), 10)
	case typeObjectID:
		return hex.AppendEncode(b, v)
	case typeBinary:
		if v[4] == 4 && len(v) == 21 {
			return append(b, clip.UUID(v[5:])...)
		}
		v = v[5:]
	case typeRegex:
		pattern, options, _ := bytes.Cut(v[:len(v)-1], []byte{0})
		return append(append(append(append(b, '/'), text(pattern)...), '/'), text(options)...)
	}
	b = hex.AppendEncode(append(b, "0x"...), v[:min(len(v), maxText/2)])
	if len(v) > maxText/2 {
		b = append(b, "…"...)
	}
	return b
}

// showNested appends a document or an array.
func showNested(b []byte, e element, most, depth int) []byte {
	begin, end := byte('{'), byte('}')
	if e.kind == typeArray {
		begin, end = '[', ']'
	}
	b = append(b, begin)
	if depth >= maxDepth {
		return append(append(b, "…"...), end)
	}
	first := true
	_, _ = elements(e.value, func(in element) bool { // what cannot be read is left out; the message's reader reports it
		if !first {
			b = append(b, ", "...)
		}
		first = false
		if len(b) >= most {
			b = append(b, "…"...)
			return false
		}
		if e.kind == typeDocument {
			b = append(append(b, text(in.key)...), ": "...)
		}
		b = show(b, in, most, depth+1)
		return true
	})
	return append(b, end)
}
