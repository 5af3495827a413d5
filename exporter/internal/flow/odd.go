package flow

import (
	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/dissect"
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

// sumsHold reports whether no checksum of the packet is known to be wrong.
func (s *Shard) sumsHold(p *Packet) bool { return p.Problems&(decode.BadIPSum|decode.BadSum) == 0 }

// whole judges what lower layers said of a packet; false means that every receiver drops
// it (RFC 1122 sections 3.2.1.2 and 4.1.3.4, RFC 9293 section 3.1).
func (s *Shard) whole(c *Conn, f *Flow, dir dissect.Dir, p *Packet) bool {
	if !s.sumsHold(p) {
		p.Mark |= BadChecksum
		n := int64(len(p.Payload))
		f.side[dir].anomalous += n
		s.odd(c, f, packetRef(p), "bad_checksum", "a wrong "+wrongSum(p)+" checksum: every receiver drops the packet", n)
		return false
	}
	s.unfinished(c, f, dir, p)
	if p.Problems&(decode.FragmentOverlap|decode.FragmentConflict) != 0 {
		s.odd(c, f, packetRef(p), "fragment_overlap", "its fragments overlap; the first copy of each byte was kept, while receivers may keep another or drop all (RFC 791 section 3.2, RFC 5722)", 0)
	}
	return true
}

// maxUnfinished is how many interfaces a shard remembers to have unfinished checksums.
const maxUnfinished = 1024

// unfinished tells of sums that the sending machine left to its network adapter: once an
// interface, since captures on that machine show all its packets so. A capture on a
// receiver that joins segments shows large ones so; a small one among right sums may be
// forged, which is told at its connection.
func (s *Shard) unfinished(c *Conn, f *Flow, dir dissect.Dir, p *Packet) {
	d := &f.side[dir]
	if p.Problems&decode.UnfinishedSum == 0 {
		d.checked = max(d.checked, p.PayloadLen+1)
		return
	}
	if len(s.unsummed) < maxUnfinished && !s.unsummed[p.Interface] {
		s.unsummed[p.Interface] = true
		s.anomaly(f, packetRef(p), "tcp", "unfinished_checksums", "checksums that a network adapter was to fill in: here they prove nothing", 0)
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
