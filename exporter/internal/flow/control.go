package flow

import (
	"slices"

	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/internal/stream"
)

// pendingSYN is a SYN on the ports of an open connection. By RFC 5961 section 4 its receiver continues the old
// connection and sends a challenge, so only an answer makes it the beginning of a new one.
type pendingSYN struct {
	fromLo bool // the lower end of the key sent it
	seq    uint32
	ack    uint32 // of a SYN-ACK
	at     int64
	clock  int32
	wscale int8
	mss    uint16
	data   *synPayload // nil without one, or if memory is short
	older  *pendingSYN // that waits too
}

// maxPending is how many SYNs wait on the ports of an open connection. LIMIT: more of them within one handshake, all
// with different numbers, hide its beginning.
const maxPending = 8

func keptSYN(p *Packet, fromLo bool) *pendingSYN {
	return &pendingSYN{fromLo: fromLo, seq: p.Seq, ack: p.Ack, at: p.Time, clock: p.Clock, wscale: p.WScale, mss: p.MSS}
}

// again reports whether the packet is y, shown by another interface a moment later: a sender does not repeat a SYN that
// soon (RFC 6298 section 2.1).
func (y *pendingSYN) again(p *Packet, fromLo bool) bool {
	for ; y != nil; y = y.older {
		if y.fromLo == fromLo && y.seq == p.Seq && y.ack == p.Ack && p.Time-y.at < sightingSlack {
			return true
		}
	}
	return false
}

// await keeps a SYN until the other side answers it. Another one does not take its place: one of them may be stray,
// and only the answer says which.
func (c *Conn) await(p *Packet, fromLo bool) {
	c.forgetSYN(p.Seq, fromLo)
	y := keptSYN(p, fromLo)
	if n := len(p.Payload); n > 0 && n <= c.shard.budget.Left {
		y.data = newSYNPayload(p)
		c.shard.budget.Left -= n
	}
	y.older, c.pending = c.pending, y
	for n := 1; y != nil; n, y = n+1, y.older {
		if n == maxPending {
			c.forgetSYNs(&y.older)
		}
	}
}

// forgetSYNs removes the SYN at a place and those that are older.
func (c *Conn) forgetSYNs(at **pendingSYN) {
	for y := *at; y != nil; y = y.older {
		c.shard.budget.Left += y.data.held()
	}
	*at = nil
}

// forgetSYN removes the SYN with this number from those that wait.
func (c *Conn) forgetSYN(seq uint32, fromLo bool) {
	for at := &c.pending; *at != nil; at = &(*at).older {
		if y := *at; y.seq == seq && y.fromLo == fromLo {
			*at = y.older
			c.shard.budget.Left += y.data.held()
			return
		}
	}
}

// maxNearSYN is how far an acknowledgement may be after the SYN that it answers, if the SYN-ACK was not captured.
const maxNearSYN = 1 << 16

// maxCopied is how many of the newest bytes another interface may show later, as after a second at 2 Gbit/s.
const maxCopied = 1 << 28

