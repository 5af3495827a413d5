package exporter

import (
	"fmt"
	"math/rand"
	"net/netip"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/samples/frames"
)

// op is one change of a generated capture. It refers to the packets of the original conversation, so that
// it means the same whichever other changes are made.
type op struct {
	kind string
	conv int
	pkt  int // number of the packet in the conversation
	a, b int
}

func (o op) String() string {
	return fmt.Sprintf("{%q, %d, %d, %d, %d}", o.kind, o.conv, o.pkt, o.a, o.b)
}

// effect is what a change may do to the calls of its conversation.
type effect int

const (
	quiet effect = iota // nothing: receivers notice no difference
	lossy               // its packet is not captured, or not wholly
	more                // it is a message itself, so it may add a row
	loud                // receivers may differ, so an anomaly must report it
)

// opKind is a kind of change. Make changes the capture; pick chooses arguments.
type opKind struct {
	name   string
	effect effect
	every  bool // of the whole conversation, not of one packet
	make   func(g *scene, o op)
	pick   func(r *rand.Rand, o *op)
}

// scene is a capture that is being generated.
type scene struct {
	convs []*conversation
	gone  []bool  // conversations whose ends another has as well
	moved []int64 // ns by which they are later
	views []int   // interfaces that were added for them
}

// at are the places of the pieces with the number of the change, the original first.
func (g *scene) at(o op) (list []int) {
	for i, p := range g.convs[o.conv].pieces {
		if p.no == o.pkt {
			list = append(list, i)
		}
	}
	return list
}

// add adds forged packets that are made from the changed one, just before or after it.
func (g *scene) add(o op, after bool, forge func(p *piece) bool) {
	c := g.convs[o.conv]
	for _, i := range g.at(o)[:min(1, len(g.at(o)))] {
		p := c.pieces[i]
		p.no = -1
		p.id += 0x4000
		if c.pieces[i].id == 0 {
			p.id = 0
		}
		if !forge(&p) {
			return
		}
		d := 0
		if p.at = p.order; after {
			p.at, p.order, d = p.at+1000, p.order+1000, 1
		}
		c.pieces = slices.Insert(c.pieces, i+d, p)
	}
}

// each changes all pieces of the packet.
func (g *scene) each(o op, change func(p *piece)) {
	for _, i := range g.at(o) {
		change(&g.convs[o.conv].pieces[i])
	}
}

// otherText is another text of the same length.
func otherText(s string) string {
	return strings.Map(func(r rune) rune { return 'A' + (r+7)%26 }, strings.Repeat("x", len(s)))
}

func bare(p *piece, flags byte) {
	p.flags, p.payload, p.options = flags, "", ""
}

func tcpOnly(f func(g *scene, o op)) func(g *scene, o op) {
	return func(g *scene, o op) {
		if g.convs[o.conv].tcp() {
			f(g, o)
		}
	}
}

// small, signed and far choose numbers.
func small(n int) func(r *rand.Rand, o *op) {
	return func(r *rand.Rand, o *op) { o.a, o.b = 1+r.Intn(n), r.Intn(2) }
}

func far(r *rand.Rand, o *op) {
	o.a, o.b = []int{-100_000, -5000, -1000, -10, -1, 0, 1, 10, 1000, 5000, 100_000, 1 << 30}[r.Intn(12)], r.Intn(2)
}

