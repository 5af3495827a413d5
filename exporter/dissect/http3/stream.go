package http3

import (
	"fmt"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpstream"
	"github.com/pcapsule/pcapsule/exporter/dissect/linked"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Limits of one connection.
const (
	maxSpare   = 64 // stream values kept for the next stream
	maxGoAways = 16 // GOAWAY frames that open streams cite
)

// stream is an open request with its response, or a push. Its ID is noStream for a push without
// its stream yet.
type stream struct {
	httpstream.Stream
	read [2]reading // by direction

	priority string
	push     int64 // push id, if Pushed
	pushedOn table.Opt[int64]
	extra    *extra

	size  int    // bytes of the budget that it uses
	life  uint32 // changes each time the value is reused
	place linked.Place[stream]
}

// reading is the reading position in one direction of a stream.
type reading struct {
	// The current frame, read in pieces.
	left   int64
	open   bool // a frame is being read
	isBody bool

	blocked bool  // the section at the front waits for
	need    int64 // this number of insertions
	listed  bool  // it is in the list of blocked sections
	since   int64 // start of the wait, ns

	fin     bool // the sender ended it, and all its bytes were delivered
	reset   bool // the sender gave it up
	lost    bool // the position is lost and nothing more will be read
	capsule capsule
}

// over reports whether nothing more will come in one direction.
func (s *stream) over(dir dissect.Dir) bool {
	r := &s.read[dir]
	return (s.Half[dir].End || r.reset || r.lost) && !r.blocked
}

// streams lists the open streams, oldest first.
type streams struct {
	byID    map[int64]*stream
	pushes  map[int64]*stream // by push id
	list    linked.List[stream]
	spare   []*stream
	ended   httpstream.Ended // see key
	highest int64            // highest request stream
	last    *stream
	current *stream // stream of the current input
}

// key identifies a closed stream.
func (s *stream) key() int64 {
	if s.Pushed {
		return pushKey(s.push)
	}
	return s.ID
}

func pushKey(push int64) int64 { return -1 - push }

// find returns the open request stream with that number, or nil.
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

// push returns the push with that number, creates it if it is new, and returns nil if it has
// ended.
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
	s.ID, s.push, s.Pushed = noStream, push, true
	h.pushes[push] = s
	return s
}

// make adds a new stream value to the list.
func (h *conn) make() *stream {
	t := &h.streams
	var s *stream
	if n := len(t.spare); n > 0 {
		s, t.spare = t.spare[n-1], t.spare[:n-1]
	} else {
		s = &stream{}
	}
	s.size = h.c.Keep(streamCost)
	t.list.Add(&s.place, s)
	return s
}

// hold takes n bytes of the budget for headers of s.
func (h *conn) hold(s *stream, n int) {
	h.current = s
	s.size += h.c.Keep(max(n, 0))
	h.current = nil
}

// Memory in addition to headers and bodies.
const (
	streamCost = int(unsafe.Sizeof(stream{})) + 48 // with its entry in a map
	uniCost    = int(unsafe.Sizeof(uni{})) + 48
)

// Shed implements dissect.Dissector.
func (h *conn) Shed() bool {
	s := h.list.Oldest()
	if s != nil && s == h.current {
		s = s.place.Next()
	}
	if s == nil {
		return false
	}
	if !s.Shed() {
		h.cutShort(s, "cut")
	}
	return true
}

// Kept implements dissect.Dissector.
func (h *conn) Kept() int {
	return h.sides[0].dec.Memory() + h.sides[1].dec.Memory() + h.ended.Memory() + len(h.uni)*uniCost
}

// isClosed reports whether a stream ended before both sides were done. Later bytes of it belong
// to no row.
func (h *conn) isClosed(id int64, bytes int) bool {
	if !h.ended.Has(id) {
		return false
	}
	if bytes > 0 {
		h.c.Anomaly("late_data", fmt.Sprintf("bytes on stream %d after its end", id), int64(bytes))
		for d := range h.sides { // these bytes may contain sections
			h.sides[d].dec.LoseAcks()
		}
	}
	return true
}

// forget removes a stream from the lists. No pointer to it may remain, unless its user checks
// life.
func (h *conn) forget(s *stream) {
	t := &h.streams
	if s.Pushed {
		delete(t.pushes, s.push)
	} else {
		delete(t.byID, s.ID)
	}
	h.c.Release(s.size)
	if t.last == s {
		t.last = nil
	}
	t.list.Remove(&s.place)
	for d := range h.sides {
		h.sides[d].unwait(&s.read[d], s.ID)
	}
	if s.Pushed || !s.Half[0].End || !s.Half[1].End {
		t.ended.Add(s.key())
	}
	*s = stream{life: s.life + 1}
	if len(t.spare) < maxSpare {
		t.spare = append(t.spare, s)
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

// cutShort emits a stream that will not continue; cause is the value of column error.
func (h *conn) cutShort(s *stream, cause string) {
	resp := &s.Half[dissect.ToClient]
	for d := range s.Half {
		if s.read[d].blocked { // its section was never read again
			s.Half[d].MissingFields = true
		}
	}
	switch {
	case resp.End:
	case s.Reset:
		cause = "reset"
	case h.code >= 0 && h.code != noError:
		s.ResetCode = table.Some(h.code)
		cause = "reset"
	case s.ID >= h.goaway && s.ID&3 == 0 && !s.Pushed && !resp.Head:
		s.Reset, s.ResetBy, s.Unprocessed = true, dissect.ToClient, true
		cause = "reset"
	case cause == "no_response" && resp.Head:
		cause, s.Broken = "cut", true // the connection ended, not the capture
	}
	h.emit(s, cause)
}