// reused reports whether the packet begins a new conversation on the ends of c. A SYN does if the old connection is
// over (RFC 9293 section 3.10.7.4, TIME-WAIT); else it is kept until the other side answers it.
func (s *Shard) reused(c *Conn, p *Packet, srcIsLo bool) bool {
	if c.transport != dissect.TCP {
		return s.now-c.touched > datagramIdle
	}
	if p.Sum == SumWrong {
		return false
	}
	side := dissect.ToServer
	if srcIsLo != c.srcIsLo {
		side = dissect.ToClient
	}
	if c.stream != nil && p.TCPFlags&decode.SYN != 0 {
		c.stream.Pass(&stream.Segment{Packet: stream.Packet{No: p.No, Time: p.Time, Clock: p.Clock}})
	}
	over := c.over()
	switch p.TCPFlags & (decode.SYN | decode.RST | decode.FIN | decode.ACK) {
	case decode.SYN:
		switch {
		case c.hasISN[side] && c.isn[side] == p.Seq:
			return over && c.d != nil && c.shownAgain(p)
		case !c.hasISN[side] && c.beganAt(side, p.Seq+1): // the capture shows the SYN late
			return false
		case over && !c.pending.again(p, srcIsLo) && !c.inside(side, p.Seq):
			return true
		case c.spoke&(1<<side) != 0, c.role == bySYNACK && c.straySYN(side, p), c.role == bySYN && side == dissect.ToClient: // the last: both sides dial at once, or the first SYN was stray
			c.await(p, srcIsLo)
		}
		return c.answeredBefore(p) != nil
	case decode.SYN | decode.ACK:
		other := side.Other()
		switch own := c.hasISN[side] && c.isn[side] == p.Seq; {
		case own && c.hasISN[other] && c.isn[other]+1 == p.Ack: // of this connection's handshake
			c.forgetSYN(c.isn[other], !srcIsLo) // both sides dialled at once
			return false
		case !c.hasISN[side] && c.hasISN[other] && c.isn[other]+1 == p.Ack: // exactly its SYN, so not one with a number near it
			return false
		case c.answers(p, srcIsLo):
			return true
		case over && c.hasISN[side] && !own && !c.early.again(p, srcIsLo) && !c.inside(other, p.Ack):
			return true
		case c.spoke&(1<<side) != 0:
			c.early = keptSYN(p, srcIsLo)
		}
		return false
	}
	return c.goesOn(p, side, srcIsLo) || over && c.foreign(p, side) || c.elsewhere.answered(p, side)
}

// beganAt reports whether the first byte of a direction was at seq, as its packets show it, or else the SYN-ACK.
func (c *Conn) beganAt(side dissect.Dir, seq uint32) bool {
	if c.hasSeq[side] {
		return c.firstSeq[side] == seq
	}
	return c.stream != nil && c.stream.Begins(uint8(side), seq)
}

// shownAgain reports whether an interface shows the connection's SYN again, later than a copy can be. After the end of
// a conversation, this is the SYN of another one: a generator or a replay uses one number for all.
func (c *Conn) shownAgain(p *Packet) bool {
	return slices.ContainsFunc(c.flows, func(f *Flow) bool {
		return f.Interface == p.Interface && f.Device == p.Device && f.seen&seenSYN != 0 && p.Time-f.syn > sightingSlack
	})
}

// answered is the SYN that p answers, nil if there is none: the one that it acknowledges exactly, else the newest of
// those whose payload it may acknowledge too.
func (c *Conn) answered(p *Packet) (near *pendingSYN) {
	if p.TCPFlags&decode.ACK == 0 {
		return nil
	}
	for y := c.pending; y != nil; y = y.older {
		switch {
		case p.Ack == y.seq+1 || p.Seq == y.seq+1:
			return y
		case near == nil && p.Ack-y.seq-1 < maxNearSYN:
			near = y
		}
	}
	return near
}

// answers reports whether p answers a SYN of the other side.
func (c *Conn) answers(p *Packet, srcIsLo bool) bool {
	y := c.answered(p)
	return y != nil && y.fromLo != srcIsLo
}

// answeredBefore is the SYN-ACK that answers the pending SYN p, if it was captured before it, as two queues of a
// network adapter do.
func (c *Conn) answeredBefore(p *Packet) *pendingSYN {
	if a, y := c.early, c.pending; a != nil && y != nil && p.TCPFlags&(decode.SYN|decode.ACK) == decode.SYN &&
		a.fromLo != y.fromLo && a.ack == p.Seq+1 && p.Time-a.at < sightingSlack {
		return a
	}
	return nil
}

// goesOn reports whether a segment without SYN belongs to the connection that a pending SYN began: in a capture of one
// side, its own side continues after it; or the other side acknowledges it, also with a reset, and no byte of the old
// connection explains that.
func (c *Conn) goesOn(p *Packet, side dissect.Dir, srcIsLo bool) bool {
	y := c.answered(p)
	if y == nil {
		return false
	}
	if y.fromLo == srcIsLo {
		return c.spoke&(1<<side.Other()) == 0 && p.Seq == y.seq+1 && p.TCPFlags&decode.RST == 0
	}
	if p.Ack-y.seq-1 >= maxNearSYN || c.stream == nil {
		return false
	}
	low, _, ok := c.stream.Place(uint8(side.Other()))
	taken := uint32(0) // bytes before low, which an interface may show later
	if other := side.Other(); c.hasISN[other] {
		taken = min(low-c.isn[other]-1, maxCopied)
	}
	return !ok || p.Ack-low+taken+maxNearSYN > taken+2*maxNearSYN
}

