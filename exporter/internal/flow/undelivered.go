package flow

import (
	"encoding/binary"
	"hash/maphash"
	"slices"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/icmp/wire"
)

// Undelivered makes the packet that an ICMP error quotes, for the conversation that sent it. It fails if f is no such
// error, or quotes too little to find the conversation.
func Undelivered(f *Packet) (p Packet, ok bool) {
	if f.Proto != protoICMP && f.Proto != protoICMPv6 || f.Sum == SumWrong {
		return p, false
	}
	report, ok := wire.ReportOf(f.Proto == protoICMPv6, f.Type, f.Code)
	if !ok {
		return p, false
	}
	q, ok := wire.Quoted(f.Payload)
	if !ok || !q.First {
		return p, false
	}
	p = Packet{
		Capture: Capture{No: f.No, Time: f.Time, Interface: f.Interface, Clock: f.Clock},
		IP:      IP{Network: f.Network, Proto: q.Proto, Src: q.Src.As16(), Dst: q.Dst.As16(), IPID: q.IPID, VLAN: -1},
		Segment: Segment{PayloadLen: int32(q.Size)},
		Said:    Said{Undelivered: &report},
		Payload: q.Rest,
	}
	if p.SrcPort, p.DstPort, ok = q.Ports(); !ok && transportOf(q.Proto) != dissect.ICMP {
		return p, false
	}
	const udpHeader, tcpNumber = 8, 8 // bytes up to the end of the header, and of the sequence number
	switch {
	case q.Proto == protoUDP:
		if p.Payload = nil; len(q.Rest) > udpHeader {
			p.Payload = q.Rest[udpHeader:]
		}
		if p.PayloadLen = -1; len(q.Rest) >= 6 {
			p.PayloadLen = int32(binary.BigEndian.Uint16(q.Rest[4:])) - udpHeader
		}
	case q.Proto == protoTCP:
		if len(q.Rest) < tcpNumber {
			return p, false
		}
		p.Seq = binary.BigEndian.Uint32(q.Rest[4:])
	}
	return p, true
}

// undelivered tells the conversation that sent a packet that an ICMP error quotes it. An error about a packet that the
// conversation has not shown changes nothing, because anyone can send one (RFC 5927).
func (s *Shard) undelivered(p *Packet) {
	c, side := s.reported(p)
	if c == nil {
		if k, _ := keyOf(p); s.conns[k] == nil {
			s.keepEarly(p)
		}
		return
	}
	report, dir := p.Undelivered, c.dirOf(side)
	if c.transport == dissect.TCP {
		if report.Refused && dir == dissect.ToServer {
			s.rejected(c, p)
		}
		return
	}
	if x := c.quoted(dir, p); x != nil && c.d != nil {
		x.failed = true
		c.d.Undelivered(x.no, packetRef(p), report.Why, report.Refused)
	} else if x == nil {
		s.keepEarly(p)
	}
}

// reported is the conversation that a report about a packet of this side is for, or nil.
func (s *Shard) reported(p *Packet) (c *Conn, side uint8) {
	k, srcIsLo := keyOf(p)
	c, side = s.conns[k], sideOf(srcIsLo)
	if c != nil && c.nets.group != nil {
		g := c.nets.group
		if c = g.by[groupKey{p.network(), side}]; c == nil {
			c = g.by[groupKey{p.network(), side ^ 1}]
		}
	}
	return c, side
}

// Limits of ICMP errors that were captured before the datagram which they quote.
const (
	maxEarly   = 16
	earlySlack = int64(10e6) // ns
)

// keepEarly keeps an ICMP error that quotes all of a datagram which was not captured yet: captures of several queues show
// packets out of order.
func (s *Shard) keepEarly(p *Packet) {
	if p.Proto == protoTCP || p.PayloadLen < 0 || len(p.Payload) < int(p.PayloadLen) {
		return
	}
	e := *p
	e.Payload = slices.Clone(p.Payload)
	s.early = append(s.early[max(0, len(s.early)-maxEarly+1):], e)
}

// announced passes ICMP errors that were captured just before a datagram to its conversation.
func (s *Shard) announced(p *Packet) {
	list := s.early
	s.early = nil
	for i := range list {
		switch e := &list[i]; {
		case p.Time-e.Time > earlySlack:
		case e.Src == p.Src && e.Dst == p.Dst && e.SrcPort == p.SrcPort && e.DstPort == p.DstPort && e.Proto == p.Proto:
			s.undelivered(e)
		default:
			s.early = append(s.early, *e)
		}
	}
}

// rejected records that a connection's SYN was rejected (RFC 1122 section 4.2.3.9), unless the server has answered.
func (s *Shard) rejected(c *Conn, p *Packet) {
	if c.unreachable || !c.hasISN[dissect.ToServer] || c.isn[dissect.ToServer] != p.Seq || c.spoke&(1<<dissect.ToClient) != 0 {
		return
	}
	c.unreachable = true
	s.event(c.flows[0], dissect.ToClient, p.No, p.Time, "refused", 0)
}

// quoted is the datagram that an ICMP error quotes, or nil. Of several that are equal as far as the quote shows, it is
// the oldest about which there is no error.
func (c *Conn) quoted(dir dissect.Dir, p *Packet) (found *sent) {
	var sum uint64
	whole := p.PayloadLen >= 0 && len(p.Payload) >= int(p.PayloadLen)
	if whole {
		sum = maphash.Bytes(sums, p.Payload[:p.PayloadLen])
	}
	c.shard.datagrams.of(c, func(x *sent) bool {
		switch {
		case p.Time-x.at > reportSlack:
			return false
		case x.failed || x.key.dir != dir || p.PayloadLen >= 0 && x.key.len != p.PayloadLen || whole && x.key.sum != sum:
		case p.IPID != 0 && x.ipid != 0 && p.IPID != x.ipid:
		default:
			found = x
		}
		return true
	})
	return found
}
