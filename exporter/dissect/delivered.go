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

// acknowledged is what the sides of a TCP connection have acknowledged, by direction as captured. Of QUIC, it has the responses
// that wait.
type acknowledged struct {
	no    [2]int64  // packet that first had
	upTo  [2]uint32 // the highest acknowledgment number
	known [2]bool

	unacked []unacked // responses in the order of their rows
	tickets uint32    // of the last of them
}

// sentAgain is a segment that was sent again.
type sentAgain struct {
	dir Dir // as captured
	seq uint32
	n   uint32
	at  Instant
}

// maxUnacked is how many responses of a connection wait for their acknowledgement. LIMIT: of more, the newest are not examined.
const maxUnacked = 256

// unackedCost is the memory of a response that waits, with its place in the stage that numbers calls.
const unackedCost = int(unsafe.Sizeof(unacked{})) + 16

// unacked is a response whose last byte was not acknowledged when its row was made.
type unacked struct {
	known    bool
	by       Dir // that acknowledges it, as captured; in a stream, as its connection has it
	whole    bool
	ticket   uint32
	seq, end uint32
	first    Instant      // its first byte
	from     Instant      // its last byte
	losses   uint32       // of the side that acknowledges it
	again    int32        // its segments that were sent again since
	againAt  Instant      // the last of them
	stream   *streamPlace // nil on TCP
}

// Receipt says whether the receiver of a response got it, which is known only after the row was made.
type Receipt struct {
	Ticket      uint32 // that the call has in its Emission
	Delivered   string
	Ack         int64            // packet that shows it
	At          int64            // packet at which that is known
	Resent      int32            // segments of the response that were sent again after its row was made
	ResentAfter table.Opt[int64] // µs from its first byte to the last of them
}

// ReceiptSink is a Sink that gets receipts, each after its call.
type ReceiptSink interface {
	Receipt(c *Conn, r Receipt)
}

