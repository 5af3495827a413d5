package dissect

import "unsafe"

// Place is a run of a body's bytes as sent: in the payload of one packet, from a sequence number
// on. In a datagram, Seq is the offset in its payload.
type Place struct {
	No       int64
	Seq      uint32
	Len      int32
	Datagram bool
}

// maxPlaces limits the places of one body; a body of more is not traced.
const maxPlaces = 1 << 16

// Trace makes bodies, and values that no row shows, remember where their bytes were captured. It is
// for tools that change packets; tables do not need it.
func (e *Engine) Trace() { e.trace, e.hidden = true, map[*Exchange]*hidden{} }

// Places lists where the bytes of the body were captured, in order. ok is false if that is not
// known for each byte: the engine does not trace, the bytes were decrypted or copied before they
// became a body, or there are too many places.
func (b *Body) Places() (list []Place, ok bool) {
	return b.places, b.traced && !b.lostTrace
}

// traceBytes remembers where p was captured, which must be a part of the current input.
func (b *Body) traceBytes(p []byte) {
	b.traced = true
	in := b.conn.engine.innermost()
	at := in.indexOf(p)
	if len(p) == 0 {
		return
	}
	if in.conn != b.conn || b.conn.carried() || len(in.Data) == 0 || at < 0 || at+len(p) > len(in.Data) || len(b.places) >= maxPlaces {
		b.lostTrace = true
		return
	}
	list, ok := in.places(at, at+len(p))
	b.places, b.lostTrace = append(b.places, list...), b.lostTrace || !ok
}

// indexOf is the index of a part of in.Data in it. Of other bytes it is any number.
func (in *Input) indexOf(part []byte) int {
	return int(uintptr(unsafe.Pointer(unsafe.SliceData(part))) - uintptr(unsafe.Pointer(unsafe.SliceData(in.Data))))
}

// carried reports whether another connection carries the bytes of c, so that they may not be in packets as they are.
func (c *Conn) carried() bool { return c.parent != nil && !c.isBeside }

// places lists where in.Data[from:to] was captured. ok is false for fragments, which have no
// sequence number.
func (in *Input) places(from, to int) (list []Place, ok bool) {
	ok = true
	for from < to {
		s := in.at(from)
		n := min(in.segmentEnd(from), to) - from
		seq := in.Seq(from)
		if in.Datagram {
			seq = uint32(from)
		}
		ok = ok && len(s.Also) == 0
		list = append(list, Place{s.No, seq, int32(n), in.Datagram})
		from += n
	}
	return list, ok
}

// Hidden is a part of a call that no row shows.
type Hidden struct {
	Text   string // of a credential, which may be sent elsewhere too; empty for anything else
	Places []Place
}

// hidden is a tracing engine's data of a call.
type hidden struct {
	list   []Hidden
	places int
	lost   bool
}

// Tracing reports whether Hide and HideRest are of use.
func (in *Input) Tracing() bool { return in.conn != nil && in.conn.engine.trace }

// Hide records that in.Data[from:to] is a credential of a call, which no row shows. An empty range notes
// that the call has none in its message.
func (x *Exchange) Hide(in *Input, from, to int) { x.hide(in, from, to, true) }

// HideRest records that in.Data[from:to] is in no row, because the row shows only the beginning of
// its message.
func (x *Exchange) HideRest(in *Input, from, to int) { x.hide(in, from, to, false) }

// HidePart is Hide for a part of in.Data.
func (x *Exchange) HidePart(in *Input, part []byte) {
	from := in.indexOf(part)
	switch {
	case len(part) == 0:
		x.Hide(in, 0, 0)
	case from < 0 || from+len(part) > len(in.Data):
		x.HideUnplaced(in)
	default:
		x.Hide(in, from, from+len(part))
	}
}

// HideUnplaced records that a call has a credential whose place is not known, because it is no part of
// in.Data: then nothing that Hide noted of the call is of use.
func (x *Exchange) HideUnplaced(in *Input) {
	if x.Hide(in, 0, 0); in.Tracing() {
		in.conn.engine.hidden[x].lost = true
	}
}

// Unhide takes back what Hide noted of a call, because its row shows that.
func (c *Conn) Unhide(x *Exchange) { delete(c.engine.hidden, x) }

func (x *Exchange) hide(in *Input, from, to int, credential bool) {
	if !in.Tracing() {
		return
	}
	e := in.conn.engine
	h := e.hidden[x]
	if h == nil {
		h = &hidden{list: []Hidden{}}
		e.hidden[x] = h
	}
	if from >= to {
		return
	}
	list, ok := in.places(from, to)
	if !ok || in.conn.carried() || h.places+len(list) > maxPlaces {
		h.lost = true
		return
	}
	h.places += len(list)
	part := Hidden{Places: list}
	if credential {
		part.Text = string(in.Data[from:to])
	}
	h.list = append(h.list, part)
}

// hiddenOf removes and returns what Hide and HideRest noted of a call. It is nil if they noted
// nothing, or if a part has no place.
func (e *Engine) hiddenOf(x *Exchange) []Hidden {
	h := e.hidden[x]
	if h == nil {
		return nil
	}
	delete(e.hidden, x)
	if h.lost {
		return nil
	}
	return h.list
}

// innermost returns the Input of the Read call in progress; if calls are nested, of the innermost.
func (e *Engine) innermost() *Input {
	if e.depth == 0 {
		return &Input{}
	}
	return e.inputs[e.depth-1]
}

// segmentEnd is the index after the bytes that the packet with Data[i] carried.
func (in *Input) segmentEnd(i int) int {
	off := in.base + int64(i)
	for k := range in.segs {
		if in.segs[k].off > off {
			return int(in.segs[k].off - in.base)
		}
	}
	return len(in.Data)
}
