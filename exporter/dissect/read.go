package dissect

import (
	"cmp"
	"fmt"
	"slices"
)

func (c *Conn) data(dir Dir, data []byte, p Packet) {
	if c.flipped {
		dir = dir.Other()
	}
	s := &c.sides[dir]
	s.next, c.engine.tail.no = p.Seq+uint32(len(data)), p.No
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
	*in = Input{Dir: dir, Data: data, End: s.ended, Fin: s.fin, conn: c, base: s.off, segs: s.segs, side: s}
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
