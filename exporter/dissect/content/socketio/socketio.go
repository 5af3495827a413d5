// Package socketio reads Socket.IO over WebSocket and long polling: events with their
// acknowledgements, connections to namespaces, and the packets of Engine.IO that carry them. It
// never shows the arguments of an event.
package socketio

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect/content"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Protocol describes it for readers.
var Protocol = content.Protocol{
	Name:     "socketio",
	Doc:      "Socket.IO: events and their acknowledgements",
	Versions: "Engine.IO 3 and 4, with Socket.IO 4 and 5",
	Depth:    "events, acknowledgements, namespaces, refused connections",
	Inside:   []string{"http", "ws"},
}

// Packet is a packet of Socket.IO with its answer, or the packets of a request or response of long
// polling.
type Packet struct {
	Kind      table.Opt[string] `col:"socketio_packet" enc:"dict" doc:"kind of the packet: connect, disconnect, event, ack, connect_error, binary_event, binary_ack; of Engine.IO open, close, ping, pong, message, upgrade, noop, attachment, or error if it rejected a request. Of several, the first one of Socket.IO. Not null in every Socket.IO call"`
	Event     table.Opt[string] `col:"socketio_event" enc:"dict" doc:"name of the event, of several the first"`
	Events    []string          `col:"socketio_events" doc:"names of the events in a request or response of long polling, at most 32"`
	Namespace table.Opt[string] `col:"socketio_namespace" enc:"dict" doc:"namespace of the packet, of several that of socketio_packet; / is the default"`
	Ack       table.Opt[int64]  `col:"socketio_ack_id" doc:"id with which an event requests an acknowledgement, or of an acknowledgement that is a call of its own"`
	Packets   table.Opt[int64]  `col:"socketio_packets" doc:"number of packets in a request or response of long polling"`
	Error     table.Opt[string] `col:"socketio_error" doc:"message of a refused connection or a rejected request"`
}

// OpeningOf reads the query of a handshake: the version of Engine.IO, or 0, and whether the session
// began with long polling.
func OpeningOf(query string) (version int, continues bool) {
	if !strings.Contains(query, "EIO=") {
		return 0, false
	}
	v, _ := url.ParseQuery(query) // what can be read
	switch v.Get("EIO") {
	case "3":
		version = 3
	case "4":
		version = 4
	}
	if t := v.Get("transport"); t != "websocket" && t != "polling" {
		version = 0
	}
	return version, v.Get("sid") != ""
}

// OpenedBy is the version of Engine.IO if a message is an open packet, else 0. The server sends it first, unless the
// session began with long polling.
func OpenedBy(message []byte) (version int) {
	if p, ok := parse(message); !ok || p.engine != open || content.Kind(p.data) != '{' {
		return 0
	}
	session, interval := "", ""
	version = 3
	for name, v := range content.Members(message[1:]) {
		switch name {
		case "sid":
			session = content.String(v)
		case "pingInterval":
			interval = content.Scalar(v)
		case "maxPayload": // since version 4
			version = 4
		}
	}
	if session == "" || interval == "" {
		return 0
	}
	return version
}

// Read implements content.Reader.
func Read(x *content.Exchange, c *Packet) bool {
	if x.Socket {
		p, ok := parse(x.Request.Bytes())
		if x.Engine == 0 || !ok {
			return false
		}
		c.add(&p)
		if a, ok := parse(x.Response.Bytes()); ok && a.socket == connectError {
			c.refused(&a)
		}
		c.name(x)
		c.result(x)
		return true
	}
	return c.polling(x)
}

