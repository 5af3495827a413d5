package pop3

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

type chunks = []dissecttest.Chunk

var client, server = dissecttest.Client, dissecttest.Server

const (
	greeting = "+OK POP3 ready <1896.697170952@mx.example>\r\n"
	mail     = "Message-ID: <1@shop.example>\r\nFrom: shop@shop.example\r\nSubject: Order\r\n\r\nHello\r\n..dot\r\n+OK no reply\r\n"
)

func coded(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

var samples = []dissecttest.Sample{
	{Name: "a mailbox", Rows: 8, Chunks: chunks{server(greeting), client("USER ann\r\n"), server("+OK\r\n"), client("PASS se cret\r\n"), server("+OK 2 messages\r\n"), client("STAT\r\n"), server("+OK 2 320\r\n"),
		client("LIST\r\n"), server("+OK\r\n1 120\r\n2 200\r\n.\r\n"), client("RETR 1\r\n"), server("+OK 120 octets\r\n" + mail + ".\r\n"), client("DELE 9\r\n"), server("-ERR no such message\r\n"), client("QUIT\r\n"), server("+OK bye\r\n")}},
	{Name: "several at once", Rows: 5, Chunks: chunks{server(greeting), client("CAPA\r\nUIDL 1\r\nUIDL\r\nTOP 1 0\r\n"), server("+OK\r\nPIPELINING\r\nSASL PLAIN\r\n.\r\n+OK 1 a\r\n+OK\r\n1 a\r\n2 b\r\n3 c\r\n.\r\n+OK\r\nSubject: x\r\n\r\n.\r\n")}},
	{Name: "STLS", Rows: 3, Chunks: chunks{server(greeting), client("STLS\r\n"), server("+OK begin\r\n"), client("\x16\x03\x01\x00\x05hello")}},
}

func TestSuite(t *testing.T) { dissecttest.Run(t, Protocol(), samples...) }

func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), samples...) }

func TestRows(t *testing.T) {
	columns := []string{"auth_kind", "pop3_user", "pop3_code", "pop3_message", "pop3_messages", "pop3_size", "pop3_message_id", "pop3_capabilities", "pop3_ahead"}
	hello := "GREETING → +OK POP3 ready <1896.697170952@mx.example>"
	after := func(c ...dissecttest.Chunk) chunks { return append(chunks{server(greeting)}, c...) }
	size := len(mail) - 1
	dissecttest.Converse(t, Protocol(), columns, []dissecttest.Conversation{
		{Name: "a mailbox", Chunks: samples[0].Chunks, Want: []string{hello, "USER ann → +OK pop3_user=ann", "PASS ann → +OK 2 messages auth_kind=password pop3_user=ann",
			"STAT → 2 messages, +OK 2 320 pop3_user=ann pop3_messages=2 pop3_size=320", "LIST → 2 messages, +OK pop3_user=ann pop3_messages=2 pop3_size=320",
			fmt.Sprintf(`RETR 1 → "Order" (%d bytes), +OK 120 octets pop3_user=ann pop3_message=1 pop3_size=%d pop3_message_id=1@shop.example`, size, size),
			"DELE 9 → -ERR no such message outcome=client_error pop3_user=ann pop3_message=9", "QUIT → +OK bye pop3_user=ann"}},
		{Name: "several at once", Chunks: samples[1].Chunks, Want: []string{hello, "CAPA → +OK pop3_capabilities=[PIPELINING SASL PLAIN]", "UIDL 1 → +OK 1 a pop3_message=1 pop3_ahead=1",
			"UIDL → 3 messages, +OK pop3_messages=3 pop3_ahead=2", `TOP 1 0 → "x" (14 bytes), +OK pop3_message=1 pop3_size=14 pop3_ahead=3`}},
		{Name: "logins", Chunks: after(client("APOP ann c4c9334bac560ecc979e58001b3e22fb\r\n"), server("-ERR [AUTH] no\r\n"), client("AUTH PLAIN "+coded("\x00bob\x00geheim")+"\r\n"), server("-ERR [IN-USE] later\r\n"), client("AUTH LOGIN\r\n"), server("+ VXNlcm5hbWU6\r\n"),
			client(coded("cleo")+"\r\n"), server("+ UGFzc3dvcmQ6\r\n"), client(coded("geheim")+"\r\n"), server("+OK in\r\n"), client("AUTH\r\n"), server("+OK\r\nPLAIN\r\n.\r\n")), Want: []string{hello,
			"APOP ann → -ERR AUTH no outcome=client_error auth_kind=apop pop3_user=ann pop3_code=AUTH", "AUTH PLAIN bob → -ERR IN-USE later outcome=server_error auth_kind=password pop3_user=bob pop3_code=IN-USE",
			"AUTH LOGIN cleo → +OK in auth_kind=password pop3_user=cleo", "AUTH cleo → +OK pop3_user=cleo"}},
		{Name: "the first answer of a login was lost: the second is no user", Anomalies: 1, Chunks: after(client("AUTH LOGIN\r\n"), server("+ VXNlcm5hbWU6\r\n"), dissecttest.Chunk{Dir: dissect.ToServer, Gap: 6}, server("+ UGFzc3dvcmQ6\r\n"), client(coded("geheim")+"\r\n"), server("+OK in\r\n"), client("NOOP\r\n"), server("+OK\r\n")), Want: []string{hello,
			"AUTH LOGIN → +OK in, gap error=gap auth_kind=password", "NOOP → +OK"}},
		{Name: "from its end", Midway: true, Chunks: chunks{client("DELE 1\r\n"), server("+OK\r\n"), client("QUIT\r\n"), server("+OK bye\r\n")}, Want: []string{"DELE 1 → +OK pop3_message=1", "QUIT → +OK bye"}},
		{Name: "a refused client", Chunks: chunks{server("-ERR [SYS/TEMP] full\r\n"), client("CAPA\r\n")}, Want: []string{"GREETING → -ERR SYS/TEMP full outcome=refused pop3_code=SYS/TEMP", "CAPA → no_response error=no_response outcome=no_answer"}},
		{Name: "a gap in a message", Chunks: after(client("RETR 1\r\n"), server("+OK\r\nSubject: x\r\n\r\nab"), dissecttest.Chunk{Dir: dissect.ToClient, Gap: 10}, server("yz\r\n.\r\n"), client("NOOP\r\n"), server("+OK\r\n")), Want: []string{hello,
			`RETR 1 → "x" (20 bytes), +OK, gap error=gap pop3_message=1 pop3_size=20`, "NOOP → +OK"}},
		{Name: "a gap that has the end of a message", Chunks: after(client("RETR 1\r\n"), server("+OK\r\nSubject: x\r\n\r\nab\r\n"), dissecttest.Chunk{Dir: dissect.ToClient, Gap: 10}, client("NOOP\r\n"), server("+OK\r\n"), client("QUIT\r\n"), server("+OK bye\r\n")), Want: []string{hello,
			`RETR 1 → "x" (18 bytes), +OK, gap error=gap pop3_message=1 pop3_size=18`, "NOOP → +OK pop3_ahead=1", "QUIT → +OK bye"}},
	}...)
}

