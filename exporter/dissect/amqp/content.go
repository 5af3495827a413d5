package amqp

import (
	"container/heap"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/byid"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpfield"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/message"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// begin expects the header and the body of a message.
func (k *conn) begin(c *call, dir dissect.Dir, answer bool) {
	ch := k.channel(c.channel)
	if ch == nil {
		k.emit(c, "cut")
		return
	}
	if old := k.drop(&ch.content[dir]); old != nil {
		k.emit(old, "malformed")
	}
	ch.content[dir] = content{call: c, answer: answer}
	k.reading++
}

// Properties of a message in the order of their flags, AMQP 0-9-1 section 1.8.
var propertyNames = [...]string{"content-type", "content-encoding", "headers", "delivery-mode", "priority", "correlation-id", "reply-to", "expiration",
	"message-id", "timestamp", "type", "user-id", "app-id", "cluster-id"}

// header reads a header frame.
func (k *conn) header(in *dissect.Input, at, end int, number uint16) error {
	t := k.contentOf(in.Dir, number)
	if t == nil || t.call == nil || t.header {
		return nil // its method was not captured
	}
	b := in.Data[at+frameHead : at+end-1]
	r := newReader(b)
	class := r.Uint16()
	r.Skip(2)
	size := r.Uint64()
	flags := r.Uint16()
	if class != 60 || size > 1<<40 {
		return fmt.Errorf("reading a header: unexpected class %d or size %d", class, size)
	}
	t.header, t.left, t.call.size = true, int64(size), int64(size)
	encoding := t.call.properties(r, flags, t.answer)
	if r.Short() {
		return fmt.Errorf("reading a header: its properties end within a field")
	}
	kind := t.call.row.RequestContentType.V
	if t.answer {
		kind = t.call.row.ResponseContentType.V
	}
	t.body = k.c.NewBody(kind, encoding)
	t.body.Expect(t.left)
	t.call.x.AddTo(t.answer, in, at, at+end)
	if t.left == 0 {
		k.ended(t)
	}
	return nil
}

// properties reads the properties of a message. It returns the content encoding.
func (c *call) properties(r *reader, flags uint16, answer bool) (encoding string) {
	row := c.row
	for i, name := range propertyNames {
		if flags&(1<<(15-i)) == 0 {
			continue
		}
		switch name {
		case "headers":
			kind := httpfield.Request
			if answer {
				kind = httpfield.Response
			}
			for _, h := range r.table(0) {
				if len(row.Headers) < maxList {
					h.Kind = kind
					row.Headers = append(row.Headers, h)
					c.texts += len(h.Name) + len(h.Value) + 48
				}
			}
			continue
		case "delivery-mode":
			row.Persistent = r.Uint8() == 2
			continue
		case "priority":
			r.Uint8()
			continue
		case "timestamp":
			r.Uint64()
			continue
		}
		v := table.NonEmpty(message.Text(r.short()))
		c.texts += len(v.V)
		switch name {
		case "content-type":
			if answer {
				row.ResponseContentType = v
			} else {
				row.RequestContentType = v
			}
		case "content-encoding":
			encoding = v.V
		case "correlation-id":
			row.Correlation = v
		case "reply-to":
			row.ReplyTo = v
		case "expiration":
			row.Expiration = v
		case "message-id":
			row.MessageID = v
		case "type":
			row.Type = v
		case "app-id":
			row.App = v
		}
	}
	return encoding
}

// ended handles the end of a message.
func (k *conn) ended(t *content) {
	t.body.Complete = t.body.Lost() == 0
	value := table.NonEmpty(message.Show(t.body.Kept()))
	c := k.drop(t)
	c.row.Value = value
	c.texts += len(c.row.Value.V)
	c.whole = !c.gap
	tag := tagged{c.channel, uint64(c.row.Tag.V)}
	switch {
	case c.id == publish && c.row.Tag.OK:
		k.awaits(c, published, tag.tag)
		k.published.Put(tag, c, callCost+tagCost+c.texts)
		return
	case c.id == deliver && !c.row.NoAck:
		c.may = true
		k.awaits(c, delivered, tag.tag)
		k.delivered.Put(tag, c, callCost+tagCost+c.texts)
		return
	case c.id == returned:
		k.returns(c)
	}
	c.alone = true
	k.finish(c)
}

// awaits records that a message waits for its acknowledgement.
func (k *conn) awaits(c *call, side int, tag uint64) {
	ch := k.channels[c.channel]
	if ch == nil {
		return
	}
	k.awaited[side]++
	c.awaits, c.side, c.no = true, side, k.awaited[side]
	switch list := &ch.tags[side]; {
	case ch.waits[side] == 0:
		*list = nil
	case len(*list) > 2*ch.waits[side]+16:
		*list = slices.DeleteFunc(*list, func(tag uint64) bool { _, waits := k.settled(side).Get(tagged{c.channel, tag}); return !waits })
		slices.Sort(*list) // which is a heap, and has tags that were used again side by side
		*list = slices.Compact(*list)
	}
	heap.Push(&ch.tags[side], tag)
	ch.waits[side]++
}

// unsureOf reports whether the acknowledgement of a message may be lost.
func (k *conn) unsureOf(c *call) bool { return c.no > 0 && c.no <= k.unsure[c.side] }

// settled is the table of the messages of a side that await an acknowledgement.
func (k *conn) settled(side int) *byid.Table[tagged, *call] {
	if side == delivered {
		return &k.delivered
	}
	return &k.published
}

// returns adds the error of a returned message to the published message, whose confirmation follows.
func (k *conn) returns(c *call) {
	for p := range k.published.Newest(maxList) {
		if p.channel == c.channel && p.row.Exchange == c.row.Exchange && p.row.Key == c.row.Key && p.row.Mandatory && !p.row.Returned && p.size == c.size {
			p.row.Returned = true
			p.refused(c.row.ReplyCode.V, c.row.ReplyText.V)
			c.row.Outcome = table.OK
			return
		}
	}
}

// acknowledge reads ack, nack and reject.
func (k *conn) acknowledge(in *dissect.Input, at, end int, number uint16, id uint32, r *reader) {
	tag, flags := r.Uint64(), uint8(0)
	if flags = r.Uint8(); r.Short() {
		return
	}
	multiple, requeue := id != reject && flags&1 != 0, id == reject && flags&1 != 0 || id == nack && flags&2 != 0
	word := strings.TrimPrefix(methodName(in.Dir, id), "basic.")
	if requeue && in.Dir == dissect.ToServer {
		word += " and requeue"
	}
	side := published
	if in.Dir == dissect.ToServer {
		side = delivered
	}
	n := 0
	settle := func(c *call) {
		if c.x.Response(in, at, at+end); n == 0 {
			c.said(methodName(in.Dir, id))
		}
		n++
		c.answered = true
		c.row.Ack = table.Some(word)
		c.gap = c.gap || multiple && k.unsureOf(c)
		switch {
		case id == ack:
		case in.Dir == dissect.ToClient, requeue:
			c.row.Outcome, c.row.StatusText = table.ServerError, table.Some(strings.ToUpper(word))
		default:
			c.row.Outcome, c.row.StatusText = table.ClientError, table.Some(strings.ToUpper(word))
		}
		k.finish(c)
	}
	if ch := k.channels[number]; multiple && ch != nil {
		k.take(ch, side, number, tag, settle)
	} else if c, ok := k.settled(side).Take(tagged{number, tag}); ok {
		settle(c)
	}
	if n > 0 {
		k.c.Confirm()
		return
	}
	c := k.newCall(in.Dir, number, id) // of a message from basic.get, or one that was not captured
	c.x.Request(in, at, at+end)
	c.row.Tag, c.row.Ack = table.Some(int64(tag)), table.Some(word)
	c.alone, c.whole = true, true
	ch := k.channels[number]
	c.known = ch != nil && tag <= ch.got && side == delivered
	k.finish(c)
}

// take removes the messages of a channel up to a tag, or all if it is 0.
func (k *conn) take(ch *channel, side int, number uint16, tag uint64, f func(*call)) {
	list := &ch.tags[side]
	for ch.waits[side] > 0 && len(*list) > 0 && (tag == 0 || (*list)[0] <= tag) {
		if c, ok := k.settled(side).Take(tagged{number, heap.Pop(list).(uint64)}); ok {
			f(c)
		}
	}
}

// reader reads the types of arguments, AMQP 0-9-1 section 4.2.5.
type reader struct{ cursorT }

// short reads a text of at most 255 bytes.
func (r *reader) short() []byte { return r.Bytes(int(r.Uint8())) }

// long reads bytes after their length.
func (r *reader) long() []byte { return r.Bytes(int(int32(r.Uint32()))) }

// table reads a table of fields as text.
func (r *reader) table(depth int) []table.Header {
	t := newReader(r.long())
	list := t.fields(depth)
	if t.Short() {
		r.Bytes(-1)
	}
	return list
}

// fields reads the fields up to the end.
func (r *reader) fields(depth int) (list []table.Header) {
	for r.Left() > 0 && !r.Short() && depth <= maxDepth {
		name := message.Text(r.short())
		value := r.value(depth)
		if len(list) < maxList {
			list = append(list, table.Header{Name: name, Value: value})
		}
	}
	return list
}

// value reads a field as text, with the types of RabbitMQ.
func (r *reader) value(depth int) string {
	size := map[byte]int{'t': 1, 'b': 1, 'B': 1, 's': 2, 'u': 2, 'I': 4, 'i': 4, 'f': 4, 'l': 8, 'L': 8, 'd': 8, 'T': 8, 'D': 5, 'V': 0}
	switch kind := r.Uint8(); kind {
	case 'S', 'x':
		return message.Show(r.long())
	case 'F':
		var words []string
		for _, h := range r.table(depth + 1) {
			words = append(words, h.Name+"="+h.Value)
		}
		return message.Text([]byte("{" + strings.Join(words, ", ") + "}"))
	case 'A':
		var words []string
		for t := newReader(r.long()); t.Left() > 0 && !t.Short() && depth < maxDepth; {
			if s := t.value(depth + 1); len(words) < maxList {
				words = append(words, s)
			}
		}
		return message.Text([]byte("[" + strings.Join(words, ", ") + "]"))
	default:
		n, ok := size[kind]
		if !ok {
			r.Bytes(-1)
			return ""
		}
		return number(kind, r.Bytes(n))
	}
}

// number is a number as text.
func number(kind byte, b []byte) string {
	var wide [8]byte
	if len(b) == 0 || len(b) > 8 {
		return ""
	}
	if b[0]&0x80 != 0 && strings.IndexByte("bsIl", kind) >= 0 {
		for i := range wide {
			wide[i] = 0xff
		}
	}
	copy(wide[8-len(b):], b)
	n := binary.BigEndian.Uint64(wide[:])
	return text(kind, n)
}
