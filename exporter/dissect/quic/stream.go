package quic

import (
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// Limits of the streams of one connection.
const (
	maxStreams  = 4096          // open at once
	maxSkipped  = 1024          // ids of one type that were passed over, and whose frames may come late
	maxOffset   = 1<<62 - 1     // RFC 9000 section 4.5
	streamCost  = 1024          // bytes that an open stream costs beside what is kept of it
	patience    = 3_000_000_000 // ns after which a hole counts as lost
	shortly     = 200_000_000   // the same at the start of streams that began before the capture
	lookAgain   = 50_000_000    // ns after which holes are looked at again
	maxWaiting  = 8             // streams left over that are offered again after each packet; more of them now and then
	waitingTurn = 32            // packets
)

// half is one direction of a stream.
type half struct {
	asm     assembly
	lane    *dissect.StreamBuffer // of a protocol that reads all streams
	final   int64                 // size of the stream, -1 while it is not known
	highest int64                 // one more than the highest offset seen
	ended   bool                  // no more is read: the end was told, the stream was reset, or its reading was given up
	holed   bool                  // in app.holes
	waiting bool                  // in app.waiting
}

// stream is one stream that is open.
type stream struct {
	id     int64
	halves [2]half       // by role of the sender
	inner  *dissect.Conn // where no protocol reads all streams
}

// Bits of a stream's id, RFC 9000 section 2.1.
const (
	idServer = 1
	idUni    = 2
)

func (s *stream) opener() role { return role(s.id & idServer) }
func (s *stream) uni() bool    { return s.id&idUni != 0 }

// place is one direction of a stream.
type place struct {
	s *stream
	r role
}

func (x place) half() *half { return &x.s.halves[x.r] }

// app is what the connection carries.
type app struct {
	began   bool // what reads the streams is chosen
	inner   *dissect.Conn
	streams dissect.Streams
	open    map[int64]*stream
	last    *stream
	opened  [4]int64              // by the low bits of the id: streams opened
	skipped [4]map[int64]struct{} // of these, those not seen yet
	holes   []place               // with bytes missing
	waiting []place               // with bytes that their reader left
	turn    int
	read    bool // something was read since waiting was offered
	readUni bool
	// delivered: packets that were not captured were acknowledged, so holes may be final.
	delivered bool
	looked    int64
	dgrams    [2]*dissect.StreamBuffer
	dgramConn *dissect.Conn
}

// streamFrame reads a STREAM frame.
func (q *conn) streamFrame(typ uint64, s sealed, number uint64, b []byte) (int, error) {
	id, at := varint(b)
	if at == 0 {
		return 0, errFrameShort
	}
	var off uint64
	if typ&streamOffset != 0 {
		v, n := varint(b[at:])
		if n == 0 {
			return 0, errFrameShort
		}
		off, at = v, at+n
	}
	data := b[at:]
	if typ&streamLength != 0 {
		v, n := varint(b[at:])
		if n == 0 || v > uint64(len(b)-at-n) {
			return 0, errFrameShort
		}
		at += n
		data = b[at : at+int(v)]
	}
	at += len(data)
	if off+uint64(len(data)) > maxOffset {
		return 0, fmt.Errorf("offset %d and %d bytes", off, len(data))
	}
	if q.rejected && s.kind == zeroRTT {
		return at, nil
	}
	x, err := q.stream(s, int64(id))
	if x != nil {
		q.streamData(x, s, number, int64(off), data, typ&streamFin != 0)
	}
	return at, err
}

// stream returns an open stream; nil where it has ended or is over a limit.
func (q *conn) stream(s sealed, id int64) (*stream, error) {
	a := &q.app
	if x := a.last; x != nil && x.id == id {
		return x, nil
	}
	x := a.open[id]
	if x == nil {
		kind, n := id&3, id>>2
		if n >= a.opened[kind] {
			q.openUpTo(kind, n)
		} else if _, ok := a.skipped[kind][n]; ok {
			delete(a.skipped[kind], n)
		} else {
			return nil, nil // it has ended
		}
		if len(a.open) >= maxStreams || !q.c.Hold(streamCost) {
			q.t.anomaly("limit", "stream %d, with %d streams open", id, len(a.open))
			return nil, nil
		}
		x = &stream{id: id}
		for r := range x.halves {
			x.halves[r].final = -1
			x.halves[r].ended = x.uni() && role(r) != x.opener()
		}
		if a.open == nil {
			a.open = map[int64]*stream{}
		}
		a.open[id] = x
	}
	if x.uni() && s.role != x.opener() {
		return nil, fmt.Errorf("stream %d, on which the %s cannot send", id, s.role)
	}
	a.last = x
	return x, nil
}

// openUpTo opens stream n of a kind, and with it all before it, RFC 9000 section 3.2.
func (q *conn) openUpTo(kind, n int64) {
	a := &q.app
	from := a.opened[kind]
	a.opened[kind] = n + 1
	for i := max(from, n-maxSkipped); i < n; i++ {
		if len(a.skipped[kind]) >= maxSkipped {
			return
		}
		if a.skipped[kind] == nil {
			a.skipped[kind] = map[int64]struct{}{}
		}
		a.skipped[kind][i] = struct{}{}
	}
	count := [...]*int64{&q.row.ClientBidi, &q.row.ServerBidi, &q.row.ClientUni, &q.row.ServerUni}
	*count[kind] = n + 1
}

// choose finds what reads the streams: what the server chose, else what the client offered.
// Where the handshake was not captured, only HTTP/3 is told, by the begin of a stream.
func (q *conn) choose(id, off int64, data []byte) {
	a := &q.app
	names := q.offered
	if q.alpn != "" {
		names = []string{q.alpn}
	}
	if len(names) == 0 {
		if !beginsHTTP3(id, off, data) {
			return
		}
		names = []string{"h3"}
	}
	a.began = true
	a.inner, a.streams = q.c.NewStreams("quic", names...)
}

// beginsHTTP3 reports whether a stream begins as those of HTTP/3 do, RFC 9114 sections 6.2
// and 7.2: a request with HEADERS whose references are all to the static table, a control
// stream with SETTINGS.
func beginsHTTP3(id, off int64, data []byte) bool {
	const headers, settings, control = 0x01, 0x04, 0x00
	if off != 0 || len(data) < 4 {
		return false
	}
	if id&idUni != 0 {
		n, used := varint(data[2:])
		return data[0] == control && data[1] == settings && used > 0 && n <= 1<<10
	}
	n, used := varint(data[1:])
	if data[0] != headers || used == 0 || n < 3 || n > 1<<16 || len(data) < 1+used+3 {
		return false
	}
	section := data[1+used:]
	return section[0] == 0 && section[1] == 0 && section[2] >= 0x50 // RFC 9204 section 4.5: no field of the dynamic table
}

// stamp is the packet as the bytes of a stream cite it: their identity is the connection's
// id and the offset.
func (q *conn) stamp(p dissect.Packet, off int64) dissect.Packet {
	p.Seq, p.Ack = uint32(off), q.ident
	return p
}

func (q *conn) streamData(x *stream, s sealed, number uint64, off int64, data []byte, fin bool) {
	h := &x.halves[s.role]
	end := off + int64(len(data))
	if fin {
		if h.final >= 0 && h.final != end || end < h.highest {
			q.t.anomaly("final_size", "stream %d ends at %d, before that at %d", x.id, end, max(h.final, h.highest))
		} else {
			h.final = end
		}
	} else if h.final >= 0 && end > h.final {
		q.t.anomaly("final_size", "stream %d has bytes up to %d, but ends at %d", x.id, end, h.final)
		return
	}
	if h.ended {
		return
	}
	h.highest = max(h.highest, end)
	if !q.app.began && x.inner == nil {
		q.choose(x.id, off, data)
	}
	pl := place{x, s.role}
	q.put(pl, s, number, off, data)
	q.endIfDone(pl, s.p)
}

// put places bytes and reads what they make readable.
func (q *conn) put(pl place, s sealed, number uint64, off int64, data []byte) {
	h := pl.half()
	r := h.asm.place(q.c, off, data, s.p)
	if r.refused && h.asm.hole() > 0 { // patience ends with memory: what is missing is lost
		q.skipHole(pl, s.p)
		if h.ended {
			return
		}
		r = h.asm.place(q.c, off, data, s.p)
		if r.refused {
			q.t.anomaly("limit", "stream %d: %d bytes at %d", pl.s.id, len(data), off)
		}
	}
	if r.conflict {
		q.t.anomaly("overlap", "stream %d: bytes at %d came twice and differ", pl.s.id, off)
	}
	if len(r.fresh) > 0 {
		q.deliver(pl, h.asm.next-int64(len(r.fresh)), r.fresh, s.p)
		q.drain(pl)
	}
	if len(h.asm.parts) > 0 {
		if !h.holed {
			h.holed = true
			h.asm.since, h.asm.sinceT = number, s.p.Time
			q.app.holes = append(q.app.holes, pl)
		}
	}
}

// drain reads what was kept and now follows.
func (q *conn) drain(pl place) {
	h := pl.half()
	for !h.ended {
		more, ok := h.asm.pop(q.c)
		if !ok {
			return
		}
		q.deliver(pl, more.off, more.data, more.p)
	}
	h.asm.drop(q.c)
}

// endIfDone tells the end of a direction once all its bytes were read.
func (q *conn) endIfDone(pl place, p dissect.Packet) {
	h := pl.half()
	if h.ended || h.final < 0 || h.asm.next < h.final {
		return
	}
	q.end(pl, true, p)
	q.tidy(pl.s, p)
}

// tidy forgets a stream that has ended in both directions.
func (q *conn) tidy(x *stream, p dissect.Packet) {
	if !x.halves[client].ended || !x.halves[server].ended {
		return
	}
	a := &q.app
	if a.open[x.id] != x {
		return
	}
	delete(a.open, x.id)
	if a.last == x {
		a.last = nil
	}
	q.c.Release(streamCost)
	for r := range x.halves {
		h := &x.halves[r]
		h.asm.drop(q.c)
		if h.lane != nil && h.lane.Len() == 0 {
			h.lane.Close()
			h.lane = nil
		}
	}
	if x.inner != nil {
		x.inner.Close(dissect.EndFin, p)
		x.inner = nil
	}
}

// resetStream reads RESET_STREAM: the sender gives up its direction. What it promises to
// deliver all the same (reliable) is waited for.
func (q *conn) resetStream(s sealed, id, code, final, reliable int64) {
	x, err := q.stream(s, id)
	if x == nil {
		if err != nil {
			q.t.anomaly("frame", "reading frame RESET_STREAM: %v", err)
		}
		return
	}
	h := &x.halves[s.role]
	if final < h.highest || h.final >= 0 && h.final != final {
		q.t.anomaly("final_size", "stream %d is reset at %d, before that it was at %d", id, final, max(h.final, h.highest))
	}
	if h.ended {
		return
	}
	pl := place{x, s.role}
	if q.app.streams != nil && x.inner == nil {
		q.app.streams.ResetStream(id, q.dir(s.role), false, code, q.stamp(s.p, final))
	}
	if reliable > h.asm.next {
		h.final = reliable
		return
	}
	h.ended = true
	q.give(pl)
	if x.inner != nil && x.halves[s.role.other()].ended {
		x.inner.Close(dissect.EndReset, q.stamp(s.p, final))
		x.inner = nil
	} else if x.inner != nil {
		x.inner.End(q.dir(s.role), q.stamp(s.p, final))
	}
	q.tidy(x, s.p)
}

// give gives back what a direction holds that is not read any more.
func (q *conn) give(pl place) {
	h := pl.half()
	h.asm.drop(q.c)
	if h.lane != nil {
		h.lane.Close()
		h.lane = nil
	}
}

// stopSending reads STOP_SENDING: the sender does not want the other direction.
func (q *conn) stopSending(s sealed, id, code int64) {
	x := q.app.open[id]
	if x == nil || q.app.streams == nil || x.inner != nil {
		return
	}
	q.app.streams.ResetStream(id, q.dir(s.role), true, code, q.stamp(s.p, 0))
}

// datagram reads a DATAGRAM frame.
func (q *conn) datagram(s sealed, data []byte) {
	a := &q.app
	if s.role == client {
		q.row.ClientDatagrams++
	} else {
		q.row.ServerDatagrams++
	}
	if q.rejected && s.kind == zeroRTT {
		return
	}
	if !a.began {
		q.choose(-1, -1, nil)
	}
	d, p := q.dir(s.role), q.stamp(s.p, 0)
	if a.streams == nil {
		if a.dgramConn == nil {
			a.dgramConn = q.c.NewInner("quic")
		}
		a.dgramConn.Tap(d, -1, data, p)
		a.dgramConn.Datagram(d, data, p)
		return
	}
	if a.dgrams[s.role] == nil {
		a.dgrams[s.role] = a.inner.NewStreamBuffer(d)
	}
	a.inner.Tap(d, -1, data, p)
	in := a.dgrams[s.role].Borrow(data, p)
	in.Datagram = true
	a.streams.ReadDatagram(in)
	a.dgrams[s.role].Consumed(len(data))
}
