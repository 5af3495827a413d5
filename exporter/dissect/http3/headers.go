package http3

import (
	"fmt"
	"strconv"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpfield"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/qpack"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// interim is the kind of headers that came with a 1xx status.
const interim = "interim"

type qfield = qpack.Field

// take gives a section's fields to a stream: as head, as a 1xx answer, or as trailers.
func (h *conn) take(s *stream, dir dissect.Dir, fields []qfield, wire int64) {
	q := &s.half[dir]
	switch {
	case q.head || q.data && trailing(fields):
		kind := httpfield.RequestTrailer
		if dir == dissect.ToClient {
			kind = httpfield.ResponseTrailer
		}
		h.fields(s, fields, kind, dir)
	case dir == dissect.ToServer:
		q.head, q.wire = true, wire
		h.fields(s, fields, httpfield.Request, dir)
		if s.tunnel != "" {
			s.tunnelled()
		}
	default:
		if code := statusOf(fields); code >= 100 && code < 200 {
			if len(s.interim) > maxInterim {
				h.c.Anomaly("limit", fmt.Sprintf("interim responses on stream %d", s.id), 0)
				return
			}
			if s.interim != "" {
				s.interim += ","
			}
			s.interim += strconv.Itoa(int(code))
			h.fields(s, fields, interim, dir)
			return
		}
		q.head, q.wire = true, wire
		h.fields(s, fields, httpfield.Response, dir)
	}
}

// maxInterim is how long the list of interim status codes may be.
const maxInterim = 1000

// trailing reports whether fields are trailers although no head was seen: none is a
// pseudo header or may be one.
func trailing(fields []qfield) bool {
	for i := range fields {
		if f := &fields[i]; f.Name != "" && f.Name[0] == ':' || f.Name == qpack.UnknownText {
			return false
		}
	}
	return true
}

func statusOf(fields []qfield) int32 {
	for i := range fields {
		if fields[i].Name == ":status" {
			n, err := strconv.ParseUint(fields[i].Value, 10, 16)
			if err != nil {
				return 0
			}
			return int32(n)
		}
	}
	return 0
}

// fields appends headers; pseudo headers of a head become columns instead.
func (h *conn) fields(s *stream, fields []qfield, kind string, dir dissect.Dir) {
	if s.headers == nil {
		s.headers = make([]table.Header, 0, len(fields)+6)
	}
	was := s.held
	defer func() { h.hold(s, s.held-was) }()
	for i := range fields {
		f := &fields[i]
		if f.Name != "" && f.Name[0] == ':' && !f.Unknown {
			if s.pseudo(f.Name, httpfield.ValidText(f.Value), kind) {
				s.held += len(f.Value)
				continue
			}
			h.c.Anomaly("pseudo_header", fmt.Sprintf("%q a second time or out of place on stream %d", text([]byte(f.Name)), s.id), 0)
		}
		if len(s.headers) >= maxHeaders || s.held > maxHeld {
			h.c.Anomaly("limit", fmt.Sprintf("stream %d has over %d headers or %d bytes of them", s.id, maxHeaders, maxHeld), 0)
			break
		}
		s.held += len(f.Name) + len(f.Value) + headerCost
		s.headers = append(s.headers, table.Header{Name: httpfield.ValidText(f.Name), Value: httpfield.ValidText(f.Value), Kind: kind})
		if kind == httpfield.Request || kind == httpfield.Response {
			s.note(&s.headers[len(s.headers)-1], dir)
		}
	}
}

// pseudo keeps a pseudo header; false where it came before or does not belong there.
func (s *stream) pseudo(name, value, kind string) bool {
	if kind == httpfield.Request {
		var to *string
		switch name {
		case ":method":
			to = &s.method
		case ":scheme":
			to = &s.scheme
		case ":authority":
			to = &s.authority
		case ":protocol":
			to = &s.tunnel
		case ":path":
			if s.hasPath {
				return false
			}
			s.hasPath = true
			s.path, s.query = httpfield.SplitTarget(value)
			return true
		}
		if to == nil || *to != "" {
			return false
		}
		*to = value
		return true
	}
	if name != ":status" || kind == httpfield.Response && s.status != 0 {
		return false
	}
	if kind == httpfield.Response {
		n, err := strconv.ParseUint(value, 10, 16)
		if err != nil {
			return false
		}
		s.status = int32(n)
	}
	return kind != httpfield.ResponseTrailer
}
