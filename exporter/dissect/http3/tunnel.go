package http3

import (
	"fmt"
	"strconv"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Limits of the listed parts of a tunnel.
const (
	maxListed   = 64 // streams of a WebTransport session
	maxCapsules = 16 // capsule types; more are counted together
)

// extra has the fields that few streams need: datagrams, capsules, the streams of a session.
type extra struct {
	datagrams, datagramBytes int64

	capsules bool // the bodies are capsules
	types    []capsuleCount
	others   int64

	streams, bytes int64
	list           []sessionStream
}

type capsuleCount struct {
	typ, n int64
}

type sessionStream struct {
	id    int64
	bytes [2]int64
}

// more returns the stream's extra and creates it on first use.
func (s *stream) more() *extra {
	if s.extra == nil {
		s.extra = &extra{}
	}
	return s.extra
}

// tunnelled examines the :protocol of an extended CONNECT: some protocols always use capsules.
func (s *stream) tunnelled() {
	switch s.Tunnel {
	case "connect-udp", "connect-ip", "webtransport", "webtransport-h3":
		s.more().capsules = true
	}
}

// fill sets the columns; e may be nil.
func (e *extra) fill(r *Row) {
	if e == nil {
		return
	}
	if e.datagrams > 0 {
		r.Datagrams, r.DatagramBytes = table.Some(e.datagrams), table.Some(e.datagramBytes)
	}
	r.Capsules = table.NonEmpty(e.capsuleText())
	if e.streams == 0 {
		return
	}
	r.SessionStreams, r.SessionBytes = table.Some(e.streams), table.Some(e.bytes)
	var b []byte
	for i := range e.list {
		l := &e.list[i]
		if i > 0 {
			b = append(b, ' ')
		}
		b = strconv.AppendInt(b, l.id, 10)
		b = strconv.AppendInt(append(b, ':'), l.bytes[dissect.ToServer], 10)
		b = strconv.AppendInt(append(b, '/'), l.bytes[dissect.ToClient], 10)
	}
	r.SessionList = table.Some(string(b))
}

func (e *extra) capsuleText() string {
	var b []byte
	add := func(name string, n int64) {
		if len(b) > 0 {
			b = append(b, ", "...)
		}
		b = append(append(b, name...), ' ')
		b = strconv.AppendInt(b, n, 10)
	}
	for _, c := range e.types {
		add(capsuleName(c.typ), c.n)
	}
	if e.others > 0 {
		add("others", e.others)
	}
	return string(b)
}

// capsuleName is the name of a capsule type, RFC 9297 section 3.5, RFC 9484 section 4.7
// and WebTransport over HTTP/3.
func capsuleName(typ int64) string {
	switch typ {
	case 0x00:
		return "DATAGRAM"
	case 0x01:
		return "ADDRESS_ASSIGN"
	case 0x02:
		return "ADDRESS_REQUEST"
	case 0x03:
		return "ROUTE_ADVERTISEMENT"
	case 0x2843:
		return "CLOSE_WEBTRANSPORT_SESSION"
	case 0x78ae:
		return "DRAIN_WEBTRANSPORT_SESSION"
	case 0x190b4d3d:
		return "WT_MAX_DATA"
	case 0x190b4d3f:
		return "WT_MAX_STREAMS_BIDI"
	case 0x190b4d40:
		return "WT_MAX_STREAMS_UNI"
	case 0x190b4d41:
		return "WT_DATA_BLOCKED"
	case 0x190b4d43:
		return "WT_STREAMS_BLOCKED_BIDI"
	case 0x190b4d44:
		return "WT_STREAMS_BLOCKED_UNI"
	}
	return "0x" + strconv.FormatInt(typ, 16)
}

// capsule follows the capsules of one direction in arbitrary pieces.
type capsule struct {
	head [16]byte // type and length so far
	n    uint8
	left int64 // of the value, still to come
	lost bool
}

func (c *capsule) read(e *extra, p []byte) {
	for len(p) > 0 && !c.lost {
		if c.left > 0 {
			k := min(c.left, int64(len(p)))
			c.left -= k
			p = p[k:]
			continue
		}
		k := copy(c.head[c.n:], p)
		f, ok := parseFrame(c.head[:int(c.n)+k]) // a capsule has the same head as a frame
		if !ok {
			c.n += uint8(k)
			return
		}
		p = p[f.head-int(c.n):]
		c.n, c.left = 0, f.size
		e.saw(f.typ)
	}
}

// missing reports that n bytes were lost.
func (c *capsule) missing(n int64) {
	if c.left < n {
		c.lost = true
		return
	}
	c.left -= n
}

func (e *extra) saw(typ int64) {
	for i := range e.types {
		if e.types[i].typ == typ {
			e.types[i].n++
			return
		}
	}
	if len(e.types) >= maxCapsules {
		e.others++
		return
	}
	e.types = append(e.types, capsuleCount{typ, 1})
}

// ReadDatagram counts an HTTP datagram for its request, RFC 9297 section 2.1.
func (h *conn) ReadDatagram(in *dissect.Input) {
	quarter, n := varint(in.Data)
	if n == 0 || quarter > largestID/4 {
		h.c.Anomaly("datagram", fmt.Sprintf("a datagram of %d bytes names no stream", len(in.Data)), int64(len(in.Data)))
		return
	}
	id := quarter * 4
	s := h.find(id)
	if s == nil {
		if h.isClosed(id, len(in.Data)) {
			return
		}
		s = h.open(id)
	}
	e := s.more()
	e.datagrams++
	e.datagramBytes += int64(len(in.Data) - n)
	s.Add(in, in.Dir, 0, len(in.Data))
}

// openSession begins a bidirectional stream of a WebTransport session; in.Data[:n] is its
// signal value.
func (h *conn) openSession(id int64, in *dissect.Input, n int) (int, error) {
	session, k := varint(in.Data[n:])
	if k == 0 {
		return 0, nil
	}
	if !h.roomForUni() {
		return 0, fmt.Errorf("reading stream %d: more than %d open streams of sessions", id, maxUni)
	}
	u := &uni{kind: uniSession, of: session}
	h.uni[id] = u
	return h.readSession(u, id, in, n+k), nil
}

// readSession counts bytes of a stream for its session; the first n bytes are the stream's head.
func (h *conn) readSession(u *uni, id int64, in *dissect.Input, n int) int {
	if in.End {
		u.ended[in.Dir] = true
		if id&oneWayBit != 0 || u.ended[in.Dir.Other()] {
			delete(h.uni, id)
		}
	}
	if u.kind == uniIgnored {
		return len(in.Data)
	}
	s := h.find(u.of)
	if s == nil {
		if len(in.Data) == 0 || h.isClosed(u.of, len(in.Data)) {
			return len(in.Data)
		}
		if u.of&3 != 0 {
			h.c.Anomaly("webtransport", fmt.Sprintf("stream %d belongs to session %d, which is not a request", id, u.of), int64(len(in.Data)))
			u.kind = uniIgnored
			return len(in.Data)
		}
		s = h.open(u.of)
	}
	e := s.more()
	if n > 0 {
		if e.streams++; len(e.list) < maxListed {
			e.list = append(e.list, sessionStream{id: id})
		}
	}
	bytes := int64(len(in.Data) - n)
	e.bytes += bytes
	for i := range e.list {
		if e.list[i].id == id {
			e.list[i].bytes[in.Dir] += bytes
		}
	}
	s.Add(in, in.Dir, 0, len(in.Data))
	return len(in.Data)
}
