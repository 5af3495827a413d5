package flow

import (
	"hash/maphash"

	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// Two tenants may use the same addresses and ports at the same time, in different networks. So a packet belongs to the
// conversation of its ends that is known in its network (Packet.network). A conversation becomes known in another
// network only by evidence in a packet from there:
//
//   - It is the answer: the other direction is known in this very network, or the packet
//     acknowledges what only the conversation sent. Geneve, GTP-U, MPLS and asymmetric VLANs
//     use a different network in each direction.
//   - It is a packet that the conversation has already shown: before and after
//     encapsulation, or at two places. TCP shows that by its numbers, anything else by an
//     equal payload within a second.
//
// Otherwise the packet opens a new conversation. A SYN alone is weak evidence, because some stacks and most generators
// count initial sequence numbers from a constant. So the first payload of both is compared too; if it differs, the
// network leaves the conversation.
//
// LIMIT: a datagram conversation whose first packets were lost in one of two networks is
// not recognized there later, and is then two conversations.

// Limits of one conversation and of the search for it.
const (
	maxNetworks  = 16          // networks in which one conversation is known, each direction counted
	maxSearched  = 8           // conversations of equal ends that a packet from an unknown network is compared with
	numberSlack  = 1 << 20     // distance in bytes at which a segment still continues the last one
	answerSlack  = int64(10e9) // ns within which a datagram from an unknown network answers
	networkSlack = int64(1e9)  // ns within which another network shows the same packet
	openingBytes = 16          // of a direction's first payload, kept to compare payloads of unequal length
	noSlot       = uint8(1<<8 - 1)
)

// networks are those in which one conversation is known. Slot 0 is the first, the others are those in which the same
// packets were seen again.
type networks struct {
	id      [2]uint64 // of slot 0, by the direction in the key
	known   [2]bool
	slots   uint8      // in addition to slot 0
	proven  uint16     // bit n: the first payload of slot n is that of another slot
	more    []network  // of all other slots, and of slot 0 if it changed
	opening [2]opening // by the direction in the key

	group        *group // nil while no other conversation has the same ends
	older, newer *Conn  // of the group
}

type network struct {
	id   uint64
	side uint8
	slot uint8
}

// group are the conversations of the same ends in different networks.
type group struct{ by map[groupKey]*Conn }

type groupKey struct {
	id   uint64
	side uint8
}

// opening is a direction's first payload.
type opening struct {
	sum  uint64
	seq  uint32
	size int // captured
	head [openingBytes]byte
	slot uint8
	set  bool
}

func sideOf(srcIsLo bool) uint8 {
	if srcIsLo {
		return 0
	}
	return 1
}

// find returns the conversation that the packet belongs to, nil if there is none yet,
// and the slot of its network.
func (s *Shard) find(k key, p *Packet, srcIsLo bool) (c *Conn, slot uint8) {
	c = s.conns[k]
	if c == nil {
		return nil, 0
	}
	side := sideOf(srcIsLo)
	if n := &c.nets; n.known[side] && n.id[side] == p.network() { // most packets
		slot = 0
	} else if c, slot = s.findNetwork(c, p, side); c == nil {
		return nil, 0
	}
	if p.PayloadLen > 0 && p.View == nil && c.transport == dissect.TCP && len(c.nets.more) > 0 && c.contradicts(p, side, slot) {
		return s.leave(c, k, p, srcIsLo, slot)
	}
	return c, slot
}

// findNetwork looks for the packet's network among the conversations of its ends, of
// which first is the newest.
func (s *Shard) findNetwork(first *Conn, p *Packet, side uint8) (*Conn, uint8) {
	for _, from := range [2]uint8{side, side ^ 1} {
		c := first
		if g := first.nets.group; g != nil {
			c = g.by[groupKey{p.network(), from}]
		}
		if c == nil {
			continue
		}
		if slot := c.nets.slotOf(p.network(), from); slot != noSlot {
			if p.View == nil {
				c.learn(p.Network, side, slot)
			}
			return c, slot
		}
	}
	return s.recognize(first, nil, p, side)
}

// recognize looks for the conversation for which the packet has evidence; not is one that it contradicted.
func (s *Shard) recognize(first, not *Conn, p *Packet, side uint8) (*Conn, uint8) {
	var waiting *Conn
	several := false
	for c, n := first, 0; c != nil && n < maxSearched; c, n = c.nets.older, n+1 {
		dir := c.dirOf(side)
		switch {
		case c == not:
		case c.showed(dir, p):
			slot := c.nets.newSlot()
			c.learn(p.network(), side, slot)
			return c, slot
		case c.answeredBy(dir, p):
			several = several || waiting != nil
			waiting = c // the one that waits longest
		}
	}
	if waiting == nil {
		return nil, 0
	}
	if several {
		s.anomaly(waiting.flows[0], packetRef(p), "ip", "network_guessed", "an answer in a network of its own fits several conversations of these addresses and ports; the one that waited longest has it", 0)
	}
	slot := uint8(0)
	if waiting.nets.known[side] {
		slot = waiting.nets.newSlot()
	}
	waiting.learn(p.network(), side, slot)
	return waiting, slot
}

func (c *Conn) dirOf(side uint8) dissect.Dir {
	if (side == 0) == c.srcIsLo {
		return dissect.ToServer
	}
	return dissect.ToClient
}

func (n *networks) slotOf(id uint64, side uint8) uint8 {
	if n.known[side] && n.id[side] == id {
		return 0
	}
	for _, m := range n.more {
		if m.id == id && m.side == side {
			return m.slot
		}
	}
	return noSlot
}

// newSlot is a slot for another place that shows the conversation. Beyond the limit the
// last place has them all.
func (n *networks) newSlot() uint8 {
	if n.slots < maxNetworks-1 {
		n.slots++
	}
	return n.slots
}

// learn records that a direction of the conversation is known in a network.
func (c *Conn) learn(id uint64, side, slot uint8) {
	n := &c.nets
	if n.slotOf(id, side) != noSlot {
		return
	}
	switch {
	case slot == 0 && !n.known[side]:
		n.id[side], n.known[side] = id, true
	case len(n.more) >= maxNetworks:
		c.forgetNetwork(n.more[0])
		n.more = append(n.more[:0], n.more[1:]...)
		fallthrough
	default:
		n.more = append(n.more, network{id, side, slot})
	}
	if n.group != nil {
		n.group.by[groupKey{id, side}] = c
	}
}

func (c *Conn) forgetNetwork(m network) {
	if g := c.nets.group; g != nil && g.by[groupKey{m.id, m.side}] == c {
		delete(g.by, groupKey{m.id, m.side})
	}
}

// each calls f with every network of the conversation.
func (n *networks) each(f func(network)) {
	for side, known := range n.known {
		if known {
			f(network{n.id[side], uint8(side), 0})
		}
	}
	for _, m := range n.more {
		f(m)
	}
}

// enroll makes a new conversation the newest of its ends.
func (s *Shard) enroll(c *Conn, id uint64, side uint8) {
	if old := s.conns[c.key]; old != nil {
		if old.nets.group == nil {
			old.nets.group = &group{by: map[groupKey]*Conn{}}
			old.nets.each(func(m network) { old.nets.group.by[groupKey{m.id, m.side}] = old })
		}
		c.nets.group, c.nets.older, old.nets.newer = old.nets.group, old, c
	}
	s.conns[c.key] = c
	c.learn(id, side, 0)
}

// withdraw removes an ended conversation from those of its ends.
func (s *Shard) withdraw(c *Conn) {
	n := &c.nets
	n.each(c.forgetNetwork)
	if n.older != nil {
		n.older.nets.newer = n.newer
	}
	switch {
	case n.newer != nil:
		n.newer.nets.older = n.older
	case n.older != nil:
		s.conns[c.key] = n.older
	case s.conns[c.key] == c:
		delete(s.conns, c.key)
	}
	n.group, n.older, n.newer = nil, nil, nil
}

// showed reports whether the conversation has shown the packet in another network, or the packet begins exactly at its
// next byte.
func (c *Conn) showed(dir dissect.Dir, p *Packet) bool {
	if c.transport != dissect.TCP {
		return c.spoke&(1<<dir) != 0 && c.sentBefore(dir, p)
	}
	if p.TCPFlags&(decode.SYN|decode.RST) == decode.SYN {
		if !c.hasISN[dir] {
			return c.lostSYN(dir, p)
		}
		return c.isn[dir] == p.Seq && c.showedSYN(dir, p)
	}
	if o := &c.nets.opening[sideOf((dir == dissect.ToServer) == c.srcIsLo)]; o.set && p.PayloadLen > 0 && o.seq == p.Seq && !o.equal(p) {
		return false
	}
	return c.spoke&(1<<dir) != 0 && c.continues(dir, p)
}

// lostSYN reports whether the conversation begins with what follows this SYN or SYN-ACK, in both directions: only this
// network shows it.
func (c *Conn) lostSYN(dir dissect.Dir, p *Packet) bool {
	if other := dir.Other(); p.TCPFlags&decode.ACK != 0 && c.hasSeq[other] && c.firstSeq[other] != p.Ack {
		return false
	}
	return c.hasSeq[dir] && c.firstSeq[dir] == p.Seq+1 && p.Time-c.first < networkSlack && c.first-p.Time < networkSlack
}

// showedSYN reports whether a flow saw the same SYN or SYN-ACK within a second.
func (c *Conn) showedSYN(dir dissect.Dir, p *Packet) bool {
	for _, f := range c.flows {
		at, d := f.syn, &f.side[dir]
		if p.TCPFlags&decode.ACK != 0 {
			at = f.synAck
		}
		if since := p.Time - at; at == 0 || since >= networkSlack || since <= -networkSlack || d.mss != p.MSS || d.wscale != p.WScale {
			continue
		}
		if g := &f.firstSig; f.signed && g.seq == p.Seq && g.flags == p.TCPFlags && (g.ipid != p.IPID || g.tsval != p.TSVal) {
			continue
		}
		return true
	}
	return false
}

// continues reports whether both numbers of a segment are close to those of the conversation. With random numbers, this
// is true of one in 2^22 segments of another conversation.
func (c *Conn) continues(dir dissect.Dir, p *Packet) bool {
	for _, f := range c.flows {
		mine, other := &f.side[dir], &f.side[dir.Other()]
		from, ok := mine.next, mine.started
		if !ok && other.hasAck {
			from, ok = other.lastAck, true
		}
		if !ok || !near(p.Seq, from) {
			continue
		}
		if p.TCPFlags&decode.ACK == 0 {
			if p.Seq == from { // a reset has no second number
				return true
			}
			continue
		}
		to, ok := other.next, other.started
		if !ok && mine.hasAck {
			to, ok = mine.lastAck, true
		}
		if ok && near(p.Ack, to) {
			return true
		}
	}
	return false
}

func near(a, b uint32) bool {
	d := int32(a - b)
	return d < numberSlack && d > -numberSlack
}

// answeredBy reports whether the packet answers a conversation of which only the other
// direction was seen.
func (c *Conn) answeredBy(dir dissect.Dir, p *Packet) bool {
	if c.spoke != 1<<dir.Other() {
		return false
	}
	if c.transport != dissect.TCP {
		since := p.Time - c.last
		return since < answerSlack && since > -networkSlack
	}
	if p.TCPFlags&decode.SYN != 0 {
		asked, seq := dir.Other(), c.firstSeq[dir.Other()]
		if c.hasISN[asked] {
			seq = c.isn[asked] + 1
		}
		return p.TCPFlags&decode.ACK != 0 && (c.hasISN[asked] || c.hasSeq[asked]) && p.Ack == seq
	}
	return c.continues(dir, p)
}

// contradicts compares a segment with the first payload of its direction, if another place has shown that, and reports
// whether the bytes differ.
func (c *Conn) contradicts(p *Packet, side, slot uint8) bool {
	n := &c.nets
	o := &n.opening[side]
	if !o.set || o.slot == slot || n.proven>>slot&1 != 0 || o.seq != p.Seq {
		return false
	}
	if !o.equal(p) {
		return true
	}
	n.proven |= 1 << slot
	return false
}

// open records a direction's first payload.
func (n *networks) open(p *Packet, side, slot uint8) {
	o := &n.opening[side]
	if o.set || len(p.Payload) == 0 || p.Proto != protoTCP {
		return
	}
	*o = opening{seq: p.Seq, sum: maphash.Bytes(sums, p.Payload), size: len(p.Payload), slot: slot, set: true}
	copy(o.head[:], p.Payload)
}

// equal reports whether the packet's payload can be the opening's, cut elsewhere.
func (o *opening) equal(p *Packet) bool {
	if len(p.Payload) == o.size {
		return maphash.Bytes(sums, p.Payload) == o.sum
	}
	n := min(len(p.Payload), o.size, openingBytes)
	return string(p.Payload[:n]) == string(o.head[:n])
}

// leave handles a slot whose payload shows that its networks never belonged to the conversation: it moves them to a
// conversation that they fit, else to a new one. What the handshake showed remains valid there.
func (s *Shard) leave(c *Conn, k key, p *Packet, srcIsLo bool, slot uint8) (*Conn, uint8) {
	n := &c.nets
	var gone []network
	n.each(func(m network) {
		if m.slot == slot {
			c.forgetNetwork(m)
			gone = append(gone, m)
		}
	})
	if slot == 0 {
		n.known = [2]bool{}
	}
	kept := n.more[:0]
	for _, m := range n.more {
		if m.slot != slot {
			kept = append(kept, m)
		}
	}
	n.more = kept
	d, slot := s.recognize(s.conns[k], c, p, sideOf(srcIsLo))
	if d == nil {
		d, slot = s.open(k, p, srcIsLo), 0
		d.client, d.server, d.srcIsLo, d.role, d.isn, d.hasISN = c.client, c.server, c.srcIsLo, c.role, c.isn, c.hasISN
	}
	for _, m := range gone {
		d.learn(m.id, m.side, slot)
	}
	return d, slot
}
