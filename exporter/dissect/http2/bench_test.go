package http2

import (
	"fmt"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// BenchmarkExchange is load like h2load's: one connection, ten concurrent streams, the same
// headers in every request, a small answer.
func BenchmarkExchange(b *testing.B) {
	c, s := begin()
	var rounds [][2][]byte
	head := [2][]byte{c.flush().Data, s.flush().Data}
	id := uint32(1)
	for range 1000 {
		for range 10 {
			c.headers(id, true, ":method", "GET", ":scheme", "http", ":path", "/index.html?x=1", ":authority", "example.com:8080",
				"user-agent", "h2load nghttp2/1.52.0", "accept", "*/*", "x-request-id", fmt.Sprint("r-", id))
			s.headers(id, false, ":status", "200", "server", "nginx", "content-type", "text/html", "content-length", "12").data(id, true, "hello world\n")
			id += 2
		}
		rounds = append(rounds, [2][]byte{c.flush().Data, s.flush().Data})
	}
	benchmark(b, head, rounds, 10)
}

// BenchmarkGRPC is sequential unary calls.
func BenchmarkGRPC(b *testing.B) {
	c, s := begin()
	head := [2][]byte{c.flush().Data, s.flush().Data}
	var rounds [][2][]byte
	for i := range 10_000 {
		id := uint32(2*i + 1)
		c.headers(id, false, ":method", "POST", ":scheme", "http", ":path", "/helloworld.Greeter/SayHello", ":authority", "greeter:50051",
			"content-type", "application/grpc", "user-agent", "grpc-go/1.60.0", "te", "trailers", "grpc-timeout", "999m").data(id, true, string(message("world", false)))
		s.headers(id, false, ":status", "200", "content-type", "application/grpc").data(id, false, string(message("Hello world", false))).
			headers(id, true, "grpc-status", "0", "grpc-message", "")
		rounds = append(rounds, [2][]byte{c.flush().Data, s.flush().Data})
	}
	benchmark(b, head, rounds, 1)
}

func benchmark(b *testing.B, head [2][]byte, rounds [][2][]byte, each int) {
	size := 0
	b.ReportAllocs()
	b.ResetTimer()
	n := 0
	for n < b.N {
		e, err := dissect.NewEngine(protocols(), nil, discard{}, true)
		if err != nil {
			b.Fatal(err)
		}
		conn := e.NewConn(dissect.Info{RolesKnown: true, Began: [2]bool{true, true}, ConnectUs: -1})
		var p dissect.Packet
		for i := 0; i <= len(rounds) && n < b.N; i++ {
			r := head
			if i > 0 {
				r = rounds[i-1]
				n += each
				size = len(r[0]) + len(r[1])
			}
			for d := range r {
				p.No++
				p.Time += 1000
				conn.Data(dissect.Dir(d), r[d], p)
			}
		}
		conn.Close(dissect.EndCapture, p)
	}
	b.SetBytes(int64(size / each))
}
