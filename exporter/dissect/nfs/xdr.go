package nfs

import (
	"encoding/binary"

	"github.com/pcapsule/pcapsule/internal/clip"
)

// reader reads XDR, RFC 4506. Beyond the end everything is zero, and short is set.
type reader struct {
	b     []byte
	short bool
	size  int // of the whole message
}

// pos is the position in the message.
func (r *reader) pos() int { return r.size - len(r.b) }

// take is the next n bytes.
func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.b, r.short = nil, true
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) u32() int64 {
	if b := r.take(4); b != nil {
		return int64(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (r *reader) u64() int64 {
	if b := r.take(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

// opaque is bytes with their length before them.
func (r *reader) opaque() []byte {
	n := r.u32()
	if n > int64(len(r.b)) {
		r.b, r.short = nil, true
		return nil
	}
	b := r.take(int(n))
	r.take(min(-int(n)&3, len(r.b)))
	return b
}

// name is a name on one line.
func (r *reader) name() string { return clip.Line(r.opaque(), maxText) }

// words skips numbers of 32 bits with their count before them.
func (r *reader) words() {
	n := r.u32()
	if n > 64 {
		r.b, r.short = nil, true
		return
	}
	r.take(4 * int(n))
}

// skip skips fields: i is 4 bytes, h 8, S 16, o opaque, b a bitmap, f attributes.
func (r *reader) skip(fields string) {
	for _, f := range fields {
		switch f {
		case 'i':
			r.take(4)
		case 'h':
			r.take(8)
		case 'S':
			r.take(16)
		case 'o':
			r.opaque()
		case 'b':
			r.words()
		case 'f':
			r.words()
			r.opaque()
		}
	}
}
