package redis

import (
	"crypto/sha1"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
	"github.com/pcapsule/pcapsule/exporter/table"
)

type chunks = []dissecttest.Chunk

var client, server = dissecttest.Client, dissecttest.Server

// cmd is a command as an array of strings.
func cmd(args ...string) string {
	b := fmt.Sprintf("*%d\r\n", len(args))
	for _, a := range args {
		b += bulk(a)
	}
	return b
}

func bulk(s string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }

func play(t testing.TB, end dissect.End, c ...dissecttest.Chunk) *dissecttest.Result {
	return dissecttest.Play(t, dissecttest.Options{Transport: dissect.TCP, Roles: true, ServerPort: 6379, End: end,
		Protocols: []*dissect.Protocol{Protocol()}}, c...)
}

// lines renders the rows in short form: summary, type, error, push, key.
func lines(r *dissecttest.Result) string {
	var out []string
	for i := range r.Emissions {
		e := &r.Emissions[i]
		row, ok := e.Row.(*Row)
		if !ok {
			out = append(out, "other "+e.Row.Base().Summary)
			continue
		}
		s := row.Summary + " |" + row.Type.V
		for _, w := range []struct{ name, value string }{{"error", row.Error.V}, {"push", row.Push.V}, {"key", row.Key.V},
			{"channel", row.Channel.V}, {"user", row.User.V}, {"status", row.StatusText.V}, {"script", row.Script.V}} {
			if w.value != "" {
				s += " " + w.name + "=" + w.value
			}
		}
		if row.Keys > 1 {
			s += fmt.Sprintf(" keys=%d", row.Keys)
		}
		if row.DB.OK {
			s += fmt.Sprintf(" db=%d", row.DB.V)
		}
		if row.Slot.OK {
			s += fmt.Sprintf(" slot=%d to %s", row.Slot.V, row.Target.V)
		}
		if row.Failed {
			s += " failed"
		}
		if row.Queued {
			s += " queued"
		}
		if texts := dissecttest.Credentials(e); len(texts) > 0 {
			s += fmt.Sprintf(" hidden=%q", texts)
		}
		out = append(out, s)
	}
	return strings.Join(out, "\n")
}

