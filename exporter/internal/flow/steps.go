package flow

import "github.com/pcapsule/pcapsule/exporter/dissect"

// place is where a packet belongs: its connection, the flow of it that shows the packet, and its direction.
type place struct {
	c   *Conn
	f   *Flow
	dir dissect.Dir
}

// packet takes a packet through the steps. Each that follows needs only the place that identify finds.
func (s *Shard) packet(p *Packet) {
	s.now = max(s.now, p.Time)
	if s.reports(p) {
		return
	}
	at := s.identify(p)
	before := s.account(at, p)
	switch {
	case p.portsOnly():
		at.f.count(at.dir, p)
	case at.c.transport == dissect.TCP:
		s.alike(at.c, at.f, p)
		s.tcpPacket(at, p)
	default:
		s.datagram(at.c, at.f, at.dir, p)
		if p.Mark&Sighting != 0 { // a copy of a question is no later packet, after which no answer comes
			at.c.lastAt, at.c.lastClock = before.Ns, before.Clock
		}
	}
	s.touch(at.c)
	s.limit(packetRef(p))
	s.expire(packetRef(p), endsByPacket)
}

// reports handles what is no packet of a connection but says something about one, and reports whether p was that.
func (s *Shard) reports(p *Packet) bool {
	switch {
	case p.Undelivered != nil:
		s.undelivered(p)
	case p.Elsewhere:
		if c, _ := s.reported(p); c != nil && p.Unasked {
			s.odd(c, c.flows[0], packetRef(p), "answered_elsewhere", "an answer to a question of this conversation came from another address or port, which was not asked", 0)
		}
	case p.Portless:
		s.portless.add(p)
	default:
		return false
	}
	return true
}

// identify finds the connection of a packet, or opens it.
func (s *Shard) identify(p *Packet) place {
	k, srcIsLo := keyOf(p)
	c, slot := s.find(k, p, srcIsLo)
	if c != nil && c.displaced != nil {
		c, slot = s.continued(c, slot, p, srcIsLo)
	}
	var old heritage
	if c != nil && s.reused(c, p, srcIsLo) {
		old, c = s.succeed(c, p, srcIsLo), nil
	}
	if c == nil {
		c, slot = s.open(k, p, srcIsLo), 0
		c.follow(&old)
	}
	c.nets.open(p, sideOf(srcIsLo), slot)
	fromClient := srcIsLo == c.srcIsLo
	f := s.flowOf(c, p, fromClient, slot)
	s.owned(f, p, fromClient)
	s.inherit(c, f, &old, sideOf(!srcIsLo))
	at := place{c, f, dissect.ToServer}
	if !fromClient {
		at.dir = dissect.ToClient
	}
	return at
}

// heritage is what the connection that had the ports before leaves to the one that takes them: packets that came when
// it still had them, and turned out to be the new one's.
type heritage struct {
	syn, answer *pendingSYN
	first       *elsewhere
	displaced   *Conn // it may go on
}

// succeed makes room for another connection on the ports of c (RFC 9293 section 3.6.1, RFC 6191).
func (s *Shard) succeed(c *Conn, p *Packet, srcIsLo bool) (h heritage) {
	h.syn, h.answer = c.answered(p), c.answeredBefore(p)
	if h.syn == nil && h.answer == nil && c.elsewhere.answered(p, c.dirOf(sideOf(srcIsLo))) {
		h.first = s.release(c)
	}
	begins := h.syn != nil || h.answer != nil || h.first != nil
	switch {
	case c.transport != dissect.TCP:
		h.displaced, c.displaced = c.nextBeside(), nil // those that waited for its ports wait for those of the new one
		s.end(c, dissect.EndTimeout, packetRef(p))
	case c.over() && c.d != nil && !c.repeats(p, srcIsLo), !c.over() && begins:
		s.displace(c, packetRef(p))
		h.displaced = c
	default:
		h.displaced, c.displaced = c.nextBeside(), nil
		s.end(c, dissect.EndReuse, packetRef(p))
	}
	return h
}

// follow gives a new connection its place behind the one that had its ports.
func (c *Conn) follow(old *heritage) {
	if c.displaced = old.displaced; c.displaced != nil {
		c.crowded = c.displaced.crowded
	}
	if old.first != nil && c.role == firstPacket { // the answer came first
		c.client, c.server, c.srcIsLo = c.displaced.client, c.displaced.server, c.displaced.srcIsLo
	}
}

// inherit gives a new connection the packets that came before it was known; to is the side of their receiver.
func (s *Shard) inherit(c *Conn, f *Flow, old *heritage, to uint8) {
	if old.syn != nil {
		s.adopt(c, f, old.syn)
	}
	if old.answer != nil {
		s.adoptAnswer(c, f, old.answer)
	}
	if old.first != nil {
		s.adoptFirst(c, f, c.dirOf(to), old.first)
	}
}

// account records what every packet changes, and returns the time of the connection's packet before it.
func (s *Shard) account(at place, p *Packet) (before dissect.Instant) {
	c, f := at.c, at.f
	p.Flow = f.id
	if at.dir == dissect.ToClient {
		p.Mark |= FromServer
	}
	before = dissect.Instant{Ns: c.lastAt, Clock: c.lastClock}
	s.before = c.lastAt
	c.last = max(c.last, p.Time)
	c.lastAt, c.lastClock, c.lastSeq, c.lastAck = p.Time, p.Clock, p.Seq, p.Ack
	c.clocks = c.clocks || p.Clock != c.flows[0].clock
	c.spoke |= 1 << at.dir
	s.wrote(c, at.dir, p)
	if p.snapCut() {
		p.Mark |= SnapCut
		f.snapCuts, f.snapped = f.snapCuts+1, max(f.snapped, int32(len(p.Payload)))
	}
	return before
}
