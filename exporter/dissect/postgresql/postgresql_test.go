package postgresql

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
	"github.com/pcapsule/pcapsule/exporter/table"
)

type chunks = []dissecttest.Chunk

var client, server = dissecttest.Client, dissecttest.Server

// msg is a message with a type and the parts of its body.
func msg(kind byte, parts ...any) string {
	body := join(parts)
	return string(kind) + u32(4+len(body)) + body
}

// join writes strings unchanged, int as 32 bits, int16 as 16.
func join(parts []any) (s string) {
	for _, p := range parts {
		switch v := p.(type) {
		case string:
			s += v
		case int:
			s += u32(v)
		case int16:
			s += string(binary.BigEndian.AppendUint16(nil, uint16(v)))
		}
	}
	return s
}

func u32(v int) string { return string(binary.BigEndian.AppendUint32(nil, uint32(v))) }

func untyped(code int, rest string) string { return u32(8+len(rest)) + u32(code) + rest }

func startup(pairs ...string) string {
	return untyped(196608, strings.Join(pairs, "\x00")+"\x00\x00")
}

func query(q string) string { return msg('Q', q+"\x00") }

// cols describes columns of one type.
func cols(oid int, names ...string) string {
	parts := []any{int16(len(names))}
	for _, n := range names {
		parts = append(parts, n+"\x00", 0, int16(0), oid, int16(4), -1, int16(0))
	}
	return msg('T', parts...)
}

func row(vals ...string) string {
	parts := []any{int16(len(vals))}
	for _, v := range vals {
		parts = append(parts, len(v), v)
	}
	return msg('D', parts...)
}

func tag(t string) string { return msg('C', t+"\x00") }

func ready(tx string) string { return msg('Z', tx) }

func failure(kind byte, severity, code, message string) string {
	return msg(kind, "S"+severity+"\x00V"+severity+"\x00C"+code+"\x00M"+message+"\x00Ddetail\x00\x00")
}

const (
	parsed, bound, closed, noData = "1\x00\x00\x00\x04", "2\x00\x00\x00\x04", "3\x00\x00\x00\x04", "n\x00\x00\x00\x04"
	sync                          = "S\x00\x00\x00\x04"
)

func parse(name, q string, oids ...int) string {
	parts := []any{name + "\x00" + q + "\x00", int16(len(oids))}
	for _, o := range oids {
		parts = append(parts, o)
	}
	return msg('P', parts...)
}

func bind(portal, stmt string, binary int16, result int16, vals ...string) string {
	parts := []any{portal + "\x00" + stmt + "\x00", int16(1), binary, int16(len(vals))}
	for _, v := range vals {
		parts = append(parts, len(v), v)
	}
	return msg('B', append(parts, int16(1), result)...)
}

func describe(what, name string) string { return msg('D', what+name+"\x00") }

func execute(portal string, most int) string { return msg('E', portal+"\x00", most) }

func play(t testing.TB, end dissect.End, c ...dissecttest.Chunk) *dissecttest.Result {
	return dissecttest.Play(t, dissecttest.Options{Transport: dissect.TCP, Roles: c[0].Dir == dissect.ToServer, ServerPort: 5432, End: end,
		Protocols: []*dissect.Protocol{Protocol()}}, c...)
}

// lines renders the rows in short form.
func lines(r *dissecttest.Result) string {
	var out []string
	for _, e := range r.Rows() {
		row, ok := e.(*Row)
		if !ok {
			out = append(out, "other "+e.Base().Summary)
			continue
		}
		s := row.Kind + ": " + row.Summary
		for _, w := range []struct{ name, value string }{{"error", row.Error.V}, {"stmt", row.Statement.V}, {"portal", row.Portal.V},
			{"preview", row.Preview.V}, {"tx", row.Transaction.V}, {"auth", row.AuthKind.V},
			{"params", strings.Join(row.Params, ",")}, {"columns", strings.Join(row.Columns, ",")}, {"notices", strings.Join(row.Notices, ",")}} {
			if w.value != "" {
				s += fmt.Sprintf(" %s=%q", w.name, w.value)
			}
		}
		if row.CopyBytes.OK {
			s += fmt.Sprintf(" copy=%d", row.CopyBytes.V)
		}
		if row.Success {
			s += " success"
		}
		if row.Failed {
			s += " failed"
		}
		out = append(out, s)
	}
	return strings.Join(out, "\n")
}

