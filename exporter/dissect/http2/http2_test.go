package http2

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	xhttp2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
	"github.com/pcapsule/pcapsule/exporter/dissect/grpc"
)

// peer writes the frames of one side.
type peer struct {
	dir dissect.Dir
	buf bytes.Buffer
	fr  *xhttp2.Framer
	hb  bytes.Buffer
	enc *hpack.Encoder
}

func newPeer(dir dissect.Dir) *peer {
	p := &peer{dir: dir}
	p.fr = xhttp2.NewFramer(&p.buf, nil)
	p.fr.AllowIllegalWrites = true
	p.enc = hpack.NewEncoder(&p.hb)
	return p
}

// flush makes a chunk of the frames written since the last one.
func (p *peer) flush() dissecttest.Chunk {
	c := dissecttest.Chunk{Dir: p.dir, Data: bytes.Clone(p.buf.Bytes())}
	p.buf.Reset()
	return c
}

func (p *peer) blockOf(fields ...string) []byte {
	p.hb.Reset()
	for i := 0; i < len(fields); i += 2 {
		p.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return bytes.Clone(p.hb.Bytes())
}

func (p *peer) headers(id uint32, end bool, fields ...string) *peer {
	p.fr.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: id, BlockFragment: p.blockOf(fields...), EndStream: end, EndHeaders: true})
	return p
}

func (p *peer) data(id uint32, end bool, data string) *peer {
	p.fr.WriteData(id, end, []byte(data))
	return p
}

func (p *peer) settings(s ...xhttp2.Setting) *peer { p.fr.WriteSettings(s...); return p }

func (p *peer) get(id uint32, path string) *peer {
	return p.headers(id, true, ":method", "GET", ":scheme", "http", ":path", path, ":authority", "example.com:8080", "user-agent", "t/1")
}

func (p *peer) ok(id uint32, body string) *peer {
	return p.headers(id, false, ":status", "200", "content-type", "text/plain").data(id, true, body)
}

// begin makes both peers with their first frames.
func begin() (c, s *peer) {
	c, s = newPeer(dissect.ToServer), newPeer(dissect.ToClient)
	c.buf.WriteString(preface)
	c.settings(xhttp2.Setting{ID: xhttp2.SettingInitialWindowSize, Val: 1 << 20})
	s.settings(xhttp2.Setting{ID: xhttp2.SettingMaxConcurrentStreams, Val: 100})
	return c, s
}

func protocols() []*dissect.Protocol { return []*dissect.Protocol{Protocol(), grpc.Protocol()} }

func play(t testing.TB, end dissect.End, chunks ...dissecttest.Chunk) *dissecttest.Result {
	t.Helper()
	return dissecttest.Play(t, dissecttest.Options{Transport: dissect.TCP, Roles: true, Protocols: protocols(), End: end}, chunks...)
}

// playMidway plays a connection whose beginning was not captured.
func playMidway(t testing.TB, chunks ...dissecttest.Chunk) *dissecttest.Result {
	t.Helper()
	return dissecttest.Play(t, dissecttest.Options{Transport: dissect.TCP, Protocols: protocols(), End: dissect.EndCapture}, chunks...)
}

