package http3

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

// emit makes the row of a stream and forgets the stream. cause is why it ended before
// its time, or empty.
func (h *conn) emit(s *stream, cause string) {
	if !s.x.HasRequest() && !s.x.HasResponse() { // known by a priority, a reset or a hole alone
		h.forget(s)
		return
	}
	req, resp := &s.half[dissect.ToServer], &s.half[dissect.ToClient]
	if resp.end && !resp.head && resp.data {
		s.malformed = true // a body without a head
	}
	gap := req.settle() || resp.settle()
	gap = resp.holey() || req.holey() || gap
	unsure := gap || s.malformed || s.unknown > 0
	guessed := !s.grpc && s.unknown > 0 && req.size()+resp.size() > 0 && req.mayBeGRPC() && resp.mayBeGRPC()
	if s.grpc || guessed {
		row := &grpc.Row{Guessed: guessed}
		h.call(s, &row.Call, cause, gap)
		row.Authority, row.UnknownHeaders = some(s.authority), s.unknown
		row.ResetCode, row.ResetName, row.ResetBy = s.resetColumns()
		if row.Complete && (!req.count.Whole() || !resp.count.Whole()) {
			h.c.AnomalyFrom("grpc", "message_cut", "stream "+strconv.FormatInt(s.id, 10)+" ends inside a message", 0)
		}
		row.Fill(&grpc.Stream{Req: req.count, Resp: resp.count, ReqBody: req.body, RespBody: resp.body, Unsure: unsure})
		h.c.Emit(&s.x, row)
		h.forget(s)
		return
	}
	row := &Row{}
	h.call(s, &row.Call, cause, gap)
	row.Scheme, row.Authority, row.Tunnel = some(s.scheme), some(s.authority), some(s.tunnel)
	row.Interim, row.Priority = some(s.interim), some(s.priority)
	if row.Pushed = s.pushed; s.pushed {
		row.PushedOn, row.PushID = s.pushedOn, table.Some(s.push)
	}
	row.UnknownHeaders = s.unknown
	row.ErrorCode, row.ErrorName, row.ResetBy = s.resetColumns()
	s.extra.fill(row)
	row.Failed = s.status >= 400 || s.broken || row.Error.V == "reset" || s.status == 0 && !unsure
	row.Summary = s.summary(row)
	h.c.Emit(&s.x, row)
	h.forget(s)
}

// settle ends the body; it reports whether frames between frames may be missing that the
// content length does not account for.
func (q *half) settle() bool {
	if q.suspect && q.head && q.length.OK && q.length.V == q.size() {
		q.suspect, q.end = false, true // nothing but the end of the stream, or trailers, can be missing
	}
	if q.suspect {
		q.count.Missing(-1)
	}
	if q.body != nil {
		q.body.Complete = q.end && !q.suspect && !q.hole && q.body.Lost() == 0
	}
	return q.suspect
}

// mayBeGRPC reports whether a direction whose content type is not known holds messages of
// gRPC or nothing; the messages are then counted.
func (q *half) mayBeGRPC() bool {
	if q.ctype != "" || q.coding != "" || q.suspect || q.holey() {
		return false
	}
	if q.size() == 0 {
		return true
	}
	if !grpc.Shaped(q.body.Kept()) {
		return false
	}
	q.count = grpc.Counter{}
	q.count.Write(q.body.Kept())
	return true
}

// size is how long the body is, with what is known to be missing.
func (q *half) size() int64 {
	if q.body == nil {
		return 0
	}
	return q.body.Size() + q.body.Lost()
}

// holey reports whether bytes of this direction are known to be missing.
func (q *half) holey() bool { return q.hole || q.body != nil && q.body.Lost() > 0 }

// call sets the columns that http3 and grpc share.
func (h *conn) call(s *stream, c *table.Call, cause string, gap bool) {
	req, resp := &s.half[dissect.ToServer], &s.half[dissect.ToClient]
	switch {
	case cause == "reset":
	case s.malformed:
		cause = "malformed"
	case gap:
		cause = "gap"
	case resp.end && !req.head:
		cause = "no_request"
	case resp.end && !resp.head:
		cause = "no_response" // a stream that was ended without any
	case resp.end:
		cause = "" // the answer is whole; the request may go on or not
	case !req.head && cause == "no_response":
		cause = "no_request"
	}
	c.Error = some(cause)
	stopped := s.reset && s.resetCode.OK && s.resetCode.V == noError // RFC 9114 section 4.1: an answer before the request's end
	c.Complete = cause == "" && resp.end && (req.end || stopped)
	c.Headers = s.headers
	c.Method = some(s.method)
	if s.hasPath {
		c.Path = table.Some(s.path)
	}
	c.Query = s.query
	if s.authority != "" {
		c.Host = some(httpfield.HostOf(s.authority))
	}
	if s.status != 0 {
		c.StatusCode = table.Some(s.status)
	}
	if req.wire > 0 {
		c.RequestHeadersSize = table.Some(req.wire)
	}
	if resp.wire > 0 {
		c.ResponseHeadersSize = table.Some(resp.wire)
	}
	httpfield.Fill(c, s.headers)
}

func (s *stream) resetColumns() (code table.Opt[int64], name, by table.Opt[string]) {
	if s.resetCode.OK {
		code, name = s.resetCode, table.Some(errorName(s.resetCode.V))
	}
	if !s.reset { // the connection was closed
		return code, name, by
	}
	if s.resetBy == dissect.ToServer {
		return code, name, table.Some("client")
	}
	return code, name, table.Some("server")
}

func (s *stream) summary(r *Row) string {
	var b strings.Builder
	b.Grow(len(s.method) + min(len(s.path), maxSummaryPath) + 16)
	b.WriteString(or(s.method, "?"))
	b.WriteByte(' ')
	what := s.path
	if !s.hasPath {
		what = or(s.authority, "?")
	}
	if len(what) > maxSummaryPath {
		what = strings.ToValidUTF8(what[:maxSummaryPath], "") + "…"
	}
	b.WriteString(what)
	b.WriteString(" → ")
	if s.status != 0 {
		b.WriteString(strconv.Itoa(int(s.status)))
	}
	if r.Error.OK {
		if s.status != 0 {
			b.WriteString(", ")
		}
		b.WriteString(strings.ReplaceAll(r.Error.V, "_", " "))
		if r.ErrorName.OK && r.Error.V == "reset" {
			b.WriteByte(' ')
			b.WriteString(r.ErrorName.V)
		}
	}
	return b.String()
}

func some(s string) (o table.Opt[string]) {
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
