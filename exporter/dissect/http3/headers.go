package http3

import (
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpfield"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpstream"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/qpack"
)

type qfield = qpack.Field

// addFields adds a section's fields to a stream: as head, as an interim response, or as
// trailers.
func (h *conn) addFields(s *stream, dir dissect.Dir, fields []qfield, wire int64) {
	q := &s.Half[dir]
	trailers := q.Head || q.Data && httpstream.Trailing(fields)
	had, was := len(s.Headers), s.Held()
	s.AddFields(h.c, dir, fields, wire, trailers)
	h.checkHeaders(s, had, was)
	if !trailers && dir == dissect.ToServer {
		s.tunnelled()
	}
}

// promise adds the fields of a PUSH_PROMISE to the pushed stream.
func (h *conn) promise(s *stream, fields []qfield) {
	had, was := len(s.Headers), s.Held()
	s.Fields(h.c, fields, httpfield.Request, dissect.ToServer)
	h.checkHeaders(s, had, was)
}

// checkHeaders examines the headers added to a stream, which had the given number of headers and
// bytes before.
func (h *conn) checkHeaders(s *stream, had, was int) {
	for i := had; i < len(s.Headers); i++ {
		x := &s.Headers[i]
		head := x.Kind == httpfield.Request || x.Kind == httpfield.Response
		if x.Name == "capsule-protocol" && head && httpfield.HasToken(x.Value, "?1") {
			s.more().capsules = true
		}
	}
	h.hold(s, s.Held()-was)
}
