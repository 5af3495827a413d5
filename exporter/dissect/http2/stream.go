package http2

import (
	"encoding/binary"
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/grpc"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpfield"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Limits of one connection.
const (
	maxStreams = 10_000  // under way at a time; the oldest is given up for a new one
	maxClosed  = 1024    // streams that ended early and are remembered, so that late frames open none
	maxSpare   = 64      // stream values kept for the next stream
	maxHeaders = 4096    // headers of one stream, both sides
	maxHeld    = 1 << 20 // bytes of headers of one stream
	maxHeldAll = 8 << 20 // bytes of headers of all streams under way; the oldest are given up for new ones
	headerCost = 48      // what a header needs beside its text
)

// stream is a stream under way.
type stream struct {
	id   uint32
	x    dissect.Exchange
	half [2]half

	method, scheme, authority, host string
	path, tunnel                    string
	query                           table.Opt[string]
	hasPath                         bool
	interim                         string
	status                          int32
	headers                         []table.Header
	held                            int   // bytes of headers
	unknown                         int32 // headers not known
	malformed, broken               bool
	upgraded, pushed, grpc          bool
	pushedOn                        uint32

	reset     bool
	resetCode table.Opt[int64]
	resetBy   dissect.Dir

	closed     bool
	prev, next *stream
}

// half is one direction of a stream.
type half struct {
	head    bool // the head's headers came
	data    bool // DATA came
	end     bool // END_STREAM came
	hole    bool // a header block was lost
	suspect bool // frames may have been lost between frames
	wire    int64
	length  table.Opt[int64] // Content-Length
	ctype   string
	coding  string
	body    *dissect.Body
	count   grpc.Counter
	counts  bool // the body is gRPC messages as they are
}

// streams are the streams under way, oldest first.
type streams struct {
	byID           map[uint32]*stream
	oldest, newest *stream
	spare          *stream
	spares         int
	closed         map[uint32]struct{}
	closedOrder    []uint32 // a ring
	closedNext     int
	highest        uint32 // highest stream that the client opened
	last           *stream
	held           int // bytes of headers of all of them
}

// find returns the stream under way of that number, or nil.
func (t *streams) find(id uint32) *stream {
	if t.last != nil && t.last.id == id {
		return t.last
	}
	s := t.byID[id]
	if s != nil {
		t.last = s
	}
	return s
}

// open makes a stream.
func (h *conn) open(id uint32) *stream {
	t := &h.streams
	if t.byID == nil {
		t.byID = map[uint32]*stream{}
	}
	if len(t.byID) >= maxStreams {
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
	s.id = id
	s.x.StreamID = table.Some(int64(id))
	t.byID[id] = s
	t.last = s
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

// forHeaders returns the stream that a header block belongs to, or nil where it came
// too late for one that has ended.
func (h *conn) forHeaders(dir dissect.Dir, id uint32) *stream {
	if s := h.find(id); s != nil {
		return s
	}
	if h.isClosed(id, 0) {
		return nil
	}
	if dir == dissect.ToServer {
		h.highest = max(h.highest, id)
	}
	return h.open(id)
}

// promised opens the stream of a PUSH_PROMISE.
func (h *conn) promised(in *dissect.Input, f frame, id uint32) *stream {
	if id == 0 || in.Dir == dissect.ToServer || h.find(id) != nil {
		h.c.Anomaly("push_promise", fmt.Sprintf("promise of stream %d on stream %d %s", id, f.stream, in.Dir), int64(f.size))
		return nil
	}
	s := h.open(id)
	s.pushed, s.pushedOn = true, f.stream
	s.half[dissect.ToServer].head, s.half[dissect.ToServer].end = true, true
	return s
}

// isClosed reports whether a stream ended before both sides were done. Bytes that come
// for it later are of no row.
func (h *conn) isClosed(id uint32, bytes int) bool {
	if _, ok := h.streams.closed[id]; !ok {
		return false
	}
	if bytes > 0 {
		h.c.Anomaly("late_data", fmt.Sprintf("DATA on stream %d after its end", id), int64(bytes))
	}
	return true
}

// forget takes a stream out of the lists. Nothing may point at it afterwards.
func (h *conn) forget(s *stream) {
	t := &h.streams
	delete(t.byID, s.id)
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
		if sd := &h.sides[d]; sd.cur == s {
			sd.cur = nil
		}
		if b := &h.sides[d].block; b.s == s {
			b.s = nil
		}
	}
	if !s.half[0].end || !s.half[1].end {
		t.remember(s.id)
	}
	*s = stream{closed: true}
	if t.spares < maxSpare {
		s.closed, s.next = false, t.spare
		t.spare = s
		t.spares++
	}
}

func (t *streams) remember(id uint32) {
	if t.closed == nil {
		t.closed = map[uint32]struct{}{}
	}
	if _, ok := t.closed[id]; ok {
		return
	}
	if len(t.closedOrder) < maxClosed {
		t.closedOrder = append(t.closedOrder, id)
	} else {
		delete(t.closed, t.closedOrder[t.closedNext])
		t.closedOrder[t.closedNext] = id
		t.closedNext = (t.closedNext + 1) % maxClosed
	}
	t.closed[id] = struct{}{}
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
	if q := &s.half[dir]; q.counts {
		q.count.Write(p)
	}
}

func (s *stream) missing(c *dissect.Conn, dir dissect.Dir, n int64) {
	s.bodyOf(c, dir).Missing(n)
	s.half[dir].count.Missing(n)
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
	req, resp := &s.half[dissect.ToServer], &s.half[dissect.ToClient]
	switch {
	case req.end && resp.end:
		h.emit(s, "")
	case resp.end && !req.head && !(h.sides[dissect.ToServer].whole && s.id > h.highest), resp.end && req.suspect:
		h.emit(s, "") // the request, or its end, was not captured and will not come
	case dir == dissect.ToServer && h.goaway.seen && s.id&1 == 1 && s.id > h.goaway.last:
		s.reset, s.resetBy, s.resetCode = true, dissect.ToClient, table.Some(int64(h.goaway.code))
		h.emit(s, "reset")
	}
}

// reset takes a RST_STREAM frame.
func (h *conn) reset(in *dissect.Input, n int, f frame, code uint32) {
	s := h.find(f.stream)
	if s == nil {
		return // ended already, or before the capture
	}
	s.x.Cite(in, n, n+frameHead+f.size)
	s.resetCode = table.Some(int64(code))
	h.resetStream(s, in.Dir)
}

func (h *conn) resetStream(s *stream, by dissect.Dir) {
	s.reset, s.resetBy = true, by
	if s.half[dissect.ToClient].end {
		h.emit(s, "") // the answer was whole: the rest of the request was not wanted
		return
	}
	h.emit(s, "reset")
}

// goAway takes a GOAWAY frame: streams above its number were never looked at.
func (h *conn) goAway(in *dissect.Input, n int, f frame, body []byte) {
	last, code := binary.BigEndian.Uint32(body)&(1<<31-1), binary.BigEndian.Uint32(body[4:])
	if code != 0 {
		h.c.Anomaly("goaway", fmt.Sprintf("%s, last stream %d, %s %q", errorName(code), last, in.Dir, text(body[8:])), 0)
	}
	odd := uint32(1) // who gets it opened the odd streams
	if in.Dir == dissect.ToServer {
		odd = 0
	} else {
		h.goaway = goaway{true, last, code}
	}
	for s := h.oldest; s != nil; {
		next := s.next
		if s.id&1 == odd && s.id > last {
			s.x.Cite(in, n, n+frameHead+f.size)
			s.reset, s.resetBy, s.resetCode = true, in.Dir, table.Some(int64(code))
			h.emit(s, "reset")
		}
		s = next
	}
}

// cutShort emits a stream that will not go on; cause is the word for column error.
func (h *conn) cutShort(s *stream, cause string) {
	if g := h.goaway; g.seen && g.code != 0 && !s.half[dissect.ToClient].end {
		s.reset, s.resetBy, s.resetCode = true, dissect.ToClient, table.Some(int64(g.code))
		cause = "reset"
	}
	if cause == "no_response" && s.half[dissect.ToClient].head {
		cause, s.broken = "cut", true // the connection ended, not the capture
	}
	h.emit(s, cause)
}
