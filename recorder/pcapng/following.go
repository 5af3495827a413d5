package pcapng

// A file may contain several captures, one after another: cat a.pcap b.pcapng, the members of a gzip file,
// a program that is restarted and appends to its output. Each of them is read in its own format, with
// interfaces and a section of its own. Wireshark stops where a classic pcap begins or ends.

// pcapHeader is the number of bytes that every header of a classic pcap file has.
const pcapHeader = 24

// isPcapMagic reports whether a file of classic pcap begins with v, read in either byte order.
func isPcapMagic(v uint32) bool {
	switch v {
	case magicMicro, magicNano, magicModified, magicIxiaHW, magicIxiaSW,
		0xd4c3b2a1, 0x4d3cb2a1, 0x34cdb2a1, 0xac01001c, 0xab01001c:
		return true
	}
	return false
}

// hasMagic reports whether w has the first bytes of a capture.
func hasMagic(w []byte) bool {
	return len(w) >= 4 && (isPcapMagic(u32(w, false)) || u32(w, false) == uint32(BlockSection))
}

// pcapAt reports whether a header of classic pcap begins at w: a magic number, version 2.0 to 2.4, no
// time zone, no accuracy, and a link type of 16 bits.
func pcapAt(w []byte) (recordFormat, bool) {
	if len(w) < pcapHeader || !isPcapMagic(u32(w, false)) {
		return recordFormat{}, false
	}
	f, ok := recordFormatOf(w)
	const link = 0x03FF0000 // bits that no link type has; those above them are about the FCS
	ok = ok && len(w) >= int(f.first) && u16(w[4:], f.be) == 2 && u16(w[6:], f.be) <= 4 &&
		u64(w[8:], false) == 0 && u32(w[20:], f.be)&link == 0
	return f, ok
}

// sectionAt reports whether a section header begins at w.
func sectionAt(w []byte) (be, ok bool) {
	if len(w) < 28 || u32(w, false) != uint32(BlockSection) {
		return false, false
	}
	be, ok = sectionOrder(w[8:])
	size := u32(w[4:], be)
	return be, ok && size >= 28 && size&3 == 0
}

// another begins the capture that follows at w[pos:] where the one before it ends, if there is one. It
// returns the bytes that it used, or how many it needs. PCAPNG reads the sections after a section itself.
func (r *Reader) another(w []byte, pos int) (used, need int, ok bool) {
	rest, off := w[pos:], r.base+int64(pos)
	if r.format == FormatPcap && len(rest) >= 4 && u32(rest, false) == uint32(BlockSection) {
		if len(rest) < 28 && !r.eof {
			return 0, 28, false
		}
		if be, ok := sectionAt(rest); ok {
			r.format, r.be, r.unseen = FormatPcapng, be, true
			return 0, 0, true
		}
	}
	if len(rest) < 4 || !isPcapMagic(u32(rest, false)) {
		return 0, 0, false
	}
	if len(rest) < pcapHeader+4 && !r.eof {
		return 0, pcapHeader + 4, false
	}
	f, ok := pcapAt(rest)
	if !ok {
		return 0, 0, false
	}
	if f.variant && !r.opt.Live && !r.eof && len(rest) < lookahead {
		return 0, lookahead, false // the first records show how long their headers are
	}
	r.format, r.unseen, r.ref = FormatPcap, true, 0
	r.describeClassic(rest, f, off)
	if r.passHeader != nil {
		r.passHeader(off, off+f.first)
	}
	return int(f.first), 0, true
}

// followsDamage reports whether another capture begins at w, after damage: also its first records or
// blocks must be valid.
func (r *Reader) followsDamage(w []byte) bool {
	if !hasMagic(w) {
		return false
	}
	if f, ok := pcapAt(w); ok {
		other := f.longer()
		return f.soundStart(w[f.first:], 3) || f.variant && other.soundStart(w[f.first:], 3)
	}
	be, ok := sectionAt(w)
	return ok && r.format == FormatPcap && r.chainAt(w, be)
}

// swallowed reports whether another capture begins inside a record or block, because its own capture was
// cut there: the records or blocks of the other one must continue behind its end, or end exactly where the
// file ends. Those of a capture that a packet itself contains end with the packet, or are cut with it.
func (r *Reader) swallowed(rest []byte, size int) bool {
	for p := 1; p < min(size, len(rest)); p++ {
		w, end := rest[p:], min(size-p, len(rest)-p-1)
		if !hasMagic(w) {
			continue
		}
		at := 0
		if f, ok := pcapAt(w); ok {
			if at = f.recordsTo(w, end); at <= end && f.variant {
				other := f.longer()
				at = other.recordsTo(w, end)
			}
		} else if _, ok := sectionAt(w); ok {
			at = blocksTo(w, end)
		}
		if at > end && (size <= len(rest) || at == len(w)) {
			return true
		}
	}
	return false
}

// recordsTo is the place up to which valid records follow the header at w, the first one behind end if they
// reach it.
func (f *recordFormat) recordsTo(w []byte, end int) (at int) {
	for at = int(f.first); at <= end && len(w)-at >= f.header; {
		rec := f.read(w[at:])
		if f.odd(rec) || rec.capLen == 0 || rec.capLen > maxSnap {
			return 0
		}
		at += f.header + int(rec.capLen)
	}
	return at
}

// blocksTo is the same for the blocks that begin at w.
func blocksTo(w []byte, end int) (at int) {
	be := false
	for at <= end && len(w)-at >= 12 {
		if u32(w[at:], false) == uint32(BlockSection) {
			be, _ = sectionOrder(w[at+8:])
		}
		size := int64(u32(w[at+4:], be))
		if size < 12 || size&3 != 0 || size > int64(len(w)-at) || int64(u32(w[at+int(size)-4:], be)) != size {
			return 0
		}
		at += int(size)
	}
	return at
}