// TestCopyFail ends COPY in two ways with the same error.
func TestCopyFail(t *testing.T) {
	in := func(c dissecttest.Chunk) chunks {
		return chunks{client(query("copy t from stdin")), server(msg('G', "\x00", int16(1), int16(0))), c, server(failure('E', "ERROR", "57014", "stopped") + ready("I"))}
	}
	dissecttest.Converse(t, Protocol(), nil, []dissecttest.Conversation{
		{Name: "an empty statement, with which lib/pq looks for life", Chunks: chunks{client(query("")), server("I\x00\x00\x00\x04" + ready("I")), client(query("select 1")), server(tag("SELECT 0") + ready("I"))}, Want: []string{
			"empty statement → ok", "select 1 → SELECT 0"}},
		{Name: "by the client", Chunks: in(client(msg('d', "1\n") + msg('f', "stop\x00"))), Want: []string{"copy t from stdin → ERROR 57014 stopped outcome=client_error"}},
		{Name: "by another session", Chunks: in(client(msg('d', "1\n"))), Want: []string{"copy t from stdin → ERROR 57014 stopped outcome=server_error"}},
	}...)
}

// TestCopiedDataIsWholeIfItsSenderSaysSo: CopyDone ends the data, CopyFail gives them up.
func TestCopiedDataIsWholeIfItsSenderSaysSo(t *testing.T) {
	for end, whole := range map[string]bool{"c\x00\x00\x00\x04": true, msg('f', "stop\x00"): false} {
		r := play(t, dissect.EndFin, client(query("copy t from stdin")), server(msg('G', "\x00", int16(1), int16(0))), client(msg('d', "1\n")+end), server(tag("COPY 1")+ready("I")))
		if len(r.Emissions) != 1 || r.Emissions[0].ReqBody == nil || r.Emissions[0].ReqBody.Complete != whole {
			t.Errorf("after %q: %d calls, body %+v; want complete %v", end, len(r.Emissions), r.Emissions[0].ReqBody, whole)
		}
	}
}

// TestPasswordsAreHidden: the places of passwords are known, so that they can be removed from packets.
func TestPasswordsAreHidden(t *testing.T) {
	r := play(t, dissect.EndFin, client(startup("user", "bob")), server(msg('R', 3)), client(msg('p', "hunter2\x00")), server(failure('E', "FATAL", "28P01", "no")))
	if got := dissecttest.Credentials(&r.Emissions[0]); len(got) != 1 || !strings.HasPrefix(got[0], "hunter2") {
		t.Errorf("hidden: %q", got)
	}
}

// TestSyncDuringCopy copies data in after a Bind with its Sync, which the server ignores, as clients in Rust do.
func TestSyncDuringCopy(t *testing.T) {
	in, end := msg('G', "\x00", int16(0)), "c\x00\x00\x00\x04"
	next := bind("", "s", 0, 0) + execute("", 0) + sync
	dissecttest.Converse(t, Protocol(), []string{"postgresql_copy_bytes"}, []dissecttest.Conversation{
		{Name: "before the data", Chunks: chunks{client(bind("", "c", 0, 0) + execute("", 0) + sync), server(bound + in), client(msg('d', "1\n") + end + sync + next), server(tag("COPY 1") + ready("I") + bound + tag("SELECT 0") + ready("I"))},
			Want: []string{"? → COPY 1 postgresql_copy_bytes=2", "? → SELECT 0"}},
		{Name: "within the data", Chunks: chunks{client(bind("", "c", 0, 0) + execute("", 0) + msg('H')), server(bound + in), client(sync + msg('d', "1\n") + sync), client(end + sync + next), server(tag("COPY 1") + ready("I") + bound + tag("SELECT 0") + ready("I"))},
			Want: []string{"? → COPY 1 postgresql_copy_bytes=2", "? → SELECT 0"}},
		{Name: "no data, because the statement failed", Chunks: chunks{client(bind("", "c", 0, 0) + execute("", 0) + sync), server(failure('E', "ERROR", "42P01", "no table") + ready("I")), client(next), server(bound + tag("SELECT 0") + ready("I"))},
			Want: []string{"? → ERROR 42P01 no table outcome=client_error", "? → SELECT 0"}},
	}...)
}

