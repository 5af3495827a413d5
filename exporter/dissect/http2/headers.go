package http2

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/hpack"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpfield"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpstream"
)

// maxPieces is how many CONTINUATION frames are remarkable: a block of the largest size needs 16 of the smallest limit.
const maxPieces = 128

// headerFrame reads a complete HEADERS or PUSH_PROMISE frame.
func (h *conn) headerFrame(in *dissect.Input, n int, f frame, body []byte) error {
	before := f.before()
	pad := 0
	if f.has(flagPadded) {
		pad = int(body[0])
	}
	if pad > f.size-before {
		return fmt.Errorf("reading frame type %d on stream %d: %d bytes of padding in a frame of %d", f.typ, f.stream, pad, f.size)
	}
	if frag := body[before : f.size-pad]; h.c.Unproved() && f.typ == frameHeaders && len(frag) > 0 && !likelyBlock(frag, in.Dir) {
		return fmt.Errorf("reading a header block on stream %d: its first field belongs to the other side", f.stream)
	}
	var s *stream
	if f.typ == framePushPromise {
		s = h.promised(in, f, binary.BigEndian.Uint32(body[before-4:])&(1<<31-1))
	} else {
		s = h.forHeaders(in.Dir, f.stream)
	}
	end := frameHead + f.size
	b := block{stream: f.stream, s: s, end: f.typ == frameHeaders && f.has(flagEndStream), push: f.typ == framePushPromise, wire: int64(end)}
	b.add(in, n, n+end)
	frag := body[before : f.size-pad]
	if f.has(flagEndHeaders) {
		h.finishBlock(in.Dir, &b, frag)
		return nil
	}
	b.frag = h.c.NewBody("", "")
	b.frag.Write(frag)
	h.sides[in.Dir].block = b
	return nil
}

// continuation reads a complete CONTINUATION frame.
func (h *conn) continuation(in *dissect.Input, n int, f frame, body []byte) {
	sd := &h.sides[in.Dir]
	b := &sd.block
	if b.stream == 0 {
		if sd.whole {
			h.c.Anomaly("header_block", fmt.Sprintf("CONTINUATION on stream %d without a header block", f.stream), int64(f.size))
		}
		sd.dec.Lose()
		return
	}
	if b.pieces++; b.pieces == maxPieces {
		h.c.Anomaly("header_block", fmt.Sprintf("the header block of stream %d has %d CONTINUATION frames or more; they were joined, and another reader ends the connection (CVE-2024-27316)", f.stream, maxPieces), 0)
	}
	b.wire += int64(frameHead + f.size)
	b.add(in, n, n+frameHead+f.size)
	if b.frag != nil {
		if b.frag.Size()+int64(len(body)) > maxHeaderList {
			h.c.Anomaly("limit", fmt.Sprintf("the header block of stream %d exceeds the limit of %d bytes", f.stream, maxHeaderList), b.frag.Size())
			b.lose()
		} else {
			b.frag.Write(body)
		}
	}
	if !f.has(flagEndHeaders) {
		return
	}
	done := *b
	*b = block{}
	if done.frag == nil || done.frag.Size() > 0 && done.frag.Kept() == nil { // lost, or over the engine's budget
		done.lose()
		h.lostBlock(in.Dir, &done)
		return
	}
	h.finishBlock(in.Dir, &done, done.frag.Kept())
	done.drop()
}

// add adds bytes of the block to its stream; a promise is the pushed stream's request.
func (b *block) add(in *dissect.Input, from, to int) {
	dir := in.Dir
	if b.push {
		dir = dissect.ToServer
	}
	if b.s != nil {
		b.s.Add(in, dir, from, to)
	}
}

// drop frees the kept pieces.
func (b *block) drop() {
	if b.frag != nil {
		b.frag.Finish()
		b.frag = nil
	}
}

// lose drops the pieces; the frames of the block are still followed to its end.
func (b *block) lose() {
	b.drop()
	b.lost = true
}

// dropBlock ends a header block that will not continue.
func (h *conn) dropBlock(dir dissect.Dir) {
	b := h.sides[dir].block
	if b.stream == 0 {
		return
	}
	h.sides[dir].block = block{}
	b.drop()
	h.lostBlock(dir, &b)
}

// loseHeaderFrame records that a frame with a piece of a header block cannot be read. The caller
// skips the frame.
func (h *conn) loseHeaderFrame(in *dissect.Input, n int, f frame) {
	sd := &h.sides[in.Dir]
	to := min(len(in.Data), n+frameHead+f.size)
	b := &sd.block
	switch f.typ {
	case frameContinuation:
		if b.stream == 0 {
			sd.dec.Lose()
			return
		}
		b.lose()
	case frameHeaders:
		*b = block{stream: f.stream, s: h.forHeaders(in.Dir, f.stream), end: f.has(flagEndStream), lost: true}
	default:
		*b = block{stream: f.stream, push: true, lost: true}
	}
	b.wire += int64(frameHead + f.size)
	b.add(in, n, to)
	if f.has(flagEndHeaders) {
		h.dropBlock(in.Dir)
	}
}

