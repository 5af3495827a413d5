package http2

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpstream"
	"github.com/pcapsule/pcapsule/exporter/dissect/linked"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Limits of one connection.
const (
	maxSpare   = 8  // stream values kept for the next stream
	maxGoAways = 16 // GOAWAY frames of one side that end open streams
)

// stream is an open stream.
type stream struct {
	httpstream.Stream
	upgraded bool
	pushedOn uint32
	closed   bool
	size     int       // bytes of the budget that it uses
	losses   [2]uint32 // of each direction that it knows of, see noteLosses
	place    linked.Place[stream]
}

// streams lists the open streams, oldest first.
type streams struct {
	byID    map[uint32]*stream
	list    linked.List[stream]
	spare   []*stream
	ended   httpstream.Ended
	highest uint32 // highest stream that the client opened
	last    *stream
	current *stream // stream of the current input
}

// find returns the open stream with that number, or nil.
func (h *conn) find(id uint32) *stream {
	s := h.last
	if s == nil || s.ID != int64(id) {
		if s = h.byID[id]; s == nil {
			return nil
		}
		h.last = s
	}
	h.noteLosses(s)
	return s
}

// noteLosses marks directions of s that lost bytes since s was used: they continue as possibly
// incomplete. A loss must not cost time for each open stream, because both can be many.
func (h *conn) noteLosses(s *stream) {
	for _, dir := range [...]dissect.Dir{dissect.ToServer, dissect.ToClient} {
		if now := h.sides[dir].losses; s.losses[dir] != now {
			s.losses[dir] = now
			if !s.Half[dir].End {
				s.Half[dir].Suspect = true
				s.LoseTunnel(h.c, dir)
			}
		}
	}
}

// open makes a stream.
func (h *conn) open(id uint32) *stream {
	t := &h.streams
	if t.byID == nil {
		t.byID = map[uint32]*stream{}
	}
	var s *stream
	if n := len(t.spare); n > 0 {
		s, t.spare = t.spare[n-1], t.spare[:n-1]
	} else {
		s = &stream{}
	}
	s.size = h.c.Keep(streamCost)
	s.ID, s.X.StreamID = int64(id), table.Some(int64(id))
	s.losses = [2]uint32{h.sides[dissect.ToServer].losses, h.sides[dissect.ToClient].losses}
	t.byID[id] = s
	t.last = s
	t.list.Add(&s.place, s)
	return s
}

// hold takes n bytes of the budget for headers of s.
func (h *conn) hold(s *stream, n int) {
	h.current = s
	s.size += h.c.Keep(max(n, 0))
	h.current = nil
}

// streamCost is the memory of an open stream in addition to its headers and bodies.
const streamCost = int(unsafe.Sizeof(stream{})) + mapCost

// mapCost is an entry in streams.byID.
const mapCost = 48

// Kept implements dissect.Dissector.
func (h *conn) Kept() int {
	return h.sides[0].dec.Memory() + h.sides[1].dec.Memory() + h.ended.Memory()
}

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
		h.emit(s, "cut")
	}
	return true
}

// forHeaders returns the stream of a header block, or nil if the stream has already ended.
func (h *conn) forHeaders(dir dissect.Dir, id uint32) *stream {
	if s := h.find(id); s != nil {
		return s
	}
	if h.isClosed(id, 0) {
		return nil
	}
	h.checkID(dir, id, "HEADERS")
	if dir == dissect.ToServer && id&1 == 1 {
		h.highest = max(h.highest, id)
	}
	return h.open(id)
}

// checkID marks a stream that its side may not open: a client opens odd streams in ascending order, a server only
// promised ones (RFC 9113 section 5.1.1). In a direction with losses, other frames may explain it.
func (h *conn) checkID(dir dissect.Dir, id uint32, frame string) {
	why := ""
	switch {
	case !h.sides[dir].whole:
	case dir == dissect.ToServer && id&1 == 0:
		why = "a client opens odd streams only"
	case dir == dissect.ToServer && id <= h.highest:
		why = fmt.Sprintf("a client opens streams in ascending order, and stream %d came before", h.highest)
	case dir == dissect.ToServer && frame != "HEADERS":
		why = "HEADERS open a stream"
	case dir == dissect.ToClient && id&1 == 0:
		why = "the server did not promise it"
	}
	if why != "" {
		h.c.Anomaly("stream_id", fmt.Sprintf("%s on stream %d, which is not open: %s (RFC 9113 section 5.1.1); read as a call of its own", frame, id, why), 0)
	}
}

// promised opens the stream of a PUSH_PROMISE.
func (h *conn) promised(in *dissect.Input, f frame, id uint32) *stream {
	if id == 0 || in.Dir == dissect.ToServer || h.find(id) != nil {
		h.c.Anomaly("push_promise", fmt.Sprintf("promise of stream %d on stream %d %s", id, f.stream, in.Dir), int64(f.size))
		return nil
	}
	s := h.open(id)
	s.Pushed, s.pushedOn = true, f.stream
	s.Half[dissect.ToServer].Head, s.Half[dissect.ToServer].End = true, true
	return s
}