func TestSuite(t *testing.T) {
	long := strings.Repeat("0123456789", 700)
	dissecttest.Run(t, Protocol(),
		dissecttest.Sample{Name: "commands one by one", Rows: 4, Chunks: chunks{
			client(cmd("SET", "a", "1")), server("+OK\r\n"),
			client(cmd("get", "a")), server(bulk("1")),
			client(cmd("GET", "none")), server("$-1\r\n"),
			client(cmd("LPUSH", "a", "x")), server("-WRONGTYPE Operation against a key holding the wrong kind of value\r\n")}},
		dissecttest.Sample{Name: "pipeline with a long value", Rows: 3, Chunks: chunks{
			client(cmd("SET", "big", long) + cmd("GET", "big") + cmd("MGET", "big", "big")),
			server("+OK\r\n" + bulk(long) + "*2\r\n" + bulk(long) + bulk("x"))}},
		dissecttest.Sample{Name: "RESP3 types", Rows: 8, Chunks: chunks{
			client(cmd("HELLO", "3", "AUTH", "bob", "geheim")), server("%2\r\n+server\r\n+redis\r\n$5\r\nproto\r\n:3\r\n"),
			client(cmd("A") + cmd("B") + cmd("C") + cmd("D") + cmd("E") + cmd("F") + cmd("G")),
			server("~2\r\n#t\r\n,1.5\r\n" + "(12345678901234567890\r\n" + "=7\r\ntxt:abc\r\n" + "_\r\n" +
				"|1\r\n+ttl\r\n:10\r\n*2\r\n:1\r\n|1\r\n+a\r\n*0\r\n:2\r\n" + "$?\r\n;2\r\nab\r\n;3\r\ncde\r\n;0\r\n" +
				"*?\r\n:1\r\n%?\r\n+k\r\n_\r\n.\r\n.\r\n")}},
		dissecttest.Sample{Name: "transaction", Rows: 5, Chunks: chunks{
			client(cmd("MULTI") + cmd("SET", "big", long) + cmd("GET", "big")), server("+OK\r\n+QUEUED\r\n+QUEUED\r\n"),
			client(cmd("EXEC") + cmd("EVAL", long, "0")), server("*2\r\n+OK\r\n" + bulk(long) + "-ERR x\r\n")}},
		dissecttest.Sample{Name: "pub/sub", Rows: 5, Chunks: chunks{
			client(cmd("SUBSCRIBE", "a", "b")),
			server("*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n"),
			server("*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$1\r\nb\r\n$2\r\nho\r\n"),
			client(cmd("UNSUBSCRIBE")),
			server("*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:0\r\n"),
			client(cmd("PING")), server("+PONG\r\n")}},
		dissecttest.Sample{Name: "the end of all subscriptions", Rows: 4, Chunks: chunks{
			client(cmd("SUBSCRIBE", "a", "b") + cmd("PSUBSCRIBE", "n*")),
			server("*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n*3\r\n$10\r\npsubscribe\r\n$2\r\nn*\r\n:3\r\n"),
			client(cmd("UNSUBSCRIBE") + cmd("PUNSUBSCRIBE")),
			server("*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:2\r\n*3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:1\r\n*3\r\n$12\r\npunsubscribe\r\n$2\r\nn*\r\n:0\r\n")}},
		dissecttest.Sample{Name: "replication", Rows: 5, Chunks: chunks{
			client(cmd("REPLCONF", "capa", "eof")), server("+OK\r\n"),
			client(cmd("PSYNC", "?", "-1")), server("+FULLRESYNC 8de1787ba490483314a4d30f1c628bc5025eb761 0\r\n\n"),
			server("$9\r\nREDIS0009" + cmd("PING")), client(cmd("REPLCONF", "ACK", "14")), server(cmd("SET", "a", "b"))}},
	)
}

