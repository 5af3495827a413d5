package grpc

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
)

func prefixed(flags byte, msg string) string {
	return string(binary.BigEndian.AppendUint32([]byte{flags}, uint32(len(msg)))) + msg
}

func packed(t testing.TB, encoding, msg string) string {
	var b bytes.Buffer
	var w io.WriteCloser
	var err error
	switch encoding {
	case "gzip":
		w = gzip.NewWriter(&b)
	case "deflate":
		w = zlib.NewWriter(&b)
	case "snappy":
		w = s2.NewWriter(&b, s2.WriterSnappyCompat())
	case "zstd":
		w, err = zstd.NewWriter(&b)
	}
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(w, msg)
	w.Close()
	return b.String()
}

func TestMessages(t *testing.T) {
	const hello = "\x0a\x05hello"
	for _, tc := range []struct {
		name, body, encoding, want string
	}{
		{"no body", "", "", ""},
		{"two messages, one empty", prefixed(0, hello) + prefixed(0, ""), "", `"\n\x05hello" ""`},
		{"gzip", prefixed(1, packed(t, "gzip", hello)), "gzip", `"\n\x05hello"`},
		{"deflate", prefixed(1, packed(t, "deflate", hello)), "deflate", `"\n\x05hello"`},
		{"snappy", prefixed(1, packed(t, "snappy", hello)), "snappy", `"\n\x05hello"`},
		{"zstd", prefixed(1, packed(t, "zstd", hello)), "zstd", `"\n\x05hello"`},
		{"one of two is compressed", prefixed(0, "a") + prefixed(1, packed(t, "gzip", "b")), "gzip", `"a" "b"`},
		{"trailers of gRPC-Web", prefixed(0, "a") + prefixed(0x80, "grpc-status: 0\r\n"), "", `"a" trailer "grpc-status: 0\r\n"`},
		{"compressed without an encoding", prefixed(1, "a"), "", `"a" error`},
		{"an unknown encoding", prefixed(1, "a"), "lzma", `"" error`},
		{"bad compressed bytes", prefixed(1, "aaaaaaaaaaaaaaa"), "gzip", `"" error`},
		{"a truncated message", prefixed(0, "abc")[:6], "", `"a" error cut`},
		{"a truncated prefix", "\x00\x00\x00", "", `"" error cut`},
		{"an excessive length", "\x00\xff\xff\xff\xffab", "", `"ab" error cut`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got []string
			for m := range Messages([]byte(tc.body), tc.encoding) {
				if m.Trailer {
					got = append(got, "trailer")
				}
				got = append(got, fmt.Sprintf("%q", m.Data))
				if m.Err != nil {
					got = append(got, "error")
				}
				if m.Cut {
					got = append(got, "cut")
				}
			}
			if s := strings.Join(got, " "); s != tc.want {
				t.Errorf("got  %s\nwant %s", s, tc.want)
			}
		})
	}
}

func TestDecompressionIsBounded(t *testing.T) {
	bomb := packed(t, "gzip", strings.Repeat("\x00", 2*maxMessage))
	for m := range Messages([]byte(prefixed(1, bomb)), "gzip") {
		if len(m.Data) != maxMessage || m.Err == nil {
			t.Errorf("%d bytes, %v", len(m.Data), m.Err)
		}
	}
}

func TestIs(t *testing.T) {
	for typ, want := range map[string]bool{
		"application/grpc": true, "application/grpc+proto": true, "Application/gRPC; charset=x": true, "application/grpc-web": true,
		"application/grpc-web+proto": true, "application/grpc-web-text": true, "application/grpc-web-text+proto": true,
		"application/grpcish": false, "application/grpc-other": false, "application/json": false, "": false,
	} {
		if Is(typ) != want {
			t.Errorf("%q: got %v", typ, !want)
		}
	}
	if Prefixed("application/grpc-web-text") || !Prefixed("application/grpc-web") {
		t.Error("Prefixed")
	}
}

func TestTimeout(t *testing.T) {
	for in, want := range map[string]table.Opt[int64]{
		"1H": table.Some(int64(3_600_000_000)), "2M": table.Some(int64(120_000_000)), "3S": table.Some(int64(3_000_000)), "100m": table.Some(int64(100_000)),
		"7u": table.Some(int64(7)), "1500n": table.Some(int64(1)), "": {}, "m": {}, "1x": {}, "-1S": {}, "9223372036854775807H": {},
	} {
		if got := timeout(in); got != want {
			t.Errorf("%q: got %v, want %v", in, got, want)
		}
	}
}