func TestStreams(t *testing.T) {
	for _, tc := range []struct {
		name      string
		end       dissect.End
		talk      func(c, s *peer) []dissecttest.Chunk
		want      string
		anomalies string
	}{
		{"a request and its answer", dissect.EndFin, func(c, s *peer) []dissecttest.Chunk {
			return []dissecttest.Chunk{c.get(1, "/a?b=c").flush(), s.ok(1, "hello").flush()}
		}, "1 GET /a → 200 complete got=\"hello\"\n", ""},
		{"streams that cross each other", dissect.EndFin, func(c, s *peer) []dissecttest.Chunk {
			c.get(1, "/1").get(3, "/3").get(5, "/5")
			s.headers(3, false, ":status", "200").headers(1, false, ":status", "404").data(3, false, "thr").data(1, true, "one").ok(5, "five").data(3, true, "ee")
			return []dissecttest.Chunk{c.flush(), s.flush()}
		}, "1 GET /1 → 404 complete failed got=\"one\"\n5 GET /5 → 200 complete got=\"five\"\n3 GET /3 → 200 complete got=\"three\"\n", ""},
		{"a body up and trailers both ways", dissect.EndFin, func(c, s *peer) []dissecttest.Chunk {
			c.headers(1, false, ":method", "POST", ":scheme", "http", ":path", "/up", ":authority", "h").data(1, false, "abc").headers(1, true, "x-sum", "1")
			s.headers(1, false, ":status", "200").data(1, false, "ok").headers(1, true, "x-time", "2")
			return []dissecttest.Chunk{c.flush(), s.flush()}
		}, "1 POST /up → 200 complete sent=\"abc\" got=\"ok\"\n", ""},
		{"interim answers", dissect.EndFin, func(c, s *peer) []dissecttest.Chunk {
			c.get(1, "/")
			s.headers(1, false, ":status", "103", "link", "</x>").headers(1, true, ":status", "204")
			return []dissecttest.Chunk{c.flush(), s.flush()}
		}, "1 GET / → 204 complete\n", ""},
		{"a client that cancels", dissect.EndFin, func(c, s *peer) []dissecttest.Chunk {
			a, b := c.get(1, "/slow").flush(), s.headers(1, false, ":status", "200").data(1, false, "par").flush()
			c.fr.WriteRSTStream(1, xhttp2.ErrCodeCancel)
			return []dissecttest.Chunk{a, b, c.flush(), s.data(1, true, "late").flush()}
		}, "1 GET /slow → 200, cancelled by the client error=cancelled got=\"par\"\n", "late_data"},
		{"a server that answers before the request ends", dissect.EndFin, func(c, s *peer) []dissecttest.Chunk {
			c.headers(1, false, ":method", "POST", ":scheme", "http", ":path", "/up", ":authority", "h").data(1, false, "abc")
			s.headers(1, true, ":status", "413")
			s.fr.WriteRSTStream(1, xhttp2.ErrCodeNo)
			return []dissecttest.Chunk{c.flush(), s.flush()}
		}, "1 POST /up → 413 complete failed sent=\"abc\"\n", ""},
		{"GOAWAY refuses streams above its number", dissect.EndFin, func(c, s *peer) []dissecttest.Chunk {
			c.get(1, "/1").get(3, "/3")
			s.fr.WriteGoAway(1, xhttp2.ErrCodeNo, nil)
			return []dissecttest.Chunk{c.flush(), s.ok(1, "x").flush(), c.get(5, "/5").flush()}
		}, "3 GET /3 → reset NO_ERROR error=reset failed\n1 GET /1 → 200 complete got=\"x\"\n5 GET /5 → reset NO_ERROR error=reset failed\n", ""},
		{"GOAWAY with an error ends pending streams", dissect.EndFin, func(c, s *peer) []dissecttest.Chunk {
			s.fr.WriteGoAway(1, xhttp2.ErrCodeEnhanceYourCalm, []byte("too_many_pings"))
			return []dissecttest.Chunk{c.get(1, "/1").flush(), s.flush()}
		}, "1 GET /1 → reset ENHANCE_YOUR_CALM error=reset failed\n", "goaway"},
		{"no answer", dissect.EndFin, func(c, s *peer) []dissecttest.Chunk {
			return []dissecttest.Chunk{c.get(1, "/1").flush(), s.flush()}
		}, "1 GET /1 → no response error=no_response failed\n", ""},
		{"half an answer at the capture's end", dissect.EndCapture, func(c, s *peer) []dissecttest.Chunk {
			return []dissecttest.Chunk{c.get(1, "/1").flush(), s.headers(1, false, ":status", "200").data(1, false, "x").flush()}
		}, "1 GET /1 → 200, cut error=cut got=\"x\"\n", ""},
		{"a tunnel", dissect.EndFin, func(c, s *peer) []dissecttest.Chunk {
			a := c.headers(1, false, ":method", "CONNECT", ":authority", "db:5432").flush()
			b := s.headers(1, false, ":status", "200").flush()
			return []dissecttest.Chunk{a, b, c.data(1, true, "ping").flush(), s.data(1, true, "pong").flush()}
		}, "0 tcp payload: \"ping\", 4 bytes sent, 4 received complete\n1 CONNECT db:5432 → 200 complete\n", ""},
		{"a WebSocket, RFC 8441", dissect.EndFin, func(c, s *peer) []dissecttest.Chunk {
			a := c.headers(1, false, ":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":path", "/chat", ":authority", "h").flush()
			b := s.headers(1, false, ":status", "200").flush()
			return []dissecttest.Chunk{a, b, c.data(1, true, "\x81\x02hi").flush(), s.data(1, true, "\x88\x00").flush()}
		}, "1 CONNECT /chat → 200 complete sent=\"\\x81\\x02hi\" got=\"\\x88\\x00\"\n", ""},
		{"a push", dissect.EndFin, func(c, s *peer) []dissecttest.Chunk {
			c.get(1, "/")
			s.fr.WritePushPromise(xhttp2.PushPromiseParam{StreamID: 1, PromiseID: 2, EndHeaders: true,
				BlockFragment: s.blockOf(":method", "GET", ":scheme", "http", ":path", "/style.css", ":authority", "h")})
			s.ok(1, "page").ok(2, "style")
			return []dissecttest.Chunk{c.flush(), s.flush()}
		}, "1 GET / → 200 complete got=\"page\"\n2 GET /style.css → 200 complete got=\"style\"\n", ""},
		{"padding, priority, pings and unknown frames", dissect.EndFin, func(c, s *peer) []dissecttest.Chunk {
			c.fr.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, EndStream: true, EndHeaders: true, PadLength: 7,
				Priority:      xhttp2.PriorityParam{StreamDep: 0, Weight: 15, Exclusive: true},
				BlockFragment: c.blockOf(":method", "GET", ":scheme", "http", ":path", "/p", ":authority", "h")})
			c.fr.WritePriority(1, xhttp2.PriorityParam{Weight: 3})
			c.fr.WritePing(false, [8]byte{1})
			c.fr.WriteWindowUpdate(0, 100)
			c.fr.WriteRawFrame(0xfa, 0, 1, []byte("whatever"))
			s.fr.WriteSettingsAck()
			s.headers(1, false, ":status", "200")
			s.fr.WriteDataPadded(1, false, []byte("abc"), make([]byte, 200))
			s.fr.WriteRawFrame(0x0a, 0, 0, []byte("\x00\x00h2=\":443\""))
			s.fr.WriteDataPadded(1, true, nil, make([]byte, 3))
			return []dissecttest.Chunk{c.flush(), s.flush()}
		}, "1 GET /p → 200 complete got=\"abc\"\n", "unknown_frame"},
		{"a header block in pieces", dissect.EndFin, func(c, s *peer) []dissecttest.Chunk {
			b := c.blockOf(":method", "GET", ":scheme", "http", ":path", "/c", ":authority", "h", "x-long", strings.Repeat("z", 300))
			c.fr.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, EndStream: true, BlockFragment: b[:10]})
			c.fr.WriteContinuation(1, false, b[10:200])
			c.fr.WriteContinuation(1, false, nil)
			c.fr.WriteContinuation(1, true, b[200:])
			return []dissecttest.Chunk{c.flush(), s.ok(1, "x").flush()}
		}, "1 GET /c → 200 complete got=\"x\"\n", ""},
		{"a header block over the limit affects only its stream", dissect.EndFin, func(c, s *peer) []dissecttest.Chunk {
			c.fr.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, EndStream: true, BlockFragment: []byte{0x82}})
			for range 20 {
				c.fr.WriteContinuation(1, false, bytes.Repeat([]byte{0x82}, 16000))
			}
			c.fr.WriteContinuation(1, true, []byte{0x82})
			return []dissecttest.Chunk{c.flush(), s.headers(1, true, ":status", "431").flush(), c.get(3, "/3").flush(), s.ok(3, "x").flush()}
		}, "1 ? ? → 431, gap error=gap failed\n3 GET /3 → 200 complete got=\"x\"\n", "limit"},
		{"a flood of empty CONTINUATION frames", dissect.EndFin, func(c, s *peer) []dissecttest.Chunk {
			c.fr.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: c.blockOf(":method", "GET", ":scheme", "http", ":path", "/a", ":authority", "h"), EndStream: true})
			for range maxPieces {
				c.fr.WriteContinuation(1, false, nil)
			}
			c.fr.WriteContinuation(1, true, nil)
			return []dissecttest.Chunk{c.flush(), s.ok(1, "x").flush()}
		}, "1 GET /a → 200 complete got=\"x\"\n", "header_block"},
		{"a flood of SETTINGS", dissect.EndFin, func(c, s *peer) []dissecttest.Chunk {
			for range 150 {
				c.settings()
			}
			return []dissecttest.Chunk{c.flush(), s.flush()}
		}, "", "flood"},
		{"a few SETTINGS", dissect.EndFin, func(c, s *peer) []dissecttest.Chunk {
			for range 90 {
				c.settings()
			}
			return []dissecttest.Chunk{c.flush(), s.flush()}
		}, "", ""},
		{"a flood of PING", dissect.EndFin, func(c, s *peer) []dissecttest.Chunk {
			for range 2000 {
				c.fr.WritePing(false, [8]byte{})
			}
			return []dissecttest.Chunk{c.flush(), s.flush()}
		}, "", "flood"},
		{"pseudo headers that come twice are kept", dissect.EndFin, func(c, s *peer) []dissecttest.Chunk {
			c.headers(1, true, ":method", "GET", ":scheme", "http", ":path", "/a", ":authority", "h", ":path", "/b")
			return []dissecttest.Chunk{c.flush(), s.ok(1, "x").flush()}
		}, "1 GET /a → 200 complete got=\"x\"\n", "pseudo_header"},
		{"a line end in a path", dissect.EndFin, func(c, s *peer) []dissecttest.Chunk {
			c.headers(1, true, ":method", "GET", ":scheme", "http", ":path", "/a\r\nX: y", ":authority", "h")
			return []dissecttest.Chunk{c.flush(), s.ok(1, "x").flush()}
		}, "1 GET /a\r\nX: y → 200 complete got=\"x\"\n", "smuggling"},
		{"a coding of HTTP/1.1", dissect.EndFin, func(c, s *peer) []dissecttest.Chunk {
			c.headers(1, true, ":method", "GET", ":scheme", "http", ":path", "/a", ":authority", "h", "transfer-encoding", "chunked")
			return []dissecttest.Chunk{c.flush(), s.ok(1, "x").flush()}
		}, "1 GET /a → 200 complete got=\"x\"\n", "smuggling"},
		{"a body with another length than it says", dissect.EndFin, func(c, s *peer) []dissecttest.Chunk {
			c.headers(1, false, ":method", "POST", ":scheme", "http", ":path", "/a", ":authority", "h", "content-length", "1").data(1, true, "xyz")
			return []dissecttest.Chunk{c.flush(), s.ok(1, "x").flush()}
		}, "1 POST /a → 200 complete sent=\"xyz\" got=\"x\"\n", "smuggling"},
		{"a body with the length that it says", dissect.EndFin, func(c, s *peer) []dissecttest.Chunk {
			c.headers(1, false, ":method", "POST", ":scheme", "http", ":path", "/a", ":authority", "h", "content-length", "3").data(1, true, "xyz")
			return []dissecttest.Chunk{c.flush(), s.ok(1, "x").flush()}
		}, "1 POST /a → 200 complete sent=\"xyz\" got=\"x\"\n", ""},
		{"a stream that is used again", dissect.EndFin, func(c, s *peer) []dissecttest.Chunk {
			a, b := c.get(1, "/1").flush(), s.ok(1, "x").flush()
			return []dissecttest.Chunk{a, b, c.get(1, "/again").flush(), s.ok(1, "y").flush()}
		}, "1 GET /1 → 200 complete got=\"x\"\n1 GET /again → 200 complete got=\"y\"\n", "stream_id"},
		{"a client on a stream of the server, and odd ones after it", dissect.EndFin, func(c, s *peer) []dissecttest.Chunk {
			a, b := c.get(4, "/even").flush(), s.ok(4, "x").flush()
			return []dissecttest.Chunk{a, b, c.get(1, "/1").flush(), s.ok(1, "y").flush()}
		}, "4 GET /even → 200 complete got=\"x\"\n1 GET /1 → 200 complete got=\"y\"\n", "stream_id"},
		{"a server on a stream that it did not promise", dissect.EndFin, func(c, s *peer) []dissecttest.Chunk {
			return []dissecttest.Chunk{c.get(1, "/1").flush(), s.ok(2, "x").ok(1, "y").flush()}
		}, "1 GET /1 → 200 complete got=\"y\"\n2 ? ? → 200, no request error=no_request failed got=\"x\"\n", "stream_id"},
		{"a block that cannot be decoded", dissect.EndFin, func(c, s *peer) []dissecttest.Chunk {
			c.fr.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, EndStream: true, EndHeaders: true, BlockFragment: []byte("\x82\x84\x80")})
			return []dissecttest.Chunk{c.flush(), s.ok(1, "x").flush()}
		}, "1 GET / → 200, malformed error=malformed got=\"x\"\n", "hpack"},
		{"an answer captured before its request", dissect.EndFin, func(c, s *peer) []dissecttest.Chunk {
			a := c.flush()
			return []dissecttest.Chunk{a, s.ok(1, "x").flush(), c.get(1, "/early").flush()}
		}, "1 GET /early → 200 complete got=\"x\"\n", ""},
		{"a frame that no peer sends", dissect.EndFin, func(c, s *peer) []dissecttest.Chunk {
			c.get(1, "/1")
			c.fr.WriteRawFrame(frameRSTStream, 0, 1, []byte("12345"))
			return []dissecttest.Chunk{c.flush(), s.ok(1, "x").flush()}
		}, "1 GET /1 → 200 complete got=\"x\"\n", "malformed"},
		{"a table larger than announced", dissect.EndFin, func(c, s *peer) []dissecttest.Chunk {
			c.enc.SetMaxDynamicTableSizeLimit(10_000)
			c.enc.SetMaxDynamicTableSize(10_000)
			first := s.flush()
			return []dissecttest.Chunk{first, c.get(1, "/1").flush(), s.ok(1, "x").flush()}
		}, "1 GET /1 → 200 complete got=\"x\"\n", "hpack_table_size"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, s := begin()
			r := play(t, tc.end, tc.talk(c, s)...)
			if got := dissecttest.Lines(r); got != tc.want {
				t.Errorf("got\n%swant\n%s", got, tc.want)
			}
			if got := dissecttest.Kinds(r); got != tc.anomalies {
				t.Errorf("anomalies %q, want %q: %v", got, tc.anomalies, r.Anomalies)
			}
		})
	}
}

