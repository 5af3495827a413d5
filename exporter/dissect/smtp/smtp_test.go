package smtp

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

type chunks = []dissecttest.Chunk

var client, server = dissecttest.Client, dissecttest.Server

const (
	greeting = "220 mx.example ESMTP Postfix\r\n"
	hello    = "250-mx.example\r\n250-PIPELINING\r\n250-SIZE 10240000\r\n250 8BITMIME\r\n"
	mail     = "Message-ID: <1@shop.example>\r\nFrom: Shop <shop@shop.example>\r\nTo: Ann\r\n <ann@example.org>\r\nSubject: =?utf-8?q?Caf=C3=A9?= order\r\n\r\n" +
		"Hello\r\n..dot\r\n\r\nbye\r\n"
)

var long = strings.Repeat("A", 5000)

func coded(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

var samples = []dissecttest.Sample{
	{Name: "a message", Rows: 4, Chunks: chunks{server(greeting), client("EHLO shop.example\r\n"), server(hello), client("MAIL FROM:<shop@shop.example> SIZE=500\r\n"), server("250 2.1.0 Ok\r\n"),
		client("RCPT TO:<ann@example.org>\r\n"), server("250 2.1.5 Ok\r\n"), client("RCPT TO:<bob@example.org>\r\n"), server("550 5.1.1 no such user\r\n"), client("DATA\r\n"), server("354 go on\r\n"),
		client(mail + ".\r\n"), server("250 2.0.0 Ok: queued as 4F2A\r\n"), client("QUIT\r\n"), server("221 bye\r\n")}},
	{Name: "pipelined", Rows: 6, Chunks: chunks{server(greeting), client("EHLO a\r\n"), server(hello), client("MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n"), server("250 a\r\n250 b\r\n354 c\r\n"),
		client("x\r\n.\r\nMAIL FROM:<c@d>\r\nRCPT TO:<e@f>\r\nRSET\r\nNOOP\r\n"), server("250 d\r\n250 e\r\n451 f\r\n250 g\r\n250 h\r\n")}},
	{Name: "chunks", Rows: 3, Chunks: chunks{server(greeting), client("EHLO a\r\n"), server(hello), client("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 9\r\nSubject: "), server("250 a\r\n250 b\r\n250 c\r\n"),
		client("BDAT 7 LAST\r\nx\r\n\r\ny."), server("250 d\r\n")}},
	{Name: "STARTTLS", Rows: 4, Chunks: chunks{server(greeting), client("EHLO a\r\n"), server(hello), client("STARTTLS\r\n"), server("220 ready\r\n"), client("\x16\x03\x01\x00\x05hello")}},
}

func TestSuite(t *testing.T) { dissecttest.Run(t, Protocol(), samples...) }

func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), samples...) }

