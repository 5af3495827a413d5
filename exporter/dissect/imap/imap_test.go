package imap

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
	greeting = "* OK [CAPABILITY IMAP4rev1 IDLE LITERAL+] ready\r\n"
	mail     = "Message-ID: <1@shop.example>\r\nFrom: shop@shop.example\r\nSubject: Order\r\n\r\na1 LOGOUT\r\n* 3 EXISTS\r\n"
)

func coded(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

var fetched = fmt.Sprintf("* 1 FETCH (UID 5 BODY[] {%d}\r\n%s FLAGS ())\r\n* 2 FETCH (UID 6 BODY[] {3}\r\nabc)\r\n", len(mail), mail)

var samples = []dissecttest.Sample{
	{Name: "a mailbox", Rows: 6, Chunks: chunks{server(greeting), client("a1 LOGIN ann geheim\r\n"), server("a1 OK done\r\n"), client("a2 SELECT Orders\r\n"), server("* 2 EXISTS\r\n* FLAGS (\\Seen)\r\na2 OK [READ-WRITE] done\r\n"),
		client("a3 UID FETCH 1:* (BODY[])\r\n"), server(fetched + "a3 OK done\r\n"), client("a4 IDLE\r\n"), server("+ idling\r\n"), server("* 3 EXISTS\r\n"), client("DONE\r\n"), server("a4 OK done\r\n"),
		client("a5 LOGOUT\r\n"), server("* BYE bye\r\na5 OK done\r\n")}},
	{Name: "several at once", Rows: 4, Chunks: chunks{server("* PREAUTH hello\r\n"), client("1 NOOP\r\n2 STATUS x (MESSAGES)\r\n3 LIST \"\" *\r\n"), server("1 OK a\r\n* LIST () \"/\" x\r\n3 OK b\r\n* STATUS x (MESSAGES 4)\r\n2 NO [NONEXISTENT] c\r\n")}},
	{Name: "literals", Rows: 5, Chunks: chunks{server(greeting), client("a1 LOGIN {3}\r\n"), server("+ go on\r\n"), client("ann {6}\r\n"), server("+ go on\r\n"), client("secret\r\n"), server("a1 OK done\r\n"),
		client("a2 APPEND Sent (\\Seen) {20+}\r\nSubject: x\r\n\r\nhello\n\r\n"), server("a2 OK [APPENDUID 1 2] done\r\n"), client("a3 CREATE {5}\r\n"), server("a3 NO no\r\n"), client("a4 NOOP\r\n")}},
	{Name: "STARTTLS", Rows: 3, Chunks: chunks{server(greeting), client("a1 STARTTLS\r\n"), server("a1 OK begin\r\n"), client("\x16\x03\x01\x00\x05hello")}},
}

func TestSuite(t *testing.T) { dissecttest.Run(t, Protocol(), samples...) }

func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), samples...) }

