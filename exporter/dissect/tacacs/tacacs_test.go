package tacacs

import (
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

type chunks = []dissecttest.Chunk

var client, server = dissecttest.Client, dissecttest.Server

// packet is a packet of session 7.
func packet(kind, sequence, flags byte, body string) string {
	return string([]byte{0xc0, kind, sequence, flags, 0, 0, 0, 7, 0, 0, byte(len(body) >> 8), byte(len(body))}) + body
}

// reply is the body of an authentication reply.
func reply(status byte, message string) string {
	return string([]byte{status, 0, 0, byte(len(message)), 0, 0}) + message
}

var (
	start    = packet(1, 1, 1, "\x01\x01\x01\x01\x00\x04\x09\x00tty010.0.0.99")
	getuser  = packet(1, 2, 1, reply(4, "Username: "))
	name     = packet(1, 3, 1, "\x00\x05\x00\x00\x00alice")
	getpass  = packet(1, 4, 1, reply(5, "Password: "))
	pass     = packet(1, 5, 1, "\x00\x08\x00\x00\x00hunter-2")
	fail     = packet(1, 6, 1, reply(2, "Bad"))
	pap      = packet(1, 1, 1, "\x01\x0f\x02\x01\x04\x00\x00\x04roottoor")
	passed   = packet(1, 2, 1, reply(1, ""))
	author   = packet(2, 1, 1, "\x06\x01\x01\x01\x05\x04\x00\x02\x0d\x08alicetty0service=shellcmd=show")
	addition = packet(2, 2, 1, "\x01\x01\x00\x00\x00\x00\x0bpriv-lvl=15")
	refuses  = packet(2, 2, 1, "\x10\x00\x00\x02\x00\x00no")
	account  = packet(3, 1, 1, "\x02\x06\x01\x01\x01\x05\x04\x00\x01\x09alicetty0task_id=1")
	success  = packet(3, 2, 1, "\x00\x00\x00\x00\x01")
	hidden   = packet(1, 1, 0, strings.Repeat("\x9d", 20))
	veiled   = packet(1, 2, 0, strings.Repeat("\x5a", 6))
)

var samples = []dissecttest.Sample{{Name: "in clear text", Rows: 6, Chunks: chunks{
	client(start), server(getuser), client(name), server(getpass), client(pass), server(fail),
	client(author), server(addition), client(account), server(success), client(hidden), server(veiled)}}}

func TestSuite(t *testing.T) { dissecttest.Run(t, Protocol(), samples...) }

func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), samples...) }

func TestNoSecret(t *testing.T) {
	dissecttest.NoSecret(t, Protocol(), samples[0], "hunter-2")
	dissecttest.NoSecret(t, Protocol(), dissecttest.Sample{Name: "PAP", Chunks: chunks{client(pap), server(passed)}}, "toor")
}

func TestRows(t *testing.T) {
	columns := []string{"status_code", "auth_kind", "tacacs_port", "tacacs_rem_addr", "tacacs_privilege", "tacacs_obfuscated", "tacacs_response_arguments", "tacacs_server_message"}
	dissecttest.Converse(t, Protocol(), columns, []dissecttest.Conversation{
		{Name: "a login, an authorization, accounting, and an obfuscated login", Chunks: samples[0].Chunks, Want: []string{
			"LOGIN login → GETUSER status_code=4 tacacs_port=tty0 tacacs_rem_addr=10.0.0.99 tacacs_privilege=1 tacacs_server_message=Username:",
			"CONTINUE alice → GETPASS status_code=5 tacacs_server_message=Password:",
			"CONTINUE alice → FAIL outcome=refused status_code=2 auth_kind=password tacacs_server_message=Bad",
			"AUTHORIZATION login alice service=shell cmd=show → PASS_ADD status_code=1 tacacs_port=tty0 tacacs_privilege=1 tacacs_response_arguments=[priv-lvl=15]",
			"ACCOUNTING START login alice task_id=1 → SUCCESS status_code=1 tacacs_port=tty0 tacacs_privilege=1",
			"AUTHENTICATION → obfuscated outcome=unread tacacs_obfuscated=true"}},
		{Name: "PAP with a known password", Chunks: chunks{client(pap), server(passed)}, Anomalies: 1, Want: []string{
			"LOGIN login root → PASS status_code=1 auth_kind=pap tacacs_privilege=15"}},
		{Name: "a refused command, and no answer", Chunks: chunks{client(author), server(refuses), client(account)}, End: dissect.EndReset, Want: []string{
			"AUTHORIZATION login alice service=shell cmd=show → FAIL outcome=refused status_code=16 tacacs_port=tty0 tacacs_privilege=1 tacacs_server_message=no",
			"ACCOUNTING START login alice task_id=1 → reset error=reset outcome=no_answer tacacs_port=tty0 tacacs_privilege=1"}},
		{Name: "clear bodies without the flag", Chunks: chunks{client(packet(2, 1, 0, author[12:])), server(packet(2, 2, 0, refuses[12:]))}, Want: []string{
			"AUTHORIZATION login alice service=shell cmd=show → FAIL outcome=refused status_code=16 tacacs_port=tty0 tacacs_privilege=1 tacacs_server_message=no"}},
		{Name: "a reply alone", Chunks: chunks{server(getpass)}, Want: []string{
			"AUTHENTICATION → GETPASS error=no_request outcome=cut status_code=5 tacacs_server_message=Password:"}},
	}...)
}

func TestDetect(t *testing.T) {
	dissecttest.Detect(t, detect, dissecttest.Heads{
		{"a login", dissect.ToServer, start, dissect.Yes},
		{"an obfuscated one", dissect.ToServer, hidden, dissect.Yes},
		{"a reply", dissect.ToClient, veiled, dissect.Yes},
		{"a part of a head", dissect.ToServer, start[:7], dissect.More},
		{"a part of a body", dissect.ToServer, start[:20], dissect.More},
		{"the sequence of the other side", dissect.ToClient, start, dissect.No},
		{"a body that does not fit", dissect.ToServer, packet(1, 1, 1, "\x01\x01\x01\x01\x00\x05\x09\x00tty010.0.0.99"), dissect.No},
		{"another version", dissect.ToServer, "\xb0" + start[1:], dissect.No},
	})
}
