package stream

import "slices"

// blocked reports whether a segment of direction dir waits for the other direction: its sender
// had received bytes that are still held here or were not captured yet, so its data comes after
// them.
func (c *Conn) blocked(dir uint8, s *Segment) bool {
	o := &c.half[dir^1]
	if s.Flags&ACK == 0 || !before(o.next, s.Ack) {
		return o.undialled
	}
	return o.undialled || len(o.held) > 0 || o.started && !o.ended && o.unseen(s.Ack) > 0
}

// unseen is how many bytes up to ack no segment had. An acknowledgement too far away is not
// credible: nothing was sent there.
func (h *half) unseen(ack uint32) int64 {
	if h.fin && ack == h.finSeq+1 {
		ack--
	}
	n := int64(int32(ack - h.next))
	if !h.started || len(h.held) > 0 || h.unsure || n > farAhead {
		return 0
	}
	return max(n, 0)
}

// waits reports whether the first held segment of direction dir waits for bytes of the other
// direction that no segment had.
func (c *Conn) waits(dir uint8) bool {
	h, o := &c.half[dir], &c.half[dir^1]
	return h.ready() && len(o.held) == 0 && c.blocked(dir, h.held[0])
}

// unsettled reports whether it may still turn out where the direction begins: the capture began in the middle, or a
// SYN that was captured late is awaited.
func (h *half) unsettled() bool { return h.unsure || h.undialled }

// hole reports whether bytes before the held ones are missing.
func (h *half) hole() bool { return !h.unsettled() && len(h.held) > 0 && h.held[0].Seq != h.next }

// ready reports whether the first held segment is next.
func (h *half) ready() bool { return !h.unsettled() && len(h.held) > 0 && h.held[0].Seq == h.next }

// hold keeps a copy of a segment that arrived too early.
func (c *Conn) hold(dir uint8, h *half, s *Segment) Verdict {
	v := New
	s.probe = s.Len == 1 && (h.hasAck && h.acked == s.end() || h.claim != nil && h.claim.Ack == s.end())
	if s.Seq != h.next {
		v |= Ahead
	}
	i, _ := slices.BinarySearchFunc(h.held, s.Seq, func(a *Segment, seq uint32) int { return int(int32(a.Seq - seq)) })
	// Cut off what the neighbours already hold: the first copy counts.
	if i > 0 {
		p := h.held[i-1]
		if over := int(int32(p.Seq + uint32(p.Len) - s.Seq)); over > 0 {
			v |= c.compare(dir, p, s, over) | Seen
			if over >= s.Len {
				return v &^ New
			}
			s.again = true
			s.cutFront(over)
		}
	}
	for i < len(h.held) {
		nx := h.held[i]
		lead := int(int32(nx.Seq - s.Seq))
		if lead >= s.Len {
			break
		}
		s.again = true
		if lead > 0 {
			part := *s
			part.cutBack(lead)
			c.insert(h, i, &part)
			i++
			s.cutFront(lead)
		}
		v |= c.compare(dir, nx, s, nx.Len) | Seen
		i++
		if nx.Len >= s.Len {
			return v
		}
		s.cutFront(nx.Len)
	}
	c.insert(h, i, s)
	return v
}

func (c *Conn) insert(h *half, i int, s *Segment) {
	if len(h.held) == 0 {
		h.own()
		h.holeTime = s.Time
	}
	k := *s
	k.Payload = slices.Clone(s.Payload)
	h.heldSize += len(k.Payload) + heldCost
	c.Budget.Left -= len(k.Payload) + heldCost
	h.held = slices.Insert(h.held, i, &k)
}

func (c *Conn) release(h *half, n int) {
	h.heldSize -= n + heldCost
	c.Budget.Left += n + heldCost
}

