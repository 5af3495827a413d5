package httpstream

import (
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/hpack"
)

// forbidden says why a server that speaks HTTP/1.1 behind this one could read the field as another one, or see the
// end of the message at another place (RFC 9113 sections 8.2.1 and 8.2.2, RFC 9114 section 4.2). It is empty for
// other fields.
func forbidden(f *hpack.Field) string {
	const controls = "\r\n\x00"
	switch {
	case f.Unknown:
		return ""
	case strings.ContainsAny(f.Name, controls) || strings.ContainsAny(f.Value, controls):
		return "has a line end or NUL"
	case strings.ContainsAny(strings.TrimPrefix(f.Name, ":"), ": \t"):
		return "has a colon or white space in its name"
	case f.Name == "transfer-encoding":
		return "exists in HTTP/1.1 only"
	}
	return ""
}

// CheckLength reports a request whose Content-Length is not the length of its body (RFC 9113 section 8.1.1, RFC 9114
// section 4.1.2). Call it at the end of the stream, after Settle.
func (s *Stream) CheckLength(c *dissect.Conn, e *End) {
	q := &s.Half[dissect.ToServer]
	if e.Gap || !q.Head || !q.End || s.Method == "CONNECT" || !q.length.OK || q.length.V == q.size() {
		return
	}
	c.Anomaly("smuggling", fmt.Sprintf("request on stream %d: Content-Length is %d, its body has %d bytes", s.ID, q.length.V, q.size()), 0)
}
