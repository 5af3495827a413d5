package http2

import (
	"encoding/binary"
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/hpack"
)

// conn is one HTTP/2 connection.
type conn struct {
	c     *dissect.Conn
	sides [2]side
	streams
	upgraded bool
	goaway   goaway
	goaways  [2]int // number of GOAWAY frames
}

// side describes one direction.
type side struct {
	dec      hpack.Decoder
	started  bool
	whole    bool   // captured from its start and without a gap between frames
	losses   uint32 // see noteLosses
	maxFrame int    // largest frame that this side announced to accept; 0 unknown
	tables   tables
	early    int // largest table size update before the other side's SETTINGS
	flood    flood

	// The current frame, read in pieces.
	data int     // bytes of a body
	skip int     // ignored bytes after them: padding, unknown frames
	cur  *stream // stream of the body; nil if it belongs to none
	end  bool    // the frame ends the stream in this direction
	open bool    // a frame is being read

	// The current header block, between a frame without END_HEADERS and its last CONTINUATION.
	block block
}

// block is a header block in several frames.
type block struct {
	stream uint32 // 0: no block is being read
	frag   *dissect.Body
	s      *stream // stream of the block; nil: none, the block only updates the table
	end    bool    // END_STREAM was set
	push   bool
	lost   bool // a piece is missing
	pieces int  // CONTINUATION frames
	wire   int64
}

// goaway is the last GOAWAY of the server.
type goaway struct {
	seen bool
	last uint32 // streams above were not processed
	code uint32
}

// below reports whether the stream was not processed, whatever else ended it.
func (g *goaway) below(s *stream) bool { return g.seen && s.ID&1 == 1 && s.ID > int64(g.last) }

func newConn(c *dissect.Conn) dissect.Dissector {
	h := &conn{c: c}
	for d := range h.sides {
		h.sides[d].dec = hpack.New()
	}
	return h
}

// Upgraded makes stream 1 from a request that was sent as HTTP/1.1, RFC 7540 section 3.2.
func (h *conn) Upgraded(info *dissect.UpgradeInfo) {
	h.upgraded = true
	s := h.open(1)
	if info.Exchange != nil {
		s.X = *info.Exchange
	}
	s.X.StreamID.V, s.X.StreamID.OK = 1, true
	s.upgraded = true
	s.Method, s.Scheme, s.Path, s.Host = info.Method, "http", info.Path, info.Host
	s.Query.V, s.Query.OK = info.Query, info.Query != ""
	s.HasPath = info.Path != ""
	s.Headers = append(s.Headers, info.Headers...)
	for i := range s.Headers {
		s.Note(&s.Headers[i], dissect.ToServer)
	}
	q := &s.Half[dissect.ToServer]
	q.Head, q.End, q.Wire, q.Body = true, true, info.HeadersSize, s.X.ReqBody
	h.hold(s, s.Held())
	h.highest = 1
	h.settings(dissect.ToServer, info.Settings)
}

// Read consumes frames, and pieces of DATA frames.
func (h *conn) Read(in *dissect.Input) (int, error) {
	sd := &h.sides[in.Dir]
	n := 0
	if !sd.started {
		k, ok := h.start(in)
		if !ok {
			return 0, nil
		}
		n = k
	}
	for n < len(in.Data) {
		if sd.open {
			n = h.piece(in, n, n)
			continue
		}
		if len(in.Data)-n < frameHead {
			h.c.Need(in.Dir, frameHead)
			return n, nil
		}
		f := parseFrame(in.Data[n:])
		k, err := h.frame(in, n, f)
		n += k
		if k == 0 || err != nil {
			return n, err
		}
	}
	return n, nil
}

// start examines the first bytes of a direction: the preface, or frames in mid-connection.
func (h *conn) start(in *dissect.Input) (int, bool) {
	sd := &h.sides[in.Dir]
	b := in.Data
	k := min(len(b), len(preface))
	if in.Dir == dissect.ToServer && string(b[:k]) == preface[:k] {
		if k < len(preface) {
			h.c.Need(in.Dir, len(preface))
			return 0, false
		}
		sd.started, sd.whole = true, true
		return k, true
	}
	if len(b) < frameHead {
		h.c.Need(in.Dir, frameHead)
		return 0, false
	}
	f := parseFrame(b)
	first := in.Dir == dissect.ToClient && (f.typ == frameSettings && !f.has(flagAck) || h.upgraded ||
		h.sides[dissect.ToServer].whole && in.Offset(0) == 0)
	sd.started, sd.whole = true, first
	if !first {
		sd.dec.Lose()
	}
	return 0, true
}

