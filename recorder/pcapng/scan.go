package pcapng

// blocksAt reports whether a chain of PCAPNG blocks begins at w, after damage. One
// complete block with equal lengths and a plausible header after it is enough: that is
// 96 matching bits.
//
// LIMIT: a single valid block between two damaged ones is skipped with them.
// LIMIT: a PCAPNG file inside a packet can be mistaken for the capture if the packet's own
// block is damaged; the damage before it is counted, so it shows.
func (r *Reader) blocksAt(w []byte) bool {
	if len(w) < 12 {
		return false
	}
	t := BlockType(u32(w, r.be))
	if t == BlockSection {
		be, ok := sectionOrder(w[8:])
		return ok && r.chainAt(w, be)
	}
	return t.isKnown() && r.chainAt(w, r.be)
}

// chainAt follows up to 2 complete blocks from the start of w. The end of the file
// completes a chain.
func (r *Reader) chainAt(w []byte, be bool) bool {
	for whole := range 2 {
		if len(w) == 0 {
			return r.eof
		}
		if len(w) < 12 {
			return whole > 0
		}
		typ := BlockType(u32(w, be))
		if typ == BlockSection {
			var ok bool
			if be, ok = sectionOrder(w[8:]); !ok {
				return false
			}
		}
		size := uint64(u32(w[4:], be))
		if typ == 0 || size < 12 || size&3 != 0 || size > uint64(r.opt.MaxBlock) {
			return false
		}
		if size > uint64(len(w)) {
			return whole > 0
		}
		if uint64(u32(w[size-4:], be)) != size {
			return false
		}
		w = w[size:]
	}
	return true
}
