package dissect

import "github.com/pcapsule/pcapsule/exporter/table"

// StreamAcks knows what the receivers of the streams of a connection acknowledged, as in QUIC. The offsets of bytes in a
// stream are their sequence numbers.
type StreamAcks interface {
	// StreamAcked returns what the receiver of the bytes from..to of a stream, sent in a direction, acknowledged of them.
	StreamAcked(stream int64, dir Dir, from, to uint32) StreamAcked
}

// StreamAcked is what a receiver acknowledged of some bytes of a stream.
type StreamAcked struct {
	Whole  bool             // all of them
	Shown  bool             // the capture has everything that the receiver sent since
	Packet table.Opt[int64] // that acknowledged the last of them, if known; if not all are, the latest one that acknowledged anything
}

// streamPlace is a stream whose receivers acknowledge its bytes.
type streamPlace struct {
	acks StreamAcks
	id   int64
}

// AnyStream stands for the streams that the exchanges of a connection name.
const AnyStream = -1

// SetStreamAcks says who knows what was acknowledged of a stream that an inner connection reads.
func (c *Conn) SetStreamAcks(acks StreamAcks, stream int64) {
	c.known().stream = &streamPlace{acks, stream}
}

// streamOf is the stream of an exchange with the direction in which its caller sends there, nil if it is unknown.
func (c *Conn) streamOf(x *Exchange) (place *streamPlace, asks Dir) {
	asks = x.caller()
	for in := c; in != nil; in = in.parent {
		if in.flipped {
			asks = asks.Other()
		}
		switch f := in.facts; {
		case f == nil || f.stream == nil:
		case f.stream.id != AnyStream:
			return f.stream, asks
		case in == c && x.StreamID.OK:
			return &streamPlace{f.stream.acks, x.StreamID.V}, asks
		default:
			return nil, asks
		}
	}
	return nil, asks
}

// answeredAlone reports whether a request came in one packet, and its response in a later one: then it arrived, also where
// nothing acknowledges it.
func (x *Exchange) answeredAlone() bool {
	return x.req.behind == 0 && x.resp.seen && x.resp.no > x.req.no
}

// acknowledgesStream is acknowledges for a request in a stream.
func (c *Conn) acknowledgesStream(x *Exchange) (verdict string, no table.Opt[int64]) {
	var acked StreamAcked
	if place, asks := c.streamOf(x); place != nil {
		acked = place.acks.StreamAcked(place.id, asks, x.req.seq, x.req.seqEnd)
	}
	switch to := x.caller().Other(); {
	case acked.Whole:
		return table.Delivered, acked.Packet
	case x.answeredAlone():
		return table.Delivered, table.Some(x.resp.no)
	case !acked.Shown || c.losses.of[to] != x.before[to] || !c.waitedLong(x.req.end()):
		return table.DeliveryUnknown, no
	}
	return table.NotDelivered, acked.Packet
}

// acked is what the receiver of a response in a stream acknowledged of it.
func (u *unacked) acked() StreamAcked {
	return u.stream.acks.StreamAcked(u.stream.id, u.by.Other(), u.seq, u.end)
}

// StreamAcknowledged reports that the receiver of a stream acknowledged bytes of it with packet p.
func (c *Conn) StreamAcknowledged(acks StreamAcks, stream int64, p Packet) {
	r := c.root()
	if r.acks == nil {
		return
	}
	r.acks.settle(func(u *unacked) bool {
		if u.stream == nil || u.stream.acks != acks || u.stream.id != stream {
			return false
		}
		whole := u.acked().Whole
		if whole {
			r.receipt(u, table.Delivered, p.No, p.No)
		}
		return whole
	})
}

// StreamsEnd reports that no more bytes of the streams will be acknowledged.
func (c *Conn) StreamsEnd(acks StreamAcks) {
	r := c.root()
	if r.acks == nil {
		return
	}
	r.acks.settle(func(u *unacked) bool {
		if u.stream == nil || u.stream.acks != acks {
			return false
		}
		r.reportUnackedStream(u)
		return true
	})
}

// reportUnackedStream reports a response in a stream that was never acknowledged, if the capture shows that.
func (c *Conn) reportUnackedStream(u *unacked) {
	if acked := u.acked(); !acked.Whole && acked.Shown && acked.Packet.OK && c.waitedLong(u.from) {
		c.reportUnreceived(u, "quic", acked.Packet.V)
	}
}
