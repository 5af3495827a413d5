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

// Limits of the times at which other clocks saw packets of a connection again.
const (
	maxRecent   = 64
	maxTurns    = 512
	instantSize = 24 // bytes
)

// sightings are these times: the latest ones, and those of the first and the newest packet of each turn,
// which is what one side sends before the other side does. So both ends of a long request are known when
// its response comes.
type sightings struct {
	recent [maxRecent]Instant // the oldest is replaced
	n      int
	turns  []Instant // the oldest first
	dir    Dir       // of the turn
	first  int64     // packet of the turn
}

// SeenAgain records that a packet was seen again under another clock. It returns the bytes of memory
// that this takes.
func (c *Conn) SeenAgain(dir Dir, no int64, at Instant) (taken int) {
	if at.Clock == NoClock {
		return 0
	}
	s := c.sightings
	if s == nil {
		s = &sightings{}
		c.sightings, taken = s, maxRecent*instantSize
	}
	x := Instant{at.Ns, no, at.Clock}
	s.recent[s.n%maxRecent] = x
	s.n++
	return taken + s.turn(dir, x)
}

// turn adds the time of a packet to its turn and removes the times of the packet before, unless that is
// the first of the turn.
func (s *sightings) turn(dir Dir, x Instant) (taken int) {
	if len(s.turns) == 0 || s.dir != dir {
		s.dir, s.first = dir, x.No
	} else if last := s.turns[len(s.turns)-1].No; last != s.first && last != x.No {
		for len(s.turns) > 0 && s.turns[len(s.turns)-1].No == last {
			s.turns = s.turns[:len(s.turns)-1]
		}
	}
	if len(s.turns) == maxTurns {
		s.turns = append(s.turns[:0], s.turns[maxTurns/4:]...)
	}
	before := cap(s.turns)
	s.turns = append(s.turns, x)
	return (cap(s.turns) - before) * instantSize
}

// on returns the time of the packet of an instant by a clock.
func (s *sightings) on(a Instant, clock int32) (Instant, bool) {
	if a.Clock == clock {
		return a, clock != NoClock
	}
	if s == nil || clock == NoClock || a.Clock == NoClock {
		return Instant{}, false
	}
	for _, list := range [][]Instant{s.recent[:min(s.n, maxRecent)], s.turns} {
		for _, x := range list {
			if x.No == a.No && x.Clock == clock {
				return x, true
			}
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
