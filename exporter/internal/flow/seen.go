package flow

import (
	"slices"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// Seen is what the reader has seen of the capture up to the end of a round.
type Seen struct {
	Clocks []Newest // newest time of each clock, nil if there is only one
	OneWay []int32  // interfaces, in ascending order, that have shown one direction only, although the other one had packets
	Holes  []Hole   // the newest ones
}

// Newest is the newest time of a clock, in nanoseconds since 1970 UTC.
type Newest struct {
	Clock int32
	Ns    int64
}

// Hole is a time, in nanoseconds since 1970 UTC, in which packets were lost or nothing was recorded, by the clock of a
// recording.
type Hole struct {
	Clock    int32
	From, To int64
	Sparse   bool // only some packets of a long time are missing
}

// SetSeen sets what was seen up to the end of the next round.
func (s *Shard) SetSeen(seen Seen) { s.seen = seen }

// oneSided reports whether only one side's packets of a connection were captured, although the other side sent some: its
// segments are acknowledged, or the interfaces show one direction only of everything.
func (c *Conn) oneSided() bool {
	if c.spoke == 3 {
		return false
	}
	acks, oneWay := false, true
	for _, f := range c.flows {
		acks = acks || f.side[0].hasAck || f.side[1].hasAck
		_, only := slices.BinarySearch(c.shard.seen.OneWay, f.Interface)
		oneWay = oneWay && only
	}
	if c.transport == dissect.TCP {
		return acks
	}
	return oneWay
}

// OneSided implements dissect.LossSink.
func (s *sink) OneSided(d *dissect.Conn) bool { return d.Info.Owner.(*Conn).oneSided() }

// Bare implements dissect.LossSink.
func (s *sink) Bare(d *dissect.Conn, dir dissect.Dir) bool {
	return d.Info.Owner.(*Conn).bare&(1<<dir) != 0
}

// Lacks implements dissect.LossSink.
func (s *sink) Lacks(from, to dissect.Instant) (packets, perhaps bool) {
	for _, h := range s.seen.Holes {
		switch {
		case h.Clock != from.Clock || h.From > to.Ns || h.From < from.Ns && h.To <= from.Ns:
		case h.Sparse:
			perhaps = true
		default:
			packets = true
		}
	}
	return packets, perhaps
}
