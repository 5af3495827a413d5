package quic

import (
	"bytes"
	"sort"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// Limits of the reassembly of one byte stream.
const (
	maxAhead = 1 << 20 // bytes kept after a gap
	maxParts = 2048    // pieces kept after gaps
	partCost = 96      // bytes that a piece costs in addition to its payload
)

// part is a piece after a gap.
type part struct {
	off  int64
	data []byte
	p    dissect.Packet
}

func (x *part) end() int64 { return x.off + int64(len(x.data)) }

// assembly reorders the frames of one byte stream. If bytes arrive twice, the first copy is
// used.
type assembly struct {
	next  int64 // offset of the first missing byte
	parts []part
	held  int // bytes taken from the engine's budget

	since  uint64 // number of the packet that revealed the gap
	sinceT int64  // its time
}

// placed is the result of adding a piece.
type placed struct {
	fresh    []byte // bytes to read now; they alias the piece
	conflict bool   // two copies of the same bytes differ
	refused  bool   // a limit is exceeded: the piece was not kept
}

// place adds a piece. If it begins at or before the reading position, its new part is fresh, and
// pop returns the pieces that follow it.
func (a *assembly) place(c *dissect.Conn, off int64, data []byte, p dissect.Packet) (r placed) {
	end := off + int64(len(data))
	if end <= a.next || len(data) == 0 {
		return r
	}
	if off <= a.next {
		r.fresh = data[a.next-off:]
		if len(a.parts) > 0 {
			r.fresh, r.conflict = a.prefer(r.fresh)
		}
		a.next += int64(len(r.fresh))
		return r
	}
	i := sort.Search(len(a.parts), func(i int) bool { return a.parts[i].end() > off })
	for len(data) > 0 && i < len(a.parts) && a.parts[i].off < end {
		x := &a.parts[i]
		if off < x.off {
			n := int(x.off - off)
			if !a.keep(c, i, off, data[:n], p) {
				r.refused = true
				return r
			}
			off, data = off+int64(n), data[n:]
			i++
			x = &a.parts[i]
		}
		n := int(min(x.end(), end) - off)
		r.conflict = r.conflict || !bytes.Equal(x.data[off-x.off:][:n], data[:n])
		off, data = off+int64(n), data[n:]
		i++
	}
	if len(data) > 0 {
		r.refused = !a.keep(c, i, off, data, p)
	}
	return r
}

// prefer cuts fresh, which begins at a.next, at the first kept piece, because kept pieces
// arrived first.
func (a *assembly) prefer(fresh []byte) (cut []byte, conflict bool) {
	end := a.next + int64(len(fresh))
	for i := range a.parts {
		x := &a.parts[i]
		if x.off >= end {
			break
		}
		n := min(x.end(), end) - x.off
		if !bytes.Equal(x.data[:n], fresh[x.off-a.next:][:n]) {
			return fresh[:a.parts[0].off-a.next], true
		}
	}
	return fresh, false
}

// keep inserts a copy of a piece at index i.
func (a *assembly) keep(c *dissect.Conn, i int, off int64, data []byte, p dissect.Packet) bool {
	cost := len(data) + partCost
	if a.held+cost > maxAhead || len(a.parts) >= maxParts || !c.Hold(cost) {
		return false
	}
	a.held += cost
	a.parts = append(a.parts, part{})
	copy(a.parts[i+1:], a.parts[i:])
	a.parts[i] = part{off, append([]byte(nil), data...), p}
	return true
}

// pop returns the next kept bytes that no longer follow a gap.
func (a *assembly) pop(c *dissect.Conn) (x part, ok bool) {
	for len(a.parts) > 0 && a.parts[0].off <= a.next {
		x = a.parts[0]
		cost := len(x.data) + partCost
		a.held -= cost
		c.Release(cost)
		a.parts[0].data = nil
		if a.parts = a.parts[1:]; len(a.parts) == 0 {
			a.parts = nil
		}
		if x.end() <= a.next {
			continue
		}
		x.data = x.data[a.next-x.off:]
		x.off = a.next
		a.next = x.end()
		return x, true
	}
	return part{}, false
}

// gap is the number of missing bytes before the first kept piece, or 0 if there is none.
func (a *assembly) gap() int64 {
	if len(a.parts) == 0 {
		return 0
	}
	return a.parts[0].off - a.next
}

// drop frees the kept pieces.
func (a *assembly) drop(c *dissect.Conn) {
	c.Release(a.held)
	a.held, a.parts = 0, nil
}
