// Package ws reads WebSocket connections: RFC 6455, after an upgrade from HTTP/1.1 or in an
// extended CONNECT of HTTP/2 and HTTP/3 (RFC 8441, RFC 9220), with compressed messages (RFC 7692).
//
// A message, of any number of frames, is one row; so are a PING with its PONG and a CLOSE with its
// answer. If the content of messages shows which belong together (GraphQL, JSON-RPC, Socket.IO), a
// request with its answers is one row, see package content. The source of a message is its sender.
package ws

import (
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/content"
	"github.com/pcapsule/pcapsule/exporter/dissect/content/all"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/byid"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpfield"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Row is a message, or messages that belong together.
type Row struct {
	table.Call
	Opcode      table.Opt[string] `col:"ws_opcode" enc:"dict" doc:"text, binary, close, ping or pong"`
	From        table.Opt[string] `col:"ws_from" enc:"dict" doc:"sender: client or server of the connection; a message of the server has the server as its source (src)"`
	Fragments   table.Opt[int32]  `col:"ws_fragments" doc:"number of frames of the message"`
	Masked      table.Opt[bool]   `col:"ws_masked" doc:"the frames are masked, as those of a client must be"`
	Compressed  table.Opt[bool]   `col:"ws_compressed" doc:"the message is compressed with permessage-deflate; its body is decompressed, unless error has a reason"`
	Size        table.Opt[int64]  `col:"ws_payload_size" unit:"bytes" doc:"payload of its frames, before decompression"`
	Answers     table.Opt[int32]  `col:"ws_answers" doc:"number of messages that answered this one, if the content shows that"`
	CloseCode   table.Opt[int32]  `col:"ws_close_code" doc:"status code of a CLOSE, RFC 6455 section 7.4"`
	CloseReason table.Opt[string] `col:"ws_close_reason" doc:"reason of a CLOSE, as sent"`
	Subprotocol table.Opt[string] `col:"ws_subprotocol" enc:"dict" doc:"sub-protocol that the server chose, such as graphql-transport-ws"`
	Extensions  table.Opt[string] `col:"ws_extensions" enc:"dict" doc:"extensions that the server chose, such as permessage-deflate; server_no_context_takeover"`
	*all.Columns
}

// Protocol is WebSocket. HTTP finds it, or its frames if the handshake was not captured.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "ws",
		Doc:        "WebSocket after an upgrade from HTTP/1.1, or in HTTP/2 or HTTP/3",
		Versions:   "13 (RFC 6455, 8441, 9220)",
		Depth:      "messages with their content, permessage-deflate, pings, the reason of a close",
		Transports: []dissect.Transport{dissect.TCP},
		Inside:     []string{"http1", "http2", "http3"},
		Detect:     detect,
		Prefaced:   true, // a connection begins with a handshake of HTTP
		Resume:     resume,
		New:        newConn,
		Row:        &Row{},
	}
}

// conn is one WebSocket connection.
type conn struct {
	c      *dissect.Conn
	sides  [2]side
	calls  byid.Table[string, *call] // that wait for answers
	pair   content.Pairing
	chosen // what the handshake showed

	inner      *dissect.Conn // what the messages carry, if it is a stream of bytes
	losses     [2]int        // by direction: how often messages were lost
	over       recent        // calls after which messages may come
	host, path string
	stream     table.Opt[int64]
}

// chosen has the server's choices in the handshake.
type chosen struct {
	known      bool // it was captured
	opening    content.Opening
	extensions string
	deflate    bool    // permessage-deflate
	other      bool    // an extension that is not known here
	fresh      [2]bool // by direction: each message is compressed on its own
}

// side is the reading position in one direction.
type side struct {
	frame               // the current one, of a data message
	open  bool          // it is being read
	msg   *call         // the current data message
	pings []*call       // without a PONG
	bye   *call         // its CLOSE, until the other side answers
	begun bool          // it sent a message
	ended bool          // it sent a CLOSE
	whole *call         // its message to which the next binary messages belong
	raw   *dissect.Body // of a compressed message

	window []byte // last bytes of the decompressed messages
	lost   bool   // the window is not known

	missing int // binary messages that whole still lacks
}

// maxWindow is the largest window of deflate, RFC 1951 section 2.
const maxWindow = 32 << 10

func newConn(c *dissect.Conn) dissect.Dissector {
	k := &conn{c: c}
	k.calls = byid.Table[string, *call]{Conn: c, Emit: k.emit}
	k.pair = all.PairingOf(k.opening)
	return k
}

