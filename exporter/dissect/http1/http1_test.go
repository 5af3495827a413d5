package http1

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

type chunks = []dissecttest.Chunk

func client(s string) dissecttest.Chunk { return dissecttest.Client(s) }
func server(s string) dissecttest.Chunk { return dissecttest.Server(s) }

func play(t testing.TB, end dissect.End, c ...dissecttest.Chunk) *dissecttest.Result {
	return dissecttest.Play(t, dissecttest.Options{Protocols: []*dissect.Protocol{Protocol()}, ServerPort: 80, End: end, Roles: true}, c...)
}

func TestConformance(t *testing.T) {
	const page = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
	dissecttest.Run(t, Protocol(),
		dissecttest.Sample{Name: "keep-alive", Rows: 2, Chunks: chunks{
			client("GET /api/x?y=1 HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: t\r\n\r\n"), server(page),
			client("POST /api/x HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 3\r\n\r\nabc"),
			server("HTTP/1.1 204 No Content\r\n\r\n")}},
		dissecttest.Sample{Name: "chunked both ways", Rows: 1, Chunks: chunks{
			client("PUT /f HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\nabcd\r\n0\r\nX-Sum: 1\r\n\r\n"),
			server("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\nX-T: v\r\n\r\n")}},
		dissecttest.Sample{Name: "pipelining", Rows: 3, Chunks: chunks{
			client("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nHEAD /2 HTTP/1.1\r\nHost: a\r\n\r\nGET /3 HTTP/1.1\r\nHost: a\r\n\r\n"),
			server(page + "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + page)}},
		dissecttest.Sample{Name: "until the connection closes", Rows: 1, Chunks: chunks{
			client("GET / HTTP/1.0\r\n\r\n"), server("HTTP/1.0 200 OK\r\n\r\nsome text"), server(" and more")}},
		dissecttest.Sample{Name: "continue", Rows: 1, Chunks: chunks{
			client("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"),
			server("HTTP/1.1 100 Continue\r\n\r\n"), client("ab"), server(page)}},
		dissecttest.Sample{Name: "version 0.9", Rows: 1, Chunks: chunks{
			client("GET /old\r\n"), server("<html>"), server("</html>")}},
		dissecttest.Sample{Name: "odd but readable", Rows: 2, Chunks: chunks{
			client("\r\nFOO-BAR http://user@proxy.example:8080/p?q HTTP/1.1\r\nHost: Proxy.example:8080\r\n\r\n"), server(page),
			client("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"), server("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n")}},
	)
}

// sketch is the part of a row that the table tests compare.
func sketch(r *dissecttest.Result) string {
	var out []string
	for _, row := range r.Rows() {
		h, ok := row.(*Row)
		if !ok {
			out = append(out, "unknown "+row.Base().Transport)
			continue
		}
		s := h.Summary
		if h.Error.OK {
			s += " [" + h.Error.V + "]"
		}
		if h.Complete {
			s += " whole"
		}
		if h.Failed {
			s += " failed"
		}
		if h.Interim.OK {
			s += " interim=" + h.Interim.V
		}
		if h.Quirks != nil {
			s += " " + strings.Join(h.Quirks, "+")
		}
		out = append(out, s)
	}
	kinds := map[string]bool{}
	for _, a := range r.Anomalies {
		if !kinds[a.Kind] {
			kinds[a.Kind] = true
			out = append(out, "!"+a.Kind)
		}
	}
	return strings.Join(out, "; ")
}

func TestMessages(t *testing.T) {
	const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	const getB, answer = "GET /b HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 204 N\r\n\r\n"
	for _, row := range []struct {
		name   string
		end    dissect.End
		chunks chunks
		want   string
	}{
		{"no answer before the end of the connection", dissect.EndFin, chunks{client(get)}, "GET / → no response [no_response] failed"},
		{"no answer before a reset", dissect.EndReset, chunks{client(get)}, "GET / → reset [reset] failed"},
		{"the capture ends within an answer", dissect.EndCapture, chunks{client(get), server("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab")},
			"GET / → 200 (2 B), cut [cut]"},
		{"the server closes within an answer", dissect.EndFin, chunks{client(get), server("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab")},
			"GET / → 200 (2 B), cut [cut] failed"},
		{"a body that lasts until the close is cut by a reset", dissect.EndReset, chunks{client(get), server("HTTP/1.1 200 OK\r\n\r\nab")},
			"GET / → 200 (2 B), reset [reset] failed"},
		{"an error status is a failure", dissect.EndFin, chunks{client(get), server("HTTP/1.1 503 Oh\r\nContent-Length: 0\r\n\r\n")},
			"GET / → 503 whole failed"},
		{"several interim responses", dissect.EndFin, chunks{client(get), server("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No\r\n\r\n")},
			"GET / → 204 whole interim=100,103"},
		{"a response without request", dissect.EndFin, chunks{server("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab")},
			"? ? → 200 (2 B) [no_request]"},
		{"304 has no body, whatever its headers say", dissect.EndFin, chunks{client(get), server("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"), client(get), server("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n")},
			"GET / → 304 whole; GET / → 204 whole"},
		{"both length and chunked is smuggling and chunked wins", dissect.EndFin, chunks{client("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + get), server("HTTP/1.1 204 N\r\n\r\nHTTP/1.1 204 N\r\n\r\n")},
			"POST / → 204 whole content_length_ignored; GET / → 204 whole; !smuggling"},
		{"lengths that differ are smuggling", dissect.EndFin, chunks{client("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcd"), server("HTTP/1.1 204 N\r\n\r\n")},
			"POST / → 204 whole; !smuggling"},
		{"lengths that agree are smuggling, because a reader may refuse them", dissect.EndFin, chunks{client("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4, 4\r\n\r\nabcd"), server("HTTP/1.1 204 N\r\n\r\n")},
			"POST / → 204 whole content_length_twice; !smuggling"},
		{"a chunk line that ends in LF alone is smuggling", dissect.EndFin, chunks{client("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;\nxx\r\n0\r\n\r\n"), server("HTTP/1.1 204 N\r\n\r\n")},
			"POST / → 204 whole bare_lf+chunk_bare_lf+chunk_extension; !smuggling"},
		{"a framing header in a continuation line is smuggling", dissect.EndFin, chunks{client("POST / HTTP/1.1\r\nHost: a\r\nX: y\r\n Content-Length: 5\r\nContent-Length: 3\r\n\r\nabc"), server("HTTP/1.1 204 N\r\n\r\n")},
			"POST / → 204 whole obs_fold; !smuggling"},
		{"a framing header in two lines is smuggling", dissect.EndFin, chunks{client("POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n 3\r\n\r\nabc"), server("HTTP/1.1 204 N\r\n\r\n")},
			"POST / → 204 whole obs_fold; !smuggling"},
		{"a framing header after CR alone is smuggling", dissect.EndFin, chunks{client("POST / HTTP/1.1\r\nHost: a\r\nX: y\rTransfer-Encoding: chunked\r\n\r\n"), server("HTTP/1.1 204 N\r\n\r\n")},
			"POST / → 204 whole bare_cr; !smuggling"},
		{"a framing header with a control in its name is smuggling", dissect.EndFin, chunks{client("POST / HTTP/1.1\r\nHost: a\r\n\vTransfer-Encoding: chunked\r\n\r\n"), server("HTTP/1.1 204 N\r\n\r\n")},
			"POST / → 204 whole header_name; !smuggling"},
		{"other folded headers are ambiguous", dissect.EndFin, chunks{client("GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z: w\r\n\r\n"), server("HTTP/1.1 204 N\r\n\r\n")},
			"GET / → 204 whole obs_fold; !ambiguous"},
		{"a length that is not a number is smuggling", dissect.EndFin, chunks{client("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +4\r\n\r\n"), server("HTTP/1.1 400 N\r\nContent-Length: 0\r\n\r\n")},
			"POST / → 400 whole failed; !smuggling"},
		{"an early answer while the body still comes", dissect.EndFin, chunks{client("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab"), server("HTTP/1.1 413 Big\r\nContent-Length: 0\r\n\r\n"), client("cd")},
			"POST / → 413 whole failed"},
		{"a refused expectation omits the body", dissect.EndFin, chunks{client("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"), server("HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n"), client(get), server("HTTP/1.1 204 N\r\n\r\n")},
			"POST / → 417 whole failed; GET / → 204 whole"},
		{"a body that comes in spite of a refused expectation", dissect.EndFin, chunks{client("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"), server("HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n"), client("abcd" + get), server("HTTP/1.1 204 N\r\n\r\n")},
			"POST / → 413 whole failed; GET / → 204 whole"},
		{"a gap within a body of known length", dissect.EndFin, chunks{client(get), server("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab"), {Dir: dissect.ToClient, Gap: 4, Data: []byte("ghi")}, client(get), server("HTTP/1.1 204 N\r\n\r\n")},
			"GET / → 200 (5 B), gap [gap]; GET / → 204 whole"},
		{"a gap that contains one answer", dissect.EndFin, chunks{client(get), {Dir: dissect.ToClient, Gap: 40}, client("GET /b HTTP/1.1\r\nHost: a\r\n\r\n"), server("HTTP/1.1 204 N\r\n\r\n")},
			"GET / → gap [gap]; GET /b → 204 whole"},
		{"one answer to a batch is missing", dissect.EndFin, chunks{client(get), client(get), client(get), server(answer), {Dir: dissect.ToClient, Gap: 40}, server(answer), client(getB), client(getB), server(answer + answer)},
			"GET / → 204 whole; GET / → gap [gap]; GET / → gap [gap]; ? ? → 204 [no_request]; GET /b → 204 whole; GET /b → 204 whole"},
		{"one request of a batch is missing", dissect.EndFin, chunks{client(get), {Dir: dissect.ToServer, Gap: 40, Data: []byte(get)}, server(answer), server(answer + answer), client(getB), server(answer)},
			"GET / → 204 whole; GET / → gap [gap]; ? ? → 204 [no_request]; ? ? → 204 [no_request]; GET /b → 204 whole"},
		{"an answer is missing while others are pending", dissect.EndFin, chunks{client(get), client(get), server(answer), client(getB), {Dir: dissect.ToClient, Gap: 40}, client(getB), server(answer), server(answer), client(get), server(answer)},
			"GET / → 204 whole; GET / → gap [gap]; GET /b → gap [gap]; GET /b → gap [gap]; ? ? → 204 [no_request]; ? ? → 204 [no_request]; GET / → gap [gap]; ? ? → 204 [no_request]"},
		{"an invalid status line", dissect.EndFin, chunks{client(get), server("HTTP/1.1 abc\r\nContent-Length: 0\r\n\r\n")},
			"GET / → malformed [malformed] status_line"},
		{"an answer in another protocol", dissect.EndFin, chunks{client(get), server("SSH-2.0-x\r\n")},
			"GET / → malformed (11 B) [malformed] no_status_line"},
		{"a tunnel that opens", dissect.EndFin, chunks{client("CONNECT x.example:443 HTTP/1.1\r\nHost: x.example:443\r\n\r\n"), server("HTTP/1.1 200 Up\r\n\r\n"), client("\x01\x02\x03\x04\x05"), server("\x05\x06\x07\x08")},
			"CONNECT x.example:443 → 200 whole; unknown tcp"},
		{"a tunnel refused", dissect.EndFin, chunks{client("CONNECT x.example:443 HTTP/1.1\r\nHost: x.example:443\r\n\r\n"), server("HTTP/1.1 407 No\r\nContent-Length: 2\r\n\r\nno"), client(get), server("HTTP/1.1 204 N\r\n\r\n")},
			"CONNECT x.example:443 → 407 (2 B) whole failed; GET / → 204 whole"},
		{"a change of protocol", dissect.EndFin, chunks{client("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"), server("HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x81\x02hi"), client("\x81\x82\x00\x00\x00\x00hi")},
			"GET /ws → 101 whole; unknown tcp"},
		{"a change refused", dissect.EndFin, chunks{client("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"), server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), client(get), server("HTTP/1.1 204 N\r\n\r\n")},
			"GET /ws → 200 whole; GET / → 204 whole"},
		{"an invalid chunk size", dissect.EndFin, chunks{client(get), server("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nabc")},
			"GET / → 200 (0 B), malformed [malformed]; !malformed"},
		{"a stream of SHOUTcast", dissect.EndFin, chunks{client("GET /live HTTP/1.0\r\nIcy-MetaData: 1\r\n\r\n"), server("ICY 200 OK\r\nicy-name: x\r\nContent-Type: audio/mpeg\r\n\r\n"), server("\xff\xfb\x90\x00")},
			"GET /live → 200 (4 B) whole icy_status_line"},
		{"a stream of SHOUTcast whose request was not captured", dissect.EndFin, chunks{server("IC"), server("Y 200 OK\r\n\r\nab")}, "? ? → 200 (2 B) [no_request] icy_status_line"},
		{"a request line with a byte outside ASCII in place of a space", dissect.EndFin, chunks{client("GET\xa0/ HTTP/1.1\r\nHost: a\r\n\r\n"), server("HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n"), client("GET\xa0/b HTTP/1.1\r\nHost: a\r\n\r\n"), server("HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n")},
			"? GET\u00a0/ HTTP/1.1 → 400 whole failed request_line; ? GET\u00a0/b HTTP/1.1 → 400 whole failed request_line; !malformed"},
		{"an invalid request line and its answer", dissect.EndFin, chunks{client("GET/ HTTP/1.1\r\nHost: a\r\n\r\n"), server("HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n")},
			"? GET/ HTTP/1.1 → 400 whole failed request_line; !malformed"},
		{"a head over the limit", dissect.EndFin, chunks{client("GET / HTTP/1.1\r\nX: "), client(strings.Repeat("a", maxHead)), client("b")}, "!malformed; !skipped"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := play(t, row.end, row.chunks...)
			if got := sketch(r); got != row.want {
				t.Errorf("\n got %s\nwant %s", got, row.want)
			}
			if got := r.Conn.RowBytes + r.Conn.AnomalyBytes; got != r.Bytes || r.Held != 0 {
				t.Errorf("%d bytes accounted for of %d, %d held", got, r.Bytes, r.Held)
			}
		})
	}
}

func TestColumns(t *testing.T) {
	r := play(t, dissect.EndFin,
		client("GET http://u@shop.example:81/a%20b?x=1&y HTTP/1.1\r\nHost: other.example\r\nUser-Agent: t/1\r\nX-Note: gr\xfc\xdfe\r\n\r\n"),
		server("HTTP/1.1 200 Fine\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"))
	row := r.Rows()[0].(*Row)
	var hs []string
	for _, h := range row.Headers {
		hs = append(hs, h.Kind+" "+h.Name+"="+h.Value)
	}
	got := fmt.Sprint(row.Method.V, " ", row.Host.V, " ", row.Path.V, " ", row.Query.V, " ", row.StatusCode.V, " ", row.StatusText.V, " ",
		row.UserAgent.V, " ", row.ResponseContentType.V, " ", row.RequestHeadersSize.V, " ", row.ResponseHeadersSize.V, " ", row.ResponseBodySize.V,
		" ", row.RequestBytes, " ", row.ResponseBytes, " ", row.KeepAlive.V, " ", strings.Join(hs, ", "))
	want := "GET shop.example /a%20b x=1&y 200 Fine t/1 text/plain 106 66 2 106 68 true " +
		"request Host=other.example, request User-Agent=t/1, request X-Note=grüße, response Content-Type=text/plain, response Content-Length=2"
	if got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

func TestDetect(t *testing.T) {
	dissecttest.Detect(t, detect, dissecttest.Heads{
		{"request line", dissect.ToServer, "GET / HTTP/1.1\r\n", dissect.Yes},
		{"unknown method", dissect.ToServer, "FROB /x HTTP/1.0\r\n", dissect.Likely},
		{"half a request line", dissect.ToServer, "GET /ind", dissect.More},
		{"version 0.9", dissect.ToServer, "GET /index\r\n", dissect.Likely},
		{"HTTP/2 preface is not ours", dissect.ToServer, "PRI * HTTP/2.0\r\n\r\n", dissect.No},
		{"RTSP is not", dissect.ToServer, "DESCRIBE rtsp://x/ RTSP/1.0\r\n", dissect.No},
		{"SIP is not", dissect.ToServer, "OPTIONS sip:a@b SIP/2.0\r\n", dissect.No},
		{"ICAP is not", dissect.ToServer, "OPTIONS icap://x/ ICAP/1.0\r\n", dissect.No},
		{"a mail greeting is not", dissect.ToServer, "EHLO client.example\r\n", dissect.No},
		{"memcached is not", dissect.ToServer, "get key\r\n", dissect.No},
		{"binary is not", dissect.ToServer, "\x16\x03\x01", dissect.No},
		{"status line", dissect.ToClient, "HTTP/1.1 200 OK\r\n", dissect.Yes},
		{"half a status line", dissect.ToClient, "HTTP/1.", dissect.More},
		{"RTSP status is not", dissect.ToClient, "RTSP/1.0 200 OK\r\n", dissect.No},
		{"a bad code is not", dissect.ToClient, "HTTP/1.1 2x0", dissect.No},
	})
}

func TestCallWithoutAllItsHeadersIsNotComplete(t *testing.T) {
	for _, n := range []int{maxFields - 2, maxFields + 1} {
		r := play(t, dissect.EndFin, client("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), server("HTTP/1.1 204 No\r\n"+strings.Repeat("a: b\r\n", n)+"\r\n"))
		if row := r.Rows()[0].(*Row); row.Complete != (n < maxFields) || row.Failed || row.StatusCode.V != 204 {
			t.Errorf("%d header lines: complete %v, %s", n, row.Complete, row.Summary)
		}
	}
}

// TestAnyNumberOfRequestsMayWait pairs more of them than any constant limits.
func TestAnyNumberOfRequestsMayWait(t *testing.T) {
	const maxPending = 20_000
	var c chunks
	for i := range maxPending + 5 {
		c = append(c, client(fmt.Sprintf("GET /%d HTTP/1.1\r\nHost: a\r\n\r\n", i)))
	}
	c = append(c, client("GET /many HTTP/1.1\r\nHost: a\r\n"+strings.Repeat("a:\n", 2*maxFields)+"\n"))
	c = append(c, server("HTTP/1.1 204 No\r\n\r\n"))
	r := play(t, dissect.EndCapture, c...)
	if n := len(r.Emissions); n != maxPending+6 {
		t.Fatalf("%d rows, want %d", n, maxPending+6)
	}
	if row := r.Rows()[0].(*Row); row.Path.V != "/0" || row.StatusCode.V != 204 || row.Error.OK {
		t.Errorf("row 0 is %s, error %s", row.Summary, row.Error.V)
	}
	if row := r.Rows()[maxPending+5].(*Row); len(row.Headers) != maxFields || !slices.Contains(row.Quirks, "too_many_headers") {
		t.Errorf("%d headers kept, want %d; quirks %v", len(row.Headers), maxFields, row.Quirks)
	}
}

// TestTargetOfConnectUDP reads the destination of datagrams that a proxy is asked to pass on by an upgrade.
func TestTargetOfConnectUDP(t *testing.T) {
	r := play(t, dissect.EndFin, client("GET /.well-known/masque/udp/target.example/53/ HTTP/1.1\r\nHost: proxy\r\nConnection: Upgrade\r\nUpgrade: connect-udp\r\nCapsule-Protocol: ?1\r\n\r\n"),
		server("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: connect-udp\r\n\r\n"))
	if x := r.Emissions[0].Row.(*Row); x.ProxiedTo.V != "target.example:53" || x.Host.V != "proxy" {
		t.Errorf("proxied to %q at host %q", x.ProxiedTo.V, x.Host.V)
	}
}
