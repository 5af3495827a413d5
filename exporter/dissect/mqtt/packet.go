package mqtt

import (
	"encoding/binary"
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/cursor"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/message"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Packet types, MQTT 5.0 section 2.1.2.
const (
	connect     = 1
	connack     = 2
	publish     = 3
	puback      = 4
	pubrec      = 5
	pubrel      = 6
	pubcomp     = 7
	subscribe   = 8
	suback      = 9
	unsubscribe = 10
	unsuback    = 11
	pingreq     = 12
	pingresp    = 13
	disconnect  = 14
	auth        = 15
)

// fixed is the fixed header of a packet.
type fixed struct {
	kind  byte
	flags byte
	size  int // of the header
	left  int64
}

// header reads a fixed header. size is 0 if it is not complete.
func header(dir dissect.Dir, b []byte) (f fixed, err error) {
	if len(b) == 0 {
		return f, nil
	}
	f.kind, f.flags = b[0]>>4, b[0]&15
	if !allowed(dir, f.kind, f.flags) {
		return f, fmt.Errorf("reading a packet: the %s does not send type %d with flags %d", dir.Sender(), f.kind, f.flags)
	}
	for i := 1; i < len(b); i++ {
		f.left |= int64(b[i]&0x7f) << (7 * (i - 1))
		if b[i] < 0x80 {
			if b[i] == 0 && i > 1 {
				return f, fmt.Errorf("reading %s: the length has more bytes than it needs", kindName(f.kind))
			}
			f.size = i + 1
			break
		}
		if i == 4 {
			return f, fmt.Errorf("reading %s: the length has more than 4 bytes", kindName(f.kind))
		}
	}
	if f.size > 0 && !sized(f.kind, f.flags, f.left) {
		return f, fmt.Errorf("reading %s: it cannot have %d bytes", kindName(f.kind), f.left)
	}
	return f, nil
}

// allowed reports whether that side may send a packet of this type with these flags.
func allowed(dir dissect.Dir, kind, flags byte) bool {
	want := byte(0)
	switch kind {
	case publish:
		return flags>>1&3 != 3 && (flags>>1&3 != 0 || flags&8 == 0)
	case pubrel:
		want = 2
	case subscribe, unsubscribe: // MQTT 3.1 also has DUP here
		if dir == dissect.ToClient || flags&^8 != 2 {
			return false
		}
		return true
	case connect, pingreq:
		if dir == dissect.ToClient {
			return false
		}
	case connack, suback, unsuback, pingresp:
		if dir == dissect.ToServer {
			return false
		}
	case 0:
		return false
	}
	return flags == want || kind == pubrel && flags&^8 == 2
}

// sized reports whether a packet may have this length.
func sized(kind, flags byte, n int64) bool {
	switch kind {
	case pingreq, pingresp:
		return n == 0
	case connect:
		return n >= 12 && n <= maxPacket
	case puback, pubrec, pubrel, pubcomp, connack:
		return n >= 2 && n <= maxPacket
	case publish:
		if flags>>1&3 > 0 {
			return n >= 4
		}
		return n >= 2
	case subscribe, unsubscribe:
		return n >= 5 && n <= maxPacket
	case suback:
		return n >= 3 && n <= maxPacket
	case unsuback:
		return n >= 2 && n <= maxPacket
	}
	return n <= maxPacket
}

func kindName(kind byte) string { return tables()["packet"].Name(int64(kind), "packet_") }

// packet reads a packet, or the beginning of PUBLISH up to its payload.
func (k *conn) packet(in *dissect.Input, at int) (int, error) {
	b := in.Data[at:]
	f, err := header(in.Dir, b)
	if err != nil || f.size == 0 {
		return 0, err
	}
	if f.kind == publish {
		return k.publish(in, at, &f)
	}
	end := f.size + int(f.left)
	if len(b) < end {
		k.c.Need(in.Dir, end)
		return 0, nil
	}
	if k.early(in, &f, b[f.size:end]) {
		return 0, nil
	}
	r := reader{Cursor: cursor.New(b[f.size:end]), version: k.version, at: at + f.size}
	c, err := k.read(in, at, end, &f, &r)
	if err == nil && r.Short() {
		err = fmt.Errorf("reading %s: it ends within a field", kindName(f.kind))
	}
	if err != nil {
		return 0, err
	}
	k.waits[in.Dir.Other()] = false
	if c != nil {
		k.emit(c, "")
	}
	return end, nil
}

// read reads a packet. It returns the call that the packet completes, if there is one.
func (k *conn) read(in *dissect.Input, at, end int, f *fixed, r *reader) (*call, error) {
	switch f.kind {
	case connect:
		return nil, k.connect(in, at, end, r)
	case connack:
		return k.connected(in, at, end, r), nil
	case auth:
		return k.authenticate(in, at, end, r), nil
	case subscribe, unsubscribe:
		return nil, k.filters(in, at, end, f, r)
	case pingreq:
		c := k.newCall(in.Dir, f.kind)
		c.ping = true
		c.x.Request(in, at, at+end)
		k.pings.Push(c, in.Packet(at).Ack, callCost)
		return nil, nil
	case pingresp:
		c := k.pings.Answer(in.Seq(at))
		if c == nil {
			c = k.orphan(in.Dir, f.kind)
		}
		k.answer(c, in, at, end, f.kind)
		return c, nil
	case disconnect:
		c := k.newCall(in.Dir, f.kind)
		c.x.Request(in, at, at+end)
		r.disconnect(c)
		return c, nil
	}
	return k.acknowledge(in, at, end, f, r), nil
}

// newCall begins a message of a side.
func (k *conn) newCall(dir dissect.Dir, kind byte) *call {
	name := kindName(kind)
	c := &call{row: &Row{Packets: []string{name}}, from: dir, kind: kind, whole: true}
	c.x.Reversed = dir == dissect.ToClient
	c.row.Method = table.Some(name)
	c.row.Client, c.row.User = table.NonEmpty(k.client), table.NonEmpty(k.user)
	c.row.Version = table.NonEmpty(tables()["version"][int64(k.version&0x7f)])
	return c
}

// orphan is the call of an acknowledgement, which that side sent, whose message was not captured.
func (k *conn) orphan(dir dissect.Dir, kind byte) *call {
	c := k.newCall(dir.Other(), kind)
	c.row.Packets = nil
	return c
}

// answer adds an acknowledgement to a call.
func (k *conn) answer(c *call, in *dissect.Input, at, end int, kind byte) {
	c.x.Response(in, at, at+end)
	c.row.Packets = append(c.row.Packets, kindName(kind))
	c.answered = true
	k.c.Confirm()
}

// acknowledge reads PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK and UNSUBACK.
func (k *conn) acknowledge(in *dissect.Input, at, end int, f *fixed, r *reader) *call {
	id := r.Uint16()
	if r.Left() > 0 && k.version == 0 && f.kind != suback {
		k.version, r.version = 5, 5 // older versions end here
	}
	from := in.Dir.Other() // who sent the message
	if f.kind == pubrel {
		from = in.Dir
	}
	t := &k.sides[from].sent
	c, ok := t.Get(id)
	if ok && !answers(c, f.kind) {
		ok = false
	}
	switch {
	case ok && f.kind == pubrel:
		c.x.Request(in, at, at+end)
		c.row.Packets = append(c.row.Packets, kindName(f.kind))
		c.released = true
		return nil
	case ok:
		k.answer(c, in, at, end, f.kind)
	case f.kind == pubrel: // of a message that was not captured
		c = k.newCall(in.Dir, f.kind)
		c.x.Request(in, at, at+end)
		c.row.PacketID, c.released = table.Some(int32(id)), true
		t.Put(id, c, callCost)
		return nil
	default:
		c = k.orphan(in.Dir, f.kind)
		k.answer(c, in, at, end, f.kind)
		c.row.PacketID = table.Some(int32(id))
	}
	switch f.kind {
	case suback, unsuback:
		r.granted(c, f.kind)
	default:
		r.reason(c)
	}
	if ok && f.kind == pubrec && c.row.Reason.V < firstError {
		c.answered, c.received = false, true // PUBCOMP follows
		return nil
	}
	if ok {
		t.Take(id)
	}
	return c
}

// answers reports whether a packet can answer a call.
func answers(c *call, kind byte) bool {
	switch kind {
	case puback: // RabbitMQ acknowledges a message of quality 2 so: it lowers the quality to 1
		return c.kind == publish && (c.row.QoS.V == 1 || c.row.QoS.V == 2 && !c.received)
	case pubrec, pubrel:
		return c.kind == publish && c.row.QoS.V == 2
	case pubcomp:
		return c.kind == publish && c.row.QoS.V == 2 || c.kind == pubrel
	case suback:
		return c.kind == subscribe
	case unsuback:
		return c.kind == unsubscribe
	}
	return false
}

// firstError is the first reason code of an error.
const firstError = 0x80

// filters reads SUBSCRIBE and UNSUBSCRIBE.
func (k *conn) filters(in *dissect.Input, at, end int, f *fixed, r *reader) error {
	if body := r.Rest(); k.version == 0 && !filterList(f.kind, body, 4) && filterList(f.kind, body, 5) {
		k.version, r.version = 5, 5
	}
	c := k.newCall(in.Dir, f.kind)
	c.x.Request(in, at, at+end)
	id := r.Uint16()
	c.row.PacketID = table.Some(int32(id))
	r.properties(c)
	for r.Left() > 0 && !r.Short() {
		name := r.text()
		qos := int32(0)
		if f.kind == subscribe {
			qos = int32(r.Uint8() & 3)
		}
		if r.Short() || len(name) == 0 || !isText(name) {
			return fmt.Errorf("reading %s: expected a topic filter, got %.40q", kindName(f.kind), name)
		}
		if f.kind == subscribe {
			c.row.QoS = table.Some(max(c.row.QoS.V, qos))
		}
		if len(c.row.Filters) < maxList {
			s := message.Text(name)
			c.row.Filters = append(c.row.Filters, s)
			c.texts += len(s) + 16
		}
	}
	if len(c.row.Filters) == 1 {
		c.row.Path = table.Some(c.row.Filters[0])
	}
	k.sides[in.Dir].sent.Put(id, c, callCost+c.texts)
	return nil
}

// early reports whether a packet answers one that may be among the unread bytes of the other side. If
// each side waits for the other, neither does.
func (k *conn) early(in *dissect.Input, f *fixed, body []byte) bool {
	other := in.Dir.Other()
	k.waits[in.Dir] = !k.waits[other] && k.c.Unread(other) > 0 && !k.expected(in.Dir, f.kind, body)
	return k.waits[in.Dir]
}

// expected reports whether a packet answers nothing, or something that was read.
func (k *conn) expected(dir dissect.Dir, kind byte, body []byte) bool {
	switch kind {
	case connack:
		return k.login != nil
	case pingresp:
		return k.pings.Front() != nil || k.pings.Ahead()
	case pubrel:
		c, ok := k.sides[dir].sent.Get(binary.BigEndian.Uint16(body))
		return ok && c.kind == publish && c.received
	case puback, pubrec, pubcomp, suback, unsuback:
		c, ok := k.sides[dir.Other()].sent.Get(binary.BigEndian.Uint16(body))
		return ok && answers(c, kind) && (kind != pubcomp || c.released)
	}
	return true
}
