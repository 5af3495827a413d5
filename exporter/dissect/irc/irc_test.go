package irc

import (
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

type chunks = []dissecttest.Chunk

var client, server = dissecttest.Client, dissecttest.Server

var session = chunks{client("PASS hunter-2\r\nNICK ann\r\nUSER ann 0 * :Ann Example\r\n"),
	server(":irc.example 001 ann :Welcome\r\n:irc.example 376 ann :End of MOTD\r\n"),
	client("JOIN #shop key-secret\r\n"), server(":ann!ann@host JOIN #shop\r\n:irc.example 353 ann = #shop :ann bob\r\n:irc.example 366 ann #shop :End\r\n"),
	client("PRIVMSG #shop :hello all\r\nPRIVMSG nobody :hi\r\n"), server(":irc.example 401 ann nobody :No such nick\r\n:bob!b@host PRIVMSG ann :hi ann\r\n"),
	client("PRIVMSG NickServ :IDENTIFY ann-secret\r\n"), client("NICK bob\r\n"), server(":irc.example 433 ann bob :in use\r\n"),
	client("OPER ann oper-secret\r\n"), server(":irc.example 464 ann :Password incorrect\r\n"),
	client("PING :x\r\n"), server(":irc.example PONG irc.example :x\r\n"),
	client("FROB\r\n"), server(":irc.example 421 ann FROB :Unknown command\r\n"),
	client("QUIT :bye\r\n"), server("ERROR :Closing link\r\n")}

var samples = []dissecttest.Sample{{Name: "a session", Rows: 13, Chunks: session}}

func TestSuite(t *testing.T) { dissecttest.Run(t, Protocol(), samples...) }

func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), samples...) }

func TestNoSecret(t *testing.T) {
	for _, s := range []string{"hunter-2", "-secret"} {
		dissecttest.NoSecret(t, Protocol(), samples[0], s)
	}
}

func TestRows(t *testing.T) {
	columns := []string{"status_code", "auth_kind", "irc_source", "irc_replies", "irc_dcc_size", "irc_dcc_address"}
	dissecttest.Converse(t, Protocol(), columns, []dissecttest.Conversation{
		{Name: "a session", Chunks: session, Want: []string{
			"PASS auth_kind=password",
			"NICK ann",
			"USER ann Ann Example → RPL_ENDOFMOTD status_code=376 irc_replies=2",
			"JOIN #shop → RPL_ENDOFNAMES status_code=366 irc_replies=3",
			"PRIVMSG #shop hello all",
			"PRIVMSG nobody hi → ERR_NOSUCHNICK outcome=client_error status_code=401 irc_replies=1",
			"bob!b@host: PRIVMSG ann hi ann irc_source=bob!b@host",
			"PRIVMSG NickServ IDENTIFY auth_kind=password",
			"NICK bob → ERR_NICKNAMEINUSE outcome=client_error status_code=433 irc_replies=1",
			"OPER ann → ERR_PASSWDMISMATCH outcome=client_error status_code=464 auth_kind=password irc_replies=1",
			"PING x → x irc_replies=1",
			"FROB → ERR_UNKNOWNCOMMAND outcome=client_error status_code=421 irc_replies=1",
			"QUIT bye → Closing link irc_replies=1"}},
		{Name: "SASL", Chunks: chunks{client("CAP REQ :sasl\r\n"), server(":a CAP * ACK :sasl\r\n"), client("AUTHENTICATE PLAIN\r\n"), server("AUTHENTICATE +\r\n"),
			client("AUTHENTICATE AGV2ZQBodW50ZXI=\r\n"), server(":a 904 eve :failed\r\n"), client("CAP END\r\n")}, Want: []string{
			"CAP REQ sasl → sasl irc_replies=1",
			"AUTHENTICATE PLAIN → + irc_replies=1",
			"AUTHENTICATE eve → ERR_SASLFAIL outcome=client_error status_code=904 auth_kind=password irc_replies=1",
			"CAP END"}},
		{Name: "an offer of a file, and one without a port", Chunks: chunks{server(":bob!b@host PRIVMSG ann :\x01DCC SEND \"a b.zip\" 167772165 5001 12\x01\r\n"),
			server(":bob!b@host PRIVMSG ann :\x01DCC SEND c.zip here\x01\r\n")}, Anomalies: 0, Want: []string{
			"bob!b@host: DCC SEND ann c.zip irc_source=bob!b@host",
			"bob!b@host: DCC SEND ann a b.zip irc_source=bob!b@host irc_dcc_size=12 irc_dcc_address=10.0.0.5:5001"}},
		{Name: "no answer", Chunks: chunks{client("NICK ann\r\nWHOIS bob\r\n")}, End: dissect.EndReset, Want: []string{
			"NICK ann",
			"WHOIS bob → reset error=reset outcome=no_answer"}},
	}...)
}

func TestDetect(t *testing.T) {
	dissecttest.Detect(t, detect, dissecttest.Heads{
		{"a login", dissect.ToServer, "NICK ann\r\nUSER ann 0 * :Ann\r\n", dissect.Yes},
		{"a nick", dissect.ToServer, "NICK ann\r\n", dissect.Likely},
		{"a capability", dissect.ToServer, "CAP LS 302\r\n", dissect.Yes},
		{"a password", dissect.ToServer, "PASS x\r\n", dissect.More},
		{"a welcome", dissect.ToClient, ":irc.example.org 001 nick :Welcome\r\n", dissect.Yes},
		{"a notice", dissect.ToClient, "NOTICE AUTH :*** Looking up\r\n", dissect.Yes},
		{"a user of FTP", dissect.ToServer, "USER ann\r\n", dissect.No},
		{"a reply of Redis", dissect.ToClient, ":1000\r\n", dissect.No},
		{"a request of HTTP", dissect.ToServer, "GET / HTTP/1.1\r\n", dissect.No},
		{"a list of Redis", dissect.ToClient, ":1 2 3\r\n", dissect.No},
	})
}
