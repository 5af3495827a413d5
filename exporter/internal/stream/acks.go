package stream

import "slices"

// A receiver drops a segment that acknowledges what it has not sent (RFC 9293 section 3.10.7.4) or
// what it sent longer ago than a window (RFC 5961 section 5). What it has sent may not be captured yet,
// or never. So a segment that acknowledges more than was captured is in doubt until
//
//   - the bytes that it acknowledges are captured: it counts;
//   - its sender acknowledges less afterwards: it is forged, see refute;
//   - the wait ends: it counts if the receiver acknowledged it, or was silent since, because then the
//     capture lacks what the receiver sent.

// end is the sequence number after the segment.
func (s *Segment) end() uint32 {
	end := s.Seq + uint32(s.Len)
	if s.Flags&FIN != 0 {
		end++
	}
	return end
}

// open reports whether it is undecided whether the segment in doubt counts.
func (s *Segment) open() bool { return s.Doubt == UnsentAck && !s.refuted }

// acknowledge records what the receiver of direction dir acknowledges.
func (c *Conn) acknowledge(dir uint8, s *Segment) {
	h := &c.half[dir]
	if len(h.doubts) > 0 {
		h.heard = s.Packet
		for _, d := range h.doubts {
			if before(s.Ack, d.end()) {
				d.opposed(s)
			}
		}
	}
	if o := &c.half[dir^1]; o.begun && s.Seq == o.base && (!h.answered || before(s.Ack, h.opening)) {
		h.answered, h.opening = true, s.Ack
	}
	if !h.hasAck || before(h.acked, s.Ack) {
		h.acked, h.ackedBy, h.hasAck = s.Ack, s.No, true
		if h.passed > 0 && h.acked == h.next {
			h.agreed = h.passed
		}
		c.Sink.Acked(dir, s)
	}
	if h.unsure && s.Ack == h.next { // the receiver expects exactly these bytes
		h.unsure = false
		if c.half[dir^1].started {
			c.drain()
		} else { // without payload, it may be of a handshake whose SYNs come later; else see take
			h.undialled = s.Len == 0
		}
		c.finish(dir, s)
	}
}

// Place is the known position of direction dir: the receiver has everything before low, and
// nothing was seen from high on. It is not ok before the direction sent anything.
func (c *Conn) Place(dir uint8) (low, high uint32, ok bool) {
	h := &c.half[dir]
	low, high = h.next, h.top
	if h.fin {
		high = h.finSeq + 1
	}
	if h.hasAck {
		low = h.acked
		if before(high, low) || !h.started {
			high = low
		}
	}
	if o := &c.half[dir^1]; h.disorder != nil {
		if h.claim != nil && before(high, h.claim.Ack) {
			high = h.claim.Ack
		}
		for _, d := range o.doubts {
			if d.open() && before(high, d.Ack) {
				high = d.Ack
			}
		}
	}
	return low, high, h.started || h.hasAck
}

// high is the end of everything that a segment of the direction had, in doubt or not.
func (h *half) high() uint32 {
	high := h.top
	if h.started && before(high, h.next) {
		high = h.next
	}
	if h.fin && before(high, h.finSeq+1) {
		high = h.finSeq + 1
	}
	for _, s := range h.doubts {
		if before(high, s.end()) {
			high = s.end()
		}
	}
	return high
}

// unsent reports whether no segment had the last byte that is acknowledged.
func (h *half) unsent(ack uint32) bool { return h.knows() && before(h.high(), ack) }

// unacceptable reports whether the receiver of a segment may drop it for its acknowledgement.
func (c *Conn) unacceptable(dir uint8, s *Segment) (Doubt, bool) {
	h, o := &c.half[dir], &c.half[dir^1]
	if s.Flags&(SYN|RST|ACK) != ACK {
		return 0, false
	}
	if o.unsent(s.Ack) {
		return UnsentAck, true
	}
	back := int32(o.acked - s.Ack)
	return OldAck, o.hasAck && back > 0 && uint32(back) > h.window || o.begun && before(s.Ack, o.base)
}

