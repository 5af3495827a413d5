// Package all lists the protocols inside HTTP exchanges and WebSocket messages. A new one is one
// folder next to this one, one embedded struct and one line here.
package all

import (
	"sync"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/clickhouse"
	"github.com/pcapsule/pcapsule/exporter/dissect/content"
	"github.com/pcapsule/pcapsule/exporter/dissect/content/connect"
	"github.com/pcapsule/pcapsule/exporter/dissect/content/elasticsearch"
	"github.com/pcapsule/pcapsule/exporter/dissect/content/graphql"
	"github.com/pcapsule/pcapsule/exporter/dissect/content/jsonrpc"
	"github.com/pcapsule/pcapsule/exporter/dissect/content/k8sapi"
	"github.com/pcapsule/pcapsule/exporter/dissect/content/mcp"
	"github.com/pcapsule/pcapsule/exporter/dissect/content/s3"
	"github.com/pcapsule/pcapsule/exporter/dissect/content/soap"
	"github.com/pcapsule/pcapsule/exporter/dissect/content/socketio"
	"github.com/pcapsule/pcapsule/exporter/dissect/content/sse"
	"github.com/pcapsule/pcapsule/exporter/dissect/grpc"
	"github.com/pcapsule/pcapsule/exporter/dissect/thrift"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Columns are the columns from the content of an exchange. A row embeds a pointer to them, because
// few rows have any.
type Columns struct {
	sse.Stream
	graphql.Operation
	jsonrpc.Exchange
	mcp.Use
	connect.Procedure
	s3.Access
	k8sapi.Request
	elasticsearch.Action
	soap.Envelope
	socketio.Packet
	clickhouse.Statement
	thrift.Invocation
}

// Protocols describes each of them.
func Protocols() []content.Protocol {
	return []content.Protocol{sse.Protocol, graphql.Protocol, jsonrpc.Protocol, mcp.Protocol, connect.Protocol, s3.Protocol, k8sapi.Protocol, elasticsearch.Protocol, soap.Protocol, socketio.Protocol, clickhouse.HTTP, thrift.HTTP, grpc.Etcd}
}

// readers are tried in this order until one accepts the exchange.
var readers = [...]content.Reader[Columns]{
	func(x *content.Exchange, c *Columns) bool {
		rpc := !x.Excludes("jsonrpc") && jsonrpc.Read(x, &c.Exchange)
		return mcp.Read(x, &c.Use) || rpc
	},
	func(x *content.Exchange, c *Columns) bool { return graphql.Read(x, &c.Operation) },
	func(x *content.Exchange, c *Columns) bool { return connect.Read(x, &c.Procedure) },
	func(x *content.Exchange, c *Columns) bool { return s3.Read(x, &c.Access) },
	func(x *content.Exchange, c *Columns) bool { return k8sapi.Read(x, &c.Request) },
	func(x *content.Exchange, c *Columns) bool { return elasticsearch.Read(x, &c.Action) },
	func(x *content.Exchange, c *Columns) bool { return soap.Read(x, &c.Envelope) },
	func(x *content.Exchange, c *Columns) bool { return socketio.Read(x, &c.Packet) },
	func(x *content.Exchange, c *Columns) bool {
		return !x.Excludes("clickhouse") && clickhouse.ReadHTTP(x, &c.Statement)
	},
	func(x *content.Exchange, c *Columns) bool {
		return !x.Excludes("thrift") && thrift.ReadHTTP(x, &c.Invocation)
	},
}

// unused are Columns of exchanges with no meaning, for the next ones.
var unused = sync.Pool{New: func() any { return &Columns{} }}

// Read reads the content of an exchange whose row is about to be emitted: its columns, except for
// those that the engine fills, are set. It changes Outcome, StatusText, Summary and Endpoint of the
// call if the content has more information than the carrier. The result is nil if it has none.
func Read(x content.Exchange) *Columns {
	c := unused.Get().(*Columns)
	found := !x.Socket && sse.Read(&x, &c.Stream)
	x.Answered = found && x.Left && x.Method.V == "GET" // only its reader ends a stream of events without an end
	for _, read := range readers {
		if read(&x, c) {
			x.Settle()
			return c
		}
	}
	if found {
		x.Settle()
		return c
	}
	unused.Put(c)
	return nil
}

// OfHTTP is Read for a request with its response on conn.
func OfHTTP(conn *dissect.Conn, c *table.Call, x *dissect.Exchange) *Columns {
	e := content.NewExchange(c, body(x.ReqBody), body(x.RespBody))
	e.Excluded = conn.Excludes
	e.Left = x.Left
	return Read(e)
}

// body is a body whose decoding waits until a reader needs it.
func body(b *dissect.Body) content.Body {
	if b == nil {
		return content.Body{}
	}
	return content.Body{Size: b.Size(), Lost: b.Lost() > 0 || b.Over(), Part: !b.Complete, Get: func() []byte {
		b.Finish()
		return b.Bytes()
	}}
}

// OpeningOf reads a handshake: the sub-protocol that the server chose, and the query of the request.
func OpeningOf(subprotocol, query string) content.Opening {
	o := content.Opening{Subprotocol: subprotocol}
	o.Engine, o.Continues = socketio.OpeningOf(query)
	return o
}

// OpeningBy reads the first message of a server, if the handshake was not captured or shows nothing.
func OpeningBy(message []byte) content.Opening {
	return content.Opening{Engine: socketio.OpenedBy(message)}
}

// PairingOf returns how the messages of a WebSocket are combined into calls.
func PairingOf(o content.Opening) content.Pairing {
	switch {
	case o.Subprotocol == graphql.TransportWS, o.Subprotocol == graphql.GraphQLWS:
		return graphql.Pair
	case o.Engine != 0:
		return socketio.Pairing(o.Engine, o.Continues)
	}
	return jsonrpc.Pair
}

// OfSocket is Read for a WebSocket message with its answers, of which some may be lost.
func OfSocket(c *table.Call, x *dissect.Exchange, o content.Opening, lost bool) *Columns {
	e := content.NewExchange(c, body(x.ReqBody), body(x.RespBody))
	e.Socket, e.Opening = true, o
	e.Response.Lost = e.Response.Lost || lost
	return Read(e)
}
