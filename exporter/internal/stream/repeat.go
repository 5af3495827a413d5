package stream

// old processes bytes before h.next, newest first, and compares them with the delivered ones.
func (c *Conn) old(dir uint8, h *half, s *Segment) Verdict {
	v := Seen
	end := len(s.Payload) // end of the bytes not accounted for yet
	past := h.past
	for range maxLook {
		if c.History == nil || end == 0 {
			break
		}
		r := c.History.search(past, s.Seq+uint32(end))
		if r == nil {
			break
		}
		past = r.before
		from := int(int32(r.seq - s.Seq)) // of the record, in s
		to := from + int(r.n)
		if to = max(to, 0); to < end {
			v |= c.unexplained(dir, h, s, to, end)
			end = to
		}
		whole := from >= 0 && to == end
		from = max(from, 0)
		if from < end && !c.History.equal(r, int(s.Seq+uint32(from)-r.seq), s.Payload[from:end]) && !h.keepAlive(s) {
			c.odd(dir, Conflict, end-from, r.no, s)
			v |= Differs
		} else if whole {
			c.Sink.Again(dir, r.no, s)
		}
		end = min(end, from)
	}
	if end > 0 {
		v |= c.unexplained(dir, h, s, 0, end)
	}
	return v
}

// keepAlive reports whether s may be a keep-alive probe with a garbage byte (RFC 9293 section
// 3.8.4): everything is acknowledged, so no receiver accepts it.
func (h *half) keepAlive(s *Segment) bool {
	return s.Len == 1 && s.Seq+1 == h.next && h.hasAck && h.acked == h.next
}

// unexplained reports captured bytes [from, to) of s that the history does not have.
func (c *Conn) unexplained(dir uint8, h *half, s *Segment, from, to int) Verdict {
	late := 0
	for i := range h.lost {
		l := &h.lost[i]
		at := int(int32(l.seq - s.Seq))
		late += max(min(to, at+int(l.n))-max(from, at), 0)
	}
	late = min(late, to-from)
	if late > 0 {
		c.odd(dir, Late, late, -1, s)
	}
	early := min(max(min(to, int(int32(h.base-s.Seq)))-from, 0), to-from-late)
	if early > 0 {
		c.odd(dir, Early, early, -1, s)
	}
	if n := to - from - late - early; n > 0 && !h.keepAlive(s) {
		c.odd(dir, Uncompared, n, -1, s)
	}
	return Differs
}
