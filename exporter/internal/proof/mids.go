package proof

import "github.com/pcapsule/pcapsule/exporter/internal/flow"

// maxMids is the number of possible ends between two translations that are kept.
const maxMids = maxWaiting

// mids finds answers that a bridge shows between its two translations, if the client is beyond the bridge: from the
// server of a view to the client that dialled. Nobody asks under these ends, because the translator rewrites both ends of
// a question before the bridge. The value is the view.
type mids = recent[place, *talk]

// midOf are the ends between those of a view and its original.
func midOf(t *talk) place {
	l := t.like
	asker := l.asked[0].dir
	return place{tupleOf(l.of.ends()[asker], t.ends()[1-asker]), t.at.network}
}

// beginBetween starts waiting at an answer that a view has shown before, if these ends are between those of the view and
// its original, and nobody has asked under them. The original's answer proves them, as it proves the view.
func (p *pairs) beginBetween(t *talk, m message, s spot) bool {
	c := p.mids.m[t.at]
	if c == nil || c == t || c.like == nil || midOf(c) != t.at || len(t.copies) > 0 || !c.like.of.room() {
		return false
	}
	l := c.like
	asker := l.asked[0].dir
	if t.ends()[m.dir] != c.ends()[1-asker] || t.last[1-m.dir] != 0 {
		return false
	}
	if m.dir == asker {
		t.turn()
		m.dir = 1 - asker
	}
	if !l.repeated(&m) {
		return false
	}
	e, ask := l.asked[0], l.asked[1]
	ask.at = m.at // the wait begins now
	p.begin(t, &e, ask, s)
	t.like.between, l.bridged = c, true
	p.answered(t, m)
	return true
}

// repeated reports whether a message is one of the newest answers of a view.
func (l *like) repeated(m *message) bool {
	for i := range l.answers {
		if a := &l.answers[i]; a.hash == m.hash && near(a.at, m.at) {
			return true
		}
	}
	return false
}

// strays reports whether an answer between two translations is not one that the view has shown too.
func (t *talk) strays(m *message) bool {
	c := t.like.between
	return c != nil && !t.tcp && (c.like == nil || !c.like.repeated(m))
}

// answeredBetween returns the view of a SYN-ACK between two translations: the client's SYN was seen under the ends that
// it dialled, and the server has sent the same SYN-ACK to the client's other end. As in other views, payload counts once
// the dialled end has shown the same number.
func (v *views) answeredBetween(f *flow.Packet, at place) *flow.View {
	src, dst := flow.End{Addr: f.Src, Port: f.SrcPort}, flow.End{Addr: f.Dst, Port: f.DstPort}
	d := v.halves.asking.m[asker{dst, f.Network}]
	if d == nil || f.Ack != d.key.seq+1 {
		return nil
	}
	for _, o := range d.views {
		if o.view.Seen[1] != src || o.answer.n != 1 || o.answer.seqs[0] != f.Seq {
			continue
		}
		s := &seen{of: d, view: &flow.View{Dialled: o.view.Dialled, Seen: [2]flow.End{dst, src}, Network: o.view.Network, By: flow.BySequence, Stamps: o.view.Stamps}}
		s.answer.add(f.Seq)
		if s.refuted() {
			return nil
		}
		v.known.put(at, s, v.limit.Scale(maxViews))
		return s.view
	}
	return nil
}
