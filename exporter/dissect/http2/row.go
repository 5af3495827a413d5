package http2

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
	h.noteLosses(s)
	h.c.Unaffected(&s.X, dissect.ToServer, dissect.ToClient) // noteLosses knows what of it may be lost
	s.EndTunnel(h.c, cause)
	e := httpstream.End{Gap: s.Settle(false)}
	e.Error = s.Cause(cause, e.Gap)
	if s.ResetCode.OK {
		e.CodeName = errorName(uint32(s.ResetCode.V))
		e.Enough = s.Reset && s.ResetCode.V == 0 // RFC 9113 section 8.1: an answer before the end of the request
	}
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
	row.Interim = table.NonEmpty(s.Interim)
	if row.Pushed = s.Pushed; s.Pushed {
		row.PushedOn = table.Some(int64(s.pushedOn))
	}
	row.Upgraded, row.UnknownHeaders = s.upgraded, s.Unknown
	row.ErrorCode, row.ErrorName, row.ResetBy = s.ResetColumns(&e)
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