func TestRows(t *testing.T) {
	columns := []string{"auth_kind", "smtp_user", "smtp_rejected", "smtp_message_id", "smtp_subject", "smtp_header_to", "smtp_codes", "smtp_chunks", "smtp_declared_size", "smtp_extensions", "smtp_ahead"}
	start := chunks{server(greeting), client("EHLO a\r\n"), server("250 mx\r\n")}
	started := []string{"GREETING → 220 mx.example ESMTP Postfix smtp_codes=[220]", "EHLO a → 250 mx smtp_codes=[250]"}
	after := func(c ...dissecttest.Chunk) chunks { return append(append(chunks{}, start...), c...) }
	rows := func(s ...string) []string { return append(append([]string{}, started...), s...) }
	dissecttest.Converse(t, Protocol(), columns, []dissecttest.Conversation{
		{Name: "a message is one row", Chunks: samples[0].Chunks, Want: []string{"GREETING → 220 mx.example ESMTP Postfix smtp_codes=[220]",
			"EHLO shop.example → 250 mx.example smtp_codes=[250] smtp_extensions=[PIPELINING SIZE 10240000 8BITMIME]",
			`MAIL <shop@shop.example> to <ann@example.org> (refused: <bob@example.org>) "Café order" (151 bytes) → 250 2.0.0 Ok: queued as 4F2A smtp_rejected=[550 bob@example.org] smtp_message_id=1@shop.example smtp_subject=Café order smtp_header_to=Ann <ann@example.org> smtp_declared_size=500 smtp_codes=[250 250 550 354 250]`,
			"QUIT → 221 bye smtp_codes=[221]"}},
		{Name: "pipelined commands", Chunks: samples[1].Chunks, Want: []string{"GREETING → 220 mx.example ESMTP Postfix smtp_codes=[220]",
			"EHLO a → 250 mx.example smtp_codes=[250] smtp_extensions=[PIPELINING SIZE 10240000 8BITMIME]",
			"MAIL <> to <a@b> (3 bytes) → 250 d smtp_codes=[250 250 354 250]",
			"MAIL <c@d> to nobody (refused: <e@f>) → 451 f outcome=server_error smtp_rejected=[451 e@f] smtp_codes=[250 451] smtp_ahead=1",
			"RSET → 250 g smtp_codes=[250] smtp_ahead=3", "NOOP → 250 h smtp_codes=[250] smtp_ahead=4"}},
		{Name: "logins", Chunks: after(client("AUTH PLAIN "+coded("\x00ann\x00geheim")+"\r\n"), server("535 5.7.8 no\r\n"), client("AUTH LOGIN\r\n"), server("334 VXNlcm5hbWU6\r\n"), client(coded("bob")+"\r\n"),
			server("334 UGFzc3dvcmQ6\r\n"), client(coded("geheim")+"\r\n"), server("235 ok\r\n"), client("AUTH SCRAM-SHA-256 "+coded("n,,n=cleo,r=x")+"\r\n"), server("334 cg==\r\n"), client("*\r\n"), server("501 cancelled\r\n")), Want: rows(
			"AUTH PLAIN ann → 535 5.7.8 no outcome=client_error auth_kind=password smtp_codes=[535] smtp_user=ann",
			"AUTH LOGIN bob → 235 ok auth_kind=password smtp_codes=[334 334 235] smtp_user=bob",
			"AUTH SCRAM-SHA-256 cleo → 501 cancelled outcome=client_error auth_kind=scram-sha-256 smtp_codes=[334 501] smtp_user=cleo")},
		{Name: "chunks of a message", Chunks: samples[2].Chunks[3:], Want: []string{"MAIL <a@b> to <c@d> \"x\" (16 bytes) → 250 d smtp_subject=x smtp_chunks=2 smtp_codes=[250 250 250 250]"}},
		{Name: "a server that rejects the content", Chunks: after(client("MAIL FROM:<a@b>\r\n"), server("250 a\r\n"), client("DATA\r\n"), server("503 b\r\n"), client("QUIT\r\n"), server("221 c\r\n")), Want: rows(
			"MAIL <a@b> to nobody → 503 b outcome=client_error smtp_codes=[250 503]", "QUIT → 221 c smtp_codes=[221]")},
		{Name: "a reply to a command before the capture", Midway: true, Chunks: chunks{server("554 no\r\n"), client("EHLO a\r\n"), server("421 bye\r\n")}, Want: []string{"NOTICE → 554 no, no_request error=no_request outcome=cut smtp_codes=[554]", "EHLO a → 421 bye outcome=server_error smtp_codes=[421]"}},
		{Name: "from its middle, in the content of a message", Midway: true, Chunks: chunks{client("and so on\r\nHelp is near.\r\n.\r\nQUIT\r\n"), server("250 ok\r\n221 bye\r\n")}, Want: []string{
			"MAIL ? to nobody → 250 ok, gap error=gap smtp_codes=[250]", "QUIT → 221 bye smtp_codes=[221] smtp_ahead=1"}},
		{Name: "from its middle, before the content of a message", Midway: true, Chunks: chunks{server("354 go on\r\n"), client("Subject: x\r\n\r\na\r\n.\r\n"), server("250 ok\r\n"), client("QUIT\r\n"), server("221 bye\r\n")}, Want: []string{
			"MAIL ? to nobody (17 bytes) → 250 ok, gap error=gap smtp_codes=[354 250]", "QUIT → 221 bye smtp_codes=[221]"}},
		{Name: "from its middle, with a command after the content", Midway: true, Chunks: chunks{server("250 to\r\n354 go on\r\n"), client("Subject: x\r\n\r\na\r\n.\r\nQUIT\r\n"), server("250 ok\r\n"), server("221 bye\r\n")}, Want: []string{
			"NOTICE → 250 to, no_request error=no_request outcome=cut smtp_codes=[250]", "MAIL ? to nobody (17 bytes) → 250 ok, gap error=gap smtp_codes=[354 250]", "QUIT → 221 bye smtp_codes=[221]"}},
		{Name: "from its middle, in a batch", Midway: true, Anomalies: 1, Chunks: chunks{client("RSET\r\nDATA\r\n.\r\n"), server("250 reset\r\n"), server("354 go on\r\n"), server("250 queued\r\n")}, Want: []string{
			"RSET → gap error=gap outcome=unread", "MAIL ? to nobody (0 bytes) → gap error=gap outcome=unread smtp_ahead=1", "NOTICE → 250 reset, no_request error=no_request outcome=cut smtp_codes=[250]",
			"MAIL ? to nobody (0 bytes) → 354 go on, gap error=gap outcome=unread smtp_codes=[354]", "NOTICE → 250 queued, no_request error=no_request outcome=cut smtp_codes=[250]"}},
		{Name: "from its middle, in a login", Midway: true, Chunks: chunks{client(coded("geheim") + "\r\n"), server("235 2.7.0 ok\r\n"), client("RSET\r\n"), server("250 2.0.0 ok\r\n")}, Anomalies: 1, Want: []string{
			"NOTICE → 235 2.7.0 ok, no_request error=no_request outcome=cut smtp_codes=[235]", "RSET → 250 2.0.0 ok smtp_codes=[250]"}},
		{Name: "its last command", Midway: true, Chunks: chunks{client("QUIT\r\n"), server("221 bye\r\n")}, Want: []string{"QUIT → 221 bye smtp_codes=[221]"}},
		{Name: "content that is cut", Chunks: after(client("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"), server("250 a\r\n250 b\r\n354 c\r\n"), client("Subject: x\r\n")), End: dissect.EndReset, Want: rows(
			`MAIL <a@b> to <c@d> "x" (12 bytes) → 354 c, reset error=reset outcome=no_answer smtp_subject=x smtp_codes=[250 250 354]`)},
		{Name: "a gap in the content, with its end", Chunks: after(client("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"), server("250 a\r\n250 b\r\n354 c\r\n"), client("Subject: x\r\n\r\nab\r\n"),
			dissecttest.Chunk{Dir: dissect.ToServer, Gap: 90}, server("250 d\r\n"), client("QUIT\r\n"), server("221 e\r\n")), Want: rows(
			`MAIL <a@b> to <c@d> "x" (18 bytes) → 250 d, gap error=gap smtp_subject=x smtp_codes=[250 250 354 250]`, "QUIT → 221 e smtp_codes=[221]")},
		{Name: "a greeting in parts, longer than detection waits for", Chunks: chunks{server("220 mx " + long), client("EHLO a\r\n"), server("a\r\n250 mx\r\n")}, Want: []string{
			"GREETING → 220 mx " + long[:193] + "… smtp_codes=[220]", "EHLO a → 250 mx smtp_codes=[250]"}},
		{Name: "a greeting without an end, which swallows a reply", Chunks: chunks{server("220 mx"), client("EHLO a\r\n"), server("250 mx\r\n"), client("AUTH LOGIN\r\n"), server("334 VXNlcm5hbWU6\r\n"), client(coded("bob") + "\r\n"),
			server("334 UGFzc3dvcmQ6\r\n"), client(coded("geheim") + "\r\n"), server("235 ok\r\n")}, Want: []string{"GREETING → 220 mx250 mx smtp_codes=[220]",
			"EHLO a → malformed error=malformed outcome=unread", "AUTH LOGIN bob → 235 ok auth_kind=password smtp_codes=[334 334 235] smtp_user=bob smtp_ahead=1"}},
		{Name: "a login whose challenges were not captured", Chunks: after(client("AUTH LOGIN\r\n"), dissecttest.Chunk{Dir: dissect.ToClient, Gap: 18}, client(coded("bob")+"\r\n"), client(coded("geheim")+"\r\n"), server("235 ok\r\n")), Want: rows(
			"AUTH LOGIN bob → 235 ok error=gap auth_kind=password smtp_codes=[235] smtp_user=bob")},
		{Name: "a login whose first answer was not captured: the next one is the password", Anomalies: 1, Chunks: after(client("AUTH LOGIN\r\n"), server("334 VXNlcm5hbWU6\r\n"), dissecttest.Chunk{Dir: dissect.ToServer, Gap: 6},
			server("334 UGFzc3dvcmQ6\r\n"), client(coded("geheim")+"\r\n"), server("235 ok\r\n")), Want: rows("AUTH LOGIN → 235 ok error=gap auth_kind=password smtp_codes=[334 334 235]")},
		{Name: "a login whose first answer is no base64", Chunks: after(client("AUTH LOGIN\r\n"), server("334 VXNlcm5hbWU6\r\n"), client("%\r\n"),
			server("334 UGFzc3dvcmQ6\r\n"), client(coded("geheim")+"\r\n"), server("535 no\r\n")), Want: rows("AUTH LOGIN → 535 no outcome=client_error auth_kind=password smtp_codes=[334 334 535]")},
		{Name: "the server's side alone", Chunks: chunks{server(greeting + "250 a\r\n")}, Want: []string{"GREETING → 220 mx.example ESMTP Postfix smtp_codes=[220]", "NOTICE → 250 a, no_request error=no_request outcome=cut smtp_codes=[250]"}},
	}...)
}

