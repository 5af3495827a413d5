package nats

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

type chunks = []dissecttest.Chunk

var client, server = dissecttest.Client, dissecttest.Server

const (
	info    = "INFO {\"server_id\":\"NAB\",\"server_name\":\"n1\",\"version\":\"2.15.2\",\"proto\":1,\"headers\":true,\"max_payload\":1048576}\r\n"
	connect = "CONNECT {\"verbose\":false,\"pedantic\":false,\"user\":\"alice\",\"pass\":\"s3cret\",\"lang\":\"go\",\"version\":\"1.55.0\",\"name\":\"shop\",\"headers\":true}\r\nPING\r\n"
	raw     = "CONNECT {\"verbose\":true,\"auth_token\":\"t0ken\"}\r\n"
)

// pub and msg are messages of the two sides; hmsg has headers.
func pub(subject, reply, body string) string {
	return fmt.Sprintf("PUB %s %s %d\r\n%s\r\n", subject, reply, len(body), body)
}

func msg(subject, sid, reply, body string) string {
	return fmt.Sprintf("MSG %s %s %s %d\r\n%s\r\n", subject, sid, reply, len(body), body)
}

func hmsg(subject, sid, reply, headers, body string) string {
	headers = "NATS/1.0" + headers + "\r\n\r\n"
	return fmt.Sprintf("HMSG %s %s %s %d %d\r\n%s%s\r\n", subject, sid, reply, len(headers), len(headers)+len(body), headers, body)
}

func begun(list ...dissecttest.Chunk) chunks {
	return append(chunks{server(info), client(connect), server("PONG\r\n")}, list...)
}

const ack = "$JS.ACK.ORDERS.billing.1.17.3.1700000000000000000.2"

var samples = []dissecttest.Sample{
	{Name: "a request with its answer", Rows: 6, Chunks: begun(client("SUB _INBOX.a.* 1\r\n"), client(pub("price", "_INBOX.a.1", "tea")),
		server(msg("_INBOX.a.1", "1", "", "4.20")), client(pub("log", "", "")))},
	{Name: "a service that answers", Rows: 6, Chunks: begun(client("SUB price workers 7\r\n"), server(msg("price", "7", "_INBOX.b.1", "tea")),
		client(pub("_INBOX.b.1", "", "4.20")), server("PING\r\n"), client("PONG\r\n"))},
	{Name: "JetStream", Rows: 7, Chunks: begun(client("SUB _INBOX.a.* 1\r\n"+pub("orders.new", "_INBOX.a.1", "tea")+pub("orders.new", "_INBOX.a.2", "tea")),
		server(msg("_INBOX.a.1", "1", "", `{"stream":"ORDERS","seq":17}`)+msg("_INBOX.a.2", "1", "", `{"stream":"ORDERS","seq":17,"duplicate":true}`)),
		server(hmsg("orders.new", "1", ack, "\r\nNats-Msg-Id: m1", "tea")), client(pub(ack, "", "+ACK")))},
	{Name: "+OK to each command", Rows: 5, Chunks: chunks{server(info), client(raw), server("+OK\r\n"), client("SUB a 1\r\n" + pub("a", "", "hi")),
		server("+OK\r\n+OK\r\n" + msg("a", "1", "", "hi"))}},
}

func TestSuite(t *testing.T) { dissecttest.Run(t, Protocol(), samples...) }

func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), samples...) }

const hello = "INFO n1 2.15.2"

