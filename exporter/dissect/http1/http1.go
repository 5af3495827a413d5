// Package http1 reads HTTP/1.1, HTTP/1.0 and HTTP/0.9 (RFC 9110, RFC 9112).
//
// A row is one request with its final response; it lists interim responses. The package accepts
// what servers and browsers accept and lists deviations in http1_quirks. If two readers could
// disagree about the end of a message, it follows RFC 9112 section 6.3 and reports an anomaly of
// kind smuggling. After 101, and after a successful CONNECT, the connection belongs to another
// protocol.
package http1

import (
	"fmt"
	"sync"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/content/all"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Limits of one connection.
const (
	maxHead      = 256 << 10 // start line and headers, also trailers
	maxChunkLine = 16 << 10  // chunk size with its extensions
	maxLeading   = 1 << 10   // empty lines before a start line
	maxFields    = 2000      // header lines kept of one block
	maxInterim   = 4096      // header lines of a call; beyond it those of interim responses are not kept
	maxHeld      = 64 << 10  // bytes after CONNECT, Upgrade or an unclear Transfer-Encoding, until the answer arrives
)

// Row is one HTTP exchange.
type Row struct {
	table.Call
	Version         table.Opt[string] `col:"http1_version" enc:"dict" doc:"version of the request as sent: HTTP/1.1, HTTP/1.0, HTTP/0.9"`
	ResponseVersion table.Opt[string] `col:"http1_response_version" enc:"dict" doc:"version of the response as sent; HTTP/0.9 if there was no status line"`
	Target          table.Opt[string] `col:"http1_target" doc:"request target as sent, if it is not a path: absolute URI, authority of CONNECT, or asterisk; the whole line if it is not a valid request line"`
	Interim         table.Opt[string] `col:"http1_interim" enc:"dict" doc:"status codes of interim (1xx) responses before the final one, separated by commas"`
	Upgrade         table.Opt[string] `col:"http1_upgrade" enc:"dict" doc:"protocol that the connection changed to with this call: token of Upgrade in lower case, or connect for a tunnel"`
	KeepAlive       table.Opt[bool]   `col:"http1_keep_alive" doc:"both sides kept the connection open after this call"`
	Ahead           int32             `col:"http1_ahead" doc:"number of earlier requests that were unanswered when this one was sent (pipelining)"`
	Quirks          []string          `col:"http1_quirks" doc:"deviations from RFC 9112 that were accepted, such as bare_lf or space_before_colon"`
	*all.Columns
}

// Protocol is HTTP/1.x.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "http1",
		Doc:        "HTTP/1.1, HTTP/1.0 and HTTP/0.9",
		Versions:   "1.1, 1.0, 0.9",
		Depth:      "requests with responses, headers, decoded bodies, pipelining, upgrades",
		Transports: []dissect.Transport{dissect.TCP},
		Ports:      []uint16{80, 8080, 8000, 8888, 3128, 9090, 9200, 15020},
		Detect:     detect,
		New:        newConn,
		Row:        &Row{},
		Traits:     table.Traits{Web: true, Serves: true, Pooled: true, Wireshark: "http"},
	}
}

// call is a pending request, or a response without a request.
type call struct {
	head      string // of the request; "" if none was captured
	trailer   string // of the request, if it came before row was made
	row       *Row   // made of both once an answer begins, because many requests wait for one
	x         dissect.Exchange
	asked     dissect.QueuedRequest
	ahead     int32 // see Row.Ahead
	isHead    bool
	isConnect bool
	simple    bool // HTTP/0.9
	expects   bool // sent Expect: 100-continue before its body
	close     bool // a side announced that it will close
	http10    bool
	reqDone   bool // nothing more of the request will be read
	reqWhole  bool
	respHead  bool // the final response has begun
	respDone  bool
	respWhole bool
	gap       bool // some of its bytes were not captured
	cutHead   bool // among them the end of the request's head
	malformed bool
	badAnswer bool // the bytes in place of the response were not HTTP
	quirks    quirks
	next      *next // nil if the connection stays HTTP/1
	doubt     *doubt
}

// next is the protocol that the connection changes to after a call.
type next struct {
	token    string // in Upgrade
	settings string // HTTP2-Settings
	x        dissect.Exchange
}

