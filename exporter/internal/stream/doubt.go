package stream

import "slices"

// maxDoubts limits the segments of a direction that are kept in doubt.
const maxDoubts = 64

// Doubt keeps a segment whose checksum is wrong or whose time stamp is old. A receiver drops such a segment (RFC
// 9293 section 3.1, RFC 7323 section 5.3), so its bytes count only if the receiver acknowledged them and no other copy was captured until the wait for
// one ended: then the capture was changed after it was made, or a forged segment took the place of one that
// was not captured. Doubt reports false if the segment cannot become part of the stream.
func (c *Conn) Doubt(dir uint8, s *Segment) bool {
	c.init()
	h := &c.half[dir]
	end := s.Seq + uint32(s.Len)
	if !h.started || h.unsure || h.ended || !before(h.next, end) || end-h.next > maxHeld {
		return false
	}
	h.own()
	c.settle(dir, h)
	if len(h.doubts) == maxDoubts || c.Budget.Left < 0 {
		return false
	}
	k := *s
	k.Payload = slices.Clone(s.Payload)
	c.In[dir] += int64(len(k.Payload))
	c.Budget.Left -= len(k.Payload) + heldCost
	i, _ := slices.BinarySearchFunc(h.doubts, s.Seq, func(a *Segment, seq uint32) int {
		if a.Seq == seq {
			return -1 // the first copy counts
		}
		return int(int32(a.Seq - seq))
	})
	h.doubts = slices.Insert(h.doubts, i, &k)
	return true
}

// settle drops the segments in doubt whose bytes other ones brought.
func (c *Conn) settle(dir uint8, h *half) {
	for len(h.doubts) > 0 && !before(h.next, h.doubts[0].Seq+uint32(h.doubts[0].Len)) {
		c.drop(dir, h)
	}
}

// drop drops the first segment in doubt.
func (c *Conn) drop(dir uint8, h *half) {
	s := h.doubts[0]
	c.undoubt(h)
	c.odd(dir, s.reason(Wrong), len(s.Payload), -1, s)
}

// reason is the oddity of a segment in doubt, given that for a wrong checksum.
func (s *Segment) reason(wrong Oddity) Oddity {
	switch {
	case !s.Old:
		return wrong
	case wrong == Doubted:
		return OldDoubted
	}
	return Old
}

// undoubt removes the first segment in doubt.
func (c *Conn) undoubt(h *half) {
	c.Budget.Left += len(h.doubts[0].Payload) + heldCost
	h.doubts[0] = nil
	if h.doubts = h.doubts[1:]; len(h.doubts) == 0 {
		h.doubts = nil
	}
}

// redeem delivers what a segment in doubt has of the next bytes, if their receiver acknowledged it. Bytes from
// upTo on were captured otherwise.
func (c *Conn) redeem(dir uint8, h *half, upTo uint32) bool {
	c.settle(dir, h)
	if h.doubted(upTo) != 0 {
		return false
	}
	s := h.doubts[0]
	c.undoubt(h)
	end, had := s.Seq+uint32(s.Len), len(s.Payload)
	c.odd(dir, s.reason(Doubted), 0, -1, s)
	if before(s.Seq, h.next) {
		s.cutFront(int(h.next - s.Seq))
	}
	if before(upTo, end) {
		s.cutBack(int(upTo - s.Seq))
	}
	if cut := had - len(s.Payload); cut > 0 {
		c.odd(dir, s.reason(Wrong), cut, -1, s)
	}
	c.deliver(dir, h, s)
	if s.Flags&FIN != 0 && h.acked == end+1 {
		c.end(dir, h, end, s)
	}
	return true
}

// doubted is the number of bytes before the first segment in doubt whose bytes before upTo their receiver
// acknowledged; -1 without one.
func (h *half) doubted(upTo uint32) int64 {
	if len(h.doubts) == 0 {
		return -1
	}
	s := h.doubts[0]
	end := s.Seq + uint32(s.Len)
	if before(upTo, end) {
		end = upTo
	}
	if h.hasAck && before(s.Seq, end) && before(h.next, end) && !before(h.acked, end) {
		return max(int64(int32(s.Seq-h.next)), 0)
	}
	return -1
}
