package texts

import "errors"

// Types of fields in Thrift's compact protocol that are used here.
const (
	thriftTrue   = 1
	thriftFalse  = 2
	thriftByte   = 3
	thriftDouble = 7
	thriftBinary = 8
	thriftList   = 9
	thriftSet    = 10
	thriftMap    = 11
	thriftStruct = 12
)

// maxThrift is the highest nesting of values that are skipped.
const maxThrift = 32

var errThrift = errors.New("not valid in Thrift's compact protocol")

// thrift reads values of Thrift's compact protocol from memory and never past its end.
// After an error all values are zero and there are no more fields.
type thrift struct {
	b   []byte
	bad bool
}

func (t *thrift) byte() byte {
	if t.bad || len(t.b) == 0 {
		t.bad = true
		return 0
	}
	c := t.b[0]
	t.b = t.b[1:]
	return c
}

func (t *thrift) uvarint() uint64 {
	v, n := uvarint(t.b)
	if t.bad || n <= 0 {
		t.bad = true
		return 0
	}
	t.b = t.b[n:]
	return v
}

func (t *thrift) int() int64 { return unzigzag(t.uvarint()) }

// bytes returns a binary value without copying.
func (t *thrift) bytes() []byte {
	n := t.uvarint()
	if t.bad || n > uint64(len(t.b)) {
		t.bad = true
		return nil
	}
	v := t.b[:n:n]
	t.b = t.b[n:]
	return v
}

// list begins a list and returns the number of items. Each item has at least one byte, so there
// cannot be more items than bytes.
func (t *thrift) list() (kind byte, n int) {
	c := t.byte()
	size := uint64(c >> 4)
	if size == 15 {
		size = t.uvarint()
	}
	if t.bad || size > uint64(len(t.b)) {
		t.bad = true
		return 0, 0
	}
	return c & 15, int(size)
}

// structure calls do for the fields of a struct; do must read or skip each value.
func (t *thrift) structure(do func(id int16, kind byte)) {
	id := int16(0)
	for !t.bad {
		c := t.byte()
		if c == 0 {
			return
		}
		if step := int16(c >> 4); step != 0 {
			id += step
		} else {
			id = int16(t.int())
		}
		do(id, c&15)
	}
}

// each calls do for the items of a list of structs.
func (t *thrift) each(kind byte, do func()) {
	if kind != thriftList {
		t.bad = true
		return
	}
	item, n := t.list()
	if item != thriftStruct && n > 0 {
		t.bad = true
	}
	for i := 0; i < n && !t.bad; i++ {
		do()
	}
}

// skip skips a value.
func (t *thrift) skip(kind byte) { t.skipIn(kind, 0) }

func (t *thrift) skipIn(kind byte, depth int) {
	if depth > maxThrift {
		t.bad = true
	}
	switch kind {
	case thriftTrue, thriftFalse:
	case thriftByte:
		t.byte()
	case 4, 5, 6: // integers
		t.uvarint()
	case thriftDouble:
		for range 8 {
			t.byte()
		}
	case thriftBinary:
		t.bytes()
	case thriftList, thriftSet:
		item, n := t.list()
		for i := 0; i < n && !t.bad; i++ {
			t.item(item, depth+1)
		}
	case thriftMap:
		n := t.uvarint()
		if n == 0 {
			return
		}
		kinds := t.byte()
		for i := uint64(0); i < n && !t.bad; i++ {
			t.item(kinds>>4, depth+1)
			t.item(kinds&15, depth+1)
		}
	case thriftStruct:
		t.structure(func(_ int16, kind byte) { t.skipIn(kind, depth+1) })
	default:
		t.bad = true
	}
}

// item skips an item of a list or map; there a boolean has one byte.
func (t *thrift) item(kind byte, depth int) {
	if kind == thriftTrue || kind == thriftFalse {
		t.byte()
		return
	}
	t.skipIn(kind, depth)
}

func uvarint(b []byte) (v uint64, n int) {
	for i, c := range b {
		if i == 10 {
			return 0, -1
		}
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			return v, i + 1
		}
	}
	return 0, 0
}

func unzigzag(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }
