package proof

import (
	"slices"

	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/internal/flow"
	"github.com/pcapsule/pcapsule/exporter/internal/memory"
)

// Limits of the search for connections seen under other addresses.
const (
	maxSYNs   = 8192       // first packets kept
	maxViews  = 65_536     // translated conversations kept at the same time
	synSlack  = int64(1e9) // ns within which a translated SYN follows its original
	nearBytes = 1 << 20    // from the bytes of its side to a reset: one farther off only makes the next SYN wait for its answer
)

// views finds connections that the capture shows under more than one pair of addresses, as on a node that translates a
// service's address to a pod's. A translator keeps a SYN's sequence number, window and window scale, but may change its
// time stamp and segment size: the same ones within a second, and before the client continues after the answer, are
// probably the same SYN. SYNs without time stamps are not matched with each other, because scanners send the same numbers
// to many ports (pairs waits for their answers). A SYN whose client has gone on is not matched, because replayed captures repeat them.
//
// Anyone who sees a SYN can send a copy of it elsewhere. Payload therefore counts for the first
// connection only after both SYN-ACKs had the same sequence number, which the server chose (RFC
// 9293 section 3.4.1), or after the recorder reported that the socket that sent one receives it.
// Until then the two share only handshakes, which carry no payload. Of several SYN-ACKs, the one that
// the client acknowledges counts, because anyone can forge one.
//
// A loopback device shows packets of the client after the translation, and those of the server before it is reversed: the
// SYN-ACK comes from the end that was dialled, see halves.
//
// A bridge that translates shows only the client's packets between its two translations, see between, or only the
// server's, see answeredBetween.
//
// A SYN on the ends of a view changes nothing until it is answered (RFC 5961 section 4).
//
// Equal ends in two networks are different ends. A SYN-ACK may arrive in another network than
// its SYN; its direction then belongs to that network.
//
// Queues of a network adapter show a SYN after its answer, so a SYN-ACK without a SYN is kept for it.
//
// LIMIT: two files are not paired by SYN if their clocks differ by more than the time until the
// connection was answered; pairs compares their payload.
type views struct {
	syns     recent[synKey, *dial] // whose clients have sent nothing else so far
	dials    recent[place, *dial]  // by the ends that were dialled
	open     recent[place, *dial]  // answered ones that are in syns
	early    recent[place, synAck] // SYN-ACKs without a SYN
	halves   halves
	known    recent[place, *seen]  // other ends
	networks recent[tuple, uint64] // of the newest SYN that stood in one
	limit    memory.Limit
}

// synKey has the fields of a SYN that every translator keeps.
type synKey struct {
	seq    uint32
	window uint16
	wscale int8
}

// dial is a connection's first SYN.
type dial struct {
	client, server flow.End
	network        uint64
	at             int64
	key            synKey
	tsval          uint32
	copies         uint8   // views with another time stamp, or none
	views          []*seen // at most maxCopies
	half           *half   // ends that may show its answers
	answer         answers
	cookie         uint64 // of the socket that answered, 0 unknown
}

// seen is a view of a connection.
type seen struct {
	view   *flow.View
	of     *dial
	answer answers
	ended  uint8     // bit n: Seen[n] of the view sent a FIN; both after a reset
	next   [2]number // sequence numbers after the newest bytes of Seen[n]
	again  *redial   // a SYN that was not answered so far
}

// redial is a SYN on the ends of a view.
type redial struct {
	from flow.End
	seq  uint32
	seen *seen // what they are once it is answered; nil: ends of their own
}

// dir is the direction of a packet under a view's ends.
func (s *seen) dir(f *flow.Packet) int {
	if s.view.Seen[0] == (flow.End{Addr: f.Src, Port: f.SrcPort}) {
		return 0
	}
	return 1
}

// end records how far a view's directions are, and their end. A reset far from the bytes of its side ends nothing
// (RFC 9293 section 3.10.7.4): a SYN after it counts once it is answered.
func (s *seen) end(f *flow.Packet) {
	dir := s.dir(f)
	next, to, near := &s.next[dir], f.Seq+uint32(f.PayloadLen), s.next[dir].near(f)
	switch {
	case f.TCPFlags&decode.RST != 0:
		if near {
			s.ended = 3
		}
		return
	case f.TCPFlags&decode.FIN != 0:
		s.ended |= 1 << dir
		to++ // RFC 9293 section 3.4
	}
	if near && (!next.known || int32(to-next.seq) > 0) {
		*next = number{to, true}
	}
}

// left reports whether a packet shows that the SYN on the ends of a view was not stray: it answers it, or is not one of
// a view that has ended.
func (s *seen) left(f *flow.Packet) bool {
	if s.again == nil {
		return false
	}
	own, other := s.next[s.dir(f)], s.next[1-s.dir(f)]
	continues := own == number{f.Seq, true} || other == number{f.Ack, true}
	return !continues && s.again.answered(f) || s.ended == 3 && !own.near(f)
}

