package dissecttest

import (
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// Exchange is a request and its response.
func Exchange(request, response string) []Chunk {
	return []Chunk{{Dir: dissect.ToServer, Data: []byte(request)}, {Dir: dissect.ToClient, Data: []byte(response)}}
}

// Bench measures a protocol: it plays the beginning of a connection once, and the rest repeatedly.
func Bench(b *testing.B, p *dissect.Protocol, begin, again []Chunk) {
	sink := &noted{}
	e, err := dissect.NewEngine([]*dissect.Protocol{p}, nil, sink, true)
	if err != nil {
		b.Fatal(err)
	}
	o := OptionsOf(p)
	c := e.NewConn(dissect.Info{Transport: o.Transport, ClientPort: 40000, ServerPort: o.ServerPort, RolesKnown: true, Began: [2]bool{true, true}, ConnectUs: -1})
	at, sent := dissect.Packet{}, [2]uint32{}
	play := func(list []Chunk) {
		for _, x := range list {
			at.No, at.Time, at.Seq, at.Ack = at.No+1, at.Time+1000, sent[x.Dir], sent[x.Dir.Other()]
			sent[x.Dir] += uint32(len(x.Data))
			c.Data(x.Dir, x.Data, at)
		}
	}
	play(begin)
	size := 0
	for _, x := range again {
		size += len(x.Data)
	}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		play(again)
	}
	if sink.calls < b.N {
		b.Fatal("calls were lost")
	}
	b.ReportMetric(float64(sink.calls)/float64(b.N), "rows/op")
}
