package http3

import (
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpstream"
)

// maxUni is the largest number of open unidirectional streams and WebTransport streams.
const maxUni = 4096

// uniKind is the kind of a stream that is not a request.
type uniKind uint8

const (
	uniControl uniKind = iota
	uniPush
	uniEncoder
	uniDecoder
	uniSession
	uniIgnored
)

// uni is a unidirectional stream, or any stream of a WebTransport session.
type uni struct {
	kind     uniKind
	of       int64 // push id, or stream of the session
	left     int64 // control: bytes of a frame that are skipped
	settings bool  // control: the first frame was read
	ended    [2]bool
	gone     bool // its sender gave it up; some of its bytes may still come
}

// roomForUni reports whether one more of these streams may be opened.
func (h *conn) roomForUni() bool {
	if len(h.uni) >= maxUni {
		for id, u := range h.uni {
			if u.gone {
				delete(h.uni, id)
			}
		}
	}
	if h.uni == nil {
		h.uni = map[int64]*uni{}
	}
	return len(h.uni) < maxUni
}

// readUni consumes bytes of a unidirectional stream.
func (h *conn) readUni(id int64, in *dissect.Input) (int, error) {
	n := 0
	u := h.uni[id]
	if u == nil {
		if len(in.Data) == 0 {
			return 0, nil
		}
		var err error
		if u, n, err = h.openUni(id, in); u == nil {
			return 0, err
		}
	}
	var err error
	switch u.kind {
	case uniControl:
		n = h.readControl(u, in, n)
	case uniPush:
		n, err = h.readPush(u, id, in, n)
	case uniEncoder:
		n, err = h.readEncoder(in, n)
	case uniDecoder:
		var k int
		if k, err = h.sides[in.Dir.Other()].dec.Acks(in.Data[n:]); err != nil {
			err = fmt.Errorf("reading QPACK decoder stream %s: %w", in.Dir, err)
		}
		n += k
	case uniSession:
		n = h.readSession(u, id, in, n)
	default:
		n = len(in.Data)
	}
	if in.End && n == len(in.Data) || err != nil {
		delete(h.uni, id)
	}
	return n, err
}

// openUni reads the type of a unidirectional stream, and for some types its owner. It returns
// nil if these bytes are incomplete.
func (h *conn) openUni(id int64, in *dissect.Input) (*uni, int, error) {
	typ, n := varint(in.Data)
	if n == 0 {
		return nil, 0, nil
	}
	if !h.roomForUni() {
		return nil, 0, fmt.Errorf("reading stream %d: more than %d open unidirectional streams", id, maxUni)
	}
	u := &uni{}
	sd := &h.sides[in.Dir]
	switch typ {
	case streamControl, streamEncoder, streamDecoder:
		if sd.has[typ] {
			return nil, 0, fmt.Errorf("reading stream %d: a second stream of type 0x%x %s", id, typ, in.Dir)
		}
		sd.has[typ] = true
		u.kind = [...]uniKind{uniControl, uniPush, uniEncoder, uniDecoder}[typ]
	case streamPush, streamSession:
		of, k := varint(in.Data[n:])
		if k == 0 {
			return nil, 0, nil
		}
		if typ == streamPush && in.Dir == dissect.ToServer {
			return nil, 0, fmt.Errorf("reading stream %d: the client must not push", id)
		}
		u.kind, u.of, n = uniPush, of, n+k
		if typ == streamSession {
			u.kind = uniSession
		}
	default:
		u.kind = uniIgnored
		if !reserved(typ) {
			h.c.Anomaly("unknown_stream", fmt.Sprintf("unidirectional stream %d %s of type 0x%x", id, in.Dir, typ), int64(len(in.Data)))
		}
	}
	h.uni[id] = u
	return u, n, nil
}

// gapUni is GapStream for a unidirectional stream.
func (h *conn) gapUni(id int64, in *dissect.Input, missing int64) bool {
	u := h.uni[id]
	sd, other := &h.sides[in.Dir], &h.sides[in.Dir.Other()]
	if u == nil { // its type is lost, so it may be one that matters
		if !sd.has[streamEncoder] {
			sd.has[streamEncoder] = true
			sd.dec.Lose()
		}
		if !sd.has[streamDecoder] {
			other.dec.LoseAcks()
		}
		return false
	}
	switch u.kind {
	case uniControl:
		if missing <= u.left && len(in.Data) == 0 {
			u.left -= missing
			return true
		}
	case uniPush:
		if s := h.pushes[u.of]; s != nil {
			return h.gapFrames(s, id, in, missing)
		}
	case uniEncoder:
		sd.dec.Lose()
	case uniDecoder:
		other.dec.LoseAcks()
	default:
		return true
	}
	delete(h.uni, id)
	return false
}

// readEncoder reads instructions of an encoder stream.
func (h *conn) readEncoder(in *dissect.Input, n int) (int, error) {
	sd := &h.sides[in.Dir]
	for n < len(in.Data) {
		until, ok := h.next(sd, in)
		if !ok {
			break
		}
		was := sd.dec.Capacity()
		k, err := sd.dec.Insertions(in.Data[n:], until)
		n += k
		if c := sd.dec.Capacity(); c != was {
			if most, known := sd.dec.Max(); known && c > most {
				h.c.Anomaly("qpack_table_size", fmt.Sprintf("the table capacity %d exceeds the announced %d", c, most), 0)
			}
		}
		if err != nil {
			return n, fmt.Errorf("reading QPACK encoder stream %s: %w", in.Dir, err)
		}
		if k == 0 {
			break
		}
	}
	return n, nil
}

