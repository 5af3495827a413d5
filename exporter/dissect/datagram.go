package dissect

import (
	"fmt"
	"slices"
)

// datagramState is what is known of the datagram that is being read.
type datagramState struct {
	doubtful bool // the capture has only its beginning, or it is malformed
	answers  bool // it answers a call
}

// datagram passes one datagram to the dissector, which must consume all of it.
func (c *Conn) datagram(dir Dir, data []byte, p Packet) {
	sent := dir
	if c.flipped {
		dir = dir.Other()
	}
	was := c.flipped
	if c.state != reading {
		if c.state == detecting && len(data) > 0 && !c.detectDatagram(dir, data) {
			c.giveUp()
		} else if c.state == skipping {
			c.redetect(dir, data)
		}
		if c.state == skipping {
			c.skip(dir, data, p)
			return
		}
		if c.flipped != was {
			dir = dir.Other()
		}
	}
	if c.d == nil {
		return
	}
	if c.doubted(dir, data) {
		c.datagram(sent, data, p)
		return
	}
	s := &c.sides[dir]
	c.arrived(s, p)
	in := c.engine.input()
	defer c.engine.inputDone()
	*in = Input{Dir: dir, Data: data, Datagram: true, conn: c, base: s.off, segs: s.segs}
	n, err := c.d.Read(in)
	if c.claim != nil {
		if err != nil && p.Cut == 0 { // what is missing of a cut datagram may be what its protocol lacks
			c.withdraw(err.Error())
			c.datagram(sent, data, p) // another protocol may begin here
			return
		}
		c.claim.u.add(in, n)
	}
	if n < 0 || n > len(data) {
		panic(fmt.Sprintf("dissect: %s took %d of %d bytes", c.proto.Name, n, len(data)))
	}
	if err != nil && n == 0 && c.displaced(dir, data) {
		c.datagram(sent, data, p)
		return
	}
	c.RowBytes += int64(n)
	if left := len(data) - n; left > 0 || err != nil {
		c.AnomalyBytes += int64(left)
		what := fmt.Sprintf("%d bytes after the message", left)
		if err != nil {
			what = err.Error()
		}
		c.Anomaly("malformed", what, int64(left))
	}
	s.off += int64(len(data))
}

// portsFor reports whether one of the ports is a protocol's own, and whether the other one is another protocol's. Then the
// ports prove nothing: an attacker who forges a datagram chooses both.
func (c *Conn) portsFor(p *Protocol) (own, disputed bool) {
	byPort := c.engine.byPort[c.Info.Transport]
	for _, port := range [2]uint16{c.Info.ServerPort, c.Info.ClientPort} {
		if slices.Contains(byPort[port], p) {
			own = true
		} else if len(byPort[port]) > 0 {
			disputed = true
		}
	}
	return own, disputed
}

// displaced begins the protocol of one of the conversation's ports instead of another one, which cannot
// read this datagram: the sender of the first datagram must not decide how all others are read. A protocol on its own
// port stays, unless the other port is another one's and it has no row yet.
func (c *Conn) displaced(dir Dir, data []byte) bool {
	if own, disputed := c.portsFor(c.proto); own && (!disputed || c.root().calls > 0) {
		return false
	}
	byPort := c.engine.byPort[c.Info.Transport]
	for _, port := range [2]uint16{c.Info.ServerPort, c.Info.ClientPort} {
		for _, q := range byPort[port] {
			if q != c.proto && c.verdict(q, dir, false, data) >= Likely {
				c.displace("this one is not; it and those after it are read as "+q.Name+", the protocol of the port", func() { c.begin(q, Yes) })
				return true
			}
		}
	}
	return false
}

// doubted begins the protocol that a datagram shows instead of one that nothing has proven, see Protocol.Doubts.
func (c *Conn) doubted(dir Dir, data []byte) bool {
	if c.proto.Doubts == nil {
		return false
	}
	doubt := c.proto.Doubts(c.d, data)
	if doubt < Likely {
		return false
	}
	q, v, swapped := c.detectSides(dir, data)
	if own, disputed := c.portsFor(c.proto); own && !disputed && doubt == Likely && v != Yes {
		q = nil
	}
	begin := func() { c.accept(q, v, dir, data, swapped) }
	if q == nil {
		if q, v, swapped = c.findByPort(dir, data), Yes, false; q == nil || q == c.proto {
			q, v = c.findLast(dir, data, Likely), Likely
			begin = func() { c.beginLast(q, v, dir, data) }
		}
	}
	if q == nil || q == c.proto {
		return false
	}
	why := "nothing proves it; this datagram and those after it are read as " + q.Name
	if c.claim != nil {
		c.withdraw(why) // and its protocol is not detected again
		return true
	}
	c.displace(why, begin)
	return true
}

// displace ends the protocol of the first datagrams, and begins another one.
func (c *Conn) displace(why string, begin func()) {
	c.Anomaly("displaced", "the first datagrams were read as "+c.proto.Name+"; "+why, 0)
	old := c.d
	c.d = nil
	old.Close(EndUpgrade)
	begin()
}