// isClosed reports whether a stream ended before both sides were done. Later bytes of it belong
// to no row.
func (h *conn) isClosed(id uint32, bytes int) bool {
	if !h.ended.Has(int64(id)) {
		return false
	}
	if bytes > 0 {
		h.c.Anomaly("late_data", fmt.Sprintf("DATA on stream %d after its end", id), int64(bytes))
	}
	return true
}

// forget removes a stream from the lists. No pointer to it may remain.
func (h *conn) forget(s *stream) {
	t := &h.streams
	delete(t.byID, uint32(s.ID))
	h.c.Release(s.size)
	if t.last == s {
		t.last = nil
	}
	t.list.Remove(&s.place)
	for d := range h.sides {
		if sd := &h.sides[d]; sd.cur == s {
			sd.cur = nil
		}
		if b := &h.sides[d].block; b.s == s {
			b.s = nil
		}
	}
	if !s.Half[0].End || !s.Half[1].End {
		t.ended.Add(s.ID)
	}
	*s = stream{closed: true}
	if len(t.spare) < maxSpare {
		s.closed = false
		t.spare = append(t.spare, s)
	}
}

// endStream ends one direction of a stream.
func (h *conn) endStream(s *stream, dir dissect.Dir) {
	h.noteLosses(s)
	s.Half[dir].End = true
	req, resp := &s.Half[dissect.ToServer], &s.Half[dissect.ToClient]
	switch {
	case req.End && resp.End:
		h.emit(s, "")
	case resp.End && !req.Head && !(h.sides[dissect.ToServer].whole && s.ID > int64(h.highest)), resp.End && req.Suspect:
		h.emit(s, "") // the request, or its end, was not captured and will not come
	case dir == dissect.ToServer && h.goaway.below(s):
		h.unprocessed(s, dissect.ToClient, h.goaway.code)
	}
}

// reset processes a RST_STREAM frame.
func (h *conn) reset(in *dissect.Input, n int, f frame, code uint32) {
	s := h.find(f.stream)
	if s == nil {
		return // ended already, or before the capture
	}
	s.X.Cite(in, n, n+frameHead+f.size)
	s.ResetCode = table.Some(int64(code))
	h.resetStream(s, in.Dir)
}

func (h *conn) resetStream(s *stream, by dissect.Dir) {
	s.GiveUp(by, h.c.Now())
	s.Unprocessed = h.goaway.below(s)
	if s.Half[dissect.ToClient].End {
		h.emit(s, "") // the answer was complete: the server did not need the rest of the request
		return
	}
	h.emit(s, "reset")
}

// goAway processes a GOAWAY frame: streams above its number were not processed.
func (h *conn) goAway(in *dissect.Input, n int, f frame, body []byte) {
	last, code := binary.BigEndian.Uint32(body)&(1<<31-1), binary.BigEndian.Uint32(body[4:])
	if code != 0 {
		h.c.Anomaly("goaway", fmt.Sprintf("%s, last stream %d, %s %q", errorName(code), last, in.Dir, httpstream.Shown(body[8:])), 0)
	}
	odd := int64(1) // the receiver opened the odd streams
	if in.Dir == dissect.ToServer {
		odd = 0
	} else {
		h.goaway = goaway{true, last, code}
	}
	if h.goaways[in.Dir]++; h.goaways[in.Dir] > maxGoAways { // each may look at all open streams
		h.c.Anomaly("limit", fmt.Sprintf("more than %d GOAWAY frames: further ones end no open stream", maxGoAways), 0)
		return
	}
	for s := h.list.Oldest(); s != nil; {
		next := s.place.Next()
		if s.ID&1 == odd && s.ID > int64(last) {
			s.X.Cite(in, n, n+frameHead+f.size)
			h.unprocessed(s, in.Dir, code)
		}
		s = next
	}
}

// unprocessed emits a stream above the number of a GOAWAY by that side.
func (h *conn) unprocessed(s *stream, by dissect.Dir, code uint32) {
	s.Reset, s.ResetBy, s.Unprocessed, s.ResetCode = true, by, true, table.Some(int64(code))
	h.emit(s, "reset")
}

// cutShort emits a stream that will not continue; cause is the value of column error.
func (h *conn) cutShort(s *stream, cause string) {
	g := h.goaway
	if g.below(s) {
		h.unprocessed(s, dissect.ToClient, g.code)
		return
	}
	if g.seen && g.code != 0 && !s.Half[dissect.ToClient].End {
		s.Reset, s.ResetBy, s.ResetCode = true, dissect.ToClient, table.Some(int64(g.code))
		cause = "reset"
	}
	if cause == "no_response" && s.Half[dissect.ToClient].Head {
		cause, s.Broken = "cut", true // the connection ended, not the capture
	}
	h.emit(s, cause)
}
