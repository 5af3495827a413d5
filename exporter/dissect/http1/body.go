package http1

import (
	"bytes"
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpfield"
)

// readFixed reads a body of known length.
func (k *conn) readFixed(s *side, in *dissect.Input, at int) (n int, more bool) {
	b := in.Data[at:]
	if len(b) == 0 || s.body == nil {
		return 0, false
	}
	if c := s.call; s == &k.req && c.expects && c.respHead && s.body.Size() == 0 && c.row.StatusCode.V >= 300 {
		// The client sent Expect first and was refused: it may omit the body and continue, RFC
		// 9110 section 10.1.1. Or it no longer waited, and sends the body.
		switch detect(dissect.ToServer, b) {
		case dissect.Likely, dissect.Yes:
			if !bodyBefore(b, s.left) {
				k.endMessage(s)
				return 0, true
			}
		case dissect.More:
			if !in.End && int64(len(b)) < s.left {
				return 0, false
			}
		}
	}
	if s == &k.resp && !s.call.x.HasRequest() && s.body.Size() == 0 && s.body.Lost() == 0 && bytes.HasPrefix(b, []byte("HTTP/1.")) {
		s.call.x.RespBody = nil // it answered a HEAD that was not captured
		k.endMessage(s)
		return 0, true
	}
	n = int(min(s.left, int64(len(b))))
	if s == &k.req && s.body.Size() == 0 {
		k.asBody(s.call, b[:n])
	}
	k.account(s.call, in, at, at+n)
	s.body.Write(b[:n])
	s.left -= int64(n)
	if s.left == 0 {
		s.body.Complete = s.body.Lost() == 0
		k.endMessage(s)
	}
	return n, true
}

// bodyBefore reports whether a request begins after n bytes, and a worse one before: a body such as hello makes the
// method helloGET.
func bodyBefore(b []byte, n int64) bool {
	word, _, _ := bytes.Cut(b, []byte{' '})
	return !knownMethod(word) && n < int64(len(b)) && detectRequest(b[n:]) == dissect.Yes
}

// readRest reads a body that lasts until the connection closes, or, despite its Transfer-Encoding, until
// another message begins exactly where its Content-Length ends.
func (k *conn) readRest(s *side, in *dissect.Input, at int) (n int, more bool) {
	b := in.Data[at:]
	if s.left >= 0 {
		if s.left == 0 && s.body.Lost() == 0 && detect(in.Dir, b) == dissect.Yes { // the other side applied Content-Length
			s.body.Complete = true
			k.endMessage(s)
			return 0, true
		}
		if s.left > 0 && int64(len(b)) >= s.left {
			b, more = b[:s.left], int64(len(b)) > s.left
		}
		s.left = max(s.left-int64(len(b)), 0)
	}
	k.account(s.call, in, at, at+len(b))
	s.body.Write(b)
	if in.End && in.Fin && !more {
		s.body.Complete = s.body.Lost() == 0
		k.endMessage(s)
	}
	return len(b), more
}

// readChunked reads the available part of a chunked body, RFC 9112 section 7.1.
func (k *conn) readChunked(s *side, in *dissect.Input, at int) (n int, err error) {
	b := in.Data[at:]
	c := s.call
	for {
		m := 0
		switch s.state {
		case inChunkLine:
			m, err = k.chunkLine(s, b[n:])
		case inChunk:
			if s == &k.req && s.body.Size() == 0 {
				k.asBody(c, b[n:])
			}
			m = int(min(s.left, int64(len(b)-n)))
			s.body.Write(b[n : n+m])
			if s.left -= int64(m); s.left == 0 {
				s.state = inChunkEnd
			}
		case inChunkEnd:
			m, err = k.chunkEnd(s, b[n:])
		case inTrailer:
			m, err = k.trailer(s, b[n:], in.Dir)
			if m > 0 {
				k.account(c, in, at, at+n+m)
				s.body.Complete = s.body.Lost() == 0
				k.endMessage(s)
				return n + m, nil
			}
		}
		n += m
		if m == 0 || err != nil {
			k.account(c, in, at, at+n)
			return n, err
		}
	}
}

