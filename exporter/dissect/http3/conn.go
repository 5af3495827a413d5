package http3

import (
	"fmt"
	"math"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/qpack"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Limits of sections that are blocked on the encoder stream.
const (
	maxWaiting  = 256              // blocked sections of one side; a further one is read at once
	maxWaitTime = 10 * 1e9         // longest time that a section is blocked, ns of the capture
	forEver     = math.MaxInt64    // insertions
	serverBit   = 1                // of a stream's id: the server opened it
	oneWayBit   = 2                // it is unidirectional
	noStream    = int64(-1)        // a push without its stream yet
	largestID   = int64(1)<<62 - 1 // RFC 9000 section 2.1
)

// conn is one HTTP/3 connection.
type conn struct {
	c     *dissect.Conn
	sides [2]side
	streams
	uni      map[int64]*uni
	sessions bool  // WebTransport was announced
	goaways  int   // GOAWAY frames of the server
	goaway   int64 // the server processes no request stream from this id on
	code     int64 // error code that closed the connection, or -1
	closed   bool
}

// side describes one direction.
type side struct {
	dec     qpack.Decoder // the table that this side's encoder stream fills
	has     [4]bool       // control, push, encoder and decoder stream were captured
	waiting []waiting
	maxPush int64 // largest push id that this side allows; -1 none
}

// waiting is a section that cannot be read before further encoder instructions.
type waiting struct {
	stream int64
	need   int64
	ready  int64 // packet that unblocked it, or -1
}

func newConn(c *dissect.Conn) dissect.Streams {
	h := &conn{c: c, goaway: largestID + 1, code: -1}
	for d := range h.sides {
		h.sides[d].maxPush = -1
	}
	return h
}

// ReadStream consumes frames, and pieces of DATA frames.
func (h *conn) ReadStream(id int64, in *dissect.Input) (int, error) {
	if id&oneWayBit != 0 {
		if (id&serverBit != 0) != (in.Dir == dissect.ToClient) {
			return 0, fmt.Errorf("reading unidirectional stream %d: bytes %s", id, in.Dir)
		}
		return h.readUni(id, in)
	}
	if u := h.uni[id]; u != nil {
		return h.readSession(u, id, in, 0), nil
	}
	s := h.find(id)
	if s == nil {
		if len(in.Data) == 0 {
			return 0, nil
		}
		if (in.Dir == dissect.ToClient) != (id&serverBit != 0) && h.mayBeSession(id, in) {
			return 0, nil
		}
		if id&serverBit != 0 || in.Dir == dissect.ToServer {
			typ, n := varint(in.Data)
			if n == 0 {
				return 0, nil
			}
			if typ == frameSession {
				return h.openSession(id, in, n)
			}
			if id&serverBit != 0 {
				return 0, fmt.Errorf("reading stream %d that the server opened: it begins with type 0x%x", id, typ)
			}
		}
		if h.isClosed(id, len(in.Data)) {
			return len(in.Data), nil
		}
		s = h.open(id)
	}
	return h.readFrames(s, id, in, 0, false)
}

// GapStream continues if the gap is inside one frame, because the frame's head has its length.
func (h *conn) GapStream(id int64, in *dissect.Input, missing int64) bool {
	if id&oneWayBit != 0 {
		return h.gapUni(id, in, missing)
	}
	if u := h.uni[id]; u != nil {
		return true // the rest of the stream is ignored
	}
	if id&serverBit != 0 {
		return false
	}
	s := h.find(id)
	if s == nil {
		if h.isClosed(id, 0) {
			return false
		}
		s = h.open(id)
	}
	return h.gapFrames(s, id, in, missing)
}

// ResetStream records that a side resets its half of a stream, or refuses the other half.
func (h *conn) ResetStream(id int64, dir dissect.Dir, stop bool, code int64, p dissect.Packet) {
	var s *stream
	if u := h.uni[id]; u != nil {
		switch u.kind {
		case uniPush:
			s = h.pushes[u.of]
		case uniEncoder:
			if !stop {
				h.sides[dir].dec.Lose()
			}
		case uniDecoder:
			if !stop {
				h.sides[dir.Other()].dec.LoseAcks()
			}
		}
		u.gone = u.gone || !stop
	} else if id&oneWayBit == 0 {
		s = h.find(id)
	}
	if s == nil {
		return // it has already ended, or nothing of it was captured
	}
	s.X.CitePacket(p)
	if !s.Reset {
		s.GiveUp(dir, p)
		s.ResetCode = table.Some(code)
	}
	if q, r := &s.Half[dir], &s.read[dir]; !stop && !q.End {
		if r.reset = true; r.blocked { // a blocked section will not be read again
			r.blocked, q.MissingFields = false, true
			h.sides[dir].unwait(r, id)
		}
		h.settle(s)
	}
}

// Close emits the open streams.
func (h *conn) Close(why dissect.End, code int64) {
	if h.closed {
		return
	}
	h.closed = true
	if code == 0 { // the usual code of a close without an error
		code = noError
	}
	if h.code = code; code >= 0 && code != noError {
		h.c.Anomaly("connection_close", "the connection was closed with "+errorName(code), 0)
	}
	for s := h.list.Oldest(); s != nil; s = h.list.Oldest() {
		h.cutShort(s, why.CallError())
	}
	h.uni = nil
}

// mayWait reports whether a section that cannot be read yet should wait. It should not if its
// stream has ended, or if it has waited longer than any retransmission takes.
func (h *conn) mayWait(r *reading, id int64, in *dissect.Input) bool {
	sd := &h.sides[in.Dir]
	if in.End && !in.Fin {
		return false
	}
	now := h.c.Now().Time
	if r.listed {
		return now-r.since < maxWaitTime
	}
	if len(sd.waiting) >= maxWaiting {
		return false
	}
	r.listed, r.since = true, now
	sd.waiting = append(sd.waiting, waiting{stream: id, need: r.need, ready: -1})
	return true
}

// mayBeSession reports whether bytes of the side that did not open a stream should wait for the
// opener's: on WebTransport streams only the opener says what they are.
func (h *conn) mayBeSession(id int64, in *dissect.Input) bool {
	return (h.sessions || id&serverBit != 0) && (!in.End || in.Fin) && h.c.Now().Time-in.Time(0) < maxWaitTime
}

// unwait removes a stream's section from the list.
func (sd *side) unwait(r *reading, id int64) {
	if !r.listed {
		return
	}
	r.listed = false
	for i := range sd.waiting {
		if sd.waiting[i].stream == id {
			sd.waiting = append(sd.waiting[:i], sd.waiting[i+1:]...)
			return
		}
	}
}

// next returns how many encoder insertions may be read before a blocked section must be read,
// because further ones may evict entries that it needs. It returns false if a section must be
// read now. A section of a stream that will not be read again is dropped with the next packet.
func (h *conn) next(sd *side, in *dissect.Input) (until int64, ok bool) {
	until = forEver
	for i := 0; i < len(sd.waiting); i++ {
		w := &sd.waiting[i]
		switch {
		case !sd.dec.Ready(w.need):
			until = min(until, w.need)
		case in.End && !in.Fin || w.ready >= 0 && w.ready != h.c.Now().No:
			sd.waiting = append(sd.waiting[:i], sd.waiting[i+1:]...)
			i--
		default:
			w.ready = h.c.Now().No
			return 0, false
		}
	}
	return until, true
}