type state uint8

const (
	inHead state = iota
	inFixed
	inChunkLine
	inChunk
	inChunkEnd
	inTrailer
	inRest  // until the connection closes
	inHold  // CONNECT or Upgrade: until the answer arrives
	inDoubt // a request whose Transfer-Encoding does not show its end: until the answer arrives
)

// side is the reading position in one direction.
type side struct {
	state   state
	left    int64 // of the body or chunk; with inRest those of Content-Length, -1 if there is none
	scan    int   // searched bytes of an unfinished head
	line    int   // bytes of the first line of an unfinished request, 0 if the line is unfinished
	call    *call // the call of the current message, outside inHead
	body    *dissect.Body
	started bool // a message was read
	lost    bool // the position was lost: messages may be missing
	wait    bool // some bytes cannot be read yet
	ended   bool
	fin     bool // the sender ended it
}

type conn struct {
	c         *dissect.Conn
	req, resp side
	queue     dissect.Queue[*call]
}

func newConn(c *dissect.Conn) dissect.Dissector {
	k := &conn{c: c}
	k.queue = dissect.Queue[*call]{Conn: c, Emit: k.giveUp, Busy: func(c *call) bool { return c == k.resp.call || c == k.req.call }}
	return k
}

// Asked implements dissect.Queued.
func (c *call) Asked() *dissect.QueuedRequest { return &c.asked }

// Waits implements dissect.Queued.
func (c *call) Waits() bool { return !c.respDone }

// giveUp emits a call that can no longer be answered.
func (k *conn) giveUp(c *call, why string) {
	if why == "gap" && (c.malformed || c.badAnswer) {
		why = "malformed"
	}
	k.emit(c, why)
}

// Read implements dissect.Dissector.
func (k *conn) Read(in *dissect.Input) (int, error) {
	s := &k.req
	if in.Dir == dissect.ToClient {
		s = &k.resp
	}
	s.ended, s.fin = s.ended || in.End, s.fin || in.End && in.Fin
	s.wait = false
	at := 0
	for {
		n, more, err := k.step(s, in, at)
		at += n
		if err != nil || !more || at == len(in.Data) {
			return at, err
		}
	}
}

// step reads one piece of in.Data[at:]; more is false when Read should return.
func (k *conn) step(s *side, in *dissect.Input, at int) (n int, more bool, err error) {
	switch s.state {
	case inHead:
		if in.Dir == dissect.ToServer {
			return k.readRequest(in, at)
		}
		return k.readResponse(in, at)
	case inFixed:
		n, more = k.readFixed(s, in, at)
		return n, more, nil
	case inRest:
		n, more = k.readRest(s, in, at)
		return n, more, nil
	case inHold:
		return k.hold(in, at)
	case inDoubt:
		more = k.decide(in, at)
		return 0, more, nil
	default:
		n, err = k.readChunked(s, in, at)
	}
	return n, n > 0, err
}

// calls reuses records across connections, because most connections are idle.
var calls = sync.Pool{New: func() any { return &call{} }}

// Memory of a pending call in addition to the text of its heads.
const (
	callCost   = int(unsafe.Sizeof(call{}))
	rowCost    = int(unsafe.Sizeof(Row{}))
	headerCost = int(unsafe.Sizeof(table.Header{}))
)

// Kept implements dissect.Dissector; Conn.Keep counts the requests.
func (k *conn) Kept() int { return 0 }

// Shed implements dissect.Dissector.
func (k *conn) Shed() bool {
	if k.queue.Shed() {
		return true
	}
	for _, c := range k.queue.All() {
		if c.x.ReqBody.Spill() || c.x.RespBody.Spill() {
			return true
		}
	}
	if c := k.req.call; c != nil && c != k.resp.call && !c.respDone {
		k.lose(&k.req)
		k.emit(c, "cut")
		return true
	}
	return false
}

// endOfRequest handles the end of a request.
func (k *conn) endOfRequest(c *call) {
	k.req.state, k.req.call, k.req.body = inHead, nil, nil
	c.reqDone, c.reqWhole = true, true
	if c.isConnect || c.next != nil {
		k.req.state, k.req.call = inHold, c
	}
	if c.respDone {
		k.emit(c, "")
	}
}

