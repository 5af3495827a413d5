package memcached

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

// bin is a binary message.
func bin(magic, opcode byte, status uint16, opaque uint32, extras, key, value string) string {
	b := []byte{magic, opcode, 0, byte(len(key)), byte(len(extras)), 0}
	b = binary.BigEndian.AppendUint16(b, status)
	b = binary.BigEndian.AppendUint32(b, uint32(len(extras)+len(key)+len(value)))
	b = binary.BigEndian.AppendUint32(b, opaque)
	return string(append(b, 0, 0, 0, 0, 0, 0, 0, 0)) + extras + key + value
}

func ask(opcode byte, opaque uint32, extras, key, value string) string {
	return bin(magicRequest, opcode, 0, opaque, extras, key, value)
}

func say(opcode byte, status uint16, opaque uint32, extras, value string) string {
	return bin(magicResponse, opcode, status, opaque, extras, "", value)
}

const zeros8 = "\x00\x00\x00\x05\x00\x00\x00\x3c"

func samples() []dissecttest.Sample {
	return []dissecttest.Sample{
		{Name: "text, one after the other", Rows: 6, Chunks: chunks{client("set k 5 60 5\r\nhello\r\n"), server("STORED\r\n"), client("get k nope\r\n"), server("VALUE k 5 5\r\nhello\r\nEND\r\n"),
			client("incr n 2\r\n"), server("7\r\n"), client("delete k\r\n"), server("DELETED\r\n"), client("stats\r\n"), server("STAT pid 1\r\nSTAT uptime 5\r\nEND\r\n"), client("version\r\n"), server("VERSION 1.6.18\r\n")}},
		{Name: "text, several at once", Rows: 5, Chunks: chunks{client("set a 0 0 2 noreply\r\n\r\n\r\nset b 0 0 0\r\n\r\nget a\r\nget b\r\nquit\r\n"), server("STORED\r\nVALUE a 0 2\r\n\r\n\r\nEND\r\nEND\r\n")}},
		{Name: "meta", Rows: 6, Chunks: chunks{client("ms k 5 T60 F3\r\nhello\r\n"), server("HD\r\n"), client("mg k v f\r\nmg a q\r\nmg k v q Oxy\r\nmg b q\r\nmn\r\n"), server("VA 5 f3\r\nhello\r\nVA 5 Oxy\r\nhello\r\nMN\r\n")}},
		{Name: "binary", Rows: 5, Chunks: chunks{client(ask(opSet, 1, zeros8, "k", "hello")), server(say(opSet, 0, 1, "", "")), client(ask(opGet, 2, "", "k", "")), server(say(opGet, 0, 2, "\x00\x00\x00\x05", "hello")),
			client(ask(opGet, 3, "", "x", "")), server(say(opGet, 1, 3, "", "Not found")), client(ask(opStat, 4, "", "", "")), server(bin(magicResponse, opStat, 0, 4, "", "pid", "1") + say(opStat, 0, 4, "", "")),
			client(ask(opIncrement, 5, strings.Repeat("\x00", 7)+"\x02"+strings.Repeat("\x00", 12), "n", "")), server(say(opIncrement, 0, 5, "", "\x00\x00\x00\x00\x00\x00\x00\x07"))}},
		{Name: "binary, quiet", Rows: 4, Chunks: chunks{client(ask(opSetQ, 1, zeros8, "k", "hello") + ask(opGetKQ, 2, "", "a", "") + ask(opGetKQ, 3, "", "k", "") + ask(opNoop, 4, "", "", "")),
			server(bin(magicResponse, opGetKQ, 0, 3, "\x00\x00\x00\x05", "k", "hello") + say(opNoop, 0, 4, "", ""))}},
	}
}

func TestSuite(t *testing.T) { dissecttest.Run(t, Protocol(), samples()...) }

func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), samples()...) }

var columns = []string{"status_text", "auth_kind", "memcached_form", "memcached_keys", "memcached_items", "memcached_flags", "memcached_expiry", "memcached_quiet", "memcached_opaque", "memcached_delta"}

