package httpstream

import (
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/grpc"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpfield"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// maxSummaryPath is how much of a path goes into summary.
const maxSummaryPath = 200

// End is how a stream ended, as its version of HTTP sees it.
type End struct {
	Error    string // word for column error, see Cause; empty where the answer is whole
	Gap      bool   // see Settle
	CodeName string // name of ResetCode, where there is one
	Enough   bool   // the server wanted no more of a request that it has answered
}

// Settle ends the bodies; it reports whether bytes of the stream are missing or may be.
// Where lengthEnds, a body of just the bytes that Content-Length announced is whole even
// if the end of the stream did not come.
func (s *Stream) Settle(lengthEnds bool) (gap bool) {
	req, resp := &s.Half[dissect.ToServer], &s.Half[dissect.ToClient]
	asked, answered := req.settle(lengthEnds), resp.settle(lengthEnds)
	gap = asked || answered
	return resp.holey() || req.holey() || gap
}

// settle ends the body; it reports whether frames between frames may be missing that the
// content length does not account for.
func (q *Half) settle(lengthEnds bool) bool {
	if q.Suspect && q.Head && (q.End || lengthEnds) && q.length.OK && q.length.V == q.size() {
		q.Suspect, q.End = false, true // nothing but the end of the stream, or trailers, can be missing
	}
	if q.Suspect {
		q.count.Missing(-1)
	}
	if q.Body != nil {
		q.Body.Complete = q.End && !q.Suspect && !q.Hole && q.Body.Lost() == 0
	}
	return q.Suspect
}

// size is how long the body is, with what is known to be missing.
func (q *Half) size() int64 {
	if q.Body == nil {
		return 0
	}
	return q.Body.Size() + q.Body.Lost()
}

// holey reports whether bytes of this direction are known to be missing.
func (q *Half) holey() bool { return q.Hole || q.Body != nil && q.Body.Lost() > 0 }

// Cause returns the word for column error of a stream that ended for cause, which is
// empty where it ended by itself. A gap explains more than what it led to, and an answer
// that is whole is no error, whatever became of the request.
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
	case resp.End:
		return ""
	case !req.Head && cause == "no_response":
		return "no_request"
	}
	return cause
}

// Row fills a version's own row: all that Stream knows, failed and summary among it.
func (s *Stream) Row(c *table.Call, e *End) {
	s.call(c, e)
	c.Outcome = s.outcome(e)
	c.Summary = s.summary(e)
}

// outcome is what the answer says, and how a stream ended that other streams outlive.
func (s *Stream) outcome(e *End) string {
	const refusedStream, h3Rejected = 0x7, 0x10b // RFC 9113 section 7, RFC 9114 section 8.1
	code := s.ResetCode
	switch {
	case e.Error == "reset" && s.Status == 0 && code.OK && (code.V == refusedStream || code.V == h3Rejected):
		return table.Refused
	case s.Status >= 400:
		return table.HTTPOutcome(int32(s.Status))
	case s.Broken, s.Status == 0 && e.Error == "" && !s.unsure(e):
		return table.NoAnswer
	}
	return ""
}

// GRPCRow returns the row of a gRPC stream, nil where it is none.
func (s *Stream) GRPCRow(c *dissect.Conn, e *End) *grpc.Row {
	guessed := s.guessed()
	if !s.GRPC && !guessed {
		return nil
	}
	req, resp := &s.Half[dissect.ToServer], &s.Half[dissect.ToClient]
	row := &grpc.Row{Guessed: guessed}
	s.call(&row.Call, e)
	row.Authority, row.UnknownHeaders = Some(s.Authority), s.Unknown
	row.ResetCode, row.ResetName, row.ResetBy = s.ResetColumns(e)
	if row.Complete && (!req.count.Whole() || !resp.count.Whole()) {
		c.AnomalyFrom("grpc", "message_cut", "stream "+strconv.FormatInt(s.ID, 10)+" ends inside a message", 0)
	}
	row.Fill(&grpc.Stream{Req: req.count, Resp: resp.count, ReqBody: req.Body, RespBody: resp.Body, Unsure: s.unsure(e)})
	return row
}

// unsure reports whether the status may stand in what was not understood.
func (s *Stream) unsure(e *End) bool { return e.Gap || s.Malformed || s.Unknown > 0 }

// guessed reports whether a stream without a known content type is gRPC by the shape of
// its bodies.
func (s *Stream) guessed() bool {
	req, resp := &s.Half[dissect.ToServer], &s.Half[dissect.ToClient]
	return !s.GRPC && s.Unknown > 0 && req.size()+resp.size() > 0 && req.mayBeGRPC() && resp.mayBeGRPC()
}

// mayBeGRPC reports whether a direction whose content type is not known holds messages of
// gRPC or nothing; the messages are then counted.
func (q *Half) mayBeGRPC() bool {
	if q.ctype != "" || q.coding != "" || q.Suspect || q.holey() {
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
	c.Error = Some(e.Error)
	c.Complete = e.Error == "" && !s.Dropped && resp.End && (req.End || e.Enough)
	c.Headers = s.Headers
	c.Method = Some(s.Method)
	if s.HasPath {
		c.Path = table.Some(s.Path)
	}
	c.Query = s.Query
	switch {
	case s.Authority != "":
		c.Host = Some(httpfield.HostOf(s.Authority))
	case s.Host != "":
		c.Host = Some(httpfield.HostOf(s.Host))
	}
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

// ResetColumns returns the error code that ended the stream, its name, and which side
// sent it; by is null where no side gave up this stream but its connection ended.
func (s *Stream) ResetColumns(e *End) (code table.Opt[int64], name, by table.Opt[string]) {
	if s.ResetCode.OK {
		code, name = s.ResetCode, table.Some(e.CodeName)
	}
	switch {
	case !s.Reset:
	case s.ResetBy == dissect.ToServer:
		by = table.Some("client")
	default:
		by = table.Some("server")
	}
	return code, name, by
}

func (s *Stream) summary(e *End) string {
	var b strings.Builder
	b.Grow(len(s.Method) + min(len(s.Path), maxSummaryPath) + 16)
	b.WriteString(or(s.Method, "?"))
	b.WriteByte(' ')
	what := s.Path
	if !s.HasPath {
		what = or(s.Authority, "?")
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

// Some is s as a column that is null where s is empty.
func Some(s string) (o table.Opt[string]) {
	if s != "" {
		o = table.Some(s)
	}
	return o
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