// Upgraded implements dissect.Upgrader.
func (k *conn) Upgraded(info *dissect.UpgradeInfo) {
	k.host, k.path = info.Host, info.Path
	subprotocol := ""
	if info.Exchange != nil {
		k.stream = info.Exchange.StreamID
	}
	for i := range info.Headers {
		h := &info.Headers[i]
		if h.Kind != httpfield.Response {
			continue
		}
		k.known = true
		switch strings.ToLower(h.Name) {
		case "sec-websocket-protocol":
			subprotocol = clip.Text(h.Value, content.MaxText)
		case "sec-websocket-extensions":
			k.extensions = clip.Text(strings.TrimPrefix(k.extensions+", "+h.Value, ", "), content.MaxText)
			k.extend(h.Value)
		}
	}
	k.opening = all.OpeningOf(subprotocol, info.Query)
	k.pair = all.PairingOf(k.opening)
	if streams[subprotocol] {
		k.inner = k.c.NewInner(k.c.Info.OpenedBy)
	}
}

// streams are the sub-protocols whose messages are pieces of a stream of bytes, as on TCP. The
// content of the stream shows its protocol: AMQP 0-9-1 and 1.0 have the same name.
var streams = map[string]bool{
	"amqp": true, "AMQPWSB10": true, // AMQP over WebSocket 1.0 section 2.1, and its draft
	"mqtt": true, "mqttv3.1": true, // MQTT 5.0 section 6, and MQTT 3.1
	"v10.stomp": true, "v11.stomp": true, "v12.stomp": true, "stomp": true,
}

// extend reads a Sec-WebSocket-Extensions of the response, RFC 6455 section 9.1.
func (k *conn) extend(list string) {
	for each := range strings.SplitSeq(list, ",") {
		name, params, _ := strings.Cut(each, ";")
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "":
		case "permessage-deflate":
			k.deflate = true
			for p := range strings.SplitSeq(params, ";") {
				switch strings.ToLower(strings.TrimSpace(p)) {
				case "server_no_context_takeover":
					k.fresh[dissect.ToClient] = true
				case "client_no_context_takeover":
					k.fresh[dissect.ToServer] = true
				}
			}
		default:
			k.other = true
		}
	}
}

// Kept implements dissect.Dissector.
func (k *conn) Kept() int {
	n := k.over.size
	for d := range k.sides {
		s := &k.sides[d]
		n += cap(s.window) + len(s.pings)*callCost
		for _, m := range [...]*call{s.msg, s.whole} {
			if m != nil {
				n += callCost
			}
		}
	}
	return n
}

// Shed implements dissect.Dissector.
func (k *conn) Shed() bool {
	if k.inner != nil && k.inner.Shed() {
		return true
	}
	for d := range k.sides {
		s := &k.sides[d]
		if s.raw.Spill() || s.msg != nil && s.msg.x.ReqBody.Spill() || s.whole != nil && s.whole.x.ReqBody.Spill() {
			return true
		}
		if s.window != nil {
			s.window, s.lost = nil, true
			return true
		}
	}
	return k.calls.Shed()
}

// Resync implements dissect.Dissector.
func (k *conn) Resync(dir dissect.Dir, why dissect.Loss) {
	k.losses[dir]++
	k.giveUp(dir, string(why))
	if k.inner != nil {
		k.inner.Gap(dir, dissect.LostAll, k.c.Now())
	}
	k.sides[dir].window, k.sides[dir].lost = nil, true
	k.calls.Resync(dir, why)
}

// giveUp emits a message that will not continue.
func (k *conn) giveUp(dir dissect.Dir, why string) {
	s := &k.sides[dir]
	m := s.msg
	s.open, s.msg = false, nil
	k.dropRaw(s)
	k.detach(s, why)
	if m != nil && !k.carries(m) {
		k.emit(m, why)
	}
}

// Close implements dissect.Dissector.
func (k *conn) Close(why dissect.End) {
	over := k.sides[0].ended || k.sides[1].ended
	for d := range k.sides {
		s := &k.sides[d]
		k.giveUp(dissect.Dir(d), "cut")
		for _, p := range s.pings {
			if over {
				k.emit(p, "") // RFC 6455 section 5.5.3: only the latest needs an answer, and none after a CLOSE
			} else {
				k.emit(p, why.CallError())
			}
		}
		s.pings = nil
		if s.bye != nil {
			k.emit(s.bye, why.CallError())
			s.bye = nil
		}
	}
	k.calls.Close(why)
	if k.inner != nil {
		k.inner.Close(why, k.c.Now())
		k.inner = nil
	}
}

// carries reports whether the bytes of a message are passed to the carried protocol as they arrive.
func (k *conn) carries(m *call) bool { return k.inner != nil && !m.compressed }
