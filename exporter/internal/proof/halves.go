package proof

import (
	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/internal/flow"
	"github.com/pcapsule/pcapsule/exporter/internal/round"
)

// maxHalves is the number of SYN-ACKs that are held at the same time.
const maxHalves = 256

// halves finds the answers of connections that a loopback device shows translated in one direction only: the packets of
// the client show what a rule (iptables REDIRECT, or DNAT of the machine's own connections) made of the end that it
// dialled, and those of the server the dialled end itself. A SYN-ACK to the client, with the number of its SYN, from an end
// that saw no SYN is held until the client acknowledges the number that the server chose (RFC 9293 section 3.4.1) under the
// ends of its SYN. Then what comes from this end is the connection's.
//
// LIMIT: connections without time stamps (RFC 7323), or whose handshake was not captured, are two half ones.
type halves struct {
	asking  recent[asker, *dial] // the newest SYN of each client
	waiting []*half              // oldest first
}

// asker is the end of a client in a network.
type asker struct {
	client  flow.End
	network uint64
}

// half are ends that may show the answers of a connection.
type half struct {
	at   place
	seen *seen
	held spot   // of the SYN-ACK
	hash uint64 // of its ends
	done bool   // proven, or given up
}

// answered holds a SYN-ACK from an end that saw no SYN, if it answers one that had no answer.
func (x *halves) answered(f *flow.Packet, hash uint64, s spot) {
	src, dst := flow.End{Addr: f.Src, Port: f.SrcPort}, flow.End{Addr: f.Dst, Port: f.DstPort}
	d := x.asking.m[asker{dst, f.Network}]
	if d == nil || d.half != nil || d.answer.n > 0 || f.Ack != d.key.seq+1 || f.Time-d.at > synSlack || d.at-f.Time > synSlack {
		return
	}
	view := &flow.View{Dialled: [2]flow.End{dst, d.server}, Seen: [2]flow.End{dst, src}, Network: d.network, By: flow.BySequence, Answers: true}
	d.half = &half{at: place{tupleOf(src, dst), f.Network}, seen: &seen{of: d, view: view}, held: s, hash: hash}
	d.half.seen.answer.add(f.Seq)
	if x.waiting = append(x.waiting, d.half); len(x.waiting) > maxHalves {
		x.pop()
	}
}

// acknowledged proves the ends whose number the client acknowledges. hash is that of the packet's ends.
func (x *halves) acknowledged(v *views, f *flow.Packet, client flow.End, hash uint64) {
	if len(x.waiting) == 0 || f.TCPFlags&decode.ACK == 0 {
		return
	}
	d := x.asking.m[asker{client, f.Network}]
	if d == nil || d.half == nil || d.half.done || d.answer.n > 0 || f.Seq != d.key.seq+1 || d.server != (flow.End{Addr: f.Dst, Port: f.DstPort}) {
		return
	}
	h := d.half
	if h.seen.answer.acknowledge(f); !h.seen.answer.acknowledged {
		return
	}
	h.done, d.answer = true, h.seen.answer
	h.held.packet().See(h.seen.view)
	h.held.in.Move(h.held.i, h.hash%flow.ShardCount, hash%flow.ShardCount)
	v.known.put(h.at, h.seen, v.limit.Scale(maxViews))
}

// expire ends the waits that are over.
func (x *halves) expire(now int64) {
	for len(x.waiting) > 0 && (x.waiting[0].done || now-x.waiting[0].seen.of.at > synSlack) {
		x.pop()
	}
}

// pop ends the oldest wait.
func (x *halves) pop() {
	x.waiting[0].done = true
	x.waiting[0] = nil
	x.waiting = x.waiting[1:]
}

// awaits reports whether a SYN-ACK of a round is held. r is the oldest unsent round.
func (x *halves) awaits(r *round.Round) bool {
	for len(x.waiting) > 0 && x.waiting[0].done {
		x.pop()
	}
	return len(x.waiting) > 0 && x.waiting[0].held.in == r
}
