package ftp

import (
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

type chunks = []dissecttest.Chunk

var client, server = dissecttest.Client, dissecttest.Server

var login = chunks{server("220-Welcome\r\n to this server\r\n220 (vsFTPd 3.0.3)\r\n"), client("USER ann\r\n"), server("331 Please specify the password.\r\n"), client("PASS vZ7-q2\r\n"), server("230 Login successful.\r\n")}

func after(c ...dissecttest.Chunk) chunks { return append(append(chunks{}, login...), c...) }

var samples = []dissecttest.Sample{
	{Name: "a download", Rows: 7, Chunks: after(client("TYPE I\r\n"), server("200 ok\r\n"), client("PASV\r\n"), server("227 Entering Passive Mode (10,0,0,2,156,64).\r\n"), client("RETR a.txt\r\n"),
		server("150 Opening BINARY mode data connection for a.txt (1234 bytes).\r\n"), server("226 Transfer complete.\r\n"), client("QUIT\r\n"), server("221 Goodbye.\r\n"))},
	{Name: "AUTH TLS", Rows: 3, Chunks: chunks{server("220 ProFTPD\r\n"), client("AUTH TLS\r\n"), server("234 go\r\n"), client("\x16\x03\x01\x00\x05hello")}},
	{Name: "commands at once", Rows: 5, Chunks: after(client("SYST\r\nPWD\r\n"), server("215 UNIX\r\n257 \"/\"\r\n"))},
}

func TestSuite(t *testing.T) { dissecttest.Run(t, Protocol(), samples...) }

func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), samples...) }

func TestRows(t *testing.T) {
	columns := []string{"auth_kind", "ftp_user", "ftp_codes", "ftp_type", "ftp_mode", "ftp_data_ip", "ftp_data_port", "ftp_size", "ftp_offset"}
	start := []string{"GREETING → 220 Welcome ftp_codes=[220]", "USER ann → 331 Please specify the password. ftp_user=ann ftp_codes=[331]",
		"PASS → 230 Login successful. auth_kind=password ftp_user=ann ftp_codes=[230]"}
	rows := func(s ...string) []string { return append(append([]string{}, start...), s...) }
	dissecttest.Converse(t, Protocol(), columns, []dissecttest.Conversation{
		{Name: "a transfer ends with its second reply", Chunks: samples[0].Chunks, Want: rows("TYPE I → 200 ok ftp_user=ann ftp_codes=[200]",
			"PASV → 227 Entering Passive Mode (10,0,0,2,156,64). ftp_user=ann ftp_codes=[227] ftp_mode=passive ftp_data_ip=10.0.0.2 ftp_data_port=40000",
			"RETR a.txt → 226 Transfer complete. ftp_user=ann ftp_codes=[150 226] ftp_type=I ftp_mode=passive ftp_data_ip=10.0.0.2 ftp_data_port=40000 ftp_size=1234",
			"QUIT → 221 Goodbye. ftp_user=ann ftp_codes=[221]")},
		{Name: "active transfers, extended ones, and the rest of a file", Chunks: after(client("PORT 10,0,0,5,4,1\r\n"), server("200 ok\r\n"), client("REST 100\r\n"), server("350 ok\r\n"), client("STOR b\r\n"), server("125 go\r\n426 aborted\r\n"),
			client("EPRT |2|2001:db8::5|5282|\r\n"), server("200 ok\r\n"), client("EPSV\r\n"), server("229 ok (|||6446|)\r\n"), client("LIST\r\n"), server("550 no\r\n")), Want: rows(
			"PORT 10,0,0,5,4,1 → 200 ok ftp_user=ann ftp_codes=[200] ftp_mode=active ftp_data_ip=10.0.0.5 ftp_data_port=1025", "REST 100 → 350 ok ftp_user=ann ftp_codes=[350]",
			"STOR b → 426 aborted outcome=server_error ftp_user=ann ftp_codes=[125 426] ftp_mode=active ftp_data_ip=10.0.0.5 ftp_data_port=1025 ftp_offset=100",
			"EPRT |2|2001:db8::5|5282| → 200 ok ftp_user=ann ftp_codes=[200] ftp_mode=active ftp_data_ip=2001:db8::5 ftp_data_port=5282",
			"EPSV → 229 ok (|||6446|) ftp_user=ann ftp_codes=[229] ftp_mode=passive ftp_data_port=6446",
			"LIST → 550 no outcome=client_error ftp_user=ann ftp_codes=[550] ftp_mode=passive ftp_data_port=6446")},
		{Name: "a transfer that is cut", Chunks: after(client("RETR c\r\n"), server("150 go\r\n")), End: dissect.EndReset, Want: rows("RETR c → 150 go, reset error=reset outcome=no_answer ftp_user=ann ftp_codes=[150]")},
		{Name: "a greeting in parts, longer than detection waits for", Chunks: chunks{server("220 FTP " + strings.Repeat("A", 5000)), client("SYST\r\n"), server("a\r\n215 UNIX\r\n")}, Want: []string{
			"GREETING → 220 FTP " + strings.Repeat("A", 192) + "… ftp_codes=[220]", "SYST → 215 UNIX ftp_codes=[215]"}},
		{Name: "lines without a command", Chunks: after(client("TYPEEEEEEEEEEEEEEEEE I\r\n"), server("500 no\r\n"), client("12 x\r\n"), server("500 no\r\n")), Want: rows(
			"UNKNOWN TYPEEEEEEEEEEEEEEEEE I → 500 no outcome=client_error ftp_user=ann ftp_codes=[500]", "UNKNOWN 12 x → 500 no outcome=client_error ftp_user=ann ftp_codes=[500]")},
		{Name: "a lost reply", Chunks: after(client("PWD\r\n"), dissecttest.Chunk{Dir: dissect.ToClient, Gap: 20}, client("SYST\r\n"), server("215 UNIX\r\n")), Want: rows(
			"PWD → gap error=gap outcome=unread ftp_user=ann", "SYST → 215 UNIX ftp_user=ann ftp_codes=[215]")},
	}...)
}

