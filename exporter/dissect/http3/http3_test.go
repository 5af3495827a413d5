package http3

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/quic-go/qpack"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
	"github.com/pcapsule/pcapsule/exporter/dissect/grpc"
)

const (
	up   = dissect.ToServer
	down = dissect.ToClient
)

// num writes an integer, RFC 9000 section 16.
func num(v int64) string {
	switch {
	case v < 1<<6:
		return string([]byte{byte(v)})
	case v < 1<<14:
		return string(binary.BigEndian.AppendUint16(nil, uint16(v)|1<<14))
	case v < 1<<30:
		return string(binary.BigEndian.AppendUint32(nil, uint32(v)|2<<30))
	}
	return string(binary.BigEndian.AppendUint64(nil, uint64(v)|3<<62))
}

func frameOf(typ int64, body string) string { return num(typ) + num(int64(len(body))) + body }

// section encodes fields with the static table.
func section(fields ...string) string {
	var b bytes.Buffer
	enc := qpack.NewEncoder(&b)
	for i := 0; i < len(fields); i += 2 {
		if err := enc.WriteField(qpack.HeaderField{Name: fields[i], Value: fields[i+1]}); err != nil {
			panic(err)
		}
	}
	return b.String()
}

func headers(fields ...string) string { return frameOf(frameHeaders, section(fields...)) }
func data(s string) string            { return frameOf(frameData, s) }

func request(path string, more ...string) string {
	return headers(append([]string{":method", "GET", ":scheme", "https", ":authority", "example.com:8443", ":path", path, "user-agent", "t/1"}, more...)...)
}

func response(body string, more ...string) string {
	return headers(append([]string{":status", "200", "content-type", "text/plain"}, more...)...) + data(body)
}

// say sends bytes of a stream; fin also ends it.
func say(id int64, d dissect.Dir, s string) dissecttest.Step {
	return dissecttest.Step{Stream: id, Dir: d, Data: []byte(s)}
}

func fin(id int64, d dissect.Dir, s string) dissecttest.Step {
	return dissecttest.Step{Stream: id, Dir: d, Data: []byte(s), Fin: true}
}

func gap(id int64, d dissect.Dir, n int64, s string) dissecttest.Step {
	return dissecttest.Step{Stream: id, Dir: d, Gap: n, Data: []byte(s)}
}

func reset(id int64, d dissect.Dir, code int64) dissecttest.Step {
	return dissecttest.Step{Stream: id, Dir: d, Reset: true, Code: code}
}

func stop(id int64, d dissect.Dir, code int64) dissecttest.Step {
	return dissecttest.Step{Stream: id, Dir: d, Stop: true, Code: code}
}

func settings(pairs ...int64) string {
	var b string
	for _, v := range pairs {
		b += num(v)
	}
	return frameOf(frameSettings, b)
}

// begin is what both sides send first: control streams that allow a dynamic table.
func begin() []dissecttest.Step {
	return []dissecttest.Step{
		say(2, up, num(streamControl)+settings(1, 4096, 7, 100, 0x21+0x1f*5, 9)),
		say(6, up, num(streamEncoder)), say(10, up, num(streamDecoder)),
		say(3, down, num(streamControl)+settings(1, 4096, 7, 100, 8, 1, 0x33, 1)),
		say(7, down, num(streamEncoder)), say(11, down, num(streamDecoder)),
	}
}

func with(steps ...dissecttest.Step) []dissecttest.Step { return append(begin(), steps...) }

func protocols() []*dissect.Protocol { return []*dissect.Protocol{Protocol(), grpc.Protocol()} }

func play(t testing.TB, end dissect.End, code int64, steps ...dissecttest.Step) *dissecttest.Result {
	t.Helper()
	r := dissecttest.PlayStreams(t, dissecttest.Options{Protocols: protocols(), End: end}, "h3", code, steps...)
	account(t, r)
	return r
}

func account(t testing.TB, r *dissecttest.Result) {
	t.Helper()
	if got := r.Conn.RowBytes + r.Conn.AnomalyBytes; got != r.Bytes {
		t.Errorf("%d bytes in rows + %d in anomalies, want %d", r.Conn.RowBytes, r.Conn.AnomalyBytes, r.Bytes)
	}
	if r.Held != 0 {
		t.Errorf("%d bytes held after the end", r.Held)
	}
	for _, e := range r.Emissions {
		if b := e.Row.Base(); len(b.Cites) == 0 || b.Summary == "" {
			t.Errorf("row %q cites %v", b.Summary, b.Cites)
		}
	}
}

// A dynamic table written by hand: insertions of literal names without Huffman coding.
func capacity() string { return "\x3f\xe1\x1f" } // 4096
func insertion(name, value string) string {
	return string([]byte{0x40 | byte(len(name))}) + name + string([]byte{byte(len(value))}) + value
}

