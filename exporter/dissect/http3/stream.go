package http3

import (
	"fmt"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpstream"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Limits of one connection.
const (
	maxStreams = 10_000  // under way at a time; the oldest is given up for a new one
	maxSpare   = 64      // stream values kept for the next stream
	maxHeldAll = 8 << 20 // bytes of headers of all streams under way; the oldest are given up for new ones
)

// stream is a request with its response, or a push, under way. Its ID is noStream for a
// push whose stream has not come.
type stream struct {
	httpstream.Stream
	read [2]reading // by direction

	priority string
	pushed   bool
	push     int64 // push id, where pushed
	pushedOn table.Opt[int64]
	extra    *extra

	size       int    // of the budget that it takes
	life       uint32 // another one each time the value is used
	prev, next *stream
}

// reading is the place in one direction of a stream.
type reading struct {
	// The frame under way, taken in pieces.
	left   int64
	open   bool // there is one
	isBody bool

	asked  bool  // the section at the front needs
	need   int64 // so many insertions
	listed bool  // it is among those that wait
	since  int64 // since then, ns

	fin     bool // the sender ended it, all its bytes are there
	reset   bool // the sender gave it up
	lost    bool // the place in it is lost and nothing more will be read
	capsule capsule
}

// over reports whether nothing more will come in one direction.
func (s *stream) over(dir dissect.Dir) bool {
	r := &s.read[dir]
	return (s.Half[dir].End || r.reset || r.lost) && !r.asked
}

// streams are the streams under way, oldest first.
type streams struct {
	byID           map[int64]*stream
	pushes         map[int64]*stream // by push id
	count          int
	oldest, newest *stream
	spare          *stream
	spares         int
	ended          httpstream.Ended // see key
	highest        int64            // highest request stream
	last           *stream
	held           int     // bytes of headers of all of them
	busy           *stream // what is read now belongs to it
}

// key is what a stream is remembered by.
func (s *stream) key() int64 {
	if s.pushed {
		return pushKey(s.push)
	}
	return s.ID
}

func pushKey(push int64) int64 { return -1 - push }

// find returns the request stream under way of that number, or nil.
func (t *streams) find(id int64) *stream {
	if t.last != nil && t.last.ID == id {
		return t.last
	}
	s := t.byID[id]
	if s != nil {
		t.last = s
	}
	return s
}

// open makes a request stream.
func (h *conn) open(id int64) *stream {
	s := h.make()
	if h.byID == nil {
		h.byID = map[int64]*stream{}
	}
	s.ID, s.X.StreamID = id, table.Some(id)
	h.byID[id], h.last = s, s
	h.highest = max(h.highest, id)
	return s
}

// push returns the push of that number, made where it is new; nil where it is over.
func (h *conn) push(push int64) *stream {
	if s := h.pushes[push]; s != nil {
		return s
	}
	if h.ended.Has(pushKey(push)) {
		return nil
	}
	s := h.make()
	if h.pushes == nil {
		h.pushes = map[int64]*stream{}
	}
	s.ID, s.push, s.pushed = noStream, push, true
	h.pushes[push] = s
	return s
}

// make takes a fresh stream value into the list.
func (h *conn) make() *stream {
	t := &h.streams
	if t.count >= maxStreams {
		h.c.Anomaly("limit", fmt.Sprintf("over %d streams under way, stream %d was given up", maxStreams, t.oldest.ID), 0)
		h.cutShort(t.oldest, "cut")
	}
	s := t.spare
	if s != nil {
		t.spare, s.next = s.next, nil
		t.spares--
	} else {
		s = &stream{}
	}
	s.size = h.c.Keep(streamCost, h.Shed)
	t.count++
	if s.prev = t.newest; s.prev != nil {
		s.prev.next = s
	} else {
		t.oldest = s
	}
	t.newest = s
	return s
}

// hold counts n bytes of headers of s, and gives up the oldest other streams while there
// are too many.
func (h *conn) hold(s *stream, n int) {
	h.streams.held += n
	h.busy = s
	s.size += h.c.Keep(max(n, 0), h.Shed)
	h.busy = nil
	for h.streams.held > maxHeldAll && h.oldest != s {
		h.c.Anomaly("limit", fmt.Sprintf("over %d bytes of headers under way, stream %d was given up", maxHeldAll, h.oldest.ID), 0)
		h.cutShort(h.oldest, "cut")
	}
}

// Memory beside that of headers and bodies.
const (
	streamCost = int(unsafe.Sizeof(stream{})) + 48 // with its entry in a map
	uniCost    = int(unsafe.Sizeof(uni{})) + 48
)

// Shed implements dissect.Shedder.
func (h *conn) Shed() bool {
	s := h.oldest
	if s != nil && s == h.busy {
		s = s.next
	}
	if s == nil {
		return false
	}
	for d := range s.Half {
		if s.Half[d].Body.Spill() {
			return true
		}
	}
	h.cutShort(s, "cut")
	return true
}

// Kept implements dissect.Keeper.
func (h *conn) Kept() int {
	return h.sides[0].dec.Memory() + h.sides[1].dec.Memory() + h.ended.Memory() + len(h.uni)*uniCost
}

// isClosed reports whether a stream ended before both sides were done. Bytes that come
// for it later are of no row.
func (h *conn) isClosed(id int64, bytes int) bool {
	if !h.ended.Has(id) {
		return false
	}
	if bytes > 0 {
		h.c.Anomaly("late_data", fmt.Sprintf("bytes on stream %d after its end", id), int64(bytes))
		for d := range h.sides { // there may be sections among them
			h.sides[d].dec.LoseAcks()
		}
	}
	return true
}

// forget takes a stream out of the lists. Nothing may point at it afterwards, unless it
// looks at life.
func (h *conn) forget(s *stream) {
	t := &h.streams
	if s.pushed {
		delete(t.pushes, s.push)
	} else {
		delete(t.byID, s.ID)
	}
	t.count--
	t.held -= s.Held()
	h.c.Release(s.size)
	if t.last == s {
		t.last = nil
	}
	if s.prev != nil {
		s.prev.next = s.next
	} else {
		t.oldest = s.next
	}
	if s.next != nil {
		s.next.prev = s.prev
	} else {
		t.newest = s.prev
	}
	for d := range h.sides {
		h.sides[d].unwait(&s.read[d], s.ID)
	}
	if s.pushed || !s.Half[0].End || !s.Half[1].End {
		t.ended.Add(s.key())
	}
	*s = stream{life: s.life + 1}
	if t.spares < maxSpare {
		s.next = t.spare
		t.spare = s
		t.spares++
	}
}

func (s *stream) write(c *dissect.Conn, dir dissect.Dir, p []byte) {
	s.Write(c, dir, p)
	if e := s.extra; e != nil && e.capsules {
		s.read[dir].capsule.read(e, p)
	}
}

func (s *stream) missing(c *dissect.Conn, dir dissect.Dir, n int64) {
	s.Missing(c, dir, n)
	if e := s.extra; e != nil && e.capsules {
		s.read[dir].capsule.missing(n)
	}
}

// endStream ends one direction of a stream.
func (h *conn) endStream(s *stream, dir dissect.Dir) {
	s.Half[dir].End = true
	h.settle(s)
}

// settle emits a stream when nothing more will come for it in either direction.
func (h *conn) settle(s *stream) {
	if !s.over(dissect.ToServer) || !s.over(dissect.ToClient) {
		return
	}
	if s.read[dissect.ToClient].reset && !s.Half[dissect.ToClient].End {
		h.emit(s, "reset")
		return
	}
	h.emit(s, "")
}

// cutShort emits a stream that will not go on; cause is the word for column error.
func (h *conn) cutShort(s *stream, cause string) {
	resp := &s.Half[dissect.ToClient]
	for d := range s.Half {
		if s.read[d].asked { // the connection never asked for it again
			s.Half[d].Hole = true
		}
	}
	switch {
	case resp.End:
	case s.Reset:
		cause = "reset"
	case h.code >= 0 && h.code != noError:
		s.ResetCode = table.Some(h.code)
		cause = "reset"
	case s.ID >= h.goaway && s.ID&3 == 0 && !s.pushed && !resp.Head:
		s.Reset, s.ResetBy = true, dissect.ToClient
		cause = "reset"
	case cause == "no_response" && resp.Head:
		cause, s.Broken = "cut", true // the connection ended, not the capture
	}
	h.emit(s, cause)
}
