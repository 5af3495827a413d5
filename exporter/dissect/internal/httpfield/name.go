// Package httpfield reads the header fields that every version of HTTP shares.
//
// Fill sets the most used columns of a call (host, user agent, trace, kind of credentials,
// content types) from its headers, which makes http1, http2 and http3 consistent. Names are
// compared without regard to case and without allocation. Credentials are never copied out of a
// header, only their kind.
package httpfield

import "strings"

// Name is a field name that the exporter handles specially.
type Name uint8

// The names that Lookup recognizes.
const (
	Other Name = iota
	Host
	UserAgent
	ContentType
	ContentLength
	ContentEncoding
	TransferEncoding
	Connection
	ProxyConnection
	KeepAlive
	Upgrade
	Expect
	Trailer
	TE
	HTTP2Settings
	Cookie
	Authorization
	ProxyAuthorization
	RequestID
	CorrelationID
	Traceparent
	B3
	B3TraceID
	B3SpanID
	AmznTraceID
	UberTraceID
	AmzContentSHA256
	DatadogTraceID
	DatadogParentID
	DatadogTags
	GRPCEncoding
	GRPCStatus
	GRPCMessage
)

// SignedChunks returns the content coding that a value of X-Amz-Content-Sha256 announces, empty if it announces none:
// clients of Amazon S3 may leave it out of Content-Encoding.
func SignedChunks(value string) string {
	if strings.HasPrefix(value, "STREAMING-") {
		return "aws-chunked"
	}
	return ""
}

// Lookup returns the Name of a field name, ignoring case.
func Lookup(name string) Name {
	switch len(name) {
	case 2:
		return pick(name, "b3", B3, "te", TE)
	case 4:
		return pick(name, "host", Host, "", Other)
	case 6:
		return pick(name, "cookie", Cookie, "expect", Expect)
	case 7:
		return pick(name, "upgrade", Upgrade, "trailer", Trailer)
	case 10:
		if n := pick(name, "connection", Connection, "user-agent", UserAgent); n != Other {
			return n
		}
		return pick(name, "keep-alive", KeepAlive, "", Other)
	case 11:
		if n := pick(name, "traceparent", Traceparent, "x-b3-spanid", B3SpanID); n != Other {
			return n
		}
		return pick(name, "grpc-status", GRPCStatus, "", Other)
	case 12:
		if n := pick(name, "content-type", ContentType, "x-request-id", RequestID); n != Other {
			return n
		}
		return pick(name, "x-b3-traceid", B3TraceID, "grpc-message", GRPCMessage)
	case 13:
		if n := pick(name, "authorization", Authorization, "uber-trace-id", UberTraceID); n != Other {
			return n
		}
		return pick(name, "grpc-encoding", GRPCEncoding, "", Other)
	default:
		return lookupLong(name)
	}
}

func lookupLong(name string) Name {
	switch len(name) {
	case 14:
		if n := pick(name, "content-length", ContentLength, "http2-settings", HTTP2Settings); n != Other {
			return n
		}
		return pick(name, "x-datadog-tags", DatadogTags, "", Other)
	case 15:
		return pick(name, "x-amzn-trace-id", AmznTraceID, "", Other)
	case 16:
		if n := pick(name, "content-encoding", ContentEncoding, "x-correlation-id", CorrelationID); n != Other {
			return n
		}
		return pick(name, "proxy-connection", ProxyConnection, "", Other)
	case 17:
		return pick(name, "transfer-encoding", TransferEncoding, "", Other)
	case 18:
		return pick(name, "x-datadog-trace-id", DatadogTraceID, "", Other)
	case 19:
		return pick(name, "proxy-authorization", ProxyAuthorization, "x-datadog-parent-id", DatadogParentID)
	case 20:
		return pick(name, "x-amz-content-sha256", AmzContentSHA256, "", Other)
	}
	return Other
}

func pick(name, a string, an Name, b string, bn Name) Name {
	if Is(name, a) {
		return an
	}
	if b != "" && Is(name, b) {
		return bn
	}
	return Other
}

// Is compares s with lower, which must be in lower case, ignoring the case of ASCII letters in
// s.
func Is(s, lower string) bool {
	if len(s) != len(lower) {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c != lower[i] && (c < 'A' || c > 'Z' || c|0x20 != lower[i]) {
			return false
		}
	}
	return true
}

// HasToken reports whether a comma-separated list contains the token, which must be in lower
// case. Parameters after a semicolon are ignored.
func HasToken(list, lower string) bool {
	for list != "" {
		var item string
		item, list = Next(list)
		if Is(item, lower) {
			return true
		}
	}
	return false
}

// Next splits the first item off a comma-separated list, without its parameters and surrounding
// white space.
func Next(list string) (item, rest string) {
	end := len(list)
	for i := 0; i < len(list); i++ {
		if list[i] == ',' {
			end = i
			break
		}
	}
	item = list[:end]
	if end < len(list) {
		rest = list[end+1:]
	}
	for i := 0; i < len(item); i++ {
		if item[i] == ';' {
			item = item[:i]
			break
		}
	}
	return Trim(item), rest
}

// Trim removes optional white space (space and tab) from both ends.
func Trim(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}