// indexed is a section of the entries with these absolute numbers. need is its required insert
// count, below the point at which that number wraps.
func indexed(need int, entries ...int) string {
	b := []byte{byte(need + 1), 0}
	for _, e := range entries {
		b = append(b, 0x80|byte(need-1-e))
	}
	return string(b)
}

func TestRows(t *testing.T) {
	post := headers(":method", "POST", ":scheme", "https", ":authority", "example.com", ":path", "/up?a=1", "content-type", "text/plain")
	for _, row := range []struct {
		name  string
		steps []dissecttest.Step
		end   dissect.End
		code  int64
		want  string
		kinds string
	}{
		{"request and response", with(fin(0, up, request("/a")), fin(0, down, response("hello"))), dissect.EndFin, noError,
			"0 GET /a → 200 complete got=\"hello\"\n", ""},
		{"two requests that cross", with(fin(0, up, request("/a")), say(4, up, post), fin(4, down, response("b")), fin(0, down, response("a")), fin(4, up, data("x"))), dissect.EndFin, -1,
			"0 GET /a → 200 complete got=\"a\"\n4 POST /up → 200 complete sent=\"x\" got=\"b\"\n", ""},
		{"body in many frames, and ignored frames between them", with(fin(0, up, post+data("a")+frameOf(0x21, "grease")+data("")+data("b")+frameOf(0x1f*7+0x21, "")), fin(0, down, response("ok"))), dissect.EndFin, -1,
			"0 POST /up → 200 complete sent=\"ab\" got=\"ok\"\n", ""},
		{"frame of unknown type", with(fin(0, up, request("/a")+frameOf(0x5555, "what")), fin(0, down, response("ok"))), dissect.EndFin, -1,
			"0 GET /a → 200 complete got=\"ok\"\n", "unknown_frame"},
		{"frame of HTTP/2", with(fin(0, up, request("/a")+frameOf(0x8, "what")), fin(0, down, response("ok"))), dissect.EndFin, -1,
			"0 GET /a → 200 complete got=\"ok\"\n", "frame_unexpected"},
		{"interim responses and trailers", with(fin(0, up, request("/a")), fin(0, down, headers(":status", "103", "link", "</s>")+response("x")+headers("x-sum", "1"))), dissect.EndFin, -1,
			"0 GET /a → 200 complete got=\"x\"\n", ""},
		{"response before the request ended", with(say(0, up, post), fin(0, down, response("no")), stop(0, down, noError), reset(0, up, noError)), dissect.EndFin, -1,
			"0 POST /up → 200 complete got=\"no\"\n", ""},
		{"the same without the reset", with(say(0, up, post), fin(0, down, response("no"))), dissect.EndFin, -1,
			"0 POST /up → 200 got=\"no\"\n", ""},
		{"cancelled by the client", with(fin(0, up, request("/a")), say(0, down, response("par")), stop(0, up, 0x10c), reset(0, down, 0x10c)), dissect.EndFin, -1,
			"0 GET /a → 200, cancelled by the client error=cancelled got=\"par\"\n", ""},
		{"cancelled and the end of the connection", with(say(0, up, post), reset(0, up, 0x10c), stop(0, up, 0x10c)), dissect.EndFin, -1,
			"0 POST /up → cancelled by the client error=cancelled\n", ""},
		{"rejected", with(say(0, up, post), reset(0, down, 0x10b), stop(0, down, 0x10b), reset(0, up, 0x10b)), dissect.EndFin, -1,
			"0 POST /up → reset H3_REQUEST_REJECTED error=reset failed\n", ""},
		{"reset with a code of its own", with(fin(0, up, request("/a")), reset(0, down, 0xabcdef)), dissect.EndFin, -1,
			"0 GET /a → reset 0xabcdef error=reset failed\n", ""},
		{"no response", with(fin(0, up, request("/a"))), dissect.EndFin, noError, "0 GET /a → no response error=no_response failed\n", ""},
		{"no response at the capture's end", with(fin(0, up, request("/a"))), dissect.EndCapture, -1, "0 GET /a → cut error=cut\n", ""},
		{"closed with an error", with(fin(0, up, request("/a"))), dissect.EndFin, 0x105, "0 GET /a → reset H3_FRAME_UNEXPECTED error=reset failed\n", "connection_close"},
		{"above the server's GOAWAY", with(fin(0, up, request("/a")), fin(4, up, request("/b")), say(3, down, frameOf(frameGoAway, num(4))), fin(0, down, response("a"))), dissect.EndFin, noError,
			"0 GET /a → 200 complete got=\"a\"\n4 GET /b → reset error=reset failed\n", ""},
		{"stream ended without a response", with(fin(0, up, request("/a")), fin(0, down, "")), dissect.EndFin, -1, "0 GET /a → no response error=no_response failed\n", ""},
		{"response begun when the connection ended", with(fin(0, up, request("/a")), say(0, down, response("par"))), dissect.EndFin, -1,
			"0 GET /a → 200, cut error=cut failed got=\"par\"\n", ""},
		{"response without its request", with(fin(0, down, response("x"))), dissect.EndCapture, -1, "0 ? ? → 200, no request error=no_request got=\"x\"\n", ""},
		{"body without a head", with(fin(0, up, request("/a")), fin(0, down, data("x"))), dissect.EndFin, -1, "0 GET /a → malformed error=malformed got=\"x\"\n", ""},
		{"stream that ends inside a frame", with(fin(0, up, request("/a")), fin(0, down, response("hello")[:10])), dissect.EndFin, -1, "0 GET /a → 200, malformed error=malformed got=\"he\"\n", "malformed"},
		{"section that no table can decode", with(fin(0, up, request("/a")), fin(0, down, frameOf(frameHeaders, "\x00\x00\xff\xff\x00")+data("x"))), dissect.EndFin, -1,
			"0 GET /a → malformed error=malformed got=\"x\"\n", "qpack"},
		{"connection whose start was not captured", []dissecttest.Step{fin(400, up, request("/a")), fin(400, down, response("hello")), say(2, up, "")}, dissect.EndCapture, -1,
			"400 GET /a → 200 complete got=\"hello\"\n", ""},
		{"pushed by the client", with(say(14, up, num(streamPush)+num(0))), dissect.EndFin, -1, "", "malformed"},
		{"a second control stream", with(say(14, up, num(streamControl)+settings())), dissect.EndFin, -1, "", "malformed"},
		{"stream of unknown type, and of none", with(say(14, up, "\x30whatever"), fin(18, up, num(0x21+0x1f*9)+"grease")), dissect.EndFin, -1, "", "unknown_stream"},
		{"bidirectional stream of the server", with(say(1, down, response("x"))), dissect.EndFin, -1, "", "malformed"},
		{"control stream without settings", []dissecttest.Step{say(2, up, num(streamControl)+frameOf(frameMaxPushID, num(3))+frameOf(0x21, "")+frameOf(frameData, "x"))}, dissect.EndFin, -1, "", "settings frame_unexpected"},
		{"gRPC", with(fin(0, up, headers(":method", "POST", ":scheme", "https", ":path", "/pkg.Svc/Do", ":authority", "g", "content-type", "application/grpc")+data("\x00\x00\x00\x00\x02\x08\x01")),
			fin(0, down, headers(":status", "200", "content-type", "application/grpc")+data("\x00\x00\x00\x00\x00")+headers("grpc-status", "5", "grpc-message", "none"))), dissect.EndFin, -1,
			"0 /pkg.Svc/Do → NOT_FOUND complete failed sent=\"\\x00\\x00\\x00\\x00\\x02\\b\\x01\" got=\"\\x00\\x00\\x00\\x00\\x00\"\n", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := play(t, row.end, row.code, row.steps...)
			if got := dissecttest.Lines(r); got != row.want {
				t.Errorf("rows\n%swant\n%s", got, row.want)
			}
			if got := dissecttest.Kinds(r); got != row.kinds {
				t.Errorf("anomalies %q, want %q: %v", got, row.kinds, r.Anomalies)
			}
		})
	}
}

// TestTwoReaders has fields that two readers may read differently; http2 tests the rules, which both versions share.
func TestTwoReaders(t *testing.T) {
	for _, row := range []struct {
		name, request, answer string
		want                  string
	}{
		{"proper fields", request("/"), headers(":status", "204"), ""},
		{"a pseudo header after others", headers(":method", "GET", "x", "y", ":scheme", "https", ":path", "/", ":authority", "h"), headers(":status", "204"), "pseudo_header request on stream 0: \":scheme\" comes after other fields"},
		{"a name in upper case", request("/", "X-Up", "y"), headers(":status", "204"), "ambiguous request on stream 0: field \"X-Up\" has an upper-case letter"},
		{"another length in a response", request("/"), headers(":status", "200", "content-length", "5") + data("x"), "smuggling response on stream 0: Content-Length is 5, its body has 1"},
	} {
		r := play(t, dissect.EndFin, noError, with(fin(0, up, row.request), fin(0, down, row.answer))...)
		got := ""
		for _, a := range r.Anomalies {
			got += a.Kind + " " + a.Detail
		}
		if (got == "") != (row.want == "") || !strings.HasPrefix(got, row.want) {
			t.Errorf("%s:\n got %s\nwant %s", row.name, got, row.want)
		}
	}
}
