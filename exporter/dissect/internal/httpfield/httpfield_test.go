package httpfield

import (
	"testing"
	"unicode/utf8"

	"github.com/pcapsule/pcapsule/exporter/table"
)

func TestLookup(t *testing.T) {
	for name, want := range map[string]Name{
		"Host": Host, "HOST": Host, "hosts": Other, "b3": B3, "TE": TE, "cookie": Cookie, "Expect": Expect,
		"Upgrade": Upgrade, "Trailer": Trailer, "Connection": Connection, "User-Agent": UserAgent, "keep-alive": KeepAlive,
		"traceparent": Traceparent, "X-B3-SpanId": B3SpanID, "grpc-status": GRPCStatus, "Content-Type": ContentType,
		"x-request-id": RequestID, "X-B3-TraceId": B3TraceID, "grpc-message": GRPCMessage, "Authorization": Authorization,
		"uber-trace-id": UberTraceID, "grpc-encoding": GRPCEncoding, "content-length": ContentLength,
		"HTTP2-Settings": HTTP2Settings, "x-datadog-tags": DatadogTags, "X-Amzn-Trace-Id": AmznTraceID,
		"content-encoding": ContentEncoding, "X-Correlation-ID": CorrelationID, "proxy-connection": ProxyConnection,
		"Transfer-Encoding": TransferEncoding, "x-datadog-trace-id": DatadogTraceID,
		"Proxy-Authorization": ProxyAuthorization, "x-datadog-parent-id": DatadogParentID,
		"Idempotency-Key": IdempotencyKey, "X-Cloud-Trace-Context": CloudTrace,
		"": Other, "Content\rType": Other, "\x48ost\x00": Other, "hos\x54": Host, "\x08ost": Other,
	} {
		if got := Lookup(name); got != want {
			t.Errorf("Lookup(%q) = %d, want %d", name, got, want)
		}
	}
}

