package http1

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpfield"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// open makes the row of a call with the columns that the request's head fills. Lines is how many
// header lines are to follow.
func (c *call) open(lines int) *Row {
	if c.row != nil {
		return c.row
	}
	row := &Row{Ahead: c.ahead}
	c.row = row
	if c.head == "" {
		return row
	}
	line, fields, _ := cutLine(c.head)
	l := startLine(line)
	if !c.cutHead {
		row.RequestHeadersSize = table.Some(int64(len(c.head)))
	}
	if l.method != "" {
		row.Method, row.Version = table.Some(l.method), table.Some(httpfield.ValidText(l.version))
	}
	row.setTarget(httpfield.ValidText(l.target))
	if to := httpfield.Masque(c.token(), row.Path.V); to.OK {
		row.ProxiedTo = to
	}
	var h head
	row.Headers = h.fields(fields, httpfield.Request, make([]table.Header, 0, fieldLines(fields)+lines))
	row.Headers = h.fields(c.trailer, httpfield.RequestTrailer, row.Headers)
	return row
}

// startLine is a request line. Another line at the start of a message becomes the target:
// servers answer it with 400.
func startLine(line string) requestLine {
	if l, ok := parseRequestLine(line); ok {
		return l
	}
	return requestLine{target: line, quirks: quirkRequestLine}
}

// leading counts the line ends before a start line, RFC 9112 section 2.2.
func leading(b []byte) int {
	n := 0
	for n < len(b) && (b[n] == '\r' || b[n] == '\n') {
		n++
	}
	return n
}

// readRequest reads a request line and its headers.
func (k *conn) readRequest(in *dissect.Input, at int) (n int, more bool, err error) {
	s := &k.req
	b := in.Data[at:]
	lead := leading(b)
	if lead > maxLeading {
		return 0, false, fmt.Errorf("reading a request: %d bytes of empty lines exceed the limit of %d", lead, maxLeading)
	}
	if b = b[lead:]; len(b) == 0 {
		return 0, false, nil
	}
	whole := true
	end, resume := headEnd(b, s.scan)
	if end < 0 {
		if s.line == 0 {
			if i := bytes.IndexByte(b[s.scan:], '\n'); i >= 0 {
				s.line = s.scan + i + 1
			}
		}
		s.scan = resume
		if end, whole = k.openRequest(in, b, s.line); end < 0 {
			err = openHeadError("a request", b, isToken(b[0]))
			s.wait = err == nil
			return 0, false, err
		}
	}
	head := linesOf(b[:end])
	l, ok := parseRequestLine(head.first)
	if !ok {
		if !whole || s.lost || !s.started && !in.First(at) || !printable(head.first) {
			return 0, false, errHead("a request", b)
		}
		l = startLine(head.first)
		k.c.Anomaly("malformed", "a request line without a method: it is kept as the target", 0)
	}
	k.beginRequest(l, head, in, at, lead, end, whole)
	return lead + end, true, nil
}

// beginRequest begins a call with a head. It takes size bytes of in.Data after lead line ends at at.
func (k *conn) beginRequest(l requestLine, head lines, in *dissect.Input, at, lead, size int, whole bool) *call {
	s := &k.req
	s.scan, s.line, s.lost, s.started = 0, 0, false, true
	c := calls.Get().(*call)
	head.quirks |= leadingQuirks(in.Data[at : at+lead])
	c.quirks = l.quirks | head.quirks
	if l.version == http09 {
		c.simple = true
	}
	c.head = head.text
	c.ahead = int32(k.queue.Push(c, in.Packet(at+lead).Ack, callCost+len(head.text)))
	k.startRequest(c, l, head, in, at, lead+size)
	if !whole {
		s.state, s.call = inFixed, c // the message cannot continue
		c.reqDone, c.reqWhole = false, false
	}
	return c
}

// cutRequest begins a call with a head of which only the beginning was captured.
func (k *conn) cutRequest(in *dissect.Input) {
	head, lead := captured(in.Data)
	if l, ok := parseRequestLine(head.first); ok && goodVersion(l.version) {
		c := k.beginRequest(l, head, in, 0, lead, len(in.Data)-lead, false)
		c.gap, c.cutHead, c.quirks, in.Taken = true, true, c.quirks&^quirkNoHost, true
	}
}

