package stream

import "slices"

// maxDoubts limits the segments of a direction that are kept in doubt.
const maxDoubts = 64

// Doubt is why the receiver of a segment drops it.
type Doubt uint8

// Doubts.
const (
	WrongSum  Doubt = iota // a wrong checksum, RFC 9293 section 3.1
	OldStamp               // a time stamp older than that of the bytes before, RFC 7323 section 5.3
	OldAck                 // an acknowledgement older than a window, RFC 5961 section 5
	UnsentAck              // an acknowledgement of what was not sent, RFC 9293 section 3.10.7.4
)

// Doubt keeps a segment that its receiver drops, for s.Doubt. Its bytes count only if the receiver
// acknowledged them and no other copy was captured until the wait for one ended. In that case the
// capture was changed after it was made, or a forged segment replaces one that was not captured.
// Doubt reports false if the segment cannot become part of the stream.
func (c *Conn) Doubt(dir uint8, s *Segment) bool {
	c.init()
	_, ok := c.doubt(dir, s)
	return ok
}

func (c *Conn) doubt(dir uint8, s *Segment) (Verdict, bool) {
	h := &c.half[dir]
	if h.ended || !h.near(s) {
		return 0, false
	}
	h.own()
	c.settle(dir, h)
	i, _ := slices.BinarySearchFunc(h.doubts, s.Seq, func(a *Segment, seq uint32) int {
		if a.Seq == seq {
			return -1 // the first copy counts
		}
		return int(int32(a.Seq - seq))
	})
	if i > 0 && s.Doubt == UnsentAck && h.doubts[i-1].equal(s) {
		c.In[dir] += int64(len(s.Payload))
		return Seen, true
	}
	if len(h.doubts) == maxDoubts || c.Budget.Left < 0 {
		return 0, false
	}
	k := *s
	k.Payload = slices.Clone(s.Payload)
	k.since = c.packets
	c.In[dir] += int64(len(k.Payload))
	c.Budget.Left -= len(k.Payload) + heldCost
	h.doubts = slices.Insert(h.doubts, i, &k)
	return New | Ahead, true
}

// near reports whether a segment in doubt can be part of the stream. While it is unknown where the stream begins,
// only one can that is in doubt for what it acknowledges.
func (h *half) near(s *Segment) bool {
	switch {
	case !h.started:
		return s.Doubt == UnsentAck || s.Doubt == OldAck
	case h.unsure:
		return s.Doubt == UnsentAck && s.Seq-h.next+maxBack <= maxBack+maxHeld
	}
	return before(h.next, s.end()) && s.end()-h.next <= maxHeld
}

func (s *Segment) equal(o *Segment) bool {
	return s.Seq == o.Seq && s.Ack == o.Ack && s.Len == o.Len && s.Flags == o.Flags && s.Doubt == o.Doubt && string(s.Payload) == string(o.Payload)
}

// settle drops the segments in doubt whose bytes other ones brought.
func (c *Conn) settle(dir uint8, h *half) {
	for len(h.doubts) > 0 && h.started && !h.unsure && !before(h.next, h.doubts[0].end()) {
		c.drop(dir, h)
	}
}

// drop drops the first segment in doubt.
func (c *Conn) drop(dir uint8, h *half) {
	s := c.undoubt(h, 0)
	c.odd(dir, Refused, len(s.Payload), -1, s)
}

// undoubt removes a segment in doubt.
func (c *Conn) undoubt(h *half, i int) *Segment {
	s := h.doubts[i]
	c.Budget.Left += len(s.Payload) + heldCost
	if i == 0 {
		h.doubts[0] = nil
		h.doubts = h.doubts[1:]
	} else {
		h.doubts = slices.Delete(h.doubts, i, i+1)
	}
	if len(h.doubts) == 0 {
		h.doubts = nil
	}
	return s
}

// redeem delivers what a segment in doubt has of the next bytes, if their receiver acknowledged it. Bytes from
// upTo on were captured otherwise.
func (c *Conn) redeem(dir uint8, h *half, upTo uint32) bool {
	c.settle(dir, h)
	if h.doubted(upTo) != 0 {
		return false
	}
	c.heed(dir, h.doubts[0])
	if c.settle(dir, h); h.doubted(upTo) != 0 { // held bytes that waited for those of the other direction
		return true
	}
	s := c.undoubt(h, 0)
	end, had := s.Seq+uint32(s.Len), len(s.Payload)
	if !s.open() {
		c.odd(dir, Redeemed, 0, -1, s)
	}
	if before(s.Seq, h.next) {
		s.cutFront(int(h.next - s.Seq))
	}
	if before(upTo, end) {
		s.cutBack(int(upTo - s.Seq))
	}
	if cut := had - len(s.Payload); cut > 0 {
		c.odd(dir, Refused, cut, -1, s)
	}
	c.deliver(dir, h, s)
	if s.Flags&FIN != 0 && h.acked == end+1 {
		c.end(dir, h, end, s)
	}
	return true
}

// redeemFirst redeems the first segment in doubt of a direction, if it is next.
func (c *Conn) redeemFirst(dir uint8) bool {
	h := &c.half[dir]
	if !h.started || len(h.doubts) == 0 || !c.redeem(dir, h, h.doubts[0].end()) {
		return false
	}
	c.drain()
	return true
}

// heed delivers the bytes in doubt that the sender of a segment in doubt had received. They come before its own.
func (c *Conn) heed(dir uint8, s *Segment) {
	o := &c.half[dir^1]
	if s.Flags&ACK == 0 || s.Doubt > OldStamp || len(o.doubts) == 0 || o.unsent(s.Ack) {
		return
	}
	c.acknowledge(dir^1, s)
	for before(o.next, s.Ack) && len(o.doubts) > 0 && o.doubts[0].No < s.No && c.redeem(dir^1, o, o.doubts[0].end()) {
		c.drained(dir ^ 1)
	}
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