// SentAgain reports that a side sent the n bytes from p.Seq again.
func (c *Conn) SentAgain(dir Dir, n uint32, p Packet) {
	if c.closed || n == 0 {
		return
	}
	if c.acks != nil {
		c.acks.sentAgain(dir, n, p)
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
	b.Delivery = &table.Delivery{EndedBy: c.endedBy(x, b)}
	switch {
	case !x.req.seen:
	case r.Info.Transport == TCP:
		verdict, no := c.acknowledges(x)
		b.RequestDelivered, b.RequestAck = table.Some(verdict), no
	case c.Info.Transport == QUIC:
		verdict, no := c.acknowledgesStream(x)
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
	case acks == nil && x.answeredAlone(): // bytes without segments, as in HEP
		return table.Delivered, table.Some(x.resp.no)
	case acks == nil || !acks.known[by]:
		return table.DeliveryUnknown, no
	case int32(acks.upTo[by]-x.req.seqEnd) >= 0:
		return table.Delivered, table.Some(acks.no[by])
	case c.losses.of[to] != x.before[to] || !c.waitedForAck(by, x.req.end()):
		return table.DeliveryUnknown, no
	}
	return table.NotDelivered, table.Some(acks.no[by])
}

// waitedForAck is waitedLong for a capture that has segments without payload of the side that acknowledges, which sends in a
// direction as captured.
func (c *Conn) waitedForAck(by Dir, sent Instant) bool {
	sink, ok := c.engine.sink.(LossSink)
	return c.waitedLong(sent) && (!ok || sink.Bare(c.root(), by))
}

// waitedLong reports whether the connection has packets long enough after an instant to have an acknowledgement, without a
// loss. A sender repeats what is not acknowledged (RFC 6298 section 5, RFC 9002 section 6.2), so silence of both sides means
// that the capture lacks packets.
func (c *Conn) waitedLong(sent Instant) bool {
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
	return !missing && !perhaps && !sink.OneSided(c.root())
}

// answersUnreceived reports whether a response whose content names a request acknowledges nothing of it. The unknown payload
// of two sides has no such pairs.
func (c *Conn) answersUnreceived(x *Exchange) bool {
	asked := inorder.Request{Seq: x.req.seq}
	return c.root().Info.Transport == TCP && c.d != nil && x.req.seen && x.resp.seen && x.resp.no > x.req.no && asked.Unreceived(inorder.Place{Ack: x.resp.ack})
}

// response describes the response of a call on TCP or in a stream, as it waits for its acknowledgement.
func (c *Conn) response(x *Exchange, b *table.Call) (u unacked) {
	if !x.resp.seen {
		return u
	}
	u = unacked{known: c.root().Info.Transport == TCP, by: c.captured(x.caller()), whole: b.Complete && x.req.seen, seq: x.resp.seq, end: x.resp.seqEnd, first: x.resp.begin(), from: x.resp.end()}
	if c.Info.Transport == QUIC {
		u.stream, u.by = c.streamOf(x)
		u.known = u.stream != nil
	}
	return u
}

// send passes on a call. Its receipt follows as soon as it is known.
func (c *Conn) send(e Emission) {
	r, u := c.root(), e.response
	to, ok := c.engine.sink.(ReceiptSink)
	if u.known && u.stream != nil && r.acks == nil {
		r.acks = &acknowledged{}
	}
	acks := r.acks
	if !ok || !u.known || acks == nil || u.stream == nil && !acks.known[u.by] {
		c.engine.sink.Call(e)
		return
	}
	acked, ack := int32(acks.upTo[u.by]-u.end) >= 0, acks.no[u.by]
	if u.stream != nil {
		a := u.acked()
		if acked, ack = a.Whole, a.Packet.V; acked && !a.Packet.OK {
			c.engine.sink.Call(e)
			return
		}
	}
	if acked || !r.closed && len(acks.unacked) < maxUnacked {
		acks.tickets++
		e.Ticket, u.ticket, u.losses = acks.tickets, acks.tickets, r.losses.of[r.captured(u.by)]
	}
	c.engine.sink.Call(e)
	switch {
	case acked:
		to.Receipt(r, Receipt{Ticket: u.ticket, Delivered: table.Delivered, Ack: ack, At: e.At})
	case u.ticket != 0:
		acks.unacked = append(acks.unacked, u)
	}
}

// acknowledge notes that a side acknowledges all before p.Ack with packet p, and reports the responses that it has.
func (c *Conn) acknowledge(by Dir, p Packet) {
	a := c.acks
	a.upTo[by], a.no[by], a.known[by] = p.Ack, p.No, true
	a.settle(func(u *unacked) bool {
		if u.by != by || int32(p.Ack-u.end) < 0 {
			return false
		}
		c.receipt(u, table.Delivered, p.No, p.No)
		return true
	})
}

// settle removes the responses for which the function, which may report them, returns true.
func (a *acknowledged) settle(done func(u *unacked) bool) {
	if len(a.unacked) == 0 {
		return
	}
	a.unacked = slices.DeleteFunc(a.unacked, func(u unacked) bool { return done(&u) })
	if len(a.unacked) == 0 {
		a.unacked = nil
	}
}

// sentAgain counts a segment that was sent again in the responses that wait.
func (a *acknowledged) sentAgain(dir Dir, n uint32, p Packet) {
	for i := range a.unacked {
		if u := &a.unacked[i]; u.by != dir && int32(p.Seq-u.end) < 0 && int32(u.seq-p.Seq-n) < 0 {
			u.again++
			u.againAt = p.Instant()
		}
	}
}

// receipt reports what became of a response, as known at a packet.
func (c *Conn) receipt(u *unacked, delivered string, ack, at int64) {
	to, ok := c.engine.sink.(ReceiptSink)
	if !ok {
		return
	}
	r := Receipt{Ticket: u.ticket, Delivered: delivered, Ack: ack, At: at, Resent: u.again}
	if u.again > 0 {
		r.ResentAfter = c.Micros(u.first, u.againAt)
	}
	to.Receipt(c, r)
}

// reportUnacked reports, at the end of a connection, the responses that their receiver never acknowledged although the capture
// shows its packets.
func (c *Conn) reportUnacked() {
	if c.acks == nil {
		return
	}
	for i := range c.acks.unacked {
		u := &c.acks.unacked[i]
		if u.stream != nil {
			c.reportUnackedStream(u)
		} else if c.losses.of[c.captured(u.by)] == u.losses && c.waitedForAck(u.by, u.from) {
			c.reportUnreceived(u, "tcp", c.acks.no[u.by])
		}
	}
	c.acks.unacked = nil
}

// reportUnreceived reports a response that its receiver never acknowledged. Packet ack is the one that acknowledged most.
func (c *Conn) reportUnreceived(u *unacked, source string, ack int64) {
	c.receipt(u, table.NotDelivered, ack, c.now.No)
	if u.whole {
		c.AnomalyAt(Packet{No: u.from.No, Time: u.from.Ns, Clock: u.from.Clock}, source, "unreceived_response", fmt.Sprintf("the caller never acknowledged the end of the response that begins in packet %d, so it did not arrive whole", u.first.No), 0)
	}
}
