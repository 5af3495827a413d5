package proof

import (
	"hash/maphash"
	"slices"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/internal/flow"
	"github.com/pcapsule/pcapsule/exporter/internal/memory"
	"github.com/pcapsule/pcapsule/exporter/internal/round"
)

// Limits of the search for conversations seen under other ends.
const (
	maxTalks    = 16_384         // conversations kept
	maxRedials  = 1024           // of them, those with a SYN that nothing has answered
	maxMessages = 32_768         // messages kept, as many as may lie between two views
	maxFirst    = 64             // messages of a conversation to examine until one is seen elsewhere, and all within pairSlack
	maxFirstTCP = 8              // the same for TCP, without that time
	maxCopies   = 4              // other views of a conversation at the same time; a message seen in more conversations proves nothing
	minMessage  = 12             // bytes of a datagram that may prove a pair: the size of a DNS header
	maxWaiting  = 2048           // possible views at the same time
	maxAwaited  = 1024           // packets of a possible view that are held until it is proved
	maxAnswers  = 8              // answers of a possible view that the first conversation may still show
	minDrawn    = 1 << 24        // below, a sequence number is probably a generator's constant
	pairSlack   = int64(1e9)     // ns within which the other view must show the same message
	clockSlack  = 30 * pairSlack // the same for TCP under two clocks, if the handshake has random numbers
)

// pairs finds conversations that the capture shows under more than one pair of ends. It covers
// datagrams, and TCP where views lacks a part of the handshake, a time stamp or the order. A
// translator rewrites addresses and ports, but keeps the payload and the sequence numbers.
//
// Anyone who sees a datagram can send a copy of it elsewhere, so an equal question only starts a
// wait. The ends are a view of the first conversation once the other side has answered with an
// equal message too, and if the times allow that one is behind the other:
//   - the exchange of one view lies within that of the other, as with one clock, or
//   - the clocks differ by less than a second, and the client's address or port is the same or
//     both have shown a SYN-ACK with random numbers. A handshake alone is then no proof, and on one
//     interface nothing is after one was captured: replayed captures repeat them, or
//   - two clocks differ by less than 30 seconds, and both have shown a SYN-ACK with random numbers.
//
// Until then the packets of these ends are held (see Awaits), so that a proof also covers the
// first packet. Afterwards, a question goes to the first conversation only if that has shown the
// same question, and an answer goes to the conversation of its question. A message seen only
// once stays where it is, so no packet of another host can vanish.
//
// LIMIT: translated connections under clocks that differ by more are one connection per place: after that
// time the first one is closed, and the second one may be a replay.
//
// LIMIT: messages that are the same for all hosts, such as keep-alives, prove nothing if they
// are shorter than 12 bytes or if more than 4 conversations show one within a second.
type pairs struct {
	seed    maphash.Seed
	talks   recent[place, *talk]
	said    recent[uint64, *message] // by hash, of the conversation that showed it first
	waiting []wait                   // oldest first
	redials []*talk                  // those that may have another one behind them (see talk.was), oldest first
	settled settled
	views   *views // gets proven views of TCP
	limit   memory.Limit
}

// memory is the search's memory in bytes.
func (p *pairs) memory() int {
	const talkCost, messageCost, likeCost = int(unsafe.Sizeof(talk{})), int(unsafe.Sizeof(message{})), int(unsafe.Sizeof(like{}))
	return p.talks.memory(talkCost) + len(p.redials)*(talkCost+8) + p.said.memory(messageCost) + len(p.waiting)*(likeCost+128)
}

// find returns the view of a packet, or nil if its ends are those of its conversation. hash is
// Frame.FlowHash, and s is the packet's position.
func (p *pairs) find(f *flow.Packet, hash uint64, s spot) *flow.View {
	tcp := f.Proto == protoTCP
	syn := tcp && f.TCPFlags&decode.SYN != 0
	says := len(f.Payload) > 0 || syn
	dials := syn && f.TCPFlags&decode.ACK == 0
	if dials { // the ports may be used for another connection now
		p.settled.remove(placeHash(hash, f.Network))
	}
	if !says && len(p.waiting) == 0 || p.settled.has(placeHash(hash, f.Network)) {
		return nil
	}
	t := p.talk(f, hash, tcp, says)
	if t == nil {
		return nil
	}
	p.expire(f.Time)
	if t.answered(f); dials {
		t = p.dialled(t, f)
	}
	if t.stays {
		p.settled.add(placeHash(hash, f.Network))
		return nil
	}
	dir := uint8(0)
	if src := (flow.End{Addr: f.Src, Port: f.SrcPort}); (src != t.at.tuple[0]) != t.swapped {
		dir = 1
	}
	if !says || !tcp && len(f.Payload) < minMessage || f.Sum == flow.SumWrong { // follows the last question
		return p.pass(t, s)
	}
	m := message{hash: p.hash(f), at: f.Time, no: f.No, iface: f.Interface, clock: f.Clock, dir: dir, syn: syn,
		drawn: syn && f.Seq >= minDrawn && f.Ack > minDrawn}
	t.last[dir] = m.no + 1
	switch l := t.like; {
	case l == nil:
	case dir != l.asked[0].dir:
		if !l.proven {
			p.answered(t, m)
		}
		return p.pass(t, s)
	default:
		shown := p.shown(l.of, &m)
		l.follows = t.tcp || shown
		l.questions++
		if l.late && t.tcp && !shown && !l.proven { // it stays here, with all that follow: its answer must not go elsewhere
			t.leave()
			t.stays = true
			p.settled.add(placeHash(hash, f.Network))
			return nil
		}
		if l.follows || !l.proven {
			return p.pass(t, s)
		}
		t.leave()
	}
	p.listen(t, m, s)
	return nil
}

