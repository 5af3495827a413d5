package dissect

import "slices"

// moreStep says after how many more bytes the protocols are asked again: a share of what is
// there, so that short segments cost no square of their number.
func moreStep(n int) int {
	if n < 64 {
		return n + 1
	}
	return n + n/8
}

// detect asks the protocols about the first bytes of a direction. It answers true when
// one was told (c.state is reading) and false when more bytes are wanted or none fits
// (c.state may then be skipping).
func (c *Conn) detect(dir Dir, head []byte) bool {
	p, v, turned := c.guess(dir, head)
	if p != nil {
		c.accept(p, v, dir, turned)
		return true
	}
	s, other := &c.sides[dir], &c.sides[dir.Other()]
	s.more, s.need, s.asked = v == More, moreStep(len(head)), len(head)
	if s.more || len(head) < minDetect && !s.ended {
		return false
	}
	if p := c.askPort(dir, head); p != nil {
		c.begin(p, Yes)
		return true
	}
	if c.restart(dir) {
		return false
	}
	// Nothing fits this side. The other side may still tell, unless it has spoken too.
	if len(other.buf) > other.asked { // it has more than it was asked about
		other.need = 0
		return false
	}
	if len(other.buf) > 0 || other.ended || len(head) >= detectBuffered/2 {
		c.giveUp()
	}
	return false
}

// guess is ask. Where no handshake told who the client is, the bytes may also be the other
// side's: a capture that begins in mid-connection may show the server's packet first.
func (c *Conn) guess(dir Dir, head []byte) (p *Protocol, v Verdict, turned bool) {
	if p, v = c.ask(dir, false, head); v == Yes || c.Info.RolesKnown {
		return p, v, false
	}
	q, w := c.ask(dir.Other(), true, head)
	switch {
	case q != nil && w > v && (w == Yes || c.verdict(q, dir, false, head) != More):
		return q, w, true
	case q != nil && w > v:
		return nil, More, false
	case q != nil && q == p && (c.Info.Transport == TCP || c.Info.Transport == QUIC):
		return c.undecided(p, dir, head)
	}
	return p, max(v, w), false
}

// Limits of waiting for bytes that tell the sides apart.
const (
	maxUndecided = 4 << 10 // bytes of one side
	undecided    = 8       // segments of a connection that no protocol was told for
)

// undecided decides about bytes that both sides may send: the other side's tell, or what
// comes next.
func (c *Conn) undecided(p *Protocol, dir Dir, head []byte) (*Protocol, Verdict, bool) {
	s, other := &c.sides[dir], &c.sides[dir.Other()]
	if len(other.buf) > 0 {
		v, w := c.verdict(p, dir.Other(), false, other.buf), c.verdict(p, dir, true, other.buf)
		if v != w {
			return p, Likely, w > v
		}
	}
	if c.state == detecting && !s.ended && len(head) < maxUndecided || c.state == skipping && s.looks < undecided {
		return nil, More, false
	}
	return p, Likely, false
}

// accept begins a protocol that guess gave.
func (c *Conn) accept(p *Protocol, v Verdict, dir Dir, turned bool) {
	if turned {
		c.flip()
	}
	c.begin(p, v)
	if c.claim != nil {
		c.claim.flipped, c.claim.by = turned, dir
		if turned {
			c.claim.by = dir.Other()
		}
	}
}

// beginsHere reports whether a protocol begins with this segment while what was kept of
// its side fits none: the end of a message that began before the capture.
func (c *Conn) beginsHere(dir Dir, data []byte) bool {
	s := &c.sides[dir]
	if s.more && c.Info.RolesKnown {
		return false
	}
	q, v, _ := c.guess(dir, data)
	if q == nil || s.more && v != Yes {
		return false
	}
	p, v, _ := c.guess(dir, append(s.buf[:len(s.buf):len(s.buf)], data...))
	if p != nil || v == More {
		s.need = 0
		return false
	}
	return true
}

