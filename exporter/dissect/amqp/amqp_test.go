package amqp

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

type chunks = []dissecttest.Chunk

var client, server = dissecttest.Client, dissecttest.Server

// frame is a frame of a type on a channel.
func frame(kind byte, channel uint16, body string) string {
	b := binary.BigEndian.AppendUint16([]byte{kind}, channel)
	return string(binary.BigEndian.AppendUint32(b, uint32(len(body)))) + body + "\xce"
}

func method(channel uint16, id uint32, args string) string {
	return frame(1, channel, string(binary.BigEndian.AppendUint32(nil, id))+args)
}

// body is the header and the body of a message, in two frames if it is long.
func body(channel uint16, flags uint16, props, text string) string {
	b := binary.BigEndian.AppendUint64([]byte{0, 60, 0, 0}, uint64(len(text)))
	s := frame(2, channel, string(binary.BigEndian.AppendUint16(b, flags))+props)
	for half := (len(text) + 1) / 2; len(text) > 0; {
		n := min(half, len(text))
		s += frame(3, channel, text[:n])
		text = text[n:]
	}
	return s
}

func short(s string) string { return string([]byte{byte(len(s))}) + s }

func long(s string) string { return string(binary.BigEndian.AppendUint32(nil, uint32(len(s)))) + s }

func tagOf(n uint64) string { return string(binary.BigEndian.AppendUint64(nil, n)) }

const none = "\x00\x00\x00\x00" // an empty table

var (
	start   = method(0, connStart, "\x00\x09"+long(short("product")+"S"+long("RabbitMQ")+short("version")+"S"+long("3.10.8"))+long("PLAIN")+long("en_US"))
	startOK = method(0, connStartOK, long(short("product")+"S"+long("shop"))+short("PLAIN")+long("\x00alice\x00s3cret")+short("en_US"))
	tune    = method(0, connTune, "\x07\xff\x00\x02\x00\x00\x00\x3c")
	tuneOK  = method(0, connTuneOK, "\x07\xff\x00\x02\x00\x00\x00\x3c")
	open    = method(0, connOpen, short("/")+"\x00\x00")
	openOK  = method(0, connOpen+1, "\x00")
	chanOK  = method(1, 20<<16|11, none)
)

func begun(list ...dissecttest.Chunk) chunks {
	return append(chunks{client(preface), server(start), client(startOK), server(tune), client(tuneOK + open), server(openOK),
		client(method(1, 20<<16|10, "\x00")), server(chanOK)}, list...)
}

func publishTo(exchange, key, flags string) string {
	return method(1, publish, "\x00\x00"+short(exchange)+short(key)+flags)
}

func deliverOf(tag uint64, key string) string {
	return method(1, deliver, short("c1")+tagOf(tag)+"\x00"+short("orders")+short(key))
}

var props = short("text/plain") + long(short("traceparent")+"S"+long("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")) + short("corr-7")

const withProps = 0x8000 | 0x2000 | 0x0400

var samples = []dissecttest.Sample{
	{Name: "a publisher with confirmations", Rows: 10, Chunks: begun(client(method(1, confirmSelect, "\x00")), server(method(1, confirmSelect+1, "")),
		client(publishTo("orders", "new", "\x00")+body(1, withProps, props, "hello")+publishTo("orders", "old", "\x00")+body(1, 0, "", "")),
		server(method(1, ack, tagOf(2)+"\x01")), client(frame(8, 0, "")), client(method(0, connClose, "\x00\xc8"+short("bye")+none)), server(method(0, connCloseOK, "")))},
	{Name: "a consumer", Rows: 10, Chunks: begun(client(method(1, quDeclare, "\x00\x00"+short("q")+"\x02"+none)), server(method(1, quDeclareOK, short("q")+none+none)),
		client(method(1, consume, "\x00\x00"+short("q")+short("")+"\x00"+none)), server(method(1, consumeOK, short("c1"))+deliverOf(1, "new")+body(1, withProps, props, "hello")),
		client(method(1, ack, tagOf(1)+"\x00")), server(deliverOf(2, "new")+body(1, 0, "", "again")), client(method(1, reject, tagOf(2)+"\x01")))},
}

func TestSuite(t *testing.T) { dissecttest.Run(t, Protocol(), samples...) }

