// Package stream reassembles the segments of one TCP connection.
//
// It accepts segments in capture order, from one vantage or several, and passes the bytes of each
// direction in sequence to its Sink, with the length of every gap, and the end. Segments that
// arrive in order are not copied.
//
// The first captured copy of a byte counts. A later copy is compared with it: equal bytes are a
// retransmission, different bytes are a conflict, and bytes that can no longer be compared are
// reported as such. A segment waits for everything that its sender had received before, which puts
// both directions in causal order. Memory is limited: a direction holds at most maxHeld bytes out
// of order, and a Budget limits all connections of a shard. At a limit the missing bytes become a
// gap, and the bytes after it are kept.
package stream

// Limits of one direction.
const (
	maxHeld       = 1 << 20  // bytes held out of order
	maxSegments   = 4096     // segments held out of order
	heldCost      = 96       // bytes that a held segment costs in addition to its payload
	ackedPatience = 256      // packets of the connection to wait for a gap that the receiver has acknowledged
	ackedWait     = 1e9      // ns to wait for it
	startPatience = 16       // packets of the connection to wait for an earlier start
	startWait     = 100e6    // ns to wait for it
	silentWait    = 1e9      // ns to wait for a gap in a one-sided capture
	holeWait      = 60e9     // ns to wait for a gap without an acknowledgement
	farAhead      = 16 << 20 // a segment this far ahead counts only once acknowledged
	maxBack       = 1 << 20  // bytes that a start may move back
	maxLost       = 64       // gaps kept, to distinguish late bytes from repeated ones
)

// Packet is the source of a segment; the Sink receives Ref unchanged.
type Packet struct {
	No, Time int64
	Clock    int32
	Also     []int64
}

// TCP flags used here.
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
	Len      int    // payload bytes on the wire; more than len(Payload) if truncated
	Awaits   bool   // another view may show the bytes that are truncated
	Window   uint32 // the largest window that its sender may have announced
	Doubt    Doubt  // why its receiver drops it
	Mapped   bool   // Mapping is set
	Mapping  uint32 // see decode.Frame

	since   int64 // packet count when it was kept in doubt
	against int   // packets since that speak against it
	lately  int64 // time of the newest of these
	refuted bool  // a later segment shows that it is forged
	probe   bool  // one byte, which was acknowledged before: it may be a keep-alive (RFC 9293 section 3.8.4)
	again   bool  // others had a part of it before, so it was sent again, with a newer acknowledgement
}

// Oddity is the reason why bytes of a segment are not data, or why an end does not count.
type Oddity uint8

// Oddities.
const (
	Conflict   Oddity = iota // bytes that differ from an earlier capture of the same position
	Uncompared               // a position that was passed too long ago to compare
	Late                     // a position that was given up as a gap
	Early                    // a position before the start of the stream
	Stray                    // ahead, and nobody acknowledged it: too far, or others were acknowledged after it
	AfterEnd                 // after the FIN
	OtherEnd                 // a FIN that contradicts the data or another FIN
	Refused                  // in doubt, and other segments had the bytes, or the receiver did not acknowledge them
	Redeemed                 // no bytes: those of a segment in doubt are data, see Conn.Doubt
)

// Sink receives the data of one connection. Dir is 0 or 1, as in Conn.Segment.
type Sink interface {
	// Data is the next bytes of a direction; valid during the call only.
	Data(dir uint8, data []byte, s *Segment)
	// Gap reports that n bytes were not captured. More means that they follow the last gap.
	Gap(dir uint8, n int64, more bool, s *Segment)
	// End reports that a FIN closed the direction and everything before it was reported.
	End(dir uint8, s *Segment)
	// Odd reports that n captured bytes of s are in no Data. For a Conflict, first is the packet
	// of the copy that counts, else -1.
	Odd(dir uint8, why Oddity, n int, first int64, s *Segment)
	// Again reports that s has all bytes that packet no delivered.
	Again(dir uint8, no int64, s *Segment)
	// Acked reports that the receiver of a direction acknowledges more of it with s than before.
	Acked(dir uint8, s *Segment)
}

