package flow

import (
	"slices"

	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// synPayload is the payload of a SYN. With TCP Fast Open (RFC 7413) the receiver accepts it, which its first
// acknowledgement shows. Otherwise it ignores the payload, which is then sent again.
type synPayload struct {
	dir  dissect.Dir
	at   dissect.Packet
	flow *Flow
	data []byte
	size int
	also []dissect.Instant // at most maxRivals times at which it was shown again
}

func newSYNPayload(p *Packet) *synPayload {
	return &synPayload{at: packetRef(p), data: slices.Clone(p.Payload), size: int(p.PayloadLen)}
}

// held is the memory of the payload.
func (y *synPayload) held() int {
	if y == nil {
		return 0
	}
	return len(y.data)
}

// keepSYN keeps the payload of a SYN until the other side shows whether it accepted it.
func (s *Shard) keepSYN(c *Conn, f *Flow, dir dissect.Dir, p *Packet) {
	n := int64(len(p.Payload))
	s.settleSYN(c, dir, p) // a SYN-ACK may carry payload too, RFC 7413 section 4.2.2
	switch y := c.synPayload; {
	case y == nil:
		c.synPayload = newSYNPayload(p)
		c.synPayload.dir, c.synPayload.flow = dir, f
		s.budget.Left -= len(p.Payload)
	case y.dir == dir && string(y.data) == string(p.Payload):
		f.rare(dir).duplicate += n
		if c.clocks && len(y.also) < maxRivals {
			y.also = append(y.also, dissect.Instant{Ns: p.Time, Clock: p.Clock})
		}
	default:
		f.rare(dir).anomalous += n
		s.odd(c, f, packetRef(p), "syn_payload", "the payload of another SYN waits for its answer", n)
	}
}

// settleSYN adds the payload of a SYN to the stream if the other side acknowledges it. ack is nil at the connection's
// end.
func (s *Shard) settleSYN(c *Conn, dir dissect.Dir, ack *Packet) {
	y := c.synPayload
	if y == nil || ack != nil && (dir == y.dir || ack.TCPFlags&decode.ACK == 0) {
		return
	}
	c.synPayload = nil
	s.budget.Left += len(y.data)
	rest := y.data
	if ack != nil && ack.Ack != y.at.Seq+1 && ack.Ack-y.at.Seq-1 < maxNearSYN {
		took := min(y.size, int(ack.Ack-y.at.Seq-1))
		data := y.data[:min(took, len(y.data))]
		rest = y.data[len(data):]
		begin := ack.Seq // of the other side: the payload was sent before all of its bytes
		if ack.TCPFlags&decode.SYN != 0 {
			begin++
		}
		s.stream(c, y.dir, &Packet{
			Capture: Capture{No: y.at.No, Time: y.at.Time, Clock: y.at.Clock},
			IP:      IP{FragNos: y.at.Also},
			Segment: Segment{Seq: y.at.Seq + 1, Ack: begin, PayloadLen: int32(took)},
			Payload: data,
		})
		for _, at := range y.also {
			c.seenAgain(y.dir, y.at.No, at)
		}
	}
	if len(rest) > 0 {
		y.flow.rare(y.dir).anomalous += int64(len(rest))
		detail := "payload of a SYN that its receiver did not take with it (RFC 7413)"
		if ack == nil {
			detail = "payload of a SYN whose answer was not captured"
		}
		s.odd(c, y.flow, y.at, "syn_payload", detail, int64(len(rest)))
	}
}
