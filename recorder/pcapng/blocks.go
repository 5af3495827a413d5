package pcapng

// walkBlocks reads PCAPNG blocks from w[pos:].
func (r *Reader) walkBlocks(b *Batch, w []byte, pos int) (int, int) {
	for {
		rest := w[pos:]
		if len(rest) < 12 {
			if !r.eof {
				return pos, 12
			}
			return r.truncated(w, pos, 12), 0
		}
		be := r.be
		typ, size := u32(rest, be), uint64(u32(rest[4:], be))
		if typ == uint32(BlockEnhanced) && size >= 32 && size&3 == 0 && size <= uint64(len(rest)) &&
			u32(rest[size-4:], be) == uint32(size) && !r.skip {
			r.enhanced(b, rest[:size], r.base+int64(pos))
			pos += int(size)
			continue
		}
		used, need, ok := r.another(w, pos)
		if need > 0 || ok {
			return pos + used, need
		}
		used, need = r.block(b, w, pos)
		if need > 0 || r.scanning {
			return pos, need
		}
		pos += used
		if r.tail {
			return pos, 0
		}
	}
}

// enhanced reads an enhanced packet block with valid lengths.
func (r *Reader) enhanced(b *Batch, blk []byte, off int64) {
	r.enhancedAs(b, blk, off, u32(blk[8:], r.be))
}

func (r *Reader) enhancedAs(b *Batch, blk []byte, off int64, id uint32) {
	be := r.be

	capLen := uint64(u32(blk[20:], be))
	space := uint64(len(blk) - 32)
	if capLen > space {
		r.note(off, int64(len(blk)), DamageCaplen, "captured length %d in a block with space for %d", capLen, space)
		return
	}
	if uint64(id) >= uint64(len(r.fast)-r.ifBase) || !r.fast[r.ifBase+int(id)].ok {
		r.noInterface(off, len(blk), int64(id))
		return
	}
	index := r.ifBase + int(id)
	f := &r.fast[index]
	ticks := uint64(u32(blk[12:], be))<<32 | uint64(u32(blk[16:], be))
	ns, fits := f.clock.packetTime(ticks)
	if !fits {
		r.note(off, 0, DamageTime, "time of %d ticks (if_tsresol %#x, if_tsoffset %d s) is outside 1970 to 2261", ticks, f.clock.res, f.clock.secs)
	}
	if capLen > maxSnap {
		r.unseen = r.unseen || capLen > uint64(frameLimit(f.link))
	}
	opts := min(pad4(int(capLen)), int(space))
	b.Packets = append(b.Packets, Packet{
		Offset: off, Index: r.index, Frame: r.nextFrame(), Time: ns, TimeOK: fits,
		Interface: int32(index), LinkType: f.link, OrigLen: u32(blk[24:], be),
		Kind: KindEnhanced, BigEndian: be,
		Data: blk[28 : 28+capLen : 28+capLen],
	})
	r.index++
	if opts < int(space) {
		b.Packets[len(b.Packets)-1].Options = blk[28+opts : len(blk)-4 : len(blk)-4]
		r.checkOptions(blk[28+opts:len(blk)-4], off)
	}
}

func (r *Reader) noInterface(off int64, size int, id int64) {
	r.note(off, int64(size), DamageInterface, "packet of interface %d, but its section describes only %d",
		id, len(r.fast)-r.ifBase)
}

func (r *Reader) checkOptions(options []byte, off int64) {
	if !optionsOK(options, r.be) {
		r.note(off, 0, DamageOptions, "an option is longer than its block")
	}
}

// nextFrame numbers a frame like Wireshark, up to the place where Wireshark stops.
func (r *Reader) nextFrame() int64 {
	if r.unseen {
		return 0
	}
	r.frame++
	return r.frame
}

