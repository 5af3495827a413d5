package grpc

import (
	"encoding/base64"
	"math"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpfield"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/protoview"
)

// isBase64 reports whether the content type is gRPC-Web's text form.
func isBase64(contentType string) bool {
	const prefix = "application/grpc-web-text"
	return len(contentType) >= len(prefix) && httpfield.Is(contentType[:len(prefix)], prefix)
}

func isJSON(contentType string) bool {
	_, sub, ok := strings.Cut(contentType, "+")
	return ok && len(sub) >= 4 && httpfield.Is(sub[:4], "json")
}

// Payload is the part of the body with the messages: body itself, or its decoded base64 if the
// content type is gRPC-Web's text form. The sender may pad each piece that it flushes, so there
// may be several base64 runs; nothing is read after an error.
func Payload(contentType string, body []byte) []byte {
	if !isBase64(contentType) {
		return body
	}
	out := make([]byte, 0, len(body)/4*3)
	var quad [4]byte
	var three [3]byte
	n := 0
	for _, c := range body {
		if c == '\r' || c == '\n' {
			continue
		}
		quad[n] = c
		if n++; n < 4 {
			continue
		}
		n = 0
		k, err := base64.StdEncoding.Decode(three[:], quad[:])
		out = append(out, three[:k]...)
		if err != nil {
			break
		}
	}
	return out
}

// unescape decodes percent coding as gRPC's protocol page defines it for grpc-message. Other
// text is unchanged.
func unescape(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				out = append(out, byte(n))
				i += 2
				continue
			}
		}
		out = append(out, s[i])
	}
	return string(out)
}

// details renders the google.rpc.Status in a binary header, which may lack its padding.
func details(s string) (string, bool) {
	b, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(httpfield.Trim(s), "="))
	if err != nil {
		return "", false
	}
	return valid(protoview.Append(nil, b, maxText)), true
}

// timeout reads at most eight digits and a unit, rounded down to microseconds.
func timeout(s string) (us table.Opt[int64]) {
	s = httpfield.Trim(s)
	if len(s) < 2 {
		return us
	}
	n, err := strconv.ParseUint(s[:len(s)-1], 10, 63)
	if err != nil {
		return us
	}
	v := int64(n)
	switch s[len(s)-1] {
	case 'n':
		return table.Some(v / 1000)
	case 'u':
		return table.Some(v)
	case 'm':
		return times(v, 1e3)
	case 'S':
		return times(v, 1e6)
	case 'M':
		return times(v, 60e6)
	case 'H':
		return times(v, 3600e6)
	}
	return us
}

func times(v, unit int64) (us table.Opt[int64]) {
	if v > math.MaxInt64/unit {
		return us
	}
	return table.Some(v * unit)
}
