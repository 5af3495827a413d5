package http1

import (
	"bytes"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// doubt is what is known of a request that RFC 9112 section 6.3 gives no end: its Transfer-Encoding does
// not end in chunked. A server must refuse it and close the connection. Others ignore the field, or read
// what looks like chunked as chunked; what follows is then another request. Only the server's response
// shows which.
type doubt struct {
	te      string
	length  int64 // Content-Length, -1 if there is none
	refused bool  // by the response, after which the server reads no more
}

// unclear begins a message whose Transfer-Encoding does not end in chunked.
func (k *conn) unclear(s *side, c *call, h *head, response bool) {
	c.quirks |= quirkTEOpen
	length := h.length
	if h.badLength || h.conflict {
		length = -1
	}
	if response { // it lasts until the connection closes, RFC 9112 section 6.3 rule 4
		s.state, s.left = inRest, length
		k.smuggling("response", "Transfer-Encoding does not end in chunked: "+shown(h.te)+"; the body lasts until the close, and another reader reads chunks or applies Content-Length (RFC 9112 section 6.3)")
		return
	}
	s.state, s.left = inDoubt, 0
	c.doubt = &doubt{te: h.te, length: length}
}

// decide determines the end of an unclear request once its response begins. It returns false if more
// bytes are needed.
func (k *conn) decide(in *dissect.Input, at int) (more bool) {
	s, b := &k.req, in.Data[at:]
	c := s.call
	d := c.doubt
	how := "the body is all that follows"
	switch {
	case c.respHead && d.refused:
		s.state, s.left = inRest, -1
		how = "the server refused it, and what follows"
	case c.respHead && len(b) > 0 && d.length >= 0 && plausible(b, d.length):
		s.state, s.left = inFixed, d.length
		how = "the server applied Content-Length"
	case c.respHead && len(b) > 0 && d.length < 0 && plausible(b, 0):
		s.state = inHead
		how = "the server read no body"
	case c.respHead && len(b) > 0 && plausible(b, chunkedEnd(b)):
		s.state = inChunkLine
		how = "the server read it as chunked"
	case in.End, len(b) > maxHeld, k.queue.Lost(), c.respHead && len(b) > 0:
		s.state, s.left = inRest, d.length
	default:
		s.wait = len(b) > 0
		return false
	}
	k.smuggling("request", "Transfer-Encoding does not end in chunked, which RFC 9112 section 6.3 forbids: "+d.te+"; "+how)
	if d.length >= 0 && s.state != inFixed {
		c.quirks |= quirkLengthIgnored
	}
	if s.state == inFixed && s.left > 0 {
		s.body.Expect(s.left)
	} else if s.state == inHead || s.state == inFixed {
		c.x.ReqBody = nil
		k.endMessage(s)
	}
	return true
}

// plausible reports whether a body of n bytes can be the start of b: nothing follows it, or the start of
// another request.
func plausible(b []byte, n int64) bool {
	if n < 0 || n > int64(len(b)) {
		return n >= 0
	}
	b = b[n:]
	b = b[min(leading(b), len(b)):]
	return len(b) == 0 || detect(dissect.ToServer, b) != dissect.No
}

// chunkedEnd is the length of a chunked body without trailers at the start of b, -1 if there is none.
func chunkedEnd(b []byte) int64 {
	for at := 0; ; {
		i := bytes.IndexByte(b[at:], '\n')
		if i < 0 {
			return -1
		}
		size, _, _, ok := chunkSize(bytes.TrimSuffix(b[at:at+i], []byte("\r")))
		at += i + 1
		if !ok || size > int64(len(b)-at) {
			return -1
		}
		at += int(size)
		end := bytes.IndexByte(b[at:], '\n')
		if end != 0 && end != 1 {
			return -1
		}
		if at += end + 1; size == 0 {
			return int64(at)
		}
	}
}