// block reads any block with all checks. It returns the bytes used, or how many it
// needs. If the block is invalid it starts a scan.
func (r *Reader) block(b *Batch, w []byte, pos int) (used, need int) {
	rest, off := w[pos:], r.base+int64(pos)
	typ := BlockType(u32(rest, r.be))
	be := r.be
	if typ == BlockSection {
		var ok bool
		if be, ok = sectionOrder(rest[8:]); !ok {
			r.lose(off, DamageBlock, "section header with invalid byte-order magic % x", rest[8:12])
			return 0, 0
		}
	}
	size := uint64(u32(rest[4:], be))
	least := uint64(12)
	if typ == BlockSection {
		least = 28
	}
	if size < least || size > uint64(r.maxBlock) {
		r.badLength(rest, off, typ, be, size)
		return 0, 0
	}
	// Some writers forget to count the padding of the body.
	full := int(size+3) &^ 3
	if full > len(rest) {
		if !r.eof {
			return 0, full
		}
		return r.cutBlock(w, pos, typ, int(size)), 0
	}
	trail := int(size)
	if size&3 != 0 && u32(rest[full-4:], be) == uint32(size) {
		trail = full
	}
	if uint64(u32(rest[trail-4:], be)) != size || trail&3 != 0 {
		// One wrong length in an otherwise valid chain costs no packet.
		if !r.eof && len(rest)-full < lookahead {
			return 0, full + lookahead
		}
		if size&3 != 0 || endsInBlock(rest[:full], be) || !r.chainAt(rest[full:], be) || r.swallowed(rest, full) {
			if typ == BlockSection {
				r.newSection(be, off)
			}
			r.distrust(size)
			r.lose(off, DamageTrailer, "block of type %#x with different lengths %d and %d", uint32(typ), size, u32(rest[trail-4:], be))
			return 0, 0
		}
		r.note(off, 0, DamageTrailer, "block of type %#x with different lengths %d and %d", uint32(typ), size, u32(rest[trail-4:], be))
	}
	if typ == BlockSection {
		r.beginSection(rest[:full], be, off)
	}
	r.handleBlock(b, typ, rest[:full], off)
	return full, 0
}

// endsInBlock reports whether the last length of a block belongs to another block inside
// it: then its first length is wrong, and it has swallowed other blocks.
func endsInBlock(blk []byte, be bool) bool {
	size := uint64(u32(blk[len(blk)-4:], be))
	if size < 12 || size&3 != 0 || size+12 > uint64(len(blk)) {
		return false
	}
	inner := blk[uint64(len(blk))-size:]
	return BlockType(u32(inner, be)).isKnown() || uint64(u32(inner[4:], be)) == size
}

func (r *Reader) badLength(rest []byte, off int64, typ BlockType, be bool, size uint64) {
	if typ == 0 && size == 0 {
		r.lose(off, DamageZeros, "zero bytes instead of a block")
		return
	}
	if typ == BlockSection && len(rest) >= 16 {
		// The section is new nevertheless: later blocks have its byte order.
		r.newSection(be, off)
	}
	r.lose(off, DamageLength, "block of type %#x with length %d, outside %d to %d", uint32(typ), size, 12, r.maxBlock)
}

// cutBlock examines a block that runs past the end of the file: either the file is
// truncated, or the length is false and there are blocks inside.
func (r *Reader) cutBlock(w []byte, pos int, typ BlockType, size int) int {
	rest, off := w[pos:], r.base+int64(pos)
	scanFrom := off + 1
	if typ == BlockEnhanced && len(rest) >= 28 && !r.swallowed(rest, size) {
		// A packet may contain a PCAPNG file: look inside its data only if the two lengths
		// contradict each other.
		dataEnd := 28 + (uint64(u32(rest[20:], r.be))+3)&^3
		if dataEnd+4 <= uint64(size) {
			if dataEnd >= uint64(len(rest)) {
				return r.truncated(w, pos, size) - pos
			}
			scanFrom = off + int64(dataEnd)
		}
	}
	if typ == BlockSection {
		be, _ := sectionOrder(rest[8:])
		r.newSection(be, off)
	}
	r.lose(off, DamageTruncated, "block of type %#x with length %d, %d bytes left", uint32(typ), size, len(rest))
	r.onFound, r.scanFrom = DamageLength, scanFrom
	return 0
}

// truncated records a truncated end and consumes it.
func (r *Reader) truncated(w []byte, pos, want int) int {
	left := len(w) - pos
	if left > 0 {
		r.note(r.base+int64(pos), int64(left), DamageTruncated, "cut short: %d bytes needed, %d left", want, left)
		if r.pass != nil {
			r.pass(0, r.base+int64(pos), int64(left), nil)
		}
		r.tail = true
	}
	return len(w)
}

func (r *Reader) newSection(be bool, off int64) {
	r.be = be
	r.section++
	r.sectionOff = off
	r.ifBase = len(r.ifaces)
	r.gapsAtSHB = r.gaps
	r.skip = false
}

