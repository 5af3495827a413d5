package http3

import (
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/content/all"
	"github.com/pcapsule/pcapsule/exporter/dissect/dns"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpfile"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpstream"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// emit emits the row of a stream and removes the stream. cause is the reason for a premature
// end, or empty.
func (h *conn) emit(s *stream, cause string) {
	if !s.X.HasRequest() && !s.X.HasResponse() { // only a priority, a reset or a gap showed it
		h.forget(s)
		return
	}
	s.EndTunnel(h.c, cause)
	e := s.ending(cause)
	s.CheckLength(h.c, &e)
	s.Leave(h.c, &e)
	if row := s.GRPCRow(h.c, &e); row != nil {
		h.c.Emit(&s.X, row)
		h.forget(s)
		return
	}
	row := &Row{}
	s.Row(&row.Call, &e)
	row.Scheme, row.Authority, row.Tunnel = table.NonEmpty(s.Scheme), table.NonEmpty(s.Authority), table.NonEmpty(s.Tunnel)
	row.Interim, row.Priority = table.NonEmpty(s.Interim), table.NonEmpty(s.priority)
	if row.Pushed = s.Pushed; s.Pushed {
		row.PushedOn, row.PushID = s.pushedOn, table.Some(s.push)
	}
	row.UnknownHeaders = s.Unknown
	row.ErrorCode, row.ErrorName, row.ResetBy = s.ResetColumns(&e)
	s.extra.fill(row)
	inner := dns.OverHTTPS(h.c, &s.X, &row.Call)
	httpfile.Files(&row.Call, &s.X)
	row.Columns = all.OfHTTP(h.c, &row.Call, &s.X)
	s.Cancel(h.c, &row.Call, &e)
	h.c.Emit(&s.X, row)
	if inner != nil {
		inner()
	}
	h.forget(s)
}

// ending describes how a stream ended.
func (s *stream) ending(cause string) httpstream.End {
	resp := &s.Half[dissect.ToClient]
	if resp.End && !resp.Head && resp.Data {
		s.Malformed = true // a body without a head
	}
	e := httpstream.End{Gap: s.Settle(true)}
	if e.Error = s.Cause(cause, e.Gap); e.Error == "" && resp.End && !resp.Head {
		e.Error = "no_response" // the stream ended without a response
	}
	if s.ResetCode.OK {
		e.CodeName = errorName(s.ResetCode.V)
		e.Enough = s.Reset && s.ResetCode.V == noError // RFC 9114 section 4.1: an answer before the end of the request
	}
	return e
}
