package flow

import (
	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// portless are datagrams whose first fragment did not come, by the hosts that they went between: any
// conversation of these hosts may lack one of them. RFC 791 section 3.2: only the first fragment has the ports.
//
// LIMIT: of more than maxPortless pairs of hosts the oldest is forgotten, and of each pair only the last
// lastPortless datagrams are known.
type portless struct {
	of    map[hosts]*[lastPortless]dissect.Packet
	order []hosts // ring of the keys, oldest first from next
	next  int
}

type hosts struct {
	src, dst decode.Addr
	proto    uint8 // 0 in IPv6, where only the first fragment says it
}

const (
	maxPortless  = 256 // pairs of hosts
	lastPortless = 4
)

// add remembers a datagram.
func (l *portless) add(p *Packet) {
	k := hosts{p.Src, p.Dst, p.Proto}
	list := l.of[k]
	if list == nil {
		if l.of == nil {
			l.of = map[hosts]*[lastPortless]dissect.Packet{}
		}
		if len(l.order) < maxPortless {
			l.order = append(l.order, k)
		} else {
			delete(l.of, l.order[l.next])
			l.order[l.next] = k
			l.next = (l.next + 1) % maxPortless
		}
		list = &[lastPortless]dissect.Packet{}
		for i := range list {
			list[i].No = -1
		}
		l.of[k] = list
	}
	copy(list[1:], list[:])
	list[0] = packetRef(p)
}

// Lost implements dissect.LossSink: a datagram that may be one of a conversation, in one direction, from
// one time to another.
func (s *sink) Lost(d *dissect.Conn, dir dissect.Dir, from, to dissect.Instant) (dissect.Packet, bool) {
	c := d.Info.Owner.(*Conn)
	if len(s.portless.of) == 0 {
		return dissect.Packet{}, false
	}
	for _, f := range c.flows {
		src, dst := f.ends()
		if dir == dissect.ToClient {
			src, dst = dst, src
		}
		for _, proto := range [...]uint8{c.key.proto, 0} {
			list := s.portless.of[hosts{src.addr, dst.addr, proto}]
			for i := 0; list != nil && i < lastPortless; i++ {
				p := list[i]
				if p.No >= 0 && (p.Clock != from.Clock || p.Time >= from.Ns && p.Time <= to.Ns) {
					return p, true
				}
			}
		}
	}
	return dissect.Packet{}, false
}