// polling reads a request of long polling: the packets of a client in a POST, or those of the
// server in the response to a GET.
func (c *Packet) polling(x *content.Exchange) bool {
	if x.Method.V != "GET" && x.Method.V != "POST" {
		return false
	}
	version, _ := OpeningOf(x.Query.V)
	if version == 0 {
		return false
	}
	body, lost := x.Request.Bytes(), x.Request.Lost
	switch {
	case x.StatusCode.V >= 400 && x.Response.JSON():
		if c.Error = content.Some(content.String(content.Member(x.Response.Bytes(), "message"))); !c.Error.OK {
			return false
		}
		c.Kind = table.Some("error")
		x.Name("Engine.IO request", x.EndpointOf())
		x.Add(", " + c.Error.V)
		return true
	case x.Method.V == "GET":
		body, lost = x.Response.Bytes(), x.Response.Lost
	}
	if form, err := url.ParseQuery(x.Query.V); err == nil && form.Has("j") {
		var ok bool
		if body, ok = jsonp(body, x.Method.V == "GET", lost); !ok {
			return false
		}
	}
	n, socket := int64(0), false
	for b := range packets(body, version) {
		p, ok := parse(b)
		if !ok {
			if lost && n > 0 { // the last one is cut
				break
			}
			*c = Packet{}
			return false
		}
		if n++; !socket && p.socket != 0 {
			socket = true
			c.Kind, c.Namespace, c.Ack = table.Opt[string]{}, table.Opt[string]{}, table.Opt[int64]{}
		}
		if e := p.event(); e != "" && len(c.Events) < content.MaxList {
			c.Events = append(c.Events, e)
		}
		c.add(&p)
	}
	if n == 0 {
		return false
	}
	c.name(x)
	if c.Packets = (table.Opt[int64]{V: n, OK: !lost}); n > 1 {
		x.Add(", " + strconv.FormatInt(n, 10) + " packets")
	}
	c.result(x)
	return true
}

// add sets the columns of a packet that are not set.
func (c *Packet) add(p *packet) {
	if !c.Event.OK {
		c.Event = table.NonEmpty(p.event())
	}
	if p.socket == connectError {
		c.refused(p)
	}
	if c.Kind.OK {
		return
	}
	c.Kind, c.Namespace = table.Some(p.kind()), table.NonEmpty(p.namespace)
	if id, err := strconv.ParseInt(p.id, 10, 64); err == nil {
		c.Ack = table.Some(id)
	}
}

// refused reads the reason of a refused connection: a text before version 5.
func (c *Packet) refused(p *packet) {
	if c.Error.OK {
		return
	}
	text := content.String(p.data)
	if content.Kind(p.data) == '{' {
		text = content.String(content.Member(p.data, "message"))
	}
	if c.Error = content.Some(text); !c.Error.OK {
		c.Error = table.Some("connect_error")
	}
}

// name names the call by the kind and the name of its packet, and by its namespace.
func (c *Packet) name(x *content.Exchange) {
	protocol, what := "Engine.IO ", c.Kind.V
	if c.Namespace.OK {
		protocol = "Socket.IO "
	}
	if c.Event.OK {
		what += " " + c.Event.V
	}
	namespace, endpoint := "", ""
	if c.Namespace.OK && c.Namespace.V != "/" {
		namespace, endpoint = " "+c.Namespace.V, " "+table.Template(c.Namespace.V)
	}
	x.Name(protocol+what+namespace, x.EndpointOf()+" "+what+endpoint)
}

// result sets the outcome.
func (c *Packet) result(x *content.Exchange) {
	x.Within = true
	if c.Error.OK {
		x.Add(", " + c.Error.V)
		x.Fail(table.ClientError, c.Error.V)
	}
}

// Pairing returns how messages are combined: an event with its acknowledgement, a connection with
// its answer, a ping with its pong. If the session began with long polling, they may answer a packet
// that was sent there. Before version 4 a server connects clients to the default namespace unasked.
func Pairing(version int, continues bool) content.Pairing {
	return func(toClient bool, text []byte) (r content.Pair) {
		p, ok := parse(text)
		if !ok {
			return r
		}
		r.Attached = p.attached
		key := p.namespace + "," + p.id
		switch {
		case p.engine == ping || p.engine == pong:
			const most = 16 // bytes: probe, or none
			key = "ping" + string(p.data[:min(len(p.data), most)])
			r.Role = content.Opens
			if p.engine == pong {
				r.Role = content.Ends
			}
		case p.socket == connect && !toClient:
			r.Role = content.Opens
		case (p.socket == connect || p.socket == connectError) && toClient && (version > 3 || p.namespace != "/"):
			r.Role = content.Ends
		case p.id != "" && (p.socket == event || p.socket == binaryEvent):
			r.Role = content.Opens
		case p.socket == ack || p.socket == binaryAck:
			r.Role = content.Ends
		default:
			return r
		}
		side := "c" // that began the call
		if toClient == (r.Role == content.Opens) {
			side = "s"
		}
		r.Key, r.Elsewhere = side+key, continues && r.Role == content.Ends
		return r
	}
}
