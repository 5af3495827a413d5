package rabbitstream

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

type chunks = []dissecttest.Chunk

var client, server = dissecttest.Client, dissecttest.Server

func u16(n int) string { return string(binary.BigEndian.AppendUint16(nil, uint16(n))) }
func u32(n int) string { return string(binary.BigEndian.AppendUint32(nil, uint32(n))) }
func u64(n int) string { return string(binary.BigEndian.AppendUint64(nil, uint64(n))) }
func str(s string) string {
	return u16(len(s)) + s
}

// msg is a frame of version 1.
func msg(key int, body ...string) string {
	b := u16(key) + "\x00\x01" + strings.Join(body, "")
	return u32(len(b)) + b
}

// reply is a response with a code.
func reply(key, id, code int, body ...string) string {
	return msg(response|key, append([]string{u32(id), u16(code)}, body...)...)
}

// posted is Publish of publisher 1 with the messages "a", "a", …
func posted(first, n int) string {
	entries := ""
	for i := range n {
		entries += u64(first+i) + u32(1) + "a"
	}
	return msg(publish, "\x01", u32(n), entries)
}

// chunk is Deliver to subscription 3.
func chunk(offset, n int, data string) string {
	return msg(deliver, "\x03", "\x50\x00", u16(n), u32(n), u64(1), u64(1), u64(offset), u32(9), u32(len(data)), u32(0), u32(0), data)
}

var (
	hello   = msg(peerProperties, u32(1), u32(2), str("product"), str("App"), str("version"), str("1.1"))
	welcome = reply(peerProperties, 1, 1, u32(2), str("product"), str("RabbitMQ"), str("version"), str("3.13"))
	login   = msg(saslAuthenticate, u32(2), str("PLAIN"), u32(11), "\x00ann\x00geheim")
	tuned   = msg(tune, u32(1<<20), u32(60))
	declare = msg(declarePublisher, u32(3), "\x01", str("till"), str("orders"))
)

var whole = chunks{
	client(hello), server(welcome), client(login), server(reply(saslAuthenticate, 2, 1) + tuned), client(tuned + declare), server(reply(declarePublisher, 3, 1)),
	client(posted(0, 1) + posted(1, 2)), server(msg(publishConfirm, "\x01", u32(2), u64(0), u64(1)) + msg(publishConfirm, "\x01", u32(1), u64(2))),
	client(msg(subscribe, u32(4), "\x03", str("orders"), u16(4), u64(0), u16(1))), server(reply(subscribe, 4, 1) + chunk(0, 3, "abc")),
	client(msg(credit, "\x03", u16(1)) + msg(storeOffset, str("billing"), str("orders"), u64(2)) + msg(queryOffset, u32(5), str("billing"), str("orders"))), server(reply(queryOffset, 5, 1, u64(2))),
	server(msg(heartbeat)), client(msg(create, u32(6), str("orders"), u32(0)) + msg(remove, u32(7), str("none"))), server(reply(remove, 7, 2) + reply(create, 6, 5)),
}

var samples = []dissecttest.Sample{{Name: "a publisher and a consumer", Rows: 14, Chunks: whole}}

func TestSuite(t *testing.T) { dissecttest.Run(t, Protocol(), samples...) }

func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), samples...) }

