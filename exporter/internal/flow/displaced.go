package flow

import (
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// A forged handshake with other sequence numbers looks like that of a new connection on ports used again, but both ends
// continue the open connection (RFC 5961 section 4). So if an answered SYN takes the ports of an open connection, that
// connection waits next to the new one for a while. A packet that continues its numbers, and not those of the new one,
// belongs to it.

// maxDisplaced is how many connections may wait next to one that took their ports: a packet that does not continue the
// newest one is compared with each. Their memory has the limit of all connections, see Shard.limit.
const maxDisplaced = 256

// repeats reports whether the packet is a SYN with the number of c's own.
func (c *Conn) repeats(p *Packet, srcIsLo bool) bool {
	dir := c.dirOf(sideOf(srcIsLo))
	return c.hasISN[dir] && c.isn[dir] == p.Seq
}

// over reports whether a connection has ended for both of its ends.
func (c *Conn) over() bool { return c.reset || c.ended[0] && c.ended[1] }

// displace takes the ports of an open connection for another one.
func (s *Shard) displace(c *Conn, at dissect.Packet) {
	s.withdraw(c)
	c.forgetSYNs(&c.pending)
	c.early = nil
	c.beside, c.displacedAt = true, s.newest(c, at)
	c.list.remove(c)
	c.list = &s.closing
	c.list.push(c)
	c.touched = s.now
	n, give := 0, c // what is given up beyond the limit: one without payload, else the oldest
	for d := c; d != nil; d = d.nextBeside() {
		if n++; give.d != nil {
			give = d
		}
	}
	if n > maxDisplaced {
		if !c.crowded {
			c.crowded = true
			s.odd(give, give.flows[0], at, "limit", fmt.Sprintf("more than %d connections used these ports within a minute: a copy of an older one that another interface shows later counts as another connection", maxDisplaced), 0)
		}
		s.end(give, dissect.EndReuse, at)
	}
}

// nextBeside is the connection that c displaced, or one that this displaced, if it is open.
func (c *Conn) nextBeside() *Conn {
	for c.displaced != nil && c.displaced.list == nil {
		c.displaced = c.displaced.displaced
	}
	return c.displaced
}

// continued returns the waiting connection that the packet continues, or c itself, and the slot of its network.
func (s *Shard) continued(c *Conn, slot uint8, p *Packet, srcIsLo bool) (*Conn, uint8) {
	side := sideOf(srcIsLo)
	if dir := c.dirOf(side); p.TCPFlags&decode.SYN == 0 && c.expects(dir, p) && c.continues(dir, p) {
		return c, slot
	}
	for d := c.nextBeside(); d != nil; d = d.nextBeside() {
		known := d.nets.slotOf(p.network(), side)
		if known == noSlot || !d.owns(p, d.dirOf(side), c, c.dirOf(side)) {
			continue
		}
		if !d.wentOn && !d.over() {
			d.wentOn = true
			for _, of := range [...]*Conn{d, c} {
				s.odd(of, of.flows[0], packetRef(p), "ports_shared", "a complete handshake began a connection on the ports of an open one, which continues: one of the two is forged", 0)
			}
		}
		return d, known
	}
	return c, slot
}

// owns reports whether a packet belongs to the displaced connection c, rather than to other.
func (c *Conn) owns(p *Packet, dir dissect.Dir, other *Conn, otherDir dissect.Dir) bool {
	if p.TCPFlags&decode.SYN == 0 && c.over() {
		return c.inside(dir, p.Seq) && (p.TCPFlags&decode.ACK == 0 || c.inside(dir.Other(), p.Ack)) && !other.expects(otherDir, p)
	}
	if p.TCPFlags&decode.SYN != 0 {
		return c.hasISN[dir] && c.isn[dir] == p.Seq && (p.TCPFlags&decode.ACK == 0 || c.inside(dir.Other(), p.Ack)) && !(other.hasISN[otherDir] && other.isn[otherDir] == p.Seq)
	}
	return c.continues(dir, p) && (!other.continues(otherDir, p) || c.expects(dir, p) && !other.expects(otherDir, p))
}

// inside reports whether direction dir has sent the byte before a sequence number. The numbers of another connection on
// the same ports are higher than those of one that has ended (RFC 9293 section 3.6.1).
func (c *Conn) inside(dir dissect.Dir, seq uint32) bool {
	from, known := c.begins(dir)
	if !known || c.stream == nil {
		return false
	}
	_, to, ok := c.stream.Place(uint8(dir))
	return ok && to-seq <= min(to-from, maxWindow)
}

// begins is the first number that direction dir was seen to use.
func (c *Conn) begins(dir dissect.Dir) (seq uint32, known bool) {
	if c.hasISN[dir] {
		return c.isn[dir], true
	}
	return c.firstSeq[dir], c.hasSeq[dir]
}

// expects reports whether the packet begins exactly at the next byte of its direction or, if none of them was seen, at
// the one that its receiver acknowledged.
func (c *Conn) expects(dir dissect.Dir, p *Packet) bool {
	d, o := &c.flows[0].side[dir], &c.flows[0].side[dir.Other()]
	return d.started && d.next == p.Seq || !d.started && o.hasAck && o.lastAck == p.Seq
}

// restore returns the ports of an ended connection to the newest one that waits for them.
func (s *Shard) restore(c *Conn) {
	if c.beside {
		return
	}
	for d := c.nextBeside(); d != nil; d = d.nextBeside() {
		for side, known := range d.nets.known {
			if known {
				d.beside = false
				s.enroll(d, d.nets.id[side], uint8(side))
				return
			}
		}
	}
}
