// Package jsonrpc reads JSON-RPC 2.0 in bodies of HTTP, in messages of WebSocket and in the texts of a connection of its own.
package jsonrpc

import (
	"fmt"
	"strconv"

	"github.com/pcapsule/pcapsule/exporter/dissect/content"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Protocol describes calls over HTTP and WebSocket for readers.
var Protocol = content.Protocol{
	Name:     "jsonrpc",
	Doc:      "JSON-RPC calls",
	Versions: "2.0",
	Depth:    "method, id, errors, batches",
	Inside:   []string{"http", "ws"},
}

// Exchange is a JSON-RPC request with its response.
type Exchange struct {
	Method   table.Opt[string] `col:"jsonrpc_method" enc:"dict" doc:"method of the request, of a batch the first"`
	ID       table.Opt[string] `col:"jsonrpc_id" doc:"id of the request or, without one, of the response; null for a notification"`
	Batch    table.Opt[int32]  `col:"jsonrpc_batch" doc:"number of messages in a batch"`
	Code     table.Opt[int64]  `col:"jsonrpc_error_code" doc:"error.code of the response, of a batch the first"`
	Error    table.Opt[string] `col:"jsonrpc_error" doc:"error.message of the response, of a batch the first"`
	Errors   table.Opt[int32]  `col:"jsonrpc_errors" doc:"number of errors in the response; null if no response was read"`
	Messages table.Opt[int32]  `col:"jsonrpc_server_messages" doc:"requests and notifications that the server sent in the same answer (an event stream)"`
}

// Read implements content.Reader.
func Read(x *content.Exchange, c *Exchange) bool {
	asked := content.Asked(x)
	if len(asked) == 0 {
		return false
	}
	c.Fill(x, asked, content.Messages)
	what := c.Method.V
	if what == "" {
		what = "response"
	}
	x.Name(what, x.EndpointOf()+" "+what)
	c.result(x)
	return true
}

// Fill sets the columns. read reads the messages of a response.
func (c *Exchange) Fill(x *content.Exchange, asked []content.Message, read func([]byte) []content.Message) {
	if len(asked) > 0 {
		c.begin(&asked[0])
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
			for _, m := range read(v) {
				if len(asked) == 0 && !c.ID.OK {
					c.begin(&m)
				}
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

// begin sets the columns of the first message.
func (c *Exchange) begin(m *content.Message) {
	if c.Method = content.Some(m.Method); m.HasID {
		c.ID = table.Some(m.ID)
	}
}

// answered adds a response.
func (c *Exchange) answered(m *content.Message) {
	if m.Method != "" || m.Result == nil && m.Fail == nil {
		return
	}
	if c.Errors.OK = true; m.Fail == nil {
		return
	}
	if c.Errors.V++; c.Errors.V > 1 {
		return
	}
	code, text := reason(m)
	if n, err := strconv.ParseInt(content.Scalar(code), 10, 64); err == nil || !m.Old {
		c.Code = table.Some(n)
	}
	c.Error = content.Some(content.String(text))
}

// reason is the code and the text of an error. Version 1.0 does not define its form: it is that of 2.0, a list of both
// (mining), or a text (Go).
func reason(m *content.Message) (code, text []byte) {
	if content.Kind(m.Fail) != '[' {
		if code, text = content.Member(m.Fail, "code"), content.Member(m.Fail, "message"); content.Kind(m.Fail) == '"' {
			text = m.Fail
		}
		return code, text
	}
	for v := range content.Elements(m.Fail) {
		if code == nil {
			code = v
		} else if text == nil {
			text = v
		}
	}
	return code, text
}

// result sets the outcome, and adds to the summary.
func (c *Exchange) result(x *content.Exchange) {
	x.Within = true
	x.Add(c.Size())
	if word := c.Failure(); word != "" {
		x.Add(", error " + word)
		x.Fail(Outcome(c.Code.V), word)
	}
}

// Size is the size of a batch, for the summary.
func (c *Exchange) Size() string {
	if c.Batch.V < 2 {
		return ""
	}
	return fmt.Sprintf(", batch of %d", c.Batch.V)
}

// Failure is the code of the error, or its text without one. It is empty if there is no error.
func (c *Exchange) Failure() string {
	switch {
	case c.Errors.V == 0:
		return ""
	case c.Code.OK:
		return strconv.FormatInt(c.Code.V, 10)
	case c.Error.OK:
		return c.Error.V
	}
	return "unknown"
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
	m := Paired(content.Messages(message))
	switch {
	case m == nil:
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

// Paired is the message by which requests and responses are paired, nil if there is none: of a batch that with the
// smallest id, because its responses may come in any order (section 6).
func Paired(list []content.Message) (m *content.Message) {
	for i := range list {
		if each := &list[i]; each.HasID && (m == nil || each.ID < m.ID) {
			m = each
		}
	}
	return m
}
