package dissect

import (
	"fmt"
	"slices"
)

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

// displaced begins the protocol of the conversation's port instead of another one, which cannot
// read this datagram: the sender of the first datagram must not decide how all others are read.
func (c *Conn) displaced(dir Dir, data []byte) bool {
	byPort := c.engine.byPort[c.Info.Transport]
	for _, port := range [2]uint16{c.Info.ServerPort, c.Info.ClientPort} {
		if slices.Contains(byPort[port], c.proto) {
			return false
		}
		for _, q := range byPort[port] {
			if c.verdict(q, dir, false, data) >= Likely {
				c.displace("this one is not; it and those after it are read as "+q.Name+", the protocol of the port", func() { c.begin(q, Yes) })
				return true
			}
		}
	}
	return false
}

// doubted begins the protocol that a datagram shows instead of one that nothing has proven, see Protocol.Doubts. On the
// ports of the unproven protocol its encrypted datagrams are not searched for others.
func (c *Conn) doubted(dir Dir, data []byte) bool {
	if c.proto.Doubts == nil || !c.proto.Doubts(c.d, data) {
		return false
	}
	byPort := c.engine.byPort[c.Info.Transport]
	if slices.Contains(byPort[c.Info.ServerPort], c.proto) || slices.Contains(byPort[c.Info.ClientPort], c.proto) {
		return false
	}
	q, v, swapped := c.detectSides(dir, data)
	if q == nil {
		q, v = c.findByPort(dir, data), Yes
	}
	if q == nil || q == c.proto {
		return false
	}
	why := "nothing proves it; this datagram and those after it are read as " + q.Name
	if c.claim != nil {
		c.withdraw(why) // and its protocol is not detected again
		return true
	}
	c.displace(why, func() { c.accept(q, v, dir, data, swapped) })
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
