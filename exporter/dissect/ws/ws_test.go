package ws

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/klauspost/compress/flate"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/amqp"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
	"github.com/pcapsule/pcapsule/exporter/dissect/http1"
	"github.com/pcapsule/pcapsule/exporter/dissect/mqtt"
	"github.com/pcapsule/pcapsule/exporter/dissect/stomp"
)

type chunks = []dissecttest.Chunk

var (
	needs   = []*dissect.Protocol{http1.Protocol()}
	brokers = append(needs, amqp.Protocol(), mqtt.Protocol(), stomp.Protocol())
)

// What brokers and their clients send.
const (
	mqttLogin = "\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04door"
	mqttOK    = "\x20\x02\x00\x00"
	mqttSend  = "\x32\x09\x00\x03a/b\x00\x01hi"
	mqttTold  = "\x40\x02\x00\x01"
	stompSend = "SEND\ndestination:/queue/a\nreceipt:r-1\n\nhi\x00"
	stompTold = "RECEIPT\nreceipt-id:r-1\n\n\x00"
)

func asksFor(sub, extra string) chunks {
	return chunks{asks("Sec-WebSocket-Protocol: " + sub + "\r\n" + extra), agrees("Sec-WebSocket-Protocol: " + sub + "\r\n" + extra)}
}

// client and server are handshakes.
func asks(extra string) dissecttest.Chunk {
	return dissecttest.Client("GET /chat?token=x HTTP/1.1\r\nHost: shop.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n" + extra + "\r\n")
}

// asksEngine is a handshake of Engine.IO.
func asksEngine(query string) dissecttest.Chunk {
	c := asks("")
	c.Data = bytes.Replace(c.Data, []byte("token=x"), []byte("token=x&transport=websocket&"+query), 1)
	return c
}

