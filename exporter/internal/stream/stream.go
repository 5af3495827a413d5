// Package stream puts the segments of one TCP connection in order.
//
// It takes segments as they were captured, from one vantage or several, and tells its
// Sink the bytes of each direction in sequence, every hole with its length, and the end.
// Segments that come in order pass through without a copy. The first copy of a byte
// wins; a later copy that differs is reported as a conflict. Memory is bounded: a
// direction holds at most maxHeld bytes out of order, a Budget bounds all connections
// of a shard, and at a limit the hole is given up, never the bytes behind it.
package stream

import (
	"hash/crc32"
	"slices"
)

// Limits of one direction.
const (
	maxHeld       = 1 << 20  // bytes held out of order
	maxSegments   = 4096     // segments held out of order
	ackedPatience = 16       // packets of the connection to wait for a hole that the receiver has acknowledged
	silentWait    = 1e9      // ns to wait for a hole in a one-sided capture
	holeWait      = 60e9     // ns to wait for a hole that was not acknowledged
	farAhead      = 16 << 20 // a segment so far ahead is believed only when acknowledged
	ringSize      = 8        // checksums kept of delivered segments
)

// Packet is where a segment came from; Ref is passed through to the Sink.
type Packet struct {
	No, Time int64
	Also     []int64
}

// TCP flags that matter here.
const (
	FIN = 1 << iota
	SYN
	RST
	_
	ACK
)

// Segment is one TCP segment.
type Segment struct {
	Packet
	Seq, Ack uint32
	Flags    uint16
	Payload  []byte // captured bytes
	Len      int    // payload bytes on the wire; more than len(Payload) where cut
}

// Sink takes what one connection said. Dir is 0 or 1, as given to Conn.Segment.
type Sink interface {
	// Data is the next bytes of a direction; valid during the call only.
	Data(dir uint8, data []byte, s *Segment)
	// Gap says that n bytes were not captured.
	Gap(dir uint8, n int64, s *Segment)
	// End says that the direction was closed by FIN and everything before it was told.
	End(dir uint8, s *Segment)
	// Conflict says that a later copy of n bytes differs from the first.
	Conflict(dir uint8, n int, s *Segment)
	// Stray says that n bytes far ahead of the stream were dropped: nobody acknowledged them.
	Stray(dir uint8, n int, s *Segment)
}

// Budget bounds the bytes that the connections of one shard hold out of order.
type Budget struct{ Left int }

// Verdict says what a segment brought.
type Verdict uint8

// Verdicts, combined as bits.
const (
	New     Verdict = 1 << iota // bytes not seen before
	Seen                        // bytes seen before
	Ahead                       // came before bytes that stand in front of it
	Filled                      // filled a hole
	Differs                     // other bytes at a place already seen
	TooFar                      // held back: so far ahead that only an acknowledgement makes it credible
)

// Conn is one connection. The zero value with Sink and Budget set is ready.
type Conn struct {
	Sink   Sink
	Budget *Budget

	// Payload bytes that came in and that were told or called stray, a direction each.
	// What is missing after Close was seen before.
	In, Out [2]int64

	half    [2]half
	packets int64
	cur     Segment // here, not on the stack, since the Sink is an interface
}

type half struct {
	started   bool
	fin       bool
	ended     bool
	spoke     bool // any packet of this direction was seen
	next      uint32
	finSeq    uint32
	acked     uint32
	hasAck    bool
	held      []heldSegment // ascending, not overlapping
	heldBytes int
	holeTime  int64 // when the first hole appeared
	holeAck   int64 // packet count when the receiver was seen to have what we lack; 0 not yet
	ring      *[ringSize]delivered
	ringAt    uint8
}

type heldSegment struct {
	Segment
}

