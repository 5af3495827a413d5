package graphql

import (
	"strconv"

	"github.com/pcapsule/pcapsule/exporter/dissect/content"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Sub-protocols of WebSocket.
const (
	TransportWS = "graphql-transport-ws"
	GraphQLWS   = "graphql-ws" // of subscriptions-transport-ws
)

// Pair implements content.Pairing for both sub-protocols: a subscription is a call, with all its
// results.
func Pair(toClient bool, message []byte) (p content.Pair) {
	var typ, id string
	for name, v := range content.Members(message) {
		switch name {
		case "type":
			typ = content.String(v)
		case "id":
			id = clip.Text(content.Scalar(v), content.MaxText)
		}
	}
	switch typ {
	case "connection_init":
		p.Key, p.Role = "connection", content.Opens
	case "connection_ack", "connection_error":
		p.Key, p.Role = "connection", content.Ends
	case "subscribe", "start":
		p.Key, p.Role, p.Several = "s"+id, content.Opens, true
	case "next", "data":
		p.Key, p.Role, p.Late = "s"+id, content.Continues, true
	case "error", "complete", "stop":
		p.Key, p.Role = "s"+id, content.Ends
		p.FromEither, p.Late = true, true
	case "ping":
		p.Key, p.Role = pingKey(toClient), content.Opens
	case "pong":
		p.Key, p.Role = pingKey(!toClient), content.Ends
	}
	return p
}

func pingKey(toClient bool) string {
	if toClient {
		return "ping of the server"
	}
	return "ping of the client"
}

// readSocket reads a call of messages that Pair put together.
func readSocket(x *content.Exchange, o *Operation) bool {
	if x.Subprotocol != TransportWS && x.Subprotocol != GraphQLWS {
		return false
	}
	first := x.Request.Bytes()
	typ, payload := content.String(content.Member(first, "type")), content.Member(first, "payload")
	switch typ {
	case "subscribe", "start":
		r := fromObject(payload)
		if !r.valid() {
			r.op.kind = "unknown"
		}
		o.asked([]request{r})
		n := o.results(x)
		o.name(x, r.name(), "")
		if o.Events = (table.Opt[int64]{V: n, OK: !x.Response.Lost}); x.Response.Lost {
			x.Add(", events")
			o.result(x)
			return true
		}
		switch n {
		case 1:
			x.Add(", 1 event")
		default:
			x.Add(", " + strconv.FormatInt(n, 10) + " events")
		}
		o.result(x)
		return true
	case "connection_init", "connection_ack", "connection_error", "connection_terminate", "ka", "ping", "pong", "next", "data", "error", "complete", "stop":
		o.Type = table.Some("connection")
		x.Name(typ, x.EndpointOf()+" "+typ)
		for v := range content.Documents(x.Response.Bytes()) {
			if content.String(content.Member(v, "type")) == "connection_error" {
				o.failed(content.Member(v, "payload"))
				o.result(x)
			}
		}
		return true
	}
	return false
}

// results reads the messages of a subscription and counts the results.
func (o *Operation) results(x *content.Exchange) (n int64) {
	for v := range content.Documents(x.Response.Bytes()) {
		payload := content.Member(v, "payload")
		switch content.String(content.Member(v, "type")) {
		case "next", "data":
			n++
			o.answer(payload)
		case "error":
			o.failed(payload)
		case "complete":
			o.Errors.OK = true
		}
	}
	return n
}