func TestRows(t *testing.T) {
	s := samples()
	dissecttest.Converse(t, Protocol(), columns, []dissecttest.Conversation{
		{Name: "text", Chunks: s[0].Chunks, Want: []string{
			"set k, 5 bytes → STORED status_text=STORED memcached_form=text memcached_keys=[k] memcached_flags=5 memcached_expiry=60",
			"get k nope → END, 1 value status_text=END memcached_form=text memcached_keys=[k nope] memcached_items=1 memcached_flags=5",
			"incr n 2 → OK status_text=OK memcached_form=text memcached_keys=[n] memcached_delta=2",
			"delete k → DELETED status_text=DELETED memcached_form=text memcached_keys=[k]",
			"stats → END, 2 lines status_text=END memcached_form=text memcached_items=2",
			"version → VERSION status_text=VERSION memcached_form=text"}},
		{Name: "commands without a reply", Chunks: s[1].Chunks, Want: []string{
			"set a, 2 bytes → no reply requested memcached_form=text memcached_keys=[a] memcached_flags=0 memcached_expiry=0 memcached_quiet=true",
			"quit → no reply requested memcached_form=text",
			"set b → STORED status_text=STORED memcached_form=text memcached_keys=[b] memcached_flags=0 memcached_expiry=0",
			"get a → END, 1 value status_text=END memcached_form=text memcached_keys=[a] memcached_items=1 memcached_flags=0",
			"get b → END, 0 values status_text=END memcached_form=text memcached_keys=[b] memcached_items=0"}},
		{Name: "quiet meta commands", Chunks: s[2].Chunks, Want: []string{
			"ms k T60 F3, 5 bytes → HD status_text=HD memcached_form=meta memcached_keys=[k] memcached_flags=3 memcached_expiry=60",
			"mg k v f → VA, 1 value status_text=VA memcached_form=meta memcached_keys=[k] memcached_items=1",
			"mg a q → no reply requested memcached_form=meta memcached_keys=[a] memcached_quiet=true",
			"mg k v q Oxy → VA, 1 value status_text=VA memcached_form=meta memcached_keys=[k] memcached_items=1 memcached_opaque=xy memcached_quiet=true",
			"mg b q → no reply requested memcached_form=meta memcached_keys=[b] memcached_quiet=true",
			"mn → MN status_text=MN memcached_form=meta"}},
		{Name: "a reply to a quiet meta command has its key and flags", Chunks: chunks{client("mg a v q\r\nmg b k v q\r\nmg c k f q\r\nmg d v q\r\nmg e v f q\r\nmn\r\n"), server("VA 1 kb\r\nx\r\nVA 1 W\r\ny\r\nVA 1 f3\r\nz\r\nMN\r\n")}, Want: []string{
			"mg a v q → no reply requested memcached_form=meta memcached_keys=[a] memcached_quiet=true",
			"mg b k v q → VA, 1 value status_text=VA memcached_form=meta memcached_keys=[b] memcached_items=1 memcached_quiet=true",
			"mg c k f q → no reply requested memcached_form=meta memcached_keys=[c] memcached_quiet=true",
			"mg d v q → VA, 1 value status_text=VA memcached_form=meta memcached_keys=[d] memcached_items=1 memcached_quiet=true",
			"mg e v f q → VA, 1 value status_text=VA memcached_form=meta memcached_keys=[e] memcached_items=1 memcached_quiet=true",
			"mn → MN status_text=MN memcached_form=meta"}},
		{Name: "a reply that several quiet meta commands can have", Anomalies: 1, Chunks: chunks{client("mg a v q\r\nmg b v q\r\nmn\r\n"), server("VA 1\r\nx\r\nMN\r\n")}, Want: []string{
			"mg a v q → VA, 1 value status_text=VA memcached_form=meta memcached_keys=[a] memcached_items=1 memcached_quiet=true",
			"mg b v q → no reply requested memcached_form=meta memcached_keys=[b] memcached_quiet=true",
			"mn → MN status_text=MN memcached_form=meta"}},
		{Name: "a reply to a quiet meta command before lost ones", Anomalies: 2, Chunks: chunks{client("me k\r\n"), server("EN\r\n"), client("mg a v q\r\nmg b"), {Dir: dissect.ToServer, Gap: 6, Data: []byte("mn\r\n")}, server("VA 1\r\nx\r\nMN\r\n")}, Want: []string{
			"me k → EN, 0 values status_text=EN memcached_form=meta memcached_keys=[k] memcached_items=0",
			"mg a v q → VA, 1 value status_text=VA memcached_form=meta memcached_keys=[a] memcached_items=1 memcached_quiet=true",
			"mn → gap error=gap outcome=unread memcached_form=meta", "? → MN error=no_request outcome=cut status_text=MN memcached_form=meta"}},
		{Name: "what a quiet meta command cannot reply answers the next one", Chunks: chunks{client("mg k v\r\n"), server("HD\r\n"), client("md a q\r\nme a\r\nms b 1 q\r\nx\r\nmd b\r\n"), server("EN\r\nHD\r\n")}, Want: []string{
			"mg k v → HD status_text=HD memcached_form=meta memcached_keys=[k]",
			"md a q → no reply requested memcached_form=meta memcached_keys=[a] memcached_quiet=true",
			"me a → EN, 0 values status_text=EN memcached_form=meta memcached_keys=[a] memcached_items=0",
			"ms b q, 1 byte → no reply requested memcached_form=meta memcached_keys=[b] memcached_quiet=true",
			"md b → HD status_text=HD memcached_form=meta memcached_keys=[b]"}},
		{Name: "quiet binary commands", Chunks: s[4].Chunks, Want: []string{
			"setq k, 5 bytes → no reply requested memcached_form=binary memcached_keys=[k] memcached_flags=5 memcached_expiry=60 memcached_opaque=1 memcached_quiet=true",
			"getkq a → no reply requested memcached_form=binary memcached_keys=[a] memcached_opaque=2 memcached_quiet=true",
			"getkq k → ok, 1 value memcached_form=binary memcached_keys=[k] memcached_items=1 memcached_flags=5 memcached_opaque=3 memcached_quiet=true",
			"noop → ok memcached_form=binary memcached_opaque=4"}},
		{Name: "errors", Chunks: chunks{client("set k 0 0 1\r\nx\r\n"), server("SERVER_ERROR out of memory storing object\r\n"), client("get " + strings.Repeat("x", 200) + "\r\n"), server("CLIENT_ERROR line too long\r\n"),
			client("nope\r\n"), server("ERROR\r\n")}, Want: []string{
			"set k, 1 byte → SERVER_ERROR out of memory storing object outcome=server_error status_text=SERVER_ERROR memcached_form=text memcached_keys=[k] memcached_flags=0 memcached_expiry=0",
			"get " + strings.Repeat("x", 200) + " → CLIENT_ERROR line too long outcome=client_error status_text=CLIENT_ERROR memcached_form=text memcached_keys=[" + strings.Repeat("x", 200) + "]",
			"nope → ERROR outcome=client_error status_text=ERROR memcached_form=text"}},
		{Name: "values of another length than the command says", Anomalies: 2, Chunks: chunks{client("mn\r\n"), server("MN\r\n"), client("ms k 2 T60\r\nhello\r\nmn\r\nms k 9\r\nhello\r\nmg k v\r\nmn\r\n"),
			server("CLIENT_ERROR bad data chunk\r\nERROR\r\nMN\r\nCLIENT_ERROR bad data chunk\r\nERROR\r\nMN\r\n"), client("mn\r\n"), server("MN\r\n")}, Want: []string{
			"mn → MN status_text=MN memcached_form=meta",
			"ms k T60, 2 bytes → CLIENT_ERROR bad data chunk, malformed error=malformed outcome=client_error status_text=CLIENT_ERROR memcached_form=meta memcached_keys=[k] memcached_expiry=60",
			"o → ERROR outcome=client_error status_text=ERROR memcached_form=text",
			"mn → MN status_text=MN memcached_form=meta",
			"ms k, 9 bytes → CLIENT_ERROR bad data chunk, malformed error=malformed outcome=client_error status_text=CLIENT_ERROR memcached_form=meta memcached_keys=[k]",
			"v → ERROR outcome=client_error status_text=ERROR memcached_form=text",
			"mn → MN status_text=MN memcached_form=meta", "mn → MN status_text=MN memcached_form=meta"}},
		{Name: "a value of another length after its answer", Anomalies: 1, Chunks: chunks{client("mn\r\n"), server("MN\r\n"), client("set k 0 0 5\r\nhe"), server("SERVER_ERROR out of memory storing object\r\n"),
			client("lloXYmn\r\n"), server("MN\r\n")}, Want: []string{
			"mn → MN status_text=MN memcached_form=meta",
			"set k, 2 bytes → SERVER_ERROR out of memory storing object outcome=server_error status_text=SERVER_ERROR memcached_form=text memcached_keys=[k] memcached_flags=0 memcached_expiry=0",
			"mn → MN status_text=MN memcached_form=meta"}},
		{Name: "a line whose end comes after the other side's first message", Chunks: chunks{server("VALUE k 0 "), client("set a 0 0 2\r\nhi\r\n"), server("2\r\nhi\r\nEND\r\nSTORED\r\n")}, Want: []string{
			"? → END, 1 value error=no_request status_text=END memcached_form=text memcached_keys=[k] memcached_items=1 memcached_flags=0",
			"set a, 2 bytes → STORED status_text=STORED memcached_form=text memcached_keys=[a] memcached_flags=0 memcached_expiry=0"}},
		{Name: "a gap in a value is counted", Chunks: chunks{client("get k\r\n"), server("VALUE k 0 3000\r\nabc"), {Dir: dissect.ToClient, Gap: 2900, Data: []byte(strings.Repeat("x", 97) + "\r\nEND\r\n")}, client("get z\r\n"), server("END\r\n")}, Want: []string{
			"get k → END, 1 value, gap error=gap status_text=END memcached_form=text memcached_keys=[k] memcached_items=1 memcached_flags=0",
			"get z → END, 0 values status_text=END memcached_form=text memcached_keys=[z] memcached_items=0"}},
	}...)
}