var opKinds = []opKind{
	{"twice", quiet, false, func(g *scene, o op) { // the same packet, seen again at once
		c := g.convs[o.conv]
		for _, i := range g.at(o)[:min(1, len(g.at(o)))] {
			p := c.pieces[i]
			if p.id == 0 && (p.proto == 17 || !strings.Contains(p.options, "\x08\x0a")) {
				return // equal packets without a mark are two
			}
			p.order += int64(o.a) * 1000
			c.pieces = slices.Insert(c.pieces, i+1, p)
		}
	}, small(50)},
	{"resent", quiet, false, tcpOnly(func(g *scene, o op) { // a retransmission
		g.add(o, true, func(p *piece) bool {
			p.at, p.order = p.at+int64(o.a)*1_000_000, p.order+int64(o.a)*1_000_000
			return p.flags&6 == 0 && p.payload != ""
		})
	}), small(300)},
	{"late", quiet, false, func(g *scene, o op) { // comes after up to 6 packets that follow
		c := g.convs[o.conv]
		for _, i := range g.at(o) {
			if p := &c.pieces[i]; p.flags&2 != 0 || len(p.payload) == 1 { // see the next kind; a message of such segments would be too late
				continue
			}
			if !c.tcp() { // what the order of datagrams means, only their times could say
				return
			}
			if k := min(i+o.a, len(c.pieces)-1); c.pieces[k].order > c.pieces[i].order && c.pieces[k].order-c.pieces[i].order < 50e6 {
				c.pieces[i].order = c.pieces[k].order + 1
			}
		}
	}, small(6)},
	{"late handshake", quiet, true, tcpOnly(func(g *scene, o op) { // its SYN comes after up to 6 packets
		c := g.convs[o.conv]
		if g.views[o.conv] == 0 && len(c.pieces) > o.a {
			g.views[o.conv] = 2 // another view cannot show it as the first SYN
			c.pieces[0].order = c.pieces[o.a].order + 1
		}
	}), small(6)},
	{"fragments", quiet, false, func(g *scene, o op) {
		g.each(o, func(p *piece) {
			if len(p.payload) > 8192*o.a { // a datagram has at most 2048 fragments, decode.Options.MaxFragments
				return
			}
			if p.frag = 8 * o.a; o.b == 1 {
				p.frag = -p.frag
			}
		})
	}, small(6)},
	{"bytes", quiet, false, tcpOnly(func(g *scene, o op) { // one segment for each byte
		c := g.convs[o.conv]
		for _, i := range g.at(o)[:min(1, len(g.at(o)))] {
			p := c.pieces[i]
			if len(p.payload) < 2 || len(p.payload) > 400 || p.flags&6 != 0 {
				return
			}
			var out []piece
			for k := range len(p.payload) {
				q := p
				q.seq, q.payload, q.id = p.seq+uint32(k), p.payload[k:k+1], p.id+uint16(k)*64
				if k+1 < len(p.payload) {
					q.flags &^= 9
				}
				out = append(out, q)
			}
			c.pieces = slices.Replace(c.pieces, i, i+1, out...)
		}
	}), nil},
	{"checksum", quiet, false, func(g *scene, o op) { // other bytes with a wrong checksum
		g.add(o, o.b == 1, func(p *piece) bool {
			p.bad, p.payload = true, otherText(p.payload)
			return p.payload != "" && (o.pkt > 2 || o.pkt > 0 && p.proto == 17) // before, nothing shows that checksums are right
		})
	}, small(2)},
	{"quote", quiet, false, func(g *scene, o op) { // an ICMP error about the packet
		g.add(o, true, func(p *piece) bool {
			if p.src.Addr().Is6() {
				return false
			}
			inner := *p
			inner.frag = 0
			body := append([]byte{3, 1, 0, 0, 0, 0, 0, 0}, inner.frames()[0][14:14+28]...)
			s := ^frames.Sum(body)
			body[2], body[3] = byte(s>>8), byte(s)
			p.dst, p.src, p.proto, p.raw = p.src, netip.AddrPortFrom(netip.MustParseAddr("10.99.9.9"), 0), 1, body
			return p.vlan == 0 && p.tunnel == 0
		})
	}, nil},
	{"syn", quiet, false, tcpOnly(func(g *scene, o op) { // a stray SYN
		g.add(o, true, func(p *piece) bool {
			bare(p, 2)
			p.seq, p.ack = p.seq+uint32(o.a), 0
			return o.pkt > 2 && o.a != -1 // the next segment would continue it
		})
	}), far},
	{"synack", quiet, false, tcpOnly(func(g *scene, o op) { // a stray SYN-ACK
		g.add(o, true, func(p *piece) bool {
			bare(p, 0x12)
			p.seq, p.ack = p.seq+uint32(o.a), p.ack+uint32(o.b)
			return o.pkt > 2
		})
	}), far},
	{"reset", quiet, false, tcpOnly(func(g *scene, o op) { // far out of the window
		g.add(o, true, func(p *piece) bool {
			bare(p, byte(4+16*o.b))
			p.seq += 1<<30 + uint32(o.a)
			return o.pkt > 2
		})
	}), far},
	{"reset near", loud, false, tcpOnly(func(g *scene, o op) {
		g.add(o, true, func(p *piece) bool {
			p.seq += uint32(len(p.payload))
			bare(p, byte(4+16*o.b))
			p.seq += uint32(o.a)
			return true
		})
	}), far},
	{"fin", loud, false, tcpOnly(func(g *scene, o op) {
		g.add(o, true, func(p *piece) bool {
			p.seq += uint32(len(p.payload))
			bare(p, 0x11)
			p.seq += uint32(o.a)
			return true
		})
	}), far},
	{"ack", loud, false, tcpOnly(func(g *scene, o op) { // without payload
		g.add(o, o.b == 1, func(p *piece) bool {
			bare(p, 0x10)
			p.ack += uint32(o.a)
			return o.pkt > 2
		})
	}), far},
	{"ack of nothing", loud, false, tcpOnly(func(g *scene, o op) { // other bytes with another acknowledgement
		g.add(o, o.b == 1, func(p *piece) bool {
			p.payload = otherText(p.payload)
			p.ack += uint32(o.a)
			return p.payload != "" && o.a != 0 && p.flags&6 == 0
		})
	}), far},
	{"bytes before", loud, false, tcpOnly(func(g *scene, o op) { // other bytes, of which the receiver sees none: low TTL
		g.add(o, false, func(p *piece) bool {
			p.payload, p.ttl = otherText(p.payload), 1
			return p.payload != "" && p.flags&6 == 0
		})
	}), nil},
	{"bytes after", loud, false, tcpOnly(func(g *scene, o op) {
		g.add(o, true, func(p *piece) bool {
			p.payload = otherText(p.payload)
			p.seq += uint32(o.a - 2)
			return p.payload != "" && p.flags&6 == 0
		})
	}), small(5)},
	{"bytes ahead", loud, false, tcpOnly(func(g *scene, o op) {
		g.add(o, true, func(p *piece) bool {
			p.seq += uint32(len(p.payload)) + uint32(o.a)
			p.payload = otherText(strings.Repeat("x", 40))
			return p.flags&7 == 0
		})
	}), far},
	{"datagram", more, false, func(g *scene, o op) { // forged from one of the ends
		g.add(o, o.b == 1, func(p *piece) bool {
			p.payload = p.payload[:min(2, len(p.payload))] + otherText(p.payload[min(2, len(p.payload)):])
			return p.proto == 17
		})
	}, small(2)},
	{"long header", more, false, func(g *scene, o op) { // of QUIC, from one of the ends or from a stranger
		g.add(o, true, func(p *piece) bool {
			if p.proto != 17 {
				return false
			}
			if o.a == 1 {
				p.src = netip.AddrPortFrom(p.src.Addr().Next().Next().Next(), 4444)
			}
			p.payload = withID(0xc3, "\x00\x00\x00\x01", "", p.payload[:min(8, len(p.payload))], "\x00\x44\x00"+garbage(1024))
			return true
		})
	}, small(2)},
	{"lost", lossy, false, func(g *scene, o op) {
		c := g.convs[o.conv]
		c.pieces = slices.DeleteFunc(c.pieces, func(p piece) bool { return p.no == o.pkt })
	}, nil},
	{"cut", lossy, false, func(g *scene, o op) {
		g.each(o, func(p *piece) { p.cut = o.a })
	}, small(120)},
	{"time", lossy, false, func(g *scene, o op) {
		g.each(o, func(p *piece) {
			if g.after(p.order) < 16 || g.views[o.conv] != 0 { // at the end of a capture it may be a silence; only times show views of datagrams
				return
			}
			g.views[o.conv] = 2
			p.at += []int64{-1 << 60, -3600e9, -2e9, 2e9, 3600e9, 86400e9 * 400}[o.a-1]
			if o.b == 1 && o.a == 1 {
				p.at = 0
			}
		})
	}, small(6)},
	{"begins", lossy, true, func(g *scene, o op) { // the capture begins in the middle
		c := g.convs[o.conv]
		c.pieces = slices.DeleteFunc(c.pieces, func(p piece) bool { return p.no >= 0 && p.no < o.pkt })
	}, nil},
	{"ends", lossy, true, func(g *scene, o op) {
		c := g.convs[o.conv]
		c.pieces = slices.DeleteFunc(c.pieces, func(p piece) bool { return p.no > o.pkt })
	}, nil},
	{"vlan", quiet, true, func(g *scene, o op) { g.all(o, func(p *piece) { p.vlan = uint16(o.a) }) }, small(4000)},
	{"tunnel", quiet, true, func(g *scene, o op) {
		g.all(o, func(p *piece) { // a translator is outside
			if g.views[o.conv] == 0 && (o.a != tunnelGTP) {
				p.tunnel = o.a
			}
		})
	}, small(tunnels)},
	{"wraps", quiet, true, tcpOnly(func(g *scene, o op) {
		c := g.convs[o.conv]
		first := c.pieces[0]
		mine, theirs := -first.seq-uint32(o.a), uint32(0)
		for _, p := range c.pieces {
			if p.src != first.src && p.no >= 0 {
				theirs = -p.seq - uint32(o.a)
				break
			}
		}
		g.all(o, func(p *piece) {
			add, addAck := mine, theirs
			if p.src != first.src {
				add, addAck = theirs, mine
			}
			if p.seq += add; p.flags&0x10 != 0 {
				p.ack += addAck
			}
			p.options = withoutSACK(p.options)
		})
	}), small(2000)},
	{"again", quiet, true, func(g *scene, o op) { // another interface shows all
		g.shown(o, func(p *piece) { p.at, p.order = p.at+int64(o.a)*1000, p.order+int64(o.a)*1000 })
	}, small(20_000)},
	{"translated", quiet, true, func(g *scene, o op) { // another interface shows all behind a translator
		g.translated(o, int64(1+o.a%3), -1)
	}, small(3)},
	{"translated late", loud, true, func(g *scene, o op) { // the same, but its queue delays both directions
		seen := map[string]bool{}
		for _, p := range g.convs[o.conv].pieces { // an echo is no answer that proves something
			if p.proto == 17 && seen[p.payload] {
				return
			}
			seen[p.payload] = true
		}
		g.translated(o, int64(o.a)*1000, 1)
	}, small(20_000)},
	{"reused", quiet, true, tcpOnly(func(g *scene, o op) { // by the next conversation, if it has the same server port
		a, k := g.convs[o.conv], o.conv+1
		if k >= len(g.convs) || !g.convs[k].tcp() || !g.joins(o.conv, k) {
			return
		}
		first, next, last := a.pieces[0], g.convs[k].pieces[0], slices.MaxFunc(a.pieces, func(x, y piece) int { return int(x.order - y.order) })
		if next.dst.Port() != first.dst.Port() || next.dst.Addr().Is6() != first.dst.Addr().Is6() || next.flags != 2 || next.seq == first.seq {
			return
		}
		g.moved[k] = last.order - next.at + int64(o.a)*10_000_000
		g.join(k, first, next, func(p *piece) { p.at, p.order = p.at+g.moved[k], p.order+g.moved[k] })
	}), small(100)},
	{"never closed", loud, true, tcpOnly(func(g *scene, o op) {
		c := g.convs[o.conv]
		c.pieces = slices.DeleteFunc(c.pieces, func(p piece) bool { return p.flags&5 != 0 })
	}), nil},
	{"tenant", quiet, true, func(g *scene, o op) { // the next conversation has the same ends, in a VLAN
		a, k := g.convs[o.conv], o.conv+1
		if k >= len(g.convs) || !g.joins(o.conv, k) {
			return
		}
		first, next := a.pieces[0], g.convs[k].pieces[0]
		if next.dst.Port() != first.dst.Port() || next.proto != first.proto || next.dst.Addr().Is6() != first.dst.Addr().Is6() || next.seq == first.seq {
			return
		}
		g.join(k, first, next, func(p *piece) { p.vlan = 77 })
	}, nil},
}