func TestRows(t *testing.T) {
	login := []string{hello, "CONNECT shop as alice → ok auth_kind=password", "PING → PONG"}
	columns := []string{"auth_kind", "nats_stream_sequence", "nats_message_id", "nats_stream", "nats_consumer", "nats_api", "status_code"}
	confirmed := begun(client("SUB _INBOX.a.* 1\r\nSUB orders.* 2\r\n"), server(msg("orders.new", "2", ack, "tea")), client(pub(ack, "_INBOX.a.5", "+ACK")), server(msg("_INBOX.a.5", "1", "", "")))
	for _, row := range dissecttest.Play(t, dissecttest.OptionsOf(Protocol()), confirmed...).Rows() {
		if b := row.Base(); !b.Complete {
			t.Errorf("%s is not complete", b.Summary)
		}
	}
	dissecttest.Converse(t, Protocol(), columns, []dissecttest.Conversation{
		{Name: "a request is paired with its answer", Chunks: samples[0].Chunks, Want: append(login[:3:3],
			"PUB price (3 B) → answer (4 B)", "SUB _INBOX.a.* → ok", "PUB log (0 B) → ok")},
		{Name: "a delivery is paired with the reply", Chunks: samples[1].Chunks, Want: append(login[:3:3],
			"MSG price (3 B) → answer (4 B)", "PING → PONG", "SUB price in group workers → ok")},
		{Name: "a service that refuses", Chunks: begun(client("SUB price 7\r\n"), server(msg("price", "7", "_INBOX.b.1", "tea")),
			client("HPUB _INBOX.b.1 70 70\r\nNATS/1.0\r\nNats-Service-Error: no tea\r\nNats-Service-Error-Code: 400\r\n\r\n\r\n")), Want: append(login[:3:3],
			"MSG price (3 B) → no tea outcome=server_error status_code=400", "SUB price → ok")},
		{Name: "JetStream links what was published with what was delivered", Chunks: samples[2].Chunks, Want: append(login[:3:3],
			"PUB orders.new (3 B) → ORDERS/17 nats_stream=ORDERS nats_stream_sequence=17",
			"PUB orders.new (3 B) → ORDERS/17 nats_stream=ORDERS nats_stream_sequence=17",
			"MSG orders.new (3 B) → ack nats_stream=ORDERS nats_consumer=billing nats_stream_sequence=17 nats_message_id=m1",
			"SUB _INBOX.a.* → ok")},
		{Name: "verbose commands are answered in order", Chunks: samples[3].Chunks, Want: []string{hello, "CONNECT → ok auth_kind=token", "SUB a → ok", "PUB a (2 B) → ok", "MSG a (2 B) → delivered"}},
		{Name: "a delivery that is not acknowledged in time", Chunks: begun(client("SUB orders.* 2\r\n"), server(msg("orders.new", "2", ack, "tea")), client(pub(ack, "", "+WPI")), client(pub(ack, "", "-NAK {\"delay\":1}"))), Want: append(login[:3:3],
			"MSG orders.new (3 B) → nak outcome=server_error nats_stream=ORDERS nats_consumer=billing nats_stream_sequence=17", "SUB orders.* → ok")},
		{Name: "an acknowledgement that the server confirms", Chunks: confirmed, Want: append(login[:3:3],
			"MSG orders.new (3 B) → ack nats_stream=ORDERS nats_consumer=billing nats_stream_sequence=17", "MSG _INBOX.a.5 (0 B) → acknowledgement confirmed",
			"SUB _INBOX.a.* → ok", "SUB orders.* → ok")},
		{Name: "a message to a subscription that nobody began", Chunks: begun(server(msg("a", "9", "", ""))), Anomalies: 1, Want: append(login[:3:3], "MSG a (0 B) → delivered")},
		{Name: "a login that is refused", Chunks: chunks{server(info), client(connect), server("-ERR 'Authorization Violation'\r\n")}, Want: []string{hello,
			"CONNECT shop as alice → Authorization Violation outcome=client_error auth_kind=password", "PING → no_response error=no_response outcome=no_answer"}},
		{Name: "errors name their subject", Chunks: begun(client(pub("secret", "", "x")+"SUB secret.> 4\r\n"+pub("hush", "_INBOX.a.1", "")),
			server("-ERR 'Permissions Violation for Publish to \"secret\"'\r\n-ERR 'Permissions Violation for Subscription to \"secret.>\"'\r\n-ERR 'Permissions Violation for Publish to \"hush\"'\r\n-ERR 'Stale Connection'\r\n")), Want: append(login[:3:3],
			`PUB secret (1 B) → Permissions Violation for Publish to "secret" outcome=client_error`,
			`SUB secret.> → Permissions Violation for Subscription to "secret.>" outcome=client_error`,
			`PUB hush (0 B) → Permissions Violation for Publish to "hush" outcome=client_error`,
			"-ERR Stale Connection outcome=server_error")},
		{Name: "nobody answers", Chunks: begun(client("SUB _INBOX.a.* 1\r\n"+pub("nobody", "_INBOX.a.1", "")), server(hmsg("_INBOX.a.1", "1", "", " 503", ""))), Want: append(login[:3:3],
			"PUB nobody (0 B) → no responders outcome=server_error status_code=503", "SUB _INBOX.a.* → ok")},
		{Name: "an answer that does not come", Chunks: begun(client("SUB _INBOX.a.* 1\r\n" + pub("slow", "_INBOX.a.1", "") + pub("other", "elsewhere", ""))), Want: append(login[:3:3],
			"SUB _INBOX.a.* → ok", "PUB slow (0 B) → no_response error=no_response outcome=no_answer", "PUB other (0 B) → answer goes elsewhere")},
		{Name: "a client that unsubscribes before the answer comes", Chunks: begun(client("SUB _INBOX.a 1\r\nSUB _INBOX.b.* 2\r\n" + pub("slow", "_INBOX.a", "") + pub("late", "_INBOX.b.7", "") + "UNSUB 1\r\nUNSUB 2\r\n")), Want: append(login[:3:3],
			"SUB _INBOX.a → ok", "SUB _INBOX.b.* → ok", "UNSUB _INBOX.a → ok", "UNSUB _INBOX.b.* → ok", "PUB slow (0 B) → no_response error=no_response outcome=no_answer", "PUB late (0 B) → no_response error=no_response outcome=no_answer")},
		{Name: "an answer that may go elsewhere, because the capture began later", Chunks: chunks{client(pub("slow", "_INBOX.a.1", "")), server("PING\r\n"), client("PONG\r\nSUB known.* 7\r\n" + pub("late", "known.1", ""))}, Want: []string{
			"PING → PONG", "SUB known.* → ok", "PUB slow (0 B) → cut error=cut outcome=cut", "PUB late (0 B) → no_response error=no_response outcome=no_answer"}},
		{Name: "the API of JetStream", Chunks: begun(client("SUB _INBOX.a 1\r\n"+pub("$JS.API.STREAM.INFO.NONE", "_INBOX.a", "")),
			server(msg("_INBOX.a", "1", "", `{"type":"io.nats.jetstream.api.v1.stream_info_response","error":{"code":404,"err_code":10059,"description":"stream not found"}}`)),
			client(pub("$JS.hub.API.CONSUMER.MSG.NEXT.ORDERS.billing", "_INBOX.a", `{"batch":1}`)), server(msg("orders.new", "1", ack, "tea"))), Want: append(login[:3:3],
			"PUB $JS.API.STREAM.INFO.NONE (0 B) → stream not found outcome=client_error status_code=404 nats_api=STREAM.INFO nats_stream=NONE",
			"PUB $JS.hub.API.CONSUMER.MSG.NEXT.ORDERS.billing (11 B) → messages nats_api=CONSUMER.MSG.NEXT nats_stream=ORDERS nats_consumer=billing",
			"SUB _INBOX.a → ok",
			"MSG orders.new (3 B) → delivered nats_stream=ORDERS nats_consumer=billing nats_stream_sequence=17")},
		{Name: "a message that does not exist, with and without direct access, and none that waits", Chunks: begun(client("SUB _INBOX.a.* 1\r\n"+pub("$JS.API.STREAM.MSG.GET.ORDERS", "_INBOX.a.1", `{"seq":9}`)),
			server(msg("_INBOX.a.1", "1", "", `{"type":"io.nats.jetstream.api.v1.stream_msg_get_response","error":{"code":404,"err_code":10037,"description":"no message found"}}`)),
			client(pub("$JS.API.DIRECT.GET.ORDERS", "_INBOX.a.2", `{"seq":9}`)), server(hmsg("_INBOX.a.2", "1", "", " 404 Message Not Found", "")),
			client(pub("$JS.API.CONSUMER.MSG.NEXT.ORDERS.billing", "_INBOX.a.3", `{"no_wait":true}`)), server(hmsg("_INBOX.a.3", "1", "", " 404 No Messages", ""))), Want: append(login[:3:3],
			"PUB $JS.API.STREAM.MSG.GET.ORDERS (9 B) → no message found outcome=client_error status_code=404 nats_api=STREAM.MSG.GET nats_stream=ORDERS",
			"PUB $JS.API.DIRECT.GET.ORDERS (9 B) → Message Not Found outcome=client_error status_code=404 nats_api=DIRECT.GET nats_stream=ORDERS",
			"PUB $JS.API.CONSUMER.MSG.NEXT.ORDERS.billing (16 B) → No Messages status_code=404 nats_api=CONSUMER.MSG.NEXT nats_stream=ORDERS nats_consumer=billing",
			"SUB _INBOX.a.* → ok")},
		{Name: "a delivery answers one of the requests for messages that share a wildcard", Chunks: begun(
			client("SUB _INBOX.a.* 1\r\n"+pub("$JS.API.CONSUMER.MSG.NEXT.ORDERS.audit", "_INBOX.a.1", "")+pub("$JS.API.CONSUMER.MSG.NEXT.ORDERS.billing", "_INBOX.a.2", "")),
			server(msg("orders.new", "1", ack, "tea"))), Want: append(login[:3:3],
			"PUB $JS.API.CONSUMER.MSG.NEXT.ORDERS.billing (0 B) → messages nats_api=CONSUMER.MSG.NEXT nats_stream=ORDERS nats_consumer=billing",
			"SUB _INBOX.a.* → ok", "MSG orders.new (3 B) → delivered nats_stream=ORDERS nats_consumer=billing nats_stream_sequence=17",
			"PUB $JS.API.CONSUMER.MSG.NEXT.ORDERS.audit (0 B) → no_response error=no_response outcome=no_answer nats_api=CONSUMER.MSG.NEXT nats_stream=ORDERS nats_consumer=audit")},
		{Name: "a line whose end comes after the other side's first message", Chunks: chunks{server("MSG a 1 "), client(pub("b", "", "hi")), server("2\r\nhi\r\n")}, Want: []string{
			"MSG a (2 B) → delivered", "PUB b (2 B) → ok"}},
		{Name: "bytes lost in a payload", Chunks: begun(client("PUB a 10\r\n01234"), dissecttest.Chunk{Dir: dissect.ToServer, Gap: 3, Data: []byte("89\r\n" + pub("b", "", "x"))}), Want: append(login[:3:3],
			"PUB a (10 B) → gap error=gap outcome=unread", "PUB b (1 B) → ok")},
	}...)
}

