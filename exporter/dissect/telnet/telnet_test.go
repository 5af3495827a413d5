package telnet

import (
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

type chunks = []dissecttest.Chunk

var client, server = dissecttest.Client, dissecttest.Server

const (
	offered = "\xff\xfd\x18\xff\xfd\x27"
	agrees  = "\xff\xfb\x18\xff\xfb\x27"
	term    = "\xff\xfa\x18\x00xterm\xff\xf0"
	echoes  = "\xff\xfb\x01\xff\xfb\x03"
	prompt  = "\r\nDebian GNU/Linux 12\r\nplant login: "
	entered = "\r\nLast login: Mon Nov 30\r\nalice@plant:~$ "
)

// letters is a line that is typed letter by letter, and echoed.
func letters(s string) (list chunks) {
	for _, b := range []byte(s) {
		list = append(list, client(string(b)), server(string(b)))
	}
	return append(list, client("\r\x00"))
}

// silent is a line without echo.
func silent(s string) (list chunks) {
	for _, b := range []byte(s) {
		list = append(list, client(string(b)))
	}
	return append(list, client("\r\x00"))
}

// join joins chunks and lists of them.
func join(parts ...any) (list chunks) {
	for _, p := range parts {
		if c, ok := p.(dissecttest.Chunk); ok {
			list = append(list, c)
		} else {
			list = append(list, p.(chunks)...)
		}
	}
	return list
}

var session = join(server(offered), client(agrees), client(term), server(echoes), server(prompt),
	letters("alice"), server("\r\nPassword: "), silent("hunter-two"), server("\r\nLogin incorrect\r\nplant login: "),
	letters("alice"), server("\r\nPassword: "), silent("hunter-2"), server(entered),
	letters("unaem\x7f\x7fme"), server("\r\nLinux\r\n\x1b[0;32malice\x1b[0m@plant:~$ "),
	letters("sudo id"), server("\r\n[sudo] password for alice: "), silent("hunter-2"), server("\r\nuid=0(root)\r\n$ "),
	letters("passwd"), server("\r\nNew password: "), silent("new-secret"), server("\r\nRetype new password: "), silent("new-secret"), server("\r\ndone\r\n$ "))

var samples = []dissecttest.Sample{{Name: "a session", Rows: 9, Chunks: session}}

func TestSuite(t *testing.T) { dissecttest.Run(t, Protocol(), samples...) }

func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), samples...) }

func TestNoSecret(t *testing.T) {
	for _, secret := range []string{"hunter", "new-secret"} {
		dissecttest.NoSecret(t, Protocol(), samples[0], secret)
	}
	silently := dissecttest.Sample{Name: "typed without echo", Chunks: join(server(echoes+"key> "), silent("hunter"), server("\r\nfine\r\n$ "))}
	dissecttest.NoSecret(t, Protocol(), silently, "hunter")
	lost := dissecttest.Sample{Name: "the prompt is lost", Chunks: join(server(offered+"login: "), client("bob\r\n"), dissecttest.Chunk{Dir: dissect.ToClient, Gap: 10}, client("hunter\r\n"), server("\r\nhi\r\n$ "))}
	dissecttest.NoSecret(t, Protocol(), lost, "hunter")
	ahead := dissecttest.Sample{Name: "nothing is waited for", Chunks: join(server(offered), client("bob\r\nhunter\r\nls\r\n"), server("login: bob\r\nPassword: \r\nLogin incorrect\r\nlogin: "))}
	dissecttest.NoSecret(t, Protocol(), ahead, "hunter")
	repeated := dissecttest.Sample{Name: "the server repeats it", Chunks: join(server(offered+"login: "), client("bob\r\n"), server("Password: "), client("hunter\r\n"), server("hunter\r\nbad\r\nlogin: "))}
	dissecttest.NoSecret(t, Protocol(), repeated, "hunter")
}