func TestSuite(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	dissecttest.Run(t, Protocol(),
		dissecttest.Sample{Name: "start-up and simple queries", Rows: 5, Chunks: chunks{
			client(untyped(codeSSL, "")), server("N"),
			client(startup("user", "bob", "database", "shop", "application_name", "psql")),
			server(msg('R', 5, "salt")), client(msg('p', "md5abc\x00")),
			server(msg('R', 0) + msg('S', "server_version\x0016.1\x00") + msg('K', 77, 1234) + ready("I")),
			client(query("select a, b from t")), server(cols(25, "a", "b") + row("1", "x") + row("2", "y") + tag("SELECT 2") + ready("I")),
			client(query("insert into t values (1); delete from t;")), server(tag("INSERT 0 1") + tag("DELETE 3") + ready("I")),
			client("X\x00\x00\x00\x04")}},
		dissecttest.Sample{Name: "extended query", Rows: 3, Chunks: chunks{
			client(parse("s1", "select $1::int", 23) + describe("S", "s1") + sync), server(parsed + msg('t', int16(1), 23) + cols(23, "int4") + ready("I")),
			client(bind("", "s1", 1, 1, "\x00\x00\x00\x05") + execute("", 0) + sync), server(bound + row("\x00\x00\x00\x05") + tag("SELECT 1") + ready("I")),
			client(msg('C', "Ss1\x00") + sync), server(closed + ready("I"))}},
		dissecttest.Sample{Name: "long messages", Rows: 3, Chunks: chunks{
			client(query("begin")), server(tag("BEGIN") + ready("T")),
			client(query("insert into t values ('" + long + "')")), server(tag("INSERT 0 1") + ready("I")),
			client(query("select 1")), server(cols(25, "a") + row(long) + row("b") + tag("SELECT 2") + ready("I"))}},
		dissecttest.Sample{Name: "copy", Rows: 2, Chunks: chunks{
			client(query("copy t from stdin")), server(msg('G', "\x00", int16(1), int16(0))),
			client(msg('d', "1\n2\n") + msg('d', "3\n") + "c\x00\x00\x00\x04"), server(tag("COPY 3") + ready("I")),
			client(query("copy t to stdout")), server(msg('H', "\x00", int16(1), int16(0)) + msg('d', "1\n") + msg('d', "2\n") + "c\x00\x00\x00\x04" + tag("COPY 2") + ready("I"))}},
	)
}

