package flow

import (
	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/internal/stream"
)

// maxWindow is the largest window of TCP, RFC 7323 section 2.3.
const maxWindow = 1 << 30

// outdated reports whether the time stamp of a segment is older than that of the bytes before: its receiver drops
// it (PAWS, RFC 7323 section 5.3).
func (c *Conn) outdated(dir dissect.Dir, p *Packet) bool {
	return p.HasTS && c.hasStamp[dir] && int32(p.TSVal-c.stamp[dir]) < 0
}

// stamped notes the time stamp of bytes that arrived in order, as receivers do (RFC 7323 section 4.3).
func (c *Conn) stamped(dir dissect.Dir, p *Packet, brought stream.Verdict) {
	if p.HasTS && p.PayloadLen > 0 && brought&(stream.New|stream.Ahead) == stream.New && !c.outdated(dir, p) {
		c.stamp[dir], c.hasStamp[dir] = p.TSVal, true
	}
}

// doubt gives the stream a segment that its receiver drops for this reason, which it may need all the same.
func (s *Shard) doubt(c *Conn, dir dissect.Dir, p *Packet, why stream.Doubt) bool {
	seg := s.tcpSegment(c, dir, p)
	seg.Doubt = why
	return c.stream != nil && p.PayloadLen > 0 && p.TCPFlags&(decode.SYN|decode.RST) == 0 && p.Problems&(decode.FragmentConflict|decode.BadIPSum) == 0 &&
		c.stream.Doubt(uint8(dir), seg)
}

// announced is the largest window that the segment may announce, also if the handshake, which has the scale
// (RFC 7323 section 2.3), was not captured.
func (c *Conn) announced(dir dissect.Dir, p *Packet) uint32 {
	f := c.flows[0]
	if f.seen&seenSYN == 0 || f.seen&seenSYNACK == 0 {
		return maxWindow
	}
	return scaled(&f.side[dir], &f.side[dir.Other()], p)
}