// adopt makes c the connection of the SYN that its first packet answers.
func (s *Shard) adopt(c *Conn, f *Flow, y *pendingSYN) {
	if c.srcIsLo != y.fromLo {
		c.client, c.server, c.srcIsLo = c.server, c.client, y.fromLo
		f.firstSrc = !f.firstSrc
	}
	c.role = bySYN
	c.isn[dissect.ToServer], c.hasISN[dissect.ToServer] = y.seq, true
	f.seen |= seenSYN
	if y.clock == f.clock {
		f.syn = y.at
	}
	f.side[dissect.ToServer].wscale, f.side[dissect.ToServer].mss = y.wscale, y.mss
	if n := y.data.held(); n > 0 { // TCP Fast Open; the old connection counts it too, as an anomaly
		y.data.flow, c.synPayload = f, y.data
		f.side[dissect.ToServer].payload += int64(n)
		s.budget.Left -= n
	}
	s.stream(c, dissect.ToServer, &Packet{Capture: Capture{No: s.at, Time: y.at, Clock: y.clock}, Segment: Segment{TCPFlags: decode.SYN, Seq: y.seq}})
}

// adoptAnswer gives c, which begins with a SYN, the answer that was captured before it.
func (s *Shard) adoptAnswer(c *Conn, f *Flow, a *pendingSYN) {
	c.isn[dissect.ToClient], c.hasISN[dissect.ToClient] = a.seq, true
	f.seen |= seenSYNACK
	f.side[dissect.ToClient].wscale, f.side[dissect.ToClient].mss = a.wscale, a.mss
	s.stream(c, dissect.ToClient, &Packet{
		Capture: Capture{No: s.at, Time: a.at, Clock: a.clock},
		Segment: Segment{TCPFlags: decode.SYN | decode.ACK, Seq: a.seq, Ack: a.ack},
	})
}

// control judges a segment by its flags; false means that no receiver takes it, so it
// changes nothing.
func (s *Shard) control(c *Conn, f *Flow, dir dissect.Dir, p *Packet) bool {
	flags, n := p.TCPFlags, int64(len(p.Payload))
	refuse := func(kind, detail string) bool {
		f.rare(dir).anomalous += n
		s.odd(c, f, packetRef(p), kind, detail, n)
		return false
	}
	if p.Multipath && flags&(decode.SYN|decode.ACK) != decode.SYN && !c.multipath { // the other side agreed
		c.multipath = true
		s.odd(c, f, packetRef(p), "multipath", "a connection of Multipath TCP (RFC 8684): other connections may have carried a part of its messages; each is read alone", 0)
	}
	if len(c.rivals) > 0 && dir != c.rivals[0].dir && flags&(decode.SYN|decode.ACK|decode.RST) == decode.ACK {
		s.chooseAnswer(c, f, p)
	}
	switch {
	case flags&decode.RST != 0:
		f.rare(dir).resets++
		if n > 0 { // a message for people, RFC 9293 section 3.10.7
			f.rare(dir).anomalous += n
			s.odd(c, f, packetRef(p), "reset_payload", "a segment with RST carries payload", n)
			n = 0
		}
		if kind, detail := c.resetPlace(dir, p); kind != "" {
			return refuse(kind, detail)
		}
		c.reset = true
		return true
	case flags&decode.SYN != 0 && c.straySYN(dir, p):
		if flags&decode.ACK != 0 && c.stream != nil && !c.hasSeq[dir] && !c.hasSeq[dir.Other()] {
			c.rivals = append(c.rivals[:min(len(c.rivals), maxRivals-1)], synAck{p.Seq, dir})
		}
		return refuse("stray_syn", "a SYN on an open connection changes nothing until the other side answers it (RFC 5961 section 4)")
	case flags&decode.SYN != 0 && n > 0:
		s.keepSYN(c, f, dir, p)
	case flags&(decode.SYN|decode.ACK) == 0 && (n > 0 || flags&decode.FIN != 0):
		return refuse("no_ack", "a segment without ACK is dropped by its receiver (RFC 9293 section 3.10.7.4)")
	case flags&decode.URG != 0 && n > 0:
		s.odd(c, f, packetRef(p), "urgent_data", "receivers take the urgent byte out of the stream, or leave it in (RFC 6093); here it is left in", 0)
	}
	return true
}