// translatedEnd is how a server looks behind a translator.
func translatedEnd(e netip.AddrPort) netip.AddrPort {
	a := e.Addr().As16()
	a[15] = 77
	return netip.AddrPortFrom(netip.AddrFrom16(a).Unmap(), e.Port())
}

// after counts the packets after a place.
func (g *scene) after(order int64) (n int) {
	for _, c := range g.convs {
		for i := range c.pieces {
			if c.pieces[i].order > order {
				n++
			}
		}
	}
	return n
}

// all changes every piece of a conversation.
func (g *scene) all(o op, change func(p *piece)) {
	for i := range g.convs[o.conv].pieces {
		change(&g.convs[o.conv].pieces[i])
	}
}

// joins reports whether the conversation with the number k may get the ends of another one: neither shares its ends so far.
func (g *scene) joins(other, k int) bool {
	shared := g.gone[other] || g.gone[k] || k+1 < len(g.gone) && g.gone[k+1]
	return !shared && len(g.convs[other].pieces) > 0 && len(g.convs[k].pieces) > 0
}

// join gives the conversation with the number k, whose first piece is next, the ends of the one that begins
// with first.
func (g *scene) join(k int, first, next piece, change func(p *piece)) {
	g.gone[k] = true
	for i := range g.convs[k].pieces {
		p := &g.convs[k].pieces[i]
		if p.src == next.src {
			p.src, p.dst = first.src, first.dst
		} else {
			p.src, p.dst = first.dst, first.src
		}
		change(p)
	}
}

