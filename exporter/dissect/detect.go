package dissect

import "slices"

// moreStep is how many more bytes must arrive before detection runs again. It is a share of the
// waiting bytes, which keeps many short segments from costing quadratic time.
func moreStep(n int) int {
	if n < 64 {
		return n + 1
	}
	return n + n/8
}

// detect tries the protocols on the first bytes of a direction. It returns true if it identified
// one (c.state is reading), and false if it needs more bytes or if none matches (c.state may
// then be skipping).
func (c *Conn) detect(dir Dir, head []byte) bool {
	p, v, swapped := c.detectSides(dir, head)
	if p != nil && v != Yes && c.expected() != nil { // a file may look like anything
		p, v = nil, No
	}
	if p != nil && v != Yes {
		if q := c.findByPort(dir, head); q != nil { // its port says more than a likeness
			p, v, swapped = q, Yes, false
		}
	}
	if p != nil {
		c.unexpected(p.Name)
		c.accept(p, v, dir, head, swapped)
		return true
	}
	s, other := &c.sides[dir], &c.sides[dir.Other()]
	s.more, s.need, s.examined = v == More, moreStep(len(head)), int32(len(head))
	if (s.more || len(head) < minDetect) && !s.ended {
		return false
	}
	p = c.findByPort(dir, head)
	if p == nil { // the other side's bytes would be given up below
		p = c.findByPort(dir.Other(), other.buf)
	}
	if p != nil {
		c.begin(p, Yes)
		return true
	}
	if c.restart(dir) {
		return false
	}
	if c.expectedBegins() {
		return true
	}
	// No protocol matches this side. The other side may still identify one, unless it has sent
	// bytes too.
	if len(other.buf) > int(other.examined) { // it has bytes that detection has not seen
		other.need = 0
		return false
	}
	waits := c.Info.RolesKnown && s.ended && other.more // for more bytes of the other side
	if len(other.buf) > 0 && !waits || other.ended || len(head) >= detectBuffered/2 {
		c.giveUp()
	}
	return false
}

// detectSides is findProtocol that also accepts connections without a handshake: their client is
// unknown, because a capture that begins in mid-connection may show the server's packet first. It
// therefore tries both directions.
func (c *Conn) detectSides(dir Dir, head []byte) (p *Protocol, v Verdict, swapped bool) {
	if p, v = c.findProtocol(dir, false, head); v == Yes || c.Info.RolesKnown {
		return p, v, false
	}
	q, w := c.findProtocol(dir.Other(), true, head)
	switch {
	case q != nil && w > v && (w == Yes || c.verdict(q, dir, false, head) != More):
		return q, w, true
	case q != nil && w > v:
		return nil, More, false
	case q != nil && q == p && !datagrams(c.Info.Transport):
		return c.undecided(p, dir, head)
	}
	return p, max(v, w), false
}

// Limits on waiting for bytes that distinguish the sides.
const (
	maxUndecided = 12 << 10 // bytes of one side
	undecided    = 8        // segments of a connection without a detected protocol
)

