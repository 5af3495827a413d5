package flow

import (
	"hash/maphash"
	"slices"

	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// Limits of the search for copies of a datagram.
const (
	firstCopies = 256            // datagrams that a shard remembers at first
	maxCopies   = 8192           // datagrams that it remembers at most, as many as may lie between two copies
	copyCost    = 128            // memory of one, in bytes
	maxQuoted   = 256            // newest datagrams of a conversation that an ICMP error may quote
	maxEqual    = 16             // equal datagrams of a conversation that are compared
	copySlack   = int64(1_000e6) // ns within which another interface shows the same datagram
	clockSlack  = int64(30e9)    // the same if another clock stamped it, and the IP identification or the clocks' difference proves it
	reportSlack = int64(60e9)    // ns within which an ICMP error reports that a datagram was not delivered: a router may wait for fragments that long
)

// datagrams are those that a shard dissected last.
type datagrams struct {
	ring   []sent
	count  uint64                 // so far
	newest map[datagramKey]uint64 // 1 + the number of the newest one with this key
}

// datagramKey has the fields in which copies of a datagram are equal.
type datagramKey struct {
	conn uint64 // serial number
	sum  uint64
	len  int32
	dir  dissect.Dir
}

// sent is a datagram that was dissected.
type sent struct {
	key    datagramKey
	before uint64 // 1 + the number of the one before with this key, 0 if there is none
	prior  uint64 // the same for the one before of this conversation
	at     int64
	no     int64 // of its packet
	ipid   uint32
	clock  int32
	ttl    uint8
	failed bool   // an ICMP error reports that it was not delivered
	seenBy uint32 // bits 2n and 2n+1: flow n has shown it, and has shown it coming in
}

// sums is secret, so that two payloads that count as equal cannot be forged, as with a CRC.
var sums = maphash.MakeSeed()

func (c *Conn) datagramKey(dir dissect.Dir, p *Packet) datagramKey {
	return datagramKey{c.serial, maphash.Bytes(sums, p.Payload), p.PayloadLen, dir}
}

// numbered is the datagram with 1 + its number, or nil if there is none or it was forgotten.
func (d *datagrams) numbered(no uint64) *sent {
	if no == 0 || d.count-no >= uint64(len(d.ring)) {
		return nil
	}
	return &d.ring[(no-1)%uint64(len(d.ring))]
}

// find calls f with remembered datagrams of a key, newest first, until it returns false.
func (d *datagrams) find(k datagramKey, f func(*sent) bool) {
	x := d.numbered(d.newest[k])
	for n := 0; n < maxEqual && x != nil && f(x); n++ {
		x = d.numbered(x.before)
	}
}

// of calls f with remembered datagrams of a conversation, newest first, until it returns false.
func (d *datagrams) of(c *Conn, f func(*sent) bool) {
	x := d.numbered(c.newest)
	for n := 0; n < maxQuoted && x != nil && x.key.conn == c.serial && f(x); n++ { // after drop, its number may be another's
		x = d.numbered(x.prior)
	}
}

// repeated reports whether a direction of a conversation repeated a datagram since another one was sent.
func (d *datagrams) repeated(c *Conn, dir dissect.Dir, since *sent) (found bool) {
	d.of(c, func(x *sent) bool {
		found = x.key.dir == dir && x.before != 0
		return !found && x != since
	})
	return found
}

// add remembers a datagram of a conversation; it forgets the oldest one if there is no more room.
func (d *datagrams) add(c *Conn, x sent) {
	x.before, x.prior = d.newest[x.key], c.newest
	slot := &d.ring[d.count%uint64(len(d.ring))]
	if old := d.count - uint64(len(d.ring)); d.count >= uint64(len(d.ring)) && d.newest[slot.key] == old+1 {
		delete(d.newest, slot.key)
	}
	*slot = x
	d.count++
	d.newest[x.key], c.newest = d.count, d.count
}

// grow doubles the ring before it would overwrite the first datagram. It returns the additional memory.
func (d *datagrams) grow() (cost int) {
	if d.count < uint64(len(d.ring)) || len(d.ring) >= maxCopies {
		return 0
	}
	if d.newest == nil {
		d.newest = map[datagramKey]uint64{}
	}
	size := max(2*len(d.ring), firstCopies)
	cost = (size - len(d.ring)) * copyCost
	d.ring = append(make([]sent, 0, size), d.ring...)[:size]
	return cost
}

// drop forgets everything and returns the memory that was freed.
func (d *datagrams) drop() (cost int) {
	cost = len(d.ring) * copyCost
	*d = datagrams{}
	return cost
}

func (s *Shard) datagram(c *Conn, f *Flow, dir dissect.Dir, p *Packet) {
	f.count(dir, p)
	if p.PayloadLen <= 0 && len(p.Payload) == 0 {
		return
	}
	if !s.whole(c, f, dir, p) {
		return
	}
	f.seen |= seenData
	if c.d == nil {
		c.begin(-1)
	}
	if p.snapCut() && s.shorter(c, f, dir, p) {
		return
	}
	if c.copied(f, dir, p) {
		f.sightings++
		f.rare(dir).duplicate += int64(len(p.Payload))
		p.Mark |= Sighting
		return
	}
	s.alike(c, f, p)
	ref := packetRef(p)
	lost := int(p.PayloadLen) - len(p.Payload)
	if p.Problems&decode.FragmentMissing != 0 {
		lost = max(lost, 1) // the amount is unknown if the last one is missing
	}
	if lost > 0 {
		ref.Cut = int32(lost)
		c.d.GapBytes += int64(lost)
	}
	if p.Problems&decode.FragmentMissing != 0 { // before the call that it completes
		c.d.AnomalyAt(ref, "ip", "fragments_missing", "not all fragments of a datagram came; its payload ends at the first one missing", int64(ref.Cut))
	}
	c.d.Datagram(dir, p.Payload, ref)
	if len(s.early) > 0 {
		s.announced(p)
	}
}

// longer reports whether another interface shows the conversation with more of each packet than that of a packet which
// the snap length cut: the other one cuts none, or less, whatever the files state as their snap lengths.
//
// LIMIT: it is unknown before the other interface has shown this direction.
func (c *Conn) longer(dir dissect.Dir, p *Packet) bool {
	return slices.ContainsFunc(c.flows, func(g *Flow) bool {
		return g.id != p.Flow && g.side[dir].packets > 0 && c.shard.before-g.lastNs < copySlack && (g.snapCuts == 0 || int(g.snapped) > len(p.Payload))
	})
}

// firstOf reports whether a packet is the first of its direction, in captures with several interfaces: another one may
// show it next.
func (c *Conn) firstOf(dir dissect.Dir, p *Packet) bool {
	return p.Several && len(c.flows) == 1 && c.flows[0].side[dir].packets == 1
}

// shorter reports whether another interface shows a datagram that the snap length of this one cut. The
// two cannot be compared, so the cut one is not read. If it comes before the other interface has shown its direction,
// there is a call for each, and the second one has the anomaly.
func (s *Shard) shorter(c *Conn, f *Flow, dir dissect.Dir, p *Packet) bool {
	if !c.longer(dir, p) {
		f.short = true
		return false
	}
	n := int64(len(p.Payload))
	f.rare(dir).anomalous += n
	s.odd(c, f, packetRef(p), "cut_copy", "cut by the snap length of its interface, while another one shows the conversation: it is not read", n)
	return true
}

// copied reports whether the datagram was already seen: on another interface (each shows a datagram once in each
// direction), or on this one with the same IP identification, or without one at another distance from its sender: a
// mirror shows it before and after a router.
func (c *Conn) copied(f *Flow, dir dissect.Dir, p *Packet) bool {
	me := uint32(1)
	for i, g := range c.flows {
		if g == f {
			me = 1 << (2 * i)
		}
	}
	if p.Direction == decode.DirIn {
		me <<= 1
	}
	k := c.datagramKey(dir, p)
	d := &c.shard.datagrams
	var other *sent // the oldest that this flow has not shown
	again, unsure, elsewhen := false, false, false
	d.find(k, func(x *sent) bool {
		since := p.Time - x.at
		switch {
		case x.seenBy&me == 0 && c.nearBy(x, p):
			other = x
		case x.seenBy&me == 0 && p.Clock != x.clock && (p.IPID == 0 || x.ipid == 0) && max(since, -since) < clockSlack:
			elsewhen = true
		case x.seenBy&me != 0 && p.IPID != 0 && x.ipid == p.IPID && since < sightingSlack:
			again = true
		case x.seenBy&me != 0 && p.IPID == 0 && x.ipid == 0 && x.ttl != p.TTL && since < sightingSlack:
			answers := d.repeated(c, dir.Other(), x) // it may be the answer to the repetition
			again, unsure = again || !answers, unsure || answers
		case x.seenBy&me != 0 && p.IPID == 0 && x.ipid == 0 && since < unmarkedSlack:
			unsure = true
		}
		return true
	})
	if again {
		return true
	}
	switch {
	case unsure:
		c.shard.odd(c, f, packetRef(p), "equal_datagrams", "equal datagrams at nearly the same time, without an IP identification: sent twice or seen twice; both are read", 0)
	case other == nil && elsewhen:
		c.shard.odd(c, f, packetRef(p), "equal_datagrams", "another clock stamped an equal datagram, and without an IP identification nothing shows whether it is this one; both are read", 0)
	case other == nil && !p.snapCut() && slices.ContainsFunc(c.flows, func(g *Flow) bool { return g != f && g.short && p.Time-g.lastNs < copySlack }):
		c.shard.odd(c, f, packetRef(p), "cut_copy", "another interface, whose snap length cuts datagrams, showed the conversation before: both are read", 0)
	}
	if other != nil {
		if p.IPID != 0 && p.IPID == other.ipid && p.Clock != other.clock {
			c.apart = &clocksApart{other.clock, p.Clock, p.Time - other.at}
		}
		c.seenAgain(dir, other.no, dissect.Instant{Ns: p.Time, Clock: p.Clock})
		if other.seenBy |= me; p.IPID == 0 || p.IPID == other.ipid {
			return true
		}
		c.shard.taken += d.grow() // a translator gave it another identification, with which it may be seen again
		d.add(c, sent{key: k, no: other.no, at: p.Time, ipid: p.IPID, clock: p.Clock, seenBy: ^uint32(0)})
		return true
	}
	c.shard.taken += d.grow()
	d.add(c, sent{key: k, no: p.No, at: p.Time, ipid: p.IPID, clock: p.Clock, ttl: p.TTL, seenBy: me})
	return false
}

// clocksApart is how far the second of two clocks is ahead, as copies of a datagram show.
type clocksApart struct {
	from, to int32
	ns       int64
}

// nearBy reports whether the times allow that a packet is a copy of a datagram with equal bytes. Two clocks may differ by
// more than copies do: then the IP identification, or the difference that others showed, must be the same.
func (c *Conn) nearBy(x *sent, p *Packet) bool {
	since := p.Time - x.at
	if max(since, -since) < copySlack {
		return true
	}
	if p.Clock == x.clock || max(since, -since) >= clockSlack {
		return false
	}
	switch a := c.apart; {
	case p.IPID != 0 && p.IPID == x.ipid:
		return true
	case a == nil:
		return false
	case a.from == x.clock && a.to == p.Clock:
		since -= a.ns
	case a.from == p.Clock && a.to == x.clock:
		since += a.ns
	default:
		return false
	}
	return max(since, -since) < copySlack
}

// sentBefore reports whether the conversation has shown an equal datagram within a second.
func (c *Conn) sentBefore(dir dissect.Dir, p *Packet) (found bool) {
	if len(p.Payload) == 0 {
		return false
	}
	c.shard.datagrams.find(c.datagramKey(dir, p), func(x *sent) bool {
		since := p.Time - x.at
		found = x.ipid == p.IPID && since < copySlack && since > -copySlack
		return !found
	})
	return found
}
