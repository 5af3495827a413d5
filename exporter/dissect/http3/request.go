package http3

import (
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// readFrames consumes frames of a request or push stream from in.Data[from:]. in.Data[:from] was
// already consumed and belongs to the stream too. With force, no section waits.
func (h *conn) readFrames(s *stream, id int64, in *dissect.Input, from int, force bool) (int, error) {
	q, r := &s.Half[in.Dir], &s.read[in.Dir]
	life := s.life
	if q.End || r.lost {
		if len(in.Data) > 0 {
			h.c.Anomaly("late_data", fmt.Sprintf("bytes on stream %d after its end", id), int64(len(in.Data)))
		}
		return len(in.Data), nil
	}
	n, mark := from, 0
	for n < len(in.Data) {
		if r.open {
			n = h.piece(s, in, n)
			continue
		}
		f, ok := parseFrame(in.Data[n:])
		if !ok {
			break
		}
		if f.typ == framePushPromise && f.size <= maxHeaderList && in.Dir == dissect.ToClient && !s.Pushed {
			k := h.pushPromise(s, id, in, n, f, force)
			if s.life != life || k == 0 {
				n += k
				break
			}
			s.Add(in, in.Dir, mark, n) // the promise belongs to the pushed stream
			n += k
			mark = n
			continue
		}
		k := h.frame(s, id, in, n, f, force)
		n += k
		if k == 0 || s.life != life {
			break
		}
	}
	if s.life != life { // dropped meanwhile
		return len(in.Data), nil
	}
	s.Add(in, in.Dir, mark, n)
	r.fin = r.fin || in.End && in.Fin
	if !in.End || !r.fin || r.blocked {
		h.settle(s)
		return n, nil
	}
	if n < len(in.Data) || r.open {
		s.Malformed, q.End, r.open = true, true, false
		h.settle(s)
		return n, fmt.Errorf("reading stream %d: it ends inside a frame", id)
	}
	h.endStream(s, in.Dir)
	return n, nil
}

// frame reads one frame, or its first piece, from in.Data[n:]. It returns 0 if the frame must be
// complete and is not, or if it has to wait.
func (h *conn) frame(s *stream, id int64, in *dissect.Input, n int, f frame, force bool) int {
	r := &s.read[in.Dir]
	switch {
	case f.typ == frameData:
		r.isBody = true
	case f.typ == frameHeaders && f.size <= maxHeaderList:
		return h.headers(s, id, in, n, f, force)
	case f.typ == frameHeaders || f.typ == framePushPromise && in.Dir == dissect.ToClient && !s.Pushed:
		h.c.Anomaly("limit", fmt.Sprintf("a header section of %d bytes on stream %d exceeds the limit of %d", f.size, id, maxHeaderList), f.size)
		h.loseSection(s, in.Dir, f)
	case f.typ == framePushPromise || f.typ == frameSession || onControl(f.typ):
		h.c.Anomaly("frame_unexpected", fmt.Sprintf("frame type 0x%x of %d bytes on stream %d %s", f.typ, f.size, id, in.Dir), f.size)
	case !reserved(f.typ):
		h.c.Anomaly("unknown_frame", fmt.Sprintf("frame type 0x%x of %d bytes on stream %d", f.typ, f.size, id), f.size)
	}
	r.open, r.left = true, f.size
	return h.piece(s, in, n+f.head) - n
}

// piece reads the available part of the current frame from in.Data[at:] and returns the position
// after it.
func (h *conn) piece(s *stream, in *dissect.Input, at int) int {
	r := &s.read[in.Dir]
	k := int(min(r.left, int64(len(in.Data)-at)))
	if r.isBody && k > 0 && !s.Carry(h.c, in, at, at+k) {
		s.write(h.c, in.Dir, in.Data[at:at+k])
	}
	if r.left -= int64(k); r.left == 0 {
		r.open, r.isBody = false, false
	}
	return at + k
}

// section decodes a header section if it can be read. It returns false if the section has to
// wait.
func (h *conn) section(r *reading, id int64, in *dissect.Input, block []byte, force bool) ([]qfield, error, bool) {
	sd := &h.sides[in.Dir]
	if !r.blocked {
		need, err := sd.dec.Need(id, block)
		if err != nil {
			return nil, err, true
		}
		r.blocked, r.need = true, need
	}
	if !force && !sd.dec.Ready(r.need) && h.mayWait(r, id, in) {
		return nil, nil, false
	}
	sd.unwait(r, id)
	r.blocked = false
	if missing := r.need - sd.dec.Count(); missing > 0 && !sd.dec.Lost() {
		h.c.Anomaly("qpack_blocked", fmt.Sprintf("header section of stream %d was read without %d missing insertions", id, missing), 0)
	}
	fields, err := sd.dec.Decode(block, r.need)
	if n := sd.dec.Unknown; n > 0 {
		h.c.Anomaly("qpack_unknown", fmt.Sprintf("header section of stream %d: %d of %d headers refer to table entries that were not captured",
			id, n, len(fields)), 0)
	}
	if n := sd.dec.Dropped; n > 0 {
		h.c.Anomaly("limit", fmt.Sprintf("header section of stream %d: %d headers exceed the limits", id, n), 0)
	}
	return fields, err, true
}

// headers reads a complete HEADERS frame.
func (h *conn) headers(s *stream, id int64, in *dissect.Input, n int, f frame, force bool) int {
	end := n + f.head + int(f.size)
	if end > len(in.Data) {
		return 0
	}
	block := in.Data[n+f.head : end]
	fields, err, ready := h.section(&s.read[in.Dir], id, in, block, force)
	if !ready {
		return 0
	}
	if err != nil {
		h.c.Anomaly("qpack", fmt.Sprintf("header section of stream %d: %v", id, err), f.size)
		s.Malformed = true
	}
	s.Unknown += int32(unknownIn(fields))
	s.Dropped = s.Dropped || h.sides[in.Dir].dec.Dropped > 0
	h.addFields(s, in.Dir, fields, int64(end-n))
	return end - n
}

// pushPromise reads a complete PUSH_PROMISE frame: the request of a pushed response.
func (h *conn) pushPromise(s *stream, id int64, in *dissect.Input, n int, f frame, force bool) int {
	end := n + f.head + int(f.size)
	if end > len(in.Data) {
		return 0
	}
	body := in.Data[n+f.head : end]
	push, k := varint(body)
	if k == 0 {
		h.c.Anomaly("push_promise", fmt.Sprintf("PUSH_PROMISE of %d bytes on stream %d", f.size, id), f.size)
		return end - n
	}
	fields, err, ready := h.section(&s.read[in.Dir], id, in, body[k:], force)
	if !ready {
		return 0
	}
	if err != nil {
		h.c.Anomaly("qpack", fmt.Sprintf("promised request on stream %d: %v", id, err), f.size)
	}
	if allowed := h.sides[dissect.ToServer].maxPush; h.sides[dissect.ToServer].has[streamControl] && push > allowed {
		h.c.Anomaly("push_promise", fmt.Sprintf("push %d on stream %d exceeds the allowed %d", push, id, allowed), 0)
	}
	p := h.push(push)
	if p == nil {
		return end - n // cancelled, or already complete and promised again
	}
	q := &p.Half[dissect.ToServer]
	if q.Head {
		p.X.Cite(in, n, end)
		return end - n
	}
	p.pushedOn.V, p.pushedOn.OK = id, true
	q.Head, q.End, q.Wire = true, true, int64(end-n)
	p.Malformed = p.Malformed || err != nil
	p.Unknown += int32(unknownIn(fields))
	p.X.Request(in, n, end)
	h.promise(p, fields)
	h.settle(p)
	return end - n
}

func unknownIn(fields []qfield) (n int) {
	for i := range fields {
		if fields[i].Unknown {
			n++
		}
	}
	return n
}

// loseSection continues after a header section that was not read: its stream lacks headers, and
// its acknowledgement could be that of another section.
func (h *conn) loseSection(s *stream, dir dissect.Dir, f frame) {
	h.sides[dir].dec.LoseAcks()
	q := &s.Half[dir]
	if f.typ == frameHeaders && !q.Head {
		q.Head = true
		q.Wire = int64(f.head) + f.size
	}
	q.MissingFields = true
}

// gapFrames is GapStream for frames of a request or push stream.
func (h *conn) gapFrames(s *stream, id int64, in *dissect.Input, missing int64) bool {
	life := s.life
	q, r := &s.Half[in.Dir], &s.read[in.Dir]
	n := 0
	if len(in.Data) > 0 { // a blocked section can no longer wait
		n, _ = h.readFrames(s, id, in, 0, true)
	}
	if s.life != life || q.End || r.lost {
		return false
	}
	if rest := in.Data[n:]; !r.open && len(rest) > 0 {
		f, ok := parseFrame(rest)
		if ok && int64(len(rest))+missing <= int64(f.head)+f.size { // only HEADERS and PUSH_PROMISE are read as a whole
			h.loseSection(s, in.Dir, f)
			r.open, r.left = true, f.size
			h.piece(s, in, n+f.head)
		}
		s.Add(in, in.Dir, n, len(in.Data))
	}
	k := int64(0)
	if r.open {
		k = min(missing, r.left)
		if r.isBody && k > 0 {
			s.missing(h.c, in.Dir, k)
		}
		if r.left -= k; r.left == 0 {
			r.open, r.isBody = false, false
		}
	}
	if k == missing {
		return true
	}
	h.sides[in.Dir].dec.LoseAcks() // the missing bytes may contain sections
	q.Suspect, r.lost = true, true
	s.LoseTunnel(h.c, in.Dir)
	h.settle(s)
	return false
}
