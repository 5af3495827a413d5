package dissect

import "cmp"

func (c *Conn) flushInto(dir Dir) {
	s := &c.sides[dir]
	if c.state == skipping {
		data := s.buf // skip may begin a protocol, which keeps unread bytes in s.buf
		whole := s.whole
		c.shrink(s.charged)
		s.buf, s.whole, s.front, s.segs, s.charged = nil, nil, 0, s.segs[:0], 0
		c.skip(dir, data, c.now)
		buffers.put(whole)
		return
	}
	n := c.nextStart(dir, Likely)
	if n > 0 {
		s.seeking = false
	} else if n = c.nextStart(dir, More); n > 0 {
		s.more, s.need = true, 0
	} else {
		n = len(s.buf)
	}
	c.AnomalyBytes += int64(n)
	c.drop(s, n)
}

// nextStart is the offset in the unread bytes of a direction at which a later segment begins
// with a message of the protocol, by at least this verdict, or 0 if none does.
func (c *Conn) nextStart(dir Dir, least Verdict) int {
	s := &c.sides[dir]
	if c.proto == nil {
		return 0
	}
	for i := 1; i < min(len(s.segs), detectSegments); i++ {
		if at := int(s.segs[i].off - s.off); at > 0 && at < len(s.buf) && c.proto.resumes(dir, s.buf[at:]) >= least {
			return at
		}
	}
	return 0
}

// align skips the bytes before the first message of the protocol, which the other side
// identified: a keep-alive byte, the rest of an earlier message, the greeting of a proxy.
func (c *Conn) align(dir Dir) {
	s := &c.sides[dir]
	if c.proto == nil || c.proto.Detect == nil {
		return
	}
	verdict := c.proto.resumes(dir, s.buf)
	if verdict >= Likely {
		return
	}
	n := c.nextStart(dir, Likely)
	if dir == ToClient {
		early := c.beforeOther(dir)
		if n == 0 && verdict == No {
			n = early
		}
		n = min(n, early) // no answer comes before its request
	}
	switch {
	case n > 0:
		c.discard(dir, n)
	case verdict == No && s.lossy: // the rest of a message whose beginning was lost
		c.lose(s, len(s.buf), "gap", "a gap cut a message short")
		s.seeking, s.looks = true, 0
	}
}

// discard takes bytes that waited for a protocol as the end of a message that began before the capture.
// Those that came after bytes of the other side may have been another message.
func (c *Conn) discard(dir Dir, n int) {
	s := &c.sides[dir]
	s.lossy = s.lossy || n > c.beforeOther(dir)
	c.skipSegs(dir, s.buf[:n], s.off, s.segs)
	c.drop(s, n)
}

// beginsAgain reports whether a message begins with this segment, and none with the bytes that wait
// since a loss: those are the end of a message whose beginning was lost.
func (c *Conn) beginsAgain(dir Dir, data []byte) bool {
	p := c.proto
	return p.Detect != nil && p.Detect(dir, data) == Yes && p.resumes(dir, c.sides[dir].buf) < Likely
}

// beforeOther counts the waiting bytes of a direction that came before those of the other.
func (c *Conn) beforeOther(dir Dir) int {
	s, other := &c.sides[dir], &c.sides[dir.Other()]
	if len(other.segs) == 0 {
		return len(s.buf)
	}
	for i := range s.segs {
		if s.segs[i].nth > other.segs[0].nth {
			return int(max(s.segs[i].off-s.off, 0))
		}
	}
	return len(s.buf)
}

// losses counts how often bytes of each direction were lost that may belong to any call in progress:
// an interim response, a challenge, an acknowledgement. Such a call is not complete unless its
// dissector calls Unaffected.
type losses struct {
	of   [2]uint32
	last Loss
}

func (l *losses) add(dir Dir, why Loss) {
	l.of[dir]++
	l.last = why
}

// Unaffected declares that the bytes lost in these directions since x began belong to other calls,
// because x has one complete message in each.
func (c *Conn) Unaffected(x *Exchange, dirs ...Dir) {
	for _, d := range dirs {
		x.losses.of[d] = c.losses.of[d]
	}
}

// Incomplete declares that a message of this direction was captured in part, and that what it answers is not known: it may
// be any call in progress.
func (c *Conn) Incomplete(dir Dir) { c.losses.add(dir, LossGap) }

// Starting reports, inside Resync, that the beginning of the connection was not captured. Messages before
// it are missing, but none after the first one that is read.
func (c *Conn) Starting() bool { return c.starting }

// Missed reports whether bytes of the connection were lost before or after it began with this protocol.
func (c *Conn) Missed() bool { return c.losses.of != [2]uint32{} || !c.begun }

// FromStart reports whether a direction was captured from the connection's beginning, up to now, and only this
// protocol was in it.
func (c *Conn) FromStart(dir Dir) bool {
	s := &c.sides[dir]
	return c.Info.Began[dir] && !s.lossy && s.start == 0
}

// resync reports to the dissector that its position was lost.
func (c *Conn) resync(dir Dir, why Loss) {
	c.losses.add(dir, why)
	c.sides[dir].lossy, c.sides[dir].resynced = true, uint32(c.sides[dir.Other()].off)
	if c.d != nil {
		c.d.Resync(dir, why)
	}
}