func TestRows(t *testing.T) {
	columns := []string{"auth_kind", "imap_user", "imap_mailbox", "imap_code", "imap_argument", "imap_messages", "imap_size", "imap_exists", "imap_message_id", "imap_subject", "imap_ahead"}
	hello := "GREETING → OK ready imap_code=CAPABILITY"
	after := func(c ...dissecttest.Chunk) chunks { return append(chunks{server(greeting)}, c...) }
	dissecttest.Converse(t, Protocol(), columns, []dissecttest.Conversation{
		{Name: "a mailbox", Chunks: samples[0].Chunks, Want: []string{hello,
			"LOGIN ann → OK auth_kind=password imap_user=ann",
			"SELECT Orders → OK imap_argument=Orders imap_mailbox=Orders imap_user=ann imap_code=READ-WRITE imap_exists=2",
			fmt.Sprintf("UID FETCH 1:* (BODY[]) → 2 messages (%d bytes), OK imap_argument=1:* (BODY[]) imap_mailbox=Orders imap_user=ann imap_messages=2 imap_size=%d imap_message_id=1@shop.example imap_subject=Order", len(mail)+3, len(mail)+3),
			"IDLE → OK imap_mailbox=Orders imap_user=ann imap_exists=3", "LOGOUT → OK imap_mailbox=Orders imap_user=ann"}},
		{Name: "answers in another order", Chunks: samples[1].Chunks, Want: []string{"GREETING → PREAUTH hello", "NOOP → OK", `LIST "" * → OK imap_argument="" * imap_ahead=2`,
			"STATUS x (MESSAGES) → NO NONEXISTENT c outcome=client_error imap_argument=x (MESSAGES) imap_mailbox=x imap_code=NONEXISTENT imap_ahead=1"}},
		{Name: "literals", Chunks: samples[2].Chunks, Want: []string{hello, "LOGIN ann → OK auth_kind=password imap_user=ann",
			"APPEND Sent (\\Seen) {20} → OK imap_argument=Sent (\\Seen) {20} imap_mailbox=Sent imap_user=ann imap_code=APPENDUID imap_size=20 imap_subject=x",
			"CREATE → NO no outcome=client_error imap_user=ann", "NOOP → no_response error=no_response outcome=no_answer imap_user=ann"}},
		{Name: "a refused client", Chunks: chunks{server("* BYE [UNAVAILABLE] too many\r\n")}, Want: []string{"GREETING → BYE UNAVAILABLE too many outcome=refused imap_code=UNAVAILABLE"}},
		{Name: "logins", Chunks: after(client("1 AUTHENTICATE PLAIN\r\n"), server("+ \r\n"), client(coded("\x00ann\x00geheim")+"\r\n"), server("1 NO [AUTHENTICATIONFAILED] no\r\n"), client("2 AUTHENTICATE LOGIN\r\n"), server("+ VXNlcm5hbWU6\r\n"), client(coded("bob")+"\r\n"),
			server("+ UGFzc3dvcmQ6\r\n"), client(coded("geheim")+"\r\n"), server("2 OK ok\r\n"), client("3 AUTHENTICATE SCRAM-SHA-1 "+coded("n,,n=cleo,r=x")+"\r\n"), server("+ cg==\r\n"), client("*\r\n"), server("3 BAD cancelled\r\n"),
			client("4 LOGIN \"a \\\"b\" \"sec ret\"\r\n"), server("4 NO [UNAVAILABLE] later\r\n")), Want: []string{hello,
			"AUTHENTICATE PLAIN ann → NO AUTHENTICATIONFAILED no outcome=client_error auth_kind=password imap_argument=PLAIN imap_user=ann imap_code=AUTHENTICATIONFAILED",
			"AUTHENTICATE LOGIN bob → OK auth_kind=password imap_argument=LOGIN imap_user=bob",
			"AUTHENTICATE SCRAM-SHA-1 cleo → BAD cancelled outcome=client_error auth_kind=scram-sha-1 imap_argument=SCRAM-SHA-1 imap_user=cleo",
			`LOGIN a "b → NO UNAVAILABLE later outcome=server_error auth_kind=password imap_user=a "b imap_code=UNAVAILABLE`}},
		{Name: "the first answer of a login was lost: the second is no user", Anomalies: 1, Chunks: after(client("1 AUTHENTICATE LOGIN\r\n"), server("+ VXNlcm5hbWU6\r\n"), dissecttest.Chunk{Dir: dissect.ToServer, Gap: 6}, server("+ UGFzc3dvcmQ6\r\n"), client(coded("geheim")+"\r\n"), client("2 NOOP\r\n"), server("1 OK ok\r\n2 OK ok\r\n")), Want: []string{hello,
			"AUTHENTICATE LOGIN → OK, gap error=gap auth_kind=password imap_argument=LOGIN", "NOOP → OK imap_ahead=1"}},
		{Name: "a password in no form that LOGIN has", Chunks: after(client("1 LOGIN \"ann geheim\r\n"), server("1 BAD x\r\n"), client("3 LOGIN ann{6+}\r\nsecret\r\n"), server("3 BAD y\r\n")), Want: []string{hello,
			"LOGIN → BAD x outcome=client_error auth_kind=password", "LOGIN ann → BAD y outcome=client_error auth_kind=password imap_user=ann"}},
		{Name: "names of mailboxes", Chunks: after(client("1 SELECT \"B&APw-cher &- mehr\"\r\n"), server("1 OK a\r\n"), client("2 EXAMINE {5+}\r\ninbox\r\n"), server("2 OK b\r\n"), client("3 SELECT &%\r\n"), server("3 NO c\r\n")), Want: []string{hello,
			`SELECT "B&APw-cher &- mehr" → OK imap_argument="B&APw-cher &- mehr" imap_mailbox=Bücher & mehr`, `EXAMINE "inbox" → OK imap_argument="inbox" imap_mailbox=INBOX`,
			"SELECT &% → NO c outcome=client_error imap_argument=&% imap_mailbox=&%"}},
		{Name: "the capture begins between two commands", Midway: true, Chunks: []dissecttest.Chunk{client("2 FETCH 1 FLAGS\r\n"), server("* SEARCH 7\r\n1 OK Search completed\r\n* 1 FETCH (FLAGS ())\r\n2 OK a\r\n"), client("3 FETCH 1 FLAGS\r\n"), server("* 1 FETCH (FLAGS ())\r\n3 OK b\r\n")},
			Want: []string{"UNKNOWN → OK, no_request error=no_request outcome=cut", "FETCH 1 FLAGS → 1 message, OK, gap error=gap imap_argument=1 FLAGS imap_messages=1", "FETCH 1 FLAGS → 1 message, OK imap_argument=1 FLAGS imap_messages=1"}},
		{Name: "a gap in a message", Chunks: after(client("1 FETCH 1 BODY[]\r\n"), server("* 1 FETCH (BODY[] {30}\r\nSubject: x\r\n"), dissecttest.Chunk{Dir: dissect.ToClient, Gap: 10}, server("12345678)\r\n1 OK a\r\n"), client("2 NOOP\r\n"), server("2 OK b\r\n")), Want: []string{hello,
			"FETCH 1 BODY[] → 1 message (30 bytes), OK, gap error=gap imap_argument=1 BODY[] imap_messages=1 imap_size=30 imap_subject=x", "NOOP → OK"}},
		{Name: "a gap among responses", Chunks: after(client("1 FETCH 1:2 FLAGS\r\n"), server("* 1 FETCH (FLAGS ())\r\n"), dissecttest.Chunk{Dir: dissect.ToClient, Gap: 22}, server("1 OK a\r\n")), Want: []string{hello,
			"FETCH 1:2 FLAGS → 1 message, OK, gap error=gap imap_argument=1:2 FLAGS imap_messages=1"}},
		{Name: "a server that speaks on its own", Chunks: after(server("* BYE autologout\r\n")), Want: []string{hello, "NOTICE → BYE autologout outcome=server_error"}},
		{Name: "the server's side alone", Chunks: chunks{server("* 3 EXISTS\r\na2 OK [READ-ONLY] done\r\n")}, Want: []string{"UNKNOWN → OK, no_request error=no_request outcome=cut imap_code=READ-ONLY imap_exists=3"}},
	}...)
}