func agrees(extra string) dissecttest.Chunk {
	return dissecttest.Server("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + extra + "\r\n")
}

// head is the head of a frame.
func head(first byte, n int, mask byte) []byte {
	b := []byte{first, mask}
	switch {
	case n < 126:
		b[1] |= byte(n)
	case n < 1<<16:
		b[1] |= 126
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	default:
		b[1] |= 127
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	return b
}

// sends is a frame of the client, says one of the server.
func sends(first byte, payload string) dissecttest.Chunk {
	key := []byte{0x37, 0xfa, 0x21, 0x3d}
	b := append(head(first, len(payload), 0x80), key...)
	for i := range len(payload) {
		b = append(b, payload[i]^key[i&3])
	}
	return dissecttest.Client(string(b))
}

func says(first byte, payload string) dissecttest.Chunk {
	return dissecttest.Server(string(head(first, len(payload), 0)) + payload)
}

// packer compresses messages as RFC 7692 does.
type packer struct {
	takeover bool
	buf      bytes.Buffer
	w        *flate.Writer
}

func (p *packer) pack(s string) string {
	if p.w == nil || !p.takeover {
		p.w, _ = flate.NewWriter(&p.buf, 6)
	}
	p.buf.Reset()
	p.w.Write([]byte(s))
	p.w.Flush()
	return p.again()
}

// again is the newest message.
func (p *packer) again() string { return strings.TrimSuffix(p.buf.String(), "\x00\x00\xff\xff") }

const (
	deflate = "Sec-WebSocket-Extensions: permessage-deflate\r\n"
	fresh   = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n"
	modern  = "Sec-WebSocket-Protocol: graphql-transport-ws\r\n"
	legacy  = "Sec-WebSocket-Protocol: graphql-ws\r\n"
)

var (
	ping = dissecttest.Client(string([]byte{0x89, 0x82, 0, 0, 0, 0}) + "hi")
	pong = says(0x8a, "hi")
	bye  = "\x03\xe8done"
)

func samples() []dissecttest.Sample {
	var up, down, up2, down2 packer
	up.takeover, down.takeover, up2.takeover, down2.takeover = true, true, true, true
	long := strings.Repeat("a longer text with some words. ", 300)
	subscription := chunks{asks(modern), agrees(modern),
		sends(0x81, `{"type":"connection_init","payload":{"token":"x"}}`), says(0x81, `{"type":"connection_ack"}`),
		sends(0x81, `{"id":"1","type":"subscribe","payload":{"query":"subscription OnOrder($c: ID!) { orderPlaced(customer: $c) { id } }","variables":{"c":"7"}}}`),
		says(0x81, `{"id":"1","type":"next","payload":{"data":{"orderPlaced":{"id":1}}}}`), says(0x81, `{"type":"ping"}`), sends(0x81, `{"type":"pong"}`),
		says(0x81, `{"id":"1","type":"next","payload":{"data":{"orderPlaced":{"id":2}}}}`), says(0x81, `{"id":"1","type":"complete"}`)}
	return []dissecttest.Sample{
		{Name: "text, binary and controls", Rows: 5, Needs: needs, Chunks: chunks{asks(""), agrees(""),
			sends(0x81, "hello"), says(0x82, "\x00\x01\x02\xff"), ping, pong, sends(0x88, bye), says(0x88, bye)}},
		{Name: "fragments with a PING between them", Rows: 3, Needs: needs, Chunks: chunks{asks(""), agrees(""),
			sends(0x01, "one, "), ping, pong, sends(0x00, "two, "), sends(0x80, "three")}},
		{Name: "compressed with takeover", Rows: 5, Needs: needs, Chunks: chunks{asks(deflate), agrees(deflate),
			sends(0xc1, up.pack(long)), sends(0xc1, up.pack(long+"end")), says(0xc1, down.pack(`{"a": 1}`)), says(0xc2, down.pack(`{"a": 1}`))}},
		{Name: "long messages", Rows: 3, Needs: needs, Chunks: chunks{asks(""), agrees(""), sends(0x82, strings.Repeat("x", 70_000)), says(0x81, strings.Repeat("y", 300))}},
		{Name: "a GraphQL subscription", Rows: 4, Needs: needs, Chunks: subscription},
		{Name: "MQTT, a packet in frames and packets in a frame", Rows: 5, Needs: brokers, Chunks: append(asksFor("mqtt", ""),
			sends(0x02, mqttLogin[:5]), sends(0x80, mqttLogin[5:]), says(0x82, mqttOK), sends(0x82, mqttSend+mqttSend[:4]), ping, sends(0x82, mqttSend[4:]), pong, says(0x82, mqttTold))},
		{Name: "MQTT, compressed", Rows: 4, Needs: brokers, Chunks: append(asksFor("mqtt", deflate), ping, pong,
			sends(0xc2, up2.pack(mqttLogin)), says(0xc2, down2.pack(mqttOK)), sends(0x42, up2.pack(mqttSend)[:4]), sends(0x80, up2.again()[4:]), says(0x82, mqttTold))},
		{Name: "JSON-RPC both ways", Rows: 4, Needs: needs, Chunks: chunks{asks(""), agrees(""),
			sends(0x81, `{"jsonrpc":"2.0","id":1,"method":"add","params":[1,2]}`), says(0x81, `{"jsonrpc":"2.0","id":1,"method":"ask"}`),
			sends(0x81, `{"jsonrpc":"2.0","id":1,"result":true}`), says(0x81, `{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no method"}}`),
			says(0x81, `{"jsonrpc":"2.0","method":"note"}`)}},
		{Name: "Socket.IO", Rows: 9, Needs: needs, Chunks: chunks{asksEngine("EIO=4"), agrees(""),
			says(0x81, `0{"sid":"x","pingInterval":25000}`), sends(0x81, `40/chat,{"token":"x"}`), says(0x81, `40/chat,{"sid":"y"}`),
			sends(0x81, `42/chat,7["say","hello"]`), says(0x81, `42/chat,7["said"]`), says(0x81, "2"), says(0x81, `43/chat,7[{"ok":false}]`), sends(0x81, "3"),
			sends(0x81, `43/chat,7[]`), says(0x81, `42["note"]`), sends(0x81, `451-8["file",{"_placeholder":true,"num":0}]`), sends(0x82, "\x00\x01"),
			sends(0x81, `40/closed,`), says(0x81, `44/closed,{"message":"not authorized"}`)}},
	}
}

func TestSuite(t *testing.T) { dissecttest.Run(t, Protocol(), samples()...) }

func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), samples()...) }

