package http3

import (
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/grpc"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpfield"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Limits of one connection.
const (
	maxStreams = 10_000  // under way at a time; the oldest is given up for a new one
	maxClosed  = 1024    // streams that ended early and are remembered, so that late bytes open none
	maxSpare   = 64      // stream values kept for the next stream
	maxHeaders = 4096    // headers of one stream, both sides
	maxHeld    = 1 << 20 // bytes of headers of one stream
	maxHeldAll = 8 << 20 // bytes of headers of all streams under way; the oldest are given up for new ones
	headerCost = 48      // what a header needs beside its text
)

// stream is a request with its response, or a push, under way.
type stream struct {
	id   int64 // noStream: a push whose stream has not come
	push int64 // push id, where pushed
	x    dissect.Exchange
	half [2]half

	method, scheme, authority string
	path, tunnel, priority    string
	query                     table.Opt[string]
	hasPath                   bool
	interim                   string
	status                    int32
	headers                   []table.Header
	held                      int   // bytes of headers
	unknown                   int32 // headers not known
	malformed, broken         bool
	pushed, grpc              bool
	pushedOn                  table.Opt[int64]

	reset     bool // a side gave up one of the halves
	resetCode table.Opt[int64]
	resetBy   dissect.Dir

	extra *extra

	life       uint32 // another one each time the value is used
	prev, next *stream
}

// half is one direction of a stream.
type half struct {
	// The frame under way, taken in pieces.
	left   int64
	open   bool // there is one
	isBody bool

	asked  bool  // the section at the front needs
	need   int64 // so many insertions
	listed bool  // it is among those that wait
	since  int64 // since then, ns

	head    bool // the head's headers came
	data    bool // DATA came
	fin     bool // the sender ended it, all its bytes are there
	end     bool // and they were read
	reset   bool // the sender gave it up
	lost    bool // the place in it is lost and nothing more will be read
	hole    bool // a header section was lost
	suspect bool // frames may have been lost between frames
	wire    int64
	length  table.Opt[int64] // Content-Length
	ctype   string
	coding  string
	body    *dissect.Body
	count   grpc.Counter
	counts  bool // the body is gRPC messages as they are
	capsule capsule
}

// over reports whether nothing more will come in this direction.
func (q *half) over() bool { return (q.end || q.reset || q.lost) && !q.asked }

// streams are the streams under way, oldest first.
type streams struct {
	byID           map[int64]*stream
	pushes         map[int64]*stream // by push id
	count          int
	oldest, newest *stream
	spare          *stream
	spares         int
	gone           map[int64]struct{} // see key
	goneOrder      []int64            // a ring
	goneNext       int
	highest        int64 // highest request stream
	last           *stream
	held           int // bytes of headers of all of them
}

// key is what a stream is remembered by.
func (s *stream) key() int64 {
	if s.pushed {
		return pushKey(s.push)
	}
	return s.id
}

func pushKey(push int64) int64 { return -1 - push }

// find returns the request stream under way of that number, or nil.
func (t *streams) find(id int64) *stream {
	if t.last != nil && t.last.id == id {
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
	s.id, s.x.StreamID = id, table.Some(id)
	h.byID[id], h.last = s, s
	h.highest = max(h.highest, id)
	return s
}

// push returns the push of that number, made where it is new; nil where it is over.
func (h *conn) push(push int64) *stream {
	if s := h.pushes[push]; s != nil {
		return s
	}
	if _, ok := h.gone[pushKey(push)]; ok {
		return nil
	}
	s := h.make()
	if h.pushes == nil {
		h.pushes = map[int64]*stream{}
	}
	s.id, s.push, s.pushed = noStream, push, true
	h.pushes[push] = s
	return s
}

// make takes a fresh stream value into the list.
func (h *conn) make() *stream {
	t := &h.streams
	if t.count >= maxStreams {
		h.c.Anomaly("limit", fmt.Sprintf("over %d streams under way, stream %d was given up", maxStreams, t.oldest.id), 0)
		h.cutShort(t.oldest, "cut")
	}
	s := t.spare
	if s != nil {
		t.spare, s.next = s.next, nil
		t.spares--
	} else {
		s = &stream{}
	}
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
	for h.streams.held > maxHeldAll && h.oldest != s {
		h.c.Anomaly("limit", fmt.Sprintf("over %d bytes of headers under way, stream %d was given up", maxHeldAll, h.oldest.id), 0)
		h.cutShort(h.oldest, "cut")
	}
}

// isClosed reports whether a stream ended before both sides were done. Bytes that come
// for it later are of no row.
func (h *conn) isClosed(id int64, bytes int) bool {
	if _, ok := h.gone[id]; !ok {
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
		delete(t.byID, s.id)
	}
	t.count--
	t.held -= s.held
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
		h.sides[d].unwait(&s.half[d], s.id)
	}
	if s.pushed || !s.half[0].end || !s.half[1].end {
		t.remember(s.key())
	}
	*s = stream{life: s.life + 1}
	if t.spares < maxSpare {
		s.next = t.spare
		t.spare = s
		t.spares++
	}
}

func (t *streams) remember(key int64) {
	if t.gone == nil {
		t.gone = map[int64]struct{}{}
	}
	if _, ok := t.gone[key]; ok {
		return
	}
	if len(t.goneOrder) < maxClosed {
		t.goneOrder = append(t.goneOrder, key)
	} else {
		delete(t.gone, t.goneOrder[t.goneNext])
		t.goneOrder[t.goneNext] = key
		t.goneNext = (t.goneNext + 1) % maxClosed
	}
	t.gone[key] = struct{}{}
}

// add gives bytes to the request or the response.
func (s *stream) add(in *dissect.Input, dir dissect.Dir, from, to int) {
	if dir == dissect.ToServer {
		s.x.Request(in, from, to)
	} else {
		s.x.Response(in, from, to)
	}
}

// bodyOf returns the body of one direction, made when it is first needed.
func (s *stream) bodyOf(c *dissect.Conn, dir dissect.Dir) *dissect.Body {
	q := &s.half[dir]
	q.data = true
	if q.body == nil {
		q.body = c.NewBody(q.ctype, q.coding)
		q.counts = s.grpc && q.coding == "" && grpc.Prefixed(q.ctype)
		if dir == dissect.ToServer {
			s.x.ReqBody = q.body
		} else {
			s.x.RespBody = q.body
		}
		if !q.head || q.suspect {
			q.count.Missing(-1)
		}
	}
	return q.body
}

func (s *stream) write(c *dissect.Conn, dir dissect.Dir, p []byte) {
	s.bodyOf(c, dir).Write(p)
	q := &s.half[dir]
	if q.counts {
		q.count.Write(p)
	}
	if e := s.extra; e != nil && e.capsules {
		q.capsule.read(e, p)
	}
}

func (s *stream) missing(c *dissect.Conn, dir dissect.Dir, n int64) {
	s.bodyOf(c, dir).Missing(n)
	q := &s.half[dir]
	q.count.Missing(n)
	if e := s.extra; e != nil && e.capsules {
		q.capsule.missing(n)
	}
}

// note keeps what a header of a head says that the rest of the stream needs.
func (s *stream) note(x *table.Header, dir dissect.Dir) {
	q := &s.half[dir]
	switch httpfield.Lookup(x.Name) {
	case httpfield.ContentType:
		q.ctype = x.Value
		s.grpc = s.grpc || grpc.Is(x.Value)
	case httpfield.ContentEncoding:
		if q.coding != "" {
			q.coding += ", "
		}
		q.coding += x.Value
	case httpfield.ContentLength:
		if n, ok := parseLength(x.Value); ok {
			q.length = table.Some(n)
		}
	case httpfield.Other:
		if x.Name == "capsule-protocol" && httpfield.HasToken(x.Value, "?1") {
			s.more().capsules = true
		}
	}
}

func parseLength(s string) (n int64, ok bool) {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' || n > 1<<58 {
			return 0, false
		}
		n = n*10 + int64(s[i]-'0')
	}
	return n, s != ""
}

