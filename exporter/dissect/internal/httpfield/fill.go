package httpfield

import (
	"net"
	"strings"
	"unicode/utf8"

	"github.com/pcapsule/pcapsule/exporter/table"
)

// Header kinds in column headers.
const (
	Request         = "request"
	Response        = "response"
	RequestTrailer  = "request_trailer"
	ResponseTrailer = "response_trailer"
)

// Fill sets host, user_agent, request_id, idempotency_key, trace_id, span_id, auth_kind and the content types of
// c from headers. It does not overwrite columns that are already set; of a repeated header the
// first one counts. Trailers are ignored.
func Fill(c *table.Call, headers []table.Header) {
	var t trace
	var answered string // request id of the response
	cookie, key, correlation, proxyAuth := false, false, "", ""
	for i := range headers {
		h := &headers[i]
		if h.Kind == Response {
			switch Lookup(h.Name) {
			case ContentType:
				set(&c.ResponseContentType, h.Value)
			case RequestID, CorrelationID, PlainCorrelationID:
				if answered == "" {
					answered = h.Value
				}
			}
			continue
		}
		if h.Kind != Request {
			continue
		}
		switch n := Lookup(h.Name); n {
		case Other:
			key = key || h.Value != "" && table.IsKeyHeader(h.Name)
		case Host:
			if !c.Host.OK {
				set(&c.Host, HostOf(h.Value))
			}
		case UserAgent:
			set(&c.UserAgent, h.Value)
		case ContentType:
			set(&c.RequestContentType, h.Value)
		case RequestID:
			set(&c.RequestID, h.Value)
		case IdempotencyKey:
			set(&c.IdempotencyKey, h.Value)
		case CorrelationID, PlainCorrelationID:
			if correlation == "" {
				correlation = h.Value
			}
		case Cookie:
			cookie = true
		case Authorization:
			if !c.AuthKind.OK {
				set(&c.AuthKind, AuthKind(h.Value))
			}
		case ProxyAuthorization:
			if proxyAuth == "" {
				proxyAuth = AuthKind(h.Value)
			}
		default:
			t.add(n, h.Value)
		}
	}
	set(&c.RequestID, correlation)
	set(&c.RequestID, answered)
	set(&c.AuthKind, proxyAuth)
	if key {
		set(&c.AuthKind, "apikey")
	}
	if cookie {
		set(&c.AuthKind, "cookie")
	}
	if !c.TraceID.OK {
		id, span := t.ids()
		set(&c.TraceID, id)
		set(&c.SpanID, span)
	}
}

func set(o *table.Opt[string], v string) {
	if !o.OK && v != "" {
		*o = table.Some(v)
	}
}

// HostOf is the host of an authority ("user@host:port", "[::1]:80"): without user information,
// port and brackets, in its original spelling.
func HostOf(authority string) string {
	s := authority
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		s = s[i+1:]
	}
	if s != "" && s[0] == '[' {
		if i := strings.IndexByte(s, ']'); i > 0 {
			return s[1:i]
		}
		return s
	}
	// More than one colon is an IPv6 address without brackets.
	if i := strings.IndexByte(s, ':'); i >= 0 && strings.IndexByte(s[i+1:], ':') < 0 {
		s = s[:i]
	}
	return s
}

// ports are the default ports of the schemes that proxies pass on.
var ports = map[string]string{"http": "80", "https": "443", "ftp": "21", "ws": "80", "wss": "443"}

// Proxied is column proxied_to for the authority that a proxy is asked for. Its scheme, if any, gives the port that it
// lacks.
func Proxied(scheme, authority string) table.Opt[string] {
	host := HostOf(authority)
	if host == "" {
		return table.Opt[string]{}
	}
	rest := authority[strings.LastIndexByte(authority, '@')+1:]
	rest = rest[strings.LastIndexByte(rest, ']')+1:]
	port := ports[strings.ToLower(scheme)]
	if i := strings.LastIndexByte(rest, ':'); i >= 0 && strings.Count(rest, ":") == 1 {
		n := i + 1
		for n < len(rest) && rest[n] >= '0' && rest[n] <= '9' {
			n++
		}
		port = rest[i+1 : n]
	}
	return table.Some(strings.TrimSuffix(net.JoinHostPort(host, port), ":"))
}

// SplitTarget splits an origin-form target into path and query; the query is absent if there is
// no question mark.
func SplitTarget(target string) (path string, query table.Opt[string]) {
	if i := strings.IndexByte(target, '?'); i >= 0 {
		return target[:i], table.Some(target[i+1:])
	}
	return target, query
}

// Text converts bytes to a string for a text column. Bytes that are not UTF-8 are read as ISO
// 8859-1, the former default of HTTP (RFC 9110 section 5.5), so that none is lost.
func Text(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	return latin1(string(b))
}

// ValidText is Text for a string, without a copy if it is valid.
func ValidText(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return latin1(s)
}

func latin1(s string) string {
	var out strings.Builder
	out.Grow(len(s) + len(s)/4)
	for i := 0; i < len(s); i++ {
		out.WriteRune(rune(s[i]))
	}
	return out.String()
}
