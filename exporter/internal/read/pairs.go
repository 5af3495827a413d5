package read

import (
	"hash/maphash"
	"slices"

	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/internal/flow"
	"github.com/pcapsule/pcapsule/exporter/internal/round"
)

// Limits of the search for conversations that are seen under other ends.
const (
	maxTalks    = 16_384     // conversations remembered
	maxMessages = 32_768     // messages remembered, as many as may lie between two views
	maxFirst    = 64         // messages of a conversation that are looked at until one is seen elsewhere
	maxFirstTCP = 8          // the same, of TCP
	maxCopies   = 4          // other views of a conversation; a message that more conversations have shown proves nothing
	minMessage  = 12         // bytes of a datagram that may prove something, as many as a DNS header has
	maxAwaited  = 1024       // packets of a possible view that are held until it is proven
	maxAnswers  = 8          // answers of a possible view that the first conversation may still show
	pairSlack   = int64(1e9) // ns within which the other view shows the same message
)

// pairs finds conversations that the capture shows under more than one pair of ends, for
// datagrams and for TCP whose handshake was not captured. A translator rewrites addresses
// and ports and leaves the payload.
//
// Anyone who sees a datagram can send its copy elsewhere, so an equal question only begins a
// wait. The ends are a view of the first conversation after the other side has answered with
// an equal message too, and if time says that one can be behind the other:
//   - the exchange of one view lies within that of the other, as on one clock, or
//   - clocks differ by less than a second and the asking address or port is the same.
//
// Until then the packets of the ends that wait are held (see lookahead), so that a proof holds for
// the first packet too. Afterwards a question goes to the first conversation only if that
// has shown the same question, and an answer goes where the question went. What is
// not shown twice stays where it is, so nothing of another host can vanish.
//
// LIMIT: messages that are the same for everyone, such as keep-alives, prove nothing if they are
// shorter than 12 bytes or if more than 4 conversations show one within a second.
type pairs struct {
	seed    maphash.Seed
	talks   recent[place, *talk]
	said    recent[uint64, *message] // by hash, of the conversation that showed it first
	waiting []wait                   // oldest first
	settled settled
	views   *views // gets proven views of TCP
}

// place is a pair of ends in a network.
type place struct {
	tuple
	network uint64
}

// message is a payload that a conversation showed.
type message struct {
	hash  uint64
	at    int64
	no    int64
	iface int32
	dir   uint8

	of    *talk // that showed it first
	other *talk // that showed it last
	by    int   // conversations that have shown it
}

// talk is what two ends in one network say.
type talk struct {
	ends   [2]flow.End // who spoke first and the other; of a view in the order of its original
	at     place
	hash   uint64 // of the ends, as shards are cut by it
	tcp    bool
	looked int      // messages that were looked at
	last   [2]int64 // 1 + number of the newest message of each direction
	copies []*talk  // its views, and what may be one

	// Of a view, or what may be one:
	of        *talk
	proven    bool
	follows   bool       // the last question was seen in both
	asked     [2]message // with which the wait began: as the original and as these ends showed it
	answers   []message
	questions int // that wait for one
	awaited   []spot
	view      *flow.View
}

// spot is where a packet stands in a round that was not sent.
type spot struct {
	in *round.Round
	i  int32
}

// wait is that of a possible view since a message of it.
type wait struct {
	of    *talk
	since int64 // number of its packet
}

// over reports whether the wait has ended.
func (w wait) over() bool { return w.of.of == nil || w.of.proven || w.of.asked[1].no != w.since }