func TestColumns(t *testing.T) {
	c, s := begin()
	c.headers(1, false, ":method", "POST", ":scheme", "https", ":path", "/o?x=1", ":authority", "shop.example:8443", "content-type", "application/json",
		"user-agent", "t/1", "x-request-id", "r1", "traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "authorization", "Bearer x").data(1, true, "{}")
	s.headers(1, false, ":status", "103", "link", "<a>").headers(1, false, ":status", "201", "content-type", "text/plain").data(1, false, "ok").headers(1, true, "x-t", "1")
	r := play(t, dissect.EndFin, c.flush(), s.flush())
	if len(r.Emissions) != 1 {
		t.Fatal(dissecttest.Lines(r))
	}
	row := r.Emissions[0].Row.(*Row)
	got := fmt.Sprint(row.Method.V, row.Host.V, row.Path.V, row.Query.V, row.StatusCode.V, row.Scheme.V, row.Authority.V, row.Interim.V,
		row.UserAgent.V, row.RequestID.V, row.TraceID.V, row.AuthKind.V, row.RequestContentType.V, row.ResponseContentType.V, row.RequestBodySize.V, row.ResponseBodySize.V)
	want := fmt.Sprint("POST", "shop.example", "/o", "x=1", int32(201), "https", "shop.example:8443", "103",
		"t/1", "r1", "4bf92f3577b34da6a3ce929d0e0e4736", "bearer", "application/json", "text/plain", int64(2), int64(2))
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	var names []string
	for _, h := range row.Headers {
		names = append(names, h.Kind+" "+h.Name)
	}
	if got, want := strings.Join(names, ", "), "request content-type, request user-agent, request x-request-id, request traceparent, request authorization, interim link, response content-type, response_trailer x-t"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if row.RequestHeadersSize.V < 100 || row.RequestBytes != row.RequestHeadersSize.V+frameHead+2 {
		t.Errorf("request of %d bytes, headers %d", row.RequestBytes, row.RequestHeadersSize.V)
	}
}

func TestUpgrade(t *testing.T) {
	c, s := begin()
	up := &dissect.Protocol{Name: "up", Transports: []dissect.Transport{dissect.TCP}, Row: &Row{},
		Detect: func(_ dissect.Dir, b []byte) dissect.Verdict {
			if bytes.HasPrefix(b, []byte("GET")) {
				return dissect.Yes
			}
			return dissect.No
		},
		New: func(c *dissect.Conn) dissect.Dissector { return &upgrader{c: c} },
	}
	chunks := []dissecttest.Chunk{dissecttest.Client("GET"), c.flush(), s.ok(1, "one").flush(), c.get(3, "/3").flush(), s.ok(3, "three").flush()}
	r := dissecttest.Play(t, dissecttest.Options{Roles: true, Protocols: []*dissect.Protocol{up, grpc.Protocol(), Protocol()}}, chunks...)
	if got, want := dissecttest.Lines(r), "1 GET /up → 200 complete got=\"one\"\n3 GET /3 → 200 complete got=\"three\"\n"; got != want {
		t.Fatalf("got\n%swant\n%s", got, want)
	}
	if row := r.Emissions[0].Row.(*Row); !row.Upgraded || row.Host.V != "h" || row.Scheme.V != "http" || row.UserAgent.V != "u" || row.RequestBytes != 3 {
		t.Errorf("%+v", row)
	}
}