// Budget limits the bytes that the connections of one shard hold out of order. They process one
// segment at a time.
type Budget struct {
	Left int

	cur Segment // here and not on the stack, because the Sink is an interface
	at  Segment // the current packet, without its payload
}

// Verdict describes the bytes of a segment.
type Verdict uint8

// Verdicts, combined as bits.
const (
	New     Verdict = 1 << iota // bytes seen for the first time
	Seen                        // bytes at a position seen before
	Ahead                       // bytes before others that belong in front of them
	Differs                     // bytes that contradict earlier ones, or cannot be compared
)

// Conn is one connection. The zero value with Sink, Budget and History set is ready to use.
type Conn struct {
	Sink    Sink
	Budget  *Budget
	History *History

	// Captured payload bytes that arrived, and those reported as data or as odd, per direction.
	// Those still missing after Close were repetitions.
	In, Out [2]int64

	half    [2]half
	packets int64
}

type half struct {
	started   bool
	unsure    bool // next may move back: the capture began in the middle
	fin       bool
	ended     bool
	spoke     bool // a packet of this direction was seen
	begun     bool // its SYN was seen
	placed    bool // it has not started, but top is where it is
	undialled bool // a SYN-ACK began it, and its SYN may still come
	hasAck    bool
	answered  bool   // the other direction's handshake names its beginning
	opening   uint32 // that beginning
	window    uint32 // the largest that its sender announced
	next      uint32
	base      uint32 // where the stream began
	top       uint32 // end of the highest byte or FIN seen
	finSeq    uint32
	acked     uint32
	since     int64  // packet count when the stream began
	holeTime  int64  // when the first gap appeared
	past      uint64 // newest record in the History
	ackedBy   int64  // packet that acknowledged so much first
	*disorder        // to change only after own
}

// Began returns the sequence number of the first byte or FIN that was captured of a direction; ok is false before that.
func (c *Conn) Began(dir uint8) (seq uint32, ok bool) { return c.half[dir].base, c.half[dir].started }

// Acknowledged is what the receiver of a direction has acknowledged, and the packet that did so first; ok is false before it
// did.
func (c *Conn) Acknowledged(dir uint8) (ack uint32, no int64, ok bool) {
	h := &c.half[dir]
	return h.acked, h.ackedBy, h.hasAck
}

// disorder has the state that few directions need.
type disorder struct {
	held     []*Segment // ascending, not overlapping
	heldSize int
	passed   int64 // newest packet whose bytes were passed on, while others are held
	agreed   int64 // the same, when the receiver last acknowledged exactly what was passed on
	holeAck  int64 // packet count when the receiver acknowledged the missing bytes; 0 not yet
	ackTime  int64 // when that was
	lost     []lost
	doubts   []*Segment // ascending, see Conn.Doubt
	heard    Packet     // newest one of the receiver since segments are in doubt
	claim    *Segment   // without payload, acknowledges more of this direction than was captured
}

var inOrder disorder // of all directions without one; never changed

// own makes a separate disorder for h.
func (h *half) own() {
	if h.disorder == &inOrder {
		h.disorder = &disorder{}
	}
}

// init makes the zero value ready.
func (c *Conn) init() {
	if c.half[0].disorder == nil {
		c.half[0].disorder, c.half[1].disorder = &inOrder, &inOrder
	}
}

// lost is a reported gap.
type lost struct {
	seq uint32
	n   uint32
}

// before reports whether sequence number a comes before b (RFC 9293 section 3.4).
func before(a, b uint32) bool { return int32(a-b) < 0 }

// Segment processes one segment of direction dir.
func (c *Conn) Segment(dir uint8, s *Segment) Verdict {
	c.init()
	c.packets++
	c.Budget.at = *s
	c.Budget.at.Payload = nil
	h := &c.half[dir]
	h.spoke, h.window = true, max(h.window, s.Window)
	h.place(s)
	v, doubtful := c.suspect(dir, s)
	if !doubtful {
		v = c.accept(dir, h, s)
	}
	c.review(dir, s, false)
	c.review(dir^1, s, false)
	c.patience(dir, s)
	c.patience(dir^1, s)
	return v
}

