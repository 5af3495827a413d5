package amqp1

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

type chunks = []dissecttest.Chunk

var client, server = dissecttest.Client, dissecttest.Server

// list is a described list of encoded values.
func list(code byte, values ...string) string {
	b := strings.Join(values, "")
	return string([]byte{0, 0x53, code, 0xd0}) + string(binary.BigEndian.AppendUint32(nil, uint32(len(b)+4))) + string(binary.BigEndian.AppendUint32(nil, uint32(len(values)))) + b
}

// frame is a frame of AMQP on channel 1 with a payload.
func frame(body string, payload ...string) string {
	body += strings.Join(payload, "")
	return string(binary.BigEndian.AppendUint32(nil, uint32(8+len(body)))) + "\x02\x00\x00\x01" + body
}

func saslFrame(body string) string {
	s := []byte(frame(body))
	s[5], s[7] = 1, 0
	return string(s)
}

func text(s string) string { return "\xa1" + string([]byte{byte(len(s))}) + s }

func symbol(s string) string { return "\xa3" + string([]byte{byte(len(s))}) + s }

func binaryOf(s string) string { return "\xa0" + string([]byte{byte(len(s))}) + s }

func small(n byte) string { return string([]byte{0x52, n}) }

const (
	null    = "\x40"
	truly   = "\x41"
	falsely = "\x42"
	saslHi  = "AMQP\x03\x01\x00\x00"
	amqpHi  = "AMQP\x00\x01\x00\x00"
)

func login(code byte) chunks {
	return chunks{client(saslHi), server(saslHi + saslFrame(list(mechanisms, symbol("PLAIN")))),
		client(saslFrame(list(initial, symbol("PLAIN"), binaryOf("\x00alice\x00s3cret"), text("shop")))), server(saslFrame(list(outcome, string([]byte{0x50, code}))))}
}

func attachOf(name string, handle byte, receives bool, address string) string {
	role := falsely
	if receives {
		role = truly
	}
	return frame(list(attach, text(name), small(handle), role, null, null, list(0x28, text(address)), list(0x29, text(address))))
}

// begun is a connection with a session and a link.
func begun(receives bool, more ...dissecttest.Chunk) chunks {
	return append(append(login(0), client(amqpHi), server(amqpHi), client(frame(list(open, text("c1"), text("shop")))), server(frame(list(open, text("broker")))),
		client(frame(list(begin, null, small(0), small(9), small(9)))), server(frame(list(begin, "\x60\x00\x01", small(0), small(9), small(9)))),
		client(attachOf("l", 0, receives, "/queue/q")), server(attachOf("l", 0, !receives, "/queue/q"))), more...)
}

func transferOf(id byte, settled, more string, payload ...string) string {
	return frame(list(transfer, small(0), small(id), binaryOf("t"), small(0), settled, more), payload...)
}

func disposed(receiver string, first, last byte, state string) string {
	return frame(list(disposition, receiver, small(first), small(last), truly, state))
}

var (
	accepted = list(stateAccepted)
	rejected = list(stateRejected, list(0x1d, symbol("shop:unknown"), text("no such order")))
	props    = list(sectionProperties, text("m-1"), null, null, text("new"), text("back"), text("corr"), symbol("text/plain"))
	trace    = "\x00\x53\x74\xc1" + string([]byte{byte(1 + len(traceText))}) + "\x02" + traceText
	hello    = "\x00\x53\x75" + binaryOf("hello")
)

var traceText = text("traceparent") + text("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")

var samples = []dissecttest.Sample{
	{Name: "a sender", Rows: 12, Chunks: begun(false, server(frame(list(flow, small(0), small(9), small(0), small(9), small(0), small(0), small(100)))),
		client(transferOf(0, falsely, falsely, props, trace, hello)+transferOf(1, falsely, truly, props, hello[:6])), client(transferOf(1, null, falsely, hello[6:])),
		server(disposed(truly, 0, 1, accepted)), client(transferOf(2, truly, falsely, hello)), client(frame(list(closing))), server(frame(list(closing))))},
	{Name: "a receiver", Rows: 11, Chunks: begun(true, server(transferOf(0, falsely, falsely, props, hello)+transferOf(1, falsely, falsely, hello)),
		client(disposed(truly, 0, 0, accepted)), client(disposed(truly, 1, 1, rejected)),
		client(frame(list(detach, small(0), truly))), server(frame(list(detach, small(0), truly))),
		client("\x00\x00\x00\x08\x02\x00\x00\x00"), client(frame(list(end))), server(frame(list(end))))},
}

