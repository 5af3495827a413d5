package dissect

// detect asks the protocols about the first bytes of a direction. It answers true when
// one was told (c.state is reading) and false when more bytes are wanted or none fits
// (c.state may then be skipping).
func (c *Conn) detect(dir Dir, head []byte) bool {
	p, more := c.ask(dir, head)
	if p == nil && !c.Info.RolesKnown && dir == ToServer && c.sides[ToClient].off == 0 && len(c.sides[ToClient].buf) == 0 {
		// The capture began in mid-connection: the first sender may be the server.
		if q, m := c.ask(ToClient, head); q != nil {
			c.flip()
			c.begin(q)
			return true
		} else if m {
			more = true
		}
	}
	if p != nil {
		c.begin(p)
		return true
	}
	other := &c.sides[dir.Other()]
	if more || len(head) < minDetect && !c.sides[dir].ended {
		return false
	}
	if p := c.askPort(dir, head); p != nil {
		c.begin(p)
		return true
	}
	if c.restart(dir) {
		return false
	}
	// Nothing fits this side. The other side may still tell, unless it has spoken too.
	if len(other.buf) > 0 || other.ended || len(head) >= detectBuffered/2 {
		c.giveUp()
	}
	return false
}

// beginsHere reports whether a protocol begins with this segment while what was kept of
// its side fits none: the end of a message that began before the capture.
func (c *Conn) beginsHere(dir Dir, data []byte) bool {
	if p, more := c.ask(dir, c.sides[dir].buf); p != nil || more {
		return false
	}
	p, _ := c.ask(dir, data)
	return p != nil
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
		if p, _ := c.ask(dir, s.buf[at:]); p != nil {
			c.skipSegs(dir, s.buf[:at], s.off, s.segs)
			c.drop(s, at)
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
}

// ask returns the first protocol that says Yes; those hinted by the ports come first.
func (c *Conn) ask(dir Dir, head []byte) (p *Protocol, more bool) {
	t := c.Info.Transport
	for _, port := range [2]uint16{c.Info.ServerPort, c.Info.ClientPort} {
		for _, q := range c.engine.byPort[t][port] {
			switch q.Detect(dir, head) {
			case Yes:
				return q, false
			case More:
				more = true
			}
		}
	}
	if more { // a hinted protocol is still possible
		return nil, true
	}
	for _, q := range c.engine.byKind[t] {
		switch q.Detect(dir, head) {
		case Yes:
			return q, false
		case More:
			more = true
		}
	}
	return nil, more
}

func (c *Conn) detectDatagram(dir Dir, data []byte) bool {
	if p, _ := c.ask(dir, data); p != nil {
		c.begin(p)
		return true
	}
	if !c.Info.RolesKnown && dir == ToServer {
		if p, _ := c.ask(ToClient, data); p != nil {
			c.flip()
			c.begin(p)
			return true
		}
	}
	if p := c.askPort(dir, data); p != nil {
		c.begin(p)
		return true
	}
	for _, p := range c.engine.byKind[c.Info.Transport] {
		if p.DetectLast != nil && p.DetectLast(dir, data) == Yes {
			c.begin(p)
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

// again looks at a later datagram of a conversation that was not told by its first.
func (c *Conn) again(dir Dir, data []byte) {
	s := &c.sides[dir]
	if s.looks++; s.looks > detectSegments {
		return
	}
	if p, _ := c.ask(dir, data); p != nil {
		c.state = detecting
		c.begin(p)
	}
}