func TestDetect(t *testing.T) {
	dissecttest.Detect(t, detect, dissecttest.Heads{
		{"the server's first line", dissect.ToClient, info, dissect.Yes},
		{"its beginning", dissect.ToClient, info[:9], dissect.More},
		{"JSON of another server", dissect.ToClient, "INFO {\"id\":1}\r\n", dissect.No},
		{"the client's first line", dissect.ToServer, connect, dissect.Yes},
		{"a request of HTTP", dissect.ToServer, "CONNECT shop:443 HTTP/1.1\r\n", dissect.No},
		{"the beginning of a request of HTTP", dissect.ToServer, "CONNECT shop", dissect.No},
		{"a message", dissect.ToServer, pub("a.b", "", "hello"), dissect.Yes},
		{"a message that is longer than its line says", dissect.ToServer, "PUB a.b 4\r\nhello\r\n", dissect.No},
		{"a message of MSN", dissect.ToClient, "MSG a@example.org Ann 5\r\nhelloMSG", dissect.No},
		{"a message from the wrong side", dissect.ToClient, pub("a.b", "", "hello"), dissect.No},
		{"a ping, which Redis has too", dissect.ToServer, "PING\r\n", dissect.No},
	})
}

// TestNoSecretLeavesThePackage looks for the credentials of all conversations in their rows.
func TestNoSecretLeavesThePackage(t *testing.T) {
	for _, s := range samples {
		for _, row := range dissecttest.Play(t, dissecttest.OptionsOf(Protocol()), s.Chunks...).Rows() {
			for _, secret := range []string{"s3cret", "t0ken"} {
				if text := fmt.Sprintf("%+v", row); strings.Contains(text, secret) {
					t.Errorf("%s in %s", secret, text)
				}
			}
		}
	}
}

