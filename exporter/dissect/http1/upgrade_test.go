package http1

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// after is the protocol that a connection changes to.
type after struct {
	dissect.Stateless
	seen *string
}

type afterRow struct{ table.Call }

func (a *after) Read(in *dissect.Input) (int, error) {
	if len(in.Data) == 0 {
		return 0, nil
	}
	*a.seen += fmt.Sprintf(" %s:%q", in.Dir, in.Data)
	return len(in.Data), nil
}
func (*after) Gap(*dissect.Input, int64) bool { return true }
func (*after) Close(dissect.End)              {}
func (a *after) Upgraded(i *dissect.UpgradeInfo) {
	*a.seen += fmt.Sprintf("%s %s?%s %s %d headers %d bytes %x %s request=%v response=%v", i.Method, i.Path, i.Query, i.Host, len(i.Headers),
		i.HeadersSize, i.Settings, i.UpgradeTarget, i.Exchange.HasRequest(), i.Exchange.HasResponse())
}

func TestUpgrade(t *testing.T) {
	for _, row := range []struct{ name, protocol, request, response, more, want string }{
		{"websocket with all headers", "ws",
			"GET /ws?a=b HTTP/1.1\r\nHost: x.example:81\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\r\n",
			"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\nfirst", "second",
			`GET /ws?a=b x.example 4 headers 97 bytes  websocket request=true response=false to_client:"first" to_server:"second"`},
		{"h2c with the request's headers and settings", "http2",
			"GET /h HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
			"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n", "PRI",
			`GET /h? x 4 headers 105 bytes 000300000064 h2c request=true response=false to_server:"PRI"`},
	} {
		t.Run(row.name, func(t *testing.T) {
			var seen string
			p := &dissect.Protocol{Name: row.protocol, Doc: "test", Transports: []dissect.Transport{dissect.TCP}, Row: &afterRow{},
				New: func(*dissect.Conn) dissect.Dissector { return &after{seen: &seen} }}
			r := dissecttest.Play(t, dissecttest.Options{Protocols: []*dissect.Protocol{Protocol(), p}, Roles: true},
				client(row.request), server(row.response), client(row.more))
			if seen != row.want {
				t.Errorf("\n got %s\nwant %s", seen, row.want)
			}
			if len(r.Emissions) != 1 || r.Emissions[0].Row.Base().StatusCode.V != 101 {
				t.Errorf("rows %s", sketch(r))
			}
		})
	}
}

func TestPairingAfterLoss(t *testing.T) {
	get := func(path string) dissecttest.Chunk {
		return client("GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n")
	}
	const ok = "HTTP/1.1 204 N\r\n\r\n"
	for _, row := range []struct {
		name   string
		chunks chunks
		want   string
	}{
		{"answers in a gap are not assigned to later requests",
			chunks{get("/1"), server(ok), get("/2"), {Dir: dissect.ToClient, Gap: 18}, get("/3"), {Dir: dissect.ToClient, Gap: 18}, get("/4"), server(ok)},
			"GET /1 → 204 whole; GET /2 → gap [gap]; GET /3 → gap [gap]; GET /4 → 204 whole"},
		{"an answer older than the request has no request",
			chunks{{Dir: dissect.ToServer, Gap: 40}, server(ok), get("/2"), server(ok)},
			"? ? → 204 [no_request]; GET /2 → 204 whole"},
		{"a body continues after a gap inside a chunk, but not after one over its end",
			chunks{get("/1"), server("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nab"), {Dir: dissect.ToClient, Gap: 4, Data: []byte("gh\r\n0\r\n\r\n")},
				get("/2"), server("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nab"), {Dir: dissect.ToClient, Gap: 40, Data: []byte("gh\r\n0\r\n\r\n")}, get("/3"), server(ok)},
			"GET /1 → 200 (4 B), gap [gap]; GET /2 → 200 (2 B), gap [gap]; GET /3 → 204 whole; !skipped"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := sketch(play(t, dissect.EndFin, row.chunks...)); got != row.want {
				t.Errorf("\n got %s\nwant %s", got, row.want)
			}
		})
	}
}

func TestBodies(t *testing.T) {
	r := play(t, dissect.EndFin,
		client("POST / HTTP/1.1\r\nHost: a\r\nContent-Type: text/x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
		// "hello" in a stored block of raw deflate, as many servers send it
		server("HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\nContent-Length: 10\r\n\r\n\x01\x05\x00\xfa\xffhello"))
	e := r.Emissions[0]
	if e.ReqBody == nil || !bytes.Equal(e.ReqBody.Decoded, []byte("hello")) || !e.ReqBody.Complete || e.ReqBody.ContentType != "text/x" {
		t.Errorf("request body %+v", e.ReqBody)
	}
	b := e.Row.Base()
	if b.ResponseBodySize.V != 5 || b.ResponseBodyWire.V != 10 || b.ResponseBodyHash != b.RequestBodyHash {
		t.Errorf("response body of %d bytes from %d", b.ResponseBodySize.V, b.ResponseBodyWire.V)
	}
}
