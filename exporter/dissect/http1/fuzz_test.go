package http1

import (
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

// FuzzConversation is dissecttest.Fuzz with conversations of every kind.
func FuzzConversation(f *testing.F) {
	dissecttest.Fuzz(f, Protocol(),
		dissecttest.Sample{Chunks: chunks{client("GET / HTTP/1.1\r\nHost: a\r\n\r\nHEAD /b HTTP/1.1\r\n\r\n"), server("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")}},
		dissecttest.Sample{Chunks: chunks{client("POST /x HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\nContent-Length: 3\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\n"), server("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 404 No\r\n\r\nbody")}},
		dissecttest.Sample{Chunks: chunks{client("CONNECT a:1 HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n"), server("HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 204 No\r\n\r\n")}},
		dissecttest.Sample{Chunks: chunks{client("GET /c HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\nxx"), server("HTTP/1.1 101 S\r\nUpgrade: h2c\r\n\r\nyy")}},
		dissecttest.Sample{Chunks: chunks{client("GET /\r\n"), server("<html>")}})
}

type discard struct{ dissecttest.Result }

func (d *discard) Call(dissect.Emission) {}

func BenchmarkExchange(b *testing.B) {
	req := []byte("GET /api/v1/items/12345?expand=all&page=2 HTTP/1.1\r\nHost: shop.svc.cluster.local:8080\r\nUser-Agent: Go-http-client/1.1\r\n" +
		"Accept: application/json\r\nAccept-Encoding: gzip\r\nX-Request-Id: 0d9c3a3e-8a8e-4f0b-9a57-0f1f2d3c4b5a\r\n" +
		"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\nAuthorization: Bearer abc\r\n\r\n")
	resp := []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\nServer: envoy\r\n" +
		"X-Envoy-Upstream-Service-Time: 3\r\nContent-Length: 300\r\n\r\n" + strings.Repeat("x", 300))
	e, err := dissect.NewEngine([]*dissect.Protocol{Protocol()}, nil, &discard{}, true)
	if err != nil {
		b.Fatal(err)
	}
	c := e.NewConn(dissect.Info{ServerPort: 80, RolesKnown: true, Began: [2]bool{true, true}, ConnectUs: -1})
	b.SetBytes(int64(len(req) + len(resp)))
	b.ReportAllocs()
	var p dissect.Packet
	for b.Loop() {
		p.No++
		p.Time += 1000
		c.Data(dissect.ToServer, req, p)
		p.No++
		c.Data(dissect.ToClient, resp, p)
	}
}

func BenchmarkLargeBody(b *testing.B) {
	req := []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	head := []byte("HTTP/1.1 200 OK\r\nContent-Length: 1460000\r\n\r\n")
	seg := []byte(strings.Repeat("x", 1460))
	e, err := dissect.NewEngine([]*dissect.Protocol{Protocol()}, nil, &discard{}, true)
	if err != nil {
		b.Fatal(err)
	}
	c := e.NewConn(dissect.Info{ServerPort: 80, RolesKnown: true, Began: [2]bool{true, true}, ConnectUs: -1})
	b.SetBytes(int64(1460000))
	b.ReportAllocs()
	var p dissect.Packet
	for b.Loop() {
		c.Data(dissect.ToServer, req, p)
		c.Data(dissect.ToClient, head, p)
		for range 1000 {
			p.No++
			c.Data(dissect.ToClient, seg, p)
		}
	}
}
