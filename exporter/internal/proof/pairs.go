package proof

import (
	"hash/maphash"
	"slices"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/internal/flow"
	"github.com/pcapsule/pcapsule/exporter/internal/memory"
)

// Limits of the search for conversations seen under other ends.
const (
	maxTalks    = 16_384         // conversations kept
	maxRedials  = 1024           // of them, those with a later SYN that nothing has answered
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
// equal message too, or has acknowledged with equal numbers, and if the times allow that one is behind the other:
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
	lapsed  []wait                   // whose packets were sent on, oldest first
	mids    mids
	proven  translations
	redials []*talk // those with a later SYN, oldest first
	settled settled
	views   *views // gets proven views of TCP
	limit   memory.Limit
}

// memory is the search's memory in bytes.
func (p *pairs) memory() int {
	const talkCost, messageCost, likeCost = int(unsafe.Sizeof(talk{})), int(unsafe.Sizeof(message{})), int(unsafe.Sizeof(like{}))
	return p.talks.memory(talkCost) + len(p.redials)*(talkCost+8) + p.said.memory(messageCost) + p.mids.memory(8) + p.proven.memory(0) + (len(p.waiting)+len(p.lapsed))*(likeCost+128)
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
	if !says && len(p.waiting) == 0 && !tcp || p.settled.has(placeHash(hash, f.Network)) {
		return nil
	}
	t := p.talk(f, hash, says)
	if t == nil {
		return nil
	}
	p.expire(f.Time)
	switch {
	case dials:
		t = p.dialled(t, f)
	case t.redialled(f):
		t = t.replaced()
		p.talks.put(t.at, t, p.limit.Scale(maxTalks))
	}
	if t.stays {
		p.settle(t)
		return nil
	}
	dir := uint8(0)
	if src := (flow.End{Addr: f.Src, Port: f.SrcPort}); (src != t.at.tuple[0]) != t.swapped {
		dir = 1
	}
	if !says || !tcp && len(f.Payload) < minMessage || f.Sum == flow.SumWrong { // follows the last question
		if tcp && !says && f.TCPFlags&(decode.ACK|decode.RST) == decode.ACK && f.Sum != flow.SumWrong {
			p.acknowledged(t, p.message(f, dir))
		}
		return p.pass(t, s)
	}
	m := p.message(f, dir)
	t.last[dir], t.data[dir] = m.no+1, !m.syn
	t.accepted = t.accepted || m.syn && !dials
	switch l := t.like; {
	case l == nil:
	case dir != l.asked[0].dir:
		if t.strays(&m) {
			t.leave()
			break
		}
		if !l.proven {
			p.answered(t, m)
		} else if l.bridged {
			l.answers = newest(l.answers, m)
		}
		return p.pass(t, s)
	default:
		shown := p.shown(l.of, &m) || l.proven && p.shownByClock(l.of, &m)
		l.follows = t.tcp || shown
		l.questions++
		if l.late && t.tcp && !shown && !l.proven { // it stays here, with all that follow: its answer must not go elsewhere
			t.leave()
			t.stays = true
			p.settle(t)
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
func (p *pairs) talk(f *flow.Packet, hash uint64, says bool) *talk {
	src, dst := flow.End{Addr: f.Src, Port: f.SrcPort}, flow.End{Addr: f.Dst, Port: f.DstPort}
	at := place{tupleOf(src, dst), f.Network}
	t := p.talks.m[at]
	if t == nil && says && src != dst && !manyHosts(&f.Dst) {
		t = newTalk(at, hash, f)
		p.talks.put(at, t, p.limit.Scale(maxTalks))
	}
	return t
}

// message is the message of a packet from the sender of a direction.
func (p *pairs) message(f *flow.Packet, dir uint8) message {
	syn := f.Proto == protoTCP && f.TCPFlags&decode.SYN != 0
	return message{hash: p.hash(f), at: f.Time, no: f.No, iface: f.Interface, clock: f.Clock, dir: dir, syn: syn,
		drawn: syn && f.Seq >= minDrawn && f.Ack > minDrawn}
}

// repeats records a SYN that another conversation has shown. Its ends may get payload before the other ones do.
func (p *pairs) repeats(f *flow.Packet, hash uint64) {
	p.settled.remove(placeHash(hash, f.Network))
	if t := p.talk(f, hash, true); t != nil {
		m := p.message(f, 0)
		p.dialled(t, f).repeated = &m
	}
}

// dialled returns the conversation of a SYN on the ends of t.
func (p *pairs) dialled(t *talk, f *flow.Packet) *talk {
	had := t.next != nil
	d := t.dialled(p.hash(f), f)
	if d == t || had {
		return d
	}
	if p.redials = append(p.redials, t); len(p.redials) > maxRedials {
		p.redials[0].forget()
		p.redials = slices.Delete(p.redials, 0, 1)
	}
	return d
}

// settle ends the search for views of a conversation, unless another one may begin on its ends.
func (p *pairs) settle(t *talk) {
	if t.next == nil {
		p.settled.add(placeHash(t.hash, t.at.network))
	}
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
		if f.TCPFlags&decode.SYN != 0 && f.Seq < minDrawn { // a translator may rewrite or remove it
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

// shownByClock reports whether a conversation has shown a message, by a clock that may differ by more than that time. It is
// no proof that another conversation is a view, only that a proven one still is.
func (p *pairs) shownByClock(t *talk, m *message) bool {
	e := p.said.m[m.hash]
	return e != nil && t.said(e, m.dir) && e.clock != m.clock && max(e.at-m.at, m.at-e.at) <= clockSlack
}

// comparable reports whether the times of two messages allow that they are the same.
func (t *talk) comparable(a, b *message) bool {
	return near(a.at, b.at) || t.tcp && a.clock != b.clock && max(a.at-b.at, b.at-a.at) <= clockSlack
}

func near(a, b int64) bool { return a-b <= pairSlack && b-a <= pairSlack }

// pass sends a packet where the last question went; it waits if that is undecided.
func (p *pairs) pass(t *talk, s spot) *flow.View {
	switch l := t.like; {
	case l == nil || !l.follows || l.lapsed:
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
	if p.beginBetween(t, m, s) {
		return
	}
	e := p.said.m[m.hash]
	if e != nil && e.of != t && t.comparable(e, &m) {
		if e.other != t {
			e.by, e.other = e.by+1, t
		}
		x := e.of
		if !t.tcp && t.answers(m.dir) && x.answers(e.dir) {
			return // a wait for their question was given up: it would prove that x is nearer to the client, which is wrong
		}
		translated := x.at.tuple != t.at.tuple // equal ends in two networks are compared with their payload, see package flow
		if translated && e.by <= maxCopies && t.mayView(x) {
			p.begin(t, e, m, s)
		}
		return
	}
	if e == nil && p.beginAtSYN(t, m, s) {
		return
	}
	if !t.tcp && e != nil && !t.sameHosts(e.of) && !t.answers(m.dir) && p.shownByClock(e.of, &m) {
		s.packet().Alike = true
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
		p.settle(t)
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
