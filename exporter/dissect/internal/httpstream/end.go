package httpstream

import (
	"cmp"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/grpc"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpfield"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// maxSummaryPath is how much of a path appears in summary.
const maxSummaryPath = 200

// End describes how a stream ended in terms of its HTTP version.
type End struct {
	Error    string // value of column error, see Cause; empty if the answer is complete
	Gap      bool   // see Settle
	CodeName string // name of ResetCode, if any
	Enough   bool   // the server did not need the rest of a request that it has answered
}

// Settle ends the bodies and reports whether bytes of the stream are or may be missing. With
// lengthEnds, a body with exactly the announced Content-Length is complete even if the end of
// the stream is missing.
func (s *Stream) Settle(lengthEnds bool) (gap bool) {
	req, resp := &s.Half[dissect.ToServer], &s.Half[dissect.ToClient]
	asked, answered := req.settle(lengthEnds), resp.settle(lengthEnds)
	gap = asked || answered
	return resp.incomplete() || req.incomplete() || gap
}

// settle ends the body. It reports whether frames may be missing that the content length does
// not account for.
func (q *Half) settle(lengthEnds bool) bool {
	if q.Suspect && q.Head && (q.End || lengthEnds) && q.length.OK && q.length.V == q.size() {
		q.Suspect, q.End = false, true // only the end of the stream, or trailers, can be missing
	}
	if q.Suspect {
		q.count.Missing(-1)
	}
	if q.Body != nil {
		q.Body.Complete = q.End && !q.Suspect && !q.MissingFields && q.Body.Lost() == 0
	}
	return q.Suspect
}

// size is the length of the body, including the known missing bytes.
func (q *Half) size() int64 {
	if q.Body == nil {
		return 0
	}
	return q.Body.Size() + q.Body.Lost()
}

// incomplete reports whether bytes of this direction are known to be missing.
func (q *Half) incomplete() bool { return q.MissingFields || q.Body != nil && q.Body.Lost() > 0 }

// Cause returns the value of column error for a stream that ended for cause, which is empty if it
// ended normally. A gap takes precedence over its consequences, and a complete answer is no error,
// regardless of the request.
func (s *Stream) Cause(cause string, gap bool) string {
	req, resp := &s.Half[dissect.ToServer], &s.Half[dissect.ToClient]
	switch {
	case cause == "reset":
		return cause
	case s.Malformed:
		return "malformed"
	case gap:
		return "gap"
	case resp.End && !req.Head:
		return "no_request"
	case resp.End && s.Unknown > 0: // headers refer to what was lost
		return "gap"
	case resp.End:
		return ""
	case !req.Head && cause == "no_response":
		return "no_request"
	}
	return cause
}

// Row fills a version's own row with everything that Stream knows, including failed and summary.
func (s *Stream) Row(c *table.Call, e *End) {
	s.call(c, e)
	c.Outcome = s.outcome(e)
	c.Summary = s.summary(e)
}

// outcome is the result in the answer, or how a stream ended before its connection.
func (s *Stream) outcome(e *End) string {
	switch {
	case s.declined(e):
		return table.OK
	case s.refused(e):
		return table.Refused
	case s.Status >= 400:
		return table.HTTPOutcome(int32(s.Status))
	case s.tunnels():
		return table.OK // however the tunnel ends: that says nothing about this request
	case s.unsure(e) && e.Error == "reset":
		return table.Unread
	case s.unsure(e):
		return ""
	case s.Broken && e.Error != "gap", s.Status == 0 && e.Error == "": // what is missing may end the stream
		return table.NoAnswer
	}
	return ""
}

// refused reports whether the other side says that it did not begin the stream, so that the
// request can be sent again (RFC 9113 section 8.7, RFC 9114 section 4.1.1).
func (s *Stream) refused(e *End) bool {
	const refusedStream, h3Rejected = 0x7, 0x10b // RFC 9113 section 7, RFC 9114 section 8.1
	code := s.ResetCode
	return e.Error == "reset" && s.Status == 0 && (s.Unprocessed || code.OK && (code.V == refusedStream || code.V == h3Rejected))
}

// declined reports whether the client stopped a push (RFC 9113 section 8.4.2, RFC 9114 section 4.6),
// or the connection ended before it without an error. Nobody asked for a push, so nobody waits for it.
func (s *Stream) declined(e *End) bool {
	switch {
	case !s.Pushed || s.Status >= 400:
		return false
	case s.Reset:
		return e.Error == "reset" && s.ResetBy == dissect.ToServer
	case s.ResetCode.OK: // an error closed the connection
		return false
	}
	return s.Broken || e.Error == "no_response" || e.Error == "reset" || e.Error == "timeout"
}

// tunnels reports whether the server agreed to a CONNECT.
func (s *Stream) tunnels() bool { return s.Method == "CONNECT" && s.Status/100 == 2 }

// GRPCRow returns the row of a gRPC stream, or nil for another stream.
func (s *Stream) GRPCRow(c *dissect.Conn, e *End) *grpc.Row {
	guessed := s.guessed()
	if !s.GRPC && !guessed {
		return nil
	}
	req, resp := &s.Half[dissect.ToServer], &s.Half[dissect.ToClient]
	row := &grpc.Row{Guessed: guessed}
	s.call(&row.Call, e)
	row.Authority, row.UnknownHeaders = table.NonEmpty(s.Authority), s.Unknown
	row.ResetCode, row.ResetName, row.ResetBy = s.ResetColumns(e)
	if row.Complete && (!req.count.Whole() || !resp.count.Whole()) {
		c.AnomalyFrom("grpc", "message_cut", "stream "+strconv.FormatInt(s.ID, 10)+" ends inside a message", 0)
	}
	row.Fill(&grpc.Stream{Req: req.count, Resp: resp.count, X: &s.X, Unsure: s.unsure(e)})
	if s.refused(e) {
		row.Outcome = table.Refused
	}
	s.cancelRPC(c, &row.Call, e, row.TimeoutUs)
	return row
}

// unsure reports whether the status, or what the request was, may be in a part that could not be decoded.
func (s *Stream) unsure(e *End) bool {
	return e.Gap || s.Malformed || s.Unknown > 0 || s.Method == "" && e.Error == "reset"
}

// guessed reports whether a stream with an unknown content type is gRPC by the form of its
// bodies.
func (s *Stream) guessed() bool {
	req, resp := &s.Half[dissect.ToServer], &s.Half[dissect.ToClient]
	return !s.GRPC && s.Unknown > 0 && req.size()+resp.size() > 0 && req.mayBeGRPC() && resp.mayBeGRPC()
}

// mayBeGRPC reports whether a direction with an unknown content type contains gRPC messages or
// nothing. If so, the messages are counted.
func (q *Half) mayBeGRPC() bool {
	if q.ctype != "" || q.coding != "" || q.Suspect || q.incomplete() {
		return false
	}
	if q.size() == 0 {
		return true
	}
	if !grpc.Shaped(q.Body.Kept()) {
		return false
	}
	q.count = grpc.Counter{}
	q.count.Write(q.Body.Kept())
	return true
}

// call sets the columns that every row of a stream has.
func (s *Stream) call(c *table.Call, e *End) {
	req, resp := &s.Half[dissect.ToServer], &s.Half[dissect.ToClient]
	c.Error = table.NonEmpty(e.Error)
	c.Complete = e.Error == "" && !s.Dropped && resp.End && (req.End || e.Enough)
	c.Headers = s.Headers
	c.Method = table.NonEmpty(s.Method)
	if s.HasPath {
		c.Path = table.Some(s.Path)
	}
	c.Query = s.Query
	switch {
	case s.Authority != "":
		c.Host = table.NonEmpty(httpfield.HostOf(s.Authority))
	case s.Host != "":
		c.Host = table.NonEmpty(httpfield.HostOf(s.Host))
	}
	if s.Reset && !s.Pushed {
		s.X.EndedBy(s.ResetBy)
	}
	c.ProxiedTo = s.proxied()
	if s.Status != 0 {
		c.StatusCode = table.Some(s.Status)
	}
	if req.Wire > 0 {
		c.RequestHeadersSize = table.Some(req.Wire)
	}
	if resp.Wire > 0 {
		c.ResponseHeadersSize = table.Some(resp.Wire)
	}
	httpfield.Fill(c, s.Headers)
}

// Leave records whether the client ended the call while its response went on.
func (s *Stream) Leave(c *dissect.Conn, e *End) {
	s.X.Left = s.Reset && s.ResetBy == dissect.ToServer || e.Error != "" && c.LeftFirst(&s.X)
}

// ResetColumns returns the error code that ended the stream, its name, and the side that sent
// it; by is null if the connection ended and no side gave up this stream.
func (s *Stream) ResetColumns(e *End) (code table.Opt[int64], name, by table.Opt[string]) {
	if s.ResetCode.OK {
		code, name = s.ResetCode, table.Some(e.CodeName)
	}
	if s.Reset {
		by = table.Some(s.ResetBy.Sender())
	}
	return code, name, by
}

func (s *Stream) summary(e *End) string {
	var b strings.Builder
	b.Grow(len(s.Method) + min(len(s.Path), maxSummaryPath) + 16)
	b.WriteString(cmp.Or(s.Method, "?"))
	b.WriteByte(' ')
	what := s.Path
	if !s.HasPath {
		what = cmp.Or(s.Authority, "?")
	}
	if len(what) > maxSummaryPath {
		what = strings.ToValidUTF8(what[:maxSummaryPath], "") + "…"
	}
	b.WriteString(what)
	b.WriteString(" → ")
	if s.Status != 0 {
		b.WriteString(strconv.Itoa(int(s.Status)))
	}
	if e.Error != "" {
		if s.Status != 0 {
			b.WriteString(", ")
		}
		b.WriteString(strings.ReplaceAll(e.Error, "_", " "))
		if e.CodeName != "" && e.Error == "reset" {
			b.WriteByte(' ')
			b.WriteString(e.CodeName)
		}
	}
	return b.String()
}