// readPush reads frames of a push stream.
func (h *conn) readPush(u *uni, id int64, in *dissect.Input, n int) (int, error) {
	s := h.push(u.of)
	if s == nil {
		h.c.Anomaly("late_data", fmt.Sprintf("push %d after its end", u.of), int64(len(in.Data)))
		u.kind = uniIgnored
		return len(in.Data), nil
	}
	if s.ID == noStream {
		s.ID = id
		s.X.StreamID.V, s.X.StreamID.OK = id, true
	} else if s.ID != id {
		return 0, fmt.Errorf("reading stream %d: push %d already has stream %d", id, u.of, s.ID)
	}
	k, err := h.readFrames(s, id, in, n, false)
	return k, err
}

// readControl reads frames of a control stream.
func (h *conn) readControl(u *uni, in *dissect.Input, n int) int {
	for n < len(in.Data) {
		if u.left > 0 {
			k := int(min(u.left, int64(len(in.Data)-n)))
			u.left -= int64(k)
			n += k
			continue
		}
		f, ok := parseFrame(in.Data[n:])
		if !ok {
			break
		}
		k := h.skipLength(in.Dir, f)
		if k < 0 && len(in.Data) < n+f.head+int(f.size) {
			break
		}
		if !u.settings {
			if u.settings = true; f.typ != frameSettings {
				h.c.Anomaly("settings", fmt.Sprintf("the control stream %s begins with frame type 0x%x", in.Dir, f.typ), 0)
			}
		} else if f.typ == frameSettings {
			h.c.Anomaly("settings", "a second SETTINGS frame "+in.Dir.String(), f.size)
		}
		if k >= 0 {
			n, u.left = n+f.head, k
			continue
		}
		end := n + f.head + int(f.size)
		h.control(in, n, end, f, in.Data[n+f.head:end])
		n = end
	}
	return n
}

// skipLength returns the length of a frame on a control stream that is skipped, else -1.
func (h *conn) skipLength(dir dissect.Dir, f frame) int64 {
	switch f.typ {
	case frameCancelPush, frameSettings, frameGoAway, frameMaxPushID, framePriorityRequest, framePriorityPush:
		if f.size <= maxControl {
			return -1
		}
		h.c.Anomaly("limit", fmt.Sprintf("control frame type 0x%x of %d bytes exceeds the limit of %d", f.typ, f.size, maxControl), f.size)
	case frameOrigin:
	case frameData, frameHeaders, framePushPromise, frameSession, 0x2, 0x6, 0x8, 0x9:
		h.c.Anomaly("frame_unexpected", fmt.Sprintf("frame type 0x%x of %d bytes on the control stream %s", f.typ, f.size, dir), f.size)
	default:
		if !reserved(f.typ) {
			h.c.Anomaly("unknown_frame", fmt.Sprintf("frame type 0x%x of %d bytes on the control stream %s", f.typ, f.size, dir), f.size)
		}
	}
	return f.size
}

// control reads a complete frame of a control stream.
func (h *conn) control(in *dissect.Input, from, to int, f frame, body []byte) {
	if f.typ == frameSettings {
		h.settings(in.Dir, body)
		return
	}
	v, n := varint(body)
	priority := f.typ == framePriorityRequest || f.typ == framePriorityPush
	if n == 0 || n < len(body) && !priority {
		h.c.Anomaly("malformed", fmt.Sprintf("control frame type 0x%x of %d bytes", f.typ, f.size), f.size)
		return
	}
	switch f.typ {
	case frameGoAway:
		if in.Dir == dissect.ToClient { // the client's GOAWAY contains a push id
			h.goaway = min(h.goaway, v)
			h.goaways++
			for s := h.list.Oldest(); s != nil && h.goaways <= maxGoAways; s = s.place.Next() {
				if s.ID >= v && s.ID&3 == 0 {
					s.X.Cite(in, from, to)
				}
			}
		}
	case frameMaxPushID:
		h.sides[in.Dir].maxPush = max(h.sides[in.Dir].maxPush, v)
	case frameCancelPush:
		if s := h.pushes[v]; s != nil {
			s.X.Cite(in, from, to)
			if !s.Reset {
				s.Reset, s.ResetBy = true, in.Dir
			}
			if r := &s.read[dissect.ToClient]; !s.Half[dissect.ToClient].Head && !r.open && s.ID == noStream {
				r.reset = true
				h.settle(s)
			}
		}
	default:
		h.prioritise(in, from, to, f, v, body[n:])
	}
}

// prioritise records a PRIORITY_UPDATE, which may come before its request.
func (h *conn) prioritise(in *dissect.Input, from, to int, f frame, id int64, value []byte) {
	s := h.pushes[id]
	if f.typ == framePriorityRequest {
		if s = h.find(id); s == nil && id&3 == 0 && id > h.highest {
			s = h.open(id)
		}
	}
	if s != nil {
		s.priority = httpstream.Shown(value)
		s.X.Cite(in, from, to)
	}
}

// settings reads SETTINGS, RFC 9114 section 7.2.4. One side's settings limit the other side.
func (h *conn) settings(dir dissect.Dir, b []byte) {
	capacity := int64(0)
	for len(b) > 0 {
		id, n := varint(b)
		v, k := varint(b[n:])
		if n == 0 || k == 0 {
			h.c.Anomaly("settings", "SETTINGS "+dir.String()+" end inside a setting", int64(len(b)))
			break
		}
		switch id {
		case settingTableCapacity:
			capacity = v
		case settingSessions, settingSessionsDraft, settingSessionsOld:
			h.sessions = h.sessions || v > 0
		}
		b = b[n+k:]
	}
	h.sides[dir.Other()].dec.SetMax(capacity)
}
