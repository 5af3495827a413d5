package amqp

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// Frame types, AMQP 0-9-1 section 2.3.5.
const (
	frameMethod    = 1
	frameHeader    = 2
	frameBody      = 3
	frameHeartbeat = 8

	frameHead = 7
	frameEnd  = 0xce
)

const preface = "AMQP\x00\x00\x09\x01"

// Read implements dissect.Dissector.
func (k *conn) Read(in *dissect.Input) (int, error) {
	s := &k.sides[in.Dir]
	return in.Each(func(at int) (int, error) {
		if s.inFrame {
			return k.piece(s, in, at)
		}
		return k.frame(s, in, at)
	})
}

// frame reads a frame, or the beginning of a body frame.
func (k *conn) frame(s *side, in *dissect.Input, at int) (int, error) {
	b := in.Data[at:]
	if b[0] == 'A' {
		return k.preface(in, at)
	}
	if len(b) < frameHead {
		return 0, nil
	}
	kind, number, size := b[0], binary.BigEndian.Uint16(b[1:]), int64(binary.BigEndian.Uint32(b[3:]))
	most := int64(maxFrame)
	switch kind {
	case frameBody:
		most = maxBody
	case frameHeartbeat:
		most = 0
	case frameMethod, frameHeader:
	default:
		return 0, fmt.Errorf("reading a frame: unknown type %d", kind)
	}
	if size > most || (kind == frameMethod || kind == frameHeader) && size < 4 {
		return 0, fmt.Errorf("reading a frame of type %d: it cannot have %d bytes", kind, size)
	}
	if kind == frameBody {
		t := k.contentOf(in.Dir, number)
		if t != nil && t.call != nil && t.header && size > t.left {
			return 0, fmt.Errorf("reading a body: %d bytes of at most %d", size, t.left)
		}
		*s = side{channel: number, left: size, tail: true, inFrame: true}
		k.count(in, number, at, at+frameHead)
		return frameHead, nil
	}
	end := frameHead + int(size)
	if len(b) <= end {
		k.c.Need(in.Dir, end+1)
		return 0, nil
	}
	if b[end] != frameEnd {
		return 0, fmt.Errorf("reading a frame of type %d: expected the end octet after %d bytes, got %#x", kind, size, b[end])
	}
	var err error
	switch kind {
	case frameMethod:
		err = k.method(in, at, end+1, number)
	case frameHeader:
		err = k.header(in, at, end+1, number)
	}
	if err != nil {
		return 0, err
	}
	return end + 1, nil
}

// preface reads the protocol header. A server sends it to refuse the client's version.
func (k *conn) preface(in *dissect.Input, at int) (int, error) {
	b := in.Data[at:]
	n := min(len(b), len(preface))
	if string(b[:min(n, 4)]) != preface[:min(n, 4)] {
		return 0, fmt.Errorf("reading a frame: unexpected bytes %.8q", b)
	}
	if n < len(preface) {
		return 0, nil
	}
	if in.Dir == dissect.ToServer && string(b[:n]) != preface {
		return 0, fmt.Errorf("reading the protocol header: another version of AMQP: %q", b[:n])
	}
	c := k.newCall(in.Dir, 0, 0)
	c.row.Call.Method = c.row.Method
	c.x.Request(in, at, at+n)
	c.alone, c.whole = true, true
	if in.Dir == dissect.ToClient {
		c.refused(0, "protocol version refused")
	}
	k.emit(c, "")
	return n, nil
}

// piece takes more bytes of a body frame.
func (k *conn) piece(s *side, in *dissect.Input, at int) (int, error) {
	b := in.Data[at:]
	n := int(min(s.left, int64(len(b))))
	t := k.contentOf(in.Dir, s.channel)
	if n > 0 {
		if t != nil && t.body != nil {
			t.body.Write(b[:n])
			t.left -= int64(n)
		}
		s.left -= int64(n)
	}
	if s.left == 0 && n < len(b) {
		if b[n] != frameEnd {
			return n, fmt.Errorf("reading a body: expected the end octet, got %#x", b[n])
		}
		n++
		*s = side{channel: s.channel}
	}
	k.count(in, s.channel, at, at+n)
	if !s.inFrame && t != nil && t.body != nil && t.left <= 0 {
		k.ended(t)
	}
	return n, nil
}

