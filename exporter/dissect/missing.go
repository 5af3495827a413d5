package dissect

import "math"

// The bytes of a message on the wire are those that were read and those in gaps inside it. A dissector that skips a gap in
// a body tells the Body. For any other message, the gap belongs to what was being read directly before it.

// loss is a gap that is reported to a dissector.
type loss struct {
	side *side
	from int64 // stream offset of the first unread byte before the gap
	at   int64 // of the gap
	n    int64
	own  bool // the packet with the bytes before it was cut, so the gap is the rest of that packet
}

// tail is the message to which the latest bytes that were read belong. The rest of a cut packet is reported directly after
// its bytes, so an engine needs one.
type tail struct {
	side *side
	part *part
	end  int64 // stream offset after these bytes
	no   int64 // packet of the latest bytes that came, also those that are unread
}

// Done declares that nothing more belongs to a call. A dissector that uses its memory again calls it if it did not emit
// the call.
func (c *Conn) Done(x *Exchange) {
	if t := &c.engine.tail; t.part == &x.req || t.part == &x.resp {
		t.part = nil
	}
}

// lose counts bytes of a message that are missing.
//
// LIMIT: 4 GiB.
func (p *part) lose(n int64) {
	p.lost = uint32(min(int64(p.lost)+n, math.MaxUint32))
}

// of returns how much of a gap belongs to a message. inside says that the dissector knows the gap to be inside a message:
// the bytes before it that nobody read belong to it too. Otherwise the message is only known to go on if it has the last
// bytes of a packet that was cut.
func (l *loss) of(t *tail, p *part, inside bool) int64 {
	if l.side == nil || t.side != l.side || t.part != p || l.n <= 0 || l.n >= LostAll || !p.seen {
		return 0
	}
	switch unread := l.at - t.end; {
	case inside && unread >= 0 && unread <= l.at-l.from:
		return l.n + unread
	case l.own && unread == 0 && l.at > l.from:
		return l.n
	}
	return 0
}

// counts counts a gap in the message that it belongs to.
func (e *Engine) counts(l *loss, inside bool) {
	t := &e.tail
	if t.part == nil || t.side != l.side {
		return
	}
	t.part.lose(l.of(t, t.part, inside))
	t.end = l.at + l.n
}

// onWire is the number of bytes of a message, with those in gaps inside it. A gap may still be with the dissector, which
// ends the call because of it.
func (c *Conn) onWire(p *part, body *Body) int64 {
	if body != nil && body.missing > 0 && body.missing < LostAll {
		return p.bytes + body.missing
	}
	l := &c.engine.loss
	return p.bytes + int64(p.lost) + l.of(&c.engine.tail, p, l.own)
}