// restart skips what was kept of a side up to a later segment with which a protocol
// begins, if there is one.
func (c *Conn) restart(dir Dir) bool {
	s := &c.sides[dir]
	for i := 1; i < min(len(s.segs), detectSegments); i++ {
		at := int(s.segs[i].off - s.off)
		if at <= 0 || at >= len(s.buf) {
			continue
		}
		if p, _, _ := c.guess(dir, s.buf[at:]); p != nil {
			c.skipSegs(dir, s.buf[:at], s.off, s.segs)
			c.drop(s, at)
			s.need, s.asked = 0, 0
			return true
		}
	}
	return false
}

// minDetect is how many bytes there must be before "none fits" counts.
const minDetect = 4

func (c *Conn) flip() {
	c.flipped = !c.flipped
	c.Info.ClientPort, c.Info.ServerPort = c.Info.ServerPort, c.Info.ClientPort
	c.sides[0], c.sides[1] = c.sides[1], c.sides[0]
	c.last = c.last.Other()
	if u := c.unknown; u != nil {
		u.x.req, u.x.resp = u.x.resp, u.x.req
		u.head[0], u.head[1] = u.head[1], u.head[0]
	}
}

// ask returns the first protocol that says Yes, else the first that says Likely; those
// hinted by the ports come first. Without a protocol the verdict is More or No. turned says
// that dir is not as the connection has it so far.
func (c *Conn) ask(dir Dir, turned bool, head []byte) (p *Protocol, v Verdict) {
	t := c.Info.Transport
	for _, port := range [2]uint16{c.Info.ServerPort, c.Info.ClientPort} {
		for _, q := range c.engine.byPort[t][port] {
			switch w := c.verdict(q, dir, turned, head); {
			case w == Likely && turned: // the port speaks against it
				return q, Likely
			case w >= Likely: // the port speaks for it too
				return q, Yes
			case w == More:
				v = More
			}
		}
	}
	if v == More { // a hinted protocol is still possible
		return nil, More
	}
	for _, q := range c.engine.byKind[t] {
		switch w := c.verdict(q, dir, turned, head); {
		case w == Yes:
			return q, Yes
		case w > v:
			v = w
			if w == Likely {
				p = q
			}
		}
	}
	return p, v
}

// verdict is what p thinks of the first bytes of a direction, in the state that the
// connection is in.
func (c *Conn) verdict(p *Protocol, dir Dir, turned bool, head []byte) Verdict {
	v := p.Detect(dir, head)
	if v != Likely {
		return v
	}
	atStart := c.Info.RolesKnown && c.parent == nil && c.sides[dir].off == 0
	if p.Prefaced && atStart || slices.Contains(c.refused, refusal{p, c.flipped != turned}) {
		return No
	}
	return v
}

// resumes is what a protocol that is known already thinks of bytes after a gap.
func (p *Protocol) resumes(dir Dir, head []byte) Verdict {
	switch {
	case p.Resume != nil:
		return p.Resume(dir, head)
	case p.Detect != nil:
		return p.Detect(dir, head)
	}
	return No
}

func (c *Conn) detectDatagram(dir Dir, data []byte) bool {
	if p, v, turned := c.guess(dir, data); p != nil {
		c.accept(p, v, dir, turned)
		return true
	}
	if p := c.askPort(dir, data); p != nil {
		c.begin(p, Yes)
		return true
	}
	for _, p := range c.engine.byKind[c.Info.Transport] {
		if p.DetectLast != nil && p.DetectLast(dir, data) == Yes {
			c.begin(p, Yes)
			return true
		}
	}
	return false
}

// askPort returns the protocol that the port alone makes likely, see DetectOnPort.
func (c *Conn) askPort(dir Dir, head []byte) *Protocol {
	for _, port := range [2]uint16{c.Info.ServerPort, c.Info.ClientPort} {
		for _, q := range c.engine.byPort[c.Info.Transport][port] {
			if q.DetectOnPort != nil && q.DetectOnPort(dir, head) == Yes {
				return q
			}
		}
	}
	return nil
}

// again looks at later bytes of a conversation that was not told by its first: those of
// its first segments, and those with which the sides take turns, since a message begins
// there.
func (c *Conn) again(dir Dir, data []byte) bool {
	s := &c.sides[dir]
	turn := dir != c.last
	c.last = dir
	if s.looks++; s.looks > detectSegments && !turn {
		return false
	}
	p, v, turned := c.guess(dir, data)
	if p == nil {
		return false
	}
	c.accept(p, v, dir, turned)
	return true
}
