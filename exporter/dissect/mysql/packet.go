package mysql

import (
	"bytes"
	"cmp"
	"fmt"
	"io"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

const (
	headerSize = 4 // of a packet: length and sequence number
	packedSize = 7 // of a compressed packet: length, sequence number, length before compression
)

// side is the reading position in one direction.
type side struct {
	open  bool  // a message is being read in pieces
	full  bool  // its current packet has the greatest size, so another one continues it
	left  int64 // bytes of that packet still to come
	size  int64 // bytes of the message
	keep  []byte
	call  *call
	gap   bool
	plain []byte // decompressed bytes that were not read yet
}

// source says which part of the input carries the bytes of a packet.
type source struct {
	in     *dissect.Input
	at     int
	packed bool  // the packet was in a compressed packet: all its bytes come from in.Data[at:end]
	end    int   // of the compressed packet
	calls  int   // calls with bytes in the compressed packet
	last   *call // the latest of these
}

func u24(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }

// read reads one message, or a piece of a long one.
func (k *conn) read(in *dissect.Input, at int) (int, error) {
	if !k.capsKnown && !k.commanded && !k.compressed && k.phase != phaseConnect && detectPacked(in.Dir, in.Data[at:]) >= dissect.Likely {
		k.phase, k.compressed = phaseCommand, true
	}
	if !k.compressed || k.phase != phaseCommand {
		return k.packet(&source{in: in, at: at}, in.Data[at:])
	}
	b := in.Data[at:]
	if len(b) < packedSize {
		return 0, nil
	}
	end, size := packedSize+u24(b), u24(b[4:])
	if len(b) < end {
		k.c.Need(in.Dir, end)
		return 0, nil
	}
	data, o := b[packedSize:end], &source{in: in, at: at, packed: true, end: at + end}
	if size == 0 { // it was not worth compressing
		return end, k.unpacked(o, data)
	}
	return end, k.unpack(o, data, size)
}

const maxInflate = 4 << 20 // bytes that are decompressed at once

// unpack reads the messages in compressed bytes, whose content has size bytes. A piece of a long message that is beyond
// the limit of decompression is skipped.
func (k *conn) unpack(o *source, data []byte, size int) error {
	s := &k.sides[o.in.Dir]
	skipped := ""
	for at := 0; at < size; {
		plain, failed := k.c.DecompressAfter(coding(data), data, at, min(size-at, maxInflate))
		if err := k.unpacked(o, plain); err != nil {
			return err
		}
		if at += len(plain); at == size {
			break
		}
		missing := min(int64(size-at), s.left)
		if failed == nil || missing == 0 && len(plain) == 0 || missing > 0 && len(s.plain) > 0 {
			return fmt.Errorf("reading a compressed packet: %d bytes instead of %d: %w", at, size, cmp.Or(failed, io.ErrUnexpectedEOF))
		}
		if missing > 0 {
			k.skip(o, missing)
			at, skipped = at+int(missing), failed.Error()
		}
	}
	if skipped != "" {
		k.c.Anomaly("limit", skipped, 0)
	}
	return nil
}

// skip skips bytes of a long message that were beyond the limit of decompression.
func (k *conn) skip(o *source, missing int64) {
	s := &k.sides[o.in.Dir]
	s.left -= missing
	s.gap = true
	if body := s.call.sent(o.in.Dir); body != nil {
		body.Missing(missing)
	}
	// An error only means that the message is incomplete, which is expected.
	_ = k.ended(s, o, 0)
}

// coding is the algorithm of compressed bytes, by their first ones.
func coding(b []byte) string {
	if bytes.HasPrefix(b, []byte("\x28\xb5\x2f\xfd")) { // RFC 8878 section 3.1.1
		return "zstd"
	}
	return "deflate"
}

// unpacked reads the messages in decompressed bytes.
func (k *conn) unpacked(o *source, data []byte) error {
	s := &k.sides[o.in.Dir]
	if len(s.plain) > 0 {
		data = append(s.plain, data...)
	}
	for len(data) > 0 {
		n, err := k.packet(o, data)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		data = data[n:]
	}
	s.plain = append(s.plain[:0], data...)
	return nil
}

// packet reads a message at the beginning of b, or a piece of a long one.
func (k *conn) packet(o *source, b []byte) (int, error) {
	s := &k.sides[o.in.Dir]
	if s.left > 0 {
		n := int(min(s.left, int64(len(b))))
		k.piece(s, o, n, b[:n])
		return n, k.ended(s, o, n)
	}
	if len(b) < headerSize {
		return 0, nil
	}
	size, seq := u24(b), b[3]
	if s.open {
		if s.call != nil && !o.packed {
			if seq != s.call.seq+1 {
				return 0, errSequence(o, seq, s.call.seq+1)
			}
			s.call.seq = seq
		}
		s.left, s.full, s.size = int64(size), size == maxPacket, s.size+int64(size)
		k.piece(s, o, headerSize, nil)
		return headerSize, k.ended(s, o, headerSize)
	}
	whole := len(b) >= headerSize+size && size <= maxWhole
	if !whole && size <= maxWhole && !o.packed {
		k.c.Need(o.in.Dir, headerSize+size)
		return 0, nil
	}
	c, wait, err := k.owner(o, seq, size, b[headerSize:min(len(b), headerSize+size)])
	if wait || err != nil {
		return 0, err
	}
	if c != nil {
		c.seq = seq
	}
	if whole {
		if k.current.in, k.current.at = o.in, o.at+headerSize; o.packed {
			k.current.at = -1
		}
		if c != nil {
			k.assign(c, o, headerSize+size)
		}
		return headerSize + size, k.message(c, o, b[headerSize:headerSize+size], int64(size), false)
	}
	*s = side{open: true, full: size == maxPacket, left: int64(size), size: int64(size), keep: s.keep[:0], plain: s.plain, call: c}
	k.piece(s, o, headerSize, nil)
	return headerSize, k.ended(s, o, headerSize)
}

func errSequence(o *source, got, want byte) error {
	return fmt.Errorf("reading a packet %s: sequence number %d instead of %d", o.in.Dir, got, want)
}

// piece reads n bytes of a long message; payload of these follow the header.
func (k *conn) piece(s *side, o *source, n int, payload []byte) {
	s.left -= int64(len(payload))
	if s.call == nil {
		return
	}
	k.assign(s.call, o, n)
	if s.call.logsIn() {
		s.call.x.HideUnplaced(o.in)
	}
	if b := s.call.sent(o.in.Dir); b != nil {
		b.Write(payload)
	} else if room := maxWhole - len(s.keep); room > 0 && !s.gap {
		s.keep = append(s.keep, payload[:min(room, len(payload))]...)
	}
}

// ended reads a long message if its end has arrived.
func (k *conn) ended(s *side, o *source, n int) error {
	if s.left > 0 || s.full {
		return nil
	}
	c, keep, size := s.call, s.keep, s.size
	cut := s.gap || int64(len(keep)) < size
	*s = side{keep: keep[:0], plain: s.plain}
	if c.sent(o.in.Dir) != nil {
		return nil
	}
	k.current.in, k.current.at = o.in, -1
	return k.message(c, &source{in: o.in, at: o.at + n, packed: o.packed, end: o.end, last: o.last, calls: o.calls}, keep, size, cut)
}

// sent is the body for the file that a client sends, or nil.
func (c *call) sent(dir dissect.Dir) *dissect.Body {
	if c == nil || dir != dissect.ToServer || c.stage != stageFile {
		return nil
	}
	return c.x.ReqBody
}

// message reads a complete message of c, or the beginning of a long one.
func (k *conn) message(c *call, o *source, b []byte, size int64, cut bool) error {
	k.current.data = b
	switch {
	case c == nil:
		return nil
	case o.in.Dir == dissect.ToServer:
		login := c.logsIn()
		err := k.request(c, b, size, cut)
		c.bad = c.bad || err != nil
		if err != nil && (login || c.logsIn()) {
			k.hide(c, 0, len(b))
		}
		return err
	case c.kind == kindConnect && c.stage == stageFirst:
		return k.greeting(c, b)
	case c.stage == stageAuth:
		return k.verdict(c, b)
	}
	return k.reply(c, b, size, cut)
}

// assign adds n bytes at the source to c. Adjacent messages of a call are added together.
func (k *conn) assign(c *call, o *source, n int) {
	if o.packed {
		if o.last != c { // the first bytes of two calls differ, so that their identities do
			k.flush()
			k.acc = span{o.in, c, min(o.at+o.calls, o.end-1), o.end}
			k.flush()
			o.last, o.calls = c, o.calls+1
		}
		return
	}
	a := &k.acc
	if a.call == c && a.to == o.at {
		a.to += n
		return
	}
	k.flush()
	*a = span{o.in, c, o.at, o.at + n}
}

// flush adds the collected bytes to their call.
func (k *conn) flush() {
	a := k.acc
	k.acc = span{}
	switch {
	case a.call == nil:
	case a.in.Dir == dissect.ToServer:
		a.call.x.Request(a.in, a.from, a.to)
	default:
		a.call.x.Response(a.in, a.from, a.to)
	}
}

// Gap implements dissect.Dissector.
func (k *conn) Gap(in *dissect.Input, missing int64) bool {
	s := &k.sides[in.Dir]
	b := in.Data
	if !k.compressed && !s.open && len(b) >= headerSize {
		if size := u24(b); missing <= int64(size+headerSize-len(b)) {
			o := &source{in: in}
			c, wait, err := k.owner(o, b[3], size, b[headerSize:])
			if !wait && err == nil {
				if c != nil {
					c.seq = b[3]
				}
				*s = side{open: true, full: size == maxPacket, left: int64(size), size: int64(size), keep: s.keep[:0], call: c}
				k.piece(s, o, len(b), b[headerSize:])
			}
		}
	}
	if !k.compressed && s.left > 0 && missing <= s.left {
		s.left -= missing
		s.gap = true
		if c := s.call; c != nil {
			c.gap = true
			if body := c.sent(in.Dir); body != nil {
				body.Missing(missing)
			}
		}
		// An error only means that the message is incomplete, which is expected.
		_ = k.ended(s, &source{in: in, at: len(b)}, 0)
		k.flush()
		return true
	}
	k.flush()
	return false
}