type delivered struct {
	seq uint32
	n   uint32
	crc uint32
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// before reports whether sequence number a comes before b (RFC 9293 3.4).
func before(a, b uint32) bool { return int32(a-b) < 0 }

// Segment takes one segment of direction dir.
func (c *Conn) Segment(dir uint8, s *Segment) Verdict {
	c.packets++
	h, o := &c.half[dir], &c.half[dir^1]
	h.spoke = true
	if s.Flags&ACK != 0 {
		c.acknowledge(dir^1, o, s)
	}
	seq := s.Seq
	if s.Flags&SYN != 0 {
		seq++
		if !h.started {
			h.started, h.next = true, seq
		}
	}
	if !h.started {
		if s.Len == 0 && s.Flags&FIN == 0 {
			return 0
		}
		h.started, h.next = true, seq
	}
	var v Verdict
	if s.Len > 0 {
		c.In[dir] += int64(len(s.Payload))
		c.cur = *s
		c.cur.Seq = seq
		v = c.data(dir, h, &c.cur)
		c.cur.Payload, c.cur.Also = nil, nil
	}
	if s.Flags&FIN != 0 && !h.fin {
		end := seq + uint32(s.Len)
		if !before(end, h.next) {
			h.fin, h.finSeq = true, end
		}
	}
	c.finish(dir, h, s)
	c.patience(dir, h, s)
	return v
}

func (c *Conn) data(dir uint8, h *half, s *Segment) Verdict {
	var v Verdict
	rel := int32(s.Seq - h.next)
	if rel < 0 {
		v = Seen
		behind := -int(rel) // as int: half the sequence space behind has no int32 of its own
		if h.differs(s) {
			v |= Differs
			c.Sink.Conflict(dir, min(behind, s.Len), s)
		}
		if behind >= s.Len {
			return v
		}
		s.cutFront(behind)
		rel = 0
	}
	if rel > 0 {
		return v | c.hold(dir, h, s)
	}
	v |= New
	if len(h.held) > 0 {
		v |= Filled
		if over := int(h.next + uint32(s.Len) - h.held[0].Seq); int32(h.next+uint32(s.Len)-h.held[0].Seq) > 0 {
			v |= c.compare(dir, s, &h.held[0].Segment, over)
		}
	}
	c.deliver(dir, h, s)
	c.drain(dir, h)
	return v
}

// cutFront drops the first n bytes.
func (s *Segment) cutFront(n int) {
	s.Seq += uint32(n)
	s.Len -= n
	s.Payload = s.Payload[min(n, len(s.Payload)):]
}

// deliver hands over a segment that begins at h.next.
func (c *Conn) deliver(dir uint8, h *half, s *Segment) {
	h.remember(s)
	h.next = s.Seq + uint32(s.Len)
	if len(s.Payload) > s.Len {
		s.Payload = s.Payload[:s.Len]
	}
	if len(s.Payload) > 0 {
		c.Out[dir] += int64(len(s.Payload))
		c.Sink.Data(dir, s.Payload, s)
	}
	if lost := s.Len - len(s.Payload); lost > 0 {
		c.Sink.Gap(dir, int64(lost), s)
	}
}

// drain delivers held segments that now are in order.
func (c *Conn) drain(dir uint8, h *half) {
	n := 0
	for n < len(h.held) && !before(h.next, h.held[n].Seq) {
		s := h.held[n].Segment
		held := len(s.Payload)
		n++
		if over := int(h.next - s.Seq); over > 0 {
			if over >= s.Len {
				c.release(h, held)
				continue
			}
			s.cutFront(over)
		}
		c.deliver(dir, h, &s)
		c.release(h, held)
	}
	if n > 0 {
		h.held = slices.Delete(h.held, 0, n)
		h.holeAck = 0
		if len(h.held) > 0 {
			h.holeTime = h.held[0].Time
		} else {
			h.held = nil
		}
	}
}

func (c *Conn) release(h *half, n int) {
	h.heldBytes -= n
	c.Budget.Left += n
}

// hold keeps a copy of a segment that came too early.
func (c *Conn) hold(dir uint8, h *half, s *Segment) Verdict {
	v := Ahead | New
	i, _ := slices.BinarySearchFunc(h.held, s.Seq, func(a heldSegment, seq uint32) int { return int(int32(a.Seq - seq)) })
	// Cut away what the neighbours already hold: the first copy wins.
	if i > 0 {
		p := &h.held[i-1].Segment
		if over := int(int32(p.Seq + uint32(p.Len) - s.Seq)); over > 0 {
			v |= c.compare(dir, p, s, over) | Seen
			if over >= s.Len {
				return v &^ New
			}
			s.cutFront(over)
		}
	}
	for i < len(h.held) {
		nx := &h.held[i].Segment
		over := int(int32(s.Seq + uint32(s.Len) - nx.Seq))
		if over <= 0 {
			break
		}
		v |= c.compare(dir, s, nx, over) | Seen
		done := int(nx.Seq-s.Seq) + nx.Len // before nx moves
		if lead := int(nx.Seq - s.Seq); lead > 0 {
			part := *s
			part.Len, part.Payload = lead, s.Payload[:min(lead, len(s.Payload))]
			c.insert(h, i, &part)
			i++
		}
		i++
		if done >= s.Len {
			return v
		}
		s.cutFront(done)
	}
	c.insert(h, i, s)
	if int32(s.Seq-h.next) > farAhead {
		v |= TooFar
	}
	return v
}

func (c *Conn) insert(h *half, i int, s *Segment) {
	if len(h.held) == 0 {
		h.holeTime = s.Time
	}
	k := heldSegment{*s}
	k.Payload = slices.Clone(s.Payload)
	h.heldBytes += len(k.Payload)
	c.Budget.Left -= len(k.Payload)
	h.held = slices.Insert(h.held, i, k)
}

// compare looks at the bytes that a and the later b share, b beginning over bytes
// before a's end.
func (c *Conn) compare(dir uint8, a, b *Segment, over int) Verdict {
	at := int(b.Seq - a.Seq)
	n := min(over, b.Len, len(b.Payload), len(a.Payload)-at)
	if at < 0 || n <= 0 {
		return 0
	}
	if string(a.Payload[at:at+n]) == string(b.Payload[:n]) {
		return 0
	}
	c.Sink.Conflict(dir, n, b)
	return Differs
}

// remember keeps the checksum of a delivered segment.
func (h *half) remember(s *Segment) {
	if len(s.Payload) == 0 {
		return
	}
	if h.ring == nil {
		h.ring = new([ringSize]delivered)
	}
	h.ring[h.ringAt%ringSize] = delivered{s.Seq, uint32(len(s.Payload)), crc32.Checksum(s.Payload, castagnoli)}
	h.ringAt++
}

// differs compares a segment seen before with the checksums of what was delivered.
func (h *half) differs(s *Segment) bool {
	if h.ring == nil || s.Len == 1 && s.Seq+1 == h.next { // a keep-alive's byte is garbage
		return false
	}
	for i := range h.ring {
		d := &h.ring[i]
		if at := d.seq - s.Seq; d.n > 0 && int(at)+int(d.n) <= len(s.Payload) && int32(at) >= 0 {
			if crc32.Checksum(s.Payload[at:at+d.n], castagnoli) != d.crc {
				return true
			}
		}
	}
	return false
}

// acknowledge notes what the receiver of direction dir says it has.
func (c *Conn) acknowledge(dir uint8, h *half, s *Segment) {
	if !h.hasAck || before(h.acked, s.Ack) {
		h.acked, h.hasAck = s.Ack, true
	}
	if len(h.held) > 0 {
		if h.holeAck == 0 && !before(h.acked, h.held[0].Seq) {
			h.holeAck = c.packets
		}
		c.patience(dir, h, s)
	}
}

// patience gives a hole up when waiting for it makes no sense any more.
func (c *Conn) patience(dir uint8, h *half, s *Segment) {
	for len(h.held) > 0 {
		wait := int64(holeWait)
		if !c.half[dir^1].spoke {
			wait = silentWait
		}
		switch {
		case h.holeAck != 0 && c.packets-h.holeAck >= ackedPatience:
		case h.heldBytes > maxHeld, len(h.held) > maxSegments, c.Budget.Left < 0:
		case s.Time-h.holeTime > wait:
		default:
			return
		}
		c.skip(dir, h, s)
	}
}

// skip gives up the first hole.
func (c *Conn) skip(dir uint8, h *half, s *Segment) {
	first := &h.held[0]
	hole := int64(first.Seq - h.next)
	if hole > farAhead && (!h.hasAck || before(h.acked, first.Seq)) {
		// Nobody acknowledged bytes so far away: a stray or forged segment must not make
		// the rest of the stream look old.
		c.Out[dir] += int64(len(first.Payload))
		c.Sink.Stray(dir, len(first.Payload), &first.Segment)
		c.release(h, len(first.Payload))
		h.held = slices.Delete(h.held, 0, 1)
		return
	}
	at := first.Segment
	at.Payload = nil
	h.next = first.Seq
	c.Sink.Gap(dir, hole, &at)
	c.drain(dir, h)
	c.finish(dir, h, s)
}

// finish tells the end of a direction once.
func (c *Conn) finish(dir uint8, h *half, s *Segment) {
	if h.fin && !h.ended && h.next == h.finSeq {
		h.ended = true
		c.Sink.End(dir, s)
	}
}

// Close gives up all holes and tells what else is known to be missing: bytes that
// were acknowledged or stand before a FIN but never came.
func (c *Conn) Close(last *Segment) {
	for d := range c.half {
		h := &c.half[d]
		for len(h.held) > 0 {
			c.skip(uint8(d), h, last)
		}
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
		if lost := int64(end - h.next); lost > 0 && lost <= farAhead && !h.ended {
			h.next = end
			c.Sink.Gap(uint8(d), lost, last)
		}
		c.finish(uint8(d), h, last)
		h.ring = nil
	}
}

// Missing is the number of bytes between what was delivered and what was
// acknowledged in a direction, at least 0.
func (c *Conn) Missing(dir uint8) int64 {
	h := &c.half[dir]
	if !h.started || !h.hasAck || !before(h.next, h.acked) {
		return 0
	}
	return int64(h.acked - h.next)
}
