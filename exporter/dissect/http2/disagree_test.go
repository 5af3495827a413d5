package http2

import (
	"strings"
	"testing"

	xhttp2 "golang.org/x/net/http2"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

// TestTwoReaders has fields that two readers may read differently, with the anomaly and a part of its detail, and fields
// next to them that all readers read alike.
func TestTwoReaders(t *testing.T) {
	get := []string{":method", "GET", ":scheme", "https", ":path", "/a", ":authority", "h"}
	with := func(more ...string) []string { return append(append([]string{}, get...), more...) }
	ok := []string{":status", "200"}
	for _, row := range []struct {
		name            string
		request, answer []string
		want            string // kind and part of the detail of the only anomaly, empty if there is none
	}{
		{"proper fields", with("te", "trailers", "host", "H:443", "cookie", "a=1", "cookie", "b=2", "x", "", "y", "a b", "content-length", "0"), with(":status", "200")[8:], ""},
		{"OPTIONS of the server", []string{":method", "OPTIONS", ":scheme", "https", ":path", "*", ":authority", "h"}, ok, ""},
		{"a path of a query alone", []string{":method", "GET", ":scheme", "https", ":path", "/?x", "host", "h"}, ok, ""},
		{"a tunnel", []string{":method", "CONNECT", ":authority", "h:443"}, []string{":status", "502"}, ""},
		{"an extended CONNECT", []string{":method", "CONNECT", ":protocol", "x", ":scheme", "https", ":path", "/a", ":authority", "h"}, []string{":status", "502"}, ""},

		{"a pseudo header after others", []string{":method", "POST", ":scheme", "https", "x", "y", ":path", "/evil", ":authority", "h"}, ok, `pseudo_header request on stream 1: ":path" comes after other fields`},
		{"the same in a response", get, []string{"x", "y", ":status", "200"}, `pseudo_header response on stream 1: ":status" comes after other fields`},
		{"an unknown pseudo header", append([]string{":x", "y"}, get...), ok, `pseudo_header request on stream 1: ":x" is unknown`},
		{"a method twice", append([]string{":method", "GET"}, get...), ok, `pseudo_header request on stream 1: ":method" is unknown, repeated`},
		{"no method", get[2:], ok, "pseudo_header request on stream 1: :method is missing"},
		{"no scheme", append([]string{":method", "GET"}, get[4:]...), ok, "pseudo_header request on stream 1: :scheme is missing"},
		{"no path", append(append([]string{}, get[:4]...), get[6:]...), ok, "pseudo_header request on stream 1: :path is missing"},
		{"an empty path", []string{":method", "GET", ":scheme", "https", ":path", "", ":authority", "h"}, ok, "pseudo_header request on stream 1: :path is missing or empty"},
		{"a tunnel with a path", []string{":method", "CONNECT", ":scheme", "https", ":path", "/", ":authority", "h:443"}, []string{":status", "502"}, "pseudo_header request on stream 1: CONNECT with :scheme or :path"},
		{"no status", get, []string{"x", "y"}, "pseudo_header response on stream 1: :status is missing"},
		{"a path without a slash", []string{":method", "GET", ":scheme", "https", ":path", "@evil/a", ":authority", "h"}, ok, "ambiguous request on stream 1: :path does not begin with a slash"},
		{"a space in the path", []string{":method", "GET", ":scheme", "https", ":path", "/a HTTP/1.1", ":authority", "h"}, ok, `smuggling request on stream 1: field ":path" has white space in its value`},

		{"a name in upper case", with("X-Up", "y"), ok, `ambiguous request on stream 1: field "X-Up" has an upper-case letter`},
		{"a name outside ASCII", with("x\xe9", "y"), ok, "ambiguous request on stream 1: field"},
		{"an empty name", with("", "y"), ok, `ambiguous request on stream 1: field "" has`},
		{"a space in a name", with("x ", "y"), ok, `smuggling request on stream 1: field "x " has a colon or white space`},
		{"connection", with("connection", "close"), ok, `ambiguous request on stream 1: field "connection" exists in HTTP/1.1 only`},
		{"upgrade in a response", get, []string{":status", "200", "upgrade", "h2c"}, `ambiguous response on stream 1: field "upgrade" exists in HTTP/1.1 only`},
		{"transfer-encoding", with("transfer-encoding", "chunked"), ok, `smuggling request on stream 1: field "transfer-encoding" exists in HTTP/1.1 only`},
		{"te", with("te", "gzip"), ok, `ambiguous request on stream 1: field "te" has another value`},
		{"a line end in a value", with("x", "y\nz: w"), ok, `smuggling request on stream 1: field "x" has a line end or NUL`},
		{"a space after a value", with("x", "y "), ok, `ambiguous request on stream 1: field "x" has white space at`},

		{"another Host", with("host", "evil"), ok, "ambiguous request on stream 1: Host differs from :authority"},
		{"another port in Host", with("host", "h:80"), ok, "ambiguous request on stream 1: Host differs from :authority"},
		{"two Hosts", []string{":method", "GET", ":scheme", "https", ":path", "/a", "host", "h", "host", "h"}, ok, "ambiguous request on stream 1: Host is repeated"},
		{"user information", []string{":method", "GET", ":scheme", "https", ":path", "/a", ":authority", "a@b"}, ok, "ambiguous request on stream 1: :authority has user information"},
		{"different lengths", with("content-length", "1", "content-length", "0"), ok, "smuggling request on stream 1: different Content-Lengths"},
		{"a length with a sign", with("content-length", "+0"), ok, "smuggling request on stream 1: a Content-Length that is not a number"},
		{"a length of a body that does not come", with("content-length", "5"), ok, "smuggling request on stream 1: Content-Length is 5, its body has 0"},
		{"the same in a response", get, []string{":status", "200", "content-length", "5"}, "smuggling response on stream 1: Content-Length is 5, its body has 0"},
		{"the length of what HEAD does not send", append([]string{":method", "HEAD"}, get[2:]...), []string{":status", "200", "content-length", "5"}, ""},
		{"the length of what has not changed", get, []string{":status", "304", "content-length", "5"}, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			c, s := begin()
			r := play(t, dissect.EndFin, c.headers(1, true, row.request...).flush(), s.headers(1, true, row.answer...).flush())
			if s := details(r); strings.Contains(s, "\n") || (s == "") != (row.want == "") || !strings.HasPrefix(s, row.want) {
				t.Errorf("\n got %s\nwant %s", s, row.want)
			}
			if len(r.Emissions) != 1 {
				t.Error(dissecttest.Lines(r))
			}
		})
	}
}