func TestFill(t *testing.T) {
	const trace, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	for _, row := range []struct {
		name    string
		headers []table.Header
		read    func(c *table.Call) table.Opt[string]
		want    string // "" is absent
	}{
		{"host loses its port", []table.Header{rq("Host", "Shop.example:8080")}, host, "Shop.example"},
		{"bracketed address loses brackets", []table.Header{rq("host", "[2001:db8::1]:80")}, host, "2001:db8::1"},
		{"bare IPv6 address stays", []table.Header{rq("host", "2001:db8::1")}, host, "2001:db8::1"},
		{"first host counts", []table.Header{rq("host", "a"), rq("host", "b")}, host, "a"},
		{"host of a response is not the call's", []table.Header{rs("host", "a")}, host, ""},
		{"user agent", []table.Header{rq("USER-AGENT", "curl/8")}, func(c *table.Call) table.Opt[string] { return c.UserAgent }, "curl/8"},
		{"a correlation id without X-", []table.Header{rq("Correlation-Id", "c"), rq("X-Correlation-Id", "x")}, reqID, "c"},
		{"request id beats correlation id", []table.Header{rq("X-Correlation-Id", "c"), rq("X-Request-Id", "r")}, reqID, "r"},
		{"request id of the response is second choice", []table.Header{rs("X-Request-Id", "r")}, reqID, "r"},
		{"traceparent", []table.Header{rq("traceparent", "00-"+trace+"-"+span+"-01")}, traceID, trace},
		{"traceparent's span", []table.Header{rq("traceparent", "00-"+trace+"-"+span+"-01")}, spanID, span},
		{"traceparent of a later version may be longer", []table.Header{rq("traceparent", "01-"+trace+"-"+span+"-01-x")}, traceID, trace},
		{"traceparent of version 00 may not", []table.Header{rq("traceparent", "00-"+trace+"-"+span+"-01-x")}, traceID, ""},
		{"traceparent of zeros is invalid", []table.Header{rq("traceparent", "00-00000000000000000000000000000000-"+span+"-01")}, traceID, ""},
		{"traceparent version ff is invalid", []table.Header{rq("traceparent", "ff-"+trace+"-"+span+"-01")}, traceID, ""},
		{"b3 in one header", []table.Header{rq("b3", trace+"-"+span+"-1-05e3ac9a4f6e3b90")}, spanID, span},
		{"b3 that only samples", []table.Header{rq("b3", "0")}, traceID, ""},
		{"b3 in many headers", []table.Header{rq("X-B3-TraceId", "A3CE929D0E0E4736"), rq("X-B3-SpanId", span)}, traceID, "a3ce929d0e0e4736"},
		{"amazon", []table.Header{rq("X-Amzn-Trace-Id", "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1")}, traceID, "5759e988bd862e3fe1be46a994272793"},
		{"jaeger without leading zeros", []table.Header{rq("uber-trace-id", "7b34da6a3ce929d%3Ab7%3A0%3A1")}, spanID, "00000000000000b7"},
		{"datadog with 128 bits", []table.Header{rq("x-datadog-trace-id", "255"), rq("x-datadog-tags", "_dd.p.dm=-1,_dd.p.tid=640cfd8d00000000")}, traceID, "640cfd8d0000000000000000000000ff"},
		{"google cloud", []table.Header{rq("X-Cloud-Trace-Context", "105445AA7843BC8BF206B12000100000/255;o=1")}, traceID, "105445aa7843bc8bf206b12000100000"},
		{"google cloud's span", []table.Header{rq("X-Cloud-Trace-Context", "105445aa7843bc8bf206b12000100000/255;o=1")}, spanID, "00000000000000ff"},
		{"google cloud without a span", []table.Header{rq("X-Cloud-Trace-Context", "105445aa7843bc8bf206b12000100000")}, traceID, "105445aa7843bc8bf206b12000100000"},
		{"google cloud that only samples", []table.Header{rq("X-Cloud-Trace-Context", "/1;o=1")}, traceID, ""},
		{"google cloud beside an invalid datadog", []table.Header{rq("x-datadog-trace-id", "0"), rq("X-Cloud-Trace-Context", "105445aa7843bc8bf206b12000100000/1")}, traceID, "105445aa7843bc8bf206b12000100000"},
		{"idempotency key", []table.Header{rq("Idempotency-Key", "k"), rq("X-Request-Id", "r")}, func(c *table.Call) table.Opt[string] { return c.IdempotencyKey }, "k"},
		{"idempotency key of a response", []table.Header{rs("Idempotency-Key", "k")}, func(c *table.Call) table.Opt[string] { return c.IdempotencyKey }, ""},
		{"trace of another kind is invalid", []table.Header{rq("traceparent", "hello")}, traceID, ""},
		{"bearer", []table.Header{rq("Authorization", "Bearer s3cret"), rq("Cookie", "a=b")}, auth, "bearer"},
		{"scheme alone", []table.Header{rq("Authorization", "Negotiate")}, auth, "negotiate"},
		{"unknown scheme", []table.Header{rq("Authorization", "MyScheme abc")}, auth, "myscheme"},
		{"a bare secret is not named", []table.Header{rq("Authorization", "s3cret")}, auth, "other"},
		{"a bare secret with a space is not named", []table.Header{rq("Authorization", "9f8e7d6c5b4a39281 x")}, auth, "other"},
		{"cookie only", []table.Header{rq("Cookie", "a=b")}, auth, "cookie"},
		{"proxy credentials", []table.Header{rq("Proxy-Authorization", "Basic eA=="), rq("Cookie", "a=b")}, auth, "basic"},
		{"a key in a header", []table.Header{rq("X-Api-Key", "k1"), rq("Cookie", "a=b")}, auth, "apikey"},
		{"a token in a header", []table.Header{rq("Private-Token", "t1")}, auth, "apikey"},
		{"a key and Authorization", []table.Header{rq("x-auth-key", "k1"), rq("Authorization", "Bearer t")}, auth, "bearer"},
		{"the token of a form", []table.Header{rq("X-CSRF-Token", "t1"), rq("X-Next-Page-Token", "t2"), rq("Accept-Key-Family", "x")}, auth, ""},
		{"a key without a value", []table.Header{rq("X-Api-Key", "")}, auth, ""},
		{"no credentials", []table.Header{rs("Set-Cookie", "a=b")}, auth, ""},
		{"trailers do not count", []table.Header{rt("User-Agent", "x")}, func(c *table.Call) table.Opt[string] { return c.UserAgent }, ""},
		{"response content type", []table.Header{rs("Content-Type", "text/html")}, func(c *table.Call) table.Opt[string] { return c.ResponseContentType }, "text/html"},
	} {
		t.Run(row.name, func(t *testing.T) {
			var c table.Call
			Fill(&c, row.headers)
			if got := row.read(&c); got.V != row.want || got.OK != (row.want != "") {
				t.Errorf("got %q (%v), want %q", got.V, got.OK, row.want)
			}
		})
	}
}

