package quic

import (
	"fmt"
	"math"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// deliver passes the next bytes of one direction to their reader.
func (q *conn) deliver(pl place, off int64, data []byte, p dissect.Packet) {
	x, h, d := pl.s, pl.half(), q.dir(pl.r)
	p = q.stamp(p, off)
	if pl.r == client {
		q.row.ClientStreamBytes += int64(len(data))
	} else {
		q.row.ServerStreamBytes += int64(len(data))
	}
	q.c.Encryption().Plain[d] += int64(len(data))
	if q.byItself(x) {
		q.byContent(x)
		x.inner.Tap(d, x.id, data, p)
		x.inner.Data(d, data, p)
		return
	}
	inner := q.app.inner
	inner.Tap(d, x.id, data, p)
	if h.buf == nil {
		h.buf = inner.NewStreamBuffer(d)
		if off > 0 { // earlier bytes were lost
			h.buf.Skip(off, false)
		}
	}
	q.app.turn++
	if h.buf.Len() > 0 {
		if !h.buf.Add(data, p) {
			q.giveUp(pl, "limit", fmt.Sprintf("stream %d: its reader left %d bytes, and there is no memory for more", x.id, h.buf.Len()), int64(h.buf.Len()+len(data)))
			return
		}
		q.offerRest(pl)
		return
	}
	for rest := data; ; {
		n, err := q.app.streams.ReadStream(x.id, h.buf.Borrow(rest, p))
		h.buf.Consumed(n)
		q.noteRead(x, n)
		rest = rest[n:]
		if err != nil {
			q.giveUp(pl, "malformed", err.Error(), int64(len(rest)))
			return
		}
		if len(rest) == 0 {
			return
		}
		p.Seq += uint32(n)
		if n == 0 {
			if !h.buf.Add(rest, p) {
				q.giveUp(pl, "limit", fmt.Sprintf("stream %d: its reader left %d bytes, and there is no memory for them", x.id, len(rest)), int64(len(rest)))
				return
			}
			q.wait(pl)
			return
		}
	}
}

// byItself reports whether no protocol reads a stream together with others.
func (q *conn) byItself(x *stream) bool { return q.app.streams == nil || x.inner != nil }

// byContent makes the connection of a stream that no protocol reads together with others.
func (q *conn) byContent(x *stream) {
	if x.inner == nil {
		x.inner = q.c.NewStream("quic")
		x.inner.SetStreamAcks(q, x.id)
		q.c.SetTLSTime(-1) // the duration of the handshake belongs to one call
	}
}

func (q *conn) noteRead(x *stream, n int) {
	if n > 0 {
		q.app.read = true
		q.app.readUni = q.app.readUni || x.uni()
	}
}

// wait records that unread bytes are left, which are offered again.
func (q *conn) wait(pl place) {
	if h := pl.half(); !h.waiting {
		h.waiting = true
		q.app.waiting = append(q.app.waiting, pl)
	}
}

// offerRest offers the unread bytes of one direction until the reader consumes no more.
func (q *conn) offerRest(pl place) { q.offerLeft(pl, false) }

// offerLeft offers the unread bytes of one direction, with ended also after its end. It reports
// whether none are left.
func (q *conn) offerLeft(pl place, ended bool) bool {
	h := pl.half()
	for (ended || !h.ended) && h.buf != nil && h.buf.Len() > 0 {
		in := h.buf.Input()
		size := len(in.Data)
		n, err := q.app.streams.ReadStream(pl.s.id, in)
		h.buf.Discard(n)
		q.noteRead(pl.s, n)
		if err != nil {
			q.giveUp(pl, "malformed", err.Error(), int64(size-n))
			return false
		}
		if n == 0 {
			q.wait(pl)
			return false
		}
	}
	return true
}

// giveUp stops reading one direction.
func (q *conn) giveUp(pl place, kind, detail string, n int64) {
	h := pl.half()
	h.ended = true
	inner := q.app.inner
	inner.AnomalyFrom(inner.Protocol().Name, kind, detail, n)
	q.free(pl)
	q.tidy(pl.s, q.t.p)
}

// end reports that no more bytes will come in one direction.
func (q *conn) end(pl place, fin bool, p dissect.Packet) {
	x, h, d := pl.s, pl.half(), q.dir(pl.r)
	if h.ended {
		return
	}
	p = q.stamp(p, h.asm.next)
	if q.byItself(x) {
		h.ended = true
		if fin {
			q.byContent(x)
			x.inner.End(d, p)
		}
		return
	}
	if h.buf == nil {
		h.buf = q.app.inner.NewStreamBuffer(d)
	}
	h.buf.End(fin, p)
	for {
		in := h.buf.Input()
		size := len(in.Data)
		n, err := q.app.streams.ReadStream(x.id, in)
		h.buf.Discard(n)
		q.noteRead(x, n)
		if err != nil {
			q.giveUp(pl, "malformed", err.Error(), int64(size-n))
			return
		}
		if n == 0 || h.buf.Len() == 0 {
			break
		}
	}
	h.ended = true
	if h.buf.Len() > 0 {
		q.wait(pl) // it may have to see another stream first
	}
}

// settle runs after each datagram: it offers unread bytes again and checks gaps.
func (q *conn) settle() {
	a := &q.app
	if len(a.gaps) > 0 && (a.delivered || q.t.p.Time-a.looked > lookAgain) {
		a.delivered, a.looked = false, q.t.p.Time
		q.checkGaps()
	}
	if a.read && len(a.waiting) > 0 && (a.readUni || len(a.waiting) <= maxWaiting || a.turn >= waitingTurn) {
		q.offerWaiting()
	}
	a.read, a.readUni = false, false
}

// offerWaiting offers all unread bytes, as long as some are consumed.
func (q *conn) offerWaiting() {
	a := &q.app
	a.turn = 0
	for range maxWaiting {
		list := a.waiting
		a.waiting, a.read = nil, false
		for _, pl := range list {
			h := pl.half()
			h.waiting = false
			if h.buf == nil {
				continue
			}
			if h.ended {
				q.offerEnded(pl)
			} else {
				q.offerRest(pl)
			}
		}
		if !a.read || len(a.waiting) == 0 {
			return
		}
	}
}

// offerEnded offers the unread bytes of a direction that has ended.
func (q *conn) offerEnded(pl place) {
	if q.offerLeft(pl, true) {
		q.free(pl)
	}
}

// checkGaps skips gaps that will not be filled: packets from before the gap was seen were
// acknowledged without having been captured, or the gap has been open for too long.
func (q *conn) checkGaps() {
	a := &q.app
	left := a.gaps[:0]
	list := a.gaps
	for _, pl := range list {
		h := pl.half()
		if h.ended || h.asm.gap() == 0 {
			h.gapped = false
			continue
		}
		sp := &q.spaces[spaceApp][pl.r]
		final := sp.unseen && (len(sp.missing) == 0 || sp.missing[0].lo > h.asm.since)
		wait := int64(gapTimeout)
		if q.row.Midstream && h.asm.next == 0 {
			wait = shortly
		}
		if !final && q.t.p.Time-h.asm.sinceT < wait {
			left = append(left, pl)
			continue
		}
		q.skipGap(pl, q.t.p)
		if !h.ended && h.asm.gap() > 0 {
			h.asm.since, h.asm.sinceT = max(h.asm.since, sp.top-1), q.t.p.Time
			left = append(left, pl)
			continue
		}
		h.gapped = false
		q.endIfDone(pl, q.t.p)
	}
	clear(list[len(left):])
	a.gaps = left
}

// skipGap counts the bytes before the first kept piece as lost and continues with that piece.
func (q *conn) skipGap(pl place, p dissect.Packet) {
	x, h, d := pl.s, pl.half(), q.dir(pl.r)
	n := h.asm.gap()
	if n <= 0 || h.ended {
		return
	}
	q.lost(n)
	if h.asm.parts[0].p.Time != 0 {
		p = h.asm.parts[0].p
	}
	q.missing(x, h, d, n, q.stamp(p, h.asm.next+n))
	h.asm.next += n
	if h.ended {
		q.free(pl)
		q.tidy(x, p)
		return
	}
	q.drain(pl)
}

// lost counts bytes that were not captured. Offsets may lie, so the sum is limited.
func (q *conn) lost(n int64) {
	q.row.GapBytes = min(q.row.GapBytes, math.MaxInt64-n) + n
}

// missing reports to the reader of a direction that n bytes are lost.
func (q *conn) missing(x *stream, h *half, d dissect.Dir, n int64, p dissect.Packet) {
	if q.byItself(x) {
		q.byContent(x)
		x.inner.Gap(d, n, p)
		return
	}
	if h.buf == nil {
		h.buf = q.app.inner.NewStreamBuffer(d)
	}
	var in *dissect.Input
	if h.buf.Len() == 0 {
		in = h.buf.Borrow(nil, p)
	} else {
		in = h.buf.Input()
	}
	left := int64(len(in.Data))
	goOn := q.app.streams.GapStream(x.id, in, n)
	h.buf.Skip(n, goOn)
	if !goOn {
		h.ended = true
		if left > 0 {
			q.app.inner.AnomalyFrom(q.app.inner.Protocol().Name, "gap", "a gap cut a message short", left)
		}
	}
}
