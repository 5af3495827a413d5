package http1

import (
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// TestTwoReaders has messages that two readers may read differently, with the anomaly and a part of its detail, and
// messages next to them that all readers read alike.
func TestTwoReaders(t *testing.T) {
	const get, none, page = "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 204 N\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	post := func(fields, body string) string { return "POST / HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n" + body }
	chunked := func(body string) string { return post("Transfer-Encoding: chunked\r\n", body) }
	for _, row := range []struct {
		name, request, response string
		want                    string // kind and part of the detail of the only anomaly, empty if there is none
	}{
		{"a proper request", get, page, ""},
		{"a chunked request", chunked("5;a=b ; c=\"d;\\\"e\";f\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"), none, ""},
		{"chunks with leading zeros", chunked("0005\r\nhello\r\n000\r\n\r\n"), none, ""},
		{"an absolute target with the same host", "GET http://A.example/x HTTP/1.1\r\nHost: a.example:80\r\n\r\n", none, ""},
		{"a tunnel whose Host has no port", "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example\r\n\r\n", "HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n", ""},
		{"a target with a query that has a URL", "GET /x?u=http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", none, ""},
		{"an address as Host", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", none, ""},
		{"an empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", none, ""},
		{"a line end before the request", "\r\n" + get, page, ""},
		{"a search in the body of GET", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}", page, ""},
		{"204 with an empty body", get, "HTTP/1.1 204 N\r\nContent-Length: 0\r\n\r\n", ""},
		{"bytes outside ASCII", "GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\nX: \xe9\r\n\r\n", none, ""},

		{"LF alone in the head of a request", "GET / HTTP/1.1\r\nHost: a\r\nX: y\nZ: w\r\n\r\n", page, "smuggling request: a line of the head, or before it, ends in LF alone"},
		{"LF alone after the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", page, "smuggling request: a line of the head, or before it, ends in LF alone"},
		{"LF alone after the head", "GET / HTTP/1.1\r\nHost: a\r\n\n", page, "smuggling request: a line of the head, or before it, ends in LF alone"},
		{"LF alone everywhere", "GET / HTTP/1.1\nHost: a\n\n", page, "smuggling request: a line of the head, or before it, ends in LF alone"},
		{"LF alone before the request", "\n" + get, page, "smuggling request: a line of the head, or before it, ends in LF alone"},
		{"LF alone in a response", get, "HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\nok", "smuggling response: a line of the head, or before it, ends in LF alone"},
		{"LF alone in an interim response", get, "HTTP/1.1 103 Early Hints\r\nX: y\n\r\n" + page, "smuggling response: a line of the head, or before it, ends in LF alone"},
		{"LF alone in a trailer", chunked("0\r\nX: y\n\r\n"), none, "smuggling trailer of a request: a line of the head, or before it, ends in LF alone"},
		{"LF alone after the last chunk", chunked("0\r\n\n"), none, "smuggling request: a chunk line ends in LF alone"},
		{"CR alone in a field", "GET / HTTP/1.1\r\nHost: a\r\nX: y\rZ: w\r\n\r\n", page, "smuggling request: a line of the head, or before it, has a CR without LF"},
		{"CR before CR LF", "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\r\n\r\n", page, "smuggling request: a line of the head, or before it, has a CR without LF"},

		{"two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", page, "ambiguous request: different Host fields"},
		{"one Host twice", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", page, "ambiguous request: Host is repeated"},
		{"a Host with user information", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", page, "ambiguous request: Host has user information"},
		{"a Host with two hosts", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", page, "ambiguous request: Host has white space"},
		{"another host in the target", "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", page, "ambiguous request: Host differs from the host of the target"},
		{"another port in the target", "GET http://a:81/ HTTP/1.1\r\nHost: a\r\n\r\n", page, "ambiguous request: Host differs from the host of the target"},

		{"tabs in the request line", "GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n", page, "ambiguous request: a request line that is not"},
		{"vertical tabs in the request line", "GET\v/\vHTTP/1.1\r\nHost: a\r\n\r\n", page, "ambiguous request: a request line that is not"},
		{"two spaces in the request line", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", page, "ambiguous request: a request line that is not"},
		{"a space after the request line", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", page, "ambiguous request: a request line that is not"},
		{"a space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", page, "ambiguous request: a request line that is not"},
		{"NUL in the request line", "GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n", page, "ambiguous request: a request line that is not"},
		{"a version in lower case", "GET / http/1.1\r\nHost: a\r\n\r\n", page, "ambiguous request: a request line that is not"},

		{"white space before a colon", "GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n", page, `ambiguous request: "X " is not a field name`},
		{"white space before the colon of a framing header", post("Content-Length : 2\r\n", "ab"), none, "smuggling request: a framing header has white space before its colon"},
		{"the same in a response", get, "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok", "smuggling response: a framing header has white space before its colon"},
		{"white space before the first field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", page, "ambiguous request: white space comes before the first field"},
		{"a name with a bracket", "GET / HTTP/1.1\r\nHost: a\r\nX[]: y\r\n\r\n", page, `ambiguous request: "X[]:" is not a field name`},
		{"an empty name", "GET / HTTP/1.1\r\nHost: a\r\n: y\r\n\r\n", page, `ambiguous request: ":" is not a field name`},
		{"a line without a colon", "GET / HTTP/1.1\r\nHost: a\r\nabc\r\n\r\n", page, "ambiguous request: a line has no colon"},
		{"a field in two lines", get, "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok", `ambiguous response: field "X" has more than one line`},
		{"NUL in a field", "GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n", page, "ambiguous request: a field has a NUL"},

		{"a list of lengths", post("Content-Length: 2, 2\r\n", "ab"), none, "smuggling request: Content-Length is repeated"},
		{"a length with a sign", post("Content-Length: +0\r\n", ""), none, "smuggling request: a Content-Length that is not a number"},
		{"a length with a space", post("Content-Length: 0 0\r\n", ""), none, "smuggling request: a Content-Length that is not a number"},
		{"a length over the limit", post("Content-Length: 99999999999999999999\r\n", ""), none, "smuggling request: a Content-Length that is not a number"},
		{"chunked in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", none, "smuggling request: Transfer-Encoding with HTTP/1.0"},
		{"identity", post("Transfer-Encoding: identity\r\nContent-Length: 2\r\n", "ab"), none, "smuggling request: Transfer-Encoding without a coding"},
		{"an unknown coding before chunked", post("Transfer-Encoding: x, chunked\r\n", "0\r\n\r\n"), none, "smuggling request: unknown codings before chunked"},
		{"chunked twice", post("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"), none, "smuggling request: codings after chunked"},

		{"an extension with a control", chunked("2;a\x01\r\nab\r\n0\r\n\r\n"), none, "smuggling request: \";a\\x01\" is not a chunk extension"},
		{"an extension with a CR", chunked("2;a\rb\r\nab\r\n0\r\n\r\n"), none, "smuggling request: \";a\\rb\" is not a chunk extension"},
		{"an empty extension", chunked("2;\r\nab\r\n0\r\n\r\n"), none, "smuggling request: \";\" is not a chunk extension"},
		{"a space before a chunk size", chunked(" 2\r\nab\r\n0\r\n\r\n"), none, "smuggling request: white space around a chunk size"},
		{"a space after a chunk size", get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2 \r\nok\r\n0\r\n\r\n", "smuggling response: white space around a chunk size"},

		{"a request in the body of GET", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 29\r\n\r\n" + "GET /x HTTP/1.1\r\nHost: ab\r\n\r\n", page, "smuggling request: the body of GET begins like a request"},
		{"the same in chunks", "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1d\r\n" + "GET /x HTTP/1.1\r\nHost: ab\r\n\r\n\r\n0\r\n\r\n", page, "smuggling request: the body of GET begins like a request"},
		{"TRACE with a body", "TRACE / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab", page, "smuggling request: TRACE announces a body"},
		{"204 with a body", get, "HTTP/1.1 204 N\r\nTransfer-Encoding: chunked\r\n\r\n", "smuggling response: 204 announces a body"},
		{"a length in a trailer", chunked("0\r\nContent-Length: 5\r\n\r\n"), none, "smuggling trailer of a request: the trailer has"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := play(t, dissect.EndFin, client(row.request), server(row.response))
			var got []string
			for _, a := range r.Anomalies {
				got = append(got, a.Kind+" "+a.Detail)
			}
			if s := strings.Join(got, "\n"); len(got) > 1 || (s == "") != (row.want == "") || !strings.HasPrefix(s, row.want) {
				t.Errorf("\n got %s\nwant %s", s, row.want)
			}
			if n := len(r.Rows()); n != 1 || r.Rows()[0].Base().Protocol == "" && r.Rows()[0].(*Row).Error.OK {
				t.Errorf("%d rows: %s", n, sketch(r))
			}
			if got := r.Conn.RowBytes + r.Conn.AnomalyBytes; got != r.Bytes || r.Held != 0 {
				t.Errorf("%d bytes accounted for of %d, %d held", got, r.Bytes, r.Held)
			}
		})
	}
}

// TestChunkSizes has sizes that readers with other parsers accept.
func TestChunkSizes(t *testing.T) {
	for _, size := range []string{"0x5", "+5", "-1", "5x", "fffffffffffffffff"} {
		r := play(t, dissect.EndFin, client("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"+size+"\r\nhello\r\n0\r\n\r\n"), server("HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n"))
		if got := sketch(r); !strings.Contains(got, "!smuggling") || !strings.Contains(got, "→ 400") {
			t.Errorf("%s: %s", size, got)
		}
	}
	r := play(t, dissect.EndCapture, client("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n100000005\r\nhello"))
	if len(r.Anomalies) != 1 || !strings.Contains(r.Anomalies[0].Detail, "a reader of 32 bits reads 5") {
		t.Error(sketch(r))
	}
}
