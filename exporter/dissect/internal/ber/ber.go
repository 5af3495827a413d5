// Package ber reads the Basic Encoding Rules of ASN.1 (ITU-T X.690) as LDAP, SNMP and Kerberos use
// them: definite lengths and tags of one byte.
//
// A Reader walks over the elements of one level and never recurses: its caller decides how deep to
// read. It keeps references to the input only and allocates nothing.
package ber

import "strconv"

// Classes and the constructed bit of a tag.
const (
	Constructed = 0x20
	Application = 0x40
	Context     = 0x80
)

// Universal tags.
const (
	Boolean    = 0x01
	Integer    = 0x02
	BitString  = 0x03
	Octets     = 0x04
	Null       = 0x05
	OID        = 0x06
	Enumerated = 0x0a
	Sequence   = 0x30
	Set        = 0x31
)

// Header reads a tag and a length. size is the number of bytes of both, 0 if more are needed, -1 if
// they are neither.
func Header(b []byte) (tag byte, length int64, size int) {
	if len(b) < 2 {
		return 0, 0, 0
	}
	tag = b[0]
	if tag&0x1f == 0x1f { // a tag of several bytes
		return tag, 0, -1
	}
	n := int(b[1])
	if n < 0x80 {
		return tag, int64(n), 2
	}
	if n &= 0x7f; n == 0 || n > 8 { // an indefinite length, or one beyond any message
		return tag, 0, -1
	}
	if len(b) < 2+n {
		return tag, 0, 0
	}
	for _, c := range b[2 : 2+n] {
		if length>>47 != 0 {
			return tag, 0, -1
		}
		length = length<<8 | int64(c)
	}
	return tag, length, 2 + n
}

// Reader reads elements one after another. The zero value is empty.
type Reader struct {
	data []byte
	pos  int
	bad  bool
}

// New reads b.
func New(b []byte) Reader { return Reader{data: b} }

// Bad reports whether an element was missing, had another tag, or was longer than its parent.
func (r *Reader) Bad() bool { return r.bad }

// More reports whether bytes are left.
func (r *Reader) More() bool { return !r.bad && r.pos < len(r.data) }

// Used is the number of bytes read.
func (r *Reader) Used() int { return r.pos }

// Rest is what was not read.
func (r *Reader) Rest() []byte { return r.data[r.pos:] }

// Peek is the tag of the next element, 0 if there is none.
func (r *Reader) Peek() byte {
	if !r.More() {
		return 0
	}
	return r.data[r.pos]
}

// Next reads any element.
func (r *Reader) Next() (tag byte, body []byte) {
	if r.bad {
		return 0, nil
	}
	tag, length, size := Header(r.data[r.pos:])
	if size <= 0 || length > int64(len(r.data)-r.pos-size) {
		r.bad = true
		return 0, nil
	}
	body = r.data[r.pos+size : r.pos+size+int(length)]
	r.pos += size + int(length)
	return tag, body
}

// Expect reads an element that must have a tag.
func (r *Reader) Expect(tag byte) []byte {
	got, body := r.Next()
	if got != tag {
		r.bad = true
		return nil
	}
	return body
}

// Optional reads the next element if it has a tag.
func (r *Reader) Optional(tag byte) (body []byte, ok bool) {
	if r.Peek() != tag {
		return nil, false
	}
	_, body = r.Next()
	return body, !r.bad
}

// Enter reads an element that must have a tag, and returns a Reader of its content.
func (r *Reader) Enter(tag byte) Reader {
	body := r.Expect(tag)
	return Reader{data: body, bad: r.bad}
}

// Int reads an INTEGER or ENUMERATED with this tag.
func (r *Reader) Int(tag byte) int64 {
	v, ok := Int(r.Expect(tag))
	r.bad = r.bad || !ok
	return v
}

// Int is the value of an integer's content, which must fit.
func Int(b []byte) (v int64, ok bool) {
	if len(b) == 0 || len(b) > 8 {
		return 0, false
	}
	v = int64(int8(b[0]))
	for _, c := range b[1:] {
		v = v<<8 | int64(c)
	}
	return v, true
}

// AppendOID appends an object identifier as text, such as 1.3.6.1. ok is false if it is not one.
func AppendOID(dst, b []byte) (_ []byte, ok bool) {
	if len(b) == 0 || len(b) > 128 || b[len(b)-1]&0x80 != 0 {
		return dst, false
	}
	v, first := uint64(0), true
	for _, c := range b {
		if v > 1<<56 {
			return dst, false
		}
		v = v<<7 | uint64(c&0x7f)
		if c&0x80 != 0 {
			continue
		}
		if first {
			top := min(v/40, 2)
			dst = strconv.AppendUint(dst, top, 10)
			v -= top * 40
		}
		dst = strconv.AppendUint(append(dst, '.'), v, 10)
		v, first = 0, false
	}
	return dst, true
}