// compare compares the bytes that a, which is held, shares with the later s: those from the
// start of s up to over bytes after it. The byte of a keep-alive probe may be garbage,
// so the other one counts.
func (c *Conn) compare(dir uint8, a, s *Segment, over int) Verdict {
	at := int(s.Seq - a.Seq)
	shared := min(over, len(s.Payload))
	n := max(min(shared, len(a.Payload)-at), 0)
	var v Verdict
	switch {
	case n > 0 && a.probe:
		a.Packet, a.Flags, a.Ack, a.Payload[0], a.probe = s.Packet, s.Flags, s.Ack, s.Payload[0], s.probe
	case n > 0 && !s.probe && string(a.Payload[at:at+n]) != string(s.Payload[:n]):
		c.odd(dir, Conflict, n, a.No, s)
		v = Differs
	}
	if shared > n { // the snap length cut the first copy
		c.odd(dir, Uncompared, shared-n, -1, s)
		v = Differs
	}
	return v
}

// drain delivers held segments that are now in order, in both directions. It reports whether there were any.
func (c *Conn) drain() (any bool) {
	a, b := &c.half[0], &c.half[1]
	for ; ; any = true {
		switch {
		case c.drained(0) || c.drained(1):
		case a.ready() && b.ready() && (a.held[0].again && !b.held[0].again || a.held[0].again == b.held[0].again && a.held[0].No <= b.held[0].No):
			c.untie(0)
		case a.ready() && b.ready():
			c.untie(1)
		default:
			return any
		}
	}
}

// untie delivers the first held segment of a direction although it acknowledges bytes that wait for it. Two segments that
// wait for each other were retransmitted with a newer acknowledgement; the one that is known to be is delivered first,
// else the one captured first. Its bytes were first sent before it received what it acknowledges (RFC 9293 section 3.8.1).
func (c *Conn) untie(dir uint8) {
	s, o := c.half[dir].held[0], &c.half[dir^1]
	if s.Flags&ACK != 0 && before(o.next, s.Ack) {
		s.Ack = o.next
	}
	c.first(dir)
}

func (c *Conn) drained(dir uint8) bool {
	h := &c.half[dir]
	any := false
	for h.ready() && !c.blocked(dir, h.held[0]) {
		c.first(dir)
		any = true
	}
	return any
}

// first delivers the first held segment of a direction.
func (c *Conn) first(dir uint8) {
	h := &c.half[dir]
	s := h.held[0]
	c.release(h, len(s.Payload))
	c.forget(h)
	c.deliver(dir, h, s)
	c.finish(dir, &c.Budget.at)
}

// forget removes the first held segment.
func (c *Conn) forget(h *half) {
	h.held[0] = nil
	h.held = h.held[1:] // moving the others would cost quadratic time
	h.holeAck = 0
	if len(h.held) > 0 {
		h.holeTime = h.held[0].Time
	} else if h.held = nil; h.lost == nil && h.doubts == nil && h.claim == nil {
		h.disorder = &inOrder
	}
}

// full reports whether a direction holds its maximum.
func (c *Conn) full(h *half) bool {
	return h.heldSize > maxHeld || len(h.held) > maxSegments || c.Budget.Left < 0 && len(h.held) > 0
}

// Pass ends waits that last too long at the time of s, which is a packet of another connection.
func (c *Conn) Pass(s *Segment) {
	c.init()
	c.Budget.at = *s
	for d := range uint8(2) {
		c.patience(d, s)
	}
}

// patience ends the waiting in a direction once it is pointless.
func (c *Conn) patience(dir uint8, s *Segment) {
	h := &c.half[dir]
	for more := true; more && c.pointless(dir, s); {
		if !h.unsettled() && !h.hole() && !c.waits(dir) { // full of segments that wait for the other direction
			more = c.giveUp(dir^1, s)
		} else {
			more = c.giveUp(dir, s)
		}
	}
}

// pointless reports whether a direction has waited long enough for what it waits for, or has no room to wait.
func (c *Conn) pointless(dir uint8, s *Segment) bool {
	h := &c.half[dir]
	switch {
	case !h.unsettled() && len(h.held) == 0:
		return false
	case c.full(h):
	case h.unsettled() && (c.packets-h.since >= startPatience || s.Time-h.holeTime > startWait):
	case h.stray() && s.Time-h.held[0].Time > holeWait:
	case h.hole() && c.tired(dir, h, s):
	case c.waits(dir) && c.overdue(h, s):
	default:
		return false
	}
	return true
}

