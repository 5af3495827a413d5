package http2

import (
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
	"github.com/pcapsule/pcapsule/exporter/dissect/ws"
)

// TestWebSocketInAStream reads a WebSocket in an extended CONNECT, RFC 8441, beside another stream.
func TestWebSocketInAStream(t *testing.T) {
	connect := []string{":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":path", "/chat?x=1", ":authority", "shop.example:8443", "sec-websocket-version", "13"}
	agree := []string{":status", "200", "sec-websocket-protocol", "chat"}
	const mask = "\x00\x00\x00\x00"
	for _, tc := range []struct {
		name string
		end  dissect.End
		run  func(c, s *peer) []dissecttest.Chunk
		want string
	}{
		{"messages cut into frames", dissect.EndFin, func(c, s *peer) []dissecttest.Chunk {
			list := []dissecttest.Chunk{c.headers(1, false, connect...).flush(), s.headers(1, false, agree...).flush()}
			list = append(list, c.get(3, "/other").data(1, false, "\x81\x85"+mask+"he").flush(), c.data(1, false, "llo").flush())
			list = append(list, s.data(1, false, "\x82\x03abc\x88\x02\x03\xe8").ok(3, "x").flush(), c.data(1, true, "\x88\x82"+mask+"\x03\xe8").flush(), s.data(1, true, "").flush())
			return list
		}, "ws TEXT from client /chat → 5 bytes 1 shop.example chat; ws BINARY from server /chat → 3 bytes 1 shop.example chat; http2 GET /other → 200 3; " +
			"ws CLOSE from server /chat → answered, 1000 normal 1 shop.example chat; http2 CONNECT /chat → 200 1"},
		{"a refused CONNECT", dissect.EndFin, func(c, s *peer) []dissecttest.Chunk {
			return []dissecttest.Chunk{c.headers(1, false, connect...).flush(), s.headers(1, false, ":status", "403").data(1, true, "\x81\x01a").flush(), c.data(1, true, "").flush()}
		}, "http2 CONNECT /chat → 403 1"},
		{"a connection that ends in the middle", dissect.EndReset, func(c, s *peer) []dissecttest.Chunk {
			return []dissecttest.Chunk{c.headers(1, false, connect...).flush(), s.headers(1, false, agree...).flush(), s.data(1, false, "\x81\x05he").flush()}
		}, "ws TEXT from server /chat → 5 bytes, cut 1 shop.example chat; http2 CONNECT /chat → 200, reset 1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, s := begin()
			o := dissecttest.Options{Protocols: append(protocols(), ws.Protocol()), ServerPort: 8443, Roles: true, End: tc.end}
			r := dissecttest.Play(t, o, tc.run(c, s)...)
			var got []string
			for _, e := range r.Emissions {
				b := e.Row.Base()
				line := b.Protocol + " " + b.Summary + " " + string(rune('0'+b.StreamID.V))
				if w, ok := e.Row.(*ws.Row); ok {
					line += " " + b.Host.V + " " + w.Subprotocol.V
				}
				got = append(got, line)
			}
			if strings.Join(got, "; ") != tc.want || r.Held != 0 || len(r.Anomalies) > 0 {
				t.Errorf("\n got %s\nwant %s; held %d, anomalies %v", strings.Join(got, "; "), tc.want, r.Held, r.Anomalies)
			}
			if sum := r.Conn.RowBytes + r.Conn.AnomalyBytes; sum != r.Bytes {
				t.Errorf("%d of %d bytes accounted for", sum, r.Bytes)
			}
		})
	}
}