// endOfResponse handles the end of a response.
func (k *conn) endOfResponse(c *call) {
	k.resp.state, k.resp.call, k.resp.body = inHead, nil, nil
	c.respDone, c.respWhole = true, true
	if c.reqDone || !c.x.HasRequest() {
		k.emit(c, "")
	}
}

// endMessage ends the message of one direction, complete or not.
func (k *conn) endMessage(s *side) {
	c := s.call
	if s == &k.req {
		k.endOfRequest(c)
	} else {
		k.endOfResponse(c)
	}
}

// Gap implements dissect.Dissector.
func (k *conn) Gap(in *dissect.Input, missing int64) bool {
	s := &k.req
	if in.Dir == dissect.ToClient {
		s = &k.resp
	}
	s.scan, s.line, s.wait = 0, 0, false
	switch s.state {
	case inHead:
		if in.Dir == dissect.ToServer {
			k.cutRequest(in)
		} else {
			k.cutResponse(in)
		}
	case inRest:
		k.account(s.call, in, 0, len(in.Data))
		s.body.Missing(missing)
		s.call.gap = true
		return true
	case inFixed, inChunk:
		s.call.gap = true
		if s.body == nil { // the head itself is incomplete: the message cannot continue
			break
		}
		lost := min(missing, s.left)
		s.body.Missing(lost)
		s.left -= lost
		if s.left > 0 {
			return true
		}
		if s.state == inChunk && lost == missing {
			s.state = inChunkEnd
			return true
		}
		if s.state == inFixed {
			k.endMessage(s)
			if lost == missing {
				return true
			}
		}
	case inChunkLine, inChunkEnd, inTrailer:
		s.call.gap = true
	}
	return false
}

// Resync implements dissect.Dissector.
func (k *conn) Resync(dir dissect.Dir, why dissect.Loss) {
	s := &k.req
	if dir == dissect.ToClient {
		s = &k.resp
	}
	if why == dissect.LossGap {
		k.lose(s)
		return
	}
	if s.call != nil {
		s.call.malformed = true
	} else if c := k.queue.Front(); dir == dissect.ToClient && c != nil && (s.started || k.c.Info.RolesKnown) {
		c.badAnswer = true
	}
	k.lose(s)
}

// lose ends the current message and records that the position was lost.
func (k *conn) lose(s *side) {
	c := s.call
	s.state, s.call, s.body, s.scan, s.line, s.lost, s.wait = inHead, nil, nil, 0, 0, true, false
	dir := dissect.ToServer
	if s == &k.resp {
		dir = dissect.ToClient
	}
	k.queue.Resync(dir, dissect.LossGap)
	if c == nil {
		return
	}
	if s == &k.req {
		c.reqDone = true
		if !c.respDone {
			return
		}
	} else {
		c.respDone = true
		if !c.reqDone && c.x.HasRequest() {
			return
		}
	}
	k.emit(c, "")
}

// Close implements dissect.Dissector.
func (k *conn) Close(why dissect.End) {
	if c := k.resp.call; c != nil && !c.x.HasRequest() {
		k.resp.call = nil
		k.emit(c, k.closeError(c, why))
	}
	for len(k.queue.All()) > 0 {
		c := k.queue.All()[0]
		k.emit(c, k.closeError(c, why))
	}
}

// closeError is the error of a call that was unfinished when the connection ended.
func (k *conn) closeError(c *call, why dissect.End) string {
	switch {
	case c.respDone:
		return ""
	case c.malformed || c.badAnswer && !c.respHead:
		return "malformed"
	case why == dissect.EndFin || why == dissect.EndReuse || why == dissect.EndUpgrade:
		if c.respHead {
			return "cut"
		}
		if k.queue.Lost() {
			return "gap"
		}
	}
	return why.CallError()
}

// account adds in.Data[from:to] to the call.
func (k *conn) account(c *call, in *dissect.Input, from, to int) {
	if in.Dir == dissect.ToClient {
		c.x.Response(in, from, to)
	} else {
		c.x.Request(in, from, to)
		if c.next != nil {
			c.next.x.Request(in, from, to)
		}
	}
}

func errHead(what string, b []byte) error {
	return fmt.Errorf("reading %s: expected a start line, got %.40q", what, b)
}
