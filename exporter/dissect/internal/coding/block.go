package coding

import "encoding/binary"

// Libraries decode a block as a whole or not at all. What follows decodes the beginning of one that is longer than
// the limit, or of which the end is missing.

// begun is what was decoded of a block, at most limit bytes.
type begun struct {
	b     []byte
	limit int
}

// full says whether nothing more fits.
func (u *begun) full() bool { return len(u.b) >= u.limit }

// literal adds bytes as they are.
func (u *begun) literal(p []byte) { u.b = append(u.b, p[:min(len(p), u.limit-len(u.b))]...) }

// repeat adds n bytes from those that end offset bytes before. It returns false if there are none.
func (u *begun) repeat(offset int64, n int) bool {
	if offset <= 0 || offset > int64(len(u.b)) {
		return false
	}
	for ; n > 0 && !u.full(); n-- {
		u.b = append(u.b, u.b[len(u.b)-int(offset)])
	}
	return true
}

// writeBegin writes the beginning of a block, at most limit bytes. It returns ErrLimit if so many were decoded, else err:
// why the block cannot be decoded as a whole.
func writeBegin(out *Output, decode func(*begun, []byte), p []byte, limit int64, err error) error {
	u := &begun{limit: int(limit)}
	decode(u, p)
	if u.full() {
		err = ErrLimit
	}
	if _, failed := out.Write(u.b); failed != nil {
		return failed
	}
	return err
}

// snappyBegin decodes a block of Snappy until it is full or p ends: see format_description.txt of google/snappy, section 2.
func snappyBegin(u *begun, p []byte) {
	_, n := binary.Uvarint(p) // the size of the content
	for p = p[max(n, 0):]; len(p) > 0 && !u.full(); {
		tag, size, offset := p[0], int(p[0]>>2)+1, int64(0)
		extra := [...]int{0, 1, 2, 4}[tag&3] // bytes of the offset
		if tag&3 == 0 && size > 60 {
			extra = size - 60 // bytes of the length
		}
		if p = p[1:]; len(p) < extra {
			return
		}
		for i, c := range p[:extra] {
			offset |= int64(c) << (8 * i)
		}
		p = p[extra:]
		switch {
		case tag&3 != 0:
			if tag&3 == 1 {
				size, offset = int(tag>>2&7)+4, offset|int64(tag>>5)<<8
			}
			if !u.repeat(offset, size) {
				return
			}
			continue
		case extra > 0:
			size = int(min(offset+1, int64(len(p))))
		}
		size = min(size, len(p))
		u.literal(p[:size])
		p = p[size:]
	}
}

// lz4Begin decodes a block of LZ4 until it is full or p ends: see lz4_Block_format.md of lz4/lz4.
func lz4Begin(u *begun, p []byte) {
	for len(p) > 0 && !u.full() {
		token := p[0]
		size, rest := lz4Length(int(token>>4), p[1:])
		size = min(size, len(rest))
		u.literal(rest[:size])
		if p = rest[size:]; len(p) < 2 { // the last sequence has only literals
			return
		}
		offset := int64(binary.LittleEndian.Uint16(p))
		size, p = lz4Length(int(token&15), p[2:])
		if !u.repeat(offset, size+4) {
			return
		}
	}
}

// lz4Length adds the bytes that continue a length of 15, and returns the rest of p.
func lz4Length(n int, p []byte) (int, []byte) {
	for more := n == 15; more && len(p) > 0; p = p[1:] {
		n += int(p[0])
		more = p[0] == 255
	}
	return n, p
}
