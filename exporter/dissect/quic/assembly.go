package quic

import (
	"bytes"
	"sort"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// Limits of one stream of bytes.
const (
	maxAhead = 1 << 20 // bytes kept beyond a hole
	maxParts = 2048    // pieces kept beyond holes
	partCost = 96      // bytes that a piece costs beside its payload
)

// part is a piece that lies beyond a hole.
type part struct {
	off  int64
	data []byte
	p    dissect.Packet
}

func (x *part) end() int64 { return x.off + int64(len(x.data)) }

// assembly puts the frames of one stream of bytes in order. Of bytes that came twice the
// first copy counts.
type assembly struct {
	next  int64 // offset of the first byte that is still missing
	parts []part
	held  int // bytes taken out of the engine's budget

	since  uint64 // number of the packet that showed the hole
	sinceT int64  // its time
}

// placed is what became of a piece.
type placed struct {
	fresh    []byte // bytes to be read now; they alias the piece
	conflict bool   // bytes that came twice differ
	refused  bool   // over a limit: it was not kept
}

// place puts in a piece. Where it begins at or before the place of reading, what is new of
// it is fresh, and the pieces that follow it come from pop.
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

// prefer cuts fresh, which begins at a.next, where the first piece kept begins; the pieces
// kept came first.
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

// keep copies a piece into place i.
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

// pop returns the next bytes that were kept and are no longer beyond a hole.
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

// hole is the number of bytes missing before the first piece kept, 0 where there is none.
func (a *assembly) hole() int64 {
	if len(a.parts) == 0 {
		return 0
	}
	return a.parts[0].off - a.next
}

// drop gives back what is kept.
func (a *assembly) drop(c *dissect.Conn) {
	c.Release(a.held)
	a.held, a.parts = 0, nil
}