// TestFill makes rows like http2 does.
func TestFill(t *testing.T) {
	header := func(kind, name, value string) table.Header { return table.Header{Name: name, Value: value, Kind: kind} }
	status := header("response_trailer", "grpc-status", "0")
	for _, tc := range []struct {
		name      string
		req, resp string // content types
		body      string
		headers   []table.Header
		error     string
		unsure    bool
		want      string // summary | status text | outcome | messages | text | headers
	}{
		{"gRPC", "application/grpc", "application/grpc", prefixed(0, "\x08\x01"), []table.Header{status}, "", false, "/a.B/C → OK | OK |  | 1 | {1: 1} | 1"},
		{"JSON in gRPC", "application/grpc+json", "application/grpc+json", prefixed(0, `{"a":1}`), []table.Header{status}, "", false, `/a.B/C → OK | OK |  | 1 | {"a":1} | 1`},
		{"gRPC-Web", "application/grpc-web+proto", "application/grpc-web+proto", prefixed(0, "\x08\x01") + prefixed(0x80, "grpc-status:13\r\ngrpc-message:x%20y\r\n"), nil, "", false,
			"/a.B/C → INTERNAL | INTERNAL | server_error | 1 | {1: 1} | 2"},
		{"gRPC-Web in base64, in two runs", "application/grpc-web-text", "application/grpc-web-text", base64.StdEncoding.EncodeToString([]byte(prefixed(0, "\x08\x01"))) +
			base64.StdEncoding.EncodeToString([]byte(prefixed(0x80, "grpc-status: 0"))), nil, "", false, "/a.B/C → OK | OK |  | 1 | {1: 1} | 1"},
		{"an unknown status", "application/grpc", "application/grpc", "", []table.Header{header("response", "Grpc-Status", "99")}, "", false, "/a.B/C → 99 | 99 | server_error | 0 |  | 1"},
		{"no status", "application/grpc", "application/grpc", "", nil, "", false, "/a.B/C → no status |  | server_error | 0 |  | 0"},
		{"no status, but headers are missing", "application/grpc", "application/grpc", "", nil, "", true, "/a.B/C → no status |  | unread | 0 |  | 0"},
		{"a gap", "application/grpc", "application/grpc", "", nil, "gap", true, "/a.B/C → gap |  | unread | 0 |  | 0"},
		{"a reset", "application/grpc", "", "", nil, "reset", false, "/a.B/C → reset CANCEL |  |  | 0 |  | 0"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			conn := testConn(t)
			r := &Row{}
			r.Path, r.StatusCode = table.Some("/a.B/C"), table.Some(int32(200))
			r.StatusText = table.Some("OK") // the reason of HTTP/1.1
			r.RequestContentType, r.Headers = table.Some(tc.req), tc.headers
			if tc.resp != "" {
				r.ResponseContentType = table.Some(tc.resp)
			}
			if tc.error != "" {
				r.Error, r.ResetName = table.Some(tc.error), table.Some("CANCEL")
			}
			s := Stream{X: &dissect.Exchange{RespBody: conn.NewBody(tc.resp, "")}, Unsure: tc.unsure}
			io.WriteString(s.X.RespBody, tc.body)
			io.WriteString(&s.Resp, tc.body)
			r.Fill(&s)
			got := fmt.Sprintf("%s | %s | %s | %d | %s | %d", r.Summary, r.StatusText.V, r.Outcome, r.ResponseCount.V, r.ResponseText.V, len(r.Headers))
			if got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
			if r.Service.V != "a.B" || r.RPC.V != "C" {
				t.Errorf("%s %s", r.Service.V, r.RPC.V)
			}
		})
	}
}