func TestSuite(t *testing.T) { dissecttest.Run(t, Protocol(), samples...) }

func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), samples...) }

func TestRows(t *testing.T) {
	refusal := list(0x1d, symbol("amqp:not-found"), text("no queue"))
	dissecttest.Converse(t, Protocol(), []string{"status_text", "auth_kind", "amqp1_state", "amqp1_value"}, []dissecttest.Conversation{
		{Name: "a wrong password", Chunks: login(1), Want: []string{"protocol header → ok",
			"sasl-mechanisms",
			"sasl-init as alice → auth outcome=client_error status_text=auth auth_kind=password"}},
		{Name: "messages and their settlement", Chunks: samples[0].Chunks, Want: []string{"protocol header → ok",
			"sasl-mechanisms",
			"sasl-init as alice → ok auth_kind=password",
			"protocol header → ok",
			"open c1 → ok",
			"begin → ok",
			"attach sender /queue/q → ok",
			"flow /queue/q credit 100",
			"transfer /queue/q (5 B) → accepted amqp1_state=accepted amqp1_value=hello",
			"transfer /queue/q (5 B) → accepted amqp1_state=accepted amqp1_value=hello",
			"transfer /queue/q (5 B) → settled amqp1_value=hello",
			"close → ok"}},
		{Name: "a rejected message", Chunks: samples[1].Chunks, Want: []string{"protocol header → ok",
			"sasl-mechanisms",
			"sasl-init as alice → ok auth_kind=password",
			"protocol header → ok",
			"open c1 → ok",
			"begin → ok",
			"attach receiver /queue/q → ok",
			"transfer /queue/q (5 B) → accepted amqp1_state=accepted amqp1_value=hello",
			"transfer /queue/q (5 B) → shop:unknown outcome=client_error status_text=shop:unknown amqp1_state=rejected amqp1_value=hello",
			"detach /queue/q → ok",
			"end → ok"}},
		{Name: "a link that is refused by the end of its session", Chunks: chunks{client(amqpHi), server(amqpHi),
			client(frame(list(begin))), server(frame(list(begin, "\x60\x00\x01"))), client(attachOf("l", 0, true, "none")), server(frame(list(end, refusal))), client(frame(list(end)))}, Want: []string{"protocol header → ok",
			"begin → ok",
			"attach receiver none → amqp:not-found outcome=client_error status_text=amqp:not-found",
			"end → amqp:not-found status_text=amqp:not-found"}},
		{Name: "a message that the end of its session refuses", Chunks: chunks{client(amqpHi), server(amqpHi),
			client(transferOf(0, falsely, falsely, hello)), server(frame(list(end, refusal))), client(frame(list(end)) + frame(list(begin)))}, End: dissect.EndReset, Want: []string{"protocol header → ok",
			"transfer (5 B) of ? → amqp:not-found outcome=client_error status_text=amqp:not-found amqp1_value=hello",
			"end → amqp:not-found status_text=amqp:not-found", "begin → reset error=reset outcome=no_answer"}},
		{Name: "messages of which the end of their session refuses one", Chunks: chunks{client(amqpHi), server(amqpHi), server(transferOf(3, falsely, falsely, hello)),
			client(transferOf(0, falsely, falsely, hello) + transferOf(1, falsely, falsely, hello) + frame(list(detach, small(0), truly)) + frame(list(detach, small(1), truly))), server(frame(list(end, refusal))), client(disposed(truly, 3, 3, accepted) + frame(list(end)) + frame(list(begin)))}, End: dissect.EndReset, Want: []string{"protocol header → ok",
			"transfer (5 B) of ? → no_response error=no_response outcome=no_answer amqp1_value=hello",
			"transfer (5 B) of ? → no_response error=no_response outcome=no_answer amqp1_value=hello",
			"detach → no_response error=no_response outcome=no_answer",
			"detach → no_response error=no_response outcome=no_answer",
			"transfer (5 B) of ? → accepted amqp1_state=accepted amqp1_value=hello",
			"end → amqp:not-found outcome=client_error status_text=amqp:not-found", "begin → reset error=reset outcome=no_answer"}},
		{Name: "a link that is refused by detach", Chunks: chunks{client(amqpHi), server(amqpHi),
			client(frame(list(begin))), server(frame(list(begin, "\x60\x00\x01"))), client(attachOf("l", 0, true, "none")),
			server(frame(list(attach, text("l"), small(0), falsely, null, null, null, null)) + frame(list(detach, small(0), truly, refusal))), client(frame(list(detach, small(0), truly)))}, Want: []string{"protocol header → ok",
			"begin → ok",
			"attach receiver none → amqp:not-found outcome=client_error status_text=amqp:not-found",
			"detach none → amqp:not-found status_text=amqp:not-found"}},
		{Name: "from its middle", Chunks: chunks{client(transferOf(7, falsely, falsely, hello)), server(disposed(truly, 6, 7, accepted)), client(transferOf(8, falsely, falsely, hello))}, Want: []string{"transfer (5 B) of ? → accepted amqp1_state=accepted amqp1_value=hello",
			"transfer (5 B) of ? → no_response error=no_response outcome=no_answer amqp1_value=hello"}},
		{Name: "bytes of a body were not captured", Chunks: chunks{client(amqpHi), server(amqpHi), client(strings.TrimSuffix(transferOf(0, falsely, falsely, hello), "llo")),
			{Dir: dissect.ToServer, Gap: 3}, client(transferOf(1, falsely, falsely, hello)), server(disposed(truly, 0, 1, accepted))}, Want: []string{"protocol header → ok",
			"transfer (5 B) of ? → accepted error=gap outcome=unread amqp1_state=accepted amqp1_value=he",
			"transfer (5 B) of ? → accepted amqp1_state=accepted amqp1_value=hello"}},
		{Name: "a value of several encodings", Chunks: chunks{client(amqpHi), server(amqpHi), client(transferOf(0, truly, falsely, "\x00\x53\x77\x55\x07")),
			client(transferOf(1, truly, falsely, "\x00\x53\x77\xa1\x02hi"))}, Want: []string{"protocol header → ok",
			"transfer (2 B) of ? → settled amqp1_value=0x5507",
			"transfer (2 B) of ? → settled amqp1_value=hi"}},
		{Name: "a settled state comes after one that is not the last word", Chunks: chunks{client(amqpHi), server(amqpHi), client(transferOf(0, falsely, falsely, hello) + transferOf(1, falsely, falsely, hello)),
			server(frame(list(disposition, truly, small(0), small(1), falsely, list(stateReceived, small(0), small(9))))), server(disposed(truly, 1, 1, accepted)), server(disposed(truly, 0, 1, list(stateRejected+1)))}, Want: []string{
			"protocol header → ok", "transfer (5 B) of ? → accepted amqp1_state=accepted amqp1_value=hello",
			"transfer (5 B) of ? → released outcome=client_error status_text=released amqp1_state=released amqp1_value=hello"}},
		{Name: "a section that cannot be", Chunks: chunks{client(amqpHi), server(amqpHi), client(transferOf(0, falsely, falsely, "\x00\x53\x42\x40"))}, Want: []string{"protocol header → ok",
			"transfer (0 B) of ? → malformed error=malformed outcome=unread"}, Anomalies: 1},
	}...)
}

