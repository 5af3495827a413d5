package flow

import (
	"slices"

	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/internal/stream"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Bits of column completeness, as Wireshark has them: ACK is one without payload, from
// either side.
const (
	seenSYN = 1 << iota
	seenSYNACK
	seenACK
	seenData
	seenFIN
	seenRST
)

// tcpPacket takes a TCP segment through its steps: admit, account, and the stream, which puts its bytes in order and
// delivers them to the dissector.
func (s *Shard) tcpPacket(at place, p *Packet) {
	c, f, dir := at.c, at.f, at.dir
	f.count(dir, p)
	if p.PayloadLen == 0 {
		c.bare |= 1 << dir
	}
	if p.PDU {
		s.pdu(c, f, dir, p)
		return
	}
	if !s.whole(c, f, dir, p) || !s.control(c, f, dir, p) {
		return
	}
	s.settleSYN(c, dir, p)
	copied := f.sighted(dir, p)
	if p.View != nil && p.TCPFlags&decode.SYN != 0 && !copied { // it may yet turn out to be another connection's
		f.tcp(s, dir, p)
		return
	}
	var brought stream.Verdict
	if copied && p.PayloadLen > 0 && p.TCPFlags&decode.RST == 0 { // equal numbers do not prove equal bytes
		brought = s.stream(c, dir, p)
	}
	if copied && brought&(stream.New|stream.Differs) == 0 {
		f.sightings++
		p.Mark |= Sighting
		return
	}
	s.advance(at, p)
	if p.TCPFlags&decode.RST != 0 {
		return
	}
	if brought == 0 {
		if s.await(c, f, dir, p) || c.outdated(dir, p) && s.doubt(c, dir, p, stream.OldStamp) {
			return
		}
		brought = s.stream(c, dir, p)
		c.stamped(dir, p, brought)
	}
	s.carried(c, dir, p, brought&stream.New != 0)
	if c.reset && brought&stream.New != 0 {
		s.odd(c, f, packetRef(p), "data_after_reset", "new bytes behind a reset that its receiver must take: one of the two is forged or did not arrive", 0)
	}
}

// advance records what a segment that is no copy changes: counters, sequence numbers (RFC 9293 section 3.3.1), and who
// leaves.
func (s *Shard) advance(at place, p *Packet) {
	c, dir := at.c, at.dir
	at.f.tcp(s, dir, p)
	if p.Mark&Retransmitted != 0 && c.d != nil && at.f == c.flows[0] { // other flows may show the same segment
		c.d.SentAgain(dir, uint32(p.PayloadLen), packetRef(p))
	}
	begins := p.TCPFlags&decode.SYN != 0
	if begins && !c.hasISN[dir] {
		c.isn[dir], c.hasISN[dir] = p.Seq, true
	}
	if p.TCPFlags&(decode.RST|decode.FIN) != 0 {
		c.departs(dir, p)
	}
	if !begins && p.TCPFlags&decode.RST == 0 && !c.hasSeq[dir] {
		c.firstSeq[dir], c.hasSeq[dir] = p.Seq, true
	}
}

// departs reports a FIN or RST with what its sender has acknowledged.
func (c *Conn) departs(dir dissect.Dir, p *Packet) {
	if c.d == nil {
		return
	}
	at, reset, ahead := packetRef(p), p.TCPFlags&decode.RST != 0, false
	if c.stream != nil {
		acked, high, ok := c.stream.Place(uint8(dir.Other()))
		if ok && (p.TCPFlags&decode.ACK == 0 || int32(acked-p.Ack) > 0) {
			at.Ack = acked
		}
		ahead = ok && reset && at.Ack-high-1 < maxNearSYN
	}
	c.d.Departs(dir, at, reset, ahead)
}

// stream gives a segment to the stream, which compares and orders its bytes.
func (s *Shard) stream(c *Conn, dir dissect.Dir, p *Packet) stream.Verdict {
	if c.stream == nil {
		if p.PayloadLen <= 0 && p.TCPFlags&(decode.SYN|decode.FIN) == 0 {
			return 0
		}
		c.stream = &stream.Conn{Sink: (*tcpSink)(c), Budget: &s.budget, History: &s.history}
	}
	seg := s.tcpSegment(c, dir, p)
	if p.TCPFlags&decode.SYN != 0 { // settleSYN brings its payload
		seg.Payload, seg.Len = nil, 0
	}
	return c.stream.Segment(uint8(dir), seg)
}

// tcpSegment is a packet as stream reads it, until the next one.
func (s *Shard) tcpSegment(c *Conn, dir dissect.Dir, p *Packet) *stream.Segment {
	s.segment = stream.Segment{Packet: stream.Packet{No: p.No, Time: p.Time, Clock: p.Clock, Also: p.FragNos}, Seq: p.Seq, Ack: p.Ack,
		Flags: p.TCPFlags, Payload: p.Payload, Len: int(p.PayloadLen), Awaits: p.snapCut() && (c.longer(dir, p) || c.firstOf(dir, p)), Window: c.announced(dir, p),
		Mapped: p.Mapped, Mapping: p.Mapping}
	return &s.segment
}

// pdu passes on bytes of a stream that are already in order, because they were not captured as TCP segments.
func (s *Shard) pdu(c *Conn, f *Flow, dir dissect.Dir, p *Packet) {
	if len(p.Payload) == 0 && p.PayloadLen <= 0 {
		return
	}
	f.seen |= seenData
	if c.d == nil {
		c.begin(-1)
	}
	c.d.Data(dir, p.Payload, packetRef(p))
	c.d.Gap(dir, int64(p.PayloadLen)-int64(len(p.Payload)), packetRef(p))
}

// tcpSink passes the ordered bytes of a stream to the dissect engine.
type tcpSink Conn

func ref(s *stream.Segment) dissect.Packet {
	return dissect.Packet{No: s.No, Time: s.Time, Clock: s.Clock, Seq: s.Seq, Ack: s.Ack, Also: s.Also}
}

// conn is the connection whose bytes of one direction come next.
func (t *tcpSink) conn(dir uint8) *dissect.Conn {
	if t.d == nil {
		(*Conn)(t).begin((*Conn)(t).connectUs())
		other := 1 - dir
		if seq, ok := t.stream.Began(other); ok && !(t.hasISN[other] && t.isn[other]+1 == seq) && !t.stream.Opens(other) {
			t.d.Begins(dissect.Dir(other), seq)
		}
		for d := range uint8(2) {
			if ack, no, ok := t.stream.Acknowledged(d); ok {
				t.d.Acked(dissect.Dir(d).Other(), dissect.Packet{No: no, Ack: ack})
			}
		}
	}
	return t.d
}

// Data implements stream.Sink.
func (t *tcpSink) Data(dir uint8, data []byte, s *stream.Segment) {
	d := t.conn(dir)
	if s.Mapped || t.mappings != nil {
		(*Conn)(t).mapped(dissect.Dir(dir), uint32(len(data)), s)
	}
	d.Data(dissect.Dir(dir), data, ref(s))
}

// Gap implements stream.Sink.
func (t *tcpSink) Gap(dir uint8, n int64, more bool, s *stream.Segment) {
	t.conn(dir).Gap(dissect.Dir(dir), n, ref(s))
	f := t.flows[0]
	if !more {
		f.rare(dissect.Dir(dir)).lost++
	}
	t.shard.event(f, dissect.Dir(dir), s.No, s.Time, "gap", n)
}

// End implements stream.Sink.
func (t *tcpSink) End(dir uint8, s *stream.Segment) {
	t.ended[dir] = true
	if t.d != nil {
		t.d.End(dissect.Dir(dir), ref(s))
	}
}

// Acked implements stream.Sink.
func (t *tcpSink) Acked(dir uint8, s *stream.Segment) {
	if t.d != nil {
		t.d.Acked(dissect.Dir(dir).Other(), ref(s))
	}
}

func (s *Shard) event(f *Flow, dir dissect.Dir, no, ts int64, what string, bytes int64) {
	side := "client"
	if dir == dissect.ToClient {
		side = "server"
	}
	s.out.Events = append(s.out.Events, EventRow{f.id, table.TCPEvent{TsNs: ts, Ts: table.MicrosOf(ts),
		PacketNo: no, Side: side, Event: what, Bytes: bytes}})
}

// count adds a packet to the flow's sums.
func (f *Flow) count(dir dissect.Dir, p *Packet) {
	d := &f.side[dir]
	if p.Pieces.Packets > 0 {
		d.packets += int64(p.Pieces.Packets)
		d.bytes += int64(p.Pieces.Bytes)
	} else {
		d.packets++
		d.bytes += int64(p.IPLen)
	}
	d.payload += int64(p.PayloadLen)
	if cut := int64(p.PayloadLen) - int64(len(p.Payload)); cut != 0 {
		f.rare(dir).cut += cut
	}
	f.firstNs, f.lastNs, f.lastPacket = min(f.firstNs, p.began()), max(f.lastNs, p.Time), p.No
	if f.clock == dissect.NoClock {
		f.clock = p.Clock
	}
}

// sighted reports whether the packet has the numbers of one that this flow has already seen: capturing
// on several devices of one machine shows a packet more than once. A segment sent again
// by TCP has another IP identification or time stamp, or comes later.
func (f *Flow) sighted(dir dissect.Dir, p *Packet) bool {
	sig := signature{p.Seq, p.Ack, p.TSVal, p.IPID, p.PayloadLen, p.TCPFlags, dir == dissect.ToServer, p.Time}
	slack := sightingSlack
	if p.IPID == 0 && !p.HasTS {
		slack = unmarkedSlack
	}
	takes := p.SeqLen() > 0 // an ACK alone may be repeated at once
	if p.Proto != protoTCP || slack == unmarkedSlack && !takes {
		return false
	}
	if !f.signed {
		f.firstSig, f.signed = sig, true
		return false
	}
	again := f.firstSig.same(&sig, slack)
	d := sig.digest()
	for i := range f.sigs {
		again = again || f.sigs[i].sum == d.sum && d.at-f.sigs[i].at < slack
	}
	if again && (p.IPID != 0 || takes) {
		return true
	}
	if len(f.sigs) < maxSigs {
		f.sigs = append(f.sigs, d)
	} else {
		f.sigs[f.sigN%maxSigs] = d
	}
	f.sigN++
	return false
}

// same reports whether q is the packet of s, seen a moment later.
func (s *signature) same(q *signature, slack int64) bool {
	return s.seq == q.seq && s.ack == q.ack && s.len == q.len && s.ipid == q.ipid && s.tsval == q.tsval &&
		s.flags == q.flags && s.src == q.src && q.at-s.at < slack
}

type segmentKind uint8

const (
	plain segmentKind = iota
	keepAlive
	again
)

// probed reports whether all that the client sent is segments of no connection, with neither SYN nor ACK, as in a FIN, NULL
// or Xmas scan: every segment of an open connection has ACK (RFC 9293 section 3.1).
func (f *Flow) probed(client *sideStats) bool {
	return client.packets > 0 && f.seen&(seenSYN|seenSYNACK|seenACK|seenData|seenRST) == 0
}

// tcp updates the statistics of one flow with one segment.
func (f *Flow) tcp(s *Shard, dir dissect.Dir, p *Packet) {
	d, o := &f.side[dir], &f.side[dir.Other()]
	flags := p.TCPFlags
	f.handshake(d, dir, p)
	if flags&decode.RST != 0 {
		what := "reset"
		if dir == dissect.ToClient && (f.seen&(seenSYNACK|seenData) == 0 && f.seen&seenSYN != 0 || f.probed(o)) {
			f.refused, what = true, "refused"
		}
		f.seen |= seenRST
		s.event(f, dir, p.No, p.Time, what, int64(p.PayloadLen))
	}
	if flags&decode.FIN != 0 {
		d.fins++
		f.seen |= seenFIN
	}
	if p.PayloadLen > 0 {
		f.seen |= seenData
	} else if flags&(decode.SYN|decode.ACK) == decode.ACK {
		f.seen |= seenACK
	}
	kind := f.sequence(s, d, o, dir, p)
	if flags&decode.ACK != 0 {
		f.acks(d, o, dir, p, kind)
	}
	if p.Window == 0 && flags&(decode.SYN|decode.FIN|decode.RST) == 0 {
		f.rare(dir).zeroWindows++
		s.event(f, dir, p.No, p.Time, "zero_window", 0)
	}
	d.window = scaled(d, o, p)
}

// scaled is the window that a segment announces: shifted only if both sides offered that (RFC 7323 section 2.2), and
// never in a SYN.
func scaled(d, o *sideStats, p *Packet) uint32 {
	if p.TCPFlags&decode.SYN != 0 || d.wscale < 0 || o.wscale < 0 {
		return uint32(p.Window)
	}
	return uint32(p.Window) << min(d.wscale, 14)
}

func (f *Flow) handshake(d *sideStats, dir dissect.Dir, p *Packet) {
	switch p.TCPFlags & (decode.SYN | decode.ACK) {
	case decode.SYN:
		if f.seen&seenSYN == 0 && f.timed(p) {
			f.syn = p.Time
		}
		f.seen |= seenSYN
		d.wscale, d.mss = p.WScale, p.MSS
	case decode.SYN | decode.ACK:
		if f.seen&seenSYNACK == 0 && f.timed(p) {
			f.synAck = p.Time
		}
		f.seen |= seenSYNACK
		d.wscale, d.mss = p.WScale, p.MSS
	case decode.ACK:
		if f.seen&seenSYNACK != 0 && f.ack == 0 && dir == dissect.ToServer && p.TCPFlags&decode.RST == 0 && f.timed(p) { // it may carry data
			f.ack = p.Time
		}
	}
}

// sequence classifies a segment by its sequence number.
func (f *Flow) sequence(s *Shard, d, o *sideStats, dir dissect.Dir, p *Packet) segmentKind {
	length := p.SeqLen()
	end := p.Seq + length
	if !d.started {
		if p.TCPFlags&decode.RST == 0 {
			d.started, d.next, d.lastNewAt = true, end, p.Time
		}
		return plain
	}
	ahead := int32(p.Seq - d.next)
	if ahead == -1 && p.PayloadLen <= 1 && p.TCPFlags&(decode.SYN|decode.FIN|decode.RST) == 0 {
		f.rare(dir).keepAlives++
		s.event(f, dir, p.No, p.Time, "keep_alive", int64(p.PayloadLen))
		return keepAlive
	}
	if length == 0 || p.TCPFlags&decode.RST != 0 {
		return plain
	}
	switch {
	case ahead > 0:
		r := f.rare(dir)
		if len(r.holes) == maxHoles {
			r.holes = slices.Delete(r.holes, 0, 1)
		}
		r.holes = append(r.holes, hole{d.next, p.Seq, p.Time})
		fallthrough
	case ahead == 0, int32(end-d.next) > 0 && ahead > -int32(length):
		if o.hasAck && o.window > 0 && p.PayloadLen > 0 && end-o.lastAck == o.window {
			f.rare(dir).windowFull++
		}
		d.next, d.lastNewAt = end, p.Time
		if ahead >= 0 && f.timed(p) { // earlier samples are ambiguous, RFC 6298 section 3
			f.sample(dir, end, p.Time)
		}
		return plain
	}
	return f.late(s, o, dir, p, end)
}

// late names a segment before the highest sequence number seen.
func (f *Flow) late(s *Shard, o *sideStats, dir dissect.Dir, p *Packet, end uint32) segmentKind {
	f.forget(dir)
	since, fills := int64(-1), false
	r := f.rare(dir)
	for i := range r.holes {
		h := &r.holes[i]
		if int32(end-h.from) > 0 && int32(h.to-p.Seq) > 0 {
			fills, since = true, p.Time-h.at
			switch {
			case int32(p.Seq-h.from) <= 0 && int32(end-h.to) >= 0:
				r.holes = slices.Delete(r.holes, i, i+1)
			case int32(p.Seq-h.from) <= 0:
				h.from = end
			case int32(end-h.to) >= 0:
				h.to = p.Seq
			default:
				h.to = p.Seq // the part behind is forgotten
			}
			break
		}
	}
	what, kind := "retransmission", again
	slack := max(reorderSlack, f.connectNs())
	switch {
	case p.TCPFlags&decode.SYN != 0:
		what = "syn_retransmission"
		r.retransmissions++
	case o.hasAck && o.dupRun >= 2 && o.lastAck == p.Seq && p.Time-o.lastAckAt < fastSlack:
		what = "fast_retransmission"
		r.fast++
		r.retransmissions++
	case fills && since <= slack:
		what, kind = "out_of_order", plain
		r.outOfOrder++
		p.Mark |= OutOfOrder
	default:
		r.retransmissions++
	}
	if kind == again {
		p.Mark |= Retransmitted
	}
	s.event(f, dir, p.No, p.Time, what, int64(p.PayloadLen))
	return kind
}
