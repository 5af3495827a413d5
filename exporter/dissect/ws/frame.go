package ws

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// Opcodes, RFC 6455 section 5.2.
const (
	opContinue = 0x0
	opText     = 0x1
	opBinary   = 0x2
	opClose    = 0x8
	opPing     = 0x9
	opPong     = 0xa
)

var opNames = map[byte]string{opText: "text", opBinary: "binary", opClose: "close", opPing: "ping", opPong: "pong"}

const (
	maxControl = 125 // bytes of a control frame, RFC 6455 section 5.5
	maxHead    = 14  // bytes before the payload
	rsv1       = 0x40
	rsv23      = 0x30
)

// frame is the head of a frame, and the unread length of its payload.
type frame struct {
	op     byte
	fin    bool
	rsv    byte
	masked bool
	key    uint32 // big endian
	long   bool   // its length is written with more bytes than it needs
	head   int    // bytes of the head
	left   int64
}

func (f *frame) control() bool { return f.op >= opClose }

// parseFrame reads the head of a frame. It returns the number of bytes that it needs if b is too
// short.
func parseFrame(b []byte) (f frame, need int, err error) {
	if len(b) < 2 {
		return f, 2, nil
	}
	f = frame{op: b[0] & 0xf, fin: b[0]&0x80 != 0, rsv: b[0] & 0x70, masked: b[1]&0x80 != 0, head: 2, left: int64(b[1] & 0x7f)}
	if f.op > opBinary && f.op < opClose || f.op > opPong {
		return f, 0, fmt.Errorf("reading a frame: opcode %d is reserved", f.op)
	}
	if f.control() && (!f.fin || f.left > maxControl) {
		return f, 0, fmt.Errorf("reading a frame: a %s in fragments or of more than %d bytes", opNames[f.op], maxControl)
	}
	switch f.left {
	case 126:
		f.head = 4
	case 127:
		f.head = 10
	}
	lengthEnd := f.head
	if f.masked {
		f.head += 4
	}
	if len(b) < f.head {
		return f, f.head, nil
	}
	switch lengthEnd {
	case 4:
		f.left = int64(binary.BigEndian.Uint16(b[2:]))
		f.long = f.left < 126
	case 10:
		n := binary.BigEndian.Uint64(b[2:])
		if n>>63 != 0 {
			return f, 0, fmt.Errorf("reading a frame: its length 0x%x has the highest bit", n)
		}
		f.left, f.long = int64(n), n < 1<<16
	}
	if f.masked {
		f.key = binary.BigEndian.Uint32(b[lengthEnd:])
	}
	return f, 0, nil
}

// unmask returns p unmasked, in buf if it is masked, and turns the key for the byte after it.
func (f *frame) unmask(buf, p []byte) []byte {
	if !f.masked {
		return p
	}
	buf = buf[:len(p)]
	key := [4]byte{byte(f.key >> 24), byte(f.key >> 16), byte(f.key >> 8), byte(f.key)}
	for i := range p {
		buf[i] = p[i] ^ key[i&3]
	}
	f.turn(int64(len(p)))
	return buf
}

// turn turns the key by n bytes.
func (f *frame) turn(n int64) { f.key = bits.RotateLeft32(f.key, int(n%4)*8) }

// check rejects a frame that nobody sends after this handshake: the position in the stream is then
// wrong.
func (k *conn) check(dir dissect.Dir, f *frame) error {
	s := &k.sides[dir]
	switch {
	case f.rsv&rsv23 != 0 && !k.other, f.rsv&rsv1 != 0 && k.known && !k.deflate && !k.other,
		f.rsv&rsv1 != 0 && k.deflate && !k.other && (f.control() || f.op == opContinue):
		return fmt.Errorf("reading a frame: reserved bits 0x%02x without an extension that uses them", f.rsv)
	case f.op == opContinue && s.msg == nil:
		return fmt.Errorf("reading a frame: a continuation without a message")
	}
	if f.masked != (dir == dissect.ToServer) {
		k.c.Anomaly("mask", fmt.Sprintf("a frame %s, masked: %v; RFC 6455 section 5.1 requires the opposite", dir, f.masked), 0)
	}
	if f.long {
		k.c.Anomaly("length", fmt.Sprintf("a frame of %d bytes has a longer length field than it needs", f.left), 0)
	}
	return nil
}

// Read implements dissect.Dissector.
func (k *conn) Read(in *dissect.Input) (int, error) {
	s := &k.sides[in.Dir]
	n := 0
	for n < len(in.Data) || s.open && s.left == 0 {
		if s.open {
			n = k.piece(in, n)
			continue
		}
		f, need, err := parseFrame(in.Data[n:])
		if err == nil && need == 0 {
			err = k.check(in.Dir, &f)
		}
		if err != nil {
			return n, err
		}
		if need == 0 && f.control() && len(in.Data)-n < f.head+int(f.left) {
			need = f.head + int(f.left)
		}
		if need > 0 {
			if n == 0 {
				k.c.Need(in.Dir, need)
			}
			return n, nil
		}
		if f.control() {
			k.control(in, n, f)
			n += f.head + int(f.left)
			continue
		}
		k.begin(in, n, f)
		n += f.head
	}
	return n, nil
}

// piece reads the available part of the current frame from in.Data[at:] and returns the position
// after it.
func (k *conn) piece(in *dissect.Input, at int) int {
	s := &k.sides[in.Dir]
	var buf [4 << 10]byte
	for at < len(in.Data) && s.left > 0 {
		n := int(min(s.left, int64(len(in.Data)-at)))
		if s.masked {
			n = min(n, len(buf))
		}
		if p := s.unmask(buf[:], in.Data[at:at+n]); k.carries(s.msg) {
			k.inner.CarryAs(in, at, at+n, p)
		} else {
			s.msg.x.Request(in, at, at+n)
			k.write(s, p)
		}
		s.left -= int64(n)
		at += n
	}
	if s.left == 0 {
		s.open = false
		if s.fin {
			k.finish(in, at)
		}
	}
	return at
}

// Gap implements dissect.Dissector: bytes within the payload of a data frame have a known place.
func (k *conn) Gap(in *dissect.Input, missing int64) bool {
	s := &k.sides[in.Dir]
	if !s.open || missing > s.left {
		return false
	}
	if !s.msg.gap && !k.carries(s.msg) {
		k.c.Incomplete(in.Dir)
	}
	s.msg.gap = true
	if k.carries(s.msg) {
		k.inner.Gap(in.Dir, missing, k.c.Now())
	} else if s.raw == nil {
		s.msg.x.ReqBody.Missing(missing)
	}
	s.turn(missing)
	if s.left -= missing; s.left == 0 {
		s.open = false
		if s.fin {
			k.finish(in, 0)
		}
	}
	return true
}

// resume accepts the beginning of a segment after a gap: frames whose heads follow each other up to
// the segment's end, or a frame that is longer than it.
func resume(dir dissect.Dir, head []byte) dissect.Verdict {
	frames := 0
	for len(head) > 0 {
		f, need, err := parseFrame(head)
		if err != nil || !plausible(dir, &f) {
			return dissect.No
		}
		if need > 0 && frames == 0 {
			return dissect.More
		}
		if frames == 0 && f.op == opContinue {
			return dissect.No
		}
		frames++
		if need > 0 || int64(len(head)-f.head) <= f.left {
			return dissect.Likely
		}
		head = head[f.head+int(f.left):]
	}
	return dissect.More
}