// TestAWatchEndsWhenItsClientCancels: the client has its answers, unless none came or the server reset the call.
func TestAWatchEndsWhenItsClientCancels(t *testing.T) {
	for _, tc := range []struct{ path, by, body, want string }{
		{"/etcdserverpb.Watch/Watch", "client", prefixed(0, "\x08\x01"), table.OK},
		{"/etcdserverpb.Watch/Watch", "client", prefixed(0, "\x20\x01"), table.OK},                  // the client cancelled this watch
		{"/etcdserverpb.Watch/Watch", "client", prefixed(0, "\x20\x01\x28\x20"), table.ClientError}, // its revision is compacted
		{"/grpc.health.v1.Health/Watch", "client", prefixed(0, "\x08\x01"), table.OK},
		{"/grpc.health.v1.Health/Watch", "client", "", ""},
		{"/grpc.health.v1.Health/Watch", "server", prefixed(0, "\x08\x01"), ""},
		{"/grpc.health.v1.Health/Check", "client", prefixed(0, "\x08\x01"), ""},
	} {
		r := &Row{}
		r.Path, r.StatusCode, r.RequestContentType = table.Some(tc.path), table.Some(int32(200)), table.Some("application/grpc")
		r.ResponseContentType, r.Error, r.ResetName, r.ResetBy = r.RequestContentType, table.Some("reset"), table.Some("CANCEL"), table.Some(tc.by)
		s := Stream{X: &dissect.Exchange{Left: tc.by == "client", RespBody: testConn(t).NewBody("application/grpc", "")}}
		io.WriteString(s.X.RespBody, tc.body)
		io.WriteString(&s.Resp, tc.body)
		if r.Fill(&s); r.Outcome != tc.want {
			t.Errorf("%s that the %s resets after %d bytes: outcome %q, want %q", tc.path, tc.by, len(tc.body), r.Outcome, tc.want)
		}
	}
}

func testConn(t testing.TB) *dissect.Conn {
	e, err := dissect.NewEngine(nil, nil, nil, true)
	if err != nil {
		t.Fatal(err)
	}
	return e.NewConn(dissect.Info{})
}

func TestStatusDetails(t *testing.T) {
	r := &Row{}
	r.header(&table.Header{Name: "grpc-status-details-bin", Value: base64.RawStdEncoding.EncodeToString([]byte("\x08\x05\x12\x02no")), Kind: "response_trailer"})
	if r.StatusDetails.V != `{1: 5, 2: "no"}` {
		t.Errorf("%q", r.StatusDetails.V)
	}
	r = &Row{}
	if r.header(&table.Header{Name: "grpc-status-details-bin", Value: "!!", Kind: "response_trailer"}); r.StatusDetails.OK {
		t.Errorf("%q", r.StatusDetails.V)
	}
}

func TestCounterLosesItsPlaceOnlyBetweenMessages(t *testing.T) {
	var c Counter
	io.WriteString(&c, prefixed(0, "abcdef")[:7])
	c.Missing(4)
	io.WriteString(&c, prefixed(0, "x"))
	if c.count != 2 || c.lost || !c.Whole() {
		t.Errorf("%+v", c)
	}
	if c.Missing(1); !c.lost {
		t.Error("a gap between messages is not noticed")
	}
}

// FuzzMessages walks random bytes; the counter, which gets them in pieces, must agree with the
// walk.
func FuzzMessages(f *testing.F) {
	f.Add([]byte(prefixed(0, "\x0a\x05hello")+prefixed(1, packed(f, "gzip", "x"))), "gzip", byte(3))
	f.Add([]byte(prefixed(0x80, "grpc-status:0")), "identity", byte(1))
	f.Add([]byte("\x01\xff\xff\xff\xff"), "zstd", byte(2))
	f.Fuzz(func(t *testing.T, body []byte, encoding string, step byte) {
		whole, count := true, int32(0)
		for m := range Messages(body, encoding) {
			if whole = !m.Cut; !m.Trailer && (whole || len(m.Wire) > 0 || len(body) >= prefixSize) {
				count++
			}
			m.appendText(nil, "application/grpc", 100)
		}
		var c Counter
		for p := body; len(p) > 0; {
			n := min(len(p), int(step)+1)
			c.Write(p[:n])
			p = p[n:]
		}
		if c.Whole() != whole {
			t.Errorf("the counter returned whole %v, the walk %v", c.Whole(), whole)
		}
		if whole && c.count != count {
			t.Errorf("the counter returned %d, the walk %d", c.count, count)
		}
		if Shaped(body) && !whole {
			t.Error("shaped, but not whole")
		}
		Payload("application/grpc-web-text", body)
	})
}