// TestSmuggling has content that two servers may end at different places, as in CVE-2023-51764, and content next to it
// that all end alike.
func TestSmuggling(t *testing.T) {
	const first = "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"
	for _, row := range []struct {
		content string // of the first message, with its end
		mails   int
		odd     bool
	}{
		{"x\r\n.\r\n", 2, false},
		{"x\r\n..\r\ny\nz\r\n.\r\n", 2, false},
		{".\r\n", 2, false},
		{"x\ry.\r\n.\r\n", 2, false},
		{"x\n.\n", 2, true},
		{"x\n.\r\n", 2, true},
		{"x\r\n.\n", 2, true},
		{"x\r.\r\nMAIL FROM:<e@f>\r\n.\r\n", 2, true},
		{"x\r\n.\rMAIL FROM:<e@f>\r\n.\r\n", 2, true},
		{"x\r.\rMAIL FROM:<e@f>\r\n.\r\n", 2, true},
		{"x\n.\rMAIL FROM:<e@f>\r\n.\r\n", 2, true},
	} {
		r := dissecttest.Play(t, dissecttest.OptionsOf(Protocol()), server(greeting), client("EHLO a\r\n"), server(hello), client(first), server("250 a\r\n250 b\r\n354 c\r\n"),
			client(row.content+first), server("250 queued\r\n250 a\r\n250 b\r\n354 c\r\n"), client("y\r\n.\r\n"), server("250 queued\r\n"))
		mails := 0
		for _, x := range r.Rows() {
			if m := x.(*Row); m.Command == "MAIL" && m.StatusCode.V == 250 {
				mails++
			}
		}
		if got := dissecttest.Kinds(r); mails != row.mails || (got == "smuggling") != row.odd || got != "" && !row.odd {
			t.Errorf("%q: %d mails, anomalies %q", row.content, mails, got)
		}
	}
}

