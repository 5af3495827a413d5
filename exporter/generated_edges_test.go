package exporter

import (
	"encoding/binary"
	"math/rand"
	"slices"
)

// These changes are what receivers meet, or attackers send, at the edges of TCP's rules.
var edgeKinds = []opKind{
	{"keep-alive", quiet, false, tcpOnly(func(g *scene, o op) { // with or without a byte, RFC 9293 section 3.8.4
		g.add(o, true, func(p *piece) bool {
			idle := p.flags == 0x10 && p.payload == "" && g.acknowledged(o, p.seq)
			if p.seq--; o.b == 1 {
				p.payload = "\x00"
			}
			return idle
		})
	}), small(2)},
	{"window", quiet, false, tcpOnly(func(g *scene, o op) { // zero or smaller than before, RFC 9293 section 3.8.6
		g.each(o, func(p *piece) { p.window = uint16((o.a - 1) * 100) })
	}), small(3)},
	{"urgent", loud, false, tcpOnly(func(g *scene, o op) {
		g.each(o, func(p *piece) {
			if p.payload != "" {
				p.flags |= 0x20
			}
		})
	}), nil},
	{"acks", quiet, false, tcpOnly(func(g *scene, o op) { // the same one again, as fast retransmission counts them
		for n := range o.a {
			g.add(o, true, func(p *piece) bool {
				p.id, p.at, p.order = p.id+uint16(n), p.at+int64(n)*100, p.order+int64(n)*100
				return p.flags == 0x10 && p.payload == ""
			})
		}
	}), small(4)},
	{"old time stamp", loud, false, tcpOnly(func(g *scene, o op) { // other bytes, RFC 7323 section 5.3
		g.add(o, o.b == 1, func(p *piece) bool {
			i := timeStampAt(p.options)
			if i < 0 || p.payload == "" || p.flags&6 != 0 {
				return false
			}
			b := []byte(p.options)
			binary.BigEndian.PutUint32(b[i:], binary.BigEndian.Uint32(b[i:])-uint32(o.a)*100)
			p.options, p.payload = string(b), otherText(p.payload)
			return true
		})
	}), small(1000)},
	{"repacked", quiet, false, tcpOnly(func(g *scene, o op) { // a retransmission of this segment and the one before, RFC 9293 section 3.8.1
		before := g.before(o)
		g.add(o, true, func(p *piece) bool {
			if before == nil || before.seq+uint32(len(before.payload)) != p.seq || p.payload == "" || p.flags&6 != 0 {
				return false
			}
			p.seq, p.payload = before.seq, before.payload+p.payload
			if o.b == 1 { // not all of it
				p.seq, p.payload = p.seq+1, p.payload[1:len(p.payload)-1]
				p.flags &^= 1
			}
			return true
		})
	}), small(2)},
	{"second answer", loud, false, tcpOnly(func(g *scene, o op) { // a forged SYN-ACK; the client acknowledges the true one, RFC 9293 section 3.10.7.3
		o.pkt = 1
		g.add(o, o.b == 1, func(p *piece) bool {
			p.seq += uint32(o.a) * 1_000_003
			return p.flags == 0x12
		})
	}), small(1000)},
	{"fragment twice", loud, false, func(g *scene, o op) { // RFC 5722
		g.each(o, func(p *piece) { p.frag, p.forged = 16, true })
	}, nil},
	{"simultaneous open", quiet, true, tcpOnly(func(g *scene, o op) { // RFC 9293 section 3.5, figure 7
		c := g.convs[o.conv]
		if len(c.pieces) < 3 || g.views[o.conv] != 0 || c.pieces[0].flags != 2 || c.pieces[1].flags != 0x12 || c.pieces[0].no != 0 || c.pieces[1].no != 1 {
			return
		}
		g.views[o.conv] = 2 // other views of it are not made
		mine, theirs := c.pieces[0], c.pieces[1]
		c.pieces[1].flags, c.pieces[1].ack = 2, 0
		mine.no, mine.flags, mine.ack, mine.id, mine.at, mine.order = -1, 0x12, theirs.seq+1, mine.id+0x4000, theirs.at+1, theirs.order+1
		theirs.no, theirs.id, theirs.at, theirs.order = -1, theirs.id+0x4000, theirs.at+2, theirs.order+2
		c.pieces = slices.Insert(c.pieces, 2, mine, theirs)
	}), nil},
	{"half-close", quiet, true, tcpOnly(func(g *scene, o op) { // the client's FIN comes with its last bytes
		c := g.convs[o.conv]
		last := -1
		for i, p := range c.pieces {
			if p.src == c.pieces[0].src && p.payload != "" && p.no >= 0 {
				last = i
			}
		}
		if last < 0 || g.views[o.conv] != 0 || slices.ContainsFunc(c.pieces, func(p piece) bool { return p.no < 0 || p.flags&4 != 0 || p.frag != 0 }) {
			return
		}
		client, end := c.pieces[0].src, c.pieces[last].seq+uint32(len(c.pieces[last].payload))
		c.pieces[last].flags |= 1
		for i := last + 1; i < len(c.pieces); i++ {
			switch p := &c.pieces[i]; {
			case p.src == client && p.seq == end:
				p.flags &^= 1
				p.seq++
			case p.src != client && p.ack == end:
				p.ack++
			}
		}
	}), nil},
	{"tenant of a tunnel", quiet, true, func(g *scene, o op) { // the next conversation has the same ends, in VXLAN
		a, k := g.convs[o.conv], o.conv+1
		if k >= len(g.convs) || !g.joins(o.conv, k) || g.views[k] != 0 {
			return
		}
		first, next := a.pieces[0], g.convs[k].pieces[0]
		if next.dst.Port() != first.dst.Port() || next.proto != first.proto || next.dst.Addr().Is6() != first.dst.Addr().Is6() || next.seq == first.seq {
			return
		}
		g.views[k] = 2
		g.join(k, first, next, func(p *piece) { p.tunnel, p.vni = tunnelVXLAN, byte(1+o.a) })
	}, small(100)},
}

// timeStampAt is where the time stamp of a segment's options is, -1 without one.
func timeStampAt(options string) int {
	for i := 0; i < len(options); {
		switch {
		case options[i] == 8 && i+10 <= len(options):
			return i + 2
		case options[i] <= 1:
			i++
		case i+1 < len(options) && options[i+1] >= 2:
			i += int(options[i+1])
		default:
			return -1
		}
	}
	return -1
}

// acknowledged reports whether the other side has acknowledged all before seq when it sees the packet of the change.
func (g *scene) acknowledged(o op, seq uint32) bool {
	list, at := g.convs[o.conv].pieces, g.at(o)
	return len(at) > 0 && slices.ContainsFunc(list[:at[0]], func(p piece) bool { return p.src == list[at[0]].dst && p.flags&0x10 != 0 && p.ack == seq })
}

// before is the segment with payload before the packet of the change, from the same side.
func (g *scene) before(o op) *piece {
	list, at := g.convs[o.conv].pieces, g.at(o)
	if len(at) == 0 {
		return nil
	}
	for i := at[0] - 1; i >= 0; i-- {
		if p := list[i]; p.src == list[at[0]].src && p.payload != "" && p.no >= 0 {
			return &p
		}
	}
	return nil
}

// anyKind is one of all kinds.
func anyKind(r *rand.Rand) *opKind {
	i := r.Intn(len(opKinds) + len(edgeKinds))
	if i < len(opKinds) {
		return &opKinds[i]
	}
	return &edgeKinds[i-len(opKinds)]
}