// frame reads one frame, or its first piece, from in.Data[n:].
func (h *conn) frame(in *dissect.Input, n int, f frame) (int, error) {
	sd := &h.sides[in.Dir]
	if in.Dir == dissect.ToServer && in.Data[n] == preface[0] {
		if k := min(len(in.Data)-n, len(preface)); string(in.Data[n:n+k]) == preface[:k] {
			if k < len(preface) {
				h.c.Need(in.Dir, len(preface))
				return 0, nil
			}
			return k, nil // continues after a gap
		}
	}
	if err := h.check(in.Dir, f); err != nil {
		return 0, err
	}
	if sd.block.stream != 0 && (f.typ != frameContinuation || f.stream != sd.block.stream) {
		h.c.Anomaly("header_block", fmt.Sprintf("frame type %d on stream %d inside the header block of stream %d", f.typ, f.stream, sd.block.stream), 0)
		h.dropBlock(in.Dir)
	}
	if !sd.open {
		sd.flood.count(h.c, in, n, f)
	}
	switch f.typ {
	case frameData:
		return h.dataFrame(in, n, f), nil
	case frameHeaders, framePushPromise, frameContinuation:
		if f.size > maxHeaderList {
			h.c.Anomaly("limit", fmt.Sprintf("a header frame of %d bytes exceeds the limit of %d", f.size, maxHeaderList), int64(f.size))
			h.loseHeaderFrame(in, n, f)
			return h.skipFrame(in, n, f), nil
		}
	case frameSettings, framePing, frameGoAway, frameRSTStream:
	default:
		if !f.known() {
			h.c.Anomaly("unknown_frame", fmt.Sprintf("frame type 0x%02x of %d bytes on stream %d", f.typ, f.size, f.stream), int64(f.size))
		}
		return h.skipFrame(in, n, f), nil
	}
	if len(in.Data)-n < frameHead+f.size {
		h.c.Need(in.Dir, frameHead+f.size)
		return 0, nil
	}
	return frameHead + f.size, h.whole(in, n, f)
}

// check rejects what no peer sends: the position in the stream is then wrong.
func (h *conn) check(dir dissect.Dir, f frame) error {
	if !f.legal() {
		return fmt.Errorf("reading frame type %d: %d bytes on stream %d are not allowed", f.typ, f.size, f.stream)
	}
	limit := largestFrame
	if other := &h.sides[dir.Other()]; other.whole {
		limit = max(defaultFrame, other.maxFrame)
	}
	if f.typ > frameContinuation {
		limit = min(limit, maxHeaderList)
	}
	if f.size > limit {
		return fmt.Errorf("reading frame type %d on stream %d: %d bytes exceed the limit of %d", f.typ, f.stream, f.size, limit)
	}
	return nil
}

// whole reads a complete frame.
func (h *conn) whole(in *dissect.Input, n int, f frame) error {
	body := in.Data[n+frameHead : n+frameHead+f.size]
	switch f.typ {
	case frameHeaders, framePushPromise:
		return h.headerFrame(in, n, f, body)
	case frameContinuation:
		h.continuation(in, n, f, body)
	case frameSettings:
		if f.has(flagAck) {
			h.sides[in.Dir.Other()].tables.ack()
		} else {
			h.settings(in.Dir, body)
		}
	case frameRSTStream:
		h.reset(in, n, f, binary.BigEndian.Uint32(body))
	case frameGoAway:
		h.goAway(in, n, f, body)
	}
	return nil
}

func (h *conn) settings(dir dissect.Dir, b []byte) {
	sd := &h.sides[dir]
	first, size := !sd.tables.seen, sd.tables.last()
	defer func() {
		sd.tables.announce(size)
		if early := h.sides[dir.Other()].early; first && sd.whole && early > sd.tables.limit() {
			h.tooLarge(early, sd.tables.limit())
		}
	}()
	for ; len(b) >= 6; b = b[6:] {
		v := binary.BigEndian.Uint32(b[2:])
		switch binary.BigEndian.Uint16(b) {
		case settingTableSize:
			size = v
		case settingMaxFrame:
			sd.maxFrame = max(sd.maxFrame, int(min(v, largestFrame)))
		}
	}
}

// skipFrame skips the available part of a frame with an unknown payload.
func (h *conn) skipFrame(in *dissect.Input, n int, f frame) int {
	sd := &h.sides[in.Dir]
	sd.open, sd.data, sd.skip, sd.cur, sd.end = true, 0, f.size, nil, false
	return h.piece(in, n, n+frameHead) - n
}

