package http1

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
	f.Add("GET / HTTP/1.1\r\nHost: a\r\n\r\nHEAD /b HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", int64(1), byte(0))
	f.Add("POST /x HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\nContent-Length: 3\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 404 No\r\n\r\nbody", int64(2), byte(1))
	f.Add("CONNECT a:1 HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 204 No\r\n\r\n", int64(3), byte(4))
	f.Add("GET /c HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\nxx", "HTTP/1.1 101 S\r\nUpgrade: h2c\r\n\r\nyy", int64(4), byte(2))
	f.Add("GET /\r\n", "<html>", int64(5), byte(0))
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
		r := play(t, dissect.End(end%6), c...)
		if got := r.Conn.RowBytes + r.Conn.AnomalyBytes; got != r.Bytes || r.Held != 0 {
			t.Errorf("%d bytes accounted for of %d, %d held", got, r.Bytes, r.Held)
		}
		for _, row := range r.Rows() {
			b := row.Base()
			all := []string{b.Summary, b.Method.V, b.Host.V, b.Path.V, b.Query.V, b.StatusText.V, b.AuthKind.V}
			for _, h := range b.Headers {
				all = append(all, h.Name, h.Value)
			}
			if h, ok := row.(*Row); ok {
				all = append(all, h.Version.V, h.ResponseVersion.V, h.Target.V, h.Upgrade.V)
			}
			if s := strings.Join(all, ""); !utf8.ValidString(s) {
				t.Errorf("text that is not UTF-8: %q", s)
			}
			if b.Summary == "" || len(b.Cites) == 0 {
				t.Errorf("row without summary or citation: %+v", row)
			}
		}
	})
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
	c := e.NewConn(dissect.Info{ServerPort: 80, RolesKnown: true, ConnectUs: -1})
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
	c := e.NewConn(dissect.Info{ServerPort: 80, RolesKnown: true, ConnectUs: -1})
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
