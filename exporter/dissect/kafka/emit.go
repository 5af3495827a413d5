package kafka

import (
	_ "embed" // for names.txt
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpfield"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/names"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

//go:embed names.txt
var namesText string

// tables are the sections of names.txt.
var tables = names.Lazy(namesText)

// emit emits a call. why is the value of column error, empty if the call ended normally.
func (k *conn) emit(c *call, why string) {
	row := c.row
	asked, answered := c.x.HasRequest(), c.x.HasResponse()
	switch {
	case c.bad:
		why = "malformed"
	case c.gap && why == "":
		why = "gap"
	case !asked:
		why = "no_request"
	}
	row.Error = table.NonEmpty(why)
	row.Complete = why == "" && c.whole && (answered || c.acks0)
	row.StatusCode = row.ErrorCode
	if n := row.ErrorCode; n.OK && n.V != 0 {
		row.StatusText = table.Some(tables()["error"].Name(int64(n.V), "error_"))
		if row.Outcome = outcome(n.V); c.key == apiVersions && n.V == unsupportedVersion { // the client asks again
			row.Outcome = table.OK
		}
	}
	switch {
	case c.topic != "" && !c.topics:
		row.Path = table.Some(c.topic)
	case len(row.Topics) == 1:
		row.Path = table.Some(row.Topics[0])
	case len(row.Topics) == 0:
		row.Path = row.Group
	}
	row.trace()
	row.Summary = c.summary(why)
	k.Conn.Unaffected(&c.x, dissect.ToServer, dissect.ToClient)
	k.Conn.Emit(&c.x, row)
}

// came notes the topic of records in a response.
func (c *call) came(topic string) {
	c.topics = c.topics || c.topic != "" && c.topic != topic
	c.topic = topic
}

// outcome returns the outcome of an error code.
func outcome(code int32) string {
	t := tables()
	switch {
	case t["step"][int64(code)] != "":
		return table.OK
	case t["server"][int64(code)] != "":
		return table.ServerError
	}
	return table.ClientError
}

func (c *call) summary(why string) string {
	row := c.row
	if !c.x.HasRequest() {
		return "? → response without its request"
	}
	s := strings.TrimSpace(row.Method.V+" "+row.Request.V) + " → "
	switch {
	case row.StatusText.OK:
		s += row.StatusText.V
	case why != "":
		s += why
	case c.acks0:
		s += "no response requested"
	case c.key == apiProduce && len(row.Offsets) > 0:
		s += few(row.Offsets)
	case c.key == apiFetch:
		s += c.counted()
	default:
		s += "ok"
	}
	return s
}

// counted is the number of records, which is not all of them if the heads of some batches were not read.
func (c *call) counted() string {
	s := clip.Count(c.row.Records.V, "record", "records")
	if c.uncounted {
		return "at least " + s
	}
	return s
}

// trace takes the trace that the headers of records name, as those of HTTP do.
func (row *Row) trace() {
	headers := row.Headers
	for i := range headers {
		h := headers[i]
		h.Kind = httpfield.Request
		var c table.Call
		if httpfield.Fill(&c, []table.Header{h}); c.TraceID.OK && !row.TraceID.OK {
			row.TraceID, row.SpanID = c.TraceID, c.SpanID
		}
		if c.RequestID.OK && !row.RequestID.OK {
			row.RequestID = c.RequestID
		}
	}
}