// TestBody keeps the content of a message without the dots that protect its lines.
func TestBody(t *testing.T) {
	r := dissecttest.Play(t, dissecttest.OptionsOf(Protocol()), samples[0].Chunks...)
	b := r.Emissions[5].RespBody
	if want := strings.Replace(mail, "\r\n..", "\r\n.", 1); string(b.Bytes()) != want || !b.Complete {
		t.Errorf("%q, complete %v", b.Bytes(), b.Complete)
	}
}

func TestDetect(t *testing.T) {
	dissecttest.Detect(t, detect, dissecttest.Heads{
		{"a greeting that names POP3", dissect.ToClient, "+OK POP3 ready\r\n", dissect.Likely},
		{"a greeting with a time stamp", dissect.ToClient, "+OK ready <1.2@mx>\r\n", dissect.Likely},
		{"another greeting", dissect.ToClient, "+OK Dovecot ready.\r\n", dissect.More},
		{"another greeting with a reply", dissect.ToClient, "+OK Dovecot ready.\r\n+OK\r\n", dissect.Likely},
		{"+OK of Redis and NATS", dissect.ToClient, "+OK\r\n+OK\r\n", dissect.No},
		{"an error of Redis", dissect.ToClient, "-ERR unknown command\r\n", dissect.No},
		{"the size of a message", dissect.ToClient, "+OK 120 octets\r\n", dissect.Likely},
		{"another number", dissect.ToClient, "+OK 120 messages\r\n", dissect.More},
		{"capabilities", dissect.ToServer, "CAPA\r\n", dissect.Likely},
		{"a login and a list", dissect.ToServer, "USER ann\r\nPASS x\r\nUIDL\r\n", dissect.Likely},
		{"a login, which FTP has too", dissect.ToServer, "USER ann\r\n", dissect.More},
		{"a login of FTP", dissect.ToServer, "USER ann\r\nPASS x\r\nSYST\r\n", dissect.No},
		{"HTTP", dissect.ToServer, "GET / HTTP/1.1\r\n\r\n", dissect.No},
	})
}

// TestSecretsStayInside plays logins and looks for the password in every row and anomaly.
func TestSecretsStayInside(t *testing.T) {
	for _, login := range []string{"PASS geheim", "PASS  geheim geheim", "PASS\tgeheim", "APOP ann geheim", "AUTH PLAIN " + coded("geheim"), "AUTH PLAIN\r\n" + coded("geheim"), "AUTH LOGIN\r\n" + coded("ann") + "\r\n" + coded("geheim"), "AUTH  " + coded("geheim")} {
		r := dissecttest.Play(t, dissecttest.OptionsOf(Protocol()), server(greeting), client("USER ann\r\n"+login+"\r\n"), server("+OK x\r\n"))
		text := fmt.Sprint(r.Anomalies)
		for _, row := range r.Rows() {
			text += fmt.Sprintf("%+v", row)
		}
		if strings.Contains(text, "geheim") || strings.Contains(text, coded("geheim")) {
			t.Errorf("%q: %s", login, text)
		}
	}
}