func details(r *dissecttest.Result) string {
	var got []string
	for _, a := range r.Anomalies {
		got = append(got, a.Kind+" "+a.Detail)
	}
	return strings.Join(got, "\n")
}

// TestTableSize has updates of the header table before and after the other side announced and the sender acknowledged a
// size (RFC 7541 section 4.2, RFC 9113 section 6.5.3).
func TestTableSize(t *testing.T) {
	announce := func(s *peer, size uint32) { s.settings(xhttp2.Setting{ID: xhttp2.SettingHeaderTableSize, Val: size}) }
	grow := func(c *peer, size uint32) {
		c.enc.SetMaxDynamicTableSizeLimit(size)
		c.enc.SetMaxDynamicTableSize(size)
	}
	for _, row := range []struct {
		name string
		talk func(c, s *peer) []dissecttest.Chunk
		want string
	}{
		{"as announced", func(c, s *peer) []dissecttest.Chunk {
			announce(s, 8192)
			first := s.flush()
			grow(c, 8192)
			return []dissecttest.Chunk{first, c.get(1, "/").flush(), s.ok(1, "x").flush()}
		}, ""},
		{"larger than announced", func(c, s *peer) []dissecttest.Chunk {
			announce(s, 8192)
			first := s.flush()
			grow(c, 8193)
			return []dissecttest.Chunk{first, c.get(1, "/").flush(), s.ok(1, "x").flush()}
		}, "hpack_table_size the table size 8193 exceeds the announced 8192"},
		{"before the other side announced less", func(c, s *peer) []dissecttest.Chunk {
			grow(c, 65536)
			return []dissecttest.Chunk{c.get(1, "/").flush(), s.ok(1, "x").flush()}
		}, "hpack_table_size the table size 65536 exceeds the announced 4096"},
		{"captured before the announcement", func(c, _ *peer) []dissecttest.Chunk {
			s := newPeer(dissect.ToClient)
			announce(s, 65536)
			grow(c, 65536)
			return []dissecttest.Chunk{c.get(1, "/").flush(), s.ok(1, "x").flush()}
		}, ""},
		{"the default before a smaller size is acknowledged", func(c, s *peer) []dissecttest.Chunk {
			announce(s, 100)
			first := s.flush()
			grow(c, 4000)
			return []dissecttest.Chunk{first, c.get(1, "/").flush(), s.ok(1, "x").flush()}
		}, ""},
		{"the default after that", func(c, s *peer) []dissecttest.Chunk {
			announce(s, 100)
			first := s.flush()
			c.fr.WriteSettingsAck()
			c.fr.WriteSettingsAck()
			grow(c, 4000)
			return []dissecttest.Chunk{first, c.get(1, "/").flush(), s.ok(1, "x").flush()}
		}, "hpack_table_size the table size 4000 exceeds the announced 100"},
		{"an update after a field", func(c, s *peer) []dissecttest.Chunk {
			c.fr.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: append(c.blockOf(":method", "GET", ":scheme", "http", ":path", "/"), 0x20), EndStream: true, EndHeaders: true})
			return []dissecttest.Chunk{c.flush(), s.ok(1, "x").flush()}
		}, "hpack_table_size header block of stream 1: a table size update after a field"},
		{"the other side is not captured", func(c, s *peer) []dissecttest.Chunk {
			grow(c, 65536)
			return []dissecttest.Chunk{c.get(1, "/").flush()}
		}, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			c, s := begin()
			r := play(t, dissect.EndFin, row.talk(c, s)...)
			if s := details(r); strings.Contains(s, "\n") || (s == "") != (row.want == "") || !strings.HasPrefix(s, row.want) {
				t.Errorf("\n got %s\nwant %s", s, row.want)
			}
		})
	}
}