// talk is the conversation of the packet's ends, nil if it cannot have a view.
func (p *pairs) talk(f *flow.Packet, hash uint64, tcp, says bool) *talk {
	src, dst := flow.End{Addr: f.Src, Port: f.SrcPort}, flow.End{Addr: f.Dst, Port: f.DstPort}
	at := place{tupleOf(src, dst), f.Network}
	t := p.talks.m[at]
	if t == nil && says && src != dst && !manyHosts(&f.Dst) {
		t = &talk{at: at, hash: hash, tcp: tcp, swapped: src != at.tuple[0]}
		p.talks.put(at, t, p.limit.Scale(maxTalks))
	}
	return t
}

// dialled returns the conversation of a SYN on the ends of t, and keeps it in place of t.
func (p *pairs) dialled(t *talk, f *flow.Packet) *talk {
	next := t.dialled(p.hash(f), f)
	if next == t {
		return t
	}
	p.talks.put(next.at, next, p.limit.Scale(maxTalks))
	if p.redials = append(p.redials, next); len(p.redials) > maxRedials {
		p.redials[0].was = nil
		p.redials = slices.Delete(p.redials, 0, 1)
	}
	return next
}

// manyHosts reports whether an address belongs to several hosts, which answer under their own.
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
		if f.TCPFlags&decode.SYN != 0 {
			h ^= maphash.Comparable(p.seed, f.TSVal)
		}
	}
	return h
}

// shown reports whether a conversation has shown a message within the time.
func (p *pairs) shown(t *talk, m *message) bool {
	e := p.said.m[m.hash]
	return e != nil && t.said(e, m.dir) && t.comparable(e, m)
}

// comparable reports whether the times of two messages allow that they are the same.
func (t *talk) comparable(a, b *message) bool {
	return near(a.at, b.at) || t.tcp && a.clock != b.clock && max(a.at-b.at, b.at-a.at) <= clockSlack
}

func near(a, b int64) bool { return a-b <= pairSlack && b-a <= pairSlack }

// pass sends a packet where the last question went; it waits if that is undecided.
func (p *pairs) pass(t *talk, s spot) *flow.View {
	switch l := t.like; {
	case l == nil || !l.follows:
	case l.proven:
		return l.view
	case len(l.awaited) == maxAwaited:
		t.leave()
	default:
		l.awaited = append(l.awaited, s)
	}
	return nil
}

// listen looks for another conversation that has shown the message, else stores the message.
func (p *pairs) listen(t *talk, m message, s spot) {
	e := p.said.m[m.hash]
	if e != nil && e.of != t && t.comparable(e, &m) {
		if e.other != t {
			e.by, e.other = e.by+1, t
		}
		x := e.of
		translated := x.at.tuple != t.at.tuple // equal ends in two networks are compared with their payload, see package flow
		if translated && e.by <= maxCopies && x.like == nil && len(t.copies) == 0 && x.tcp == t.tcp && x.room() {
			p.begin(t, e, m, s)
		}
		return
	}
	limit := uint8(maxFirst)
	if t.tcp {
		limit = maxFirstTCP
	}
	switch {
	case t.looked < limit:
		if t.looked++; t.looked == 1 {
			t.since = m.at
		}
	case !t.tcp && near(t.since, m.at):
	case len(t.copies) == 0:
		p.settled.add(placeHash(t.hash, t.at.network))
		return
	}
	m.of, m.by = t, 1
	if e != nil && e.of == t {
		m.by, m.other = e.by, e.other
	}
	p.said.put(m.hash, &m, p.limit.Scale(maxMessages))
	for i := len(t.copies) - 1; i >= 0; i-- {
		p.answeredFirst(t.copies[i], &m)
	}
}

// answeredFirst checks whether a possible view has shown a message before its original.
func (p *pairs) answeredFirst(t *talk, m *message) {
	if t.like.proven || m.dir == t.like.asked[0].dir {
		return
	}
	for i := range t.like.answers {
		if a := &t.like.answers[i]; a.hash == m.hash {
			t.shake(m)
			t.like.equal = true
			if t.behind(m, a) {
				p.prove(t)
				return
			}
		}
	}
	t.doubt()
}

