package stream

// end processes a FIN at seq. It counts once everything before it is there.
func (c *Conn) end(dir uint8, h *half, seq uint32, s *Segment) {
	if seq == h.next {
		c.dropStrays(dir, h)
	}
	switch {
	case h.fin && seq == h.finSeq:
		return
	case h.ended, before(seq, h.top), seq-h.top > farAhead:
		c.odd(dir, OtherEnd, 0, -1, s)
		return
	case h.fin:
		c.odd(dir, OtherEnd, 0, -1, s)
		if before(h.finSeq, seq) {
			return
		}
	}
	h.fin, h.finSeq = true, seq
}

// behindEnd cuts off bytes after a FIN and reports whether none are left. A receiver accepts
// nothing after a FIN that it has accepted (RFC 9293 section 3.10.7.4); data replaces a FIN that
// was not reached yet.
func (c *Conn) behindEnd(dir uint8, h *half, s *Segment) bool {
	behind := int(int32(s.Seq + uint32(s.Len) - h.finSeq))
	if !h.fin || behind <= 0 {
		return false
	}
	if !h.ended {
		h.fin = false
		c.odd(dir, OtherEnd, 0, -1, s)
		return false
	}
	keep := max(s.Len-behind, 0)
	c.odd(dir, AfterEnd, max(len(s.Payload)-keep, 0), -1, s)
	s.cutBack(keep)
	return keep == 0
}

// finish reports the end of a direction once.
func (c *Conn) finish(dir uint8, s *Segment) {
	h := &c.half[dir]
	if h.fin && !h.ended && !h.unsettled() && len(h.held) == 0 && h.next == h.finSeq {
		h.ended = true
		c.Sink.End(dir, s)
	}
}

// last is the end of the bytes that the direction is known to have sent.
func (h *half) last() uint32 {
	end := h.next
	if h.hasAck && h.started && before(end, h.acked) {
		end = h.acked
		if h.fin && end == h.finSeq+1 {
			end--
		}
	}
	if h.fin && before(end, h.finSeq) {
		end = h.finSeq
	}
	return end
}