// openRequest handles a head without an empty line: HTTP/0.9 has none, and the connection may
// have ended inside the head. line is the length of the first line, 0 if it is unfinished.
// openRequest returns -1 if more bytes may come.
func (k *conn) openRequest(in *dissect.Input, b []byte, line int) (end int, whole bool) {
	i := line - 1
	if i < 0 || !in.End && (!k.resp.wait || i+1 != len(b)) {
		return -1, false
	}
	l, ok := parseRequestLine(strings.TrimRight(string(b[:min(i, maxHead)]), "\r"))
	switch {
	case !ok:
		return -1, false
	case l.version == http09 && i+1 == len(b):
		return len(b), true
	case in.End:
		return len(b), false
	}
	return -1, false
}

// openHeadError is the error for an unfinished head that is not waited for any longer.
func openHeadError(what string, b []byte, plausible bool) error {
	if len(b) > maxHead {
		return fmt.Errorf("reading %s: the head exceeds the limit of %d bytes", what, maxHead)
	}
	if !plausible {
		return errHead(what, b)
	}
	return nil
}

const http09 = "HTTP/0.9"

type requestLine struct {
	method, target, version string
	quirks                  quirks
}

// blanks are what a reader may take for the space between two parts of a request line, RFC 9112 section 3.
const blanks = " \t\v\f\r"

func isBlank(c byte) bool { return strings.IndexByte(blanks, c) >= 0 }

// hasControl reports whether a line has a control character.
func hasControl(line string) bool {
	for i := 0; i < len(line); i++ {
		if line[i] < ' ' || line[i] == 0x7f {
			return true
		}
	}
	return false
}

// parseRequestLine reads METHOD SP target SP version, RFC 9112 section 3. A line without a
// version is HTTP/0.9, which has only GET.
func parseRequestLine(line string) (l requestLine, ok bool) {
	i := 0
	for i < len(line) && isToken(line[i]) {
		i++
	}
	if i == 0 || i < len(line) && !isBlank(line[i]) {
		return l, false
	}
	l.method = line[:i]
	rest := strings.Trim(line[i:], blanks)
	if i+1+len(rest) != len(line) || hasControl(line) {
		l.quirks |= quirkRequestLine
	}
	j := strings.LastIndexAny(rest, blanks)
	if v := rest[j+1:]; len(v) >= 5 && httpfield.Is(v[:5], "http/") {
		l.version, rest = v, rest[:max(j, 0)]
		if t := strings.Trim(rest, blanks); len(t) != len(rest) {
			rest, l.quirks = t, l.quirks|quirkRequestLine
		}
		if !goodVersion(v) {
			l.quirks |= quirkRequestLine
		}
	} else if v := strings.LastIndex(rest, " HTTP/"); v >= 0 {
		l.version, rest = rest[v+1:], rest[:v]
		l.quirks |= quirkRequestLine
	} else if knownMethod([]byte(l.method)) || strings.Contains(rest, versionStart) {
		l.version = http09
	} else {
		return l, false
	}
	l.target = rest
	if rest == "" || strings.IndexByte(rest, ' ') >= 0 || l.version == http09 && l.method != "GET" {
		l.quirks |= quirkRequestLine
	}
	return l, true
}

// goodVersion reports whether v is HTTP/ and two digits separated by a point.
func goodVersion(v string) bool {
	return len(v) == 8 && v[:5] == "HTTP/" && isDigit(v[5]) && v[6] == '.' && isDigit(v[7])
}

