package proof

import (
	"slices"

	"github.com/pcapsule/pcapsule/exporter/internal/flow"
	"github.com/pcapsule/pcapsule/exporter/internal/round"
)

// beginAtSYN starts waiting at a message that no other conversation has shown, if the ends repeated a SYN.
func (p *pairs) beginAtSYN(t *talk, m message, s spot) bool {
	if t.repeated == nil {
		return false
	}
	syn := *t.repeated
	t.repeated = nil
	e := p.said.m[syn.hash]
	if e == nil || e.of == t || !near(e.at, syn.at) || !t.mayView(e.of) {
		return false
	}
	syn.at = m.at // the wait begins now
	p.begin(t, e, syn, s)
	if m.dir == syn.dir {
		t.like.questions++
	} else {
		p.answered(t, m)
	}
	return true
}

// answeredFirst checks whether a possible view has shown a message before its original.
func (p *pairs) answeredFirst(t *talk, m *message) {
	if t.like.proven || m.dir == t.like.asked[0].dir {
		return
	}
	if !p.equalTo(t, m, t.like.answers) {
		t.doubt()
	}
}

// equalTo makes a possible view a proven one if it has shown the same message as its original before, and the times
// allow that.
func (p *pairs) equalTo(t *talk, m *message, shown []message) bool {
	for i := range shown {
		if a := &shown[i]; a.hash == m.hash && p.judge(t, m, a) {
			return true
		}
	}
	return false
}

// judge makes a possible view a proven one if the times allow that its original showed x and these ends showed y, which are
// equal.
func (p *pairs) judge(t *talk, x, y *message) bool {
	t.shake(y)
	t.like.equal = true
	if !t.behind(x, y) {
		return false
	}
	p.prove(t)
	return true
}

// newest adds a message to the newest ones of a possible view.
func newest(list []message, m message) []message {
	if len(list) == maxAnswers {
		list = append(list[:0], list[1:]...)
	}
	return append(list, m)
}

// acknowledged processes a segment of TCP without payload. Equal numbers prove what an equal answer does: a bulk transfer
// may have no other answer for long. Different ones disprove nothing, because interfaces merge segments.
func (p *pairs) acknowledged(t *talk, m message) {
	if l := t.like; l != nil && !l.proven && m.dir != l.asked[0].dir {
		if p.answeredBoth(t, &m) {
			return
		}
		l.acks = newest(l.acks, m)
	}
	waits := t.unshaken() && t.looked < maxFirstTCP && t.last[1-m.dir] > 0
	for i := len(t.copies) - 1; i >= 0; i-- {
		if c := t.copies[i]; !c.like.proven && m.dir != c.like.asked[0].dir {
			waits = !p.equalTo(c, &m, c.like.acks) || waits
		}
	}
	if waits {
		m.of, m.by = t, 1
		p.said.put(m.hash, &m, p.limit.Scale(maxMessages))
	}
}

// answeredBoth makes a possible view a proven one if its original has shown the same message, and the times allow that.
func (p *pairs) answeredBoth(t *talk, m *message) bool {
	e := p.said.m[m.hash]
	return e != nil && p.shown(t.like.of, m) && p.judge(t, e, m)
}

// doubt ends a wait if both conversations have had answers, but different ones. A SYN-ACK does not count as an answer,
// because these ends may lack it.
func (t *talk) doubt() {
	l := t.like
	if answer := 1 - l.asked[0].dir; len(l.answers) >= l.questions && l.of.data[answer] && l.of.last[answer] > l.asked[0].no+1 {
		t.leave()
	}
}

// begin starts waiting for the proof that a conversation is a view of the one that showed
// message e before.
func (p *pairs) begin(t *talk, e *message, m message, s spot) {
	if e.dir != m.dir {
		t.turn()
		m.dir = e.dir
	}
	t.like = &like{of: e.of, follows: true, late: e.of.last[1-e.dir] > e.no+1, asked: [2]message{*e, m}, questions: 1, awaited: []spot{s}}
	t.shake(&m)
	e.of.copies = append(e.of.copies, t)
	p.settled.remove(placeHash(e.of.hash, e.of.at.network)) // its answers count now
	if mid := midOf(t); mid != t.at && mid != e.of.at {
		p.mids.put(mid, t, p.limit.Scale(maxMids))
	}
	if len(p.waiting) == maxWaiting {
		p.pop()
	}
	p.waiting = append(p.waiting, wait{t, m.no})
}

// answered processes a message of the side that was asked.
func (p *pairs) answered(t *talk, m message) {
	l := t.like
	if p.answeredBoth(t, &m) {
		return
	}
	l.answers = newest(l.answers, m)
	if !m.syn {
		t.doubt()
	}
}

// shake records that both conversations have shown a message.
func (t *talk) shake(m *message) {
	if m.drawn {
		t.shook = t.like.of
	}
}