// tired reports whether the wait for a gap has lasted long enough. It continues while the receiver waits for the same
// byte, because then nothing is missing in the capture.
func (c *Conn) tired(dir uint8, h *half, s *Segment) bool {
	wait := int64(holeWait)
	if !c.half[dir^1].spoke {
		wait = silentWait
	}
	return h.hasAck && !before(h.acked, h.held[0].Seq) && c.overdue(h, s) || s.Time-h.holeTime > wait && !(h.hasAck && h.acked == h.next)
}

// stray reports whether the first held segment is not part of the stream: bytes before it were captured after
// it, and the receiver has acknowledged these, and nothing that was not passed on.
func (h *half) stray() bool {
	return h.hole() && h.held[0].No < h.agreed && !before(h.next, h.acked)
}

// dropStrays drops segments that are stray.
func (c *Conn) dropStrays(dir uint8, h *half) (dropped bool) {
	for h.stray() {
		c.dropStray(dir, h)
		dropped = true
	}
	if dropped && len(h.held) == 0 {
		h.top = h.next
	}
	return dropped
}

// dropStray drops the first held segment.
func (c *Conn) dropStray(dir uint8, h *half) {
	s := h.held[0]
	c.odd(dir, Stray, len(s.Payload), -1, s)
	c.release(h, len(s.Payload))
	c.forget(h)
}

// overdue reports whether bytes that their receiver has acknowledged have not been captured for long.
func (c *Conn) overdue(h *half, s *Segment) bool {
	if h.holeAck == 0 {
		h.holeAck, h.ackTime = c.packets, s.Time
	}
	return c.packets-h.holeAck >= ackedPatience || s.Time-h.ackTime > ackedWait
}

// giveUp ends the wait for an earlier start, or for the first gap. It reports whether that changed anything: a loop that
// calls it must end otherwise.
func (c *Conn) giveUp(dir uint8, s *Segment) bool {
	changed := c.giveUpFirst(dir)
	drained := c.drain()
	c.finish(dir, s)
	return changed || drained
}

// giveUpFirst ends the wait of the first held segment. What it ends is gone or shorter afterwards: the doubt about the
// beginning, the held segment, or the number of bytes before it that are missing in one of the directions.
func (c *Conn) giveUpFirst(dir uint8) bool {
	h, o := &c.half[dir], &c.half[dir^1]
	switch {
	case h.unsettled():
		h.unsure, h.undialled = false, false
	case c.waits(dir) && o.undialled:
		o.undialled = false
	case c.waits(dir):
		return c.missed(dir^1, h.held[0])
	case h.hole() && !c.full(h) && c.dropStrays(dir, h):
	case h.hole():
		c.closeHole(dir)
	default:
		return false
	}
	return true
}

// closeHole makes a gap of the bytes before the first held segment, or of those before the first one in doubt.
func (c *Conn) closeHole(dir uint8) {
	h, o := &c.half[dir], &c.half[dir^1]
	first := h.held[0]
	hole := int64(first.Seq - h.next)
	if hole > farAhead && (!h.hasAck || before(h.acked, first.Seq)) {
		// No acknowledgement covers bytes so far away: a stray or forged segment must not
		// make the rest of the stream look old.
		c.dropStray(dir, h)
		return
	}
	if o.ready() { // what waits there had received only a part of the missing bytes
		if n := int64(int32(o.held[0].Ack - h.next)); o.held[0].Flags&ACK != 0 && n > 0 {
			hole = min(hole, n)
		}
	}
	if c.redeem(dir, h, h.next+uint32(hole)) {
		return
	}
	if ahead := h.doubted(h.next + uint32(hole)); ahead > 0 {
		hole = ahead
	}
	at := *first
	at.Payload = nil
	c.gap(dir, h, h.next, hole, &at)
	h.next += uint32(hole)
}