func TestRows(t *testing.T) {
	columns := []string{"status_code", "auth_kind", "rabbitstream_publisher", "rabbitstream_consumer", "rabbitstream_publishing_id", "rabbitstream_offset", "rabbitstream_start", "rabbitstream_user", "rabbitstream_client", "rabbitstream_server"}
	start := chunks{client(hello), server(welcome)}
	began := "PeerProperties → OK status_code=1 rabbitstream_client=App 1.1 rabbitstream_server=RabbitMQ 3.13"
	batched := msg(publish, "\x01", u32(2), u64(8), u32(1), "a", u64(9), "\x90", u16(10), u32(100), u32(3), "zip")
	dissecttest.Converse(t, Protocol(), columns, []dissecttest.Conversation{
		{Name: "a publisher and a consumer", Chunks: whole, Want: []string{
			began,
			"SaslAuthenticate → OK status_code=1 auth_kind=password rabbitstream_user=ann",
			"Tune rabbitstream_user=ann",
			"Tune rabbitstream_user=ann",
			"DeclarePublisher orders → OK status_code=1 rabbitstream_publisher=till rabbitstream_user=ann",
			"Publish 1 message of orders → confirmed rabbitstream_publisher=till rabbitstream_publishing_id=0 rabbitstream_user=ann",
			"Publish 2 messages of orders → confirmed rabbitstream_publisher=till rabbitstream_publishing_id=1 rabbitstream_user=ann",
			"Subscribe orders → OK status_code=1 rabbitstream_offset=0 rabbitstream_start=offset rabbitstream_user=ann",
			"Deliver 3 messages of orders rabbitstream_offset=0 rabbitstream_user=ann",
			"Credit orders rabbitstream_user=ann",
			"StoreOffset orders rabbitstream_consumer=billing rabbitstream_offset=2 rabbitstream_user=ann",
			"QueryOffset orders → OK status_code=1 rabbitstream_consumer=billing rabbitstream_offset=2 rabbitstream_user=ann",
			"Delete none → Stream does not exist outcome=client_error status_code=2 rabbitstream_user=ann",
			"Create orders → Stream already exists outcome=client_error status_code=5 rabbitstream_user=ann"}},
		{Name: "a batch that is refused, no confirmation, and an error that answers no command", Chunks: append(start, client(declare), server(reply(declarePublisher, 3, 1)), client(batched+posted(10, 1)),
			server(msg(publishError, "\x01", u32(1), u64(9), u16(18))), server(msg(response|credit, u16(4), "\x07"))), Want: []string{
			began,
			"DeclarePublisher orders → OK status_code=1 rabbitstream_publisher=till",
			"Publish 11 messages of orders → Publisher does not exist outcome=client_error status_code=18 rabbitstream_publisher=till rabbitstream_publishing_id=8",
			"Credit ? → Subscription ID does not exist outcome=client_error status_code=4",
			"Publish 1 message of orders → no_response error=no_response outcome=no_answer rabbitstream_publisher=till rabbitstream_publishing_id=10"}},
		{Name: "a consumer that becomes active, a stream that ends, and the server's end", Chunks: append(start, server(msg(consumerUpdate, u32(0), "\x03\x01")), client(reply(consumerUpdate, 0, 1, u16(3))),
			server(msg(metadataUpdate, u16(6), str("orders"))+msg(closing, u32(1), u16(1), str("bye"))), client(reply(closing, 1, 1))), Want: []string{
			began,
			"ConsumerUpdate ? → OK status_code=1",
			"MetadataUpdate orders → Stream not available",
			"Close → OK status_code=1"}},
		{Name: "streams of which one is unknown", Chunks: append(start, client(msg(metadata, u32(2), u32(2), str("orders"), str("none"))),
			server(msg(response|metadata, u32(2), u32(1), u16(0), str("10.0.0.1"), u32(5552), u32(2), str("orders"), u16(1), u16(0), u32(1), u16(0), str("none"), u16(2), u16(65535), u32(0)))), Want: []string{
			began,
			"Metadata → Stream does not exist outcome=client_error status_code=2"}},
		{Name: "bytes that do not fit their command", Chunks: append(start, client(msg(remove, u32(2), str("orders"), "x")), server(reply(remove, 2, 1))), Anomalies: 1, Want: []string{
			began,
			"Delete orders → malformed error=malformed outcome=unread status_code=1"}},
	}...)
}

// A Publish of which only the beginning is read is answered by the confirmation of its first message.
func TestLongPublish(t *testing.T) {
	long := msg(publish, "\x01", u32(2), u64(5), u32(100_000), strings.Repeat("a", 100_000), u64(6), u32(1), "b")
	r := dissecttest.Play(t, dissecttest.Options{Protocols: []*dissect.Protocol{Protocol()}, End: dissect.EndFin},
		client(hello), server(welcome), client(long), server(msg(publishConfirm, "\x01", u32(2), u64(5), u64(6))))
	if got, want := dissecttest.Lines(r), "0 PeerProperties → OK complete\n0 Publish 2 messages of ? → confirmed complete\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestDetect(t *testing.T) {
	dissecttest.Detect(t, detect, dissecttest.Heads{
		{"the first command", dissect.ToServer, hello, dissect.Yes},
		{"its response", dissect.ToClient, welcome, dissect.Yes},
		{"the beginning of the first command", dissect.ToServer, hello[:20], dissect.More},
		{"a command in the middle", dissect.ToServer, declare, dissect.Likely},
		{"messages", dissect.ToServer, posted(7, 2), dissect.Likely},
		{"their confirmation", dissect.ToClient, msg(publishConfirm, "\x01", u32(1), u64(7)), dissect.Likely},
		{"a chunk", dissect.ToClient, chunk(0, 3, "abc"), dissect.Likely},
		{"a chunk of the client", dissect.ToServer, chunk(0, 3, "abc"), dissect.No},
		{"a chunk with another length", dissect.ToClient, msg(deliver, "\x03", "\x50\x00", strings.Repeat("\x00", 60)), dissect.No},
		{"a response in the middle", dissect.ToClient, reply(declarePublisher, 3, 1), dissect.Likely},
		{"an unknown code", dissect.ToClient, reply(declarePublisher, 3, 77), dissect.No},
		{"a heartbeat", dissect.ToServer, msg(heartbeat), dissect.No},
		{"an unknown key", dissect.ToServer, msg(99, u32(1)), dissect.No},
		{"bytes after the stream", dissect.ToServer, msg(remove, u32(7), str("none"), "x"), dissect.No},
		{"a request of Kafka", dissect.ToServer, "\x00\x00\x00\x14\x00\x12\x00\x00\x00\x00\x00\x01\x00\x0aconsole-01", dissect.No},
	})
}