// TestBody keeps the content of a message without the dots that protect its lines.
func TestBody(t *testing.T) {
	r := dissecttest.Play(t, dissecttest.OptionsOf(Protocol()), samples[0].Chunks...)
	b := r.Emissions[2].ReqBody
	if want := strings.Replace(mail, "\r\n..", "\r\n.", 1); string(b.Bytes()) != want || !b.Complete {
		t.Errorf("%q, complete %v", b.Bytes(), b.Complete)
	}
}

func TestDetect(t *testing.T) {
	dissecttest.Detect(t, detect, dissecttest.Heads{
		{"a client's name", dissect.ToServer, "EHLO a.example\r\n", dissect.Yes},
		{"an envelope", dissect.ToServer, "MAIL FROM:<a@b>\r\n", dissect.Yes},
		{"the beginning of a command", dissect.ToServer, "EH", dissect.More},
		{"a greeting", dissect.ToClient, greeting, dissect.More},
		{"a greeting and a reply", dissect.ToClient, greeting + "250 a\r\n", dissect.Likely},
		{"a greeting and a reply of FTP", dissect.ToClient, "220 a\r\n331 password\r\n", dissect.No},
		{"a reply with a status of RFC 2034", dissect.ToClient, "250 2.1.0 Ok\r\n", dissect.Likely},
		{"a reply with the status of another class", dissect.ToClient, "250 4.1.0 Ok\r\n", dissect.No},
		{"a reply with a version", dissect.ToClient, "220 2.4.1beta ready\r\n", dissect.More},
		{"a reply with an address", dissect.ToClient, "250 2.1.0.7 Ok\r\n", dissect.No},
		{"a login of FTP or POP3", dissect.ToServer, "USER ann\r\n", dissect.No},
		{"HTTP", dissect.ToServer, "GET / HTTP/1.1\r\n\r\n", dissect.No},
		{"no text", dissect.ToServer, "EHLO \x00\r\n", dissect.No},
	})
}