// suspect keeps a segment with an unacceptable acknowledgement. It reports false if there is none, or
// if the segment cannot be kept.
func (c *Conn) suspect(dir uint8, s *Segment) (Verdict, bool) {
	h, o := &c.half[dir], &c.half[dir^1]
	why, bad := c.unacceptable(dir, s)
	if bad && why == UnsentAck && len(h.doubts) == maxDoubts {
		c.review(dir, s, true)
		why, bad = c.unacceptable(dir, s)
	}
	if !bad {
		c.refute(dir, s)
		return 0, false
	}
	k := *s
	k.Doubt = why
	if s.end() != s.Seq {
		return c.doubt(dir, &k)
	}
	if why == UnsentAck && (o.claim == nil || before(o.claim.Ack, s.Ack) || before(o.claim.Seq, s.Seq)) {
		o.own()
		o.claim = &k
	}
	return 0, true
}

// refute judges the segments in doubt by a later one. A sender acknowledges no less with later bytes.
func (c *Conn) refute(dir uint8, s *Segment) {
	if s.Flags&ACK == 0 {
		return
	}
	h, o := &c.half[dir], &c.half[dir^1]
	for _, d := range h.doubts {
		switch {
		case s.refutes(d):
			d.refuted = true
		case before(s.Ack, d.Ack) && s.end() == d.Seq:
			d.opposed(s)
		}
	}
	if k := o.claim; k != nil && s.refutes(k) {
		o.claim = nil
		c.odd(dir, Refused, 0, -1, k)
	}
	if h.unsure && !o.knows() {
		c.refuteHeld(dir, s)
	}
}

// knows reports whether it is known what the direction has sent, so that acknowledgements can be judged.
func (h *half) knows() bool { return h.started || h.placed }

// place records the place of a segment without bytes before any with bytes was captured.
func (h *half) place(s *Segment) {
	if !h.started && s.end() == s.Seq && (!h.placed || before(h.top, s.Seq)) {
		h.placed, h.top = true, s.Seq
	}
}

// refuteHeld drops segments that wait for the stream's beginning and that a later one refutes.
func (c *Conn) refuteHeld(dir uint8, s *Segment) {
	h, o := &c.half[dir], &c.half[dir^1]
	for i := 0; i < len(h.held); {
		d := h.held[i]
		if d.Flags&ACK == 0 || !s.refutes(d) {
			i++
			continue
		}
		d.Doubt = UnsentAck
		c.odd(dir, Refused, len(d.Payload), -1, d)
		c.release(h, len(d.Payload))
		h.held = slices.Delete(h.held, i, i+1)
		if o.hasAck && before(s.Ack, o.acked) {
			o.acked = s.Ack
		}
		h.started = len(h.held) > 0
	}
	if h.started && len(h.held) > 0 {
		last := h.held[len(h.held)-1]
		h.next, h.base, h.top = h.held[0].Seq, h.held[0].Seq, last.Seq+uint32(last.Len)
	}
}

// Opens reports whether the capture has a direction from its beginning although its SYN was not captured: it begins at
// what the other side acknowledged behind its own SYN, before it sent anything.
func (c *Conn) Opens(dir uint8) bool {
	h := &c.half[dir]
	return h.answered && (!h.started || h.base == h.opening)
}

// Begins reports whether direction dir is known to begin at seq. Before its first bytes were captured, the other
// direction shows that by its acknowledgements.
func (c *Conn) Begins(dir uint8, seq uint32) bool {
	h := &c.half[dir]
	if !h.started {
		return h.hasAck && h.acked == seq
	}
	return !h.unsure && h.base == seq
}

// Begin records that direction dir began at seq, not at the place of its first SYN, if no bytes of it were passed on.
func (c *Conn) Begin(dir uint8, seq uint32) {
	h := &c.half[dir]
	if h.next != h.base || h.fin {
		return
	}
	for len(h.held) > 0 && before(h.held[0].Seq, seq) {
		c.dropStray(dir, h)
	}
	h.next, h.base, h.top = seq, seq, seq
	if n := len(h.held); n > 0 {
		h.top = h.held[n-1].Seq + uint32(h.held[n-1].Len)
	}
	c.drain()
}

func (s *Segment) refutes(d *Segment) bool { return before(s.Ack, d.Ack) && before(d.Seq, s.end()) }