func TestNoPasswordIsKept(t *testing.T) {
	r := dissecttest.Play(t, dissecttest.OptionsOf(Protocol()), client(ask(opSASLAuth, 1, "", "PLAIN", "\x00bob\x00hunter2")), server(say(opSASLAuth, 0, 1, "", "Authenticated")))
	for _, e := range r.Emissions {
		if s := fmt.Sprintf("%+v", e.Row); strings.Contains(s, "hunter") || e.ReqBody != nil || e.Row.Base().AuthKind.V != "password" {
			t.Errorf("a password is kept, or its kind is not: %s", s)
		}
	}
}

func TestDatagrams(t *testing.T) {
	head := func(id, no, count byte) string { return string([]byte{0, id, 0, no, 0, count, 0, 0}) }
	o := dissecttest.OptionsOf(Protocol())
	o.Transport = dissect.UDP
	for _, c := range []struct {
		name   string
		chunks chunks
		want   string
	}{
		{"text", chunks{client(head(1, 0, 1) + "get k\r\n"), server(head(1, 0, 1) + "VALUE k 0 2\r\nhi\r\nEND\r\n")}, "get k → END, 1 value"},
		{"binary", chunks{client(head(1, 0, 1) + ask(opGet, 1, "", "k", "")), server(head(1, 0, 1) + say(opGet, 1, 1, "", "Not found"))}, "get k → KEY_NOT_FOUND, 0 values"},
		{"two at once", chunks{client(head(1, 0, 1) + "get a\r\n"), client(head(2, 0, 1) + "get b\r\n"), server(head(2, 0, 1) + "END\r\n"), server(head(1, 0, 1) + "VALUE a 0 2\r\nhi\r\nEND\r\n")},
			"get b → END, 0 values\nget a → END, 1 value"},
		{"a reply in two", chunks{client(head(1, 0, 1) + "get k\r\n"), server(head(1, 0, 2) + "VALUE k 0 4\r\nhi"), server(head(1, 1, 2) + "ho\r\nEND\r\n")}, "get k → END, 1 value"},
		{"no reply", chunks{client(head(1, 0, 1) + "set k 0 0 2\r\nhi\r\n")}, "set k, 2 bytes → no_response"},
	} {
		r := dissecttest.Play(t, o, c.chunks...)
		var got []string
		for _, row := range r.Rows() {
			got = append(got, row.Base().Summary)
		}
		if s := strings.Join(got, "\n"); s != c.want || len(r.Anomalies) > 0 {
			t.Errorf("%s: %s, want %s; anomalies %v", c.name, s, c.want, r.Anomalies)
		}
	}
}