// accept processes a segment that its receiver accepts.
func (c *Conn) accept(dir uint8, h *half, s *Segment) Verdict {
	if s.Flags&ACK != 0 && !c.half[dir^1].unsent(s.Ack) {
		c.acknowledge(dir^1, s)
	}
	if o := &c.half[dir^1]; o.answered && o.spoke && !o.started {
		c.start(o, o.opening, s)
	}
	seq := s.Seq
	if s.Flags&SYN != 0 {
		seq++
		if h.started && !h.begun { // by a SYN-ACK
			c.Begin(dir, seq)
		}
		c.start(h, seq, s)
		switch o := &c.half[dir^1]; {
		case s.Flags&ACK == 0:
		case !o.started:
			c.start(o, s.Ack, s)
			o.undialled = true
		case o.unsure && !before(o.next, s.Ack) && o.next-s.Ack <= maxBack: // bytes of it were captured before
			o.next, o.base, o.unsure, o.undialled = s.Ack, s.Ack, false, true
		}
		if h.unsettled() && !before(h.next, seq) {
			h.next, h.base, h.unsure, h.undialled = seq, seq, false, false
			c.drain()
		}
		h.begun = h.base == seq
	}
	if s.Len > 0 {
		c.In[dir] += int64(len(s.Payload))
	}
	return c.take(dir, h, seq, s)
}

// take brings the bytes of a segment, which begin at seq, and its FIN into the stream.
func (c *Conn) take(dir uint8, h *half, seq uint32, s *Segment) (v Verdict) {
	if !h.started {
		if s.Len == 0 && s.Flags&FIN == 0 {
			return 0
		}
		c.start(h, c.beginning(dir, seq), s)
		h.unsure = !h.hasAck || h.acked != seq
		if h.hasAck && before(s.end(), h.acked) { // it could not be judged before
			h.own()
			h.claim = &Segment{Packet: s.Packet, Seq: c.half[dir^1].high(), Ack: h.acked, Doubt: UnsentAck}
			h.hasAck = false
		}
	}
	if s.Len > 0 {
		c.Budget.cur = *s
		c.Budget.cur.Seq = seq
		if s.Awaits {
			c.Budget.cur.cutBack(len(s.Payload))
		}
		v = c.data(dir, h, &c.Budget.cur)
		c.Budget.cur.Payload, c.Budget.cur.Also = nil, nil
	}
	if s.Flags&FIN != 0 {
		c.end(dir, h, seq+uint32(s.Len), s)
	}
	c.finish(dir, &c.Budget.at)
	return v
}

// beginning is where a direction begins whose first captured bytes are at seq. If the SYN of the other one was captured,
// it begins at what that has acknowledged, and the bytes up to seq are missing.
func (c *Conn) beginning(dir uint8, seq uint32) uint32 {
	h := &c.half[dir]
	at := h.acked
	if h.answered {
		at = h.opening
	}
	if h.hasAck && c.half[dir^1].begun && before(at, seq) && seq-at <= maxBack {
		return at
	}
	return seq
}

func (c *Conn) start(h *half, seq uint32, s *Segment) {
	if !h.started {
		h.started, h.next, h.base, h.top = true, seq, seq, seq
		h.since, h.holeTime = c.packets, s.Time
	}
}

func (c *Conn) data(dir uint8, h *half, s *Segment) (v Verdict) {
	if h.unsure && before(s.Seq, h.next) && h.next-s.Seq <= maxBack {
		h.next, h.base = s.Seq, s.Seq
	}
	if c.behindEnd(dir, h, s) {
		return Differs
	}
	if end := s.Seq + uint32(s.Len); before(h.top, end) && end-h.top <= farAhead {
		h.top = end
	}
	if behind := -int(int32(s.Seq - h.next)); behind > 0 { // as int: half the sequence space has no int32 of its own
		old := *s
		old.cutBack(min(behind, s.Len))
		v = c.old(dir, h, &old)
		if behind >= s.Len {
			return v
		}
		s.cutFront(behind)
	}
	if s.Seq == h.next && len(h.held) == 0 && !h.unsettled() && !c.blocked(dir, s) {
		c.deliver(dir, h, s)
		c.drain()
		return v | New
	}
	v |= c.hold(dir, h, s)
	c.drain()
	return v
}

