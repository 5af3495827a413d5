package mqtt

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"

	"github.com/pcapsule/pcapsule/exporter/cursor"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/message"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// isText reports whether a topic or filter is text without control characters, MQTT 5.0 section
// 1.5.4.
func isText(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c == 0x7f {
			return false
		}
	}
	return utf8.Valid(b)
}

// publish reads PUBLISH up to its payload.
func (k *conn) publish(in *dissect.Input, at int, f *fixed) (int, error) {
	b := in.Data[at+f.size:]
	b = b[:min(int64(len(b)), f.left)]
	head, err := headOf(f, b, k.version)
	if err != nil {
		return 0, err
	}
	if int64(head) > f.left || head > maxPacket {
		return 0, fmt.Errorf("reading PUBLISH: its topic and properties have %d bytes of %d", head, f.left)
	}
	if len(b) < head {
		k.c.Need(in.Dir, f.size+head)
		return 0, nil
	}
	s := &k.sides[in.Dir]
	c := k.newCall(in.Dir, publish)
	c.row.Delivered = in.Dir == dissect.ToClient
	r := reader{Cursor: cursor.New(b[:head]), version: k.version}
	topic := r.text()
	c.row.QoS, c.row.Retain, c.row.Dup = table.Some(int32(f.flags>>1&3)), f.flags&1 != 0, f.flags&8 != 0
	if c.row.QoS.V > 0 {
		c.row.PacketID = table.Some(int32(r.Uint16()))
	}
	if r.properties(c); r.Short() || !isText(topic) {
		return 0, fmt.Errorf("reading PUBLISH: unexpected topic %.40q or properties", topic)
	}
	k.topic(s, c, topic)
	if k.version == 0 {
		c.unsure = mayBegin(b[head:], f.left-int64(head))
	}
	c.size = f.left - int64(head)
	c.x.ReqBody = k.c.NewBody(c.row.RequestContentType.V, "")
	c.x.ReqBody.Expect(c.size)
	c.x.Request(in, at, at+f.size+head)
	s.call, s.left = c, c.size
	if s.left == 0 {
		k.published(s)
	}
	return f.size + head, nil
}

// headOf is how many bytes precede the payload of PUBLISH; more than b has if that is not known yet.
func headOf(f *fixed, b []byte, version byte) (int, error) {
	if len(b) < 2 {
		return 2, nil
	}
	n := 2 + int(binary.BigEndian.Uint16(b))
	if f.flags>>1&3 > 0 {
		n += 2
	}
	if version != 5 || len(b) <= n {
		if version == 5 {
			n++
		}
		return n, nil
	}
	r := reader{Cursor: cursor.New(b[n:])}
	size := r.varint()
	if r.Short() {
		if len(b)-n >= 4 || int64(len(b)) == f.left {
			return 0, fmt.Errorf("reading PUBLISH: the length of its properties has more than 4 bytes")
		}
		return len(b) + 1, nil
	}
	return n + r.Used() + int(size), nil
}

// mayBegin reports whether a payload of size bytes, which begins with b, may begin with properties.
func mayBegin(b []byte, size int64) bool {
	length := reader{Cursor: cursor.New(b)}
	n := length.varint()
	switch {
	case int64(len(b)) == size:
	case length.Short():
		return len(b) < 4
	case n > int64(length.Left()):
		return n <= size-int64(length.Used())
	}
	p := reader{Cursor: cursor.New(b), version: 5}
	p.properties(&call{row: &Row{}})
	return !p.Short()
}

// topic names the topic of a message, which may be an alias.
func (k *conn) topic(s *side, c *call, topic []byte) {
	if a := c.row.Alias; a.OK {
		alias := uint16(a.V)
		if len(topic) == 0 {
			topic = []byte(s.aliases[alias])
		} else if old, ok := s.aliases[alias]; ok || len(s.aliases) < maxAliases {
			if more := len(topic) - len(old) + aliasCost; k.c.Hold(more) {
				if s.aliases == nil {
					s.aliases = map[uint16]string{}
				}
				s.aliases[alias] = string(topic)
				s.held += more
			}
		}
	}
	c.row.Topic = table.NonEmpty(message.Text(topic))
	c.row.Path = c.row.Topic
	c.texts += 2*len(c.row.Topic.V) + 16
}

const aliasCost = 64 // memory of an alias and of its place in the map

// payload takes more bytes of a message.
func (k *conn) payload(s *side, in *dissect.Input, at int) int {
	n := int(min(s.left, int64(len(in.Data)-at)))
	s.call.x.Request(in, at, at+n)
	s.call.x.ReqBody.Write(in.Data[at : at+n])
	if s.left -= int64(n); s.left == 0 {
		k.published(s)
	}
	return n
}

// published handles the end of a message.
func (k *conn) published(s *side) {
	c := s.call
	s.call = nil
	c.x.ReqBody.Complete = c.x.ReqBody.Lost() == 0
	c.row.Value = table.NonEmpty(message.Show(c.x.ReqBody.Kept()))
	c.texts += len(c.row.Value.V)
	c.whole = !c.gap
	if c.row.QoS.V == 0 {
		k.emit(c, "")
		return
	}
	id := uint16(c.row.PacketID.V)
	if _, again := s.sent.Get(id); again && c.row.Dup {
		c.row.Attempt = table.Some[int32](2)
	}
	s.sent.Put(id, c, callCost+c.texts)
}