// find returns the view through which a packet is seen, nil if its ends are those of its
// conversation. hash is Frame.FlowHash, and s where the packet stands.
func (p *pairs) find(f *flow.Packet, hash uint64, s spot) *flow.View {
	tcp := f.Proto == protoTCP
	if tcp && f.TCPFlags&decode.SYN != 0 { // handshakes are compared by views
		p.settled.add(placeHash(hash, f.Network))
		return nil
	}
	if len(f.Payload) == 0 && len(p.waiting) == 0 || p.settled.has(placeHash(hash, f.Network)) {
		return nil
	}
	t := p.talk(f, hash, tcp)
	if t == nil {
		return nil
	}
	p.expire(f.Time)
	dir := uint8(0)
	if (flow.End{Addr: f.Src, Port: f.SrcPort}) != t.ends[0] {
		dir = 1
	}
	if size := len(f.Payload); size == 0 || !tcp && size < minMessage { // goes where the last question went
		return p.pass(t, s)
	}
	m := message{hash: p.hash(f), at: f.Time, no: f.No, iface: f.Interface, dir: dir}
	t.last[dir] = m.no + 1
	switch {
	case t.of == nil:
	case dir != t.asked[0].dir:
		if !t.proven {
			p.answered(t, m)
		}
		return p.pass(t, s)
	default:
		t.follows = t.tcp || p.shown(t.of, &m)
		t.questions++
		if t.follows || !t.proven {
			return p.pass(t, s)
		}
		t.leave()
	}
	p.listen(t, m, s)
	return nil
}

// talk is the conversation of the packet's ends, nil if it is none that can have a view.
func (p *pairs) talk(f *flow.Packet, hash uint64, tcp bool) *talk {
	src, dst := flow.End{Addr: f.Src, Port: f.SrcPort}, flow.End{Addr: f.Dst, Port: f.DstPort}
	at := place{tupleOf(src, dst), f.Network}
	t := p.talks.m[at]
	if t == nil && len(f.Payload) > 0 && src != dst && !manyHosts(&f.Dst) {
		t = &talk{ends: [2]flow.End{src, dst}, at: at, hash: hash, tcp: tcp}
		p.talks.put(at, t, maxTalks)
	}
	return t
}

// manyHosts reports whether an address is that of several hosts, who answer under their own.
func manyHosts(a *decode.Addr) bool {
	if a.Is4() {
		return a[12] >= 224
	}
	return a[0] == 0xff
}

func (p *pairs) hash(f *flow.Packet) uint64 {
	h := maphash.Bytes(p.seed, f.Payload) ^ uint64(f.PayloadLen)*0x9e3779b97f4a7c15
	if f.Proto == protoTCP {
		h ^= maphash.Comparable(p.seed, [2]uint32{f.Seq, f.Ack})
	}
	return h
}

// shown reports whether a conversation has shown a message within the time.
func (p *pairs) shown(t *talk, m *message) bool {
	e := p.said.m[m.hash]
	return e != nil && e.of == t && e.dir == m.dir && near(e.at, m.at)
}

func near(a, b int64) bool { return a-b <= pairSlack && b-a <= pairSlack }

// pass lets a packet go where the last question went; it waits if that is not decided.
func (p *pairs) pass(t *talk, s spot) *flow.View {
	switch {
	case t.of == nil || !t.follows:
	case t.proven:
		return t.view
	case len(t.awaited) == maxAwaited:
		t.leave()
	default:
		t.awaited = append(t.awaited, s)
	}
	return nil
}

// listen looks for another conversation that has shown the message, and remembers it
// otherwise.
func (p *pairs) listen(t *talk, m message, s spot) {
	e := p.said.m[m.hash]
	if e != nil && e.of != t && near(e.at, m.at) {
		if e.other != t {
			e.by, e.other = e.by+1, t
		}
		if x := e.of; e.by <= maxCopies && x.of == nil && len(t.copies) == 0 && len(x.copies) < maxCopies && x.tcp == t.tcp {
			p.begin(t, e, m, s)
		}
		return
	}
	limit := maxFirst
	if t.tcp {
		limit = maxFirstTCP
	}
	if t.looked++; t.looked > limit && len(t.copies) == 0 {
		p.settled.add(placeHash(t.hash, t.at.network))
		return
	}
	m.of, m.by = t, 1
	if e != nil && e.of == t {
		m.by, m.other = e.by, e.other
	}
	p.said.put(m.hash, &m, maxMessages)
	for i := len(t.copies) - 1; i >= 0; i-- {
		p.answeredFirst(t.copies[i], &m)
	}
}