// printable reports whether a line has no control characters.
func printable(line string) bool {
	for i := 0; i < len(line); i++ {
		if c := line[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return line != ""
}

// fieldLines is the number of header lines to allocate space for.
func fieldLines(fields string) int { return min(strings.Count(fields, "\n"), maxFields) }

// startRequest determines the body that follows a head.
func (k *conn) startRequest(c *call, l requestLine, message lines, in *dissect.Input, at, size int) {
	var h head
	h.fields(message.fields, "", nil)
	c.quirks |= h.quirks
	c.isHead, c.isConnect = l.method == "HEAD", l.method == "CONNECT"
	c.http10 = l.version == "HTTP/1.0" || c.simple
	c.close = h.close || c.http10 && !h.keepAlive
	c.expects = h.expects
	if !h.host && l.version == "HTTP/1.1" {
		c.quirks |= quirkNoHost
	}
	if h.connUpgrade && h.upgrade != "" && !c.http10 {
		c.next = &next{token: httpfield.ValidText(h.upgrade), settings: h.settings}
	}
	k.account(c, in, at, at+size)
	k.disagree("request", &h, message.quirks)
	k.disagreeTarget(&l, &h)
	if c.isConnect || l.method == "TRACE" {
		k.framesNothing("request", l.method+" announces a body", "it was read as one, and another reader reads none (RFC 9110 sections 9.3.6 and 9.3.8)", &h)
	}
	s := &k.req
	s.call = c
	encoding := k.frame(s, c, &h, "request", false)
	if s.state == inHead {
		k.endOfRequest(c)
		return
	}
	s.body = k.c.NewBody(h.contentType, encoding)
	s.body.Expect(s.left)
	c.x.ReqBody = s.body
}

// setTarget reads the four forms of a request target, RFC 9112 section 3.2.
func (r *Row) setTarget(target string) {
	switch {
	case target == "":
		return
	case !r.Method.OK:
		r.Target = table.Some(target)
		return
	case r.Method.V == "CONNECT":
		r.Target = table.Some(target)
		r.Host, r.ProxiedTo = table.Some(httpfield.HostOf(target)), httpfield.Proxied("", target)
		return
	case target[0] == '/':
		r.setPath(target)
		return
	}
	r.Target = table.Some(target)
	i := strings.Index(target, "://")
	if i <= 0 || strings.IndexByte(target[:i], '/') >= 0 {
		r.setPath(target)
		return
	}
	rest := target[i+3:]
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	if host := httpfield.HostOf(rest[:end]); host != "" {
		r.Host, r.ProxiedTo = table.Some(host), httpfield.Proxied(target[:i], rest[:end])
	}
	if r.setPath(rest[end:]); r.Path.V == "" {
		r.Path.V = "/"
	}
}

func (r *Row) setPath(target string) {
	path, query := httpfield.SplitTarget(target)
	r.Path, r.Query = table.Some(path), query
}

// frame determines the end of the message with head h, RFC 9112 section 6.3, sets the state of
// s, and returns the content and transfer codings of the body.
func (k *conn) frame(s *side, c *call, h *head, what string, response bool) (encoding string) {
	s.state = inHead
	encoding = httpfield.ValidText(h.encoding)
	if h.hidden {
		k.smuggling(what, "a framing header has white space before its colon; it was applied, and another reader ignores it or refuses the message (RFC 9112 section 5.1)")
	}
	if h.folded {
		k.smuggling(what, "a framing header has more than one line; they were joined, and another reader sees lines of their own (RFC 9112 section 5.2)")
	}
	if h.disguised {
		k.smuggling(what, "a line that other readers may take for Content-Length or Transfer-Encoding; it was not applied (RFC 9112 sections 2.2, 5.1 and 5.2)")
	}
	if h.hasTE {
		chunked, twice, others := codings(h.te)
		if c.http10 {
			c.quirks |= quirkTEInHTTP10
			k.smuggling(what, "Transfer-Encoding with HTTP/1.0; it was applied, and a reader of HTTP/1.0 ignores it or refuses the message (RFC 9112 section 6.1)")
		}
		if twice && chunked {
			k.smuggling(what, "codings after chunked in Transfer-Encoding: "+shown(h.te)+"; chunked was applied once, and another reader refuses it (RFC 9112 section 6.1)")
		} else if chunked && !registered(h.te) {
			k.smuggling(what, "unknown codings before chunked in Transfer-Encoding: "+shown(h.te)+"; chunked was applied, and another reader ignores the field or refuses it (RFC 9112 section 6.1)")
		}
		open := !chunked && (others != "" || twice)
		if open {
			k.unclear(s, c, h, response)
		}
		if chunked {
			s.state = inChunkLine
			if h.length >= 0 || h.badLength {
				c.quirks |= quirkLengthIgnored
				k.smuggling(what, "both Transfer-Encoding and Content-Length; Transfer-Encoding was applied, and another reader applies Content-Length (RFC 9112 section 6.3)")
			}
		}
		if chunked || open && response {
			encoding = strings.TrimPrefix(join(encoding, httpfield.ValidText(others)), ", ")
			encoding = strings.TrimSuffix(encoding, ", ")
		}
		if chunked || open {
			return encoding
		}
		c.quirks |= quirkTEIdentity
		k.smuggling(what, "Transfer-Encoding without a coding: "+shown(h.te)+"; it was ignored, and another reader refuses it or reads chunks (RFC 9112 section 6.3)")
	}
	switch {
	case h.conflict:
		k.smuggling(what, fmt.Sprintf("different Content-Lengths; the first, %d, was applied, and another reader applies the last (RFC 9112 section 6.3)", h.length))
	case h.badLength && h.length < 0:
		k.smuggling(what, "a Content-Length that is not a number; it was ignored, and another reader finds a number in it (RFC 9112 section 6.3)")
	case h.badLength:
		k.smuggling(what, fmt.Sprintf("a Content-Length that is not a number beside %d, which was applied; another reader finds another number (RFC 9112 section 6.3)", h.length))
	case h.repeated:
		c.quirks |= quirkLengthTwice
		k.smuggling(what, fmt.Sprintf("Content-Length is repeated with one value; %d was applied, and another reader refuses it (RFC 9112 section 6.3)", h.length))
	}
	switch {
	case h.length > 0:
		s.state, s.left = inFixed, h.length
	case h.length < 0 && response:
		s.state, s.left = inRest, -1
	}
	return encoding
}

// hold keeps the client's bytes after CONNECT or Upgrade until the answer arrives.
func (k *conn) hold(in *dissect.Input, at int) (n int, more bool, err error) {
	b := in.Data[at:]
	c := k.req.call
	if len(b) == 0 {
		return 0, false, nil
	}
	if !c.isConnect && detect(dissect.ToServer, b) >= dissect.Likely {
		k.req.state, k.req.call = inHead, nil // the client does not wait either
		return 0, true, nil
	}
	if !in.End && (len(b) > maxHeld || k.queue.Lost()) {
		k.switchTo(c) // the answer was not captured, but no client sends this much before it
	}
	return 0, false, nil
}

// token is the first protocol in Upgrade.
func (c *call) token() string {
	if c.next == nil {
		return ""
	}
	token, _ := httpfield.Next(c.next.token)
	return token
}

// switchTo passes the connection to the protocol that the call requested.
func (k *conn) switchTo(c *call) {
	row := c.open(0)
	k.c.PassedTo(row.ProxiedTo)
	if c.isConnect {
		k.c.Upgrade("", nil)
		return
	}
	token, settings := c.token(), ""
	info := &dissect.UpgradeInfo{Exchange: &dissect.Exchange{}, Method: row.Method.V, Path: row.Path.V, Query: row.Query.V,
		Host: row.Host.V, Headers: row.Headers, HeadersSize: row.RequestHeadersSize.V, UpgradeTarget: token}
	if c.next != nil {
		info.Exchange, settings = &c.next.x, c.next.settings
	}
	switch {
	case httpfield.Is(token, "websocket"):
		k.c.Upgrade("ws", info)
	case httpfield.Is(token, "h2c") && !info.Exchange.HasRequest():
		k.c.Upgrade("http2", nil)
	case httpfield.Is(token, "h2c"):
		// The call that HTTP/2 answers in stream 1 has only the request's headers.
		n := 0
		for n < len(info.Headers) && info.Headers[n].Kind == httpfield.Request {
			n++
		}
		info.Headers = append([]table.Header(nil), info.Headers[:n]...)
		info.Settings, _ = base64.RawURLEncoding.DecodeString(strings.TrimRight(settings, "="))
		k.c.Upgrade("http2", info)
	default:
		k.c.Upgrade("", nil)
	}
}
