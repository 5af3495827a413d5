package all

import (
	"encoding/base64"
	"fmt"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
	"github.com/pcapsule/pcapsule/exporter/dissect/dns"
	"github.com/pcapsule/pcapsule/exporter/dissect/grpc"
)

const (
	dnsQuestion = "\x00\x00\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x07example\x00\x00\x01\x00\x01"
	dnsAnswer   = "\x00\x00\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00\x03www\x07example\x00\x00\x01\x00\x01\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02\x01"
)

func http(first, kind, body string) string {
	s := first + "\r\nHost: doh\r\n"
	if kind != "" {
		s += "Content-Type: " + kind + "\r\n"
	}
	return fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", s, len(body), body)
}

// TestDNSOverHTTPS reads messages in bodies and in the parameter of a GET, RFC 8484 section 4.1,
// in addition to the HTTP call that carries them.
func TestDNSOverHTTPS(t *testing.T) {
	const media = "application/dns-message"
	get := "GET /dns-query?dns=" + base64.RawURLEncoding.EncodeToString([]byte(dnsQuestion)) + " HTTP/1.1"
	for _, tc := range []struct{ name, request, response, want string }{
		{"POST", http("POST /dns-query HTTP/1.1", media, dnsQuestion), http("HTTP/1.1 200 OK", media, dnsAnswer), "A www.example → 192.0.2.1 doh true "},
		{"GET", http(get, "", ""), http("HTTP/1.1 200 OK", media+"; a=b", dnsAnswer), "A www.example → 192.0.2.1 doh true "},
		{"no DNS in the answer", http(get, "", ""), http("HTTP/1.1 500 No", "text/plain", "no"), "A www.example → no response doh false no_response"},
		{"a damaged answer", http(get, "", ""), http("HTTP/1.1 200 OK", media, dnsAnswer[:40]), "A www.example → no records, malformed doh false malformed"},
		{"another parameter of that name", http("GET /a?dns=8.8.8.8 HTTP/1.1", "", ""), http("HTTP/1.1 200 OK", "text/plain", "no"), ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := dissecttest.Play(t, dissecttest.Options{Protocols: Protocols(nil), ServerPort: 443, Roles: true, End: dissect.EndFin},
				dissecttest.Client(tc.request), dissecttest.Server(tc.response))
			got := ""
			for _, e := range r.Emissions[1:] {
				row := e.Row.(*dns.Row)
				got += fmt.Sprintf("%s %s %v %s", row.Summary, row.Carrier.V, row.Complete, row.Error.V)
				if row.CallID == r.Emissions[0].Row.Base().CallID || len(row.Cites) == 0 {
					t.Errorf("identity or citation: %v", row.Cites)
				}
			}
			if got != tc.want || r.Emissions[0].Row.Base().Protocol != "http1" || r.Held != 0 {
				t.Errorf("got %q, want %q; %d held", got, tc.want, r.Held)
			}
		})
	}
}

// TestDNSInsideStreams reads DNS inside TLS and QUIC, RFC 7858 and RFC 9250.
func TestDNSInsideStreams(t *testing.T) {
	framed := func(s string) []byte { return append([]byte{0, byte(len(s))}, s...) }
	for _, tc := range []struct {
		outer string
		kind  dissect.Transport
		want  string
	}{{"tls", dissect.TCP, "dot"}, {"quic", dissect.QUIC, "doq"}} {
		r := &dissecttest.Result{}
		list := Protocols(nil)
		e, err := dissect.NewEngine(list, []dissect.DecodeAs{{Transport: dissect.TCP, Port: 9, Protocol: tc.outer}}, r, true)
		if err != nil {
			t.Fatal(err)
		}
		outer := e.NewConn(dissect.Info{ServerPort: 9, RolesKnown: true, Began: [2]bool{true, true}, ConnectUs: -1})
		in := outer.NewInner("key")
		if tc.kind == dissect.QUIC {
			in = outer.NewStream("key")
		}
		in.Data(dissect.ToServer, framed(dnsQuestion), dissect.Packet{No: 1})
		in.End(dissect.ToServer, dissect.Packet{No: 1})
		in.Data(dissect.ToClient, framed(dnsAnswer), dissect.Packet{No: 2})
		in.End(dissect.ToClient, dissect.Packet{No: 2})
		in.Close(dissect.EndFin, dissect.Packet{No: 3})
		if len(r.Emissions) != 1 {
			t.Fatalf("%s: %d rows", tc.outer, len(r.Emissions))
		}
		row := r.Emissions[0].Row.(*dns.Row)
		if row.Carrier.V != tc.want || !row.Complete || row.DecryptedBy.V != "key" {
			t.Errorf("%s: %s, carrier %s, complete %v", tc.outer, row.Summary, row.Carrier.V, row.Complete)
		}
	}
}

// TestGRPCWebOverHTTP1 reads the trailers in the last frame of a gRPC-Web body, as bytes and in
// base64, where each piece may have its own padding.
func TestGRPCWebOverHTTP1(t *testing.T) {
	const message, trailer = "\x00\x00\x00\x00\x04\x0a\x02hi", "\x80\x00\x00\x00\x22grpc-status:5\r\ngrpc-message:gone\r\n"
	coded := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	chunked := func(kind string, parts ...string) string {
		s := "HTTP/1.1 200 OK\r\nContent-Type: " + kind + "\r\nTransfer-Encoding: chunked\r\n\r\n"
		for _, p := range append(parts, "") {
			s += fmt.Sprintf("%x\r\n%s\r\n", len(p), p)
		}
		return s
	}
	for _, tc := range []struct{ name, kind, request, response, want string }{
		{"bytes", "application/grpc-web+proto", message, http("HTTP/1.1 200 OK", "application/grpc-web+proto", message+trailer), "/a.S/M → NOT_FOUND 5 1/1 gone true"},
		{"bytes in chunks", "application/grpc-web", message, chunked("application/grpc-web", message[:3], message[3:]+trailer[:7], trailer[7:]), "/a.S/M → NOT_FOUND 5 1/1 gone true"},
		{"text", "application/grpc-web-text", coded(message), chunked("application/grpc-web-text+proto", coded(message), coded(trailer)), "/a.S/M → NOT_FOUND 5 1/1 gone true"},
		{"no trailers", "application/grpc-web", message, http("HTTP/1.1 200 OK", "application/grpc-web", message), "/a.S/M → no status 0 1/1  true"},
		{"a proxy's page", "application/grpc-web", message, http("HTTP/1.1 502 No", "text/html", "no"), "/a.S/M → HTTP 502 0 1/0  true"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := dissecttest.Play(t, dissecttest.Options{Protocols: Protocols(nil), ServerPort: 80, Roles: true, End: dissect.EndFin},
				dissecttest.Client(http("POST /a.S/M HTTP/1.1", tc.kind, tc.request)), dissecttest.Server(tc.response))
			if len(r.Emissions) != 1 || len(r.Anomalies) > 0 {
				t.Fatalf("%d rows, anomalies %v", len(r.Emissions), r.Anomalies)
			}
			row, ok := r.Emissions[0].Row.(*grpc.Row)
			if !ok {
				t.Fatalf("row of %s", r.Emissions[0].Row.Base().Protocol)
			}
			got := fmt.Sprintf("%s %d %d/%d %s %v", row.Summary, row.Status.V, row.RequestCount.V, row.ResponseCount.V, row.Message.V, row.Web)
			if got != tc.want || !row.Failed || !row.Complete || row.Authority.V != "doh" {
				t.Errorf("got %s, want %s; failed %v, complete %v", got, tc.want, row.Failed, row.Complete)
			}
		})
	}
}