// doubt ends a wait if both conversations have had answers, but different ones.
func (t *talk) doubt() {
	l := t.like
	if answer := 1 - l.asked[0].dir; len(l.answers) >= l.questions && l.of.last[answer] > l.asked[0].no+1 {
		t.leave()
	}
}

// begin starts waiting for the proof that a conversation is a view of the one that showed
// message e before.
func (p *pairs) begin(t *talk, e *message, m message, s spot) {
	if e.dir != m.dir {
		t.swapped = !t.swapped
		t.last[0], t.last[1] = t.last[1], t.last[0]
		m.dir = e.dir
	}
	t.like = &like{of: e.of, follows: true, late: e.of.last[1-e.dir] > e.no+1, asked: [2]message{*e, m}, questions: 1, awaited: []spot{s}}
	t.shake(&m)
	e.of.copies = append(e.of.copies, t)
	if len(p.waiting) == maxWaiting {
		p.pop()
	}
	p.waiting = append(p.waiting, wait{t, m.no})
}

// answered processes a message of the side that was asked.
func (p *pairs) answered(t *talk, m message) {
	l := t.like
	if e := p.said.m[m.hash]; e != nil && p.shown(l.of, &m) {
		t.shake(&m)
		l.equal = true
		if t.behind(e, &m) {
			p.prove(t)
			return
		}
	}
	if len(l.answers) == maxAnswers {
		l.answers = append(l.answers[:0], l.answers[1:]...)
	}
	l.answers = append(l.answers, m)
	if !m.syn {
		t.doubt()
	}
}

// shake notes that both conversations have shown a message.
func (t *talk) shake(m *message) {
	if m.drawn {
		t.shook = t.like.of
	}
}

// behind reports whether the times allow that the original showed answer x and these ends showed
// y.
func (t *talk) behind(x, y *message) bool {
	ask, asked := &t.like.asked[0], &t.like.asked[1]
	if x.no < ask.no || y.no < asked.no || !near(x.at, y.at) && (!t.comparable(x, y) || t.shook != t.like.of) {
		return false
	}
	if ask.no < asked.no && y.no < x.no {
		return true
	}
	switch apart := x.no < asked.no || y.no < ask.no; {
	case !apart && ask.iface == asked.iface:
		return t.shook == t.like.of // else both wait for an answer at the same time: these are two questions
	case apart && t.syn != 0 && (y.syn || ask.iface == asked.iface):
		return false
	}
	here, there := t.ends()[ask.dir], t.like.of.ends()[ask.dir]
	return t.shook == t.like.of || here.Addr == there.Addr || here.Port == there.Port
}

// prove makes a conversation a view of another one, including all its waiting packets.
func (p *pairs) prove(t *talk) {
	l := t.like
	x := l.of
	l.proven, l.view = true, x.viewAs(t)
	from, to := t.hash%flow.ShardCount, x.hash%flow.ShardCount
	for _, s := range l.awaited {
		s.in.Packets[s.i].See(l.view)
		s.in.Move(s.i, from, to)
	}
	l.awaited, l.answers = nil, nil
	if t.tcp {
		p.views.prove(t.at, l.view, t.isn)
	}
}

// viewAs makes the view of a conversation under other ends.
func (t *talk) viewAs(other *talk) *flow.View {
	v := &flow.View{Dialled: t.ends(), Seen: other.ends(), Network: t.at.network, By: flow.ByPayload}
	if t.tcp {
		v.By = flow.BySequence
	}
	return v
}

// leave ends the state that a conversation is, or may be, a view. If both have shown the same answer, but nothing proved
// or disproved that, the first packet says so: the two may be one that was captured at two places, or one is a replay.
func (t *talk) leave() {
	if l := t.like; l != nil {
		if !l.proven && l.equal && len(l.awaited) > 0 {
			s := l.awaited[0]
			s.in.Packets[s.i].Alike = true
		}
		x := l.of
		x.copies = slices.DeleteFunc(x.copies, func(c *talk) bool { return c == t })
		t.like = nil
	}
}

// expire ends the waits that have lasted too long.
func (p *pairs) expire(now int64) {
	for len(p.waiting) > 0 && (p.waiting[0].over() || now-p.waiting[0].of.like.asked[1].at > pairSlack) {
		p.pop()
	}
}

// pop ends the oldest wait.
func (p *pairs) pop() {
	if w := p.waiting[0]; !w.over() {
		w.of.leave()
	}
	p.waiting[0] = wait{}
	p.waiting = p.waiting[1:] // moving the others would cost quadratic time
}

// awaits reports whether packets of a round may still prove to belong to a view. r is the oldest
// unsent round.
func (p *pairs) awaits(r *round.Round) bool {
	for len(p.waiting) > 0 && p.waiting[0].over() {
		p.pop()
	}
	return len(p.waiting) > 0 && p.waiting[0].of.like.awaited[0].in == r
}
