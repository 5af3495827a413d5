package flow

import (
	"slices"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// mostShown is how many connections of a shard Show shows: their rows wait in memory.
const mostShown = 512

// Show adds to out the rows that would follow if the capture ended here: the flows and connections
// that are open, those with the newest packets first, and the calls that wait. It ends nothing.
func (s *Shard) Show(last dissect.Packet, out *Batch) {
	left := mostShown
	for _, l := range [...]*list{&s.tcp, &s.other, &s.settled, &s.closing, &s.asking, &s.opening} {
		for c := l.tail; c != nil; c = c.prev {
			if left == 0 {
				out.LeftOut++
				continue
			}
			left--
			s.show(c, last, out)
		}
	}
}

func (s *Shard) show(c *Conn, last dissect.Packet, out *Batch) {
	why := dissect.EndCapture
	if c.list == &s.closing {
		why = c.closeReason()
	}
	if c.d != nil {
		c.d.Waiting(func(e dissect.Emission) { out.Calls = append(out.Calls, s.callRow(&e)) })
	}
	for i, f := range c.flows {
		row := flowRow(f.row(why, i == 0))
		row.Protocols = slices.Clone(row.Protocols)
		out.Flows = append(out.Flows, FlowRow{f.id, last.No, row, c.flipped()})
	}
	row := connRow(c.row())
	row.Alerts, row.RecordSizes, row.RecordTimes = slices.Clone(row.Alerts), slices.Clone(row.RecordSizes), slices.Clone(row.RecordTimes)
	out.Conns = append(out.Conns, ConnRow{Conn: c.id, At: last.No, Row: row, Swapped: c.flipped()})
}