func TestRows(t *testing.T) {
	for _, c := range []struct {
		name  string
		in    chunks
		want  string
		anoms int
	}{
		{"start-up shows the kind of credentials, but not the credentials",
			chunks{client(startup("user", "bob")), server(msg('R', 10, "SCRAM-SHA-256\x00\x00")), client(msg('p', "SCRAM-SHA-256\x00", 5, "n,,n=")),
				server(msg('R', 11, "r=secret")), client(msg('p', "c=secret")), server(msg('R', 12, "v=secret") + msg('R', 0) + ready("I"))},
			`startup: startup bob@bob, scram-sha-256 → ok tx="idle" auth="scram-sha-256" success`, 0},
		{"a rejected start-up fails",
			chunks{client(startup("user", "bob")), server(msg('R', 3)), client(msg('p', "hunter2\x00")), server(failure('E', "FATAL", "28P01", "no"))},
			`startup: startup bob@bob, password → FATAL 28P01 no auth="password" failed`, 0},
		{"a client that is asked for a password and sends none shows no credentials",
			chunks{client(startup("user", "bob")), server(msg('R', 5, "salt"))},
			`startup: startup bob@bob, md5 → cut error="cut" failed`, 0},
		{"a cancel request has no answer",
			chunks{client(untyped(codeCancel, u32(77)+u32(99)))},
			`cancel_request: cancel request for process 77 success`, 0},
		{"statements of a simple query are rows, and an error skips the rest",
			chunks{client(query("select ';'; create function f() returns int begin atomic select 1; end; bad; select 2")),
				server(cols(25, "x") + row(";") + tag("SELECT 1") + tag("CREATE FUNCTION") + failure('E', "ERROR", "42601", "syntax") + ready("I"))},
			"query: select ';'; → SELECT 1 preview=\";\\n\" columns=\"x\" success\n" +
				"query: create function f() returns int begin atomic select 1; end; → CREATE FUNCTION success\n" +
				"query: select 2 → skipped after an error error=\"skipped\"\n" +
				`query: bad; → ERROR 42601 syntax tx="idle" failed`, 0},
		{"parameters are shown by their types",
			chunks{client(parse("", "select $1, $2, $3, $4", 23, 16, 2950, 0) + bind("", "", 1, 0, "\xff\xff\xff\xff", "\x01", "0123456789abcdef", "\x01\x02") + execute("", 0) + sync),
				server(parsed + bound + tag("SELECT 0") + ready("T"))},
			`execute: select $1, $2, $3, $4 → SELECT 0 tx="transaction" params="-1,true,30313233-3435-3637-3839-616263646566,\\x0102" success`, 0},
		{"a pipeline skips to Sync after an error",
			chunks{client(parse("", "select 1") + bind("", "", 0, 0) + execute("", 0) + parse("", "bad") + bind("", "", 0, 0) + execute("", 0) +
				parse("", "select 3") + bind("", "", 0, 0) + execute("", 0) + sync + parse("", "select 4") + bind("", "", 0, 0) + execute("", 0) + sync),
				server(parsed + bound + row("1") + tag("SELECT 1") + failure('E', "ERROR", "42601", "syntax") + ready("I") + parsed + bound + row("4") + tag("SELECT 1") + ready("I"))},
			"execute: select 1 → SELECT 1 preview=\"1\\n\" success\n" +
				"execute: bad → ERROR 42601 syntax failed\n" +
				"execute: select 3 → skipped after an error error=\"skipped\" tx=\"idle\"\n" +
				`execute: select 4 → SELECT 1 preview="4\n" tx="idle" success`, 0},
		{"an error before the rest of the request was sent",
			chunks{client(parse("", "bad") + "H\x00\x00\x00\x04"), server(failure('E', "ERROR", "42601", "syntax")),
				client(bind("", "", 0, 0) + execute("", 0) + sync), server(ready("I")), client(query("select 1")), server(tag("SELECT 1") + ready("I"))},
			"execute: bad → ERROR 42601 syntax failed\nquery: select 1 → SELECT 1 tx=\"idle\" success", 0},
		{"a portal is read in parts",
			chunks{client(parse("", "select x") + bind("p", "", 0, 0) + execute("p", 1) + sync), server(parsed + bound + row("1") + msg('s') + ready("T")),
				client(execute("p", 1) + sync), server(row("2") + tag("SELECT 1") + ready("T"))},
			"execute: select x → suspended after 1 portal=\"p\" preview=\"1\\n\" tx=\"transaction\" success\n" +
				`execute: select x → SELECT 1 portal="p" preview="2\n" tx="transaction" success`, 0},
		{"unsolicited messages of the server have rows",
			chunks{client(query("listen a")), server(msg('N', "SNOTICE\x00C00000\x00Mhi\x00\x00") + tag("LISTEN") + ready("I")),
				server(msg('A', 5, "a\x00load\x00") + msg('S', "TimeZone\x00UTC\x00") + failure('N', "WARNING", "01000", "careful"))},
			"query: listen a → LISTEN tx=\"idle\" notices=\"00000 NOTICE: hi\" success\nnotification: notification a load success\n" +
				"parameter_status: parameter TimeZone = UTC success\nnotice: notice 01000 WARNING: careful notices=\"01000 WARNING: careful\" success", 0},
		{"the server ends an idle connection",
			chunks{client(query("listen a")), server(tag("LISTEN") + ready("I")), server(failure('E', "FATAL", "57P05", "terminating"))},
			"query: listen a → LISTEN tx=\"idle\" success\nnotice: notice 57P05 FATAL: terminating notices=\"57P05 FATAL: terminating\" failed", 0},
		{"replication is counted",
			chunks{client(query("START_REPLICATION SLOT s LOGICAL 0/0")), server(msg('W', "\x00", int16(0)) + msg('d', "wxyz")), client(msg('d', "r12")), server(msg('d', "k"))},
			"query: START_REPLICATION SLOT s LOGICAL 0/0 → ok copy=8 success", 0},
		{"a function call",
			chunks{client(msg('F', 1234, int16(0), int16(0), int16(0))), server(msg('V', -1) + ready("I"))},
			"function_call: function 1234 → ok tx=\"idle\" success", 0},
		{"a function call of which a part is missing",
			chunks{client(query("select 1")), server(tag("SELECT 1") + ready("I")), client(msg('F', 1234, int16(0), int16(1), 16, strings.Repeat("x", 16), int16(0))[:24]), {Dir: dissect.ToServer, Gap: 8, Data: []byte(msg('F', 1234, int16(0), int16(1), 16, strings.Repeat("x", 16), int16(0))[32:])}, server(msg('V', -1) + ready("I"))},
			"query: select 1 → SELECT 1 tx=\"idle\" success\nfunction_call: function 1234 → ok error=\"gap\" tx=\"idle\" success", 0},
		{"a statement has no text if its Parse was not captured",
			chunks{client(bind("", "s7", 0, 0, "a") + describe("P", "") + execute("", 0) + sync), server(bound + cols(25, "c") + row("v") + tag("SELECT 1") + ready("I"))},
			`execute: ? → SELECT 1 stmt="s7" preview="v\n" tx="idle" params="a" columns="c" success`, 0},
		{"a reply to a request that was not captured",
			chunks{server(cols(25, "c") + row("v") + tag("SELECT 1") + ready("I")), client(query("begin")), server(tag("BEGIN") + ready("T"))},
			"reply: ? → SELECT 1 error=\"no_request\" preview=\"v\\n\" tx=\"idle\" columns=\"c\" success\nquery: begin → BEGIN tx=\"transaction\" success", 0},
		{"the request for encryption was lost, its refusal not",
			chunks{client(startup("user", "bob")), server("N"), server(msg('R', 0) + ready("I")), client(query("begin")), server(tag("BEGIN") + ready("T"))},
			"ssl_request: ssl request → N error=\"no_request\" success\nstartup: startup bob@bob, trust → ok tx=\"idle\" auth=\"trust\" success\nquery: begin → BEGIN tx=\"transaction\" success", 0},
		{"a gap inside a message is skipped",
			chunks{client(query("select 1")), server(cols(25, "c") + row("v") + "D\x00\x00\x00\x20ab"), {Dir: dissect.ToClient, Gap: 26, Data: []byte(tag("SELECT 2") + ready("I"))},
				client(query("begin")), server(tag("BEGIN") + ready("T"))},
			"query: select 1 → SELECT 2 error=\"gap\" preview=\"v\\n\" tx=\"idle\" columns=\"c\" success\nquery: begin → BEGIN tx=\"transaction\" success", 0},
		{"acknowledgements restore the pairing after a lost reply",
			chunks{client(query("select 1")), {Dir: dissect.ToClient, Gap: 40}, client(query("begin")), server(tag("BEGIN") + ready("T"))},
			"query: select 1 → gap error=\"gap\"\nquery: begin → BEGIN tx=\"transaction\" success", 0},
		{"the unnamed statement is not known after a loss",
			chunks{client(parse("", "select 1") + bind("", "", 0, 0) + execute("", 0) + sync), server(parsed + bound + row("1") + tag("SELECT 1") + ready("I")),
				{Dir: dissect.ToServer, Gap: 30}, server(parsed), client(bind("", "", 0, 0) + execute("", 0) + sync), server(bound + row("2") + tag("SELECT 1") + ready("I"))},
			"execute: select 1 → SELECT 1 preview=\"1\\n\" tx=\"idle\" success\n" +
				"execute: ? → SELECT 1 preview=\"2\\n\" tx=\"idle\" success\nreply: ? → no_request error=\"no_request\"", 0},
		{"the first row after a lost reply is counted",
			chunks{client(parse("", "select x") + bind("p", "", 0, 0) + execute("p", 1) + sync), server(parsed + bound + row("1") + msg('s') + ready("T")),
				client(execute("p", 1) + sync), {Dir: dissect.ToClient, Gap: 30}, client(execute("p", 2) + sync), server(row("3") + row("4") + msg('s') + ready("T"))},
			"execute: select x → suspended after 1 portal=\"p\" preview=\"1\\n\" tx=\"transaction\" success\nexecute: select x → gap error=\"gap\" portal=\"p\"\n" +
				`execute: select x → suspended after 2 portal="p" preview="3\n4\n" tx="transaction" success`, 0},
		{"the first message of a batch is missing",
			chunks{client(query("begin")), server(tag("BEGIN") + ready("T")), {Dir: dissect.ToServer, Gap: 40, Data: []byte(parse("", "select 2") + bind("", "", 0, 0) + execute("", 0))},
				client(parse("", "select 3") + bind("", "", 0, 0) + execute("", 0) + sync),
				server(parsed + bound + tag("INSERT 0 1") + parsed + bound + tag("SELECT 2") + parsed + bound + tag("SELECT 3") + ready("T")), client(query("commit")), server(tag("COMMIT") + ready("I"))},
			"query: begin → BEGIN tx=\"transaction\" success\nexecute: select 2 → gap error=\"gap\"\nexecute: select 3 → gap error=\"gap\"\n" +
				"reply: ? → INSERT 1 error=\"no_request\" success\nreply: ? → SELECT 2 error=\"no_request\" success\nreply: ? → SELECT 3 error=\"no_request\" tx=\"transaction\" success\n" +
				"query: commit → COMMIT tx=\"idle\" success", 0},
		{"one reply to a batch is missing",
			chunks{client(query("begin")), client(query("select 1")), client(query("commit")), server(tag("BEGIN") + ready("T")), {Dir: dissect.ToClient, Gap: 40}, server(tag("COMMIT") + ready("I")),
				client(query("select 2")), server(tag("SELECT 0") + ready("I"))},
			"query: begin → BEGIN tx=\"transaction\" success\nquery: select 1 → gap error=\"gap\"\nquery: commit → gap error=\"gap\"\nreply: ? → COMMIT error=\"no_request\" tx=\"idle\" success\nquery: select 2 → SELECT 0 tx=\"idle\" success", 0},
		{"one request of a batch is missing",
			chunks{client(query("begin")), {Dir: dissect.ToServer, Gap: 40, Data: []byte(query("commit"))}, server(tag("BEGIN") + ready("T")), server(cols(25, "c") + row("v") + tag("SELECT 1") + ready("T")), server(tag("COMMIT") + ready("I")),
				client(query("select 2")), server(tag("SELECT 0") + ready("I"))},
			"query: begin → BEGIN tx=\"transaction\" success\nquery: commit → gap error=\"gap\"\nreply: ? → SELECT 1 error=\"no_request\" preview=\"v\\n\" tx=\"transaction\" columns=\"c\" success\nreply: ? → COMMIT error=\"no_request\" tx=\"idle\" success\nquery: select 2 → SELECT 0 tx=\"idle\" success", 0},
		{"a lost Sync may have ended what an error skips",
			chunks{client(parse("", "bad") + bind("", "", 0, 0) + execute("", 0)), {Dir: dissect.ToServer, Gap: 5}, server(failure('E', "ERROR", "42601", "syntax") + ready("I")),
				client(query("begin")), server(tag("BEGIN") + ready("T"))},
			"execute: bad → ERROR 42601 syntax failed\nquery: begin → BEGIN tx=\"transaction\" success", 0},
		{"a lost Sync after the error arrived",
			chunks{client(parse("", "bad") + bind("", "", 0, 0) + execute("", 0)), server(failure('E', "ERROR", "42601", "syntax")), {Dir: dissect.ToServer, Gap: 5}, server(ready("I")),
				client(query("begin")), server(tag("BEGIN") + ready("T"))},
			"execute: bad → ERROR 42601 syntax failed\nquery: begin → BEGIN tx=\"transaction\" success", 0},
		{"a lost Sync before the error arrives",
			chunks{client(parse("", "bad") + bind("", "", 0, 0) + execute("", 0)), {Dir: dissect.ToServer, Gap: 5, Data: []byte(query("begin"))}, server(failure('E', "ERROR", "42601", "syntax") + ready("I")), server(tag("BEGIN") + ready("T"))},
			"execute: bad → ERROR 42601 syntax failed\nquery: begin → gap error=\"gap\"\nreply: ? → BEGIN error=\"no_request\" tx=\"transaction\" success", 0},
		{"a fatal error ends the connection",
			chunks{client(query("select pg_sleep(9)")), server(failure('E', "FATAL", "57P01", "terminating"))},
			"query: select pg_sleep(9) → FATAL 57P01 terminating failed", 0},
		{"a message of unknown type is rejected",
			chunks{client(query("select 1")), server(tag("SELECT 1") + ready("I") + "y\x00\x00\x00\x04")},
			"query: select 1 → SELECT 1 tx=\"idle\" success", 1},
		{"a length below its own size is rejected",
			chunks{client(query("select 1")), server("D\x00\x00\x00\x03" + ready("I"))},
			"query: select 1 → malformed error=\"malformed\"", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := play(t, dissect.EndFin, c.in...)
			if got := lines(r); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
			if len(r.Anomalies) != c.anoms {
				t.Errorf("anomalies %v, want %d", r.Anomalies, c.anoms)
			}
		})
	}
}

