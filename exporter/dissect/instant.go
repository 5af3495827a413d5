package dissect

import "github.com/pcapsule/pcapsule/exporter/table"

// NoClock is the clock of packets that have no time of their own.
const NoClock = int32(-1)

// Instant is when a packet was captured. All durations between two packets come from Conn.Between,
// because the times of two clocks have an unknown difference.
type Instant struct {
	Ns    int64 // since 1970 UTC
	No    int64 // of the packet
	Clock int32 // that stamped it, the same number for all interfaces with one clock; or NoClock
}

// Instant is when the packet was captured.
func (p *Packet) Instant() Instant { return Instant{p.Time, p.No, p.Clock} }

// Sightings are the times at which other clocks saw packets of a connection again.
const (
	maxSightings  = 64
	SightingsCost = maxSightings * 24 // bytes
)

// sightings are the latest ones; the oldest is replaced.
type sightings struct {
	list [maxSightings]Instant
	n    int
}

// SeenAgain notes that the first packet of a byte was seen again under another clock. It reports
// whether this was the connection's first note, which takes SightingsCost.
func (c *Conn) SeenAgain(no int64, at Instant) (first bool) {
	if at.Clock == NoClock {
		return false
	}
	if first = c.sightings == nil; first {
		c.sightings = &sightings{}
	}
	s := c.sightings
	s.list[s.n%maxSightings] = Instant{at.Ns, no, at.Clock}
	s.n++
	return first
}

// on returns the time of the packet of an instant by a clock.
func (s *sightings) on(a Instant, clock int32) (Instant, bool) {
	if a.Clock == clock {
		return a, clock != NoClock
	}
	if s == nil || clock == NoClock || a.Clock == NoClock {
		return Instant{}, false
	}
	for i := range min(s.n, maxSightings) {
		if x := s.list[i]; x.No == a.No && x.Clock == clock {
			return x, true
		}
	}
	return Instant{}, false
}

// Between is the time from a to b in nanoseconds by one clock: that of b, else that of a. It is
// unknown if no clock saw both packets.
func (c *Conn) Between(a, b Instant) (ns int64, known bool) {
	if a.Clock == b.Clock {
		return b.Ns - a.Ns, a.Clock != NoClock
	}
	s := c.root().sightings
	if x, ok := s.on(a, b.Clock); ok {
		return b.Ns - x.Ns, true
	}
	if y, ok := s.on(b, a.Clock); ok {
		return y.Ns - a.Ns, true
	}
	return 0, false
}

// Micros is Between in microseconds, null if it is unknown or the clock went back.
func (c *Conn) Micros(a, b Instant) table.Opt[int64] {
	if ns, ok := c.Between(a, b); ok && ns >= 0 {
		return table.Some(ns / 1000)
	}
	return table.Opt[int64]{}
}

// twoClocks reports whether a duration is unknown because two clocks saw its ends.
func (c *Conn) twoClocks(a, b Instant) bool {
	if a.Clock == b.Clock || a.Clock == NoClock || b.Clock == NoClock {
		return false
	}
	_, known := c.Between(a, b)
	return !known
}

// later is the later of two instants; of two clocks, that of the later packet.
func later(a, b Instant) Instant {
	if a.Clock == b.Clock && a.Ns > b.Ns || a.Clock != b.Clock && a.No > b.No {
		return a
	}
	return b
}