func TestRows(t *testing.T) {
	mark := strings.Repeat("m", 40)
	for _, c := range []struct {
		name  string
		in    chunks
		want  string
		anoms int
	}{
		{"keys are found by the command table",
			chunks{client(cmd("mset", "k1", "v", "k2", "v")), server("+OK\r\n"), client(cmd("EVAL", "return 1", "2", "x", "y", "z")), server(":1\r\n"),
				client(cmd("XREAD", "COUNT", "2", "STREAMS", "s1", "s2", "0", "0")), server("*-1\r\n"), client(cmd("OBJECT", "ENCODING", "o")), server("$6\r\nembstr\r\n")},
			"mset k1 v k2 v → OK |simple_string key=k1 keys=2\nEVAL \"return 1\" 2 x y z → 1 |integer key=x script=e0e1f9fabfc9d4800c877a703b823ac0578ff8db keys=2\n" +
				"XREAD COUNT 2 STREAMS s1 s2 0 0 → (nil) |null key=s1 keys=2\nOBJECT ENCODING o → embstr |bulk_string key=o", 0},
		{"passwords are not shown",
			chunks{client(cmd("AUTH", "hunter2")), server("+OK\r\n"), client(cmd("AUTH", "bob", "hunter2")), server("-WRONGPASS invalid\r\n"),
				client(cmd("CONFIG", "SET", "requirepass", "hunter2", "maxmemory", "1")), server("+OK\r\n"),
				client(cmd("ACL", "SETUSER", "al", "on", ">hunter2")), server("+OK\r\n"), client("auth \"hunter2\"\r\n"), server("+OK\r\n"),
				client(cmd("MIGRATE", "h", "1", "", "0", "5", "AUTH2", "u", "hunter2", "KEYS", "a")), server("+OK\r\n")},
			"AUTH *** → OK |simple_string hidden=[\"hunter2\"]\nAUTH bob *** → WRONGPASS invalid |error user=bob status=WRONGPASS failed hidden=[\"hunter2\"]\n" +
				"CONFIG SET requirepass *** maxmemory 1 → OK |simple_string hidden=[\"hunter2\"]\nACL SETUSER al on *** → OK |simple_string hidden=[\"hunter2\"]\nauth *** → OK |simple_string hidden=[\"hunter2\"]\n" +
				"MIGRATE h 1 \"\" 0 5 AUTH2 u *** KEYS a → OK |simple_string hidden=[\"hunter2\"]", 0},
		{"in RESP3 an array is a reply, even if it looks like a message",
			chunks{client(cmd("SUBSCRIBE", "c")), server(">3\r\n" + bulk("subscribe") + bulk("c") + ":1\r\n"), client(cmd("LRANGE", "l", "0", "-1") + cmd("GET", "b")),
				server(">3\r\n" + bulk("message") + bulk("c") + bulk("hi") + "*3\r\n" + bulk("message") + bulk("c") + bulk("ho") + bulk("2"))},
			"SUBSCRIBE c → [subscribe, c, 1] |push channel=c\npush [message, c, hi] |push push=message channel=c\nLRANGE l 0 -1 → [message, c, ho] |array key=l\nGET b → 2 |bulk_string key=b", 0},
		{"a subscription that ends because its slot moved is no failure",
			chunks{client(cmd("SSUBSCRIBE", "c")), server("*3\r\n" + bulk("ssubscribe") + bulk("c") + ":1\r\n"), server("*3\r\n" + bulk("sunsubscribe") + bulk("c") + ":0\r\n")},
			"SSUBSCRIBE c → [ssubscribe, c, 1] |array key=c channel=c\npush [sunsubscribe, c, 0] |array push=sunsubscribe channel=c", 0},
		{"the end of all channels, while a pattern stays",
			chunks{client(cmd("SUBSCRIBE", "a") + cmd("PSUBSCRIBE", "n*")), server("*3\r\n" + bulk("subscribe") + bulk("a") + ":1\r\n*3\r\n" + bulk("psubscribe") + bulk("n*") + ":2\r\n"),
				client(cmd("UNSUBSCRIBE")), server("*3\r\n" + bulk("unsubscribe") + bulk("a") + ":1\r\n")},
			"SUBSCRIBE a → [subscribe, a, 1] |array channel=a\nPSUBSCRIBE n* → [psubscribe, n*, 2] |array channel=n*\nUNSUBSCRIBE → [unsubscribe, a, 1] |array", 0},
		{"passwords in replies are not shown",
			chunks{client(cmd("CONFIG", "GET", "*")), server("*8\r\n" + bulk("port") + bulk("6379") + bulk("requirepass") + bulk("abc") + bulk("masterauth") + bulk("") + bulk("masteruser") + bulk("bob")),
				client(cmd("CONFIG", "GET", "requirepass")), server("%1\r\n" + bulk("requirepass") + bulk("hunter2")),
				client(cmd("ACL", "LIST")), server("*1\r\n" + bulk("user al on #"+strings.Repeat("5f", 32)+" ~* +@all")),
				client(cmd("ACL", "GENPASS", "32")), server(bulk("hunter23"))},
			"CONFIG GET * → [port, 6379, requirepass, ***, masterauth, \"\", masteruser, bob] |array hidden=[\"abc\"]\nCONFIG GET requirepass → {requirepass: ***} |map hidden=[\"hunter2\"]\n" +
				"ACL LIST → [\"user al on #*** ~* +@all\"] |array hidden=[\"" + strings.Repeat("5f", 32) + "\"]\nACL GENPASS 32 → *** |bulk_string hidden=[\"hunter23\"]", 0},
		{"each command of a transaction has its result",
			chunks{client(cmd("MULTI") + cmd("INCR", "a") + cmd("GET", "b") + cmd("HGETALL", "h") + cmd("GET", "n") + cmd("EXEC") + cmd("PING")),
				server("+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*4\r\n-WRONGTYPE no\r\n" + bulk(`x "y"`) + "*2\r\n" + bulk("f") + ":1\r\n"), server("_\r\n+PONG\r\n")},
			"MULTI → OK |simple_string\nINCR a → WRONGTYPE no |error key=a status=WRONGTYPE failed queued\nGET b → x \"y\" |bulk_string key=b queued\n" +
				"HGETALL h → [f, 1] |array key=h queued\nGET n → (nil) |null key=n queued\n" +
				"EXEC → [\"WRONGTYPE no\", \"x \\\"y\\\"\", [f, 1], (nil)] |array\nPING → PONG |simple_string", 0},
		{"a transaction whose beginning was not captured: the last results are known",
			chunks{client(cmd("SET", "b", "2")), server("+QUEUED\r\n"), client(cmd("EXEC")), server("*3\r\n:1\r\n*1\r\n:7\r\n+OK\r\n")},
			"SET b 2 → OK |simple_string key=b queued\nEXEC → [1, [7], OK] |array", 0},
		{"a transaction in which a command was not captured",
			chunks{client(cmd("SET", "a", "1")), server("+QUEUED\r\n"), {Dir: dissect.ToServer, Gap: 20}, server("+QUEUED\r\n"), client(cmd("SET", "c", "3")), server("+QUEUED\r\n"),
				client(cmd("EXEC")), server("*3\r\n:1\r\n:2\r\n:3\r\n")},
			"SET a 1 → 1 |integer key=a queued\n? → 2 |integer error=no_request queued\nSET c 3 → 3 |integer key=c queued\nEXEC → [1, 2, 3] |array", 0},
		{"transactions without results",
			chunks{client(cmd("SET", "a", "1")), server("+QUEUED\r\n"), client(cmd("EXEC")), server("*-1\r\n"),
				client(cmd("SET", "b", "1")), server("+QUEUED\r\n"), client(cmd("FOO")), server("-ERR unknown command\r\n"), client(cmd("EXEC")), server("-EXECABORT Transaction discarded\r\n"),
				client(cmd("SET", "c", "1")), server("+QUEUED\r\n"), client(cmd("DISCARD")), server("+OK\r\n"),
				client(cmd("SET", "d", "1")), server("+QUEUED\r\n"), {Dir: dissect.ToClient, Gap: 7},
				client(cmd("SET", "e", "1")), server("+QUEUED\r\n")},
			"SET a 1 → QUEUED |simple_string key=a queued\nEXEC → (nil) |null\n" +
				"FOO → ERR unknown command |error status=ERR failed\nSET b 1 → QUEUED |simple_string key=b queued\nEXEC → EXECABORT Transaction discarded |error status=EXECABORT failed\n" +
				"SET c 1 → QUEUED |simple_string key=c queued\nDISCARD → OK |simple_string\n" +
				"SET d 1 → QUEUED |simple_string error=gap key=d queued\nSET e 1 → QUEUED |simple_string error=no_response key=e failed queued", 0},
		{"a redirect of a cluster is not an error",
			chunks{client(cmd("GET", "a")), server("-MOVED 15495 10.1.6.22:7002\r\n"), client(cmd("GET", "b")), server("-ASK 3300 :6381\r\n"), client(cmd("ASKING") + cmd("GET", "b")), server("+OK\r\n$-1\r\n")},
			"GET a → MOVED 15495 10.1.6.22:7002 |error key=a status=MOVED slot=15495 to 10.1.6.22:7002\nGET b → ASK 3300 :6381 |error key=b status=ASK slot=3300 to :6381\n" +
				"ASKING → OK |simple_string\nGET b → (nil) |null key=b", 0},
		{"a script has one name",
			chunks{client(cmd("SCRIPT", "LOAD", "return 1")), server(bulk("e0e1f9fabfc9d4800c877a703b823ac0578ff8db")), client(cmd("EVALSHA", "E0E1F9FABFC9D4800C877A703B823AC0578FF8DB", "1", "k")), server("-NOSCRIPT No matching script.\r\n"),
				client(cmd("EVAL", "return 1", "0")), server(":1\r\n"), client(cmd("FCALL", "Add", "1", "k", "2")), server(":2\r\n"), client(cmd("EVAL", strings.Repeat("-", 1030), "0")), server("$-1\r\n")},
			"SCRIPT LOAD \"return 1\" → e0e1f9fabfc9d4800c877a703b823ac0578ff8db |bulk_string script=e0e1f9fabfc9d4800c877a703b823ac0578ff8db\n" +
				"EVALSHA E0E1F9FABFC9D4800C877A703B823AC0578FF8DB 1 k → NOSCRIPT No matching script. |error key=k status=NOSCRIPT script=e0e1f9fabfc9d4800c877a703b823ac0578ff8db failed\n" +
				"EVAL \"return 1\" 0 → 1 |integer script=e0e1f9fabfc9d4800c877a703b823ac0578ff8db\nFCALL Add 1 k 2 → 2 |integer key=k script=Add\n" +
				"EVAL " + strings.Repeat("-", 115) + "… → (nil) |null script=" + fmt.Sprintf("%x", sha1.Sum([]byte(strings.Repeat("-", 1030)))), 0},
		{"a push between command and reply does not affect pairing",
			chunks{client(cmd("GET", "a")), server(">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r\n" + bulk("v"))},
			"push [invalidate, [a]] |push push=invalidate\nGET a → v |bulk_string key=a", 0},
		{"inline commands are detected by their replies",
			chunks{client("PING\r\n"), server("+PONG\r\n"), client("set k \"a b\"\n"), server("+OK\r\n")},
			"PING → PONG |simple_string\nset k \"a b\" → OK |simple_string key=k", 0},
		{"CLIENT REPLY disables replies",
			chunks{client(cmd("CLIENT", "REPLY", "OFF") + cmd("PING") + cmd("CLIENT", "REPLY", "ON") + cmd("CLIENT", "REPLY", "SKIP") + cmd("GET", "a") + cmd("GET", "b")),
				server("+OK\r\n:2\r\n")},
			"CLIENT REPLY OFF → no reply requested |\nPING → no reply requested |\nCLIENT REPLY SKIP → no reply requested |\nGET a → no reply requested | key=a\n" +
				"CLIENT REPLY ON → OK |simple_string\nGET b → 2 |integer key=b", 0},
		{"MONITOR pushes lines",
			chunks{client(cmd("MONITOR")), server("+OK\r\n+1339518083.107412 [0 127.0.0.1:60866] \"keys\" \"*\"\r\n")},
			"MONITOR → OK |simple_string\npush 1339518083.107412 [0 127.0.0.1:60866] \"keys\" \"*\" |simple_string push=monitor", 0},
		{"SELECT is remembered, unless it failed",
			chunks{client(cmd("SELECT", "3") + cmd("GET", "a")), server("+OK\r\n$-1\r\n"), client(cmd("SELECT", "99")), server("-ERR DB index is out of range\r\n"),
				client(cmd("DBSIZE")), server(":0\r\n")},
			"SELECT 3 → OK |simple_string\nGET a → (nil) |null key=a db=3\nSELECT 99 → ERR DB index is out of range |error status=ERR db=3 failed\nDBSIZE → 0 |integer db=3", 0},
		{"a replication file of unknown length",
			chunks{client(cmd("SYNC")), server("\n\n$EOF:" + mark + "\r\nREDIS..x" + mark + cmd("DEL", "a"))},
			"SYNC →  |rdb\npush [DEL, a] |array push=replication", 0},
		{"a reply to a command that was not captured",
			chunks{server(":1\r\n"), client(cmd("GET", "a")), server(bulk("b"))},
			"? → 1 |integer error=no_request\nGET a → b |bulk_string key=a", 0},
		{"a gap inside a long string is skipped",
			chunks{client("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$3000\r\nabc"), {Dir: dissect.ToServer, Gap: 2000, Data: []byte(strings.Repeat("x", 997) + "\r\n" + cmd("PING"))}, server("+OK\r\n+PONG\r\n")},
			"SET k " + "abc" + strings.Repeat("x", 997)[:111] + "… → OK |simple_string error=gap key=k\nPING → PONG |simple_string", 0},
		{"acknowledgements restore the pairing after a lost reply",
			chunks{client(cmd("GET", "a")), {Dir: dissect.ToClient, Gap: 7}, client(cmd("GET", "b")), server(bulk("2"))},
			"GET a → gap | error=gap key=a\nGET b → 2 |bulk_string key=b", 0},
		{"acknowledgements restore the pairing after a lost command",
			chunks{client(cmd("GET", "a")), server(bulk("1")), {Dir: dissect.ToServer, Gap: 20}, server(bulk("lost")), client(cmd("GET", "b")), server(bulk("2"))},
			"GET a → 1 |bulk_string key=a\n? → lost |bulk_string error=no_request\nGET b → 2 |bulk_string key=b", 0},
		{"one reply to a batch is missing",
			chunks{client(cmd("GET", "a")), client(cmd("GET", "b")), client(cmd("GET", "c")), server(bulk("1")), {Dir: dissect.ToClient, Gap: 7}, server(bulk("3")), client(cmd("GET", "d")), client(cmd("GET", "e")), server(bulk("4") + bulk("5"))},
			"GET a → 1 |bulk_string key=a\nGET b → gap | error=gap key=b\nGET c → gap | error=gap key=c\n? → 3 |bulk_string error=no_request\nGET d → 4 |bulk_string key=d\nGET e → 5 |bulk_string key=e", 0},
		{"a confirmation after lost ones belongs to a command that names its channel, or none",
			chunks{client(cmd("SUBSCRIBE", "a", "b", "c d")), {Dir: dissect.ToClient, Gap: 90}, client(cmd("PING") + cmd("UNSUBSCRIBE", "a") + cmd("UNSUBSCRIBE", "c d")), {Dir: dissect.ToClient, Gap: 43},
				server("*3\r\n" + bulk("unsubscribe") + bulk("c d") + ":1\r\n"), {Dir: dissect.ToClient, Gap: 7}, client(cmd("UNSUBSCRIBE", "x")), {Dir: dissect.ToClient, Gap: 36},
				client(cmd("UNSUBSCRIBE")), server("*3\r\n" + bulk("unsubscribe") + bulk("b") + ":0\r\n")},
			"SUBSCRIBE a b \"c d\" → gap | error=gap channel=a\nPING → gap | error=gap\nUNSUBSCRIBE a → gap | error=gap channel=a\n" +
				"UNSUBSCRIBE \"c d\" → [unsubscribe, \"c d\", 1] |array error=gap channel=\"c d\"\nUNSUBSCRIBE x → gap | error=gap channel=x\nUNSUBSCRIBE → [unsubscribe, b, 0] |array", 0},
		{"one command of a batch is missing",
			chunks{client(cmd("GET", "a")), {Dir: dissect.ToServer, Gap: 20, Data: []byte(cmd("GET", "c"))}, server(bulk("1") + bulk("2") + bulk("3")), client(cmd("GET", "d")), server(bulk("4"))},
			"GET a → 1 |bulk_string key=a\nGET c → gap | error=gap key=c\n? → 2 |bulk_string error=no_request\n? → 3 |bulk_string error=no_request\nGET d → 4 |bulk_string key=d", 0},
		{"an argument that is not a string is rejected",
			chunks{client(cmd("GET", "a")), server(bulk("1")), client("*2\r\n$3\r\nGET\r\n:5\r\n"), server("-ERR Protocol error: expected '$', got ':'\r\n")},
			"GET a → 1 |bulk_string key=a\nGET → ERR Protocol error: expected '$', got ':' |error error=malformed status=ERR failed", 1},
		{"aggregates nested too deeply are rejected",
			chunks{client(cmd("GET", "a")), server(strings.Repeat("*1\r\n", maxDepth+1) + ":1\r\n")},
			"GET a → " + strings.Repeat("[", maxDepth+1)[:maxDepth] + " |array error=malformed key=a", 1},
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

func TestNoSecretInBody(t *testing.T) {
	long := strings.Repeat("hunter2", 1000)
	for _, e := range play(t, dissect.EndFin, client(cmd("AUTH", long)), server("+OK\r\n"),
		client(cmd("ACL", "SETUSER", "al", ">"+long)), server("+OK\r\n")).Emissions {
		if s := fmt.Sprintf("%+v", e.Row); e.ReqBody != nil || strings.Contains(s, "hunter") {
			t.Errorf("a password is shown or kept: %s", s)
		}
	}
}

func TestDetect(t *testing.T) {
	dissecttest.Detect(t, detect, dissecttest.Heads{
		{"a command", dissect.ToServer, "*1\r\n$4\r\nPING\r\n", dissect.Yes},
		{"a command's beginning", dissect.ToServer, "*1\r\n$4\r\nPI", dissect.More},
		{"a line of SMTP", dissect.ToServer, "EHLO example.org\r\n", dissect.No},
		{"a line of FTP", dissect.ToServer, "USER bob\r\n", dissect.No},
		{"a request of HTTP", dissect.ToServer, "GET / HTTP/1.1\r\n\r\n", dissect.No},
		{"an untagged answer of IMAP", dissect.ToClient, "* OK IMAP4rev1 ready\r\n", dissect.No},
		{"a greeting of POP3", dissect.ToClient, "+OK POP3 ready\r\n", dissect.No},
		{"an answer that POP3 also has", dissect.ToClient, "+OK\r\n", dissect.More},
		{"two answers", dissect.ToClient, "+OK\r\n+OK\r\n", dissect.Likely},
		{"an error that Redis alone has", dissect.ToClient, "-NOAUTH Authentication required.\r\n", dissect.Likely},
		{"a command seen from the wrong side", dissect.ToClient, "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n", dissect.No},
		{"an array", dissect.ToClient, "*2\r\n$1\r\na\r\n", dissect.Likely},
		{"a line of IRC", dissect.ToClient, ":irc.example.org 001 hi\r\n", dissect.No},
	})
}

// TestDatabaseAfterALoss loses a command that may have changed the database.
func TestDatabaseAfterALoss(t *testing.T) {
	get := cmd("GET", "a")
	r := dissecttest.Play(t, dissecttest.OptionsOf(Protocol()), client(cmd("SELECT", "2")), server("+OK\r\n"), client(get), server("$1\r\n1\r\n"),
		dissecttest.Chunk{Dir: dissect.ToServer, Gap: 20}, server("+OK\r\n"), client(get), server("$1\r\n1\r\n"))
	var got []table.Opt[int32]
	for _, row := range r.Rows() {
		got = append(got, row.(*Row).DB)
	}
	if want := []table.Opt[int32]{{}, table.Some[int32](2), {}, {}}; !slices.Equal(got, want) {
		t.Errorf("databases %v, want %v", got, want)
	}
}

// TestBinaryValuesAreNotEscapedTwice: a table escapes what is not text (docs/format/parts.md).
func TestBinaryValuesAreNotEscapedTwice(t *testing.T) {
	r := play(t, dissect.EndFin, client(cmd("SET", "b\xff\n", "\x00\xc0\\")), server("+OK\r\n"), client(cmd("DUMP", "h")), server("$5\r\n\x00\xc0\x10\r\n\r\n"))
	for i, want := range []string{"SET \"b\xff\\n\" \"\x00\xc0\\\\\" → OK", "DUMP h → \x00\xc0\x10\\r\\n"} {
		if got := r.Rows()[i].(*Row).Summary; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := r.Rows()[0].(*Row).Key.V; got != "b\xff\\n" {
		t.Errorf("key %q", got)
	}
}