// TestBodies keeps the content of the first whole message of each side.
func TestBodies(t *testing.T) {
	r := dissecttest.Play(t, dissecttest.OptionsOf(Protocol()), samples[0].Chunks...)
	if b := r.Emissions[3].RespBody; string(b.Bytes()) != mail || !b.Complete {
		t.Errorf("%q, complete %v", b.Bytes(), b.Complete)
	}
	r = dissecttest.Play(t, dissecttest.OptionsOf(Protocol()), samples[2].Chunks...)
	if b := r.Emissions[2].ReqBody; string(b.Bytes()) != "Subject: x\r\n\r\nhello\n" || !b.Complete {
		t.Errorf("%q, complete %v", b.Bytes(), b.Complete)
	}
}

// TestCompressed states that it cannot read what follows COMPRESS.
func TestCompressed(t *testing.T) {
	r := dissecttest.Play(t, dissecttest.OptionsOf(Protocol()), server(greeting), client("1 COMPRESS DEFLATE\r\n"), server("1 OK go\r\n"), client("\xca\x2b"))
	if len(r.Rows()) != 2 || len(r.Anomalies) != 1 || r.Anomalies[0].Detail != errDeflated.Error() {
		t.Errorf("%d rows, anomalies %v", len(r.Rows()), r.Anomalies)
	}
}

