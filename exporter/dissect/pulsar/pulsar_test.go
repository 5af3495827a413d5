package pulsar

import (
	"encoding/binary"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

type chunks = []dissecttest.Chunk

var client, server = dissecttest.Client, dissecttest.Server

// fields are fields of a message: a number of the field and its value, a number or a text.
func fields(list ...any) (b []byte) {
	for i := 0; i < len(list); i += 2 {
		n := protowire.Number(list[i].(int))
		if v, ok := list[i+1].(int); ok {
			b = protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), uint64(v))
		} else {
			b = protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), list[i+1].(string))
		}
	}
	return b
}

// frame is a command, and what follows it.
func frame(kind int, rest string, list ...any) string {
	c := fields(1, kind, kind, string(fields(list...)))
	b := binary.BigEndian.AppendUint32(nil, uint32(4+len(c)+len(rest)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(c)))
	return string(append(b, c...)) + rest
}

func content(meta []byte, payload string) string {
	return "\x0e\x01\x12\x34\x56\x78" + string(binary.BigEndian.AppendUint32(nil, uint32(len(meta)))) + string(meta) + payload
}

var (
	hello   = frame(2, "", 1, "Pulsar-CPP-v3", 5, "token", 3, "eyJ-secret", 4, 20)
	welcome = frame(3, "", 1, "Pulsar Server", 2, 20)
	denies  = frame(14, "", 1, -1, 2, 3, 3, "bad token")
	lookup  = frame(23, "", 1, "orders", 2, 1)
	found   = frame(24, "", 1, "pulsar://b:6650", 3, 1, 4, 1)
	lost    = frame(24, "", 3, 2, 4, 1, 6, 11, 7, "no such topic")
	creates = frame(5, "", 1, "orders", 2, 0, 3, 2)
	created = frame(17, "", 1, 2, 2, "p-1")
	sends7  = frame(6, content(fields(1, "p-1", 2, 7, 3, 1, 4, string(fields(1, "traceparent", 2, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")), 6, "k", 11, 2), "payload"), 1, 0, 2, 7, 3, 2)
	receipt = frame(7, "", 1, 0, 2, 7, 3, string(fields(1, 3, 2, 4)))
	fails   = frame(8, "", 1, 0, 2, 7, 3, 15, 4, "terminated")
	joins   = frame(4, "", 1, "orders", 2, "billing", 3, 1, 4, 5, 5, 3)
	joined  = frame(13, "", 1, 3)
	flow    = frame(11, "", 1, 5, 2, 100)
	gets    = frame(9, content(fields(1, "p-1", 2, 7, 3, 1), "payload"), 1, 5, 2, string(fields(1, 3, 2, 4)))
	pings   = frame(18, "")
	pongs   = frame(19, "")
)

var samples = []dissecttest.Sample{{Name: "a producer and a consumer", Rows: 8, Chunks: chunks{client(hello), server(welcome), client(lookup), server(found), client(creates), server(created),
	client(sends7), server(receipt), client(joins), server(joined), client(flow), server(gets), server(pings), client(pongs)}}}

func TestSuite(t *testing.T) { dissecttest.Run(t, Protocol(), samples...) }

func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), samples...) }

func TestNoSecret(t *testing.T) { dissecttest.NoSecret(t, Protocol(), samples[0], "eyJ-secret") }

func TestRows(t *testing.T) {
	columns := []string{"status_code", "trace_id", "auth_kind", "pulsar_request_id", "pulsar_producer_id", "pulsar_consumer_id", "pulsar_sequence_id", "pulsar_name", "pulsar_messages", "pulsar_key", "pulsar_client_version", "pulsar_server_version", "pulsar_error"}
	dissecttest.Converse(t, Protocol(), columns, []dissecttest.Conversation{
		{Name: "a producer and a consumer", Chunks: samples[0].Chunks, Want: []string{
			"CONNECT auth_kind=token pulsar_client_version=Pulsar-CPP-v3 pulsar_server_version=Pulsar Server",
			"LOOKUP orders → pulsar://b:6650 pulsar_request_id=1",
			"PRODUCER orders pulsar_request_id=2 pulsar_producer_id=0 pulsar_name=p-1",
			"SEND 2 messages orders trace_id=4bf92f3577b34da6a3ce929d0e0e4736 pulsar_producer_id=0 pulsar_sequence_id=7 pulsar_name=p-1 pulsar_messages=2 pulsar_key=k",
			"SUBSCRIBE orders (billing) pulsar_request_id=3 pulsar_consumer_id=5",
			"FLOW orders (billing) pulsar_consumer_id=5",
			"MESSAGE orders (billing) pulsar_consumer_id=5 pulsar_name=p-1 pulsar_messages=1",
			"PING"}},
		{Name: "errors", Chunks: chunks{client(hello), server(denies), client(lookup), server(lost), client(creates), server(created), client(sends7), server(fails)}, Want: []string{
			"CONNECT → AuthenticationError outcome=refused status_code=3 auth_kind=token pulsar_client_version=Pulsar-CPP-v3 pulsar_error=bad token",
			"LOOKUP orders → TopicNotFound outcome=client_error status_code=11 pulsar_request_id=1 pulsar_error=no such topic",
			"PRODUCER orders pulsar_request_id=2 pulsar_producer_id=0 pulsar_name=p-1",
			"SEND 2 messages orders → TopicTerminatedError outcome=client_error status_code=15 trace_id=4bf92f3577b34da6a3ce929d0e0e4736 pulsar_producer_id=0 pulsar_sequence_id=7 pulsar_name=p-1 pulsar_messages=2 pulsar_key=k pulsar_error=terminated"}},
		{Name: "no answer, and one without a command", Chunks: chunks{client(lookup), server(joined)}, End: dissect.EndReset, Want: []string{
			"SUCCESS → no_request error=no_request pulsar_request_id=3",
			"LOOKUP orders → reset error=reset outcome=no_answer pulsar_request_id=1"}},
	}...)
}

func TestDetect(t *testing.T) {
	dissecttest.Detect(t, detect, dissecttest.Heads{
		{"a login", dissect.ToServer, hello, dissect.Yes},
		{"a ping", dissect.ToClient, pings, dissect.Yes},
		{"a part", dissect.ToServer, hello[:11], dissect.More},
		{"a command of the other side", dissect.ToClient, hello, dissect.No},
		{"a command longer than its frame", dissect.ToServer, "\x00\x00\x00\x10\x00\x00\x00\x20" + hello[8:], dissect.No},
		{"another field", dissect.ToServer, hello[:10] + "\x1a" + hello[11:], dissect.No},
	})
}