// synAck is a SYN-ACK with another number than the first one. The client's acknowledgement says which of them
// it accepted (RFC 9293 section 3.10.7.3).
type synAck struct {
	seq uint32
	dir dissect.Dir
}

// maxRivals is how many such SYN-ACKs are kept, and how many times of a SYN's payload.
const maxRivals = 8

// chooseAnswer makes the SYN-ACK that the client acknowledges first that of the connection.
func (s *Shard) chooseAnswer(c *Conn, f *Flow, ack *Packet) {
	i := slices.IndexFunc(c.rivals, func(y synAck) bool { return ack.Ack == y.seq+1 })
	if i >= 0 && c.isn[c.rivals[i].dir] != c.rivals[i].seq {
		y := c.rivals[i]
		c.isn[y.dir] = y.seq
		c.stream.Begin(uint8(y.dir), y.seq+1)
		s.odd(c, f, packetRef(ack), "stray_syn", "of several SYN-ACKs with different numbers, the client acknowledges a later one: the first is forged or belongs to another attempt", 0)
	}
	c.rivals = nil
}

// straySYN reports whether a segment with SYN does not belong to the handshake.
func (c *Conn) straySYN(dir dissect.Dir, p *Packet) bool {
	if c.hasISN[dir] {
		return c.isn[dir] != p.Seq
	}
	if c.hasSeq[dir] {
		return c.firstSeq[dir] != p.Seq+1
	}
	if p.TCPFlags&decode.ACK != 0 {
		return c.hasISN[dir.Other()] && int32(p.Ack-c.isn[dir.Other()]-1) < 0
	}
	return p.TCPFlags&decode.FIN != 0 || c.hasSeq[dir.Other()] && !(c.stream != nil && c.stream.Begins(uint8(dir), p.Seq+1))
}

// resetPlace returns why a reset does not count, or "" if it does. A reset counts only at exactly the next byte (RFC
// 9293 section 3.10.7.4, RFC 5961 section 3.2). Captured bytes may not have arrived yet, so the next byte may be
// anywhere between what was acknowledged and what was sent. A reset that answers a SYN must acknowledge it; what one
// that answers a SYN-ACK must begin with, the SYN-ACK says.
func (c *Conn) resetPlace(dir dissect.Dir, p *Packet) (kind, detail string) {
	low, high, ok := uint32(0), uint32(0), false
	if c.stream != nil {
		low, high, ok = c.stream.Place(uint8(dir))
	}
	other := dir.Other()
	if !ok || dir == dissect.ToClient && !c.hasISN[dir] && !c.hasSeq[dir] && c.hasISN[other] {
		if c.hasISN[other] && (p.TCPFlags&decode.ACK == 0 && !ok || p.TCPFlags&decode.ACK != 0 && p.Ack-c.isn[other]-1 > maxNearSYN) {
			return "reset_refused", "a reset that does not acknowledge the SYN changes nothing (RFC 9293 section 3.10.7.3)"
		}
		return "", ""
	}
	switch window := max(c.flows[0].side[other].window, 1<<16-1); {
	case int32(p.Seq-low) >= 0 && int32(high-p.Seq) >= 0:
		return "", ""
	case c.ended[0] && c.ended[1] || c.reset:
		return "", ""
	case p.Seq-low < window:
		return "reset_in_window", "a reset inside the window, not at its beginning: by RFC 5961 section 3.2 the receiver sends a challenge, but older receivers end the connection; this connection continued"
	}
	return "reset_out_of_window", "a reset outside the window changes nothing (RFC 5961 section 3.2)"
}