// behind reports whether the times allow that x in the original and y under these ends are the same answer.
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
	p.learn(t)
	if l.lapsed {
		t.leave()
		return
	}
	l.proven, l.view = true, x.viewAs(t)
	from, to := t.hash%flow.ShardCount, x.hash%flow.ShardCount
	for _, s := range l.awaited {
		s.packet().See(l.view)
		s.expected()
		s.in.Move(s.i, from, to)
	}
	l.awaited, l.acks = nil, nil
	if l.bridged = l.bridged && !t.tcp; !l.bridged {
		l.answers = nil
	}
	if t.tcp {
		p.views.prove(t.at, l.view, t.isn)
	}
	for _, c := range x.copies {
		if c.between(t) {
			p.prove(c)
		}
	}
}

// between reports whether the ends of a possible view are between those of its original and of a proven view, and have
// shown only one direction: a bridge that translates shows no answers between its two translations.
func (t *talk) between(o *talk) bool {
	l := t.like
	return !l.proven && o.like.proven && t.last[1-l.asked[0].dir] == 0 && mixed(t.ends(), l.of.ends(), o.ends())
}

// viewAs makes the view of a conversation under other ends.
func (t *talk) viewAs(other *talk) *flow.View {
	v := &flow.View{Dialled: t.ends(), Seen: other.ends(), Network: t.at.network, By: flow.ByPayload}
	if t.tcp {
		v.By = flow.BySequence
	}
	return v
}

// leave ends the state that a conversation is, or may be, a view.
func (t *talk) leave() {
	if l := t.like; l != nil {
		t.doubtful()
		x := l.of
		x.copies = slices.DeleteFunc(x.copies, func(c *talk) bool { return c == t })
		t.like = nil
	}
}

// doubtful marks packets Alike if nothing proves or disproves a view: the two may be one conversation that was captured at
// two places, or a replay. Of equal exchanges the first packet suffices. Of datagrams without two answers to compare, each
// question may be the same. One between other ports of the same hosts was asked again.
func (t *talk) doubtful() {
	l := t.like
	if l.proven || len(l.awaited) == 0 {
		return
	}
	first := l.awaited[0].packet()
	first.Alike = first.Alike || l.equal
	if answer := 1 - l.asked[0].dir; t.tcp || t.sameHosts(l.of) || l.of.last[answer] > l.asked[0].no && t.last[answer] > l.asked[1].no {
		return
	}
	for _, s := range l.awaited {
		if q := s.packet(); q.Src == first.Src && q.SrcPort == first.SrcPort {
			q.Alike = true
		}
	}
}

// sameHosts reports whether two conversations differ in ports only.
func (t *talk) sameHosts(x *talk) bool {
	return t.at.tuple[0].Addr == x.at.tuple[0].Addr && t.at.tuple[1].Addr == x.at.tuple[1].Addr
}

// expire ends the waits that have lasted too long.
func (p *pairs) expire(now int64) {
	late := func(w wait) bool { return w.over() || now-w.of.like.asked[1].at > pairSlack }
	for len(p.waiting) > 0 && late(p.waiting[0]) {
		p.pop()
	}
	for len(p.lapsed) > 0 && late(p.lapsed[0]) {
		p.forget()
	}
}

// pop ends the oldest wait.
func (p *pairs) pop() {
	if w := p.next(&p.waiting); !p.decided(w) {
		w.of.leave()
	}
}

// lapse ends the oldest wait because its packets cannot be kept for longer. They stay in their own conversation, but an
// answer in time still proves the translation, for later questions.
func (p *pairs) lapse() {
	w := p.next(&p.waiting)
	switch {
	case p.decided(w):
	case w.of.tcp || w.of.like.equal:
		w.of.leave()
	default:
		w.of.doubtful()
		w.of.like.lapsed, w.of.like.awaited = true, nil
		if p.lapsed = append(p.lapsed, w); len(p.lapsed) > maxWaiting {
			p.forget()
		}
	}
}

// forget ends the oldest wait without packets.
func (p *pairs) forget() {
	if w := p.next(&p.lapsed); !w.over() {
		w.of.leave()
	}
}

// next removes the oldest wait from a list. Moving the others would cost quadratic time.
func (p *pairs) next(list *[]wait) wait {
	w := (*list)[0]
	(*list)[0] = wait{}
	*list = (*list)[1:]
	return w
}

// decided reports whether a wait is over, or ends with a proof.
func (p *pairs) decided(w wait) bool {
	if !w.over() && (slices.ContainsFunc(w.of.like.of.copies, w.of.between) || p.translated(w.of)) {
		p.prove(w.of)
	}
	return w.over()
}

// awaits reports whether packets of a round may still prove to belong to a view. r is the oldest
// unsent round.
func (p *pairs) awaits(r *round.Round) bool {
	for len(p.waiting) > 0 && p.waiting[0].over() {
		p.pop()
	}
	return len(p.waiting) > 0 && p.waiting[0].of.like.awaited[0].in == r
}