func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), samples...) }

func TestRows(t *testing.T) {
	ask, empty := method(1, get, "\x00\x00"+short("q")+"\x01"), method(1, getEmpty, "\x00")
	columns := []string{"amqp_methods", "auth_kind", "trace_id", "amqp_delivery_tag"}
	login := []string{"protocol header amqp_methods=[protocol header]", "connection.start RabbitMQ 3.10.8 amqp_methods=[connection.start]",
		"connection.start-ok shop as alice → ok auth_kind=password amqp_methods=[connection.start-ok connection.tune]",
		"connection.tune-ok amqp_methods=[connection.tune-ok]", "connection.open / → ok amqp_methods=[connection.open connection.open-ok]",
		"channel.open → ok amqp_methods=[channel.open channel.open-ok]"}
	after := func(list ...string) []string { return append(login[:len(login):len(login)], list...) }
	const trace = " trace_id=4bf92f3577b34da6a3ce929d0e0e4736"
	const confirm = "confirm.select → ok amqp_methods=[confirm.select confirm.select-ok]"
	dissecttest.Converse(t, Protocol(), columns, []dissecttest.Conversation{
		{Name: "one confirmation covers several messages", Chunks: samples[0].Chunks, Want: after(confirm,
			"basic.publish orders/new (5 B) → ack"+trace+" amqp_methods=[basic.publish basic.ack] amqp_delivery_tag=1",
			"basic.publish orders/old (0 B) → ack amqp_methods=[basic.publish] amqp_delivery_tag=2",
			"connection.close → 200 bye amqp_methods=[connection.close connection.close-ok]")},
		{Name: "deliveries are acknowledged", Chunks: samples[1].Chunks, Want: after(
			"queue.declare q → ok amqp_methods=[queue.declare queue.declare-ok]", "basic.consume q → ok amqp_methods=[basic.consume basic.consume-ok]",
			"basic.deliver orders/new (5 B) → ack"+trace+" amqp_methods=[basic.deliver basic.ack] amqp_delivery_tag=1",
			"basic.deliver orders/new (5 B) → reject and requeue outcome=server_error amqp_methods=[basic.deliver basic.reject] amqp_delivery_tag=2")},
		{Name: "an error closes the channel", Chunks: begun(client(method(1, quDeclare, "\x00\x00"+short("none")+"\x01"+none)),
			server(method(1, chanClose, "\x01\x94"+short("NOT_FOUND - no queue 'none'")+"\x00\x32\x00\x0a")), client(method(1, chanCloseOK, ""))), Want: after(
			"queue.declare none → 404 NOT_FOUND - no queue 'none' outcome=client_error amqp_methods=[queue.declare]",
			"channel.close → 404 NOT_FOUND - no queue 'none' amqp_methods=[channel.close channel.close-ok]")},
		{Name: "a login that is refused", Chunks: chunks{client(preface), server(start), client(startOK), server(method(0, connClose, "\x01\x93"+short("ACCESS_REFUSED - no")+none)), client(method(0, connCloseOK, ""))}, Want: []string{
			login[0], login[1], "connection.start-ok shop as alice → 403 ACCESS_REFUSED - no outcome=client_error auth_kind=password amqp_methods=[connection.start-ok]",
			"connection.close → 403 ACCESS_REFUSED - no amqp_methods=[connection.close connection.close-ok]"}},
		{Name: "a message that no queue gets comes back", Chunks: begun(client(method(1, confirmSelect, "\x00")), server(method(1, confirmSelect+1, "")),
			client(publishTo("", "nowhere", "\x01")+body(1, 0, "", "hello")),
			server(method(1, returned, "\x01\x38"+short("NO_ROUTE")+short("")+short("nowhere"))+body(1, 0, "", "hello")+method(1, ack, tagOf(1)+"\x00"))), Want: after(confirm,
			"basic.return nowhere (5 B) → 312 NO_ROUTE amqp_methods=[basic.return]",
			"basic.publish nowhere (5 B) → 312 NO_ROUTE outcome=client_error amqp_methods=[basic.publish basic.ack] amqp_delivery_tag=1")},
		{Name: "a queue is asked twice", Chunks: begun(client(method(1, get, "\x00\x00"+short("q")+"\x01")+method(1, get, "\x00\x00"+short("q")+"\x01")),
			server(method(1, getOK, tagOf(1)+"\x00"+short("")+short("q")+none)+body(1, 0, "", "hi")+method(1, getEmpty, "\x00"))), Want: after(
			"basic.get q → message (2 B) amqp_methods=[basic.get basic.get-ok] amqp_delivery_tag=1", "basic.get q → empty amqp_methods=[basic.get basic.get-empty]")},
		{Name: "the answer to the first of three requests is lost", Chunks: begun(client(ask), dissecttest.Chunk{Dir: dissect.ToClient, Gap: int64(len(empty))},
			client(ask), server(empty), client(ask), server(empty)), Want: after(
			"basic.get q → gap error=gap outcome=unread amqp_methods=[basic.get]", "basic.get q → empty amqp_methods=[basic.get basic.get-empty]", "basic.get q → empty amqp_methods=[basic.get basic.get-empty]")},
		{Name: "the answer to one of two requests at once is lost", Chunks: begun(client(ask+ask), dissecttest.Chunk{Dir: dissect.ToClient, Gap: int64(len(empty)), Data: []byte(empty)},
			client(ask), server(empty)), Want: after(
			"basic.get q → gap error=gap outcome=unread amqp_methods=[basic.get]", "basic.get q → gap error=gap outcome=unread amqp_methods=[basic.get]",
			"basic.get-empty → no_request error=no_request outcome=cut amqp_methods=[basic.get-empty]", "basic.get q → empty amqp_methods=[basic.get basic.get-empty]")},
		{Name: "a message that was asked for is acknowledged", Chunks: begun(client(method(1, get, "\x00\x00"+short("q")+"\x00")),
			server(method(1, getOK, tagOf(1)+"\x00"+short("")+short("q")+none)+body(1, 0, "", "hi")), client(method(1, reject, tagOf(1)+"\x00")+method(1, ack, tagOf(2)+"\x00"))), Want: after(
			"basic.get q → message (2 B) amqp_methods=[basic.get basic.get-ok] amqp_delivery_tag=1", "basic.reject 1 amqp_methods=[basic.reject] amqp_delivery_tag=1",
			"basic.ack 2 → no_request error=no_request amqp_methods=[basic.ack] amqp_delivery_tag=2")},
		{Name: "messages and acknowledgements of transactions", Chunks: begun(client(method(1, txSelect, "")), server(method(1, txSelect+1, "")),
			client(publishTo("", "q", "\x00")+body(1, 0, "", "one")), server(deliverOf(1, "new")+body(1, 0, "", "hello")),
			client(method(1, ack, tagOf(1)+"\x00")+method(1, txRollback, "")+publishTo("", "q", "\x00")+body(1, 0, "", "two")), server(method(1, txRollback+1, "")),
			client(method(1, ack, tagOf(1)+"\x00")+method(1, txCommit, "")+publishTo("", "q", "\x00")+body(1, 0, "", "three")), server(method(1, txCommit+1, "")),
			client(method(1, chanClose, "\x00\xc8"+short("")+"\x00\x00\x00\x00")), server(method(1, chanCloseOK, ""))), Want: after(
			"tx.select → ok amqp_methods=[tx.select tx.select-ok]",
			"tx.rollback → ok amqp_methods=[tx.rollback tx.rollback-ok]",
			"basic.publish q (3 B) → rolled back outcome=client_error amqp_methods=[basic.publish]",
			"basic.deliver orders/new (5 B) → ack, rolled back outcome=client_error amqp_methods=[basic.deliver basic.ack] amqp_delivery_tag=1",
			"tx.commit → ok amqp_methods=[tx.commit tx.commit-ok]",
			"basic.publish q (3 B) amqp_methods=[basic.publish]", "basic.ack 1 amqp_methods=[basic.ack] amqp_delivery_tag=1",
			"channel.close → 200  amqp_methods=[channel.close channel.close-ok]",
			"basic.publish q (5 B) → rolled back outcome=client_error amqp_methods=[basic.publish]")},
		{Name: "a transaction that does not end", Chunks: begun(client(method(1, txSelect, "")), server(method(1, txSelect+1, "")),
			client(publishTo("", "q", "\x00")+body(1, 0, "", "one"))), Want: after("tx.select → ok amqp_methods=[tx.select tx.select-ok]",
			"basic.publish q (3 B) → no_response error=no_response outcome=no_answer amqp_methods=[basic.publish]")},
		{Name: "bytes lost in a body", Chunks: begun(client(publishTo("", "q", "\x00")+body(1, 0, "", "01234567")), client((publishTo("", "q", "\x00") + body(1, 0, "", "01234567"))[:60]),
			dissecttest.Chunk{Dir: dissect.ToServer, Gap: 1, Data: []byte((publishTo("", "q", "\x00") + body(1, 0, "", "01234567"))[61:])}), Want: after(
			"basic.publish q (8 B) amqp_methods=[basic.publish]", "basic.publish q (8 B) → gap error=gap outcome=unread amqp_methods=[basic.publish]")},
	}...)
}