// TestReplyWithoutItsEnd has a reply whose ReadyForQuery was not captured. If nothing shows that none was sent, it is incomplete.
func TestReplyWithoutItsEnd(t *testing.T) {
	done, failed, fatal := tag("SELECT 1"), failure('E', "ERROR", "42601", "syntax"), failure('E', "FATAL", "57P01", "terminating")
	for _, tt := range []struct {
		reply string
		end   dissect.End
		want  string
	}{
		{done, dissect.EndFin, "query: select 1 → SELECT 1 success"},
		{done, dissect.EndCapture, "query: select 1 → SELECT 1 error=\"cut\" success"},
		{failed, dissect.EndReset, "query: select 1 → ERROR 42601 syntax failed"},
		{failed, dissect.EndReuse, "query: select 1 → ERROR 42601 syntax error=\"cut\" failed"},
		{fatal, dissect.EndCapture, "query: select 1 → FATAL 57P01 terminating failed"},
	} {
		if got := lines(play(t, tt.end, client(query("select 1")), server(tt.reply))); got != tt.want {
			t.Errorf("%v: got %s, want %s", tt.end, got, tt.want)
		}
	}
}

func TestSplit(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     []string
	}{
		{"one statement", "select 1", nil},
		{"one with its semicolon", "select 1 ; ", nil},
		{"two", "select 1; select 2", []string{"select 1;", " select 2"}},
		{"empty statements do not count", ";; select 1;; select 2;;", []string{";; select 1;", "; select 2;;"}},
		{"strings", `select 'a;''b'; select E'\';'; select "x;y"`, []string{`select 'a;''b';`, ` select E'\';';`, ` select "x;y"`}},
		{"dollar strings", "do $a$ begin; end; $b$ $a$; select $1; x", []string{"do $a$ begin; end; $b$ $a$;", " select $1;", " x"}},
		{"comments nest", "a /* ; /* ; */ ; */ ; b -- ; \n; c", []string{"a /* ; /* ; */ ; */ ;", " b -- ; \n;", " c"}},
		{"rules", "create rule r as on insert to t do (a; b); c", []string{"create rule r as on insert to t do (a; b);", " c"}},
		{"a string without an end", "a; 'b; c", []string{"a;", " 'b; c"}},
	} {
		var got []string
		prev := 0
		for _, end := range split([]byte(c.in), maxStatements) {
			got = append(got, c.in[prev:end])
			prev = end
		}
		if strings.Join(got, "|") != strings.Join(c.want, "|") {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestBinary(t *testing.T) {
	be := binary.BigEndian
	for _, c := range []struct {
		name string
		oid  uint32
		in   []byte
		want string
	}{
		{"int2", oidInt2, []byte{0xff, 0xfe}, "-2"},
		{"int8", oidInt8, be.AppendUint64(nil, 1<<40), "1099511627776"},
		{"float8", oidFloat8, be.AppendUint64(nil, 0x3ff8000000000000), "1.5"},
		{"date", oidDate, be.AppendUint32(nil, 366), "2001-01-01"},
		{"timestamp before 2000", oidTimestamp, be.AppendUint64(nil, ^uint64(0)), "1999-12-31 23:59:59.999999"},
		{"numeric", oidNumeric, []byte{0, 3, 0, 1, 0x40, 0, 0, 2, 0, 12, 0x0d, 0x80, 0x11, 0x94}, "-123456.45"},
		{"numeric below one", oidNumeric, []byte{0, 1, 0xff, 0xff, 0, 0, 0, 3, 0, 50}, "0.005"},
		{"jsonb", oidJSONB, []byte("\x01{}"), "{}"},
		{"a size that does not match its type", oidInt4, []byte{1, 2}, `\x0102`},
	} {
		if got := string(appendBinary(nil, c.oid, c.in)); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestDetect(t *testing.T) {
	dissecttest.Detect(t, detect, dissecttest.Heads{
		{"a start-up", dissect.ToServer, startup("user", "x"), dissect.Yes},
		{"a request for encryption", dissect.ToServer, untyped(codeSSL, ""), dissect.Yes},
		{"a start-up of version 2", dissect.ToServer, untyped(131072, strings.Repeat("\x00", 288)), dissect.No},
		{"a query", dissect.ToServer, query("select 1"), dissect.Likely},
		{"an extended query", dissect.ToServer, bind("", "s", 0, 0, "x") + execute("", 0) + sync, dissect.Likely},
		{"a request of HTTP", dissect.ToServer, "POST / HTTP/1.1\r\n\r\n", dissect.No},
		{"a client hello", dissect.ToServer, "\x16\x03\x01\x02\x00\x01\x00", dissect.No},
		{"a command that completed", dissect.ToClient, tag("SELECT 1") + ready("I"), dissect.Likely},
		{"rows without their end", dissect.ToClient, row("a") + row("b"), dissect.More},
		{"a greeting of MySQL", dissect.ToClient, "\x4a\x00\x00\x00\x0a8.0.1\x00", dissect.No},
	})
}

// TestAnErrorWithoutItsCode has an error whose SQLSTATE was lost, so whose error it is remains open.
func TestAnErrorWithoutItsCode(t *testing.T) {
	e := failure('E', "ERROR", "22012", "division by zero")
	for cut, want := range map[int]string{8: table.Unread, 14: table.Unread, len(e) - 9: table.ClientError} {
		r := play(t, dissect.EndFin, client(query("select 1/0")), server(e[:cut]), dissecttest.Chunk{Dir: dissect.ToClient, Gap: int64(len(e) - cut), Data: []byte(ready("I"))})
		if got := r.Rows()[0].Base().Outcome; len(r.Rows()) != 1 || got != want {
			t.Errorf("%d bytes of %q: outcome %s, want %s", cut, e, got, want)
		}
	}
}
