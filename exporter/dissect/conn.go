package dissect

import (
	"github.com/pcapsule/pcapsule/exporter/dissect/guess"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Data passes the next bytes of one direction to the connection, in order.
func (c *Conn) Data(dir Dir, data []byte, p Packet) {
	if len(data) == 0 || c.closed {
		return
	}
	c.now = p
	c.protect(len(data), func() { c.data(dir, data, p) })
	c.weigh()
}

// Datagram passes one datagram to the connection.
func (c *Conn) Datagram(dir Dir, data []byte, p Packet) {
	state := &c.engine.datagram
	if c.parent == nil {
		*state = datagramState{doubtful: p.Cut > 0}
	}
	if !c.closed && !c.readBeside(dir, data, p) {
		c.now = p
		c.protect(len(data), func() { c.datagram(dir, data, p) })
		c.weigh()
	}
	if c.parent == nil && state.doubtful && !state.answers {
		c.known().unread[dir] = p.No + 1
	}
}

// LostAll is the length of a gap that is longer than any message.
const LostAll = 1 << 62

// Gap reports that n bytes of one direction were not captured.
func (c *Conn) Gap(dir Dir, n int64, p Packet) {
	if c.closed || n <= 0 {
		return
	}
	c.now = p
	c.GapBytes += n
	c.protect(0, func() { c.gap(dir, n) })
	c.weigh()
}

// GapGrows reports that the latest gap of one direction has n bytes more than reported. It cuts no calls that began since,
// unless the direction could be read behind what was reported.
func (c *Conn) GapGrows(dir Dir, n int64, p Packet) {
	own := dir
	if c.flipped {
		own = dir.Other()
	}
	switch s := &c.sides[own]; {
	case c.state == reading && !s.seeking:
		c.Gap(dir, n, p)
	case !c.closed && n > 0:
		c.passStart(s, len(s.buf))
		c.GapBytes += n
		s.off += n
		c.unknownGap(own, n)
	}
}

// Begins sets the sequence number of the first byte or FIN that the capture has of a direction, if that is not the one
// after its SYN.
func (c *Conn) Begins(dir Dir, seq uint32) { c.known().begins[dir] = table.Some(seq) }

// End reports that one direction will send no more: its FIN and everything before it have
// arrived.
func (c *Conn) End(dir Dir, p Packet) {
	if c.closed {
		return
	}
	c.now = p
	if c.flipped {
		dir = dir.Other()
	}
	c.sides[dir].ended, c.sides[dir].fin = true, true
	c.protect(0, func() {
		c.run(dir)
		c.turns(dir.Other())
		if c.state == detecting && c.sides[0].ended && c.sides[1].ended {
			c.giveUp()
		}
	})
	c.weigh()
}

// Close ends the connection at the time of its last packet p. The packet's number orders the
// rows.
func (c *Conn) Close(why End, p Packet) { c.CloseAt(why, p, p.Time) }

// CloseAt is Close for a capture that continued until at, by the clock of p, without packets of this
// connection.
func (c *Conn) CloseAt(why End, p Packet, at int64) {
	if c.closed {
		return
	}
	c.now, c.closing, c.end, c.closedAt = p, true, why, p.Instant()
	if at > p.Time {
		c.closedAt.Ns, c.closedAt.No = at, -1 // no packet
	}
	c.protect(0, func() { c.finish(why) })
	c.reportUnacked()
	c.closed = true
	c.flushAnomalies()
	for i := range c.sides {
		c.drop(&c.sides[i], 0)
	}
	c.shrink(c.kept)
	c.kept = 0
	if c.parent == nil { // a dissector that panicked or forgot must not use up the budget
		c.shrink(c.held)
	}
}

func (c *Conn) finish(why End) {
	c.sides[0].ended, c.sides[1].ended = true, true
	c.run(ToServer)
	c.turns(ToClient)
	if c.state == detecting { // the protocol changed in the last bytes
		c.giveUp()
	}
	for d := range c.sides {
		if s := &c.sides[d]; len(s.buf) > 0 && c.state == reading {
			c.lose(s, len(s.buf), "unfinished", "the end of the connection cut a message short")
		}
	}
	if c.claim != nil && c.claim.trial {
		c.withdraw("")
	}
	c.Confirm()
	if d := c.d; d != nil {
		c.d = nil
		d.Close(why)
	}
	c.emitUnknown(why)
	c.release(func(*untaken) bool { return true })
	if b := c.beside; b != nil {
		b.CloseAt(why, c.now, c.closedAt.Ns)
	}
}

// lose counts n bytes at the front of s as an anomaly and drops them.
func (c *Conn) lose(s *side, n int, kind, detail string) {
	c.AnomalyBytes += int64(n)
	c.Anomaly(kind, detail, int64(n))
	c.drop(s, n)
}

const passedOver = "bytes after a loss, before the next message that can be read"

// passOver counts a segment between a loss and the next message.
func (c *Conn) passOver(s *side, data []byte) {
	c.AnomalyBytes += int64(len(data))
	c.Anomaly("skipped", passedOver, int64(len(data)))
	s.off += int64(len(data))
}

// drop removes n bytes at the front of s; 0 means all.
func (c *Conn) drop(s *side, n int) {
	if n == 0 || n >= len(s.buf) {
		s.off += int64(len(s.buf))
		s.segs = s.segs[:0]
		s.release()
		if cap(s.segs) > 64 {
			s.segs = nil
		}
		c.shrink(s.charged)
		s.charged = 0
		return
	}
	s.off += int64(n)
	s.shorten(n)
	s.trim()
	c.charge(s)
}

// trim removes segments that end before off.
func (s *side) trim() {
	k := 0
	for k+1 < len(s.segs) && s.segs[k+1].off <= s.off {
		k++
	}
	if k > 64 {
		s.segs = s.segs[k:]
	} else if k > 0 {
		s.segs = append(s.segs[:0], s.segs[k:]...)
	}
}

// maxPath is how many protocols of a connection are listed. Only an attacker changes it more often.
const maxPath = 32

// begin starts reading p with verdict v.
func (c *Conn) begin(p *Protocol, v Verdict) {
	c.proto, c.state = p, reading
	if v == Likely {
		c.claim = &claim{crypt: c.Encrypted() != nil}
	}
	for d := range c.sides {
		c.sides[d].need, c.sides[d].more = 0, false
	}
	c.path = append(c.path[:min(len(c.path), maxPath-1)], p.Name)
	if c.parent != nil {
		c.noteInside(c.path)
	}
	c.d = p.New(c)
	c.begun = c.Info.Began == [2]bool{true, true}
	for d := range c.sides {
		c.begun = c.begun && !c.sides[d].lossy && c.sides[d].off == c.sides[d].start
	}
	if datagrams(c.Info.Transport) {
		return
	}
	for d, began := range c.Info.Began {
		c.starting = !c.sides[d].lossy
		if !began || !c.starting { // messages before the first one may be missing
			c.resync(Dir(d), LossGap)
		}
		c.starting = false
	}
}

// switchOver performs an upgrade that the dissector requested.
func (c *Conn) switchOver() {
	u := c.upgrade
	c.upgrade = nil
	c.Confirm()
	if old := c.d; old != nil {
		if _, ok := old.(Continuer); ok && u.name == "tls" {
			c.known().before = &before{c.proto, old}
		}
		c.d = nil
		old.Close(EndUpgrade)
	}
	for d := range c.sides {
		s := &c.sides[d]
		c.Info.Began[d], s.start = !s.seeking && !s.lossy, s.off
		s.seeking, s.need, s.endSeen = false, 0, false
	}
	c.state, c.proto = detecting, nil
	p := c.engine.byName[u.name]
	if p == nil || p.New == nil {
		if u.name != "" {
			c.known().likely = guess.Guess{Protocol: u.name, By: guess.Upgrade}
		}
		return
	}
	c.begin(p, Yes)
	if g, ok := c.d.(Upgrader); ok && u.info != nil {
		g.Upgraded(u.info)
	}
}
