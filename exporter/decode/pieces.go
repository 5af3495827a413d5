package decode

import "slices"

// count adds a fragment to the totals of its datagram.
func (g *datagram) count(size int, at int64) {
	p := &g.pieces
	if p.Packets == 0 {
		p.First, g.newest = at, at
	}
	p.Packets++
	p.Bytes += size
	p.First, g.newest = min(p.First, at), max(g.newest, at)
}

// partial is the frame of an incomplete datagram: addresses and ports of its first fragment, and
// the payload up to the first missing byte. It is nil if the first fragment did not arrive,
// because the ports are then unknown.
func (g *datagram) partial() *Frame {
	if g.head == nil || len(g.runs) == 0 || g.runs[0].off != 0 {
		return nil
	}
	var data []byte
	at := 0 // the first missing byte
	for i := range g.runs {
		r := &g.runs[i]
		if r.off != at {
			break
		}
		data = append(data, r.data...)
		if at += len(r.data); len(r.data) < r.size {
			break
		}
	}
	last := &g.runs[len(g.runs)-1]
	f := g.head
	f.Kind, f.Pieces, f.Payload, f.PayloadLen = KindIP, g.pieces, nil, 0
	f.FragNos = slices.Compact(slices.Sorted(slices.Values(g.nos)))
	w := walk{f: f, data: data, wire: max(last.off+last.size, g.total), next: uint16(g.proto), cut: true, partial: true}
	f.IPLen = g.header + w.wire
	f.Proto = g.proto
	switch w.next {
	case protoTCP:
		w.tcp()
	case protoUDP:
		w.udp()
	case protoSCTP:
		w.sctp()
	case protoICMP, protoICMPv6:
		w.icmp()
	default:
		w.payload()
	}
	f.Problems = f.Problems&^(Truncated|HeaderCut) | g.problems | FragmentMissing
	return f
}