// count adds bytes to the message that is being read on a channel.
func (k *conn) count(in *dissect.Input, number uint16, from, to int) {
	if t := k.contentOf(in.Dir, number); t != nil && t.call != nil {
		t.call.x.AddTo(t.answer, in, from, to)
	}
}

// drop ends the reading of a message. It returns its call with the body as far as it came, nil if no
// message was being read.
func (k *conn) drop(t *content) *call {
	c := t.call
	if c == nil {
		return nil
	}
	c.x.SetBody(t.answer, t.body)
	*t = content{}
	k.reading--
	return c
}

// channel returns the state of a channel, nil if too many are known.
func (k *conn) channel(number uint16) *channel {
	ch := k.channels[number]
	if ch == nil && len(k.channels) < maxChannels && k.c.Hold(channelCost) {
		ch = &channel{doubt: k.missed}
		k.held += channelCost
		k.channels[number] = ch
	}
	return ch
}

// contentOf is the message that a side is sending on a channel.
func (k *conn) contentOf(dir dissect.Dir, number uint16) *content {
	if ch := k.channels[number]; ch != nil {
		return &ch.content[dir]
	}
	return nil
}

// numbers lists the channels in order.
func (k *conn) numbers() []uint16 { return slices.Sorted(maps.Keys(k.channels)) }

// forget ends a channel.
func (k *conn) forget(number uint16) {
	ch := k.channels[number]
	if ch == nil {
		return
	}
	for i := range ch.content {
		if c := k.drop(&ch.content[i]); c != nil {
			k.emit(c, "cut")
		}
	}
	k.c.Release(channelCost + ch.consumes)
	k.held -= channelCost + ch.consumes
	delete(k.channels, number)
}

// methodName is the name of a method, "" if the side does not send it.
func methodName(dir dissect.Dir, id uint32) string {
	t := tables()
	own := t["client"]
	if dir == dissect.ToClient {
		own = t["server"]
	}
	if s := own[int64(id)]; s != "" {
		return s
	}
	return t["both"][int64(id)]
}

// resume accepts the protocol header, and frames with methods that the side may send.
func resume(dir dissect.Dir, head []byte) dissect.Verdict {
	if dir == dissect.ToServer && len(head) > 0 && head[0] == 'A' {
		n := min(len(head), len(preface))
		switch {
		case string(head[:n]) != preface[:n]:
			return dissect.No
		case n < len(preface):
			return dissect.More
		}
		return dissect.Yes
	}
	if len(head) < frameHead+4 {
		if len(head) > 0 && head[0] != frameMethod || len(head) >= frameHead && !strings.HasPrefix(string(head[3:5]), "\x00\x00") {
			return dissect.No
		}
		return dissect.More
	}
	size := int(binary.BigEndian.Uint32(head[3:]))
	if head[0] != frameMethod || size < 4 || size > 16<<10 {
		return dissect.No
	}
	id := binary.BigEndian.Uint32(head[frameHead:])
	number := binary.BigEndian.Uint16(head[1:])
	if methodName(dir, id) == "" || (id>>16 == classConnection) != (number == 0) {
		return dissect.No
	}
	if len(head) <= frameHead+size {
		return dissect.More
	}
	if head[frameHead+size] != frameEnd {
		return dissect.No
	}
	return dissect.Yes
}

// detect accepts the protocol header, and methods that only this side sends.
func detect(dir dissect.Dir, head []byte) dissect.Verdict {
	if len(head) >= frameHead+4 && head[0] == frameMethod && tables()["both"][int64(binary.BigEndian.Uint32(head[frameHead:]))] != "" {
		return dissect.No
	}
	return resume(dir, head)
}