// answered reports whether a packet shows that the other side has answered the SYN.
func (r *redial) answered(f *flow.Packet) bool {
	if r == nil || f.TCPFlags&decode.ACK == 0 {
		return false
	}
	if r.from == (flow.End{Addr: f.Src, Port: f.SrcPort}) {
		return f.TCPFlags&decode.SYN == 0 && f.Seq == r.seq+1
	}
	return f.Ack == r.seq+1
}

// current is the view of these ends to which a packet belongs.
func (v *views) current(at place, f *flow.Packet) *seen {
	s := v.known.m[at]
	if s == nil || !s.left(f) {
		return s
	}
	if s.again.seen == nil {
		delete(v.known.m, at)
		return nil
	}
	s = s.again.seen
	v.known.put(at, s, v.limit.Scale(maxViews))
	return s
}

// number is a sequence number that may be known.
type number struct {
	seq   uint32
	known bool
}

// near reports whether the end of a packet may be near it.
func (n number) near(f *flow.Packet) bool {
	return !n.known || f.Seq+uint32(f.PayloadLen)-n.seq+nearBytes <= 2*nearBytes
}

// proven reports whether the server's number is the same in both views.
func (s *seen) proven() bool { return s.answer.like(&s.of.answer) }

// refuted reports whether both views were answered, and no answer is the same.
func (s *seen) refuted() bool { return s.answer.differs(&s.of.answer) }

// synAck has the numbers of a SYN-ACK.
type synAck struct{ seq, ack uint32 }

type tuple [2]flow.End

// tupleOf orders two ends.
func tupleOf(a, b flow.End) tuple {
	if b.Before(a) {
		a, b = b, a
	}
	return tuple{a, b}
}

// find returns the view of a TCP packet, or nil if it has the addresses that its client dialled.
// hash is Frame.FlowHash, s the packet's position, and cookie that of its socket, 0 unknown.
func (v *views) find(f *flow.Packet, hash, cookie uint64, s spot) *flow.View {
	if len(v.known.m) == 0 && len(v.open.m) == 0 && len(v.halves.waiting) == 0 && f.TCPFlags&decode.SYN == 0 {
		return nil
	}
	src, dst := flow.End{Addr: f.Src, Port: f.SrcPort}, flow.End{Addr: f.Dst, Port: f.DstPort}
	at := place{tupleOf(src, dst), f.Network}
	switch f.TCPFlags & (decode.SYN | decode.ACK | decode.RST | decode.FIN) {
	case decode.SYN:
		return v.syn(f, src, dst, at)
	case decode.SYN | decode.ACK:
		view, found := v.answered(f, at, cookie)
		if !found {
			v.halves.answered(f, hash, s)
		}
		return view
	}
	if d := v.open.m[at]; d != nil && src == d.client {
		d.answer.acknowledge(f)
		v.wentOn(d, at)
	}
	v.halves.acknowledged(v, f, src, hash)
	x := v.current(at, f)
	if x == nil {
		return nil
	}
	if src == x.view.Seen[0] {
		x.answer.acknowledge(f)
	}
	if x.refuted() {
		return nil
	}
	x.end(f)
	switch {
	case cookie != 0 && cookie == x.of.cookie && f.Direction == decode.DirIn:
		x.answer = x.of.answer // the socket that answered receives the packets of these ends
	case f.PayloadLen > 0 && !x.proven() && !x.between():
		delete(v.known.m, at)
		return nil
	}
	return x.view
}

func (v *views) syn(f *flow.Packet, src, dst flow.End, at place) *flow.View {
	if f.Network != 0 {
		v.networks.put(at.tuple, f.Network, v.limit.Scale(maxViews))
	}
	old := v.known.m[at]
	switch {
	case old == nil || !old.proven():
		old = nil
	case old.of.key.seq == f.Seq && old.of.key != (synKey{}): // shown again
		return old.view
	}
	k := synKey{f.Seq, f.Window, f.WScale}
	first := v.syns.m[k]
	if first != nil && !first.like(f) {
		first = nil
	}
	if first == nil && !f.HasTS {
		v.begin(at, old, &redial{src, f.Seq, nil})
		return nil
	}
	if d := v.dials.m[at]; d != nil && d.key == k && d.tsval == f.TSVal && d.answer.n > 0 && f.Time-d.at <= synSlack { // shown again, after the answer
		return nil
	}
	if first == nil {
		d := &dial{client: src, server: dst, network: f.Network, at: f.Time, key: k, tsval: f.TSVal}
		if old == nil {
			v.syns.put(k, d, v.limit.Scale(maxSYNs))
		}
		v.dials.put(at, d, v.limit.Scale(maxViews))
		v.halves.asking.put(asker{src, f.Network}, d, v.limit.Scale(maxSYNs))
		v.begin(at, old, &redial{src, f.Seq, nil})
		delete(v.open.m, at)
		if a, ok := v.early.m[at]; ok && a.ack == f.Seq+1 {
			v.answer(d, a.seq)
		}
		return nil
	}
	if tupleOf(first.client, first.server) == at.tuple {
		return nil
	}
	if s := v.known.m[at]; s != nil && s.of == first {
		return s.view
	}
	if f.TSVal != first.tsval {
		first.copies++
	}
	s := &seen{of: first, view: &flow.View{Dialled: [2]flow.End{first.client, first.server}, Seen: [2]flow.End{src, dst}, Network: first.network, By: flow.BySequence, Stamps: f.TSVal != first.tsval}}
	if a, ok := v.early.m[at]; ok && a.ack == f.Seq+1 {
		if s.answer.add(a.seq); s.refuted() {
			return nil
		}
	}
	if len(first.views) < maxCopies {
		first.views = append(first.views, s)
	}
	v.begin(at, old, &redial{src, f.Seq, s})
	return s.view
}

