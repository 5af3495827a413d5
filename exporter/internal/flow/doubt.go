package flow

import (
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/internal/stream"
)

// maxWindow is the largest window of TCP, RFC 7323 section 2.3.
const maxWindow = 1 << 30

// outdated reports whether the time stamp of a segment is older than that of the bytes before: its receiver drops
// it (PAWS, RFC 7323 section 5.3). Stamps that a translator rewrites are compared only under the same ends.
func (c *Conn) outdated(dir dissect.Dir, p *Packet) bool {
	return p.HasTS && c.hasStamp[dir] && int32(p.TSVal-c.stamp[dir]) < 0 &&
		(p.View.same(c.stampOf[dir]) || !p.View.restamps() && !c.stampOf[dir].restamps())
}

// stamped records the time stamp of bytes that arrived in order, as receivers do (RFC 7323 section 4.3).
func (c *Conn) stamped(dir dissect.Dir, p *Packet, brought stream.Verdict) {
	if p.HasTS && p.PayloadLen > 0 && brought&(stream.New|stream.Ahead) == stream.New && !c.outdated(dir, p) {
		c.stamp[dir], c.hasStamp[dir], c.stampOf[dir] = p.TSVal, true, p.View
	}
}

// doubt passes the stream a segment that its receiver drops for this reason, because the stream may still need it.
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

// oddities are the anomalies of a stream, by stream.Oddity.
var oddities = [...]struct{ kind, detail string }{
	stream.Conflict:   {"overlap_conflict", "other bytes at a place of the stream that was already captured; the first copy, of packet %d, was kept"},
	stream.Uncompared: {"uncompared", "bytes at a place that the stream has passed; the earlier bytes are no longer kept, so the two cannot be compared"},
	stream.Late:       {"late_segment", "bytes that came after their place was given up as a gap; they are in no row"},
	stream.Early:      {"late_segment", "bytes before those with which the stream began for this capture; they are in no row"},
	stream.Stray:      {"stray_segment", "a segment ahead that nobody acknowledged: it is more than 16 MiB ahead, or others were acknowledged after it; its receiver may have dropped it"},
	stream.AfterEnd:   {"data_after_fin", "bytes behind the FIN"},
	stream.OtherEnd:   {"fin_conflict", "a FIN at another place than the data or another FIN say"},
}

// doubts are the anomalies of segments that receivers drop, by stream.Doubt. The second text is that of a segment whose
// bytes are read.
var doubts = [...]struct{ kind, refused, redeemed string }{
	stream.WrongSum: {"bad_checksum", "a wrong TCP checksum" + dropped,
		"a wrong TCP checksum, but the receiver acknowledged the bytes, and no other copy was captured: the capture was changed, " +
			"or a forged packet took the place of one that was not captured; they are read"},
	stream.OldStamp: {"old_timestamp", "a time stamp older than that of the bytes before: every receiver drops the segment (RFC 7323 section 5.3)",
		"a time stamp older than that of the bytes before, for which receivers drop a segment (RFC 7323 section 5.3)" + taken},
	stream.OldAck: {"old_ack", "an acknowledgement older than a window, or of what came before the connection: its receiver should drop the segment (RFC 5961 section 5)",
		"an acknowledgement older than a window, for which receivers should drop a segment (RFC 5961 section 5), while Linux accepts the next one that it expects" + taken},
	stream.UnsentAck: {"unsent_ack", "an acknowledgement of bytes that the other side had not sent: its receiver drops the segment (RFC 9293 section 3.10.7.4)",
		"an acknowledgement of bytes that the other side had not sent, for which receivers drop a segment (RFC 9293 section 3.10.7.4)" + taken},
}

// taken is the reason why the bytes of a segment in doubt are read.
const taken = ", but the receiver acknowledged the bytes, and no other copy was captured; they are read"

// Odd implements stream.Sink.
func (t *tcpSink) Odd(dir uint8, why stream.Oddity, n int, first int64, s *stream.Segment) {
	f, kind, detail := t.flows[0], "", ""
	switch why {
	case stream.Refused:
		kind, detail = doubts[s.Doubt].kind, doubts[s.Doubt].refused
	case stream.Redeemed:
		kind, detail = doubts[s.Doubt].kind, doubts[s.Doubt].redeemed
		if s.Doubt == stream.WrongSum {
			kind = "acknowledged_checksum"
		}
	default:
		kind, detail = oddities[why].kind, oddities[why].detail
	}
	if why == stream.Early && t.d != nil {
		t.d.Incomplete(dissect.Dir(dir)) // a request that was read before them may be the one that they answer
	}
	if why == stream.Conflict {
		f.rare(dissect.Dir(dir)).over++
		t.shard.event(f, dissect.Dir(dir), s.No, s.Time, kind, int64(n))
		detail = fmt.Sprintf(detail, first)
	}
	f.rare(dissect.Dir(dir)).anomalous += int64(n)
	t.shard.odd((*Conn)(t), f, ref(s), kind, detail, int64(n))
}
