package dissect

import (
	"cmp"
	"fmt"
	"slices"

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
		c.unknownGap(n)
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

func (c *Conn) data(dir Dir, data []byte, p Packet) {
	if c.flipped {
		dir = dir.Other()
	}
	s := &c.sides[dir]
	s.next = p.Seq + uint32(len(data))
	if c.state == skipping {
		c.skip(dir, data, p)
		return
	}
	if cl := c.claim; cl != nil && cl.misses > maxMisses {
		was := c.flipped
		if c.withdraw("the other side sends something else"); c.flipped != was {
			dir = dir.Other()
		}
		s = &c.sides[dir]
	}
	if s.seeking && !c.seek(dir, data, p) {
		return
	}
	if len(s.buf) == 0 {
		c.arrived(s, p)
		c.offerSegment(dir, data)
		return
	}
	if c.state == detecting && c.beginsHere(dir, data) || c.state == reading && s.lossy && c.beginsAgain(dir, data) {
		c.discard(dir, len(s.buf))
		if s.need = 0; c.state == reading {
			c.resync(dir, LossGap)
		}
		c.arrived(s, p)
		c.offerSegment(dir, data)
		return
	}
	if !c.makeRoom(s, len(data)) {
		c.overflow(dir, data, p)
		return
	}
	c.arrivals++
	s.segs = append(s.segs, seg{s.off + int64(len(s.buf)), p, c.arrivals})
	c.keep(s, data)
	c.run(dir)
	c.turns(dir.Other())
}

// offerSegment offers a segment that arrived while no bytes were waiting, without copying it.
// What the dissector does not consume is kept.
func (c *Conn) offerSegment(dir Dir, data []byte) {
	s := &c.sides[dir]
	rest := data
	for steps := (idle{}); len(rest) > 0; {
		steps.count(c, len(rest))
		was, refused := c.flipped, len(c.refused)
		n := c.offer(dir, rest)
		if c.flipped != was { // the content showed that this side is the server
			dir = dir.Other()
			s = &c.sides[dir]
			continue
		}
		if len(c.refused) != refused { // a claim was withdrawn: detect again
			continue
		}
		if n == 0 {
			break
		}
		rest = rest[n:]
		s.off += int64(n)
		if c.state == skipping || s.seeking || c.upgrade != nil {
			break
		}
	}
	if len(rest) > 0 && (s.seeking || c.state == skipping) {
		if c.state == skipping {
			c.skip(dir, rest, c.now)
		} else {
			c.AnomalyBytes += int64(len(rest))
			s.off += int64(len(rest))
		}
		rest = nil
	}
	if len(rest) == 0 {
		s.segs = s.segs[:0]
	} else {
		if !c.makeRoom(s, len(rest)) {
			c.overflow(dir, rest, c.now)
			return
		}
		s.buf = s.buf[:0]
		c.keep(s, rest)
	}
	if c.upgrade != nil {
		c.switchOver()
		c.run(dir)
	}
	c.turns(dir.Other())
}

// run offers the unread bytes of one direction until the dissector consumes no more.
func (c *Conn) run(dir Dir) {
	for steps := (idle{}); ; {
		steps.count(c, c.unread())
		s := &c.sides[dir]
		was, refused, before := c.flipped, len(c.refused), len(s.buf)
		if c.state == skipping || s.seeking {
			if s.seeking && s.more { // see seek
				return
			}
			if len(s.buf) > 0 {
				c.flushInto(dir)
			}
			if c.flipped != was {
				dir = dir.Other()
			}
			if len(c.sides[dir].buf) > 0 && c.state != detecting {
				continue
			}
			return
		}
		atEnd := s.ended && !s.endSeen
		if len(s.buf) == 0 && !atEnd || (len(s.buf) < s.need && !s.ended) {
			return
		}
		n := c.offer(dir, s.buf)
		if n == 0 && c.state == detecting && len(s.buf) < before { // a protocol begins later in the bytes
			continue
		}
		if c.flipped != was { // the content showed that this side is the server
			dir = dir.Other()
			continue
		}
		if len(c.refused) != refused || n == offerAgain {
			continue
		}
		if n > 0 {
			c.drop(s, n)
		}
		if c.upgrade != nil {
			c.switchOver()
			continue
		}
		if n == 0 {
			if atEnd {
				s.endSeen = true
			}
			return
		}
	}
}

// unread counts the bytes of both directions that no dissector has consumed.
func (c *Conn) unread() int { return len(c.sides[0].buf) + len(c.sides[1].buf) }

// maxIdle is how many steps in a row may consume nothing. Detection, a claim that is withdrawn and an upgrade are such
// steps, and each protocol can have a few of them.
const maxIdle = 1000

// idle counts steps of a loop that consume nothing. A dissector that asks for an upgrade again and again must not keep
// its connection for ever.
type idle struct{ steps, left int }

// count begins a step while n bytes are left.
func (x *idle) count(c *Conn, n int) {
	if x.steps++; n < x.left {
		x.steps = 0
	}
	if x.left = n; x.steps > maxIdle {
		panic(fmt.Sprintf("dissect: %d bytes are left after %d steps, protocols %v", n, x.steps, c.path))
	}
}

// offerAgain is what offer returns if it has read the bytes of both sides: the rest must be offered once more.
const offerAgain = -1

// offer runs detection or Read once. It returns the number of bytes consumed.
func (c *Conn) offer(dir Dir, data []byte) int {
	s := &c.sides[dir]
	if c.state == detecting {
		was := c.flipped
		if !c.detect(dir, data) {
			return 0
		}
		swapped := c.flipped != was
		if swapped {
			dir = dir.Other()
			s = &c.sides[dir]
		}
		if o := dir.Other(); len(c.sides[o].buf) > 0 {
			c.align(o)
			if len(s.buf) > 0 && len(s.segs)+len(c.sides[o].segs) > 2 { // some of them may have come after this one
				c.replay()
				return offerAgain
			}
			c.run(o) // it arrived first, so it is read first: a request before its response
		}
		if swapped {
			return 0
		}
	}
	if c.d == nil || len(data) < s.need && !s.ended {
		return 0
	}
	s.need = 0
	if len(s.segs) == 0 {
		s.segs = append(s.segs, seg{off: s.off, Packet: c.now})
	}
	in := c.engine.input()
	defer c.engine.inputDone()
	*in = Input{Dir: dir, Data: data, End: s.ended, Fin: s.fin, conn: c, base: s.off, segs: s.segs}
	n, err := c.d.Read(in)
	if c.claim != nil {
		if err != nil {
			return c.contradicted(dir, data, err.Error())
		}
		c.claim.u.add(in, n)
	}
	if n < 0 || n > len(data) {
		panic(fmt.Sprintf("dissect: %s took %d of %d bytes", c.proto.Name, n, len(data)))
	}
	c.RowBytes += int64(n)
	if n > 0 {
		s.lossy = false
	}
	if err != nil {
		c.Anomaly("malformed", err.Error(), int64(len(data)-n))
		s.seeking, s.looks = true, 0
		c.resync(dir, LossMalformed)
	}
	return n
}

// replay reads the segments of both sides that waited for a protocol in the order in which they came: a
// response after its request, and before the next one.
func (c *Conn) replay() {
	type piece struct {
		dir  Dir
		data []byte
		at   Packet
		nth  uint32
	}
	var list []piece
	for d := range c.sides {
		s, dir := &c.sides[d], Dir(d)
		if c.flipped {
			dir = dir.Other()
		}
		for i := range s.segs {
			from, to := max(s.segs[i].off-s.off, 0), int64(len(s.buf))
			if i+1 < len(s.segs) {
				to = s.segs[i+1].off - s.off
			}
			at := s.segs[i].Packet
			at.Seq += uint32(s.off + from - s.segs[i].off)
			list = append(list, piece{dir, slices.Clone(s.buf[from:to]), at, s.segs[i].nth})
		}
		off := s.off
		c.drop(s, 0)
		s.off, s.need = off, 0
	}
	slices.SortStableFunc(list, func(a, b piece) int { return cmp.Compare(a.nth, b.nth) })
	ended, was := [2]bool{c.sides[0].ended, c.sides[1].ended}, c.flipped
	c.sides[0].ended, c.sides[1].ended = false, false // not before all bytes
	for _, p := range list {
		c.data(p.dir, p.data, p.at)
	}
	if c.flipped != was {
		ended[0], ended[1] = ended[1], ended[0]
	}
	c.sides[0].ended, c.sides[1].ended = ended[0], ended[1]
}

// input is memory for the argument of Read, so that a segment costs no allocation. Connections
// inside encryption are read while their outer one is.
func (e *Engine) input() *Input {
	if e.depth == len(e.inputs) {
		e.inputs = append(e.inputs, &Input{})
	}
	e.depth++
	return e.inputs[e.depth-1]
}

// inputDone ends the use of the newest input.
func (e *Engine) inputDone() {
	e.depth--
	*e.inputs[e.depth] = Input{}
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
