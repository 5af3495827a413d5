package http2

import (
	"slices"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/grpc"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpstream"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Waiting implements dissect.Waiter.
func (h *conn) Waiting(show func(*dissect.Exchange, table.CallRow)) {
	e := httpstream.End{Error: "cut"}
	for s := h.list.Oldest(); s != nil; s = s.place.Next() {
		if !s.Half[dissect.ToServer].Head {
			continue
		}
		var row table.CallRow
		if s.GRPC {
			row = &grpc.Row{Authority: table.NonEmpty(s.Authority), UnknownHeaders: s.Unknown}
		} else {
			row = &Row{Scheme: table.NonEmpty(s.Scheme), Authority: table.NonEmpty(s.Authority), Tunnel: table.NonEmpty(s.Tunnel)}
		}
		b := row.Base()
		s.Row(b, &e)
		b.Headers = slices.Clone(b.Headers)
		show(&s.X, row)
	}
}