// lostBlock continues after an unreadable header block: its table entries are unknown, and its
// stream lacks headers.
func (h *conn) lostBlock(dir dissect.Dir, b *block) {
	h.sides[dir].dec.Lose()
	if b.s == nil || b.s.closed {
		return
	}
	q := &b.s.Half[dir]
	if !q.Head && !b.push {
		q.Head = true
		q.Wire = b.wire
	}
	q.MissingFields = true
	if b.end {
		h.endStream(b.s, dir)
	}
}

// finishBlock decodes a complete header block and adds it to its stream.
func (h *conn) finishBlock(dir dissect.Dir, b *block, frag []byte) {
	dec := &h.sides[dir].dec
	fields, err := dec.Decode(frag)
	if err != nil {
		h.c.Anomaly("hpack", fmt.Sprintf("header block of stream %d: %v", b.stream, err), int64(len(frag)))
		dec.Lose()
	}
	if dec.Unknown > 0 {
		h.c.Anomaly("hpack_unknown", fmt.Sprintf("header block of stream %d: %d of %d headers refer to table entries that were not captured",
			b.stream, dec.Unknown, len(fields)), 0)
	}
	if dec.Dropped > 0 {
		h.c.Anomaly("limit", fmt.Sprintf("header block of stream %d: %d headers exceed the limits", b.stream, dec.Dropped), 0)
	}
	h.checkUpdate(dir, b.stream)
	if err == nil && len(fields) > 0 && (fields[0].Name == ":method" || fields[0].Name == ":status") && !fields[0].Unknown {
		h.c.Confirm()
	}
	s := b.s
	if s == nil || s.closed {
		return
	}
	s.Malformed = s.Malformed || err != nil
	s.Dropped = s.Dropped || dec.Dropped > 0
	s.Unknown += int32(dec.Unknown)
	if b.push {
		s.Half[dissect.ToServer].Wire = b.wire
		was := s.Held()
		s.Fields(h.c, fields, httpfield.Request, dissect.ToServer)
		h.hold(s, s.Held()-was)
		return
	}
	if h.addFields(s, dir, fields, b.wire); b.end {
		h.endStream(s, dir)
	}
}

// addFields adds a block's fields to a stream: as head, as an interim response, or as trailers.
func (h *conn) addFields(s *stream, dir dissect.Dir, fields []hpack.Field, wire int64) {
	was := s.Held()
	s.AddFields(h.c, dir, fields, wire, s.Half[dir].Head || h.trailing(s, dir, fields))
	h.hold(s, s.Held()-was)
}

// trailing reports whether fields are trailers although the head is missing: no field is or may
// be a pseudo header, and the bytes before are incomplete.
func (h *conn) trailing(s *stream, dir dissect.Dir, fields []hpack.Field) bool {
	q := &s.Half[dir]
	return (q.Data || q.Suspect || !h.sides[dir].whole) && httpstream.Trailing(fields)
}

// checkUpdate marks a table size update of the last block that the other side does not accept, or at a wrong place (RFC
// 7541 section 4.2): a reader that refuses it ends the connection.
func (h *conn) checkUpdate(dir dissect.Dir, stream uint32) {
	sd, other := &h.sides[dir], &h.sides[dir.Other()]
	if sd.dec.Late {
		h.c.Anomaly("hpack_table_size", fmt.Sprintf("header block of stream %d: a table size update after a field; it was applied, and another reader ends the connection", stream), 0)
	}
	switch size, limit := sd.dec.Update, other.tables.limit(); {
	case other.whole && size > limit:
		h.tooLarge(size, limit)
	case !other.started && sd.whole: // the settings of the other side may come late in the capture
		sd.early = max(sd.early, size)
	}
}

func (h *conn) tooLarge(size, limit int) {
	h.c.Anomaly("hpack_table_size", fmt.Sprintf("the table size %d exceeds the announced %d; it was applied, and another reader ends the connection or keeps fewer entries", size, limit), 0)
}

// tables are the header table sizes that one side announced in SETTINGS, and what the other acknowledged (RFC 9113
// section 6.5.3).
type tables struct {
	acked   uint32   // plus 1; 0: the default
	waiting []uint32 // announced later, oldest first
	seen    bool     // SETTINGS came
	lost    bool     // more than maxWaiting waited: all later sizes count
}

// maxWaiting is how many SETTINGS frames may wait for their acknowledgement.
const maxWaiting = 16

// last is the size announced last.
func (t *tables) last() uint32 {
	if n := len(t.waiting); n > 0 {
		return t.waiting[n-1]
	}
	if t.acked > 0 {
		return t.acked - 1
	}
	return 4096
}

// announce adds a size in a SETTINGS frame.
func (t *tables) announce(size uint32) {
	t.seen = true
	if len(t.waiting) == maxWaiting {
		t.lost = true
		return
	}
	t.waiting = append(t.waiting, min(size, math.MaxInt32))
}

// ack handles the acknowledgement of the oldest SETTINGS frame.
func (t *tables) ack() {
	if len(t.waiting) > 0 {
		t.acked, t.waiting = t.waiting[0]+1, t.waiting[1:]
	}
}

// limit is the largest table size that the other side may use.
func (t *tables) limit() int {
	most := 4096
	if t.acked > 0 {
		most = int(t.acked - 1)
	}
	for _, n := range t.waiting {
		most = max(most, int(n))
	}
	if t.lost {
		return math.MaxInt
	}
	return most
}
