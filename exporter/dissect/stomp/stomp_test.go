package stomp

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

type chunks = []dissecttest.Chunk

var client, server = dissecttest.Client, dissecttest.Server

const trace = "traceparent:00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\n"

func login(list ...dissecttest.Chunk) chunks {
	return append(chunks{client("CONNECT\naccept-version:1.1,1.2\nhost:/\nlogin:shop\npasscode:s3cret\nheart-beat:10000,0\n\n\x00\n"),
		server("CONNECTED\nversion:1.2\nserver:RabbitMQ/3.10.8\nsession:session-1\nheart-beat:0,10000\n\n\x00\n")}, list...)
}

func subscribed(mode string, list ...dissecttest.Chunk) chunks {
	return login(append(chunks{client("SUBSCRIBE\nid:0\ndestination:/queue/a\nack:" + mode + "\n\n\x00")}, list...)...)
}

// deliver is a message of the subscription. Its body has a NUL.
func deliver(n int) string {
	return fmt.Sprintf("MESSAGE\nsubscription:0\ndestination:/queue/a\nmessage-id:m-%d\nack:a-%d\nredelivered:false\ncontent-length:5\n\nhe\x00lo\x00\n", n, n)
}

var samples = []dissecttest.Sample{
	{Name: "a publisher with receipts", Rows: 6, Chunks: login(
		client("SEND\ndestination:/queue/a\ncontent-type:text/plain\nreceipt:r-1\n"+trace+"content-length:5\n\nhello\x00\n"), server("RECEIPT\nreceipt-id:r-1\n\n\x00\n"),
		client("\n\nBEGIN\ntransaction:t\n\n\x00\nSEND\ndestination:/queue/a\ntransaction:t\n\nfree\x00COMMIT\ntransaction:t\nreceipt:r-2\n\n\x00"), server("\nRECEIPT\nreceipt-id:r-2\n\n\x00\n"),
		client("DISCONNECT\nreceipt:r-3\n\n\x00"), server("RECEIPT\nreceipt-id:r-3\n\n\x00"))},
	{Name: "a consumer", Rows: 5, Chunks: subscribed("client-individual", server(deliver(1)+deliver(2)), client("ACK\nid:a-1\n\n\x00NACK\nid:a-2\n\n\x00"),
		client("UNSUBSCRIBE\nid:0\nreceipt:r\n\n\x00"), server("RECEIPT\nreceipt-id:r\n\n\x00"))},
}

func TestSuite(t *testing.T) { dissecttest.Run(t, Protocol(), samples...) }

func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), samples...) }

