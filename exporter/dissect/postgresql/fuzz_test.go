package postgresql

import (
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
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

type discard struct{ dissecttest.Result }

func (d *discard) Call(dissect.Emission) {}

func benchmark(b *testing.B, prepare, prepared, req, resp string) {
	e, err := dissect.NewEngine([]*dissect.Protocol{Protocol()}, nil, &discard{}, true)
	if err != nil {
		b.Fatal(err)
	}
	c := e.NewConn(dissect.Info{ServerPort: 5432, RolesKnown: true, ConnectUs: -1})
	var p dissect.Packet
	c.Data(dissect.ToServer, []byte(prepare), p)
	c.Data(dissect.ToClient, []byte(prepared), p)
	q, a := []byte(req), []byte(resp)
	b.SetBytes(int64(len(q) + len(a)))
	b.ReportAllocs()
	for b.Loop() {
		p.No++
		p.Time += 1000
		c.Data(dissect.ToServer, q, p)
		p.No++
		p.Time += 1000
		c.Data(dissect.ToClient, a, p)
	}
	if c.Calls() < int64(b.N) {
		b.Fatal("calls were lost")
	}
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