func TestResume(t *testing.T) {
	dissecttest.Detect(t, resume, dissecttest.Heads{
		{"a command", dissect.ToServer, "RSET\r\n", dissect.Likely},
		{"a command with something else", dissect.ToServer, "Data follows below\r\n", dissect.No},
		{"a login", dissect.ToServer, "AUTH PLAIN AGE=\r\n", dissect.Likely},
		{"the end of content", dissect.ToServer, "Data follows below\r\n.\r\n", dissect.Likely},
		{"the end of content and a command", dissect.ToServer, ".\r\nMAIL FROM:<a@b>\r\n", dissect.Likely},
		{"a dot in text", dissect.ToServer, "a\r\n.\r\nb\r\n", dissect.No},
		{"a dot from the server", dissect.ToClient, "a\r\n.\r\n", dissect.No},
	})
}

// TestReplyOfDATABehindMany has the reply that only DATA gets behind more commands than a constant would limit.
func TestReplyOfDATABehindMany(t *testing.T) {
	o := dissecttest.OptionsOf(Protocol())
	o.Budget = 256 << 20
	r := dissecttest.Play(t, o, server(greeting), client("EHLO a\r\n"), server(hello), client(strings.Repeat("NOOP\r\n", 20_000)+"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"),
		server("354 go on\r\n"), client("x\r\n.\r\n"), server("250 ok\r\n"))
	for _, c := range r.Rows() {
		if row := c.(*Row); row.Command == "MAIL" {
			if row.StatusCode.V != 250 || len(row.Codes) != 2 {
				t.Errorf("codes %v, want 354 and 250", row.Codes)
			}
			return
		}
	}
	t.Error("no message")
}
