package mongodb

import (
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

type discard struct{ dissecttest.Result }

func (d *discard) Call(dissect.Emission) {}

func benchmark(b *testing.B, request, response string) {
	e, err := dissect.NewEngine([]*dissect.Protocol{Protocol()}, nil, &discard{}, true)
	if err != nil {
		b.Fatal(err)
	}
	c := e.NewConn(dissect.Info{ServerPort: 27017, RolesKnown: true, ConnectUs: -1})
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

func BenchmarkFind(b *testing.B) { benchmark(b, msg(1, 0, 0, find), msg(8, 1, 0, found)) }

func BenchmarkBatch(b *testing.B) {
	var docs array
	for i := range 100 {
		docs = append(docs, d("_id", i, "status", "paid", "note", strings.Repeat("text ", 40)))
	}
	benchmark(b, msg(1, 0, 0, find), msg(8, 1, 0, d("cursor", d("firstBatch", docs, "id", int64(0)), "ok", 1.0)))
}