func TestDetect(t *testing.T) {
	dissecttest.Detect(t, detect, dissecttest.Heads{
		{"a command with its value", dissect.ToServer, "set k 0 0 5\r\nhello\r\n", dissect.Yes},
		{"a value of another length", dissect.ToServer, "set k 0 0 5\r\nhello world\r\n", dissect.No},
		{"a command that others have too", dissect.ToServer, "get key\r\n", dissect.More},
		{"a value", dissect.ToClient, "VALUE k 0 5\r\nhello\r\nEND\r\n", dissect.Likely},
		{"a result", dissect.ToClient, "STORED\r\n", dissect.Likely},
		{"a number", dissect.ToClient, "5\r\n", dissect.More},
		{"the beginning of a number", dissect.ToClient, "OK\r\n5", dissect.More},
		{"an OK", dissect.ToClient, "OK\r\n", dissect.More},
		{"an OK before a result", dissect.ToClient, "OK\r\n7\r\nSTORED\r\n", dissect.Likely},
		{"a number before another line", dissect.ToClient, "5\r\nhello\r\n", dissect.No},
		{"an OK with more words", dissect.ToClient, "OK fine\r\n", dissect.No},
		{"an error of the server", dissect.ToClient, "SERVER_ERROR out of memory storing object\r\n", dissect.Likely},
		{"a command of its own", dissect.ToServer, "flush_all 0\r\n", dissect.Likely},
		{"a command before one with its value", dissect.ToServer, "verbosity 1\r\nset k 0 0 5\r\nhello\r\n", dissect.Yes},
		{"a command before the beginning of one", dissect.ToServer, "get key\r\nincr", dissect.More},
		{"a command before a line of another protocol", dissect.ToServer, "get key\r\nPING\r\n", dissect.No},
		{"binary", dissect.ToServer, ask(opGet, 1, "", "k", ""), dissect.Yes},
		{"binary without its key", dissect.ToServer, ask(opGet, 1, "", "", ""), dissect.No},
		{"a frame of WebSocket", dissect.ToServer, "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", dissect.No},
		{"a greeting of SMTP", dissect.ToClient, "220 mail.example ESMTP\r\n", dissect.No},
		{"a line of FTP", dissect.ToServer, "QUIT\r\n", dissect.No},
		{"a line of beanstalkd", dissect.ToServer, "put 0 0 60 5\r\nhello\r\n", dissect.No},
		{"a request of HTTP", dissect.ToServer, "GET / HTTP/1.1\r\n\r\n", dissect.No},
		{"a datagram", dissect.ToServer, "\x00\x01\x00\x00\x00\x01\x00\x00set k 0 0 2\r\nhi\r\n", dissect.Yes},
	})
}

