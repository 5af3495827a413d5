package decode

import (
	"bytes"
	"slices"
)

// fits reports whether a fragment that ends at end agrees with the known length of the datagram.
func (g *datagram) fits(end int, more bool) bool {
	if g.total >= 0 {
		return end <= g.total && (more || end == g.total)
	}
	n := len(g.runs)
	return more || n == 0 || g.runs[n-1].off+g.runs[n-1].size <= end
}

// hold copies the bytes of a fragment that no earlier one had, and compares the others.
func (w *walk) hold(g *datagram, off, size int, data []byte, cost int) {
	f, r := w.f, &w.d.frags
	if f.FragNos == nil {
		f.Own, f.OwnAt = data, off
	}
	g.packets++
	g.count(f.IPLen, w.time)
	g.inif = w.inif
	added, overlap, conflict, same := g.insert(off, size, data)
	if added || size == 0 {
		g.cost += cost
		r.cost += cost
		if f.FragNos != nil { // the outer packet was reassembled itself
			g.nos = append(g.nos, f.FragNos...)
		} else {
			g.nos = append(g.nos, w.no)
		}
	}
	if overlap && !same {
		r.counts.Overlaps++
		f.Problems |= FragmentOverlap
	}
	if conflict {
		r.counts.Conflicts++
		f.Problems |= FragmentConflict
	}
	g.problems |= f.Problems & (FragmentOverlap | FragmentConflict)
}

// insert adds the new part of [off, off+size). same means that all bytes were there already and
// are equal: a duplicate, as in captures on bridges.
func (g *datagram) insert(off, size int, data []byte) (added, overlap, conflict, same bool) {
	end, i := off+size, len(g.runs)
	if i > 0 && g.runs[i-1].off+g.runs[i-1].size > off {
		i, _ = slices.BinarySearchFunc(g.runs, off, func(h held, off int) int { return h.off + h.size - off - 1 })
	}
	var own []byte // one copy, shared by the runs cut from it
	for pos := off; pos < end; i++ {
		to := end
		if i < len(g.runs) {
			to = min(end, g.runs[i].off)
		}
		if pos < to {
			if own == nil {
				own = bytes.Clone(data)
			}
			g.runs = slices.Insert(g.runs, i, held{pos, to - pos, cutRange(own, pos-off, to-off)})
			g.got += to - pos
			added = true
			pos = to
			continue
		}
		h := &g.runs[i]
		to = min(end, h.off+h.size)
		overlap = true
		mine, theirs := cutRange(data, pos-off, to-off), cutRange(h.data, pos-h.off, to-h.off)
		n := min(len(mine), len(theirs))
		conflict = conflict || !bytes.Equal(mine[:n], theirs[:n])
		pos = to
	}
	return added, overlap, conflict, overlap && !added && !conflict
}

// cutRange is the available part of b[from:to].
func cutRange(b []byte, from, to int) []byte {
	return b[min(from, len(b)):min(to, len(b))]
}

// complete continues in the datagram's bytes, which are newly allocated and never reused.
func (w *walk) complete(g *datagram) layer {
	f, r := w.f, &w.d.frags
	r.remove(g)
	r.counts.Reassembled++
	n, whole := 0, true
	for i := range g.runs {
		n += len(g.runs[i].data)
		if len(g.runs[i].data) < g.runs[i].size {
			whole = false
			break
		}
	}
	data := make([]byte, 0, n)
	for i := range g.runs {
		if data = append(data, g.runs[i].data...); len(data) == n {
			break
		}
	}
	slices.Sort(g.nos)
	f.FragNos = slices.Compact(g.nos)
	f.Kind = KindIP
	f.Problems |= g.problems
	f.Payload, f.PayloadLen = nil, 0
	f.IPLen = g.header + g.total
	f.Pieces = g.pieces
	w.data, w.wire, w.cut = data, g.total, !whole
	w.next = uint16(g.proto)
	f.Proto = g.proto
	if f.IPVersion == 6 {
		return layerExt6
	}
	return layerProto
}
