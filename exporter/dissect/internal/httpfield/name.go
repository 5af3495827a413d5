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
	PlainCorrelationID
	IdempotencyKey
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
	CloudTrace
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

// texts are the names in lower case.
var texts = [...]string{
	Host:               "host",
	UserAgent:          "user-agent",
	ContentType:        "content-type",
	ContentLength:      "content-length",
	ContentEncoding:    "content-encoding",
	TransferEncoding:   "transfer-encoding",
	Connection:         "connection",
	ProxyConnection:    "proxy-connection",
	KeepAlive:          "keep-alive",
	Upgrade:            "upgrade",
	Expect:             "expect",
	Trailer:            "trailer",
	TE:                 "te",
	HTTP2Settings:      "http2-settings",
	Cookie:             "cookie",
	Authorization:      "authorization",
	ProxyAuthorization: "proxy-authorization",
	RequestID:          "x-request-id",
	CorrelationID:      "x-correlation-id",
	PlainCorrelationID: "correlation-id",
	IdempotencyKey:     "idempotency-key",
	Traceparent:        "traceparent",
	B3:                 "b3",
	B3TraceID:          "x-b3-traceid",
	B3SpanID:           "x-b3-spanid",
	AmznTraceID:        "x-amzn-trace-id",
	UberTraceID:        "uber-trace-id",
	AmzContentSHA256:   "x-amz-content-sha256",
	DatadogTraceID:     "x-datadog-trace-id",
	DatadogParentID:    "x-datadog-parent-id",
	DatadogTags:        "x-datadog-tags",
	CloudTrace:         "x-cloud-trace-context",
	GRPCEncoding:       "grpc-encoding",
	GRPCStatus:         "grpc-status",
	GRPCMessage:        "grpc-message",
}

// byLength are the names of each length in bytes.
var byLength = func() (t [32][]Name) {
	for n, text := range texts {
		t[len(text)] = append(t[len(text)], Name(n))
	}
	return t
}()

// Lookup returns the Name of a field name, ignoring case.
func Lookup(name string) Name {
	if len(name) < len(byLength) {
		for _, n := range byLength[len(name)] {
			if Is(name, texts[n]) {
				return n
			}
		}
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