// endStream ends one direction of a stream.
func (h *conn) endStream(s *stream, dir dissect.Dir) {
	s.half[dir].end = true
	h.settle(s)
}

// settle emits a stream when nothing more will come for it in either direction.
func (h *conn) settle(s *stream) {
	req, resp := &s.half[dissect.ToServer], &s.half[dissect.ToClient]
	if !req.over() || !resp.over() {
		return
	}
	if resp.reset && !resp.end {
		h.emit(s, "reset")
		return
	}
	h.emit(s, "")
}

// cutShort emits a stream that will not go on; cause is the word for column error.
func (h *conn) cutShort(s *stream, cause string) {
	resp := &s.half[dissect.ToClient]
	for d := range s.half {
		if s.half[d].asked { // the connection never asked for it again
			s.half[d].hole = true
		}
	}
	switch {
	case resp.end:
	case s.reset:
		cause = "reset"
	case h.code >= 0 && h.code != noError:
		s.resetCode = table.Some(h.code)
		cause = "reset"
	case s.id >= h.goaway && s.id&3 == 0 && !s.pushed && !resp.head:
		s.reset, s.resetBy = true, dissect.ToClient
		cause = "reset"
	case cause == "no_response" && resp.head:
		cause, s.broken = "cut", true // the connection ended, not the capture
	}
	h.emit(s, cause)
}