// lost drops the unread bytes of one direction and looks for the next message.
func (c *Conn) lost(dir Dir, kind, detail string) {
	s := &c.sides[dir]
	c.lose(s, len(s.buf), kind, detail)
	s.seeking, s.looks, s.need = true, 0, 0
	c.resync(dir, LossMalformed)
}

// seek looks for a segment that starts with a message that Detect accepts. If that needs more bytes, segments are kept
// until they show the start together, or one of them alone. It reports whether this segment is to be read.
func (c *Conn) seek(dir Dir, data []byte, p Packet) bool {
	s := &c.sides[dir]
	s.looks++
	v := c.proto.resumes(dir, data)
	switch {
	case v >= Likely:
		c.passStart(s, len(s.buf))
		s.seeking = false
		return true
	case v == No && !s.more, len(s.buf)+len(data) > maxUndecided, !c.room(s, len(data)):
		c.passStart(s, len(s.buf))
		c.miss(dir)
		c.passOver(s, data)
		return false
	case s.more:
		c.arrivals++
		s.segs = append(s.segs, seg{s.off + int64(len(s.buf)), p, c.arrivals})
	default:
		c.began(dir)
		c.arrived(s, p)
		s.more, s.need = true, 0
	}
	if c.keep(s, data); len(s.buf) >= s.need {
		c.seekTogether(dir)
	}
	return false
}

// seekTogether examines the segments that were kept.
func (c *Conn) seekTogether(dir Dir) {
	s := &c.sides[dir]
	v := c.proto.resumes(dir, s.buf)
	if v == No {
		c.miss(dir)
		n := c.nextStart(dir, More)
		if c.passStart(s, cmp.Or(n, len(s.buf))); n == 0 {
			return
		}
		v = c.proto.resumes(dir, s.buf)
	}
	if s.more, s.need = true, moreStep(len(s.buf)); v >= Likely {
		s.seeking, s.more, s.need = false, false, 0
		c.run(dir)
		c.turns(dir.Other())
	}
}

// passStart drops the first n bytes that were kept as the possible start of a message.
func (c *Conn) passStart(s *side, n int) {
	if s.more && s.seeking {
		s.more, s.need = false, 0
		c.lose(s, n, "skipped", passedOver)
	}
}

// began extends the loss to calls that began since.
func (c *Conn) began(dir Dir) {
	if other := uint32(c.sides[dir.Other()].off); other != c.sides[dir].resynced {
		c.resync(dir, c.losses.last)
	} else {
		c.losses.add(dir, c.losses.last)
	}
}

// miss records bytes after a loss that cannot be read.
func (c *Conn) miss(dir Dir) {
	c.began(dir)
	if cl := c.claim; cl != nil {
		cl.misses++
	}
}

func (c *Conn) gap(dir Dir, n int64) {
	if c.flipped {
		dir = dir.Other()
	}
	s := &c.sides[dir]
	defer func() { s.off += n }()
	if c.state != reading || s.seeking {
		if c.state == detecting && len(s.buf) > 0 {
			c.giveUp()
		}
		switch c.state {
		case reading:
			c.passStart(s, len(s.buf))
			c.resync(dir, LossGap) // calls that began after the first loss may be affected too
		case detecting:
			s.lossy = true
		}
		c.unknownGap(dir, n)
		return
	}
	if len(s.segs) == 0 {
		s.segs = append(s.segs, seg{off: s.off, Packet: c.now})
	}
	in := Input{Dir: dir, Data: s.buf, ends: true, conn: c, base: s.off, segs: s.segs, side: s}
	end := s.off + int64(len(s.buf))
	l := loss{side: s, from: s.off, at: end, n: n, own: c.engine.tail.no == c.now.No}
	outer := c.engine.loss // of the connection that this one is inside
	c.engine.loss = l
	inSync := c.d.Gap(&in, n)
	if !inSync {
		c.resync(dir, LossGap)
	}
	c.engine.loss = outer
	c.engine.counts(&l, inSync)
	if len(s.buf) > 0 {
		switch {
		case inSync || in.Taken:
			c.RowBytes += int64(len(s.buf))
			c.drop(s, 0)
		case c.unknown != nil: // the other side was not read either, so there is a row that counts them
			c.skipSegs(dir, s.buf, s.off, s.segs)
			c.unknownGap(dir, n)
			c.drop(s, 0)
		default:
			c.lose(s, len(s.buf), "gap", "a gap cut a message short")
		}
	}
	s.segs, s.need = s.segs[:0], 0
	if !inSync {
		s.seeking, s.looks = true, 0
	}
	if c.upgrade != nil {
		c.switchOver()
	}
	c.run(dir.Other())
}

// turns offers the unread bytes of both directions in turns, as long as each lets the other continue.
func (c *Conn) turns(dir Dir) {
	for steps := (idle{}); ; dir = dir.Other() {
		steps.count(c, c.unread())
		before := len(c.sides[dir].buf)
		if c.run(dir); len(c.sides[dir].buf) >= before {
			return
		}
	}
}