// dataFrame begins a DATA frame.
func (h *conn) dataFrame(in *dissect.Input, n int, f frame) int {
	pad, before := 0, f.before()
	if before > 0 {
		if len(in.Data)-n < frameHead+1 {
			h.c.Need(in.Dir, frameHead+1)
			return 0
		}
		pad = int(in.Data[n+frameHead])
	}
	if pad > f.size-before {
		h.c.Anomaly("padding", fmt.Sprintf("%d bytes of padding in a DATA frame of %d", pad, f.size), int64(f.size))
		pad = f.size - before
	}
	s := h.find(f.stream)
	if s == nil && !h.isClosed(f.stream, f.size) {
		h.checkID(in.Dir, f.stream, "DATA")
		s = h.open(f.stream)
	}
	sd := &h.sides[in.Dir]
	sd.open, sd.data, sd.skip, sd.cur, sd.end = true, f.size-before-pad, pad, s, f.has(flagEndStream)
	return h.piece(in, n, n+frameHead+before) - n
}

// piece reads the available part of the current frame: in.Data[from:at] is its head or empty,
// and the rest comes from at on. It returns the position after what it read.
func (h *conn) piece(in *dissect.Input, from, at int) int {
	sd := &h.sides[in.Dir]
	k := min(sd.data, len(in.Data)-at)
	pad := min(sd.skip, len(in.Data)-at-k)
	if k < sd.data {
		pad = 0
	}
	if s := sd.cur; s != nil && !(k > 0 && s.Carry(h.c, in, at, at+k)) {
		s.Add(in, in.Dir, from, at+k+pad)
		if k > 0 {
			s.Write(h.c, in.Dir, in.Data[at:at+k])
		}
	}
	sd.data -= k
	sd.skip -= pad
	if sd.data == 0 && sd.skip == 0 {
		h.endFrame(in.Dir)
	}
	return at + k + pad
}

// endFrame ends a frame that was read in pieces.
func (h *conn) endFrame(dir dissect.Dir) {
	sd := &h.sides[dir]
	s, end := sd.cur, sd.end
	sd.open, sd.cur, sd.end = false, nil, false
	if s != nil && end {
		h.endStream(s, dir)
	}
}

// Gap continues if the gap is inside one frame, because the frame's head has its length. If frame
// heads are missing too, the streams of this direction continue as possibly incomplete and the
// header compression table is dropped.
func (h *conn) Gap(in *dissect.Input, missing int64) bool {
	sd := &h.sides[in.Dir]
	if !sd.open && len(in.Data) >= frameHead {
		f := parseFrame(in.Data)
		if h.check(in.Dir, f) == nil && int64(len(in.Data))+missing <= int64(frameHead+f.size) {
			h.gapInFrame(in, f)
		}
	}
	if sd.open && missing <= int64(sd.data)+int64(sd.skip) {
		k := min(missing, int64(sd.data))
		if s := sd.cur; s != nil && k > 0 {
			s.Missing(h.c, in.Dir, k)
		}
		sd.data -= int(k)
		sd.skip -= int(missing - k)
		if sd.data == 0 && sd.skip == 0 {
			h.endFrame(in.Dir)
		}
		return true
	}
	return false
}

// gapInFrame turns a frame with a gap into one that is skipped, as far as in.Data holds it.
func (h *conn) gapInFrame(in *dissect.Input, f frame) {
	switch f.typ {
	case frameHeaders, framePushPromise, frameContinuation:
		h.loseHeaderFrame(in, 0, f)
	case frameRSTStream:
		if s := h.find(f.stream); s != nil {
			s.X.Cite(in, 0, len(in.Data))
			h.resetStream(s, in.Dir)
		}
	}
	h.skipFrame(in, 0, f)
}

// Resync implements dissect.Dissector: the streams of this direction continue as possibly
// incomplete.
func (h *conn) Resync(dir dissect.Dir, _ dissect.Loss) {
	sd := &h.sides[dir]
	sd.open, sd.cur, sd.end, sd.data, sd.skip = false, nil, false, 0, 0
	sd.started, sd.whole = true, false
	h.dropBlock(dir)
	sd.dec.Lose()
	sd.losses++
}

// Close emits the open streams.
func (h *conn) Close(why dissect.End) {
	for d := range h.sides {
		h.sides[d].block.drop()
	}
	for s := h.list.Oldest(); s != nil; s = h.list.Oldest() {
		h.cutShort(s, why.CallError())
	}
}