func TestDetect(t *testing.T) {
	dissecttest.Detect(t, detect, dissecttest.Heads{
		{"the protocol header", dissect.ToServer, preface, dissect.Yes},
		{"its beginning", dissect.ToServer, "AMQP", dissect.More},
		{"that of AMQP 1.0", dissect.ToServer, "AMQP\x00\x01\x00\x00", dissect.No},
		{"the server's first method", dissect.ToClient, start, dissect.Yes},
		{"a method of the other side", dissect.ToServer, start, dissect.No},
		{"a method that both sides send", dissect.ToServer, method(1, ack, tagOf(1)+"\x00"), dissect.No},
		{"a method without its end octet", dissect.ToServer, strings.TrimSuffix(open, "\xce") + "\x00", dissect.No},
		{"a method of the connection on a channel", dissect.ToServer, method(1, connOpen, short("/")+"\x00\x00"), dissect.No},
	})
}

// TestNoSecretLeavesThePackage looks for the password of a login in its rows.
func TestNoSecretLeavesThePackage(t *testing.T) {
	for _, row := range dissecttest.Play(t, dissecttest.OptionsOf(Protocol()), samples[0].Chunks...).Rows() {
		if text := fmt.Sprintf("%+v", row); strings.Contains(text, "s3cret") {
			t.Error(text)
		}
	}
}

