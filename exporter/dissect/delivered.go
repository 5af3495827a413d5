package dissect

import (
	"fmt"
	"slices"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect/internal/inorder"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// ackWait is how long a receiver may take to acknowledge: at most 0.5 s (RFC 9293 section 3.8.6.3), and as much for the way.
const ackWait = 1e9 // ns

// maxAgain is how many segments of a connection that were sent again are kept. LIMIT: of more, the oldest are not counted in
// the calls that they are of.
const maxAgain = 64

// acknowledged is what the sides of a TCP connection have acknowledged, by direction as captured.
type acknowledged struct {
	no    [2]int64  // packet that first had
	upTo  [2]uint32 // the highest acknowledgment number
	known [2]bool

	unacked []unacked // responses in the order of their rows
}

// sentAgain is a segment that was sent again.
type sentAgain struct {
	dir Dir // as captured
	seq uint32
	n   uint32
	at  Instant
}

// maxUnacked is how many responses of a connection wait for their acknowledgement. LIMIT: of more, the newest are not examined.
const maxUnacked = 64

// unacked is a response whose last byte was not acknowledged when its row was made.
type unacked struct {
	by     Dir // that acknowledges it, as captured
	end    uint32
	from   Packet // that completed it
	losses uint32 // of that side
	first  int64  // its first packet
}

// SentAgain reports that a side sent the n bytes from p.Seq again.
func (c *Conn) SentAgain(dir Dir, n uint32, p Packet) {
	if c.closed || n == 0 {
		return
	}
	f := c.known()
	if len(f.again) == maxAgain {
		f.again = slices.Delete(f.again, 0, 1)
	} else {
		c.owe(int(unsafe.Sizeof(sentAgain{})))
	}
	f.again = append(f.again, sentAgain{dir, p.Seq, n, p.Instant()})
	c.weigh()
}

// countAgain counts in a row the segments with bytes of its request or response that were sent again so far, and the time
// from the message's first byte to the last of them.
func (c *Conn) countAgain(x *Exchange, b *table.Call) {
	f := c.root().facts
	if f == nil || len(f.again) == 0 {
		return
	}
	for i := range f.again {
		a, p := &f.again[i], &x.req
		if a.dir != c.captured(x.caller()) {
			p = &x.resp
		}
		if !p.seen || int32(a.seq-p.seqEnd) >= 0 || int32(p.seq-a.seq-a.n) >= 0 {
			continue
		}
		b.ResentSegments = table.Some(b.ResentSegments.V + 1)
		if us := c.Micros(p.begin(), a.at); us.OK && us.V > b.ResentUs.V {
			b.ResentUs = us
		}
	}
}

// deliver says in a row whether its request was delivered.
func (c *Conn) deliver(x *Exchange, b *table.Call) {
	r := c.root()
	b.Delivery = &table.Delivery{}
	switch {
	case !x.req.seen:
	case r.Info.Transport == TCP:
		verdict, no := c.acknowledges(x)
		b.RequestDelivered, b.RequestAck = table.Some(verdict), no
	case x.resp.seen && datagrams(c.Info.Transport) && datagrams(r.Info.Transport):
		b.RequestDelivered, b.RequestAck = table.Some(table.Delivered), table.Some(x.resp.no)
	default:
		b.RequestDelivered = table.Some(table.DeliveryUnknown)
		if list := c.undelivered(x); len(list) > 0 {
			b.RequestDelivered, b.RequestAck = table.Some(table.NotDelivered), table.Some(list[len(list)-1].at.No)
		}
	}
	c.countAgain(x, b)
}

// acknowledges reports whether the receiver of a request acknowledged its last byte, with the packet that shows it.
func (c *Conn) acknowledges(x *Exchange) (verdict string, no table.Opt[int64]) {
	to := x.caller().Other()
	by, acks := c.captured(to), c.root().acks
	switch {
	case acks == nil || !acks.known[by]:
		return table.DeliveryUnknown, no
	case int32(acks.upTo[by]-x.req.seqEnd) >= 0:
		return table.Delivered, table.Some(acks.no[by])
	case c.losses.of[to] != x.before[to] || !c.waitedForAck(by, x.req.end()):
		return table.DeliveryUnknown, no
	}
	return table.NotDelivered, table.Some(acks.no[by])
}

// waitedForAck reports whether the connection has packets long enough after an instant to have an acknowledgement of the
// side that sends in a direction as captured, without a loss. A sender repeats what is not acknowledged (RFC 6298 section 5),
// so silence of both sides means that the capture lacks packets.
func (c *Conn) waitedForAck(by Dir, sent Instant) bool {
	until := c.root().now.Instant()
	ns, known := c.Between(sent, until)
	if !known || ns < ackWait {
		return false
	}
	sink, ok := c.engine.sink.(LossSink)
	if !ok {
		return true
	}
	missing, perhaps := sink.Lacks(sent, until)
	return !missing && !perhaps && !sink.OneSided(c.root()) && sink.Bare(c.root(), by)
}

// answersUnreceived reports whether a response whose content names a request acknowledges nothing of it. The unknown payload
// of two sides has no such pairs.
func (c *Conn) answersUnreceived(x *Exchange) bool {
	asked := inorder.Request{Seq: x.req.seq}
	return c.root().Info.Transport == TCP && c.d != nil && x.req.seen && x.resp.seen && x.resp.no > x.req.no && asked.Unreceived(inorder.Place{Ack: x.resp.ack})
}

// awaitAck notes a complete response of which the last byte is not acknowledged yet.
func (c *Conn) awaitAck(x *Exchange, b *table.Call) {
	r := c.root()
	if r.Info.Transport != TCP || !x.req.seen || !x.resp.seen || !b.Complete || r.closed {
		return
	}
	by := c.captured(x.caller())
	a := r.acks
	if a == nil || !a.known[by] || int32(a.upTo[by]-x.resp.seqEnd) >= 0 || len(a.unacked) == maxUnacked {
		return
	}
	end := x.resp.end()
	a.unacked = append(a.unacked, unacked{by, x.resp.seqEnd, Packet{No: end.No, Time: end.Ns, Clock: end.Clock}, r.losses.of[r.captured(by)], x.resp.no})
}

// acknowledge notes that a side acknowledges all before a sequence number with a packet.
func (a *acknowledged) acknowledge(by Dir, upTo uint32, no int64) {
	a.upTo[by], a.no[by], a.known[by] = upTo, no, true
	if len(a.unacked) == 0 {
		return
	}
	if a.unacked = slices.DeleteFunc(a.unacked, func(u unacked) bool { return u.by == by && int32(upTo-u.end) >= 0 }); len(a.unacked) == 0 {
		a.unacked = nil
	}
}

// reportUnacked marks, at the end of a connection, the responses that their receiver never acknowledged although the capture
// shows its packets.
func (c *Conn) reportUnacked() {
	if c.acks == nil {
		return
	}
	for _, u := range c.acks.unacked {
		if c.losses.of[c.captured(u.by)] == u.losses && c.waitedForAck(u.by, u.from.Instant()) {
			c.AnomalyAt(u.from, "tcp", "unreceived_response", fmt.Sprintf("the caller never acknowledged the end of the response that begins in packet %d, so it did not arrive whole", u.first), 0)
		}
	}
	c.acks.unacked = nil
}