func rq(name, value string) table.Header {
	return table.Header{Name: name, Value: value, Kind: Request}
}
func rs(name, value string) table.Header {
	return table.Header{Name: name, Value: value, Kind: Response}
}
func rt(name, value string) table.Header {
	return table.Header{Name: name, Value: value, Kind: RequestTrailer}
}
func host(c *table.Call) table.Opt[string]    { return c.Host }
func reqID(c *table.Call) table.Opt[string]   { return c.RequestID }
func traceID(c *table.Call) table.Opt[string] { return c.TraceID }
func spanID(c *table.Call) table.Opt[string]  { return c.SpanID }
func auth(c *table.Call) table.Opt[string]    { return c.AuthKind }

func TestHasToken(t *testing.T) {
	for _, row := range []struct {
		name, list, token string
		want              bool
	}{
		{"alone", "close", "close", true},
		{"among others", "keep-alive , Upgrade,", "upgrade", true},
		{"with parameters", "gzip;q=1, br", "gzip", true},
		{"part of a word does not match", "closed", "close", false},
		{"empty list", "", "close", false},
	} {
		if got := HasToken(row.list, row.token); got != row.want {
			t.Errorf("%s: HasToken(%q, %q) = %v", row.name, row.list, row.token, got)
		}
	}
}

func TestText(t *testing.T) {
	for in, want := range map[string]string{"plain": "plain", "gr\xfc\xdfe": "grüße", "grüße": "grüße", "": ""} {
		if got := Text([]byte(in)); got != want {
			t.Errorf("Text(%q) = %q, want %q", in, got, want)
		}
		if got := ValidText(in); got != want {
			t.Errorf("ValidText(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzFill(f *testing.F) {
	f.Add("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	f.Add("Authorization", "Basic eA==")
	f.Add("x-amzn-trace-id", "Root=1-5759e988-bd862e3fe1be46a994272793")
	f.Add("uber-trace-id", "1%3A2:3")
	f.Add("host", "[::1")
	f.Fuzz(func(t *testing.T, name, value string) {
		var c table.Call
		Fill(&c, []table.Header{{Name: name, Value: ValidText(value), Kind: Request}, {Name: name, Value: value, Kind: Response}})
		if c.TraceID.OK && (!isHex(c.TraceID.V) || len(c.TraceID.V)%16 != 0) {
			t.Errorf("trace id %q of %s: %q", c.TraceID.V, name, value)
		}
		if c.AuthKind.OK && !utf8.ValidString(c.AuthKind.V) {
			t.Errorf("auth kind %q", c.AuthKind.V)
		}
	})
}

func BenchmarkFill(b *testing.B) {
	hs := []table.Header{rq("Host", "shop.example:80"), rq("User-Agent", "curl/8"), rq("Accept", "*/*"),
		rq("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"), rq("Authorization", "Bearer x"),
		rs("Content-Type", "text/html"), rs("Content-Length", "1"), rs("Date", "x")}
	b.ReportAllocs()
	for b.Loop() {
		var c table.Call
		Fill(&c, hs)
	}
}

func TestMasque(t *testing.T) {
	for _, tt := range []struct{ protocol, path, want string }{
		{"connect-udp", "/.well-known/masque/udp/192.0.2.6/443/", "192.0.2.6:443"},
		{"connect-udp", "/.well-known/masque/udp/2001%3Adb8%3A%3A42/443/", "[2001:db8::42]:443"},
		{"Connect-UDP", "/.well-known/masque/udp/target.example.com/53", "target.example.com:53"},
		{"connect-ip", "/.well-known/masque/ip/target.example.com/*/", "target.example.com"},
		{"connect-ip", "/.well-known/masque/ip/*/*/", ""},
		{"connect-ip", "/.well-known/masque/ip/192.0.2.0%2F24/17/", ""},
		{"connect-udp", "/.well-known/masque/ip/target.example.com/*/", ""},
		{"connect-udp", "/.well-known/masque/udp/target.example.com/", ""},
		{"connect-udp", "/.well-known/masque/udp/a%zz/53/", ""},
		{"connect-udp", "/proxy?h=a&p=53", ""},
		{"websocket", "/.well-known/masque/udp/192.0.2.6/443/", ""},
	} {
		if got := Masque(tt.protocol, tt.path); got.V != tt.want || got.OK != (tt.want != "") {
			t.Errorf("%s %s: %+v, want %q", tt.protocol, tt.path, got, tt.want)
		}
	}
}