// cutFront drops the first n bytes.
func (s *Segment) cutFront(n int) {
	s.Seq += uint32(n)
	s.Len -= n
	s.Payload = s.Payload[min(n, len(s.Payload)):]
}

// cutBack keeps the first n bytes.
func (s *Segment) cutBack(n int) {
	s.Len = n
	s.Payload = s.Payload[:min(n, len(s.Payload))]
}

// deliver passes on a segment that begins at h.next.
func (c *Conn) deliver(dir uint8, h *half, s *Segment) {
	if c.History != nil {
		c.History.add(h, s.Seq, s.No, s.Payload)
	}
	h.next = s.Seq + uint32(s.Len)
	if len(h.held) > 0 {
		h.passed, h.holeTime = max(h.passed, s.No), c.Budget.at.Time
	}
	if len(s.Payload) > 0 {
		c.Out[dir] += int64(len(s.Payload))
		c.Sink.Data(dir, s.Payload, s)
	}
	if cut := s.Len - len(s.Payload); cut > 0 {
		c.gap(dir, h, h.next-uint32(cut), int64(cut), s)
	}
}

// gap reports a gap and stores its position.
func (c *Conn) gap(dir uint8, h *half, seq uint32, n int64, s *Segment) {
	h.own()
	h.passed, h.agreed = 0, 0
	k := len(h.lost) - 1
	more := k >= 0 && h.lost[k].seq+h.lost[k].n == seq
	switch {
	case more:
		h.lost[k].n += uint32(n)
	case k+1 == maxLost:
		h.lost = append(h.lost[:0], h.lost[1:]...)
		fallthrough
	default:
		h.lost = append(h.lost, lost{seq, uint32(n)})
	}
	c.Sink.Gap(dir, n, more, s)
}

// odd reports captured bytes of s that count nowhere else.
func (c *Conn) odd(dir uint8, why Oddity, n int, first int64, s *Segment) {
	c.Out[dir] += int64(n)
	c.Sink.Odd(dir, why, n, first, s)
}

// Close ends all gaps and reports other missing bytes: those that were acknowledged or come before
// a FIN but never arrived.
func (c *Conn) Close(last *Segment) {
	c.init()
	c.Budget.at = *last
	c.decide(last)
	for more := true; more && len(c.half[0].held)+len(c.half[1].held) > 0; {
		more = false
		for d := range c.half {
			dropped := c.dropStrays(uint8(d), &c.half[d])
			more = c.giveUp(uint8(d), last) || dropped || more
		}
	}
	for c.redeemFirst(0) || c.redeemFirst(1) {
	}
	for d := range c.half {
		h := &c.half[d]
		for len(h.held) > 0 { // the loop above leaves none; its rules must not cost bytes if they are wrong
			c.dropStray(uint8(d), h)
		}
		h.unsure, h.undialled = false, false
		c.tail(uint8(d), h, last)
		c.finish(uint8(d), last)
		h.disorder = &inOrder
	}
}

// tail reports the missing bytes before the end of a direction.
func (c *Conn) tail(dir uint8, h *half, last *Segment) {
	for end := h.last(); before(h.next, end) && end-h.next <= farAhead && !h.ended; end = h.last() {
		if c.redeem(dir, h, end) {
			continue
		}
		n := int64(end - h.next)
		if ahead := h.doubted(end); ahead > 0 {
			n = ahead
		}
		h.next += uint32(n)
		c.gap(dir, h, h.next-uint32(n), n, last)
	}
	for len(h.doubts) > 0 {
		c.drop(dir, h)
	}
}
