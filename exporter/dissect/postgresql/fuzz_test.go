package postgresql

import (
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

// FuzzConversation is dissecttest.Fuzz with conversations of every kind.
func FuzzConversation(f *testing.F) {
	dissecttest.Fuzz(f, Protocol(),
		dissecttest.Sample{Chunks: chunks{client(untyped(codeSSL, "") + startup("user", "bob") + query("select 1; select 2")), server("N" + msg('R', 0) + ready("I") + cols(25, "a") + row("1") + tag("SELECT 1") + failure('E', "ERROR", "42601", "x") + ready("I"))}},
		dissecttest.Sample{Chunks: chunks{client(parse("s", "select $1", 1700) + bind("p", "s", 1, 1, "\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01") + describe("P", "p") + execute("p", 1) + sync + msg('C', "Ss\x00") + sync), server(parsed + bound + cols(2950, "a") + row("x") + msg('s') + ready("T") + closed + ready("I"))}},
		dissecttest.Sample{Chunks: chunks{client(query("copy t from stdin") + msg('d', "1\n") + "c\x00\x00\x00\x04"), server(msg('G', "\x00", int16(0)) + tag("COPY 1") + ready("I"))}},
		dissecttest.Sample{Chunks: chunks{client(parse("", "bad") + bind("", "", 0, 0) + execute("", 0) + sync + query("commit")), server(failure('E', "ERROR", "42601", "x") + ready("I") + tag("COMMIT") + ready("I"))}},
		dissecttest.Sample{Chunks: chunks{client(query("select " + strings.Repeat("x", 300))), server("D\x00\x01\x00\x00ab" + msg('A', 1, "a\x00b\x00"))}})
}

func benchmark(b *testing.B, prepare, prepared, request, response string) {
	dissecttest.Bench(b, Protocol(), dissecttest.Exchange(prepare, prepared), dissecttest.Exchange(request, response))
}

func BenchmarkSimple(b *testing.B) {
	benchmark(b, query("begin"), tag("BEGIN")+ready("T"),
		query("UPDATE pgbench_tellers SET tbalance = tbalance + 1541 WHERE tid = 7;"), tag("UPDATE 1")+ready("T"))
}

func BenchmarkPrepared(b *testing.B) {
	benchmark(b, parse("P_0", "SELECT abalance FROM pgbench_accounts WHERE aid = $1;")+sync, parsed+ready("I"),
		bind("", "P_0", 0, 0, "83261")+describe("P", "")+execute("", 0)+sync, bound+cols(23, "abalance")+row("-1234")+tag("SELECT 1")+ready("I"))
}

func BenchmarkRows(b *testing.B) {
	benchmark(b, query("begin"), tag("BEGIN")+ready("T"),
		query("select * from t"), cols(25, "a", "b", "c")+strings.Repeat(row("12345", "some text of a row", "2024-01-01"), 1000)+tag("SELECT 1000")+ready("I"))
}
