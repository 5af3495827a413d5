package flow

import (
	"slices"

	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// foreign reports whether both numbers of a segment are far from all that the connection sent and acknowledged. If the
// connection is over, the segment is of another one on the same ports, whose beginning was not captured. This includes
// one without payload: its acknowledgement would make the later segments of that connection near.
func (c *Conn) foreign(p *Packet, side dissect.Dir) bool {
	return p.TCPFlags&(decode.ACK|decode.RST) == decode.ACK && c.farFrom(side, p.Seq) && c.farFrom(side.Other(), p.Ack)
}

// farFrom reports whether a number is more than 1 MiB from all that direction dir sent. After 1 GiB none is, because the
// numbers of a long connection wrap.
func (c *Conn) farFrom(dir dissect.Dir, seq uint32) bool {
	const far = 1 << 20
	from, known := c.begins(dir)
	if !known || c.stream == nil {
		return false
	}
	_, to, ok := c.stream.Place(uint8(dir))
	return ok && c.flows[0].side[dir].payload < maxWindow && seq-from+far > to-from+2*far
}

// elsewhere is a segment with payload whose numbers are both far from those of the open connection: either it is forged, or
// another connection took the ports, and neither the end of this one nor the handshake of that one was captured. Only the
// other side can tell. So the segment waits for its answer.
type elsewhere struct {
	dir  dissect.Dir
	p    Packet
	flow *Flow // that counted it
}

// maxDropped is how many bytes of a direction the capture may lack at once, in an open connection.
const maxDropped = 256 << 20

// isElsewhere reports whether both numbers of a segment are before all that the open connection sent and acknowledged, or
// farther behind than losses explain.
func (c *Conn) isElsewhere(p *Packet, dir dissect.Dir) bool {
	if p.PayloadLen == 0 || c.over() || c.spoke != 3 || !c.foreign(p, dir) {
		return false
	}
	_, sent, _ := c.stream.Place(uint8(dir))
	_, had, _ := c.stream.Place(uint8(dir.Other()))
	return p.Seq-sent >= maxDropped && p.Ack-had >= maxDropped
}

// answered reports whether the other side continues exactly at the numbers of the waiting segment.
func (y *elsewhere) answered(p *Packet, dir dissect.Dir) bool {
	return y != nil && y.dir != dir && p.TCPFlags&(decode.SYN|decode.RST|decode.ACK) == decode.ACK && p.Seq == y.p.Ack && p.Ack == y.p.Seq+uint32(y.p.PayloadLen)
}

// await keeps a segment with other numbers until it is answered. One that waits already was not, and counts here.
func (s *Shard) await(c *Conn, f *Flow, dir dissect.Dir, p *Packet) bool {
	if y := c.elsewhere; y != nil && y.dir == dir && y.p.Seq != p.Seq {
		s.settleElsewhere(c)
	}
	if c.elsewhere != nil || s.budget.Left < len(p.Payload) || !c.isElsewhere(p, dir) {
		return false
	}
	c.elsewhere = &elsewhere{dir, Packet{
		Capture: Capture{No: p.No, Time: p.Time, Clock: p.Clock},
		IP:      IP{FragNos: slices.Clone(p.FragNos)},
		Segment: Segment{TCPFlags: p.TCPFlags, Seq: p.Seq, Ack: p.Ack, Window: p.Window, PayloadLen: p.PayloadLen},
		Payload: slices.Clone(p.Payload),
	}, f}
	s.budget.Left -= len(p.Payload)
	return true
}

// release removes the waiting segment.
func (s *Shard) release(c *Conn) *elsewhere {
	y := c.elsewhere
	if c.elsewhere = nil; y != nil {
		s.budget.Left += len(y.p.Payload)
	}
	return y
}

// settleElsewhere adds a segment that was not answered to the stream.
func (s *Shard) settleElsewhere(c *Conn) {
	if y := s.release(c); y != nil {
		s.stream(c, y.dir, &y.p)
	}
}

// adoptFirst gives c, which begins with an answer, the segment that it answers.
func (s *Shard) adoptFirst(c *Conn, f *Flow, dir dissect.Dir, y *elsewhere) {
	c.firstSeq[dir], c.hasSeq[dir] = y.p.Seq, true
	n := int64(len(y.p.Payload))
	y.flow.side[y.dir].payload -= n
	f.side[dir].payload += n
	s.stream(c, dir, &y.p)
	s.odd(c, f, packetRef(&y.p), "ports_reused", "another connection on the ports of an open one: both sides continue at other numbers, and neither an end nor a handshake was captured", 0)
}