func TestRows(t *testing.T) {
	columns := []string{"auth_kind", "trace_id", "stomp_version", "stomp_transaction", "stomp_receipt", "stomp_ack_mode", "stomp_value", "stomp_error_detail"}
	const connected = "CONNECT / as shop → RabbitMQ/3.10.8 auth_kind=password stomp_version=1.2"
	const sub = "SUBSCRIBE /queue/a stomp_version=1.2 stomp_ack_mode="
	hex := " stomp_value=0x6865006c6f"
	dissecttest.Converse(t, Protocol(), columns, []dissecttest.Conversation{
		{Name: "receipts and a transaction", Chunks: samples[0].Chunks, Want: []string{connected,
			"SEND /queue/a (5 B) → ok trace_id=4bf92f3577b34da6a3ce929d0e0e4736 stomp_version=1.2 stomp_receipt=r-1 stomp_value=hello",
			"BEGIN t stomp_version=1.2 stomp_transaction=t", "SEND /queue/a (4 B) stomp_version=1.2 stomp_transaction=t stomp_value=free",
			"COMMIT t → ok stomp_version=1.2 stomp_transaction=t stomp_receipt=r-2", "DISCONNECT → ok stomp_version=1.2 stomp_receipt=r-3"}},
		{Name: "deliveries are acknowledged one by one", Chunks: samples[1].Chunks, Want: []string{connected, sub + "client-individual",
			"MESSAGE /queue/a (5 B) → ack stomp_version=1.2 stomp_ack_mode=client-individual" + hex,
			"MESSAGE /queue/a (5 B) → nack outcome=client_error stomp_version=1.2 stomp_ack_mode=client-individual" + hex,
			"UNSUBSCRIBE /queue/a → ok stomp_version=1.2 stomp_receipt=r"}},
		{Name: "one acknowledgement covers several", Chunks: subscribed("client", server(deliver(1)+deliver(2)+deliver(3)), client("ACK\nid:a-2\n\n\x00")), Want: []string{connected, sub + "client",
			"MESSAGE /queue/a (5 B) → ack stomp_version=1.2 stomp_ack_mode=client" + hex, "MESSAGE /queue/a (5 B) → ack stomp_version=1.2 stomp_ack_mode=client" + hex,
			"MESSAGE /queue/a (5 B) → delivered stomp_version=1.2 stomp_ack_mode=client" + hex}},
		{Name: "an acknowledgement with a receipt is a row too", Chunks: subscribed("client-individual", server(deliver(1)), client("ACK\nid:a-1\nreceipt:r\n\n\x00"), server("RECEIPT\nreceipt-id:r\n\n\x00")), Want: []string{connected, sub + "client-individual",
			"MESSAGE /queue/a (5 B) → ack stomp_version=1.2 stomp_ack_mode=client-individual" + hex, "ACK a-1 → ok stomp_version=1.2 stomp_receipt=r"}},
		{Name: "an acknowledgement in a transaction is valid with its end", Chunks: subscribed("client", server(deliver(1)), server(deliver(2)), server(deliver(3)),
			client("ACK\nid:a-2\ntransaction:t\n\n\x00"), client("ABORT\ntransaction:t\n\n\x00"), client("NACK\nid:a-1\ntransaction:u\n\n\x00"), client("ACK\nid:a-3\ntransaction:v\n\n\x00"),
			client("COMMIT\ntransaction:u\n\n\x00")), Want: []string{connected, sub + "client",
			"ACK a-2 stomp_version=1.2 stomp_transaction=t", "ABORT t stomp_version=1.2 stomp_transaction=t", "NACK a-1 stomp_version=1.2 stomp_transaction=u", "ACK a-3 stomp_version=1.2 stomp_transaction=v",
			"MESSAGE /queue/a (5 B) → nack outcome=client_error stomp_version=1.2 stomp_ack_mode=client" + hex, "COMMIT u stomp_version=1.2 stomp_transaction=u",
			"MESSAGE /queue/a (5 B) → delivered stomp_version=1.2 stomp_ack_mode=client" + hex, "MESSAGE /queue/a (5 B) → delivered stomp_version=1.2 stomp_ack_mode=client" + hex}},
		{Name: "nothing acknowledges messages of an automatic subscription", Chunks: subscribed("auto", server("MESSAGE\r\nsubscription:0\r\ndestination:/queue/a\r\nmessage-id:1\r\n\r\nhi\x00\r\n")), Want: []string{connected, sub + "auto",
			"MESSAGE /queue/a (2 B) stomp_version=1.2 stomp_ack_mode=auto stomp_value=hi"}},
		{Name: "a login that is refused", Chunks: chunks{login()[0], server("ERROR\nmessage:Bad CONNECT\ncontent-type:text/plain\n\nAccess refused for user 'shop'\n\x00")}, Want: []string{
			"CONNECT / as shop → Bad CONNECT outcome=client_error auth_kind=password stomp_error_detail=Access refused for user 'shop'\n"}},
		{Name: "an error answers the frame whose receipt it names", Chunks: login(client("SEND\ndestination:nowhere\nreceipt:7\n\nx\x00"), server("ERROR\nreceipt-id:7\nmessage:Unknown destination\n\nno\x00")), Want: []string{connected,
			"SEND nowhere (1 B) → Unknown destination outcome=client_error stomp_version=1.2 stomp_receipt=7 stomp_value=x stomp_error_detail=no"}},
		{Name: "an error without a receipt is a row", Chunks: login(server("ERROR\nmessage:Processing error\n\n\x00")), Want: []string{connected,
			"ERROR Processing error outcome=server_error stomp_version=1.2"}},
		{Name: "1.0 acknowledges by message", Chunks: chunks{client("CONNECT\nlogin: shop\n\n\x00"), server("CONNECTED\nsession: s\n\n\x00\n"), client("SUBSCRIBE\ndestination: /queue/b\nack: client\n\n\x00"),
			server("MESSAGE\ndestination: /queue/b\nmessage-id: 1\n\na\\nb\x00\n"), client("ACK\nmessage-id: 1\n\n\x00")}, Want: []string{
			"CONNECT as shop → ok stomp_version=1.0", "SUBSCRIBE /queue/b stomp_version=1.0 stomp_ack_mode=client", "MESSAGE /queue/b (4 B) → ack stomp_version=1.0 stomp_ack_mode=client stomp_value=a\\nb"}},
		{Name: "an error after a lost answer to the login is not its answer", Chunks: chunks{login()[0], client("BEGIN\ntransaction:t\n\n\x00"), server("ERROR\nmessage:no\n\n\x00")}, Want: []string{
			"BEGIN t stomp_transaction=t", "ERROR no outcome=client_error", "CONNECT / as shop → no_response error=no_response outcome=no_answer auth_kind=password"}},
		{Name: "escapes of headers", Chunks: login(client("SEND\ndestination:/queue/a\\cb\\\\n\n\nx\x00")), Want: []string{connected, `SEND /queue/a:b\n (1 B) stomp_version=1.2 stomp_value=x`}},
		{Name: "a receipt that does not come", Chunks: login(client("SEND\ndestination:/queue/a\nreceipt:1\n\nx\x00")), End: dissect.EndReset, Want: []string{connected,
			"SEND /queue/a (1 B) → reset error=reset outcome=no_answer stomp_version=1.2 stomp_receipt=1 stomp_value=x"}},
		{Name: "bytes lost in a body", Chunks: login(client("SEND\ndestination:/queue/a\ncontent-length:8\n\n0123"), dissecttest.Chunk{Dir: dissect.ToServer, Gap: 2, Data: []byte("67\x00")}), Want: []string{connected,
			"SEND /queue/a (8 B) → gap error=gap outcome=unread stomp_version=1.2 stomp_value=012367"}},
	}...)
}

