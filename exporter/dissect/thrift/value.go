package thrift

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/pcapsule/pcapsule/internal/clip"
)

// kind is the type of a value, as TBinaryProtocol numbers it (specs/thrift-binary-protocol.md).
type kind uint8

const (
	kindStop   kind = 0
	kindBool   kind = 2
	kindByte   kind = 3
	kindDouble kind = 4
	kindI16    kind = 6
	kindI32    kind = 8
	kindI64    kind = 10
	kindString kind = 11
	kindStruct kind = 12
	kindMap    kind = 13
	kindSet    kind = 14
	kindList   kind = 15
	kindUUID   kind = 16
)

// sizes are the bytes of the values in TBinaryProtocol that have a fixed size.
var sizes = map[kind]int{kindBool: 1, kindByte: 1, kindDouble: 8, kindI16: 2, kindI32: 4, kindI64: 8, kindUUID: 16}

func (k kind) valid() bool { return sizes[k] > 0 || k >= kindString && k <= kindList }

// compactKinds are the types by their numbers in TCompactProtocol (specs/thrift-compact-protocol.md).
// 1 and 2 are true and false.
var compactKinds = [...]kind{kindStop, kindBool, kindBool, kindByte, kindI16, kindI32, kindI64, kindDouble, kindString, kindList, kindSet, kindMap, kindStruct, kindUUID}

const (
	maxDepth = 64      // nested values
	maxText  = 1 << 10 // bytes of arguments or result as text
	maxPiece = 128     // bytes of one string in it
	maxKept  = 512     // bytes of the message of an exception
)

// level is a struct, list, set or map that is being read.
type level struct {
	kind kind
	of   [2]kind // types of elements, or of keys and values
	left int64   // elements, or keys and values
	last int16   // TCompactProtocol: number of the last field
	some bool    // something was written of it
}

// values reads the struct of a message piece by piece, in memory that does not depend on its size.
type values struct {
	compact bool
	stack   []level
	skip    int64 // bytes of a string that are not read yet
	text    []byte
	full    bool // text has no more room
	next    kind // type of the value after a field's head
	is      bool // value of a bool in a compact field's head
	done    bool

	first   int16  // number of the first field
	any     bool   // there is a field
	field   int16  // number of the newest field of the outer struct
	message string // first string in a field of the outer struct, or of a struct in it
	code    int32  // first i32 of the outer struct
}

func newValues(compact bool) values {
	return values{compact: compact, stack: []level{{kind: kindStruct}}}
}

// read reads from the front of b and returns the bytes read. It needs at most the rest of one number,
// or of a string's first bytes, to continue.
func (v *values) read(b []byte) (n int, err error) {
	for !v.done {
		if v.skip > 0 {
			take := min(v.skip, int64(len(b)-n))
			v.skip -= take
			n += int(take)
			if v.skip > 0 {
				return n, nil
			}
			v.settle()
			continue
		}
		took, err := v.step(b[n:])
		if took == more || err != nil {
			return n, err
		}
		n += took
	}
	return n, nil
}

// more is returned instead of a number of bytes if they are not all there.
const more = -1

// step reads the head of a field or one value.
func (v *values) step(b []byte) (int, error) {
	top := &v.stack[len(v.stack)-1]
	if v.next != kindStop {
		k := v.next
		v.next = kindStop
		n, err := v.value(k, b)
		if n == more {
			v.next = k
		}
		return n, err
	}
	if top.kind == kindStruct {
		return v.head(top, b)
	}
	at := 0
	if top.kind == kindMap && top.left%2 == 1 {
		at = 1
	}
	return v.value(top.of[at], b)
}

// head reads the head of a field, or the end of a struct.
func (v *values) head(top *level, b []byte) (int, error) {
	if len(b) == 0 {
		return more, nil
	}
	k, id, n := kind(b[0]), int16(0), 3
	if v.compact {
		code := b[0] & 15
		if int(code) >= len(compactKinds) {
			return 0, fmt.Errorf("reading a field: unknown type %d", code)
		}
		k, n = compactKinds[code], 1
		v.is = code == 1
		id = top.last + int16(b[0]>>4)
		if b[0]>>4 == 0 && k != kindStop {
			u, size := binary.Uvarint(b[1:min(len(b), 4)])
			if size <= 0 {
				return short(b[1:], 3)
			}
			id, n = int16(u>>1)^-int16(u&1), 1+size
		}
		top.last = id
	} else if k.valid() {
		if len(b) < 3 {
			return more, nil
		}
		id = int16(binary.BigEndian.Uint16(b[1:]))
	}
	if k == kindStop {
		v.close()
		return 1, nil
	}
	if !k.valid() {
		return 0, fmt.Errorf("reading a field: unknown type %d", k)
	}
	if len(v.stack) == 1 {
		if !v.any {
			v.first, v.any = id, true
		}
		v.field = id
	}
	v.separate(top)
	v.put(strconv.Itoa(int(id)) + ": ")
	v.next = k
	if v.compact && k == kindBool { // its value is in the head
		v.put(strconv.FormatBool(v.is))
		v.next = kindStop
	}
	return n, nil
}

// short reports a number that is not complete in b, or too long.
func short(b []byte, most int) (int, error) {
	if len(b) >= most {
		return 0, errors.New("reading a value: a number is longer than its type")
	}
	return more, nil
}

// number reads a varint of TCompactProtocol.
func number(b []byte) (u uint64, n int, err error) {
	u, n = binary.Uvarint(b)
	if n <= 0 {
		n, err = short(b, binary.MaxVarintLen64)
	}
	return u, n, err
}