// review decides about the segments of a direction that are in doubt for what they acknowledge. If force is
// true, the first one does not wait any longer.
func (c *Conn) review(dir uint8, s *Segment, force bool) {
	h, o := &c.half[dir], &c.half[dir^1]
	if k := o.claim; k != nil && !o.unsent(k.Ack) {
		o.claim = nil
		c.acknowledge(dir^1, k)
	}
	if !h.started && len(h.doubts) > 0 && h.doubts[0].Doubt == OldAck && h.hasAck && h.heard.No > h.doubts[0].No && h.acked-h.doubts[0].end() <= maxHeld {
		c.start(h, h.doubts[0].Seq, h.doubts[0]) // so it was no other connection's
	}
	for h.tookOld() && c.redeemFirst(dir) {
	}
	for {
		i, ok := h.settled(o)
		if !ok {
			i, ok = c.waited(dir, s, force)
		}
		if !ok {
			return
		}
		force = false
		d := c.undoubt(h, i)
		c.acknowledge(dir^1, d)
		c.take(dir, h, d.Seq, d)
	}
}

// settled finds the segment in doubt that was captured first of those that now acknowledge only what the other direction
// o is known to have sent.
func (h *half) settled(o *half) (first int, ok bool) {
	for i, d := range h.doubts {
		if d.open() && !o.unsent(d.Ack) && (!ok || d.No < h.doubts[first].No) {
			first, ok = i, true
		}
	}
	return first, ok
}

// waited finds the first open segment in doubt if its wait is over and it counts. If it does not, it is not open afterwards.
func (c *Conn) waited(dir uint8, s *Segment, force bool) (first int, ok bool) {
	h := &c.half[dir]
	for i, d := range h.doubts {
		long := s.Time - d.Time
		switch {
		case !d.open():
		case !force && c.packets-d.since < ackedPatience && long <= ackedWait:
			return 0, false
		case !h.ignored(d):
			c.missed(dir^1, d)
			return i, true
		case force || long > holeWait:
			d.refuted = true
		default:
			return 0, false
		}
	}
	return 0, false
}

// opposed records that a later packet speaks against a segment in doubt: the receiver does not acknowledge it, or its
// sender acknowledges less. Packets out of order in the capture do that, too.
func (s *Segment) opposed(by *Segment) { s.against, s.lately = s.against+1, by.Time }

// ignored reports whether the receiver did not acknowledge a segment in doubt, and packets spoke against it for longer
// than packets are out of order in a capture.
func (h *half) ignored(d *Segment) bool {
	return (d.against >= startPatience || d.lately-d.Time > startWait) && (!h.hasAck || before(h.acked, d.end()))
}

// tookOld reports whether the receiver took the first segment in doubt in spite of an old acknowledgement, as
// Linux does with the next one that it expects: it acknowledged the segment before another copy came.
func (h *half) tookOld() bool {
	return len(h.doubts) > 0 && h.doubts[0].Doubt == OldAck && h.heard.No > h.doubts[0].No && h.doubted(h.doubts[0].end()) == 0
}

// missed reports as a gap what a segment acknowledges and no segment of direction dir had. It returns false if there is
// nothing of that kind.
func (c *Conn) missed(dir uint8, s *Segment) bool {
	h := &c.half[dir]
	at := *s
	at.Payload = nil
	n := h.unseen(s.Ack)
	switch {
	case !h.spoke && n > 0: // a capture of one side
		h.next = s.Ack
	case n == 0:
	case c.redeem(dir, h, h.next+uint32(n)):
		return true
	default:
		if ahead := h.doubted(h.next + uint32(n)); ahead > 0 {
			n = ahead
		}
		c.gap(dir, h, h.next, n, &at)
		h.next += uint32(n)
	}
	if before(h.top, s.Ack) {
		h.top = s.Ack
	}
	return n > 0
}

// decide ends all waiting for what segments in doubt acknowledge.
func (c *Conn) decide(last *Segment) {
	for {
		a, b := c.half[0].firstOpen(), c.half[1].firstOpen()
		switch {
		case a == nil && b == nil:
			for d := range c.half {
				if h := &c.half[d]; h.claim != nil {
					k := h.claim
					h.claim = nil
					c.acknowledge(uint8(d), k)
				}
			}
			return
		case b == nil || a != nil && a.No < b.No:
			c.review(0, last, true)
		default:
			c.review(1, last, true)
		}
	}
}

// firstOpen is the first segment in doubt that is open, or nil.
func (h *half) firstOpen() *Segment {
	for _, d := range h.doubts {
		if d.open() {
			return d
		}
	}
	return nil
}
