package postgresql

import (
	"math/rand"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

// FuzzConversation reads random bytes in both directions, split anywhere, with gaps. It must not
// panic, must account for every byte and hold no memory at the end, and all text must be valid.
func FuzzConversation(f *testing.F) {
	f.Add(untyped(codeSSL, "")+startup("user", "bob")+query("select 1; select 2"),
		"N"+msg('R', 0)+ready("I")+cols(25, "a")+row("1")+tag("SELECT 1")+failure('E', "ERROR", "42601", "x")+ready("I"), int64(1), byte(0))
	f.Add(parse("s", "select $1", 1700)+bind("p", "s", 1, 1, "\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01")+describe("P", "p")+execute("p", 1)+sync+msg('C', "Ss\x00")+sync,
		parsed+bound+cols(2950, "a")+row("x")+msg('s')+ready("T")+closed+ready("I"), int64(2), byte(1))
	f.Add(query("copy t from stdin")+msg('d', "1\n")+"c\x00\x00\x00\x04", msg('G', "\x00", int16(0))+tag("COPY 1")+ready("I"), int64(3), byte(2))
	f.Add(parse("", "bad")+bind("", "", 0, 0)+execute("", 0)+sync+query("commit"), failure('E', "ERROR", "42601", "x")+ready("I")+tag("COMMIT")+ready("I"), int64(4), byte(3))
	f.Add(query("select "+strings.Repeat("x", 300)), "D\x00\x01\x00\x00ab"+msg('A', 1, "a\x00b\x00"), int64(5), byte(4))
	f.Fuzz(func(t *testing.T, toServer, toClient string, seed int64, end byte) {
		rnd := rand.New(rand.NewSource(seed))
		var c chunks
		for toServer != "" || toClient != "" {
			from, dir := &toServer, dissect.ToServer
			if toServer == "" || toClient != "" && rnd.Intn(2) == 0 {
				from, dir = &toClient, dissect.ToClient
			}
			n := 1 + rnd.Intn(min(len(*from), 1+rnd.Intn(80)))
			k := dissecttest.Chunk{Dir: dir, Data: []byte((*from)[:n])}
			if rnd.Intn(12) == 0 {
				k.Gap = int64(1 + rnd.Intn(20))
			}
			c, *from = append(c, k), (*from)[n:]
		}
		r := dissecttest.Play(t, dissecttest.Options{Transport: dissect.TCP, ServerPort: 5432, End: dissect.End(end % 6),
			Protocols: []*dissect.Protocol{Protocol()}, Roles: seed%2 == 0}, c...)
		if got := r.Conn.RowBytes + r.Conn.AnomalyBytes; got != r.Bytes || r.Held != 0 {
			t.Errorf("%d bytes accounted for of %d, %d held", got, r.Bytes, r.Held)
		}
		for _, e := range r.Rows() {
			b := e.Base()
			if b.Summary == "" || len(b.Cites) == 0 {
				t.Errorf("row without summary or citation: %+v", e)
			}
			all := b.Summary + b.Method.V + b.StatusText.V + b.AuthKind.V
			if h, ok := e.(*Row); ok {
				all += h.SQL.V + h.Command.V + h.Database.V + h.User.V + h.Statement.V + h.Portal.V + h.Preview.V + h.ErrCode.V +
					h.ErrMessage.V + h.ErrDetail.V + h.Severity.V + h.Channel.V + strings.Join(h.Params, "") + strings.Join(h.Notices, "") + strings.Join(h.Columns, "")
			}
			if !utf8.ValidString(all) {
				t.Errorf("text that is not UTF-8: %q", all)
			}
		}
	})
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