// TestManySubscriptions asks for an answer to a subject that is one of more than a constant would limit.
func TestManySubscriptions(t *testing.T) {
	var subs strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&subs, "SUB s.%d %d\r\n", i, i+1)
	}
	o := dissecttest.OptionsOf(Protocol())
	o.Budget = 256 << 20
	r := dissecttest.Play(t, o, begun(client(subs.String()+pub("price", "s.7", "")+pub("price", "elsewhere", "")))...)
	got := map[string]string{}
	for _, c := range r.Rows() {
		if row := c.(*Row); row.Method.V == "PUB" {
			got[row.Subject.V+" "+row.Reply.V] = row.Error.V
		}
	}
	for call, want := range map[string]bool{"price s.7": true, "price elsewhere": false} {
		if err, ok := got[call]; !ok || (err != "") != want {
			t.Errorf("%s: error %q, want an error: %v", call, err, want)
		}
	}
}

// TestEachPullMayBeAnswered loses bytes of the server: any of the pulls before may have its messages there.
func TestEachPullMayBeAnswered(t *testing.T) {
	var pulls strings.Builder
	for i := range 100 {
		pulls.WriteString(pub("$JS.API.CONSUMER.MSG.NEXT.ORDERS.billing", fmt.Sprintf("_INBOX.a.%d", i), `{"batch":1}`))
	}
	lost := server("+OK\r\n")
	lost.Gap = 500
	r := dissecttest.Play(t, dissecttest.OptionsOf(Protocol()), begun(client("SUB _INBOX.a.* 1\r\n"+pulls.String()), lost)...)
	n := 0
	for _, c := range r.Rows() {
		if row := c.(*Row); row.API.V == apiNext && row.Error.V == "gap" {
			n++
		}
	}
	if n != 100 {
		t.Errorf("%d pulls with a gap, want 100", n)
	}
}
