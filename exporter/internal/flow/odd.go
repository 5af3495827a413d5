package flow

import (
	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/internal/stream"
)

// maxEarlyOdds is how many anomalies a connection without payload has rows for; the rest
// share one.
const maxEarlyOdds = 4

// odd writes an anomaly of c's transport at a packet. The engine caps the rows of one
// kind; before it has the connection, a simple count does.
func (s *Shard) odd(c *Conn, f *Flow, at dissect.Packet, kind, detail string, bytes int64) {
	source := "tcp"
	if c.transport != dissect.TCP {
		source = c.transport.String()
	}
	switch {
	case c.d != nil:
		c.d.AnomalyAt(at, source, kind, detail, bytes)
	case c.odds < maxEarlyOdds:
		s.anomaly(f, at, source, kind, detail, bytes)
		c.odds++
	default:
		c.odds++
		c.oddBytes += bytes
	}
}

// oddMore writes the row that the anomalies beyond maxEarlyOdds share.
func (s *Shard) oddMore(c *Conn, at dissect.Packet) {
	if n := c.odds - maxEarlyOdds; n > 0 {
		s.anomaly(c.flows[0], at, c.transport.String(), "other", "more anomalies before the first payload", c.oddBytes)
		s.out.Anomalies[len(s.out.Anomalies)-1].Row.Count = int64(n)
	}
}

// dropped is the meaning of a wrong checksum.
const dropped = ": every receiver drops the packet"

// whole judges a packet by the problems that lower layers found; false means that every receiver drops it.
func (s *Shard) whole(c *Conn, f *Flow, dir dissect.Dir, p *Packet) bool {
	n := int64(len(p.Payload))
	switch {
	case p.Sum == SumWrong:
		p.Mark |= BadChecksum
		if p.Proto == protoTCP && s.doubt(c, dir, p, stream.WrongSum) {
			return false
		}
		f.rare(dir).anomalous += n
		detail := dropped
		if p.Problems&decode.FragmentConflict != 0 {
			detail = " over the first copies of its fragments, which conflict with others: receivers that keep these may accept it"
			s.overlaps(c, f, p)
		}
		s.odd(c, f, packetRef(p), "bad_checksum", "a wrong "+wrongSum(p)+" checksum"+detail, n)
		return false
	case p.Sum != SumRight:
		p.Mark |= BadChecksum
		if !c.rewritten {
			c.rewritten = true
			kind, detail := "unproven_checksum", ", and so far no right one between these hosts: the capture was rewritten, or the packet is forged; it is read"
			if p.Sum == SumRewritten {
				kind, detail = "rewritten_checksum", ", which is off by the same value in all packets of this direction: the capture was rewritten; they are read"
			}
			s.odd(c, f, packetRef(p), kind, "a wrong "+wrongSum(p)+" checksum"+detail, 0)
		}
	default:
		s.summed(c, f, dir, p)
	}
	if p.Problems&(decode.FragmentOverlap|decode.FragmentConflict) != 0 {
		s.overlaps(c, f, p)
	}
	return true
}

func (s *Shard) overlaps(c *Conn, f *Flow, p *Packet) {
	s.odd(c, f, packetRef(p), "fragment_overlap", "its fragments overlap; the first copy of each byte was kept, while receivers may keep another or drop all (RFC 791 section 3.2, RFC 5722)", 0)
}

// summed accepts a packet whose checksum is right, or that the sending machine left to its network adapter. A capture
// on that machine shows all its packets like this, which reading reports once per interface. A capture on a receiver
// that joins segments shows large ones like this. A small one among right checksums may be forged, which an anomaly of
// its connection reports.
func (s *Shard) summed(c *Conn, f *Flow, dir dissect.Dir, p *Packet) {
	d := &f.side[dir]
	if p.Problems&decode.UnfinishedSum == 0 {
		d.checked = max(d.checked, p.PayloadLen+1)
		return
	}
	if p.PayloadLen > 0 && p.PayloadLen < d.checked && !c.unsummed {
		c.unsummed = true
		s.odd(c, f, packetRef(p), "mixed_checksums", "an unfinished checksum in a direction that also has right ones", 0)
	}
}

func wrongSum(p *Packet) string {
	switch {
	case p.Problems&decode.BadIPSum != 0:
		return "IPv4 header"
	case p.Proto == protoTCP:
		return "TCP"
	}
	return "UDP"
}
