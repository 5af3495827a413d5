package derive

import (
	"context"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// bodyWork finds where bodies are on the wire, and what stands there afterwards.
type bodyWork struct {
	s       *secrets
	p       Policy
	packets map[int64]bool // whose bodies go as a whole, because something is left in them
	places  map[int64][]placed
	lost    map[int64]int32 // packets of bodies whose place is not known
}

// bodies replaces bodies that go as a whole, and those that were sent in an encoding and hold a
// secret: their packets do not show it.
func bodies(ctx context.Context, b *bundle.Bundle, e Exporter, p Policy, s *secrets, packets map[int64]bool) (*bodyWork, error) {
	w := &bodyWork{s: s, p: p, packets: packets, places: map[int64][]placed{}, lost: map[int64]int32{}}
	if !p.RemovesBodies() && len(s.coded) == 0 && len(packets) == 0 {
		return w, nil
	}
	return w, e.Bodies(ctx, b, w.body)
}

func (w *bodyWork) body(c *table.Call, b *dissect.Body) error {
	if b.Size() == 0 {
		return nil
	}
	list, ok := b.Places()
	whole := w.p.WholeBody(b.ContentType)
	rule := w.s.rule("body")
	for i := range list {
		if w.packets[list[i].No] && !whole {
			whole = true
		}
	}
	coded := w.s.coded[b.Hash] && b.Codings != ""
	if !whole && !coded {
		return nil
	}
	if !ok {
		if c.DecryptedBy.OK {
			return nil // its keys go, and so does the row
		}
		eachNo(c.Cites, func(no int64) { w.lost[no] = rule })
		return nil
	}
	size := 0
	for i := range list {
		size += int(list[i].Len)
	}
	with := w.replacement(b, size, whole)
	if !whole {
		rule = w.s.rule("encoded")
	}
	for _, p := range list {
		w.places[p.No] = append(w.places[p.No], placed{p.Seq, p.Datagram, with[:p.Len], rule})
		with = with[p.Len:]
	}
	return nil
}

// replacement is what stands in place of the size bytes of a body.
func (w *bodyWork) replacement(b *dissect.Body, size int, whole bool) string {
	if !whole && !strings.Contains(b.Codings, ",") {
		if out, ok := recode(b.Codings, w.masked(b), size); ok {
			return string(out)
		}
	}
	if out, ok := stored(b.Codings, size); ok {
		return string(out)
	}
	return strings.Repeat(string(fill), size)
}

// masked is a body without its secrets.
func (w *bodyWork) masked(b *dissect.Body) []byte {
	x := worker{search: w.s.search}
	data := append([]byte(nil), b.Bytes()...)
	t := &target{blank: -1}
	for v, rule := range w.s.bodies[b.Hash] {
		t.values = append(t.values, local{v, "", rule})
	}
	x.targets = map[int64]*target{0: t}
	x.packet(&item{bit: bit{payload: data}})
	for _, c := range x.changes {
		copy(data[c.at:], c.with)
	}
	return data
}