const upgrade = "GET /chat → 101"

func TestRows(t *testing.T) {
	var two, context packer
	context.takeover = true
	list, sent := samples(), sends(0x81, stompSend)
	cs := []dissecttest.Conversation{
		{Name: "text, binary and controls", Chunks: list[0].Chunks, Want: []string{upgrade,
			"TEXT from client /chat → 5 bytes ws_opcode=text ws_fragments=1 ws_masked=true ws_compressed=false ws_payload_size=5",
			"BINARY from server /chat → 4 bytes ws_opcode=binary ws_fragments=1 ws_masked=false ws_compressed=false ws_payload_size=4",
			"PING from client /chat → answered ws_opcode=ping ws_masked=true ws_payload_size=2",
			"CLOSE from client /chat → answered, 1000 normal ws_opcode=close ws_masked=true ws_payload_size=6 ws_close_code=1000 ws_close_reason=done"}},
		{Name: "the server closes because the client broke a rule", Chunks: chunks{asks(""), agrees(""), says(0x88, "\x03\xf0no"), sends(0x88, "\x03\xf0")}, Want: []string{upgrade,
			"CLOSE from server /chat → answered, 1008 policy violation outcome=client_error ws_opcode=close ws_masked=false ws_payload_size=4 ws_close_code=1008 ws_close_reason=no"}},
		{Name: "a CLOSE with a server's problem and without an answer", Chunks: chunks{asks(""), agrees(""), says(0x88, "\x03\xf3")}, Want: []string{upgrade,
			"CLOSE from server /chat → not answered, no response, 1011 internal error error=no_response outcome=server_error ws_opcode=close ws_masked=false ws_payload_size=2 ws_close_code=1011"}},
		{Name: "a subscription is one call with its events", Chunks: list[4].Chunks, Want: []string{upgrade,
			"connection_init → 50 bytes ws_opcode=text ws_fragments=1 ws_masked=true ws_compressed=false ws_payload_size=50 ws_answers=1 graphql_type=connection",
			"ping → 15 bytes ws_opcode=text ws_fragments=1 ws_masked=false ws_compressed=false ws_payload_size=15 ws_answers=1 graphql_type=connection",
			"subscription OnOrder {orderPlaced} → 140 bytes, 2 events ws_opcode=text ws_fragments=1 ws_masked=true ws_compressed=false ws_payload_size=140 ws_answers=3 graphql_type=subscription graphql_operation=OnOrder graphql_fields=[orderPlaced] graphql_errors=0 graphql_events=2"}},
		{Name: "the older protocol, with an error, and a subscription that ends with the connection", Chunks: chunks{asks(legacy), agrees(legacy),
			sends(0x81, `{"id":"a","type":"start","payload":{"query":"{ me { id } }"}}`), says(0x81, `{"id":"a","type":"error","payload":{"message":"no","extensions":{"code":"UNAUTHENTICATED"}}}`),
			sends(0x81, `{"id":"b","type":"start","payload":{"query":"subscription { tick }"}}`), says(0x81, `{"id":"b","type":"data","payload":{"data":{"tick":1}}}`)}, Want: []string{upgrade,
			"query {me} → 61 bytes, 0 events, 1 error: UNAUTHENTICATED outcome=client_error ws_opcode=text ws_fragments=1 ws_masked=true ws_compressed=false ws_payload_size=61 ws_answers=1 graphql_type=query graphql_fields=[me] graphql_errors=1 graphql_error_code=UNAUTHENTICATED graphql_error=no graphql_events=0",
			"subscription {tick} → 69 bytes, 1 event ws_opcode=text ws_fragments=1 ws_masked=true ws_compressed=false ws_payload_size=69 ws_answers=1 graphql_type=subscription graphql_fields=[tick] graphql_errors=0 graphql_events=1"}},
		{Name: "JSON-RPC is paired by id, in both directions", Chunks: list[7].Chunks, Want: []string{upgrade,
			"ask → 39 bytes ws_opcode=text ws_fragments=1 ws_masked=false ws_compressed=false ws_payload_size=39 ws_answers=1 jsonrpc_method=ask jsonrpc_id=1 jsonrpc_errors=0",
			"add → 54 bytes, error -32601 outcome=client_error ws_opcode=text ws_fragments=1 ws_masked=true ws_compressed=false ws_payload_size=54 ws_answers=1 jsonrpc_method=add jsonrpc_id=1 jsonrpc_error_code=-32601 jsonrpc_error=no method jsonrpc_errors=1",
			"note → 33 bytes ws_opcode=text ws_fragments=1 ws_masked=false ws_compressed=false ws_payload_size=33 jsonrpc_method=note"}},
		{Name: "events of Socket.IO with their acknowledgements, and one without", Chunks: list[8].Chunks, Want: []string{upgrade,
			"Engine.IO open → 33 bytes ws_opcode=text ws_fragments=1 ws_masked=false ws_compressed=false ws_payload_size=33 socketio_packet=open",
			"Socket.IO connect /chat → 21 bytes ws_opcode=text ws_fragments=1 ws_masked=true ws_compressed=false ws_payload_size=21 ws_answers=1 socketio_packet=connect socketio_namespace=/chat",
			"Socket.IO event say /chat → 24 bytes ws_opcode=text ws_fragments=1 ws_masked=true ws_compressed=false ws_payload_size=24 ws_answers=1 socketio_packet=event socketio_event=say socketio_namespace=/chat socketio_ack_id=7",
			"Engine.IO ping → 1 byte ws_opcode=text ws_fragments=1 ws_masked=false ws_compressed=false ws_payload_size=1 ws_answers=1 socketio_packet=ping",
			"Socket.IO event said /chat → 17 bytes ws_opcode=text ws_fragments=1 ws_masked=false ws_compressed=false ws_payload_size=17 ws_answers=1 socketio_packet=event socketio_event=said socketio_namespace=/chat socketio_ack_id=7",
			`Socket.IO event note → 10 bytes ws_opcode=text ws_fragments=1 ws_masked=false ws_compressed=false ws_payload_size=10 socketio_packet=event socketio_event=note socketio_namespace=/`,
			"Socket.IO connect /closed → 10 bytes, not authorized outcome=client_error ws_opcode=text ws_fragments=1 ws_masked=true ws_compressed=false ws_payload_size=10 ws_answers=1 socketio_packet=connect socketio_namespace=/closed socketio_error=not authorized",
			"Socket.IO binary_event file → 45 bytes, 1 attachment, no response error=no_response outcome=no_answer ws_opcode=text ws_fragments=1 ws_masked=true ws_compressed=false ws_payload_size=45 socketio_packet=binary_event socketio_event=file socketio_namespace=/ socketio_ack_id=8"}},
		{Name: "binary attachments of events and acknowledgements belong to them", Chunks: chunks{asksEngine("EIO=4"), agrees(""),
			sends(0x81, `451-["up",{"_placeholder":true,"num":0}]`), sends(0x82, "\x00\x01\x02"),
			sends(0x81, `452-8["get",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`), sends(0x82, "\x00\x01"), says(0x81, "2"), sends(0x82, "\x02"),
			says(0x81, `461-8[{"_placeholder":true,"num":0}]`), sends(0x81, "3"), says(0x82, "\x04\x05"),
			sends(0x81, `452-["short",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`), sends(0x82, "\x00"), sends(0x81, `42["next"]`), sends(0x82, "\x07")}, Want: []string{upgrade,
			"Socket.IO binary_event up → 43 bytes, 1 attachment ws_opcode=text ws_fragments=1 ws_masked=true ws_compressed=false ws_payload_size=43 socketio_packet=binary_event socketio_event=up socketio_namespace=/",
			"Engine.IO ping → 1 byte ws_opcode=text ws_fragments=1 ws_masked=false ws_compressed=false ws_payload_size=1 ws_answers=1 socketio_packet=ping",
			"Socket.IO binary_event get → 75 bytes, 2 attachments ws_opcode=text ws_fragments=1 ws_masked=true ws_compressed=false ws_payload_size=75 ws_answers=1 socketio_packet=binary_event socketio_event=get socketio_namespace=/ socketio_ack_id=8",
			"Socket.IO binary_event short → 74 bytes, 1 attachment, malformed error=malformed outcome=unread ws_opcode=text ws_fragments=1 ws_masked=true ws_compressed=false ws_payload_size=74 socketio_packet=binary_event socketio_event=short socketio_namespace=/",
			"Socket.IO event next → 10 bytes ws_opcode=text ws_fragments=1 ws_masked=true ws_compressed=false ws_payload_size=10 socketio_packet=event socketio_event=next socketio_namespace=/",
			"BINARY from client /chat → 1 byte ws_opcode=binary ws_fragments=1 ws_masked=true ws_compressed=false ws_payload_size=1"}},
		{Name: "a session of Socket.IO that began with long polling, where the event was sent", Chunks: chunks{asksEngine("EIO=4&sid=x"), agrees(""), sends(0x81, "2probe"), says(0x81, "3probe"), sends(0x81, "5"), says(0x81, `430[]`)}, Want: []string{upgrade,
			"Engine.IO ping → 6 bytes ws_opcode=text ws_fragments=1 ws_masked=true ws_compressed=false ws_payload_size=6 ws_answers=1 socketio_packet=ping",
			"Engine.IO upgrade → 1 byte ws_opcode=text ws_fragments=1 ws_masked=true ws_compressed=false ws_payload_size=1 socketio_packet=upgrade",
			"Socket.IO ack → 5 bytes ws_opcode=text ws_fragments=1 ws_masked=false ws_compressed=false ws_payload_size=5 socketio_packet=ack socketio_namespace=/ socketio_ack_id=0"}},
		{Name: "an open packet of the server shows Engine.IO where the handshake does not", Chunks: chunks{asks(""), agrees(""), says(0x81, `0{"sid":"x","pingInterval":25000}`), sends(0x81, `420["say"]`), says(0x81, `430[]`)}, Want: []string{upgrade,
			"Engine.IO open → 33 bytes ws_opcode=text ws_fragments=1 ws_masked=false ws_compressed=false ws_payload_size=33 socketio_packet=open",
			"Socket.IO event say → 10 bytes ws_opcode=text ws_fragments=1 ws_masked=true ws_compressed=false ws_payload_size=10 ws_answers=1 socketio_packet=event socketio_event=say socketio_namespace=/ socketio_ack_id=0"}},
		{Name: "text that looks like packets", Chunks: chunks{asks(""), agrees(""), says(0x81, `0{"sid":"x"}`), sends(0x81, `420["say"]`), says(0x81, `430[]`)}, Want: []string{upgrade,
			"TEXT from server /chat → 12 bytes ws_opcode=text ws_fragments=1 ws_masked=false ws_compressed=false ws_payload_size=12",
			"TEXT from client /chat → 10 bytes ws_opcode=text ws_fragments=1 ws_masked=true ws_compressed=false ws_payload_size=10",
			"TEXT from server /chat → 5 bytes ws_opcode=text ws_fragments=1 ws_masked=false ws_compressed=false ws_payload_size=5"}},
		{Name: "an acknowledgement of a lost event of Socket.IO", Chunks: chunks{asksEngine("EIO=4&sid=x"), agrees(""), {Dir: dissect.ToServer, Gap: 30}, says(0x81, `430[]`)}, Want: []string{upgrade,
			"Socket.IO ack → 5 bytes, no request error=no_request outcome=cut ws_opcode=text ws_fragments=1 ws_masked=false ws_compressed=false ws_payload_size=5 socketio_packet=ack socketio_namespace=/ socketio_ack_id=0"}},
		{Name: "before version 4 of Engine.IO the server connects clients unasked", Chunks: chunks{asksEngine("EIO=3"), agrees(""), says(0x81, "40"), sends(0x81, "40/chat?user=x,"), says(0x81, `44/chat,"no such namespace"`), sends(0x81, "2"), says(0x81, "3")}, Want: []string{upgrade,
			"Socket.IO connect → 2 bytes ws_opcode=text ws_fragments=1 ws_masked=false ws_compressed=false ws_payload_size=2 socketio_packet=connect socketio_namespace=/",
			"Socket.IO connect /chat → 15 bytes, no such namespace outcome=client_error ws_opcode=text ws_fragments=1 ws_masked=true ws_compressed=false ws_payload_size=15 ws_answers=1 socketio_packet=connect socketio_namespace=/chat socketio_error=no such namespace",
			"Engine.IO ping → 1 byte ws_opcode=text ws_fragments=1 ws_masked=true ws_compressed=false ws_payload_size=1 ws_answers=1 socketio_packet=ping"}},
		{Name: "bytes lost inside a message", Chunks: chunks{asks(""), agrees(""), dissecttest.Server("\x81\x05he"),
			{Dir: dissect.ToClient, Gap: 2, Data: []byte("o")}, says(0x81, "more")}, Want: []string{upgrade,
			"TEXT from server /chat → 5 bytes, gap error=gap outcome=unread ws_opcode=text ws_fragments=1 ws_masked=false ws_compressed=false ws_payload_size=5",
			"TEXT from server /chat → 4 bytes ws_opcode=text ws_fragments=1 ws_masked=false ws_compressed=false ws_payload_size=4"}},
		{Name: "results that come after the client ended the subscription", Chunks: chunks{asks(modern), agrees(modern), sends(0x81, `{"id":"1","type":"subscribe","payload":{"query":"subscription { tick }"}}`),
			says(0x81, `{"id":"1","type":"next","payload":{"data":{}}}`), sends(0x81, `{"id":"1","type":"complete"}`), says(0x81, `{"id":"1","type":"next","payload":{"data":{}}}`), says(0x81, `{"id":"1","type":"complete"}`),
			says(0x81, `{"id":"2","type":"next","payload":{"data":{}}}`)}, Want: []string{upgrade,
			"subscription {tick} → 73 bytes, 1 event ws_opcode=text ws_fragments=1 ws_masked=true ws_compressed=false ws_payload_size=73 ws_answers=1 graphql_type=subscription graphql_fields=[tick] graphql_errors=0 graphql_events=1",
			"next → 46 bytes ws_opcode=text ws_fragments=1 ws_masked=false ws_compressed=false ws_payload_size=46 graphql_type=connection",
			"complete → 28 bytes ws_opcode=text ws_fragments=1 ws_masked=false ws_compressed=false ws_payload_size=28 graphql_type=connection",
			"next → 46 bytes, no request error=no_request ws_opcode=text ws_fragments=1 ws_masked=false ws_compressed=false ws_payload_size=46 graphql_type=connection"}},
		{Name: "an operation that does not parse", Chunks: chunks{asks(modern), agrees(modern), sends(0x81, `{"id":"1","type":"subscribe","payload":{"query":"{{"}}`),
			says(0x81, `{"id":"1","type":"error","payload":[{"message":"Syntax Error"}]}`)}, Want: []string{upgrade,
			"unknown → 54 bytes, 0 events, 1 error outcome=client_error ws_opcode=text ws_fragments=1 ws_masked=true ws_compressed=false ws_payload_size=54 ws_answers=1 graphql_type=unknown graphql_errors=1 graphql_error=Syntax Error graphql_events=0"}},
		{Name: "a lost result of a subscription", Chunks: chunks{asks(modern), agrees(modern), sends(0x81, `{"id":"1","type":"subscribe","payload":{"query":"subscription { tick }"}}`),
			says(0x81, `{"id":"1","type":"next","payload":{"data":{}}}`), {Dir: dissect.ToClient, Gap: 40}, says(0x81, `{"id":"1","type":"complete"}`)}, Want: []string{upgrade,
			"subscription {tick} → 73 bytes, gap, events error=gap outcome=unread ws_opcode=text ws_fragments=1 ws_masked=true ws_compressed=false ws_payload_size=73 ws_answers=2 graphql_type=subscription graphql_fields=[tick] graphql_errors=0"}},
		{Name: "requests with the same id", Anomalies: 3, Chunks: chunks{asksEngine("EIO=4&sid=x"), agrees(""), sends(0x81, "40/a,"), sends(0x81, "40/a,{}"), says(0x81, `40/a,{"sid":"y"}`), says(0x81, `44/a,{"message":"no"}`),
			sends(0x81, "40/b,"), sends(0x81, "40/b,{}"), says(0x81, `40/b,{"sid":"y"}`)}, Want: []string{upgrade,
			"Socket.IO connect /a → 5 bytes ws_opcode=text ws_fragments=1 ws_masked=true ws_compressed=false ws_payload_size=5 ws_answers=1 socketio_packet=connect socketio_namespace=/a",
			"Socket.IO connect /a → 7 bytes, no outcome=client_error ws_opcode=text ws_fragments=1 ws_masked=true ws_compressed=false ws_payload_size=7 ws_answers=1 socketio_packet=connect socketio_namespace=/a socketio_error=no",
			"Socket.IO connect /b → 5 bytes ws_opcode=text ws_fragments=1 ws_masked=true ws_compressed=false ws_payload_size=5 ws_answers=1 socketio_packet=connect socketio_namespace=/b",
			"Socket.IO connect /b → 7 bytes, no response error=no_response outcome=unread ws_opcode=text ws_fragments=1 ws_masked=true ws_compressed=false ws_payload_size=7 socketio_packet=connect socketio_namespace=/b"}},
		{Name: "with takeover the answers after a lost message cannot be read", Chunks: chunks{asks(deflate), agrees(deflate), says(0xc1, context.pack("first")), {Dir: dissect.ToClient, Gap: 30},
			sends(0x81, `{"jsonrpc":"2.0","id":1,"method":"add"}`), says(0xc1, context.pack(`{"jsonrpc":"2.0","id":1,"result":3}`)), sends(0x81, `{"jsonrpc":"2.0","id":2,"method":"late"}`)}, Want: []string{upgrade,
			"TEXT from server /chat → 11 bytes ws_opcode=text ws_fragments=1 ws_masked=false ws_compressed=true ws_payload_size=11",
			"TEXT from server /chat → 41 bytes, gap error=gap outcome=unread ws_opcode=text ws_fragments=1 ws_masked=false ws_compressed=true ws_payload_size=41",
			"add → 39 bytes, gap error=gap outcome=unread ws_opcode=text ws_fragments=1 ws_masked=true ws_compressed=false ws_payload_size=39 jsonrpc_method=add jsonrpc_id=1",
			"late → 40 bytes, no response error=no_response outcome=no_answer ws_opcode=text ws_fragments=1 ws_masked=true ws_compressed=false ws_payload_size=40 jsonrpc_method=late jsonrpc_id=2"}},
		{Name: "without takeover a lost message does not matter", Chunks: chunks{asks(fresh), agrees(fresh), {Dir: dissect.ToClient, Gap: 30}, says(0xc1, two.pack("fresh start"))}, Want: []string{upgrade,
			fmt.Sprintf("TEXT from server /chat → %d bytes ws_opcode=text ws_fragments=1 ws_masked=false ws_compressed=true ws_payload_size=%d", len(two.pack("fresh start")), len(two.pack("fresh start")))}},
		{Name: "what MQTT carries has the rows of MQTT", Chunks: list[5].Chunks, Want: []string{upgrade,
			"CONNECT door → ok", "PUBLISH a/b (2 B) → no_response error=no_response outcome=no_answer",
			"PING from client /chat → answered ws_opcode=ping ws_masked=true ws_payload_size=2", "PUBLISH a/b (2 B) → ok"}},
		{Name: "compressed MQTT", Chunks: list[6].Chunks, Want: []string{upgrade,
			"PING from client /chat → answered ws_opcode=ping ws_masked=true ws_payload_size=2", "CONNECT door → ok", "PUBLISH a/b (2 B) → ok"}},
		{Name: "STOMP in text, with bytes lost inside a message", Anomalies: 2, Chunks: append(asksFor("v12.stomp", ""), sends(0x81, "CONNECT\naccept-version:1.2\nhost:/\n\n\x00"), says(0x81, "CONNECTED\nversion:1.2\n\n\x00"),
			dissecttest.Client(string(sent.Data[:20])), dissecttest.Chunk{Dir: dissect.ToServer, Gap: 5, Data: sent.Data[25:]}, says(0x81, stompTold), sent, says(0x81, stompTold)), Want: []string{upgrade,
			"CONNECT / → ok", "RECEIPT r-1 → no_request error=no_request outcome=cut", "SEND /queue/a (2 B) → ok"}},
		{Name: "AMQP is found by its content", Chunks: append(asksFor("amqp", ""), sends(0x82, "AMQP\x00\x00\x09\x01"), says(0x82, "AMQP\x00\x00\x09\x01")), Want: []string{upgrade,
			"protocol header", "protocol header outcome=client_error"}},
	}
	for i := range cs {
		cs[i].Needs = brokers
	}
	dissecttest.Converse(t, Protocol(), []string{"ws_opcode", "ws_fragments", "ws_masked", "ws_compressed", "ws_payload_size", "ws_answers", "ws_close_code", "ws_close_reason",
		"graphql_type", "graphql_operation", "graphql_fields", "graphql_errors", "graphql_error_code", "graphql_error", "graphql_events",
		"jsonrpc_method", "jsonrpc_id", "jsonrpc_error_code", "jsonrpc_error", "jsonrpc_errors", "socketio_packet", "socketio_event", "socketio_namespace", "socketio_ack_id", "socketio_error"}, cs...)
}

// TestSizesOfCompressedMessages: the size on the wire is that before decompression, of the message and of its answer.
func TestSizesOfCompressedMessages(t *testing.T) {
	ask := `{"jsonrpc":"2.0","id":1,"method":"add","params":["` + strings.Repeat("a", 500) + `"]}`
	answer := `{"jsonrpc":"2.0","id":1,"result":"` + strings.Repeat("b", 700) + `"}`
	var one, two packer
	packedAsk, packedAnswer := one.pack(ask), two.pack(answer)
	o := dissecttest.OptionsOf(Protocol())
	o.Protocols = append(o.Protocols, http1.Protocol())
	rows := dissecttest.Play(t, o, asks(fresh), agrees(fresh), sends(0xc1, packedAsk), says(0xc1, packedAnswer)).Rows()
	c := rows[len(rows)-1].Base()
	got := [4]int64{c.RequestBodySize.V, c.RequestBodyWire.V, c.ResponseBodySize.V, c.ResponseBodyWire.V}
	if want := [4]int64{int64(len(ask)), int64(len(packedAsk)), int64(len(answer)), int64(len(packedAnswer))}; got != want {
		t.Errorf("%s: sizes %v, want %v", c.Summary, got, want)
	}
}
