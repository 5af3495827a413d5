package http1

import (
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/grpc"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpfield"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// grpcRow makes the row of a gRPC-Web call from c, after its shared columns were set, or returns
// nil if c is another call. gRPC itself needs HTTP/2, so only gRPC-Web occurs over HTTP/1.1; its
// status is in trailers inside the body.
func (k *conn) grpcRow(c *call) *grpc.Row {
	h := &c.row.Call
	if !grpc.Is(h.RequestContentType.V) && !grpc.Is(h.ResponseContentType.V) || !k.c.Registered(&grpc.Row{}) {
		return nil
	}
	row := &grpc.Row{Call: *h}
	for i := range h.Headers {
		if f := &h.Headers[i]; f.Kind == httpfield.Request && httpfield.Lookup(f.Name) == httpfield.Host && !row.Authority.OK {
			row.Authority = table.Some(f.Value)
		}
	}
	s := grpc.Stream{Req: counted(c.x.ReqBody), Resp: counted(c.x.RespBody), X: &c.x, Unsure: c.gap || c.malformed}
	cut := !s.Req.Whole() && grpc.Prefixed(h.RequestContentType.V) || !s.Resp.Whole() && grpc.Prefixed(h.ResponseContentType.V)
	if row.Complete && cut {
		k.c.AnomalyFrom("grpc", "message_cut", "the call ends inside a message", 0)
	}
	row.Fill(&s)
	return row
}

// counted counts the messages of a body.
func counted(b *dissect.Body) (n grpc.Counter) {
	if b == nil {
		return n
	}
	b.Finish()
	n.Write(b.Bytes())
	if b.Lost() > 0 || b.Large {
		n.Missing(-1)
	}
	return n
}