func TestDetect(t *testing.T) {
	dissecttest.Detect(t, detect, dissecttest.Heads{
		{"a protocol header", dissect.ToServer, amqpHi, dissect.Likely},
		{"a protocol header, and what only a server sends", dissect.ToServer, amqpHi + saslFrame(list(mechanisms, symbol("PLAIN"))), dissect.No},
		{"its beginning", dissect.ToServer, "AMQP", dissect.More},
		{"that of AMQP 0-9-1", dissect.ToServer, "AMQP\x00\x00\x09\x01", dissect.No},
		{"a message", dissect.ToClient, transferOf(0, falsely, falsely, hello), dissect.Yes},
		{"a sign of life before a message", dissect.ToClient, "\x00\x00\x00\x08\x02\x00\x00\x00" + transferOf(0, falsely, falsely, hello), dissect.Yes},
		{"the end of a session", dissect.ToClient, frame("\x00\x53\x17\x45"), dissect.Yes},
		{"a login from the server", dissect.ToClient, saslFrame(list(initial, symbol("PLAIN"))), dissect.No},
		{"a performative with bytes behind it", dissect.ToServer, frame(list(flow, small(0)), "x"), dissect.No},
		{"a request of HTTP", dissect.ToServer, "GET / HTTP/1.1\r\n\r\n", dissect.No},
	})
}