// shown adds a copy of the conversation on another interface.
func (g *scene) shown(o op, change func(p *piece)) {
	c := g.convs[o.conv]
	if len(c.pieces) == 0 || g.views[o.conv] == 2 {
		return
	}
	g.views[o.conv]++
	list := slices.Clone(c.pieces)
	for i := range list {
		p := &list[i]
		p.iface, p.ttl = p.iface+g.views[o.conv], p.ttl-1
		change(p)
	}
	c.pieces = append(c.pieces, list...)
}

// translated adds what an interface behind a translator of the server's address shows: the client's packets after
// some ns, and the server's after back times as many.
func (g *scene) translated(o op, ns, back int64) {
	if len(g.convs[o.conv].pieces) == 0 {
		return
	}
	first := g.convs[o.conv].pieces[0]
	g.shown(o, func(p *piece) {
		if p.tunnel = 0; p.src == first.src {
			p.at, p.order, p.dst = p.at+ns, p.order+ns, translatedEnd(p.dst)
		} else {
			p.at, p.order, p.src = p.at+back*ns, p.order+back*ns, translatedEnd(p.src)
		}
	})
}

// withoutSACK removes the ranges of selective acknowledgements, which have sequence numbers.
func withoutSACK(options string) string {
	b := []byte(options)
	for i := 0; i < len(b); {
		n := 1
		if b[i] > 1 && i+1 < len(b) {
			n = max(int(b[i+1]), 2)
		}
		if b[i] == 5 {
			for k := i; k < min(i+n, len(b)); k++ {
				b[k] = 1
			}
		}
		i += n
	}
	return string(b)
}

func kindOf(o op) *opKind {
	for _, list := range [][]opKind{opKinds, edgeKinds} {
		for i := range list {
			if list[i].name == o.kind {
				return &list[i]
			}
		}
	}
	panic("no change " + o.kind)
}