// between reports whether no answer was seen under a view's ends, and they are between those of two translations:
// the client's or the server's of those that were dialled, and the other of a proven view.
func (s *seen) between() bool {
	return s.answer.n == 0 && slices.ContainsFunc(s.of.views, func(o *seen) bool {
		return o.proven() && mixed(s.view.Seen, s.view.Dialled, o.view.Seen)
	})
}

// mixed reports whether ends are the first of one conversation's view and the second of the other.
func mixed(ends, a, b [2]flow.End) bool {
	return ends == [2]flow.End{a[0], b[1]} || ends == [2]flow.End{b[0], a[1]}
}

// like reports whether a SYN may be the one that opened a connection, under other ends. A translator may rewrite or remove
// the time stamp, but then the number must be a random one, and few ends may show it.
func (d *dial) like(f *flow.Packet) bool {
	if f.Time-d.at > synSlack || d.at-f.Time > synSlack {
		return false
	}
	return f.HasTS && f.TSVal == d.tsval || f.Seq >= minDrawn && d.copies < maxCopies
}

// begin records a SYN on ends that may have an old view, which stays until the SYN is answered.
func (v *views) begin(at place, old *seen, r *redial) {
	switch {
	case old != nil:
		old.again = r
	case r.seen != nil:
		v.known.put(at, r.seen, v.limit.Scale(maxViews))
	default:
		delete(v.known.m, at)
	}
}

// answer records the SYN-ACK of a first SYN.
func (v *views) answer(d *dial, seq uint32) {
	if d.answer.n == 0 {
		v.open.put(place{tupleOf(d.client, d.server), d.network}, d, v.limit.Scale(maxSYNs))
	}
	d.answer.add(seq)
}

// wentOn ends the search for other views of a connection.
func (v *views) wentOn(d *dial, at place) {
	delete(v.open.m, at)
	if v.syns.m[d.key] == d {
		delete(v.syns.m, d.key)
	}
}

// answered processes a SYN-ACK: one with a number that differs from another view's shows that they are two
// connections, unless the client acknowledges another one. found reports whether these ends have shown the SYN.
func (v *views) answered(f *flow.Packet, at place, cookie uint64) (view *flow.View, found bool) {
	v.learn(f, at)
	d, s := v.dials.m[at], v.current(at, f)
	dialled := d != nil && f.Ack == d.key.seq+1
	if dialled {
		v.answer(d, f.Seq)
		if f.Direction == decode.DirOut {
			d.cookie = cookie
		}
	}
	if s == nil {
		if !dialled {
			if view := v.answeredBetween(f, at); view != nil {
				return view, true
			}
			v.early.put(at, synAck{f.Seq, f.Ack}, v.limit.Scale(maxSYNs))
		}
		return nil, dialled
	}
	if s.answer.add(f.Seq); s.refuted() {
		return nil, true
	}
	return s.view, true
}

// learn assigns the direction of a SYN-ACK its own network if it acknowledges a SYN of another
// network.
func (v *views) learn(f *flow.Packet, at place) {
	if d, s := v.dials.m[at], v.known.m[at]; d != nil && !d.over(f) || s != nil && !s.of.over(f) {
		return
	}
	asked := place{at.tuple, v.networks.m[at.tuple]}
	if asked.network == f.Network {
		asked.network = 0
	}
	d, s := v.dials.m[asked], v.known.m[asked]
	dialled, viewed := d != nil && f.Ack == d.key.seq+1, s != nil && f.Ack == s.of.key.seq+1
	if dialled || viewed {
		delete(v.known.m, at)
	}
	if dialled {
		v.dials.put(at, d, v.limit.Scale(maxViews))
	}
	if viewed {
		v.known.put(at, s, v.limit.Scale(maxViews))
	}
}

// over reports whether a SYN-ACK answers a later SYN on the same ports.
func (d *dial) over(f *flow.Packet) bool {
	return d.key != (synKey{}) && d.answer.n > 0 && f.Ack != d.key.seq+1
}

// prove records ends whose payload showed that they are a view. isn is the number of their SYN, 0 if it was not seen.
func (v *views) prove(at place, view *flow.View, isn uint32) {
	same := answers{n: 1}
	v.known.put(at, &seen{view: view, of: &dial{answer: same, key: synKey{seq: isn}}, answer: same}, v.limit.Scale(maxViews))
}
