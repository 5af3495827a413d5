package flow

import (
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/internal/stream"
)

// NoClock is the clock of packets without a time.
const NoClock = dissect.NoClock

// newest is the capture time at which a connection ends, by the clock of its last packet. at is the
// packet that ends it.
func (s *Shard) newest(c *Conn, at dissect.Packet) int64 {
	if at.Clock == c.lastClock {
		return at.Time
	}
	for _, x := range s.seen.Clocks {
		if x.Clock == c.lastClock {
			return max(x.Ns, c.lastAt)
		}
	}
	return c.lastAt
}

// timed reports whether the flow's clock stamped the packet.
func (f *Flow) timed(p *Packet) bool { return p.Clock == f.clock && p.Clock != dissect.NoClock }

// Again implements stream.Sink.
func (t *tcpSink) Again(dir uint8, no int64, s *stream.Segment) {
	(*Conn)(t).seenAgain(dissect.Dir(dir), no, dissect.Instant{Ns: s.Time, Clock: s.Clock})
}

// seenAgain records the time of a copy of a packet, because another clock may have stamped it.
func (c *Conn) seenAgain(dir dissect.Dir, no int64, at dissect.Instant) {
	if c.clocks && c.d != nil {
		c.shard.take(c, c.d.SeenAgain(dir, no, at))
	}
}
