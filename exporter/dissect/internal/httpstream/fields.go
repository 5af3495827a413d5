package httpstream

import (
	"fmt"
	"strconv"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/hpack"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpfield"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Limits of one stream.
const (
	maxHeaders = 4096    // headers, both sides
	maxHeld    = 1 << 20 // bytes of headers
	headerCost = 48      // memory of a header in addition to its text
	maxInterim = 1000    // bytes of a stream's list of interim status codes
	maxShown   = 100     // bytes of a peer's text that an anomaly shows
)

// interim is the kind of headers in a 1xx response.
const interim = "interim"

// AddFields adds the fields of a header section of wire bytes to the stream: as trailers, as an
// interim response, or as head.
func (s *Stream) AddFields(c *dissect.Conn, dir dissect.Dir, fields []hpack.Field, wire int64, trailers bool) {
	q := &s.Half[dir]
	switch {
	case trailers && dir == dissect.ToServer:
		s.Fields(c, fields, httpfield.RequestTrailer, dir)
		return
	case trailers:
		s.Fields(c, fields, httpfield.ResponseTrailer, dir)
		return
	case dir == dissect.ToClient:
		if code := InterimStatus(fields); code != 0 {
			if len(s.Interim) > maxInterim {
				c.Anomaly("limit", fmt.Sprintf("too many interim responses on stream %d", s.ID), 0)
				return
			}
			if s.Interim != "" {
				s.Interim += ","
			}
			s.Interim += strconv.Itoa(int(code))
			s.Fields(c, fields, interim, dir)
			return
		}
	}
	// Any missing bytes came before the head, so none belong to this message.
	q.Head, q.Wire, q.Suspect = true, wire, false
	kind := httpfield.Request
	if dir == dissect.ToClient {
		kind = httpfield.Response
	}
	s.Fields(c, fields, kind, dir)
}

// Trailing reports whether fields can be trailers: no field is or may be a pseudo header.
func Trailing(fields []hpack.Field) bool {
	for i := range fields {
		if f := &fields[i]; f.Name != "" && f.Name[0] == ':' || f.Name == hpack.UnknownText {
			return false
		}
	}
	return true
}

// InterimStatus returns the :status of a 1xx response, or 0 for other fields.
func InterimStatus(fields []hpack.Field) int32 {
	for i := range fields {
		if fields[i].Name == ":status" {
			n, err := strconv.ParseUint(fields[i].Value, 10, 16)
			if err != nil || n < 100 || n >= 200 {
				return 0
			}
			return int32(n)
		}
	}
	return 0
}

// Fields appends headers of one kind; pseudo headers of a head become columns instead.
func (s *Stream) Fields(c *dissect.Conn, fields []hpack.Field, kind string, dir dissect.Dir) {
	if s.Headers == nil {
		s.Headers = make([]table.Header, 0, len(fields)+6)
	}
	for i := range fields {
		f := &fields[i]
		if why := forbidden(f); why != "" {
			c.Anomaly("smuggling", fmt.Sprintf("%s on stream %d: field %q %s", kind, s.ID, Shown([]byte(f.Name)), why), 0)
		}
		if f.Name != "" && f.Name[0] == ':' && !f.Unknown {
			if s.pseudo(f.Name, httpfield.ValidText(f.Value), kind) {
				s.held += len(f.Value)
				continue
			}
			c.Anomaly("pseudo_header", fmt.Sprintf("%q is repeated or out of place on stream %d", Shown([]byte(f.Name)), s.ID), 0)
		}
		if len(s.Headers) >= maxHeaders || s.held > maxHeld {
			c.Anomaly("limit", fmt.Sprintf("stream %d has more than %d headers or %d bytes of them", s.ID, maxHeaders, maxHeld), 0)
			break
		}
		s.held += len(f.Name) + len(f.Value) + headerCost
		s.Headers = append(s.Headers, table.Header{Name: httpfield.ValidText(f.Name), Value: httpfield.ValidText(f.Value), Kind: kind})
		if kind == httpfield.Request || kind == httpfield.Response {
			s.Note(&s.Headers[len(s.Headers)-1], dir)
		}
	}
}

// pseudo keeps a pseudo header. It returns false if the header is repeated or out of place.
func (s *Stream) pseudo(name, value, kind string) bool {
	if kind == httpfield.Request {
		var to *string
		switch name {
		case ":method":
			to = &s.Method
		case ":scheme":
			to = &s.Scheme
		case ":authority":
			to = &s.Authority
		case ":protocol":
			to = &s.Tunnel
		case ":path":
			if s.HasPath {
				return false
			}
			s.HasPath = true
			s.Path, s.Query = httpfield.SplitTarget(value)
			return true
		}
		if to == nil || *to != "" {
			return false
		}
		*to = value
		return true
	}
	if name != ":status" || kind == httpfield.Response && s.Status != 0 {
		return false
	}
	if kind == httpfield.Response {
		n, err := strconv.ParseUint(value, 10, 16)
		if err != nil {
			return false
		}
		s.Status = int32(n)
	}
	return kind != httpfield.ResponseTrailer
}

// Shown is a short readable string of bytes that a peer sent.
func Shown(b []byte) string { return httpfield.Text(b[:min(len(b), maxShown)]) }
