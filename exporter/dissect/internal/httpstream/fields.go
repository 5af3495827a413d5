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
	lossless := !q.Suspect && !q.MissingFields
	q.Head, q.Wire, q.Suspect = true, wire, false
	kind := httpfield.Request
	if dir == dissect.ToClient {
		kind = httpfield.Response
	}
	s.fields(c, fields, kind, dir, lossless)
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
	s.fields(c, fields, kind, dir, true)
}

// fields is Fields for a section before which no other one of its message is missing, if lossless is true.
func (s *Stream) fields(c *dissect.Conn, fields []hpack.Field, kind string, dir dissect.Dir, lossless bool) {
	if s.Headers == nil {
		s.Headers = make([]table.Header, 0, len(fields)+6)
	}
	var k head
	for i := range fields {
		f := &fields[i]
		if what, why := forbidden(f); why != "" {
			c.Anomaly(what, fmt.Sprintf("%s on stream %d: field %q %s; it was kept, and another reader refuses or changes it", kind, s.ID, Shown([]byte(f.Name)), why), 0)
		}
		if f.Name != "" && f.Name[0] == ':' && !f.Unknown {
			if k.regular && !k.late {
				k.late = true
				c.Anomaly(pseudo, fmt.Sprintf("%s on stream %d: %q comes after other fields; it counts, and another reader ignores it or refuses the message", kind, s.ID, Shown([]byte(f.Name))), 0)
			}
			if s.pseudo(f.Name, httpfield.ValidText(f.Value), kind) {
				s.held += len(f.Value)
				continue
			}
			c.Anomaly(pseudo, fmt.Sprintf("%s on stream %d: %q is unknown, repeated or out of place; it is kept as a field, and another reader applies it or refuses the message", kind, s.ID, Shown([]byte(f.Name))), 0)
		} else {
			k.note(f)
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
	if kind == httpfield.Request || kind == httpfield.Response {
		s.checkHead(c, kind, &k, lossless && !s.Malformed && !s.Dropped && s.Unknown == 0)
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