func TestDetect(t *testing.T) {
	dissecttest.Detect(t, detect, dissecttest.Heads{
		{"a login", dissect.ToServer, "CONNECT\naccept-version:1.2\n\n\x00", dissect.Yes},
		{"the oldest login", dissect.ToServer, "CONNECT\n\n\x00", dissect.Yes},
		{"its beginning", dissect.ToServer, "CONNECT\naccept", dissect.More},
		{"the answer", dissect.ToClient, "CONNECTED\r\nversion:1.2\r\n\r\n\x00", dissect.Yes},
		{"the answer of the other side", dissect.ToServer, "CONNECTED\nversion:1.2\n\n\x00", dissect.No},
		{"a login without its NUL", dissect.ToServer, "CONNECT\nname:value\n\nx", dissect.No},
		{"a header of the login", dissect.ToServer, "CONNECT\nlogin:", dissect.Yes},
		{"CONNECT of HTTP", dissect.ToServer, "CONNECT shop:443 HTTP/1.1\r\n\r\n", dissect.No},
		{"CONNECT of NATS", dissect.ToServer, "CONNECT {\"verbose\":false}\r\n", dissect.No},
		{"a message without its destination", dissect.ToServer, "SEND\na:b\n\nx\x00", dissect.No},
		{"a message of SIP", dissect.ToClient, "MESSAGE sip:a@b SIP/2.0\r\n\r\n", dissect.No},
		{"a message in the middle", dissect.ToClient, deliver(1), dissect.Yes},
		{"a line end", dissect.ToClient, "\n", dissect.No},
	})
}

// TestNoSecretLeavesThePackage looks for the passcode of a login in its rows.
func TestNoSecretLeavesThePackage(t *testing.T) {
	for _, row := range dissecttest.Play(t, dissecttest.OptionsOf(Protocol()), login()...).Rows() {
		if text := fmt.Sprintf("%+v", row); strings.Contains(text, "s3cret") {
			t.Error(text)
		}
	}
}

// TestAcknowledgementsOfMany has one ACK for more messages than a constant would limit, and messages
// whose ids are used again and again.
func TestAcknowledgementsOfMany(t *testing.T) {
	const n = 5000
	var many, again strings.Builder
	for i := range n {
		many.WriteString(deliver(i + 1))
		again.WriteString(deliver(i%3 + 1))
	}
	for _, c := range []struct {
		name, messages, id string
		acked              int
	}{
		{"up to the last but one", many.String(), fmt.Sprintf("a-%d", n-1), n - 1},
		{"ids that are used again", again.String(), "a-2", 3},
	} {
		o := dissecttest.OptionsOf(Protocol())
		o.Budget = 64 << 20
		acked := 0
		for _, r := range dissecttest.Play(t, o, subscribed("client", server(c.messages), client("ACK\nid:"+c.id+"\n\n\x00"))...).Rows() {
			if r.(*Row).Ack.V == "ack" {
				acked++
			}
		}
		if acked != c.acked {
			t.Errorf("%s: %d messages are acknowledged, want %d", c.name, acked, c.acked)
		}
	}
}
