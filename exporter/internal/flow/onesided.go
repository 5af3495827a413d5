package flow

import (
	"slices"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// SetOneWay sets the interfaces, in ascending order, that have shown one direction only up to the end of the next round,
// although the other one had packets.
func (s *Shard) SetOneWay(interfaces []int32) { s.oneWay = interfaces }

// oneSided reports whether only one side's packets of a connection were captured, although the other side sent some: its
// segments are acknowledged, or the interfaces show one direction only of everything.
func (c *Conn) oneSided() bool {
	if c.spoke == 3 {
		return false
	}
	acks, oneWay := false, true
	for _, f := range c.flows {
		acks = acks || f.side[0].hasAck || f.side[1].hasAck
		_, only := slices.BinarySearch(c.shard.oneWay, f.Interface)
		oneWay = oneWay && only
	}
	if c.transport == dissect.TCP {
		return acks
	}
	return oneWay
}

// OneSided implements dissect.LossSink.
func (s *sink) OneSided(d *dissect.Conn) bool { return d.Info.Owner.(*Conn).oneSided() }
