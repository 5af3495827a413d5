// Package content defines how the content of an exchange is read: a GraphQL query in a POST, an
// event stream in its answer, a tool call in JSON-RPC in a WebSocket message.
//
// The protocol that carries an exchange (http1, http2, http3, ws) makes the row, and package
// content/all interprets its content as more columns of the same row. So a call is one row, however
// its protocols are nested. An interpretation is a folder next to this file, and a line in
// content/all. It sees only a limited beginning of the decoded bytes that the exporter keeps
// anyway. docs/design/026-content.md has the reasons.
package content

import (
	"strings"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Limits of the input and output of an interpretation.
const (
	MaxRequest  = 1 << 20 // bytes of a request
	MaxResponse = 4 << 20 // bytes of a response: errors may be at its end
	MaxText     = 256     // bytes of a text column, unless its reader says otherwise
	MaxList     = 32      // items of a list
)

// Exchange is a finished request with its response. The columns of Call are set, except for those
// that the engine fills when the call is emitted.
type Exchange struct {
	*table.Call
	Request, Response Body
	Socket            bool // it consists of messages of a WebSocket
	Opening                // of the WebSocket
	Within            bool // its errors are in the content, whatever the carrier's status
	Left              bool // the caller ended it while the response went on
	Answered          bool // the content has the whole answer, however its carrier ended

	Excluded func(protocol string) bool // protocols to skip; nil skips none
}

// Excludes reports whether a protocol must be skipped.
func (x *Exchange) Excludes(protocol string) bool { return x.Excluded != nil && x.Excluded(protocol) }

// Opening is what the handshake of a WebSocket shows about its messages.
type Opening struct {
	Subprotocol string // that the server chose
	Engine      int    // version of Engine.IO in the query; 0 if there is none
	Continues   bool   // the session of Engine.IO began with long polling
}

// Protocol describes a protocol inside exchanges for readers.
type Protocol struct {
	Name     string   // the folder's name, its word of KFL, and the beginning of its columns
	Doc      string   // what it is
	Versions string   // the versions that are read
	Depth    string   // what is read
	Inside   []string // what carries it: http for HTTP/1 to HTTP/3, ws for messages of a WebSocket
}

// Reader reads the content of an exchange. It returns
//   - true:  the exchange belongs to the protocol. Its columns are set; Outcome and StatusText are
//     too, with Fail, if the content reports an error, and Summary and Endpoint with Name
//   - false: it does not, and nothing was changed
//
// A wrong guess is worse than none: a Reader must check more than one word. Errors, lists and
// texts have limits, and no column has credentials.
type Reader[C any] func(x *Exchange, columns *C) bool

// Body is the decoded content of one direction. The zero value is an empty one.
type Body struct {
	Type string        // Content-Type in lower case, without parameters
	Size int64         // bytes before content decoding
	Get  func() []byte // decoded bytes; nil if they were not kept
	Lost bool          // bytes are missing, or were not kept
	Part bool          // its end is missing

	limit int
	text  []byte
	read  bool
}

// NewExchange makes an exchange of a call.
func NewExchange(c *table.Call, request, response Body) Exchange {
	request.limit, response.limit = MaxRequest, MaxResponse
	request.Type, response.Type = MediaType(c.RequestContentType.V), MediaType(c.ResponseContentType.V)
	return Exchange{Call: c, Request: request, Response: response}
}

// Bytes is the beginning of the body.
func (b *Body) Bytes() []byte {
	if !b.read && b.Get != nil {
		b.text = b.Get()
		if len(b.text) > b.limit {
			b.text, b.Lost = b.text[:b.limit], true
		}
	}
	b.read = true
	return b.text
}

// JSON reports whether the body is JSON by its type: application/json, or a type that ends with
// +json.
func (b *Body) JSON() bool { return b.Type == "application/json" || strings.HasSuffix(b.Type, "+json") }

// MediaType is a Content-Type in lower case without parameters.
func MediaType(s string) string {
	if i := strings.IndexByte(s, ';'); i >= 0 {
		s = s[:i]
	}
	return strings.ToLower(strings.TrimSpace(s))
}

// Header is the first value of a header of one kind (request, response), or "".
func (x *Exchange) Header(kind, name string) string {
	for i := range x.Headers {
		if h := &x.Headers[i]; h.Kind == kind && len(h.Name) == len(name) && strings.EqualFold(h.Name, name) {
			return h.Value
		}
	}
	return ""
}

// Fail records an error that the content reports. The carrier's own error, such as a status of
// 500, stays: the content explains it. text is the protocol's own word for the error.
func (x *Exchange) Fail(outcome, text string) {
	if x.Outcome != "" {
		return
	}
	x.Outcome = outcome
	if text != "" {
		x.StatusText = table.Some(clip.Text(text, MaxText))
	}
}

// Settle sets the outcome of an exchange whose carrier ended early, after the whole answer: a client may close a
// stream of events as soon as it has what it asked for. An error may be in the content that was lost.
func (x *Exchange) Settle() {
	switch {
	case x.Outcome != "" || !x.Error.OK:
	case x.Answered:
		x.Outcome = table.OK
	case x.Within && x.Error.V == "gap" && x.Response.Part:
		x.Outcome = table.Unread
	}
}

// Name sets the operation. what replaces the request in the summary. endpoint is the operation
// without the parts that differ between calls.
func (x *Exchange) Name(what, endpoint string) {
	const arrow = " → "
	end := ""
	if i := strings.LastIndex(x.Summary, arrow); i >= 0 {
		end = x.Summary[i:]
	}
	x.Summary, x.Endpoint = clip.Text(what, MaxText)+end, clip.Text(endpoint, MaxText)
}

// Add adds to the summary.
func (x *Exchange) Add(s string) { x.Summary += clip.Text(s, MaxText) }

// Some is Text as an optional column, absent if s is empty.
func Some(s string) table.Opt[string] { return table.NonEmpty(clip.Text(s, MaxText)) }
