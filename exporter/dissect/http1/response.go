package http1

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpfield"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// kindInterim marks headers of a 1xx response before the final one.
const kindInterim = "interim"

// readResponse reads a status line and its headers.
func (k *conn) readResponse(in *dissect.Input, at int) (n int, more bool, err error) {
	s := &k.resp
	b := in.Data[at:]
	lead := leading(b)
	c := s.call // a response without a request that had an interim one
	if c == nil {
		c = k.queue.Front()
	}
	if c != nil && len(b) > lead && !startsResponse(b[lead:]) {
		first := !s.started && !s.lost && in.First(at)
		if c.simple || first {
			k.startSimple(c)
			return 0, true, nil
		}
	}
	if lead > maxLeading {
		return 0, false, fmt.Errorf("reading a response: %d bytes of empty lines exceed the limit of %d", lead, maxLeading)
	}
	if b = b[lead:]; len(b) == 0 {
		return 0, false, nil
	}
	if c == nil && !k.queue.Ahead() && k.req.wait && !k.req.ended && len(b) <= maxHeld {
		s.wait = true // the request's head is incomplete
		return 0, false, nil
	}
	end, resume := headEnd(b, s.scan)
	whole := end >= 0
	if !whole {
		s.scan = resume
		if in.End && bytes.IndexByte(b, '\n') >= 0 && startsResponse(b) {
			end = len(b)
		} else {
			return 0, false, openHeadError("a response", b, startsResponse(b))
		}
	}
	head := linesOf(b[:end])
	l, ok := parseStatusLine(head.first)
	if !ok {
		return 0, false, errHead("a response", b)
	}
	more = k.beginResponse(l, head, in, at, lead, end, whole)
	return lead + end, more, nil
}

// beginResponse begins a response with a head. It takes size bytes of in.Data after lead line ends at at, and
// reports whether another message may follow.
func (k *conn) beginResponse(l statusLine, head lines, in *dissect.Input, at, lead, size int, whole bool) bool {
	s := &k.resp
	s.scan, s.started = 0, true
	c := s.call
	if c == nil {
		c = k.queue.Answer(in.Seq(at + lead))
	}
	if c == nil {
		c = calls.Get().(*call)
	}
	s.call = c
	head.quirks |= leadingQuirks(in.Data[at : at+lead])
	c.quirks |= l.quirks | head.quirks
	k.account(c, in, at, at+lead+size)
	k.answered(c, len(head.text), fieldLines(head.fields))
	if l.code >= 100 && l.code < 200 && l.code != 101 {
		k.interim(c, l.code, head)
		return true
	}
	if len(head.text) == size {
		c.row.ResponseHeadersSize = table.Some(int64(size))
	}
	return !k.startResponse(c, l, head, whole)
}

// cutResponse begins a response of whose head only the beginning was captured.
func (k *conn) cutResponse(in *dissect.Input) {
	head, lead := captured(in.Data)
	l, ok := parseStatusLine(head.first)
	if !ok || !goodVersion(l.version) {
		return
	}
	k.beginResponse(l, head, in, 0, lead, len(in.Data)-lead, false)
	if c := k.resp.call; c != nil {
		c.gap = true
	}
	in.Taken = true
}

// answered makes the row of the current response's call, which takes n bytes and some header
// lines more.
func (k *conn) answered(c *call, n, lines int) {
	n += headerCost * lines
	if c.row == nil {
		n += rowCost + headerCost*fieldLines(c.head)
	}
	k.queue.Grow(c, n)
	c.open(lines)
}

// startsAs reports whether b and want agree as far as b goes.
func startsAs(b []byte, want string) bool {
	n := min(len(b), len(want))
	return n > 0 && string(b[:n]) == want[:n]
}

// startSimple begins an HTTP/0.9 response: a body and nothing else. If the request had another
// version, the answer is probably not HTTP, but it is kept anyway.
func (k *conn) startSimple(c *call) {
	s := &k.resp
	c.respHead, c.close = true, true
	s.state, s.left, s.call, s.scan, s.started = inRest, -1, c, 0, true
	k.answered(c, 0, 0)
	c.row.ResponseVersion = table.Some(http09)
	if !c.simple {
		c.malformed = true
		c.quirks |= quirkNoStatusLine
	}
	s.body = k.c.NewBody("", "")
	c.x.RespBody = s.body
}

func (k *conn) interim(c *call, code int, message lines) {
	row := c.row
	if len(row.Interim.V) < 256 { // a server may send any number of interim responses
		row.Interim = table.Some(strings.TrimPrefix(row.Interim.V+","+strconv.Itoa(code), ","))
	}
	var h head
	if len(row.Headers) < maxInterim {
		row.Headers = h.fields(message.fields, kindInterim, row.Headers)
	} else {
		h.quirks |= quirkFields
	}
	c.quirks |= h.quirks
	k.disagree("response", &h, message.quirks)
	k.framesNothing("response", fmt.Sprintf("%d announces a body", code), "it was read without one, and another reader waits for it (RFC 9112 section 6.3)", &h)
	if c.x.HasRequest() {
		k.resp.call = nil
	}
}

