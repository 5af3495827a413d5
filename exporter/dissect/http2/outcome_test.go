package http2

import (
	"strings"
	"testing"

	xhttp2 "golang.org/x/net/http2"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// TestOutcomesOfStreamsThatEndEarly: a request that the server did not begin is refused, in
// gRPC too, and a tunnel that was agreed to has not failed when it ends.
func TestOutcomesOfStreamsThatEndEarly(t *testing.T) {
	get := []string{":method", "GET", ":scheme", "http", ":path", "/a", ":authority", "h"}
	rpc := []string{":method", "POST", ":scheme", "http", ":path", "/s/M", ":authority", "h", "content-type", "application/grpc", "te", "trailers"}
	connect := []string{":method", "CONNECT", ":authority", "db:5432"}
	type frames func(c, s *peer)
	reset := func(p func(c, s *peer) *peer, code xhttp2.ErrCode) frames {
		return func(c, s *peer) { p(c, s).fr.WriteRSTStream(3, code) }
	}
	client := func(c, _ *peer) *peer { return c }
	server := func(_, s *peer) *peer { return s }
	goAway := func(last uint32, code xhttp2.ErrCode) frames {
		return func(_, s *peer) { s.fr.WriteGoAway(last, code, nil) }
	}
	agree := func(then frames) frames {
		return func(c, s *peer) { s.headers(3, false, ":status", "200"); then(c, s) }
	}
	events := func(then frames) frames {
		return func(c, s *peer) {
			s.headers(3, false, ":status", "200", "content-type", "text/event-stream")
			s.fr.WriteData(3, false, []byte("data: now\n\n"))
			then(c, s)
		}
	}
	nothing := func(_, _ *peer) {}
	for _, tt := range []struct {
		name    string
		request []string
		end     dissect.End
		then    frames
		want    string
	}{
		{"REFUSED_STREAM", get, dissect.EndFin, reset(server, xhttp2.ErrCodeRefusedStream), table.Refused},
		{"REFUSED_STREAM of gRPC", rpc, dissect.EndFin, reset(server, xhttp2.ErrCodeRefusedStream), table.Refused},
		{"GOAWAY below it", get, dissect.EndFin, goAway(1, xhttp2.ErrCodeNo), table.Refused},
		{"GOAWAY below it with an error", get, dissect.EndFin, goAway(1, xhttp2.ErrCodeEnhanceYourCalm), table.Refused},
		{"GOAWAY below it, gRPC", rpc, dissect.EndFin, goAway(1, xhttp2.ErrCodeNo), table.Refused},
		{"GOAWAY that includes it, without an answer", get, dissect.EndFin, goAway(3, xhttp2.ErrCodeNo), table.NoAnswer},
		{"GOAWAY that includes it, with an error", get, dissect.EndFin, goAway(3, xhttp2.ErrCodeInternal), table.NoAnswer},
		{"the client cancels", get, dissect.EndFin, reset(client, xhttp2.ErrCodeCancel), table.Cancelled},
		{"the client cancels gRPC", rpc, dissect.EndFin, reset(client, xhttp2.ErrCodeCancel), table.Cancelled},
		{"the client cancels inside an answer", get, dissect.EndFin, agree(reset(client, xhttp2.ErrCodeCancel)), table.Cancelled},
		{"the client finds an error in an answer", get, dissect.EndFin, agree(reset(client, xhttp2.ErrCodeProtocol)), table.NoAnswer},
		{"the server cancels", get, dissect.EndFin, reset(server, xhttp2.ErrCodeCancel), table.NoAnswer},
		{"half an answer, then refused", get, dissect.EndFin, agree(reset(server, xhttp2.ErrCodeRefusedStream)), table.NoAnswer},
		{"the client cancels a stream of events", get, dissect.EndFin, events(reset(client, xhttp2.ErrCodeCancel)), table.OK},
		{"the server cancels a stream of events", get, dissect.EndFin, events(reset(server, xhttp2.ErrCodeInternal)), table.NoAnswer},
		{"a tunnel that ends with the connection", connect, dissect.EndFin, agree(nothing), table.OK},
		{"a tunnel that the client ends", connect, dissect.EndFin, agree(reset(client, xhttp2.ErrCodeCancel)), table.OK},
		{"a tunnel whose connection is reset", connect, dissect.EndReset, agree(nothing), table.OK},
		{"a tunnel that the server does not answer", connect, dissect.EndFin, nothing, table.NoAnswer},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, s := begin()
			request := c.headers(3, tt.request[1] == "GET", tt.request...).flush()
			tt.then(c, s)
			list := []dissecttest.Chunk{request, s.flush(), c.flush()}
			rows := play(t, tt.end, list...).Emissions
			if len(rows) != 1 {
				t.Fatalf("%d rows, want 1", len(rows))
			}
			if b := rows[0].Row.Base(); b.Outcome != tt.want || b.Failed != table.Failed(tt.want) {
				t.Errorf("%s: outcome %s, failed %t, want %s", strings.TrimSpace(b.Summary), b.Outcome, b.Failed, tt.want)
			}
		})
	}
}

