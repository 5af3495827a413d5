package mysql

import (
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

// FuzzConversation is dissecttest.Fuzz with conversations of every kind.
func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), samples()...) }

type discard struct{ dissecttest.Result }

func (d *discard) Call(dissect.Emission) {}

func benchmark(b *testing.B, req, resp string) {
	e, err := dissect.NewEngine([]*dissect.Protocol{Protocol()}, nil, &discard{}, true)
	if err != nil {
		b.Fatal(err)
	}
	c := e.NewConn(dissect.Info{ServerPort: 3306, RolesKnown: true, ConnectUs: -1})
	var p dissect.Packet
	for _, x := range login(baseCaps) {
		c.Data(x.Dir, x.Data, p)
	}
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

func BenchmarkUpdate(b *testing.B) {
	benchmark(b, query("UPDATE pgbench_tellers SET tbalance = tbalance + 1541 WHERE tid = 7"), okPacket(1, 1, 0, 3, ""))
}

func BenchmarkRows(b *testing.B) {
	list := make([]string, 1000)
	for i := range list {
		list[i] = str("12345") + str("some text of a row, 2024-01-01")
	}
	benchmark(b, query("select * from t"), result(1, 2, list...))
}