func BenchmarkPublish(b *testing.B) {
	dissecttest.Bench(b, Protocol(), begun(), chunks{client(publishTo("orders", "new", "\x00") + body(1, withProps, props, strings.Repeat("hello ", 80)))})
}

// TestAcknowledgementsOfMany has acknowledgements that cover more messages than a constant would
// limit, whose tags come in any order, and tags that no server chooses.
func TestAcknowledgementsOfMany(t *testing.T) {
	const n = 20_000
	var many, odd strings.Builder
	for i := range uint64(n) {
		many.WriteString(deliverOf(n-i, "new") + body(1, 0, "", ""))
		odd.WriteString(deliverOf(1<<62+i%7, "new") + body(1, 0, "", ""))
	}
	last := deliverOf(1<<61, "last") + body(1, 0, "", "")
	for _, c := range []struct {
		name   string
		chunks chunks
		acked  int
	}{
		{"up to a tag", begun(server(many.String()), client(method(1, ack, tagOf(n-1)+"\x01"))), n - 1},
		{"all", begun(server(many.String()), client(method(1, ack, tagOf(0)+"\x01"))), n},
		{"one by one, then the rest", begun(server(many.String()), client(strings.Repeat(method(1, ack, tagOf(7)+"\x00"), 1)+method(1, ack, tagOf(0)+"\x01"))), n},
		{"below tags that are used again", begun(server(odd.String()+last), client(strings.Repeat(method(1, ack, tagOf(1<<61)+"\x01"), 1))), 1},
	} {
		o := dissecttest.OptionsOf(Protocol())
		o.Budget = 256 << 20
		acked := 0
		for _, r := range dissecttest.Play(t, o, c.chunks...).Rows() {
			if row := r.(*Row); row.Ack.V == "ack" && row.Method.V == "basic.deliver" {
				acked++
			}
		}
		if acked != c.acked {
			t.Errorf("%s: %d messages are acknowledged, want %d", c.name, acked, c.acked)
		}
	}
}