// undecided decides about bytes that both sides may send, by the other side's bytes or by what
// follows.
func (c *Conn) undecided(p *Protocol, dir Dir, head []byte) (*Protocol, Verdict, bool) {
	if p.Sender != nil {
		return p, Likely, p.Sender(head) != dir
	}
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

// accept begins a protocol that detectSides returned for these bytes.
func (c *Conn) accept(p *Protocol, v Verdict, dir Dir, head []byte, swapped bool) {
	if swapped {
		c.flip()
		dir = dir.Other()
	}
	c.prefaced(p, dir, head)
	if c.begin(p, v); c.claim != nil {
		c.claim.flipped, c.claim.by = swapped, dir
	}
}

// prefaced records that content shows the beginning of a connection whose handshake was not captured.
func (c *Conn) prefaced(p *Protocol, dir Dir, head []byte) {
	first := func(d Dir, b []byte) bool {
		return c.sides[d].off == c.sides[d].start && (len(b) == 0 || p.Detect(d, b) == Yes)
	}
	if o := dir.Other(); p.Prefaced && first(dir, head) {
		c.Info.Began[dir] = true
		c.Info.Began[o] = c.Info.Began[o] || first(o, c.sides[o].buf)
	}
}

// beginsHere reports whether a protocol begins with this segment and none matches the waiting
// bytes before it: those are the end of a message that began before the capture.
func (c *Conn) beginsHere(dir Dir, data []byte) bool {
	s := &c.sides[dir]
	if s.more && c.Info.RolesKnown {
		return false
	}
	q, here, swapped := c.detectSides(dir, data)
	if q == nil || s.more && here != Yes {
		return false
	}
	all := append(s.buf[:len(s.buf):len(s.buf)], data...)
	probe := len(s.buf) == 1 && !c.Info.Began[dir] // a keep-alive may repeat the last byte of an earlier message
	switch p, v, _ := c.detectSides(dir, all); {
	case probe && here == Yes && c.sideVerdict(q, dir, swapped, all) < Yes:
		return true
	case p != nil || v == More && (here != Yes || c.sideVerdict(q, dir, swapped, all) != No):
		s.need = 0
		return false
	}
	return true
}

// restart skips the waiting bytes of a side up to a later segment with which a protocol begins,
// if there is one.
func (c *Conn) restart(dir Dir) bool {
	s := &c.sides[dir]
	for i := 1; i < min(len(s.segs), detectSegments); i++ {
		at := int(s.segs[i].off - s.off)
		if at <= 0 || at >= len(s.buf) {
			continue
		}
		if p, _, _ := c.detectSides(dir, s.buf[at:]); p != nil {
			c.discard(dir, at)
			s.need, s.examined = 0, 0
			return true
		}
	}
	return false
}

// minDetect is the number of bytes below which no match is not yet final.
const minDetect = 4

func (c *Conn) flip() {
	c.flipped = !c.flipped
	c.Info.ClientPort, c.Info.ServerPort = c.Info.ServerPort, c.Info.ClientPort
	c.Info.Began[0], c.Info.Began[1] = c.Info.Began[1], c.Info.Began[0]
	c.sides[0], c.sides[1] = c.sides[1], c.sides[0]
	c.last = c.last.Other()
	if l := c.left; l != nil {
		l[0], l[1] = l[1], l[0]
	}
	if u := c.unknown; u != nil {
		u.x.req, u.x.resp = u.x.resp, u.x.req
		u.sides[0], u.sides[1] = u.sides[1], u.sides[0]
	}
}

// findProtocol returns the first protocol that answers Yes, else the first that answers Likely;
// protocols hinted by the ports come first. Without a protocol the verdict is More or No.
// swapped means that dir is opposite to the connection's current direction.
func (c *Conn) findProtocol(dir Dir, swapped bool, head []byte) (p *Protocol, v Verdict) {
	t := c.Info.Transport
	for _, port := range [2]uint16{c.Info.ServerPort, c.Info.ClientPort} {
		for _, q := range c.engine.byPort[t][port] {
			switch w := c.verdict(q, dir, swapped, head); {
			case w == Likely && swapped: // the port contradicts it
				return q, Likely
			case w >= Likely: // the port supports it
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
		switch w := c.verdict(q, dir, swapped, head); {
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

// verdict is p's answer about the first bytes of a direction in the connection's current state.
func (c *Conn) verdict(p *Protocol, dir Dir, swapped bool, head []byte) Verdict {
	v := p.Detect(dir, head)
	if v != Likely {
		return v
	}
	atStart := c.Info.RolesKnown && c.parent == nil && c.sides[dir].off == 0
	if p.Prefaced && atStart && p.Detect(dir.Other(), head) != Yes || slices.Contains(c.refused, refusal{p, c.flipped != swapped}) {
		return No
	}
	return v
}

// sideVerdict is verdict for the side that sends in dir, which detectSides may have swapped.
func (c *Conn) sideVerdict(p *Protocol, dir Dir, swapped bool, head []byte) Verdict {
	if swapped {
		dir = dir.Other()
	}
	return c.verdict(p, dir, swapped, head)
}

// resumes is the answer of an already identified protocol about the bytes after a gap.
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
	if c.expectedBegins() {
		return true
	}
	if p, v, swapped := c.detectSides(dir, data); p != nil {
		c.accept(p, v, dir, data, swapped)
		return true
	}
	if p := c.findByPort(dir, data); p != nil {
		c.begin(p, Yes)
		return true
	}
	return c.detectLast(dir, data, Yes) || c.detectLast(dir, data, Likely)
}

// detectLast begins the first protocol whose DetectLast gives this answer.
func (c *Conn) detectLast(dir Dir, data []byte, want Verdict) bool {
	p := c.findLast(dir, data, want)
	if p != nil {
		c.beginLast(p, want, dir, data)
	}
	return p != nil
}

// findLast returns the first protocol whose DetectLast gives this answer.
func (c *Conn) findLast(dir Dir, data []byte, want Verdict) *Protocol {
	for _, p := range c.engine.byKind[c.Info.Transport] {
		if p.DetectLast != nil && p.DetectLast(dir, data) == want && !slices.Contains(c.refused, refusal{p, c.flipped}) {
			return p
		}
	}
	return nil
}

// beginLast begins a protocol that findLast returned for these bytes.
func (c *Conn) beginLast(p *Protocol, v Verdict, dir Dir, data []byte) {
	if c.accept(p, v, dir, data, false); c.claim != nil {
		c.claim.trial = true
	}
}

// findByPort returns the protocol that the port alone makes likely, see DetectOnPort.
func (c *Conn) findByPort(dir Dir, head []byte) *Protocol {
	for _, port := range [2]uint16{c.Info.ServerPort, c.Info.ClientPort} {
		for _, q := range c.engine.byPort[c.Info.Transport][port] {
			if q.DetectOnPort != nil && q.DetectOnPort(dir, head) == Yes {
				return q
			}
		}
	}
	return nil
}

// redetect examines later bytes of a conversation that its first bytes did not identify: its
// first segments, and every segment after a change of direction, because a message begins there.
func (c *Conn) redetect(dir Dir, data []byte) bool {
	s := &c.sides[dir]
	turn := dir != c.last
	c.last = dir
	if s.looks++; s.looks > detectSegments && !turn {
		return false
	}
	p, v, swapped := c.detectSides(dir, data)
	if p == nil && turn && !datagrams(c.Info.Transport) && !c.Info.RolesKnown { // the end of a message may have come before it
		if p = c.findByPort(dir, data); p != nil {
			v, swapped = Yes, false
		}
	}
	if p == nil {
		return datagrams(c.Info.Transport) && s.looks <= detectSegments && c.detectLast(dir, data, Likely)
	}
	c.accept(p, v, dir, data, swapped)
	return true
}
