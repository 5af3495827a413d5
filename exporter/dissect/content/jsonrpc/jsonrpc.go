// Package jsonrpc reads JSON-RPC 2.0 over HTTP and WebSocket: requests, notifications, batches, and
// responses, also in an event stream. It never shows params or results.
package jsonrpc

import (
	"fmt"
	"strconv"

	"github.com/pcapsule/pcapsule/exporter/dissect/content"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Protocol describes it for readers.
var Protocol = content.Protocol{
	Name:     "jsonrpc",
	Doc:      "JSON-RPC calls",
	Versions: "2.0",
	Depth:    "method, id, errors, batches",
	Inside:   []string{"http", "ws"},
}

// Call is a JSON-RPC request with its response.
type Call struct {
	Method   table.Opt[string] `col:"jsonrpc_method" enc:"dict" doc:"method of the request, of a batch the first"`
	ID       table.Opt[string] `col:"jsonrpc_id" doc:"id of the request or, without one, of the response; null for a notification"`
	Batch    table.Opt[int32]  `col:"jsonrpc_batch" doc:"number of messages in a batch"`
	Code     table.Opt[int64]  `col:"jsonrpc_error_code" doc:"error.code of the response, of a batch the first"`
	Error    table.Opt[string] `col:"jsonrpc_error" doc:"error.message of the response, of a batch the first"`
	Errors   table.Opt[int32]  `col:"jsonrpc_errors" doc:"number of errors in the response; null if no response was read"`
	Messages table.Opt[int32]  `col:"jsonrpc_server_messages" doc:"requests and notifications that the server sent in the same answer (an event stream)"`
}

// Read implements content.Reader.
func Read(x *content.Exchange, c *Call) bool {
	asked := content.Asked(x)
	if len(asked) == 0 {
		return false
	}
	c.fill(x, asked)
	what := c.Method.V
	if what == "" {
		what = "response"
	}
	x.Name(what, x.EndpointOf()+" "+what)
	if c.Batch.OK && c.Batch.V > 1 {
		x.Add(fmt.Sprintf(", batch of %d", c.Batch.V))
	}
	c.result(x)
	return true
}

// fill sets the columns.
func (c *Call) fill(x *content.Exchange, asked []content.Message) {
	first := &asked[0]
	c.Method = content.Some(first.Method)
	if first.HasID {
		c.ID = table.Some(first.ID)
	}
	if content.Kind(x.Request.Bytes()) == '[' {
		c.Batch = table.Some(int32(len(asked)))
	}
	for i := range asked { // a response that is a message of its own
		c.answered(&asked[i])
	}
	if x.Socket || x.Response.JSON() || x.Response.Type == content.EventStream {
		open := map[string]bool{} // ids of requests without a response
		for i := range asked {
			if asked[i].HasID && asked[i].Method != "" {
				open[asked[i].ID] = true
			}
		}
		asks := len(open) > 0
		for v := range x.Answers() {
			for _, m := range content.Messages(v) {
				if m.Method != "" {
					c.Messages = table.Some(c.Messages.V + 1)
				} else {
					delete(open, m.ID)
				}
				c.answered(&m)
			}
		}
		x.Answered = asks && len(open) == 0
	}
}

// answered adds a response.
func (c *Call) answered(m *content.Message) {
	if m.Method != "" || m.Result == nil && m.Fail == nil {
		return
	}
	if c.Errors.OK = true; m.Fail == nil {
		return
	}
	if c.Errors.V++; c.Code.OK {
		return
	}
	code, _ := strconv.ParseInt(content.Scalar(content.Member(m.Fail, "code")), 10, 64)
	c.Code, c.Error = table.Some(code), content.Some(content.String(content.Member(m.Fail, "message")))
}

// result sets the outcome.
func (c *Call) result(x *content.Exchange) {
	x.Within = true
	if !c.Code.OK {
		return
	}
	code := strconv.FormatInt(c.Code.V, 10)
	x.Add(", error " + code)
	x.Fail(Outcome(c.Code.V), code)
}

// Outcome is the outcome of an error code, JSON-RPC 2.0 section 5.1: internal errors, and those
// that a server defines from -32099 to -32000, are the server's.
func Outcome(code int64) string {
	if code == -32603 || code >= -32099 && code <= -32000 {
		return table.ServerError
	}
	return table.ClientError
}

// Pair implements content.Pairing: a response is paired with the other side's request by id.
func Pair(toClient bool, message []byte) (p content.Pair) {
	if !content.MayBeRPC(message) {
		return p
	}
	list := content.Messages(message)
	if len(list) == 0 {
		return p
	}
	i := 0
	for i < len(list)-1 && !list[i].HasID { // a batch is known by its first id
		i++
	}
	m := &list[i]
	switch {
	case !m.HasID:
		return p
	case m.Method != "":
		p.Role = content.Opens
	default:
		p.Role, toClient = content.Ends, !toClient
	}
	p.Key = "c" + m.ID
	if toClient {
		p.Key = "s" + m.ID
	}
	return p
}
