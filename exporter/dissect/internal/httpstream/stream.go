// Package httpstream collects a request and its response in HTTP/2 and HTTP/3.
//
// Both versions carry the same two messages: pseudo headers, field lines, a body that may be
// gRPC messages, and trailers. A Stream collects them from decoded fields and body bytes,
// determines which parts are missing, and fills the columns that the rows of both versions
// share, so that a call looks the same in either version. The versions themselves decide which
// bytes belong to which stream, when a stream is over and what its error codes mean.
package httpstream

import (
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/grpc"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpfield"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Stream is a request with its response, until it is emitted. The zero value is ready to use.
type Stream struct {
	ID   int64 // its number in anomalies
	X    dissect.Exchange
	Half [2]Half // by direction

	Method, Scheme, Authority string
	Host                      string // of a request without :authority
	Path                      string
	Query                     table.Opt[string]
	HasPath                   bool
	Tunnel                    string // :protocol
	Status                    int32  // final :status, or 0
	Interim                   string // 1xx statuses before it
	Headers                   []table.Header
	Unknown                   int32 // number of unknown headers
	Dropped                   bool  // headers beyond a limit were not kept
	Malformed                 bool  // a part could not be read
	Broken                    bool  // the connection ended inside the response
	GRPC                      bool  // by a content type
	Pushed                    bool  // the server promised it: no client asked for it

	Reset       bool // a side gave up the stream
	ResetBy     dissect.Dir
	ResetAt     dissect.Instant
	Unprocessed bool // GOAWAY says that its receiver did not begin the stream
	opaque      bool // the DATA frames carry nothing that is known
	ResetCode   table.Opt[int64]

	held  int           // bytes of headers
	inner *dissect.Conn // what the DATA frames carry, see Carry
}

// Half is one direction of a stream: the request or the response.
type Half struct {
	Head          bool // the headers of the head arrived or were lost
	Data          bool // bytes of the body arrived
	End           bool // its end arrived
	MissingFields bool // a header section is missing
	Suspect       bool // frames may be missing between frames
	Wire          int64
	Body          *dissect.Body

	length table.Opt[int64] // Content-Length
	ctype  string
	coding string
	count  grpc.Counter
	counts bool // the body is plain gRPC messages
}

// Held is the memory of the stream's headers in bytes, including their overhead.
func (s *Stream) Held() int { return s.held + headerCost*(cap(s.Headers)-len(s.Headers)) }

// Add adds in.Data[from:to] to the request or the response.
func (s *Stream) Add(in *dissect.Input, dir dissect.Dir, from, to int) {
	s.X.AddTo(dir == dissect.ToClient, in, from, to)
}

// Write adds bytes to the body of one direction.
func (s *Stream) Write(c *dissect.Conn, dir dissect.Dir, p []byte) {
	s.body(c, dir).Write(p)
	if q := &s.Half[dir]; q.counts {
		q.count.Write(p)
	}
}

// Missing reports that n bytes of the body of one direction were not captured.
func (s *Stream) Missing(c *dissect.Conn, dir dissect.Dir, n int64) {
	if s.inner != nil {
		s.inner.Gap(dir, n, c.Now())
		return
	}
	s.body(c, dir).Missing(n)
	s.Half[dir].count.Missing(n)
}

// body returns the body of one direction and creates it on first use.
func (s *Stream) body(c *dissect.Conn, dir dissect.Dir) *dissect.Body {
	q := &s.Half[dir]
	q.Data = true
	if q.Body == nil {
		q.Body = c.NewBody(q.ctype, q.coding)
		q.counts = s.GRPC && q.coding == "" && grpc.Prefixed(q.ctype)
		if dir == dissect.ToServer {
			s.X.ReqBody = q.Body
		} else {
			s.X.RespBody = q.Body
		}
		if !q.Head || q.Suspect {
			q.count.Missing(-1)
		}
	}
	return q.Body
}

// Note stores what the rest of the stream needs from a header field of a head. Fields calls it for
// the headers that it appends.
func (s *Stream) Note(x *table.Header, dir dissect.Dir) {
	q := &s.Half[dir]
	switch httpfield.Lookup(x.Name) {
	case httpfield.ContentType:
		q.ctype = x.Value
		s.GRPC = s.GRPC || grpc.Is(x.Value)
	case httpfield.ContentEncoding:
		q.addCoding(x.Value)
	case httpfield.AmzContentSHA256:
		q.addCoding(httpfield.SignedChunks(x.Value))
	case httpfield.ContentLength:
		if n, ok := parseLength(x.Value); ok {
			q.length = table.Some(n)
		}
	}
}

// addCoding adds to the value of Content-Encoding.
func (q *Half) addCoding(s string) {
	if q.coding != "" && s != "" {
		q.coding += ", "
	}
	q.coding += s
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