// chunkLine reads a chunk's size and skips extensions.
func (k *conn) chunkLine(s *side, b []byte) (n int, err error) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		if len(b) > maxChunkLine {
			return 0, fmt.Errorf("reading a chunk size: the line exceeds the limit of %d bytes", maxChunkLine)
		}
		return 0, nil
	}
	line := b[:i]
	if i > 0 && line[i-1] == '\r' {
		line = line[:i-1]
	} else {
		k.bareChunk(s)
	}
	size, spaced, extension, ok := chunkSize(line)
	if !ok {
		if s.body.Lost() == 0 && !s.call.gap && len(line) > 0 && (hexDigit(line[0]) >= 0 || line[0] == '+' || line[0] == '-') {
			k.smuggling(k.message(s), fmt.Sprintf("%q is not a chunk size; the rest was not read, and another reader reads a size in it (RFC 9112 section 7.1)", shown(string(line))))
		}
		return 0, fmt.Errorf("reading a chunk size: expected a hexadecimal number, got %.40q", line)
	}
	k.disagreeChunk(s, size, spaced, extension)
	s.state, s.left, s.scan = inChunk, size, 0
	if size == 0 {
		s.state = inTrailer
	}
	return i + 1, nil
}

// bareChunk marks a body that has an LF without CR at the size or end of a chunk. RFC 9112 section 2.2 lets readers
// accept it in the head only: another reader includes it in the extension, or skips two bytes after the chunk.
func (k *conn) bareChunk(s *side) {
	if s.call.quirks&quirkBareChunk != 0 {
		return
	}
	s.call.quirks |= quirkBareLF | quirkBareChunk
	k.smuggling(k.message(s), "a chunk line ends in LF alone; it was accepted as the end, and another reader includes it in the extension, or skips two bytes after the chunk (RFC 9112 sections 2.2 and 7.1)")
}

// chunkSize reads a size and what follows it. spaced is true if white space is before the size, or after it without an
// extension.
func chunkSize(line []byte) (size int64, spaced bool, extension string, ok bool) {
	t := bytes.TrimLeft(line, " \t")
	spaced = len(t) != len(line)
	i := 0
	for ; i < len(t); i++ {
		d := hexDigit(t[i])
		if d < 0 {
			break
		}
		if size >= 1<<58 {
			return 0, false, "", false
		}
		size = size<<4 | int64(d)
	}
	rest := bytes.TrimLeft(t[i:], " \t")
	spaced = spaced || len(rest) == 0 && i < len(t)
	if i == 0 || len(rest) > 0 && rest[0] != ';' {
		return 0, false, "", false
	}
	if len(rest) > 0 {
		extension = string(rest)
	}
	return size, spaced, extension, true
}

func hexDigit(c byte) int {
	switch {
	case isDigit(c):
		return int(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// chunkEnd reads the line end after a chunk's bytes.
func (k *conn) chunkEnd(s *side, b []byte) (n int, err error) {
	switch {
	case len(b) == 0 || len(b) == 1 && b[0] == '\r':
		return 0, nil
	case b[0] == '\r' && b[1] == '\n':
		n = 2
	case b[0] == '\n':
		k.bareChunk(s)
		n = 1
	default:
		return 0, fmt.Errorf("reading a chunk's end: expected a line end, got %.8q", b)
	}
	s.state = inChunkLine
	return n, nil
}

// trailer reads the lines after the last chunk; n is 0 until they are complete.
func (k *conn) trailer(s *side, b []byte, dir dissect.Dir) (n int, err error) {
	switch {
	case len(b) == 0 || len(b) == 1 && b[0] == '\r':
		return 0, nil
	case b[0] == '\n':
		k.bareChunk(s)
		return 1, nil
	case b[0] == '\r' && b[1] == '\n':
		return 2, nil
	}
	end, resume := headEnd(b, s.scan)
	if end < 0 {
		s.scan = resume
		if len(b) > maxHead {
			return 0, fmt.Errorf("reading a trailer: it exceeds the limit of %d bytes", maxHead)
		}
		return 0, nil
	}
	kind := httpfield.RequestTrailer
	if dir == dissect.ToClient {
		kind = httpfield.ResponseTrailer
	}
	var h head
	c, text := s.call, string(b[:end])
	if c.row == nil {
		c.trailer = text
		h.fields(text, "", nil)
	} else {
		c.row.Headers = h.fields(text, kind, c.row.Headers)
	}
	c.quirks |= h.quirks
	k.disagreeTrailer("trailer of a "+k.message(s), &h)
	s.scan = 0
	return end, nil
}
