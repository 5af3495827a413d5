package quic

import (
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Limits of the streams of one connection.
const (
	maxStreams  = 4096          // open at once
	maxSkipped  = 1024          // ids of one type that were skipped; their frames may come late
	maxOffset   = 1<<62 - 1     // RFC 9000 section 4.5
	streamCost  = 1024          // bytes that an open stream costs in addition to its kept pieces
	gapTimeout  = 3_000_000_000 // ns after which a gap counts as lost
	shortly     = 200_000_000   // the same at the start of streams that began before the capture
	lookAgain   = 50_000_000    // ns between two checks of the gaps
	maxWaiting  = 8             // streams with unread bytes that are offered after each packet; further ones every waitingTurn packets
	waitingTurn = 32            // packets
)

// half is one direction of a stream.
type half struct {
	asm     assembly
	buf     *dissect.StreamBuffer // for a protocol that reads all streams
	ack     table.Opt[int64]      // packet that acknowledged its bytes last
	final   int64                 // size of the stream, -1 until it is known
	highest int64                 // one more than the highest offset seen
	ended   bool                  // no more is read: the end was reported, the stream was reset, or reading was given up
	gapped  bool                  // in app.gaps
	waiting bool                  // in app.waiting
}

// stream is an open stream.
type stream struct {
	id     int64
	halves [2]half       // by role of the sender
	inner  *dissect.Conn // if no protocol reads all streams
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

// app is the content of the connection.
type app struct {
	began   bool // the reader of the streams was selected
	inner   *dissect.Conn
	streams dissect.Streams
	open    map[int64]*stream
	last    *stream
	opened  [4]int64              // by the low bits of the id: streams opened
	skipped [4]map[int64]struct{} // of these, those without a frame yet
	gaps    []place               // directions with missing bytes
	waiting []place               // directions with unread bytes
	turn    int
	read    bool // something was read since waiting was last offered
	readUni bool
	// delivered means that packets that were not captured were acknowledged, so gaps may be
	// final.
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
		return 0, fmt.Errorf("offset %d and %d bytes exceed the largest offset", off, len(data))
	}
	if q.rejected && s.kind == zeroRTT {
		return at, nil
	}
	x, err := q.stream(s, int64(id))
	q.sends(s, number, x, int64(id), off, len(data))
	if x != nil {
		q.streamData(x, s, number, int64(off), data, typ&streamFin != 0)
	}
	return at, err
}

// stream returns an open stream, or nil if it has ended or exceeds a limit.
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
			q.t.anomaly("limit", "stream %d exceeds the limit of %d open streams", id, len(a.open))
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
		return nil, fmt.Errorf("the %[2]s cannot send on stream %[1]d", id, s.role)
	}
	a.last = x
	return x, nil
}

// openUpTo opens stream n of a kind and all earlier ones, RFC 9000 section 3.2.
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

// choose selects the reader of the streams: the protocol that the server selected, else one that
// the client offered. Without a captured handshake only HTTP/3 can be detected, by the start of
// a stream.
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
	if a.inner, a.streams = q.c.NewStreams("quic", names...); a.inner != nil {
		a.inner.SetStreamAcks(q, dissect.AnyStream)
	}
}

// beginsHTTP3 reports whether a stream begins like one of HTTP/3, RFC 9114 sections 6.2 and 7.2:
// a request with HEADERS that refer to the static table only, or a control stream with SETTINGS.
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
	return section[0] == 0 && section[1] == 0 && section[2] >= 0x50 // RFC 9204 section 4.5: no field refers to the dynamic table
}

// stamp is the packet as the bytes of a stream cite it: they are identified by the connection's
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
			q.t.anomaly("final_size", "stream %d ends at %d, but it ended at %d before", x.id, end, max(h.final, h.highest))
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

// put adds bytes and reads those that are now in order.
func (q *conn) put(pl place, s sealed, number uint64, off int64, data []byte) {
	h := pl.half()
	r := h.asm.place(q.c, off, data, s.p)
	if r.refused && h.asm.gap() > 0 { // the memory limit ends the wait: missing bytes are lost
		q.skipGap(pl, s.p)
		if h.ended {
			return
		}
		r = h.asm.place(q.c, off, data, s.p)
		if r.refused {
			q.t.anomaly("limit", "stream %d: no memory for %d bytes at %d", pl.s.id, len(data), off)
		}
	}
	if r.conflict {
		q.t.anomaly("overlap", "stream %d: two copies of the bytes at %d differ", pl.s.id, off)
	}
	if len(r.fresh) > 0 {
		q.deliver(pl, h.asm.next-int64(len(r.fresh)), r.fresh, s.p)
		q.drain(pl)
	}
	if len(h.asm.parts) > 0 {
		if !h.gapped {
			h.gapped = true
			h.asm.since, h.asm.sinceT = number, s.p.Time
			q.app.gaps = append(q.app.gaps, pl)
		}
	}
}

// drain reads the kept pieces that are now in order.
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

// endIfDone reports the end of a direction once all its bytes were read.
func (q *conn) endIfDone(pl place, p dissect.Packet) {
	h := pl.half()
	if h.ended || h.final < 0 || h.asm.next < h.final {
		return
	}
	q.end(pl, true, p)
	q.tidy(pl.s, p)
}

// tidy removes a stream that has ended in both directions.
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
		if h.buf != nil && h.buf.Len() == 0 {
			h.buf.Close()
			h.buf = nil
		}
	}
	if x.inner != nil {
		x.inner.Close(dissect.EndFin, p)
		x.inner = nil
	}
}

// resetStream reads RESET_STREAM: the sender abandons its direction. Bytes that it still promises
// to deliver (reliable) are waited for.
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
		q.t.anomaly("final_size", "stream %d is reset at %d, but it had reached %d before", id, final, max(h.final, h.highest))
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
	q.free(pl)
	if x.inner != nil && x.halves[s.role.other()].ended {
		x.inner.Close(dissect.EndReset, q.stamp(s.p, final))
		x.inner = nil
	} else if x.inner != nil {
		x.inner.End(q.dir(s.role), q.stamp(s.p, final))
	}
	q.tidy(x, s.p)
}

// free frees what a direction still holds after its end.
func (q *conn) free(pl place) {
	h := pl.half()
	h.asm.drop(q.c)
	if h.buf != nil {
		h.buf.Close()
		h.buf = nil
	}
}

// stopSending reads STOP_SENDING: the sender refuses the other direction.
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
