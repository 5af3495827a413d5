// Package proof decides which conversation a packet belongs to, and whether bytes with a wrong checksum
// count, where a single packet proves neither.
//
// Anyone can send a packet with the addresses, ids or checksums of another. So a packet goes to the
// conversation of other ends, or is read despite its checksum, only after an exchange of both sides or the
// recorder has proved it. Until then the packet is held in its round: Awaits says which rounds must not be
// sent on yet, and GiveUp decides without proof. A Judge depends on packets and keys alone, it never waits by
// itself, and its memory is limited.
package proof

import (
	"hash/maphash"

	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/internal/flow"
	"github.com/pcapsule/pcapsule/exporter/internal/memory"
	"github.com/pcapsule/pcapsule/exporter/internal/round"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

const (
	protoTCP = 6
	protoUDP = 17
)

// Judge sees the packets of a run in their order.
type Judge struct {
	views       views
	quicViews   quicViews
	socketViews socketViews
	pairs       pairs
	channels    channels
	sums        sums
	exchanges   exchanges
}

// Content is what protocols say about a datagram alone. A function that is nil says nothing.
type Content struct {
	Explained  func(datagram []byte) Explanation // how certain protocols other than QUIC are that it is theirs
	Identified identify                          // its QUIC connection
}

// New returns a Judge.
func New(limit memory.Limit, content Content) *Judge {
	j := &Judge{views: views{limit: limit}, quicViews: quicViews{foreign: content.Explained, identified: content.Identified, limit: limit}, sums: sums{limit: limit}, exchanges: exchanges{seed: maphash.MakeSeed()}}
	j.pairs = pairs{seed: maphash.MakeSeed(), views: &j.views, limit: limit}
	j.socketViews = socketViews{views: &j.views, pairs: &j.pairs}
	return j
}

// Place replaces the addresses in the newest packet of a round with those that the client of the
// conversation dialled. It returns a hash that selects the conversation's shard. socket is that of the
// packet, empty if unknown.
func (j *Judge) Place(fr *decode.Frame, f *flow.Packet, namespace uint64, socket *pcapng.Socket, in *round.Round) uint64 {
	at := spot{in, int32(len(in.Packets) - 1)}
	j.sums.judge(fr, f, at)
	j.views.halves.expire(f.Time)
	h := j.view(fr, f, namespace, socket, at)
	switch fr.Proto {
	case protoTCP:
		h = j.channels.shard(f, h)
	case protoUDP:
		h = j.channels.ofDatagram(f, h)
	}
	return h
}

// PlaceQuoted is Place for what an ICMP error quotes of a packet, which proves nothing.
func (j *Judge) PlaceQuoted(p *flow.Packet) uint64 {
	t := tupleOf(flow.End{Addr: p.Src, Port: p.SrcPort}, flow.End{Addr: p.Dst, Port: p.DstPort})
	if v := j.known(place{t, p.Network}, p.Proto); v != nil {
		p.See(v)
	}
	if shard, ok := j.channels.opened.m[channel{t, p.Network, p.Proto == protoUDP}]; ok {
		return shard
	}
	fr := decode.Frame{Proto: p.Proto, Src: p.Src, Dst: p.Dst, SrcPort: p.SrcPort, DstPort: p.DstPort}
	return fr.FlowHash()
}

// known is the view of ends that was proved so far, or nil.
func (j *Judge) known(at place, proto uint8) *flow.View {
	switch proto {
	case protoTCP:
		if s := j.views.known.m[at]; s != nil {
			return s.view
		}
	case protoUDP:
		if s := j.quicViews.tuples.m[at]; s != nil && s.view != nil {
			return s.view
		}
		if t := j.pairs.talks.m[at]; t != nil && !t.tcp && t.like != nil && t.like.proven {
			return t.like.view
		}
	}
	return nil
}

// view returns the hash of the addresses that the client dialled.
func (j *Judge) view(fr *decode.Frame, f *flow.Packet, namespace uint64, s *pcapng.Socket, at spot) uint64 {
	if !fr.PDU && (s.Ends != nil || len(j.socketViews.known.m) > 0) {
		j.socketViews.see(fr, f, namespace, s)
	}
	hash := fr.FlowHash()
	var v *flow.View
	ours := false // excluded from the search by payload
	switch {
	case fr.PDU:
		return hash
	case fr.Proto == protoTCP:
		if v = j.views.find(f, hash, s.Cookie, at); v != nil && f.TCPFlags&(decode.SYN|decode.ACK) == decode.SYN {
			j.pairs.repeats(f, hash)
		}
	case fr.Proto == protoUDP:
		v, ours = j.quicViews.find(f, hash, s.Cookie)
	default:
		return hash
	}
	if v == nil && !ours {
		v = j.pairs.find(f, hash, at)
	}
	if v == nil || f.View != nil { // the recorder's socket takes precedence
		return hash
	}
	f.See(v)
	fr.Src, fr.Dst, fr.SrcPort, fr.DstPort = f.Src, f.Dst, f.SrcPort, f.DstPort
	return fr.FlowHash()
}

// Memory is the memory of the search in bytes, which depends only on the packets. It excludes that for
// views of handshakes, which a run reserves.
func (j *Judge) Memory() int {
	return j.pairs.memory() + j.channels.memory() + j.quicViews.memory() + j.socketViews.memory() + j.sums.memory() + j.exchanges.memory()
}

// Awaits reports whether packets of a round wait for a proof.
func (j *Judge) Awaits(r *round.Round) bool {
	return j.pairs.awaits(r) || j.sums.awaits(r) || j.views.halves.awaits(r)
}

// GiveUp decides about the packets that have waited longest, if a round has such.
func (j *Judge) GiveUp(r *round.Round) {
	pairs, sums, halves := j.pairs.awaits(r), j.sums.awaits(r), j.views.halves.awaits(r)
	if pairs {
		j.pairs.lapse()
	}
	if sums {
		j.sums.pop()
	}
	if halves {
		j.views.halves.pop()
	}
}
