package derive

import (
	"context"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/internal/encoded"
	"github.com/pcapsule/pcapsule/exporter/internal/parts"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Traced is a call with the places where its bytes were captured.
type Traced struct {
	Call   *table.Call
	Bodies []*dissect.Body
	Hidden []dissect.Hidden // nil if a place is not known
}

// traceWork finds the places of bodies, and of values that no row shows, on the wire, and their
// replacements.
type traceWork struct {
	s       *secrets
	p       Policy
	packets map[int64]bool // whose bodies go as a whole, because something is left in them
	places  map[int64][]placed
	lost    map[int64]int32 // packets whose payload goes, because a place is not known
}

// trace replaces what the packets do not show, or not where: bodies that go as a whole, those that
// were sent in an encoding and hold a secret, and credentials that no row shows. keep selects the
// packets; nil is all.
func (x *redaction) trace(ctx context.Context, keep func(file int32, index int64) bool) (*traceWork, error) {
	w := &traceWork{s: x.s, p: x.r.Policy, packets: x.bodies, places: map[int64][]placed{}, lost: map[int64]int32{}}
	clear(x.s.handled)
	if w.p.RemovesBodies() || len(x.s.coded)+len(x.bodies)+len(x.s.rest) > 0 {
		if err := x.o.Exporter.Trace(ctx, x.b, keep, w.call); err != nil {
			return nil, err
		}
	}
	for no, rule := range x.s.rest {
		if !x.s.handled[no] {
			w.lost[no] = rule
		}
	}
	return w, nil
}

func (w *traceWork) call(t Traced) error {
	for _, b := range t.Bodies {
		w.body(t.Call, b)
	}
	if t.Hidden == nil {
		return nil
	}
	rule, rest := int32(0), false
	eachNo(t.Call.Cites, func(no int64) {
		if r, ok := w.s.rest[no]; ok {
			rule, rest = r, true
		}
	})
	if !rest {
		return nil
	}
	eachNo(t.Call.Cites, func(no int64) { w.s.handled[no] = true })
	for _, h := range t.Hidden {
		size := 0
		for i := range h.Places {
			size += int(h.Places[i].Len)
		}
		with := strings.Repeat(string(fill), size)
		if h.Text != "" {
			with = blank(h.Text)
		}
		if everywhere(h.Text) && w.s.search.add(h.Text, "", rule) {
			w.s.fresh++
		}
		w.put(h.Places, with, rule)
	}
	return nil
}

// put replaces the bytes at some places.
func (w *traceWork) put(list []dissect.Place, with string, rule int32) {
	for _, p := range list {
		w.places[p.No] = append(w.places[p.No], placed{p.Seq, p.Datagram, with[:p.Len], rule})
		with = with[p.Len:]
	}
}

func (w *traceWork) body(c *table.Call, b *dissect.Body) {
	if b.Size() == 0 {
		return
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
		return
	}
	if !ok {
		if c.DecryptedBy.OK {
			return // its keys go, and so does the row
		}
		eachNo(c.Cites, func(no int64) { w.lost[no] = rule })
		return
	}
	size := 0
	for i := range list {
		size += int(list[i].Len)
	}
	if !whole {
		rule = w.s.rule("encoded")
	}
	w.put(list, w.replacement(b, size, whole), rule)
}

// replacement replaces the size bytes of a body.
func (w *traceWork) replacement(b *dissect.Body, size int, whole bool) string {
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
func (w *traceWork) masked(b *dissect.Body) []byte {
	x := worker{search: w.s.search, deep: encoded.Finder{Values: w.s.search}}
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

// conversations selects the packets of connections that must be traced. It also locates them, and
// the packets in want. keep is nil if all must be traced.
func (x *redaction) conversations(ctx context.Context, want map[int64]bool) (keep func(file int32, index int64) bool, where map[int64]whereIs, err error) {
	tables := bundle.TableParts(x.b.Payload(), x.b.Path)
	if x.r.Policy.RemovesBodies() || len(x.s.conns)+len(x.bodies) == 0 {
		where, err = locate(ctx, tables, want)
		return nil, where, err
	}
	conns := map[int64]int64{} // of flows
	err = parts.Each(ctx, tables["flows"], []string{"flow_id", "conn_id"}, func(v []any) error {
		flow, ok1 := v[0].(int64)
		conn, ok2 := v[1].(int64)
		if ok1 && ok2 {
			conns[flow] = conn
		}
		return nil
	})
	if err == nil && len(x.bodies) > 0 {
		err = eachPacket(ctx, tables, func(p *packetRow) {
			if x.bodies[p.no] {
				x.s.conns[conns[p.flow]] = true
			}
		})
	}
	if err != nil {
		return nil, nil, err
	}
	where, kept := map[int64]whereIs{}, map[whereIs]bool{}
	err = eachPacket(ctx, tables, func(p *packetRow) {
		at := whereIs{p.file, p.index}
		conn, ok := conns[p.flow]
		traced := ok && x.s.conns[conn]
		if traced {
			kept[at] = true
		}
		if traced || want[p.no] {
			where[p.no] = at
		}
	})
	return func(file int32, index int64) bool { return kept[whereIs{file, index}] }, where, err
}
