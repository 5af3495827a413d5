package dissect

import (
	"slices"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/table"
)

// ackWait is how long a receiver may take to acknowledge: at most 0.5 s (RFC 9293 section 3.8.6.3), and as much for the way.
const ackWait = 1e9 // ns

// maxAgain is how many segments of a connection that were sent again are kept. LIMIT: of more, the oldest are not counted in
// the calls that they are of.
const maxAgain = 64

// acknowledged is what the sides of a TCP connection have acknowledged.
type acknowledged struct {
	no    [2]int64  // packet that first had
	upTo  [2]uint32 // the highest acknowledgment number
	known [2]bool
}

// acked is the highest acknowledgment number of a side, and the packet that had it first.
func (c *Conn) acked(by Dir) (upTo uint32, no int64, known bool) {
	if a := c.root().acks; a != nil {
		return a.upTo[by], a.no[by], a.known[by]
	}
	return 0, 0, false
}

// sentAgain is a segment that was sent again.
type sentAgain struct {
	dir Dir
	seq uint32
	n   uint32
	at  Instant
}

// SentAgain reports that a side sent the n bytes from p.Seq again.
func (c *Conn) SentAgain(dir Dir, n uint32, p Packet) {
	if c.closed || n == 0 {
		return
	}
	if c.flipped {
		dir = dir.Other()
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
		if a.dir != x.caller() {
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
		to := x.caller().Other()
		b.RequestDelivered, b.RequestAck = c.delivered(to, x.req.seqEnd, x.req.end(), c.losses.of[to] != x.before[to])
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

// delivered reports whether a side acknowledged what ends at a sequence number and was sent at an instant, with the packet
// that shows it. gaps says that packets of that side are missing since.
func (c *Conn) delivered(to Dir, end uint32, sent Instant, gaps bool) (verdict table.Opt[string], no table.Opt[int64]) {
	upTo, by, known := c.acked(to)
	switch {
	case !known:
		return table.Some(table.DeliveryUnknown), no
	case int32(upTo-end) >= 0:
		return table.Some(table.Delivered), table.Some(by)
	case gaps || !c.waitedForAck(to, sent):
		return table.Some(table.DeliveryUnknown), no
	}
	return table.Some(table.NotDelivered), table.Some(by)
}

// waitedForAck reports whether the connection was captured long enough after an instant to have a side's acknowledgement,
// without a loss.
func (c *Conn) waitedForAck(by Dir, sent Instant) bool {
	until := c.until()
	ns, known := c.Between(sent, until)
	if !known || ns < ackWait {
		return false
	}
	sink, ok := c.engine.sink.(LossSink)
	if !ok {
		return true
	}
	missing, perhaps := sink.Lacks(sent, until)
	r := c.root()
	if r.flipped {
		by = by.Other()
	}
	return !missing && !perhaps && !sink.OneSided(r) && sink.Bare(r, by)
}

// answersUnreceived reports whether a response whose content names a request acknowledges nothing of it. The unknown payload
// of two sides has no such pairs.
func (c *Conn) answersUnreceived(x *Exchange) bool {
	return c.root().Info.Transport == TCP && c.d != nil && x.req.seen && x.resp.seen && x.resp.ack != 0 && x.resp.no > x.req.no && int32(x.resp.ack-x.req.seq) <= 0
}
