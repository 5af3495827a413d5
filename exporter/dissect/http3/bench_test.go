package http3

import (
	"fmt"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// discard is a sink that keeps nothing.
type discard struct{}

func (discard) Call(dissect.Emission)                {}
func (discard) Anomaly(*dissect.Conn, table.Anomaly) {}

// BenchmarkExchange is load like h2load's: the same headers in every request, a small answer,
// and streams borrowed by the reader without a copy.
func BenchmarkExchange(b *testing.B) {
	reqs := make([][]byte, 1000)
	for i := range reqs {
		reqs[i] = []byte(headers(":method", "GET", ":scheme", "https", ":path", "/index.html?x=1", ":authority", "example.com:8443",
			"user-agent", "h2load nghttp2/1.52.0", "accept", "*/*", "x-request-id", fmt.Sprint("r-", i)))
	}
	resp := []byte(headers(":status", "200", "server", "nginx", "content-type", "text/html", "content-length", "12") + data("hello world\n"))
	benchmark(b, nil, reqs, resp)
}

// BenchmarkDynamic is the same with a dynamic table that holds all headers except one.
func BenchmarkDynamic(b *testing.B) {
	insertions := capacity()
	for _, f := range [][2]string{{":authority", "example.com:8443"}, {"user-agent", "h2load nghttp2/1.52.0"}, {"accept", "*/*"}, {":path", "/index.html?x=1"}} {
		insertions += insertion(f[0], f[1])
	}
	reqs := make([][]byte, 1000)
	for i := range reqs {
		reqs[i] = []byte(frameOf(frameHeaders, indexed(4, 0, 1, 2, 3)+"\xd1\xd7"+section("x-request-id", fmt.Sprint("r-", i))[2:]))
	}
	resp := []byte(headers(":status", "200", "server", "nginx", "content-type", "text/html", "content-length", "12") + data("hello world\n"))
	benchmark(b, []byte(insertions), reqs, resp)
}

func benchmark(b *testing.B, insertions []byte, reqs [][]byte, resp []byte) {
	b.ReportAllocs()
	b.SetBytes(int64(len(reqs[0]) + len(resp)))
	for n := 0; n < b.N; {
		e, err := dissect.NewEngine(protocols(), nil, discard{}, true)
		if err != nil {
			b.Fatal(err)
		}
		outer := e.NewConn(dissect.Info{Transport: dissect.UDP, RolesKnown: true, Began: [2]bool{true, true}, ConnectUs: -1})
		inner, s := outer.NewStreams("quic", "h3")
		var p dissect.Packet
		give := func(id int64, d dissect.Dir, data []byte, fin bool) {
			p.No++
			p.Time += 1000
			l := inner.NewStreamBuffer(d)
			if k, err := s.ReadStream(id, l.Borrow(data, p)); k != len(data) || err != nil {
				b.Fatal(k, err)
			}
			l.Consumed(len(data))
			if fin {
				l.End(true, p)
				if _, err := s.ReadStream(id, l.Input()); err != nil {
					b.Fatal(err)
				}
			}
			l.Close()
		}
		for _, st := range begin() {
			give(st.Stream, st.Dir, st.Data, false)
		}
		if insertions != nil {
			give(6, up, insertions, false)
		}
		for i := 0; i < len(reqs) && n < b.N; i++ {
			give(int64(4*i), up, reqs[i], true)
			give(int64(4*i), down, resp, true)
			n++
		}
		s.Close(dissect.EndCapture, -1)
	}
}