// TestStreamsOpenedAfterGOAWAY have a number above that of the GOAWAY, which the client had not read yet: the server did
// not begin them, whatever ends them.
func TestStreamsOpenedAfterGOAWAY(t *testing.T) {
	for _, end := range []dissect.End{dissect.EndFin, dissect.EndReset, dissect.EndCapture} {
		for _, code := range []xhttp2.ErrCode{xhttp2.ErrCodeNo, xhttp2.ErrCodeProtocol} {
			c, s := begin()
			first := c.headers(1, true, ":method", "GET", ":scheme", "http", ":path", "/1", ":authority", "h").flush()
			s.headers(1, true, ":status", "200")
			s.fr.WriteGoAway(1, code, nil)
			bye := s.flush()
			for _, id := range []uint32{3, 5} {
				c.headers(id, false, ":method", "POST", ":scheme", "http", ":path", "/upload", ":authority", "h")
			}
			c.fr.WriteRSTStream(5, xhttp2.ErrCodeCancel)
			rows := play(t, end, first, bye, c.flush()).Emissions
			got := ""
			for _, e := range rows {
				got += e.Row.Base().Outcome + " "
			}
			if want := "ok refused refused "; got != want {
				t.Errorf("%v, %v: %s, want %s", end, code, got, want)
			}
		}
	}
}

