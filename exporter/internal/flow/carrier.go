package flow

import (
	"slices"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// A segment that comes on another way, compared with those of its direction before, may be forged: with other MAC addresses, VLANs, tunnels,
// IPv6 options or TCP options, its receiver may not take it. Ways change without a forgery too (routes, failover, several places
// that captured), so only a receiver that acknowledges what came before, and never these bytes, shows a doubt that nothing else
// decides.

// Limits of one direction. LIMIT: more ways and more segments are not compared.
const (
	maxCarriers = 8
	maxStrange  = 8
)

// carriers are the ways on which the segments of one direction came. Most connections have one.
type carriers struct {
	first  uint64 // 0: none yet; without its lowest bit if a second segment came on a way that is accepted
	others *otherWays
}

// otherWays are the others of a direction.
type otherWays struct {
	more    []uint64  // that are accepted
	strange []strange // segments that came on none of them
}

// strange is a segment that came another way, and brought bytes.
type strange struct {
	at      dissect.Packet
	carrier uint64
	end     uint32
	n       int32
}

func (x *carriers) has(carrier uint64) bool {
	return x.first|1 == carrier || x.others != nil && slices.Contains(x.others.more, carrier)
}

// repeats reports whether several segments came on one way. If none did, a tool changed the addresses of each packet.
func (x *carriers) repeats() bool { return x.first&1 == 0 }

// rest returns what is known of other ways.
func (s *Shard) rest(c *Conn, x *carriers) *otherWays {
	if x.others == nil {
		x.others = &otherWays{}
		s.take(c, int(unsafe.Sizeof(otherWays{})))
	}
	return x.others
}

// accept adds a way.
func (s *Shard) accept(c *Conn, x *carriers, carrier uint64) {
	switch {
	case x.has(carrier):
	case x.first == 0:
		x.first = carrier
	default:
		if o := s.rest(c, x); len(o.more) < maxCarriers {
			o.more = append(o.more, carrier)
			s.take(c, int(unsafe.Sizeof(carrier)))
		}
	}
}

// carried compares the way of a segment with those of its direction before. brings says that it has new bytes.
func (s *Shard) carried(c *Conn, dir dissect.Dir, p *Packet, brings bool) {
	x, way := &c.carriers[dir], p.Carrier|3 // never 0, also without its lowest bit
	switch {
	case x.has(way):
		x.first &^= 1
	case x.first == 0 || p.PayloadLen <= 0:
		s.accept(c, x, way)
	case brings:
		o := s.rest(c, x)
		if len(o.strange) > 0 {
			s.settleCarriers(c, dir)
		}
		if len(o.strange) == maxStrange {
			return
		}
		o.strange = append(o.strange, strange{packetRef(p), way, p.Seq + uint32(p.PayloadLen), p.PayloadLen})
		s.take(c, int(unsafe.Sizeof(strange{})))
	}
}

// settleCarriers accepts the ways of segments that their receiver acknowledged.
func (s *Shard) settleCarriers(c *Conn, dir dissect.Dir) {
	x := &c.carriers[dir]
	acked, _, ok := c.stream.Acknowledged(uint8(dir))
	x.others.strange = slices.DeleteFunc(x.others.strange, func(g strange) bool {
		if ok && int32(acked-g.end) >= 0 {
			s.accept(c, x, g.carrier)
			return true
		}
		return x.has(g.carrier)
	})
}

// reportStrange marks, at the end of a connection, the segments that came another way and were never acknowledged.
func (s *Shard) reportStrange(c *Conn) {
	for dir := range c.carriers {
		x := &c.carriers[dir]
		if x.others == nil || len(x.others.strange) == 0 || len(x.others.more) == maxCarriers || !x.repeats() {
			continue
		}
		s.settleCarriers(c, dissect.Dir(dir))
		if acked, _, ok := c.stream.Acknowledged(uint8(dir)); !ok || !c.hasSeq[dir] || int32(acked-c.firstSeq[dir]) <= 0 {
			continue // it acknowledged nothing: the capture may lack what it sent
		}
		for _, g := range x.others.strange {
			s.odd(c, c.flows[0], g.at, "contrary_segment", "bytes that came on another way, unlike the segments of this side before, such as other MAC addresses, another VLAN, tunnel or IPv6 option, or other TCP options, and that the receiver never acknowledged: they may be forged, and it may not have taken them; they are read", 0)
		}
	}
}