// TestQuietCommandsWithoutLimit has a reply behind more quiet commands than any constant limits, and
// replies that answer none of them.
func TestQuietCommandsWithoutLimit(t *testing.T) {
	const n = 20_000
	quiet, strange := &strings.Builder{}, &strings.Builder{}
	for i := range n {
		quiet.WriteString(ask(opGetKQ, uint32(i), "", "k", ""))
		strange.WriteString(say(opIncrement, 0, uint32(n+i), "", zeros8))
	}
	for _, tt := range []struct {
		name    string
		strange string
		status  bool // the last command has its reply
	}{
		{"the reply of the last", "", true},
		{"after replies that nobody asked for", strange.String(), false},
	} {
		o := dissecttest.OptionsOf(Protocol())
		o.Budget = 256 << 20
		r := dissecttest.Play(t, o, client(quiet.String()+ask(opNoop, n, "", "", "")), server(tt.strange+say(opNoop, 0, n, "", "")))
		found := false
		for _, c := range r.Rows() {
			row := c.(*Row)
			found = found || row.Command.V == "noop" && row.Status.V == "ok" && row.Error.V != "no_request"
		}
		if found != tt.status {
			t.Errorf("%s: noop has its reply: %v, want %v", tt.name, found, tt.status)
		}
	}
}

// TestErrorAfterLostCommands has an error that a quiet command or a lost one may have caused.
func TestErrorAfterLostCommands(t *testing.T) {
	lost := client("mn\r\n")
	lost.Gap = 20
	dissecttest.Converse(t, Protocol(), nil, dissecttest.Conversation{Name: "an error", Chunks: []dissecttest.Chunk{
		client("mg a v\r\n"), server("EN\r\n"), client("mg zz v q\r\n"), lost, server("CLIENT_ERROR bad data chunk\r\n"), server("MN\r\n")},
		Want: []string{"mg a v → EN, 0 values", "mg zz v q → gap error=gap outcome=unread", "? → CLIENT_ERROR bad data chunk error=no_request outcome=client_error", "mn → gap error=gap outcome=unread", "? → MN error=no_request outcome=cut"}})
}