type statusLine struct {
	version string
	code    int // 0 if there is no 3-digit number
	reason  string
	quirks  quirks
}

// icy is what SHOUTcast and Icecast send in place of a version.
const icy = "ICY "

// startsResponse reports whether b is the beginning of a status line, as far as it goes.
func startsResponse(b []byte) bool { return startsAs(b, "HTTP/") || startsAs(b, icy) }

// parseStatusLine reads version SP code SP reason, RFC 9112 section 4. ICY is HTTP/1.0: the stream that follows ends with
// the connection.
func parseStatusLine(line string) (l statusLine, ok bool) {
	if rest, found := strings.CutPrefix(line, icy); found {
		l, ok = parseStatusLine("HTTP/1.0 " + rest)
		l.quirks |= quirkICY
		return l, ok
	}
	if !strings.HasPrefix(line, "HTTP/") {
		return l, false
	}
	i := strings.IndexAny(line, " \t")
	if i < 0 {
		l.version, l.quirks = line, quirkStatusLine
		return l, true
	}
	l.version = line[:i]
	rest := line[i+1:]
	for rest != "" && (rest[0] == ' ' || rest[0] == '\t') {
		rest, l.quirks = rest[1:], quirkStatusLine
	}
	digits := 0
	for digits < len(rest) && digits < 4 && isDigit(rest[digits]) {
		l.code = l.code*10 + int(rest[digits]-'0')
		digits++
	}
	if digits != 3 || l.code < 100 || !goodVersion(l.version) || len(rest) > 3 && rest[3] != ' ' {
		l.quirks |= quirkStatusLine
	}
	if digits != 3 || l.code < 100 {
		l.code = 0
	}
	l.reason = httpfield.Trim(rest[digits:])
	return l, true
}

// startResponse fills the row from a final response's head and determines the body that follows.
// It reports whether the connection changes to another protocol.
func (k *conn) startResponse(c *call, l statusLine, message lines, whole bool) (switched bool) {
	row, s := c.row, &k.resp
	c.respHead = true
	row.ResponseVersion = table.Some(httpfield.ValidText(l.version))
	if l.code > 0 {
		row.StatusCode = table.Some(int32(l.code))
	} else {
		c.malformed = true
	}
	if l.reason != "" {
		row.StatusText = table.Some(httpfield.ValidText(l.reason))
	}
	var h head
	row.Headers = h.fields(message.fields, httpfield.Response, row.Headers)
	c.quirks |= h.quirks
	k.disagree("response", &h, message.quirks)
	if h.hasTE && strings.HasPrefix(l.version, "HTTP/0") {
		h.hasTE = false // unknown before HTTP/1.1, and no client applies it here
		c.quirks |= quirkTEInHTTP10
	}
	if c.doubt != nil {
		c.doubt.refused = l.code == 400 || l.code == 501 || l.code > 400 && (h.close || l.version == "HTTP/1.0" && !h.keepAlive)
	}
	c.http10 = c.http10 || l.version == "HTTP/1.0"
	c.close = c.close || h.close || l.version == "HTTP/1.0" && !h.keepAlive
	if !whole {
		s.state, s.left = inFixed, 1 // the message cannot continue
		s.body = k.c.NewBody("", "")
		return false
	}
	tunnel := c.isConnect && l.code >= 200 && l.code < 300
	if tunnel || l.code == 101 || l.code == 204 {
		k.framesNothing("response", fmt.Sprintf("%d announces a body", l.code), "it was read without one, and another reader waits for it (RFC 9112 section 6.3)", &h)
	}
	if tunnel || l.code == 101 {
		k.endTunnel(c, &h, tunnel)
		return true
	}
	if k.req.state == inHold && k.req.call == c {
		k.req.state, k.req.call = inHead, nil
	}
	if c.isHead || l.code == 204 || l.code == 304 {
		k.endOfResponse(c)
		return false
	}
	encoding := k.frame(s, c, &h, "response", true)
	if s.state == inHead {
		k.endOfResponse(c)
		return false
	}
	if s.state == inRest {
		c.close = true
	}
	s.body = k.c.NewBody(h.contentType, encoding)
	s.body.Expect(s.left)
	c.x.RespBody = s.body
	return false
}

// endTunnel ends the last call before another protocol.
func (k *conn) endTunnel(c *call, h *head, tunnel bool) {
	switch {
	case tunnel:
		c.row.Upgrade = table.Some("connect")
	case h.upgrade != "":
		if c.next == nil {
			c.next = &next{}
		}
		c.next.token = httpfield.ValidText(h.upgrade)
	case c.next == nil:
		c.quirks |= quirkNoUpgrade
	}
	if token := c.token(); !tunnel && token != "" {
		c.row.Upgrade = table.Some(strings.ToLower(token))
	}
	if c.row.Host.V == "" {
		httpfield.Fill(&c.row.Call, c.row.Headers)
	}
	k.switchTo(c)
	k.endOfResponse(c)
}