// value reads a value of type k.
func (v *values) value(k kind, b []byte) (n int, err error) {
	switch {
	case k == kindStruct:
		return v.open(level{kind: kindStruct}, 0)
	case k == kindString:
		return v.str(b)
	case k == kindList || k == kindSet || k == kindMap:
		return v.container(k, b)
	}
	var i int64
	size := sizes[k]
	if v.compact && (k == kindI16 || k == kindI32 || k == kindI64) {
		u, n, err := number(b)
		if n == more || err != nil {
			return more, err
		}
		i, size = int64(u>>1)^-int64(u&1), n
	} else if len(b) < size {
		return more, nil
	}
	v.elementBegins()
	switch {
	case k == kindBool:
		v.put(strconv.FormatBool(b[0] == 1))
	case k == kindDouble && v.compact:
		v.put(strconv.FormatFloat(math.Float64frombits(binary.LittleEndian.Uint64(b)), 'g', -1, 64))
	case k == kindDouble:
		v.put(strconv.FormatFloat(math.Float64frombits(binary.BigEndian.Uint64(b)), 'g', -1, 64))
	case k == kindUUID:
		v.put(fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:16]))
	case v.compact && k != kindByte:
		v.integer(k, i)
	default:
		v.integer(k, signed(b[:size]))
	}
	v.settle()
	return size, nil
}

func signed(b []byte) (i int64) {
	for _, c := range b {
		i = i<<8 | int64(c)
	}
	return i << (64 - 8*len(b)) >> (64 - 8*len(b))
}

func (v *values) integer(k kind, i int64) {
	if k == kindI32 && len(v.stack) == 1 && v.code == 0 {
		v.code = int32(i)
	}
	v.put(strconv.FormatInt(i, 10))
}

// str reads the length of a string and as much of it as is shown; the rest is skipped.
func (v *values) str(b []byte) (n int, err error) {
	size, n, err := v.length(b)
	if n == more || err != nil {
		return more, err
	}
	show := int(min(size, maxKept))
	if len(b) < n+show {
		return more, nil
	}
	v.elementBegins()
	piece := b[n : n+show]
	if clip.Printable(piece) {
		v.put(strconv.Quote(clip.Text(piece, maxPiece)))
		if v.message == "" && len(v.stack) <= 2 {
			v.message = clip.Line(piece, maxKept)
		}
	} else {
		v.put(clip.Count(size, "byte", "bytes"))
	}
	if v.skip = size - int64(show); v.skip == 0 {
		v.settle()
	}
	return n + show, nil
}

// length reads the length of a string or container.
func (v *values) length(b []byte) (size int64, n int, err error) {
	if v.compact {
		u, n, err := number(b)
		if u > math.MaxInt32 {
			return 0, 0, fmt.Errorf("reading a value: a length of %d", u)
		}
		return int64(u), n, err
	}
	if len(b) < 4 {
		return 0, more, nil
	}
	if size = int64(int32(binary.BigEndian.Uint32(b))); size < 0 {
		return 0, 0, fmt.Errorf("reading a value: a length of %d", size)
	}
	return size, 4, nil
}

// container reads the head of a list, set or map.
func (v *values) container(k kind, b []byte) (n int, err error) {
	l := level{kind: k}
	switch {
	case v.compact && k == kindMap:
		var size int64
		if size, n, err = v.length(b); n == more || err != nil {
			return more, err
		}
		l.left = 2 * size
		if size > 0 {
			if len(b) == n {
				return more, nil
			}
			l.of = [2]kind{compactKind(b[n] >> 4), compactKind(b[n] & 15)}
			n++
		}
	case v.compact:
		if len(b) == 0 {
			return more, nil
		}
		l.of[0], l.left, n = compactKind(b[0]&15), int64(b[0]>>4), 1
		if l.left == 15 {
			var size int
			if l.left, size, err = v.length(b[1:]); size == more || err != nil {
				return more, err
			}
			n += size
		}
	default:
		types := 1
		if k == kindMap {
			types = 2
		}
		if len(b) < types+4 {
			return more, nil
		}
		l.of = [2]kind{kind(b[0]), kind(b[types-1])}
		if l.left, _, err = v.length(b[types:]); err != nil {
			return 0, err
		}
		l.left *= int64(types)
		n = types + 4
	}
	if l.left > 0 && (!l.of[0].valid() || k == kindMap && !l.of[1].valid()) {
		return 0, fmt.Errorf("reading a value: unknown types of elements %d and %d", l.of[0], l.of[1])
	}
	return v.open(l, n)
}

func compactKind(code byte) kind {
	if int(code) >= len(compactKinds) {
		return kindStop
	}
	return compactKinds[code]
}

// open begins a struct or container after n bytes of it were read. The head of a struct has no bytes, so its first
// field is read too.
func (v *values) open(l level, n int) (int, error) {
	if len(v.stack) == maxDepth {
		return 0, fmt.Errorf("reading a value: more than %d are nested", maxDepth)
	}
	v.elementBegins()
	v.put(brackets[l.kind][0])
	v.stack = append(v.stack, l)
	if l.kind != kindStruct && l.left == 0 {
		v.close()
	}
	return n, nil
}

// close ends the innermost struct or container.
func (v *values) close() {
	top := v.stack[len(v.stack)-1]
	v.stack = v.stack[:len(v.stack)-1]
	if len(v.stack) == 0 {
		v.done = true
		return
	}
	v.put(brackets[top.kind][1])
	v.settle()
}

// settle ends a value: an element of its container is complete.
func (v *values) settle() {
	top := &v.stack[len(v.stack)-1]
	if top.kind == kindStruct {
		return
	}
	if top.left--; top.left == 0 {
		v.close()
	}
}
