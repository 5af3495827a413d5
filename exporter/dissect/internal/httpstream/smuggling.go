package httpstream

import (
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/hpack"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpfield"
)

// Kinds of anomalies of messages that two readers may read differently.
const (
	smuggling = "smuggling" // a reader behind this one, in HTTP/1.1, may see other fields, lines or another end
	ambiguous = "ambiguous" // another reader may see another field, host or target, or refuse the message
	pseudo    = "pseudo_header"
)

// forbidden says what a field has that it must not have (RFC 9113 sections 8.2.1 and 8.2.2, RFC 9114 section 4.2), and
// the kind of its anomaly. why is empty for other fields.
func forbidden(f *hpack.Field) (kind, why string) {
	const controls = "\r\n\x00"
	special := strings.HasPrefix(f.Name, ":")
	name := strings.TrimPrefix(f.Name, ":")
	switch {
	case f.Unknown:
		return "", ""
	case strings.ContainsAny(f.Name, controls) || strings.ContainsAny(f.Value, controls):
		return smuggling, "has a line end or NUL"
	case strings.ContainsAny(name, ": \t"):
		return smuggling, "has a colon or white space in its name"
	case special && strings.ContainsAny(f.Value, " \t"):
		return smuggling, "has white space in its value"
	case f.Name == "transfer-encoding":
		return smuggling, "exists in HTTP/1.1 only"
	case f.Name == "connection" || f.Name == "proxy-connection" || f.Name == "keep-alive" || f.Name == "upgrade":
		return ambiguous, "exists in HTTP/1.1 only"
	case f.Name == "te" && !httpfield.Is(httpfield.Trim(f.Value), "trailers"):
		return ambiguous, "has another value than trailers"
	case name == "" || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f || 'A' <= r && r <= 'Z' }):
		return ambiguous, "has an upper-case letter or a byte in its name that no name may have, or no name"
	case f.Value != httpfield.Trim(f.Value):
		return ambiguous, "has white space at the beginning or end of its value"
	}
	return "", ""
}

// head collects what decides whether the head of a message is proper.
type head struct {
	regular bool // a field that is not a pseudo header came
	late    bool // a pseudo header came after it
	hosts   int
	host    string // last Host
	lengths int
	length  string
	differ  bool // another Content-Length has another value
}

func (k *head) note(f *hpack.Field) {
	switch k.regular = k.regular || !f.Unknown; {
	case f.Unknown:
	case httpfield.Is(f.Name, "host"):
		k.hosts, k.host = k.hosts+1, f.Value
	case httpfield.Is(f.Name, "content-length"):
		k.differ = k.differ || k.lengths > 0 && f.Value != k.length
		k.lengths, k.length = k.lengths+1, f.Value
	}
}

// checkHead reports a head that two readers may read differently (RFC 9113 sections 8.1.1 and 8.3, RFC 9114 section 4.3).
// whole is true if all its fields are known.
func (s *Stream) checkHead(c *dissect.Conn, kind string, k *head, whole bool) {
	report := func(what, detail string) {
		c.Anomaly(what, fmt.Sprintf("%s on stream %d: %s", kind, s.ID, detail), 0)
	}
	if _, ok := parseLength(k.length); k.differ {
		report(smuggling, "different Content-Lengths; DATA frames end the body, and a reader behind this one applies the first or the last")
	} else if k.lengths > 0 && !ok {
		report(smuggling, "a Content-Length that is not a number; DATA frames end the body, and a reader behind this one finds a number in it")
	} else if k.lengths > 1 {
		report(ambiguous, "Content-Length is repeated with one value; it was accepted, and another reader refuses it")
	}
	if kind == httpfield.Response {
		if s.Status == 0 && whole {
			report(pseudo, ":status is missing or no number; the response has no status, and another reader refuses it")
		}
		return
	}
	if whole {
		if detail := s.improper(); detail != "" {
			report(pseudo, detail+"; it was accepted, and another reader refuses it or fills in what it expects")
		}
	}
	switch why := httpfield.OddHost(s.Authority); {
	case why != "" && !strings.ContainsAny(s.Authority, " \t\r\n\x00"): // these are reported with the field
		report(ambiguous, ":authority has "+why+"; it was kept, and another reader finds another host in it")
	case s.Authority != "" && k.hosts > 0 && !httpfield.SameAuthority(s.Scheme, s.Authority, k.host):
		report(ambiguous, "Host differs from :authority, which counts; another reader uses Host")
	case k.hosts > 1:
		report(ambiguous, "Host is repeated; the first counts, and another reader uses the last")
	}
	if web := s.Scheme == "http" || s.Scheme == "https"; web && s.Path != "" && s.Path[0] != '/' && !(s.Path == "*" && s.Method == "OPTIONS") {
		report(ambiguous, ":path does not begin with a slash; it was kept, and a reader behind this one may read it as a host or an absolute target")
	}
}

// improper says which pseudo header of a request is missing or must not be there.
func (s *Stream) improper() string {
	tunnel := s.Method == "CONNECT" && s.Tunnel == ""
	switch {
	case s.Method == "":
		return ":method is missing"
	case tunnel && s.Authority == "":
		return "CONNECT without :authority"
	case tunnel && (s.Scheme != "" || s.HasPath):
		return "CONNECT with :scheme or :path"
	case tunnel:
		return ""
	case s.Tunnel != "" && s.Method != "CONNECT":
		return ":protocol in a request that is not CONNECT"
	case s.Scheme == "":
		return ":scheme is missing"
	case s.Path == "" && !s.Query.OK:
		return ":path is missing or empty"
	}
	return ""
}

// CheckLength reports a message whose Content-Length is not the length of its body (RFC 9113 section 8.1.1, RFC 9114
// section 4.1.2). Call it at the end of the stream, after Settle.
func (s *Stream) CheckLength(c *dissect.Conn, e *End) {
	if e.Gap || s.Method == "CONNECT" {
		return
	}
	bodiless := s.Method == "HEAD" || s.Method == "" || s.Status == 204 || s.Status == 304
	for dir, kind := range [...]string{dissect.ToServer: httpfield.Request, dissect.ToClient: httpfield.Response} {
		q := &s.Half[dir]
		if !q.Head || !q.End || !q.length.OK || q.length.V == q.size() || dissect.Dir(dir) == dissect.ToClient && bodiless {
			continue
		}
		c.Anomaly(smuggling, fmt.Sprintf("%s on stream %d: Content-Length is %d, its body has %d bytes; DATA frames ended it, and a reader behind this one applies Content-Length", kind, s.ID, q.length.V, q.size()), 0)
	}
}
