package quic

import (
	"slices"
	"sort"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// maxUnacked is how many STREAM frames of a side wait for their acknowledgement. LIMIT: of a connection with more at once, it
// is unknown from then on what arrived.
const maxUnacked = 4096

// sentFrame is the bytes of a STREAM frame that were not acknowledged yet.
type sentFrame struct {
	number  uint64 // of its packet
	answers uint64 // one more than the largest packet number that the receiver had used until then
	stream  int64
	off     uint32 // modulo 2^32
	end     uint32
}

// within reports whether all or some bytes of f are among from..to.
func (f *sentFrame) within(from, to uint32) (all, some bool) {
	return int32(f.off-from) >= 0 && int32(to-f.end) >= 0, int32(f.end-from) > 0 && int32(to-f.off) > 0
}

// unacked is what a side sent in streams and its receiver did not acknowledge yet, ascending by packet number.
type unacked struct {
	list   []sentFrame
	again  bool // some bytes are in several of them
	full   bool // there were more
	latest table.Opt[int64]
}

// sends records the bytes of a STREAM frame. x is nil if the stream has ended.
func (q *conn) sends(s sealed, number uint64, x *stream, id int64, off uint64, n int) {
	u := &q.unacked[s.role]
	if n == 0 || u.full {
		return
	}
	f := sentFrame{number: number, answers: q.spaces[spaceApp][s.role.other()].top, stream: id, off: uint32(off), end: uint32(off) + uint32(n)}
	if x == nil || int64(off) < x.halves[s.role].highest {
		if x == nil || int64(off)+int64(n) <= x.halves[s.role].asm.next {
			if !u.waits(id, f.off, f.end) { // it was acknowledged before
				return
			}
		}
		u.again = true
	}
	if len(u.list) == maxUnacked {
		u.list, u.full = nil, true
		return
	}
	i := len(u.list)
	for i > 0 && u.list[i-1].number > number {
		i--
	}
	u.list = slices.Insert(u.list, i, f)
}

// waits reports whether bytes from..to of a stream are not all acknowledged.
func (u *unacked) waits(stream int64, from, to uint32) bool {
	return slices.ContainsFunc(u.list, func(f sentFrame) bool {
		_, some := f.within(from, to)
		return some && f.stream == stream
	})
}

// took records that a side received the packets low..high.
func (q *conn) took(s sealed, low, high uint64) {
	from := s.role.other()
	u := &q.unacked[from]
	u.latest = table.Some(s.p.No)
	i := sort.Search(len(u.list), func(i int) bool { return u.list[i].number >= low })
	j := i + sort.Search(len(u.list)-i, func(k int) bool { return u.list[i+k].number > high })
	if i == j {
		return
	}
	took := slices.Clone(u.list[i:j])
	if u.list = slices.Delete(u.list, i, j); len(u.list) == 0 {
		u.list, u.again = nil, false
	}
	for k := range took {
		f := &took[k]
		if u.again {
			u.forget(f)
		}
		if x := q.app.open[f.stream]; x != nil {
			x.halves[from].ack = table.Some(s.p.No)
		}
	}
	last := int64(-1)
	for k := range took {
		if id := took[k].stream; id != last {
			q.c.StreamAcknowledged(q, id, s.p)
			last = id
		}
	}
}

// forget removes bytes that were acknowledged in another packet.
func (u *unacked) forget(f *sentFrame) {
	u.list = slices.DeleteFunc(u.list, func(g sentFrame) bool {
		all, _ := g.within(f.off, f.end)
		return all && g.stream == f.stream
	})
	for i := range u.list {
		g := &u.list[i]
		switch _, some := g.within(f.off, f.end); {
		case !some || g.stream != f.stream:
		case int32(g.off-f.off) >= 0:
			g.off = f.end
		case int32(f.end-g.end) >= 0:
			g.end = f.off
		}
	}
}

// StreamAcked implements dissect.StreamAcks.
func (q *conn) StreamAcked(stream int64, dir dissect.Dir, from, to uint32) dissect.StreamAcked {
	r := q.role(dir)
	u := &q.unacked[r]
	a := dissect.StreamAcked{Shown: q.showsAll(r.other()), Packet: u.latest}
	waits := false
	for i := range u.list {
		f := &u.list[i]
		if _, some := f.within(from, to); some && f.stream == stream {
			waits = true
			a.Shown = a.Shown && !q.missesSince(r.other(), f.answers)
		}
	}
	x := q.app.open[stream]
	switch {
	case u.full:
		a.Shown = false
	case waits:
	case x == nil: // it has ended
		a.Whole, a.Packet = true, table.Opt[int64]{}
	case x.halves[r].ack.OK:
		a.Whole, a.Packet = true, x.halves[r].ack
	default:
		a.Shown = false
	}
	return a
}

// showsAll reports whether every packet that the capture has of a side was read, and there are some.
func (q *conn) showsAll(r role) bool {
	unread := q.row.ServerUnread
	if r == client {
		unread = q.row.ClientUnread
	}
	return unread == 0 && len(q.kept) == 0 && (q.spaces[spaceApp][r].began || q.spaces[spaceHandshake][r].began)
}

// missesSince reports whether the capture lacks packets of a side from a number on.
func (q *conn) missesSince(r role, number uint64) bool {
	list := q.spaces[spaceApp][r].missing
	return len(list) > 0 && list[len(list)-1].hi >= number
}

// size is the memory of what waits.
func (u *unacked) size() int { return int(unsafe.Sizeof(sentFrame{})) * cap(u.list) }