// TestPushThatNobodyWaitsFor: a client that does not want a push, or ends the connection, has not seen a failure. What
// the server says of its push still counts.
func TestPushThatNobodyWaitsFor(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  dissect.End
		then func(c, s *peer)
		want string
	}{
		{"answered", dissect.EndFin, func(_, s *peer) { s.ok(2, "style") }, table.OK},
		{"the client cancels", dissect.EndFin, func(c, _ *peer) { c.fr.WriteRSTStream(2, xhttp2.ErrCodeCancel) }, table.OK},
		{"the client refuses", dissect.EndFin, func(c, _ *peer) { c.fr.WriteRSTStream(2, xhttp2.ErrCodeRefusedStream) }, table.OK},
		{"the client cancels inside the answer", dissect.EndFin, func(c, s *peer) {
			s.headers(2, false, ":status", "200")
			c.fr.WriteRSTStream(2, xhttp2.ErrCodeCancel)
		}, table.OK},
		{"the client cancels an error", dissect.EndFin, func(c, s *peer) {
			s.headers(2, false, ":status", "503")
			c.fr.WriteRSTStream(2, xhttp2.ErrCodeCancel)
		}, table.ServerError},
		{"the client stops accepting pushes", dissect.EndFin, func(c, _ *peer) { c.fr.WriteGoAway(0, xhttp2.ErrCodeNo, nil) }, table.OK},
		{"the connection ends", dissect.EndFin, func(_, _ *peer) {}, table.OK},
		{"the connection is reset", dissect.EndReset, func(_, _ *peer) {}, table.OK},
		{"the capture ends", dissect.EndCapture, func(_, _ *peer) {}, table.Cut},
		{"the server gives up", dissect.EndFin, func(_, s *peer) { s.fr.WriteRSTStream(2, xhttp2.ErrCodeInternal) }, table.NoAnswer},
		{"the server ends the connection with an error", dissect.EndFin, func(_, s *peer) { s.fr.WriteGoAway(1, xhttp2.ErrCodeInternal, nil) }, table.NoAnswer},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, s := begin()
			c.get(1, "/")
			s.fr.WritePushPromise(xhttp2.PushPromiseParam{StreamID: 1, PromiseID: 2, EndHeaders: true,
				BlockFragment: s.blockOf(":method", "GET", ":scheme", "http", ":path", "/style.css", ":authority", "h")})
			s.ok(1, "page")
			list := []dissecttest.Chunk{c.flush(), s.flush()}
			tt.then(c, s)
			rows := play(t, tt.end, append(list, s.flush(), c.flush())...).Emissions
			if len(rows) != 2 {
				t.Fatalf("%d rows, want 2", len(rows))
			}
			if b := rows[1].Row.Base(); b.Outcome != tt.want || b.Failed != table.Failed(tt.want) {
				t.Errorf("%s: outcome %s, failed %t, want %s", strings.TrimSpace(b.Summary), b.Outcome, b.Failed, tt.want)
			}
		})
	}
}

// TestClientThatCancels tells a client that did not wait from one whose time limit passed: only the first says nothing
// about the server.
func TestClientThatCancels(t *testing.T) {
	get := []string{":method", "GET", ":scheme", "http", ":path", "/a", ":authority", "h"}
	rpc := []string{":method", "POST", ":scheme", "http", ":path", "/s/M", ":authority", "h", "content-type", "application/grpc", "te", "trailers"}
	for _, tt := range []struct {
		name    string
		request []string
		wait    int64
		want    string // outcome, error, status_text, summary
	}{
		{"at once", get, 1e6, "cancelled cancelled cancelled by the client: GET /a → cancelled by the client"},
		{"after a time", get, 900e6, "no_answer reset cancelled by the client, which gave up: GET /a → cancelled by the client, which gave up"},
		{"gRPC without a time limit", rpc, 900e6, "cancelled cancelled cancelled by the client: /s/M → cancelled by the client"},
		{"gRPC before its time limit", append(rpc[:len(rpc):len(rpc)], "grpc-timeout", "2S"), 900e6, "cancelled cancelled cancelled by the client: /s/M → cancelled by the client"},
		{"gRPC at its time limit", append(rpc[:len(rpc):len(rpc)], "grpc-timeout", "900m"), 900e6, "no_answer reset cancelled by the client, which gave up: /s/M → cancelled by the client, which gave up"},
	} {
		c, s := begin()
		request := c.headers(1, true, tt.request...).flush()
		c.fr.WriteRSTStream(1, xhttp2.ErrCodeCancel)
		cancel := c.flush()
		cancel.Wait = tt.wait
		r := play(t, dissect.EndFin, s.flush(), request, cancel)
		if len(r.Emissions) != 1 {
			t.Fatalf("%s: %s", tt.name, dissecttest.Lines(r))
		}
		b := r.Emissions[0].Row.Base()
		if got := b.Outcome + " " + b.Error.V + " " + b.StatusText.V + ": " + b.Summary; got != tt.want || b.Failed != table.Failed(b.Outcome) || b.Complete {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.want)
		}
		if waited := b.WaitedUs; !waited.OK || waited.V < tt.wait/1000 {
			t.Errorf("%s: waited %d µs", tt.name, waited.V)
		}
	}
}
