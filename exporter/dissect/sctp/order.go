package sctp

import (
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"slices"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Limits of the order of one direction.
const (
	heldCost   = 128     // bytes of a waiting chunk besides its data
	maxAhead   = 1 << 16 // chunks that a sequence number may be ahead
	maxRecent  = 512     // delivered chunks whose content is compared with repetitions
	patience   = 32      // packets of a side after which a chunk that was acknowledged is lost
	maxPieces  = 256     // messages in pieces at the same time
	startAfter = 4       // chunks that wait before a direction begins in mid-association
)

// sender is the state of one direction.
type sender struct {
	set      bool // INIT or INIT ACK was captured
	tag      uint32
	out, in  uint16
	started  bool // next is known
	next     uint32
	waiting  []held // ascending, none below next
	waited   int    // packets since the first of them came
	acked    uint32 // cumulative acknowledgement of the other side
	hasAck   bool
	lost     [2]uint32 // the last chunks that were given up, from and before
	recent   map[uint32]uint64
	order    []uint32 // of recent, oldest first from at on
	at       int
	behind   bool // the message that is being read lost its beginning
	pieces   map[message]*held
	messages int64
	bytes    int64
}

// held is a DATA chunk (RFC 9260 section 3.3.1) or an I-DATA chunk (RFC 8260 section 2.1), or the message
// that pieces of the latter make.
type held struct {
	tsn, payload uint32
	flags        byte
	interleaved  bool // I-DATA
	message      message
	piece        uint32 // of an interleaved message, from 0
	cut          int    // bytes that the snap length cut
	data         []byte
	packet       dissect.Packet
}

// message identifies an interleaved message.
type message struct {
	stream    uint16
	unordered bool
	id        uint32
}

var seed = maphash.MakeSeed()

// before compares sequence numbers, RFC 9260 section 1.6.
func before(a, b uint32) bool { return int32(a-b) < 0 }

func (s *sender) known() table.Opt[int64] {
	if s.tag == 0 {
		return table.Opt[int64]{}
	}
	return table.Some(int64(s.tag))
}

func (s *sender) kept() int { return 24 * len(s.order) }

func (s *sender) begin(tsn uint32) { s.started, s.next = true, tsn }

func (s *sender) acknowledge(tsn uint32) {
	if !s.hasAck || before(s.acked, tsn) {
		s.acked, s.hasAck = tsn, true
	}
}

// missed reports whether the other side acknowledged the chunks that are missing before the first that waits.
func (s *sender) missed() bool {
	return s.started && len(s.waiting) > 0 && s.hasAck && !before(s.acked, s.waiting[0].tsn-1)
}

// data reads a DATA chunk.
func (a *association) data(in *dissect.Input, c *chunk) {
	v, head := c.value, 12
	if c.kind == chunkIData {
		head = 16
	}
	if len(v) < head {
		return
	}
	for o := in.Dir.Other(); a.sides[o].missed(); {
		a.skip(o) // the sender of this chunk had the ones that are missing here, so theirs come before it
	}
	s := &a.sides[in.Dir]
	h := held{tsn: binary.BigEndian.Uint32(v), payload: binary.BigEndian.Uint32(v[head-4:]), flags: c.flags,
		cut: c.size - len(v), data: v[head:], packet: in.Packet(c.at)}
	if c.kind == chunkIData {
		h.interleaved, h.message = true, message{binary.BigEndian.Uint16(v[4:]), c.flags&unordered != 0, binary.BigEndian.Uint32(v[8:])}
		if c.flags&firstPiece == 0 {
			h.piece, h.payload = h.payload, 0
		}
	}
	switch {
	case s.started && before(h.tsn, s.next):
		a.again(s, &h)
	case s.started && h.tsn-s.next > maxAhead:
		a.anomaly("far_chunk", fmt.Sprintf("the sequence number is %d chunks ahead", h.tsn-s.next), int64(len(h.data)))
	case s.started && h.tsn == s.next:
		a.take(in.Dir, &h)
		a.ready(in.Dir)
	default:
		a.wait(in.Dir, h)
	}
}

// again compares a chunk with the one that was delivered before.
func (a *association) again(s *sender, h *held) {
	a.row.Repeated++
	sum, ok := s.recent[h.tsn]
	switch {
	case !before(h.tsn, s.lost[0]) && before(h.tsn, s.lost[1]):
		a.anomaly("late", "a chunk that was given up as lost came later; its bytes are in no row", int64(len(h.data)))
	case ok && sum != maphash.Bytes(seed, h.data):
		a.anomaly("conflict", fmt.Sprintf("chunk %d came again with other bytes; rows have the first", h.tsn), int64(len(h.data)))
	}
}

// take delivers the next chunk.
func (a *association) take(dir dissect.Dir, h *held) {
	s := &a.sides[dir]
	if s.next = h.tsn + 1; s.recent == nil {
		s.recent = map[uint32]uint64{}
	}
	if len(s.order) < maxRecent {
		s.order = append(s.order, h.tsn)
	} else {
		delete(s.recent, s.order[s.at])
		s.order[s.at] = h.tsn
		s.at = (s.at + 1) % maxRecent
	}
	s.recent[h.tsn] = maphash.Bytes(seed, h.data)
	a.deliver(dir, h)
}

// wait keeps a chunk that lacks chunks before it.
func (a *association) wait(dir dissect.Dir, h held) {
	s := &a.sides[dir]
	i, found := slices.BinarySearchFunc(s.waiting, h.tsn, func(w held, tsn uint32) int { return int(int32(w.tsn - tsn)) })
	if found {
		if a.row.Repeated++; string(s.waiting[i].data) != string(h.data) {
			a.anomaly("conflict", fmt.Sprintf("chunk %d came again with other bytes; rows have the first", h.tsn), int64(len(h.data)))
		}
		return
	}
	if !a.c.Hold(heldCost + len(h.data)) {
		a.skipAll(dir)
		a.jump(dir, h.tsn)
		a.take(dir, &h)
		return
	}
	h.data = slices.Clone(h.data)
	if len(s.waiting) == 0 {
		s.waited = 0
	}
	if s.waiting = slices.Insert(s.waiting, i, h); !s.started && len(s.waiting) >= startAfter {
		a.skip(dir)
	}
}

// ready delivers what waits for nothing.
func (a *association) ready(dir dissect.Dir) {
	s := &a.sides[dir]
	if !s.started && len(s.waiting) > 0 && s.hasAck && !before(s.acked, s.waiting[0].tsn) {
		a.jump(dir, s.waiting[0].tsn) // the receiver misses nothing before it
	}
	for len(s.waiting) > 0 && s.started && s.waiting[0].tsn == s.next {
		h := s.waiting[0]
		s.waiting = slices.Delete(s.waiting, 0, 1)
		a.c.Release(heldCost + len(h.data))
		a.take(dir, &h)
	}
	if len(s.waiting) == 0 {
		s.waiting = nil
	}
}

// impatient stops waiting for chunks that the receiver acknowledged, or that were not sent again
// for long, after more packets of the side came.
func (a *association) impatient(dir dissect.Dir) {
	s := &a.sides[dir]
	if len(s.waiting) == 0 || !s.started {
		return
	}
	s.waited++
	if s.missed() && s.waited >= patience || s.waited >= 16*patience {
		a.skip(dir)
		s.waited = 0
	}
}

// skip stops waiting for the chunks before the first that waits.
func (a *association) skip(dir dissect.Dir) {
	if s := &a.sides[dir]; len(s.waiting) > 0 {
		a.jump(dir, s.waiting[0].tsn)
		a.ready(dir)
	}
}

func (a *association) skipAll(dir dissect.Dir) {
	for len(a.sides[dir].waiting) > 0 {
		a.skip(dir)
	}
}

// jump continues with a chunk; those before it were not captured.
func (a *association) jump(dir dissect.Dir, tsn uint32) {
	s := &a.sides[dir]
	if !s.started {
		s.begin(tsn)
		s.behind = true // unless a message begins here
		return
	}
	n := int64(tsn - s.next)
	a.row.Lost += n
	a.anomaly("chunks_lost", fmt.Sprintf("%s from %d on not captured", clip.Count(n, "chunk", "chunks"), s.next), 0)
	s.lost = [2]uint32{s.next, tsn}
	a.interrupt(dir, tsn)
}

// forward stops waiting for the chunks before next, as their sender does (RFC 3758 section 3.2).
func (a *association) forward(dir dissect.Dir, next uint32) {
	s := &a.sides[dir]
	if s.started && (before(next, s.next) || next-s.next > maxAhead) {
		return
	}
	for len(s.waiting) > 0 && s.started && before(s.waiting[0].tsn, next) {
		a.abandon(dir, s.waiting[0].tsn)
		a.ready(dir)
	}
	if !s.started {
		s.begin(next)
		s.behind = true
	} else if before(s.next, next) {
		a.abandon(dir, next)
	}
	a.ready(dir)
}

func (a *association) abandon(dir dissect.Dir, tsn uint32) {
	a.row.Abandoned += int64(tsn - a.sides[dir].next)
	a.interrupt(dir, tsn)
}

// interrupt reports missing messages to their reader; the number of bytes is unknown.
func (a *association) interrupt(dir dissect.Dir, tsn uint32) {
	s := &a.sides[dir]
	if s.next, s.behind = tsn, true; a.inner != nil {
		a.inner.Gap(dir, 1, a.at)
	}
}
