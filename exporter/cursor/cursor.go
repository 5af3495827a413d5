// Package cursor reads fields from a byte slice without ever reading past its end.
//
// A read beyond the end returns zero values and marks the cursor as short permanently, so a
// dissector checks once after a group of reads instead of before each. Cursor never panics on
// input and never copies: the slices it returns alias the input.
package cursor

import (
	"bytes"
	"encoding/binary"
)

// Cursor is a position in a byte slice. The zero value is an empty cursor.
type Cursor struct {
	data  []byte
	pos   int
	short bool
}

// New returns a cursor at the start of data.
func New(data []byte) Cursor { return Cursor{data: data} }

// Short reports whether any read so far went past the end.
func (c *Cursor) Short() bool { return c.short }

// Used is the number of bytes read so far.
func (c *Cursor) Used() int { return c.pos }

// Left is the number of bytes that can still be read: none once the cursor is short, so a loop that
// reads while some are left ends on every input.
func (c *Cursor) Left() int {
	if c.short {
		return 0
	}
	return len(c.data) - c.pos
}

// Rest returns the unread bytes without reading them.
func (c *Cursor) Rest() []byte { return c.data[c.pos:] }

// Bytes returns the next n bytes, or nil and a short cursor if fewer are left or n is negative.
func (c *Cursor) Bytes(n int) []byte {
	if c.short || n < 0 || n > len(c.data)-c.pos {
		c.short = true
		return nil
	}
	b := c.data[c.pos : c.pos+n : c.pos+n]
	c.pos += n
	return b
}

// Skip skips n bytes.
func (c *Cursor) Skip(n int) { c.Bytes(n) }

// Uint8 reads one byte.
func (c *Cursor) Uint8() uint8 {
	if b := c.Bytes(1); b != nil {
		return b[0]
	}
	return 0
}

// Uint16 reads two bytes in network order.
func (c *Cursor) Uint16() uint16 {
	if b := c.Bytes(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

// Uint24 reads three bytes in network order.
func (c *Cursor) Uint24() uint32 {
	if b := c.Bytes(3); b != nil {
		return uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2])
	}
	return 0
}

// Uint32 reads four bytes in network order.
func (c *Cursor) Uint32() uint32 {
	if b := c.Bytes(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// Uint64 reads eight bytes in network order.
func (c *Cursor) Uint64() uint64 {
	if b := c.Bytes(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// CString reads up to a zero byte and skips it; without a zero byte the cursor becomes short.
func (c *Cursor) CString() []byte {
	if c.short {
		return nil
	}
	i := bytes.IndexByte(c.data[c.pos:], 0)
	if i < 0 {
		c.short = true
		return nil
	}
	b := c.Bytes(i)
	c.pos++
	return b
}

// Sub returns a cursor over the next n bytes and skips them. If fewer are left, both cursors are
// short.
func (c *Cursor) Sub(n int) Cursor {
	b := c.Bytes(n)
	return Cursor{data: b, short: c.short}
}