func (r *Reader) beginSection(blk []byte, be bool, off int64) {
	r.newSection(be, off)
	major, minor := u16(blk[12:], be), u16(blk[14:], be)
	if major != 1 || minor != 0 && minor != 2 {
		r.note(off, 0, DamageVersion, "section of version %d.%d, but 1.0 is supported", major, minor)
		r.unseen = true
	}
	// Blocks of another major version may have any meaning; only their lengths are known.
	r.skip = major != 1
	r.checkOptions(blk[24:len(blk)-4], off)
}

// handleBlock handles a block with valid lengths.
func (r *Reader) handleBlock(b *Batch, typ BlockType, blk []byte, off int64) {
	if r.pass != nil && (typ == BlockSecrets || typ == BlockSection || r.passAll && !r.skip && !typ.isPacket()) {
		r.pass(typ, off, int64(len(blk)), blk)
	}
	if r.skip && typ != BlockSection {
		r.note(off, int64(len(blk)), DamageVersion, "block in a section of unknown version")
		return
	}
	var frame int64
	switch typ {
	case BlockEnhanced:
		if len(blk) < 32 {
			r.shortBody(typ, blk, off)
			return
		}
		r.enhanced(b, blk, off)
		return
	case BlockSimple:
		r.simple(b, blk, off)
		return
	case BlockPacket:
		r.obsolete(b, blk, off)
		return
	case BlockInterface:
		r.describe(blk, off)
	default:
		if typ.isFrame() {
			frame = r.nextFrame()
		}
	}
	if r.opt.OnBlock != nil {
		r.opt.OnBlock(Block{Type: typ, Offset: off, Section: r.section, Frame: frame, BigEndian: r.be, Body: blk[8 : len(blk)-4]})
	}
}

func (r *Reader) shortBody(typ BlockType, blk []byte, off int64) {
	r.note(off, int64(len(blk)), DamageBlock, "block of type %d with a body of %d bytes", uint32(typ), len(blk)-12)
}

func (r *Reader) describe(blk []byte, off int64) {
	if len(r.ifaces) >= maxInterfaces {
		r.note(off, int64(len(blk)), DamageInterface, "more than %d interfaces in one file", maxInterfaces)
		return
	}
	i, ok := readInterface(blk[8:len(blk)-4], r.be)
	if !ok {
		// It keeps its number, or all later ones of the section would be off by one.
		r.shortBody(BlockInterface, blk, off)
		i = Interface{BigEndian: r.be, TsResol: 6, FCSLen: -1}
	}
	if i.OptionsIncomplete {
		r.note(off, 0, DamageOptions, "an option is longer than its block")
	}
	if r.gaps > r.gapsAtSHB {
		r.note(off, 0, DamageInterface, "interface %d of its section follows damage: another may be lost before it, so its number is uncertain",
			len(r.ifaces)-r.ifBase)
	}
	r.addInterface(i, ok, off)
}

func (r *Reader) simple(b *Batch, blk []byte, off int64) {
	if len(blk) < 16 {
		r.shortBody(BlockSimple, blk, off)
		return
	}
	if len(r.fast) == r.ifBase || !r.fast[r.ifBase].ok {
		r.noInterface(off, len(blk), 0)
		return
	}
	f := &r.fast[r.ifBase]
	orig := u32(blk[8:], r.be)
	capLen := simpleLen(orig, f.snap)
	if space := uint64(len(blk) - 16); capLen > space {
		r.note(off, int64(len(blk)), DamageCaplen, "captured length %d in a block with space for %d", capLen, space)
		return
	}
	b.Packets = append(b.Packets, Packet{
		Offset: off, Index: r.index, Frame: r.nextFrame(), Interface: int32(r.ifBase), LinkType: f.link,
		OrigLen: orig, Kind: KindSimple, BigEndian: r.be, Data: blk[12 : 12+capLen : 12+capLen],
	})
	r.index++
}

// simpleLen is the captured length of a simple packet, which the block does not contain.
func simpleLen(orig, snap uint32) uint64 {
	if snap != 0 && snap < orig {
		return uint64(snap)
	}
	return uint64(orig)
}

// obsolete reads a packet block, the predecessor of the enhanced packet block.
func (r *Reader) obsolete(b *Batch, blk []byte, off int64) {
	if len(blk) < 32 {
		r.shortBody(BlockPacket, blk, off)
		return
	}
	id, drops := u16(blk[8:], r.be), u16(blk[10:], r.be)
	n := len(b.Packets)
	// The rest of the block has the same layout; only the first word differs.
	r.enhancedAs(b, blk, off, uint32(id))
	if len(b.Packets) > n {
		p := &b.Packets[n]
		p.Kind, p.Drops = KindObsolete, drops
	}
}