func TestDetect(t *testing.T) {
	dissecttest.Detect(t, detect, dissecttest.Heads{
		{"a greeting with capabilities", dissect.ToClient, greeting, dissect.Yes},
		{"a greeting", dissect.ToClient, "* OK ready\r\n", dissect.Likely},
		{"the beginning of a greeting", dissect.ToClient, "* O", dissect.More},
		{"a message", dissect.ToClient, "* 12 FETCH (FLAGS ())\r\n", dissect.Likely},
		{"the end of a command", dissect.ToClient, "a1 OK done\r\n", dissect.Likely},
		{"a login", dissect.ToServer, "a1 LOGIN ann geheim\r\n", dissect.Likely},
		{"the beginning of a command", dissect.ToServer, "a1 UID FE", dissect.More},
		{"a command without a tag", dissect.ToServer, "LOGIN ann geheim\r\n", dissect.No},
		{"a word with two more", dissect.ToServer, "a LIST of things\r\n", dissect.No},
		{"a list of text", dissect.ToClient, "* STATUS of things\r\n", dissect.No},
		{"an array of Redis", dissect.ToServer, "*1\r\n$4\r\nPING\r\n", dissect.No},
		{"HTTP", dissect.ToServer, "GET / HTTP/1.1\r\n\r\n", dissect.No},
		{"a status of HTTP", dissect.ToClient, "HTTP/1.1 200 OK\r\n", dissect.No},
		{"a reply of SMTP", dissect.ToClient, "250 OK id=1Mugho-0003Dg-Un\r\n", dissect.No},
		{"no text", dissect.ToClient, "* OK \x00\r\n", dissect.No},
	})
}

// TestSecretsStayInside plays logins and looks for the password in every row and anomaly.
func TestSecretsStayInside(t *testing.T) {
	for _, login := range []string{"LOGIN ann geheim", `LOGIN "ann" "geheim"`, "LOGIN {3+}\r\nann {6+}\r\ngeheim", "LOGIN ann {6+}\r\ngeheim", `LOGIN "ann geheim`, "LOGIN\tann geheim", "LOGIN {3}ann geheim", "login ann geheim x geheim",
		"AUTHENTICATE PLAIN " + coded("\x00ann\x00geheim"), "AUTHENTICATE LOGIN\r\n" + coded("ann") + "\r\n" + coded("geheim"), "AUTHENTICATE {6+}\r\ngeheim"} {
		r := dissecttest.Play(t, dissecttest.OptionsOf(Protocol()), server(greeting), client("1 "+login+"\r\n"), server("1 OK x\r\n"))
		text := fmt.Sprint(r.Anomalies)
		for _, row := range r.Rows() {
			text += fmt.Sprintf("%+v", row)
		}
		if strings.Contains(text, "geheim") || strings.Contains(text, coded("geheim")) || strings.Contains(text, coded("\x00ann\x00geheim")) {
			t.Errorf("%q: %s", login, text)
		}
	}
}