func TestRows(t *testing.T) {
	columns := []string{"status_text", "auth_kind", "telnet_user", "telnet_hidden", "telnet_options", "telnet_terminal"}
	dissecttest.Converse(t, Protocol(), columns, []dissecttest.Conversation{
		{Name: "a session", Chunks: session, Want: []string{
			"CONNECT → Debian GNU/Linux 12 telnet_options=[server DO TERMINAL-TYPE server DO NEW-ENVIRON client WILL TERMINAL-TYPE client WILL NEW-ENVIRON server WILL ECHO server WILL SUPPRESS-GO-AHEAD] telnet_terminal=xterm",
			"LOGIN alice → Login incorrect outcome=client_error status_text=Login incorrect auth_kind=password telnet_user=alice telnet_hidden=true",
			"LOGIN alice → logged in auth_kind=password telnet_user=alice telnet_hidden=true",
			"uname → Linux",
			"sudo id → [sudo] password for alice:",
			"LOGIN alice → logged in auth_kind=password telnet_user=alice telnet_hidden=true",
			"passwd → New password:",
			"(hidden) → Retype new password: auth_kind=other telnet_hidden=true",
			"(hidden) → done auth_kind=other telnet_hidden=true"}},
		{Name: "passwords that are known", Chunks: join(server(offered+"login: "), client("root\r\n"), server("Password: "), client("root\r\n"), server("\r\nlogin: ")), Want: []string{
			"CONNECT → login: telnet_options=[server DO TERMINAL-TYPE server DO NEW-ENVIRON]",
			"LOGIN root → login: outcome=client_error status_text=login: auth_kind=password telnet_user=root telnet_hidden=true"},
			Anomalies: 1},
		{Name: "a login without a password", Chunks: join(server(offered+"login: "), client("root\r\n"), server("\r\n# ")), Want: []string{
			"CONNECT → login: telnet_options=[server DO TERMINAL-TYPE server DO NEW-ENVIRON]",
			"LOGIN root → logged in auth_kind=none telnet_user=root"}},
		{Name: "a password only, and a result that no text shows", Chunks: join(server(echoes+"User Access Verification\r\n\r\nPassword: "), client("s3cret\r\n"), server("\r\nPress a key")), Want: []string{
			"CONNECT → User Access Verification telnet_options=[server WILL ECHO server WILL SUPPRESS-GO-AHEAD]",
			"LOGIN → Press a key error=unread outcome=unread auth_kind=password telnet_hidden=true"}},
		{Name: "no answer to a login", Chunks: join(server(offered+"login: "), client("a\r\n"), server("Password: "), client("b\r\n")), End: dissect.EndReset, Want: []string{
			"CONNECT → login: telnet_options=[server DO TERMINAL-TYPE server DO NEW-ENVIRON]",
			"LOGIN a → reset error=reset outcome=no_answer auth_kind=password telnet_user=a telnet_hidden=true"}},
		{Name: "an echo that comes late", Chunks: join(server(echoes+"$ "), client("host"), server("ho"), client("name\r\x00"), server("stname\r\nplant\r\n$ ")), Want: []string{
			"CONNECT → $ telnet_options=[server WILL ECHO server WILL SUPPRESS-GO-AHEAD]",
			"hostname → plant"}},
		{Name: "a user in an option", Chunks: join(server(offered), client("\xff\xfa\x27\x00\x00USER\x01eve\xff\xf0"), server("Password: "), client("x1y2z3\r\n"), server("\r\nWelcome\r\n")), Want: []string{
			"CONNECT → Password: telnet_user=eve telnet_options=[server DO TERMINAL-TYPE server DO NEW-ENVIRON]",
			"LOGIN eve → logged in auth_kind=password telnet_user=eve telnet_hidden=true"}},
	}...)
}

func TestDetect(t *testing.T) {
	dissecttest.Detect(t, detect, dissecttest.Heads{
		{"two options", dissect.ToClient, offered, dissect.Yes},
		{"two options of the other side", dissect.ToServer, offered, dissect.Likely},
		{"one option", dissect.ToClient, offered[:3], dissect.Likely},
		{"one and a half", dissect.ToClient, offered[:5], dissect.More},
		{"an option and a prompt", dissect.ToClient, "\xff\xfb\x01login: ", dissect.Likely},
		{"an MP3 frame", dissect.ToClient, "\xff\xfb\x90\x64\x00\x00", dissect.No},
		{"an option and other bytes", dissect.ToClient, "\xff\xfb\x01\x00\x01", dissect.No},
		{"a prompt", dissect.ToClient, "login: ", dissect.No},
	})
	dissecttest.Detect(t, detectOnPort, dissecttest.Heads{
		{"a prompt", dissect.ToClient, "\r\nWelcome\r\nlogin: ", dissect.Yes},
		{"another line", dissect.ToClient, "SSH-2.0-x\r\n", dissect.No},
		{"of the client", dissect.ToServer, "login: ", dissect.No},
	})
}
