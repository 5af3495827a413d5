package tds

import "github.com/pcapsule/pcapsule/internal/clip"

// Types of values that are not alone in their class, section 2.2.5.4.
const (
	tNull       = 0x1f
	tImage      = 0x22
	tText       = 0x23
	tGUID       = 0x24
	tVarBinary  = 0x25
	tIntN       = 0x26
	tVarChar    = 0x27
	tDateN      = 0x28
	tTimeN      = 0x29
	tDateTime2  = 0x2a
	tDateOffset = 0x2b
	tBinary     = 0x2d
	tChar       = 0x2f
	tInt1       = 0x30
	tBit        = 0x32
	tInt2       = 0x34
	tDecimal    = 0x37
	tInt4       = 0x38
	tDateTime4  = 0x3a
	tFloat4     = 0x3b
	tMoney      = 0x3c
	tDateTime   = 0x3d
	tFloat8     = 0x3e
	tNumeric    = 0x3f
	tVariant    = 0x62
	tNText      = 0x63
	tBitN       = 0x68
	tDecimalN   = 0x6a
	tNumericN   = 0x6c
	tFloatN     = 0x6d
	tMoneyN     = 0x6e
	tDateTimeN  = 0x6f
	tMoney4     = 0x7a
	tInt8       = 0x7f
	tBigVarBin  = 0xa5
	tBigVarChar = 0xa7
	tBigBinary  = 0xad
	tBigChar    = 0xaf
	tNVarChar   = 0xe7
	tNChar      = 0xef
	tUDT        = 0xf0
	tXML        = 0xf1
	tJSON       = 0xf4
	tVector     = 0xf5
)

// lengths is how the length of a value is written.
type lengths uint8

const (
	fixed     lengths = iota // by the type
	oneByte                  // 0 is NULL
	twoBytes                 // 0xffff is NULL
	fourBytes                // of a variant: 0 is NULL; of a parameter, 0xffffffff
	pointer                  // after a pointer to the text and a time stamp; a pointer of 0 bytes is NULL
	inChunks                 // in chunks, section 2.2.5.2.3
)

// column is the type and name of a column or of a parameter.
type column struct {
	kind    byte
	lengths lengths
	size    int // of a fixed value
	scale   uint8
	name    string
}

var fixedSizes = map[byte]int{tNull: 0, tInt1: 1, tBit: 1, tInt2: 2, tInt4: 4, tDateTime4: 4, tFloat4: 4, tMoney: 8, tDateTime: 8, tFloat8: 8, tMoney4: 4, tInt8: 8}

// readType reads TYPE_INFO, section 2.2.5.6. It returns false for a type that is not known.
func (c *column) readType(r *little, k *conn, result bool) bool {
	c.kind = r.Uint8()
	if size, ok := fixedSizes[c.kind]; ok {
		c.size = size
		return true
	}
	collation := 5
	if k.old {
		collation = 0
	}
	switch c.kind {
	case tGUID, tIntN, tBitN, tFloatN, tMoneyN, tDateTimeN, tVarBinary, tBinary:
		c.lengths = oneByte
		r.Skip(1)
	case tVarChar, tChar:
		c.lengths = oneByte
		r.Skip(1 + collation)
	case tDecimal, tNumeric, tDecimalN, tNumericN:
		c.lengths = oneByte
		r.Skip(2)
		c.scale = r.Uint8()
	case tDateN:
		c.lengths = oneByte
	case tTimeN, tDateTime2, tDateOffset:
		c.lengths = oneByte
		c.scale = r.Uint8()
	case tBigVarBin, tBigBinary, tBigVarChar, tBigChar, tNVarChar, tNChar:
		if c.lengths = twoBytes; r.u16() == 0xffff {
			c.lengths = inChunks
		}
		if c.kind != tBigVarBin && c.kind != tBigBinary {
			r.Skip(collation)
		}
	case tText, tNText, tImage:
		if c.lengths = fourBytes; result {
			c.lengths = pointer
		}
		r.Skip(4)
		if c.kind != tImage {
			r.Skip(collation)
		}
	case tVariant:
		c.lengths = fourBytes
		r.Skip(4)
	case tXML:
		c.lengths = inChunks
		if r.Uint8() != 0 {
			r.Skip(2 * int(r.Uint8()))
			r.Skip(2 * int(r.Uint8()))
			r.Skip(2 * r.u16())
		}
	case tUDT:
		c.lengths = inChunks
		if result {
			r.Skip(2)
		}
		for range 3 {
			r.Skip(2 * int(r.Uint8()))
		}
		if result {
			r.Skip(2 * r.u16())
		}
	case tJSON:
		c.lengths = inChunks
	case tVector:
		c.lengths = twoBytes
		r.Skip(3)
	default:
		return false
	}
	return true
}

// isText reports whether values are text.
func (c *column) isText() bool {
	switch c.kind {
	case tVarChar, tChar, tBigVarChar, tBigChar, tNVarChar, tNChar, tText, tNText:
		return true
	}
	return false
}

// readColumn reads a column of COLMETADATA, section 2.2.7.4.
func (c *column) readColumn(r *little, k *conn) bool {
	if k.modern == no {
		r.Skip(4)
	} else {
		r.Skip(6)
	}
	if !c.readType(r, k, true) {
		return false
	}
	if c.lengths == pointer { // the name of the table
		parts := 1
		if k.modern != no {
			parts = int(r.Uint8())
		}
		for range parts {
			r.Skip(2 * r.u16())
		}
	}
	c.name = clip.Text(r.short(), maxText)
	return true
}

// value is a value that is being read.
type value struct {
	col     *column
	keep    int // bytes to keep
	begun   bool
	null    bool
	chunked bool
	left    int64
	head    []byte // the first bytes
	size    int64
}

// read reads as much of the value as b has. It returns the number of bytes and whether the value is
// complete.
func (v *value) read(b []byte) (n int, done bool) {
	if !v.begun {
		var ok bool
		if n, ok = v.begin(b); !ok {
			return 0, false
		}
		v.begun = true
	}
	for {
		m := int(min(v.left, int64(len(b)-n)))
		if m > 0 {
			if room := v.keep - len(v.head); room > 0 {
				v.head = append(v.head, b[n:n+min(m, room)]...)
			}
			v.left -= int64(m)
			v.size += int64(m)
			n += m
		}
		switch {
		case v.left > 0:
			return n, false
		case !v.chunked:
			return n, true
		case len(b)-n < 4:
			return n, false
		}
		r := newLittle(b[n:])
		v.left = int64(r.u32())
		n += 4
		v.chunked = v.left > 0
	}
}

// begin reads the length.
func (v *value) begin(b []byte) (n int, ok bool) {
	r := newLittle(b)
	switch v.col.lengths {
	case fixed:
		v.left, v.null = int64(v.col.size), v.col.kind == tNull
	case oneByte:
		v.left = int64(r.Uint8())
		v.null = v.left == 0 && !v.col.isText() && v.col.kind != tVarBinary && v.col.kind != tBinary
	case twoBytes:
		if v.left = int64(r.u16()); v.left == 0xffff {
			v.left, v.null = 0, true
		}
	case fourBytes:
		v.left = int64(r.u32())
		if v.left == 0xffffffff || v.left == 0 && v.col.kind == tVariant {
			v.left, v.null = 0, true
		}
	case pointer:
		p := int(r.Uint8())
		if v.null = p == 0; !v.null {
			r.Skip(p + 8)
			v.left = int64(r.u32())
		}
	case inChunks:
		total := r.u64()
		v.null = total == 1<<64-1
		v.chunked = !v.null
	}
	return r.Used(), !r.Short()
}
