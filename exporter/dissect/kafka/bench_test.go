package kafka

import (
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

type discard struct{ dissecttest.Result }

func (d *discard) Call(e dissect.Emission) {
	for _, b := range [...]*dissect.Body{e.ReqBody, e.RespBody} {
		if b != nil {
			b.Release()
		}
	}
}

func benchmark(b *testing.B, request, response string) {
	e, err := dissect.NewEngine([]*dissect.Protocol{Protocol()}, nil, &discard{}, true)
	if err != nil {
		b.Fatal(err)
	}
	c := e.NewConn(dissect.Info{ServerPort: 9092, RolesKnown: true, ConnectUs: -1})
	q, a := []byte(request), []byte(response)
	b.SetBytes(int64(len(q) + len(a)))
	b.ReportAllocs()
	var p dissect.Packet
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

func BenchmarkProduce(b *testing.B) {
	benchmark(b, ask(1, produce(9, 1, "orders", records("", 0, record("customer-7", strings.Repeat("value ", 50))))), say(1, produced(9, "orders", 1, 0)))
}

func BenchmarkFetch(b *testing.B) {
	list := records("", 0, record("customer-7", strings.Repeat("value ", 5000)))
	benchmark(b, ask(1, fetch(12, "orders", 5)), say(1, fetched(12, "orders", list)))
}

func BenchmarkHeartbeat(b *testing.B) {
	s := samples()[1].Chunks
	q := string(s[0].Data)
	q = q[:4+int(q[3])]
	a := string(s[1].Data)
	benchmark(b, q, a[:4+int(a[3])])
}