// answeredFirst looks whether a possible view has shown a message of its original before.
func (p *pairs) answeredFirst(t *talk, m *message) {
	if t.proven || m.dir == t.asked[0].dir {
		return
	}
	for i := range t.answers {
		if a := &t.answers[i]; a.hash == m.hash && t.behind(m, a) {
			p.prove(t)
			return
		}
	}
	t.doubt()
}

// doubt ends a wait if both conversations have had answers, and not the same.
func (t *talk) doubt() {
	if answer := 1 - t.asked[0].dir; len(t.answers) >= t.questions && t.of.last[answer] > t.asked[0].no+1 {
		t.leave()
	}
}

// begin begins to wait for the proof that a conversation is a view of the one that showed
// the message e before.
func (p *pairs) begin(t *talk, e *message, m message, s spot) {
	if e.dir != m.dir {
		t.ends[0], t.ends[1] = t.ends[1], t.ends[0]
		t.last[0], t.last[1] = t.last[1], t.last[0]
		m.dir = e.dir
	}
	if t.view != nil && t.view.Dialled != e.of.ends {
		t.view = nil
	}
	t.questions = 1
	t.of, t.follows, t.asked, t.awaited = e.of, true, [2]message{*e, m}, append(t.awaited, s)
	e.of.copies = append(e.of.copies, t)
	p.waiting = append(p.waiting, wait{t, m.no})
}

// answered takes a message of the side that was asked.
func (p *pairs) answered(t *talk, m message) {
	if e := p.said.m[m.hash]; e != nil && p.shown(t.of, &m) && t.behind(e, &m) {
		p.prove(t)
		return
	}
	if len(t.answers) == maxAnswers {
		t.answers = append(t.answers[:0], t.answers[1:]...)
	}
	t.answers = append(t.answers, m)
	t.doubt()
}

// behind reports whether time allows that the original showed answer x where these ends
// showed y.
func (t *talk) behind(x, y *message) bool {
	ask, asked := &t.asked[0], &t.asked[1]
	if x.no < ask.no || y.no < asked.no || !near(x.at, y.at) {
		return false
	}
	if ask.no < asked.no && y.no < x.no {
		return true
	}
	if apart := x.no < asked.no || y.no < ask.no; !apart && ask.iface == asked.iface {
		return false // both wait for an answer at once: two questions
	}
	here, there := t.ends[ask.dir], t.of.ends[ask.dir]
	return here.Addr == there.Addr || here.Port == there.Port
}

// prove makes a conversation a view of another, with all its packets that wait for that.
func (p *pairs) prove(t *talk) {
	x := t.of
	if t.view == nil {
		t.view = &flow.View{Dialled: x.ends, Seen: t.ends, Network: x.at.network, By: flow.ByPayload}
	}
	t.proven = true
	from, to := t.hash%flow.ShardCount, x.hash%flow.ShardCount
	for _, s := range t.awaited {
		f := &s.in.Packets[s.i]
		f.See(t.view)
		s.in.Move(s.i, from, to)
	}
	t.awaited, t.answers = nil, nil
	if t.tcp {
		t.view.By = flow.BySequence
		p.views.prove(t.at, t.view)
	}
}

// leave ends that a conversation is, or may be, a view.
func (t *talk) leave() {
	if x := t.of; x != nil {
		x.copies = slices.DeleteFunc(x.copies, func(c *talk) bool { return c == t })
	}
	t.of, t.proven, t.follows, t.awaited, t.answers = nil, false, false, nil, nil
}

// expire ends the waits that were too long at a time.
func (p *pairs) expire(now int64) {
	for len(p.waiting) > 0 && (p.waiting[0].over() || !near(p.waiting[0].of.asked[1].at, now)) {
		p.pop()
	}
}

// pop ends the oldest wait.
func (p *pairs) pop() {
	if w := p.waiting[0]; !w.over() {
		w.of.leave()
	}
	p.waiting = slices.Delete(p.waiting, 0, 1)
}

// awaits reports whether packets of a round may still turn out to be those of a view. It
// is the oldest round that was not sent.
func (p *pairs) awaits(r *round.Round) bool {
	for len(p.waiting) > 0 && p.waiting[0].over() {
		p.pop()
	}
	return len(p.waiting) > 0 && p.waiting[0].of.awaited[0].in == r
}