func TestDetect(t *testing.T) {
	dissecttest.Detect(t, detect, dissecttest.Heads{
		{"a name", dissect.ToServer, "USER ann\r\n", dissect.More},
		{"a name and a command of FTP", dissect.ToServer, "USER ann\r\nPASS x\r\nSYST\r\n", dissect.Likely},
		{"a name and a command of POP3", dissect.ToServer, "USER ann\r\nPASS x\r\nUIDL\r\n", dissect.No},
		{"a greeting", dissect.ToClient, "220 FTP ready\r\n", dissect.More},
		{"a greeting and a request for a password", dissect.ToClient, "220 ready\r\n331 Password\r\n", dissect.Likely},
		{"a greeting of SMTP", dissect.ToClient, "220 a ESMTP\r\n250 b\r\n", dissect.No},
		{"a greeting and a reply of SMTP", dissect.ToClient, "220 a\r\n250 b\r\n", dissect.No},
		{"HTTP", dissect.ToServer, "GET / HTTP/1.1\r\n\r\n", dissect.No},
	})
}

// TestLastCommands reads the end of a connection, of which only the port says that it is FTP.
func TestLastCommands(t *testing.T) {
	dissecttest.Converse(t, Protocol(), nil, dissecttest.Conversation{Name: "from its end", Midway: true,
		Chunks: chunks{client("QUIT\r\n"), server("221 Goodbye.\r\n")}, Want: []string{"QUIT → 221 Goodbye."}})
	o := dissecttest.OptionsOf(Protocol())
	o.Roles, o.ServerPort = false, 50001
	if p := dissecttest.Play(t, o, client("QUIT\r\n"), server("221 Goodbye.\r\n")).Conn.Protocol(); p != nil {
		t.Errorf("on another port it is %s", p.Name)
	}
}
