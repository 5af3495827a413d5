package httpfield

import "github.com/pcapsule/pcapsule/exporter/table"

// Trace sets the trace id and the request id from the headers of a message, as for HTTP. It does
// not overwrite fields that are set.
func Trace(c *table.Call, headers []table.Header) {
	if len(headers) == 0 {
		return
	}
	list := make([]table.Header, len(headers))
	for i, h := range headers {
		h.Kind = Request
		list[i] = h
	}
	var t table.Call
	Fill(&t, list)
	if t.TraceID.OK && !c.TraceID.OK {
		c.TraceID, c.SpanID = t.TraceID, t.SpanID
	}
	if t.RequestID.OK && !c.RequestID.OK {
		c.RequestID = t.RequestID
	}
}
