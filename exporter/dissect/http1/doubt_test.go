package http1

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// unclearCodings are values of Transfer-Encoding that do not end in chunked, as attackers and broken
// programs write them.
var unclearCodings = []string{"xchunked", "chunkedx", "x chunked", "chunked;q=1", "\"chunked\"", "chunked, identity", "chunked, gzip", "gzip, xchunked", "\x0bchunked", "chunked\x00", "chunk", "cow"}

// clearCodings end in chunked.
var clearCodings = []string{"chunked", "CHUNKED", " \tchunked \t", "gzip, chunked", "identity, chunked", "xchunked, chunked", "chunked, chunked", ", chunked,", "gzip\r\nTransfer-Encoding: chunked", "\r\n chunked"}

// TestUnclearTransferEncoding has requests whose end only the server's response shows. The next request on
// the connection is a call of its own if the server answered it, and none if the server refused the first.
func TestUnclearTransferEncoding(t *testing.T) {
	const next, ok, created = "GET /b HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 204 N\r\n\r\n", "HTTP/1.1 201 C\r\nContent-Length: 0\r\n\r\n"
	post := func(te, more, body string) string {
		return "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: " + te + "\r\n" + more + "\r\n" + body
	}
	for _, te := range unclearCodings {
		for _, row := range []struct {
			name   string
			chunks chunks
			want   string
		}{
			{"Content-Length, one after the other", chunks{client(post(te, "Content-Length: 5\r\n", "hello")), server(created), client(next), server(ok)}, "POST / 201 5; GET /b 204 -"},
			{"Content-Length, at once", chunks{client(post(te, "Content-Length: 5\r\n", "hello") + next), server(created + ok)}, "POST / 201 5; GET /b 204 -"},
			{"Content-Length, body after the response", chunks{client(post(te, "Content-Length: 5\r\n", "")), server(created), client("hello" + next), server(ok)}, "POST / 201 5; GET /b 204 -"},
			{"Content-Length 0", chunks{client(post(te, "Content-Length: 0\r\n", "") + next), server(created + ok)}, "POST / 201 -; GET /b 204 -"},
			{"no length and no body", chunks{client(post(te, "", "") + next), server(created + ok)}, "POST / 201 -; GET /b 204 -"},
			{"no length and no body, one after the other", chunks{client(post(te, "", "")), server(created), client(next), server(ok)}, "POST / 201 -; GET /b 204 -"},
			{"chunked", chunks{client(post(te, "", "5\r\nhello\r\n0\r\n\r\n") + next), server(created + ok)}, "POST / 201 5; GET /b 204 -"},
			{"chunked, with a Content-Length that cannot be", chunks{client(post(te, "Content-Length: 4\r\n", "5\r\nhello\r\n0\r\n\r\n") + next), server(created + ok)}, "POST / 201 5; GET /b 204 -"},
			{"refused", chunks{client(post(te, "Content-Length: 5\r\n", "hello") + next), server("HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n")}, "POST / 400 33"},
			{"not implemented", chunks{client(post(te, "", "5\r\nhello\r\n0\r\n\r\n") + next), server("HTTP/1.1 501 No\r\nContent-Length: 0\r\n\r\n")}, "POST / 501 43"},
			{"refused with close", chunks{client(post(te, "Content-Length: 5\r\n", "hello") + next), server("HTTP/1.1 411 Length\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")}, "POST / 411 33"},
		} {
			t.Run(fmt.Sprintf("%q %s", te, row.name), func(t *testing.T) {
				r := play(t, dissect.EndFin, row.chunks...)
				var got []string
				for _, x := range r.Rows() {
					c := x.(*Row)
					size := "-"
					if c.RequestBodySize.OK {
						size = fmt.Sprint(c.RequestBodySize.V)
					}
					got = append(got, fmt.Sprintf("%s %s %d %s", c.Method.V, c.Path.V, c.StatusCode.V, size))
				}
				if s := strings.Join(got, "; "); s != row.want {
					t.Errorf("\n got %s\nwant %s", s, row.want)
				}
				if !strings.Contains(sketch(r), "!smuggling") {
					t.Error("there is no anomaly")
				}
				if got := r.Conn.RowBytes + r.Conn.AnomalyBytes; got != r.Bytes || r.Held != 0 {
					t.Errorf("%d bytes accounted for of %d, %d held", got, r.Bytes, r.Held)
				}
			})
		}
	}
	for _, te := range clearCodings {
		r := play(t, dissect.EndFin, client(post(te, "", "5\r\nhello\r\n0\r\n\r\n")+next), server(created+ok))
		if n := len(r.Rows()); n != 2 {
			t.Errorf("%q: %s", te, sketch(r))
		}
	}
}

// TestUnclearResponse has responses that last until the connection closes, unless the next one begins where
// Content-Length ends them.
func TestUnclearResponse(t *testing.T) {
	const get, getB = "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET /b HTTP/1.1\r\nHost: a\r\n\r\n"
	answer := func(te, more, body string) string {
		return "HTTP/1.1 200 OK\r\nTransfer-Encoding: " + te + "\r\n" + more + "\r\n" + body
	}
	for _, te := range unclearCodings {
		for _, row := range []struct {
			name   string
			chunks chunks
			want   string
		}{
			{"the next one follows", chunks{client(get), server(answer(te, "Content-Length: 5\r\n", "hello")), client(getB), server("HTTP/1.1 204 N\r\n\r\n")}, "/ 200 5 true; /b 204 0 true"},
			{"at once", chunks{client(get + getB), server(answer(te, "Content-Length: 5\r\n", "hello") + "HTTP/1.1 204 N\r\n\r\n")}, "/ 200 5 true; /b 204 0 true"},
			{"until the close", chunks{client(get), server(answer(te, "Content-Length: 5\r\n", "hello world"))}, "/ 200 11 true"},
			{"until the close, without a length", chunks{client(get), server(answer(te, "", "hello")), server(" world")}, "/ 200 11 true"},
		} {
			r := play(t, dissect.EndFin, row.chunks...)
			var got []string
			for _, x := range r.Rows() {
				c := x.(*Row)
				got = append(got, fmt.Sprintf("%s %d %d %v", c.Path.V, c.StatusCode.V, c.ResponseBodySize.V, c.Complete))
			}
			if s := strings.Join(got, "; "); s != row.want || !strings.Contains(sketch(r), "!smuggling") {
				t.Errorf("%q %s:\n got %s\nwant %s", te, row.name, s, row.want)
			}
		}
	}
}
