package pcapng

import "fmt"

// recordFormat is the layout of the records of a classic pcap file.
type recordFormat struct {
	header  int    // bytes of a record header
	unit    uint32 // fractions in a second
	mul     int64  // nanoseconds in a fraction
	first   int64  // offset of the first record
	be      bool
	swapped swapKind
	variant bool // the header length must still be determined
	link    uint16
	snap    uint32
}

// swapKind says whether captured and original length are swapped.
type swapKind uint8

const (
	swapNever  swapKind = iota
	swapMaybe           // version 2.3: if the captured length is longer
	swapAlways          // before 2.3, and DG/UX with version 543.0
)

// Magic numbers of classic pcap.
const (
	magicMicro    = 0xa1b2c3d4
	magicNano     = 0xa1b23c4d
	magicModified = 0xa1b2cd34 // Kuznetzov's patches: longer record headers
	magicIxiaHW   = 0x1c0001ac // lcap: nanoseconds, and a size after the file header
	magicIxiaSW   = 0x1c0001ab
)

// recordFormatOf determines the layout from the magic number.
func recordFormatOf(head []byte) (recordFormat, bool) {
	for _, be := range []bool{false, true} {
		f := recordFormat{header: 16, unit: 1e6, mul: 1000, first: 24, be: be}
		switch u32(head, be) {
		case magicMicro:
			f.variant = true
		case magicNano:
			f.unit, f.mul = 1e9, 1
		case magicModified:
			f.header, f.variant = 24, true
		case magicIxiaHW, magicIxiaSW:
			f.unit, f.mul, f.first = 1e9, 1, 28
		default:
			continue
		}
		return f, true
	}
	return recordFormat{}, false
}

// startClassic reads the file header.
func (r *Reader) startClassic(head []byte, f recordFormat) error {
	if extra := int(f.first) - len(head); extra > 0 {
		var err error
		if head, err = r.readUpTo(head, int(f.first)); err != nil {
			return err
		}
		if len(head) < int(f.first) {
			return fmt.Errorf("reading pcap file header: %w (%d of %d bytes)", ErrTooShort, len(head), f.first)
		}
	}
	r.describeClassic(head, f, 0)
	r.carry, r.base = head[:0], f.first
	return nil
}

// describeClassic makes an interface from the file header at off.
func (r *Reader) describeClassic(head []byte, f recordFormat, off int64) {
	major, minor := u16(head[4:], f.be), u16(head[6:], f.be)
	network := u32(head[20:], f.be)
	f.snap = u32(head[16:], f.be)
	i := Interface{BigEndian: f.be, SnapLen: f.snap, LinkType: uint16(network), FCSLen: -1}
	if network&0x04000000 != 0 { // bits 28 to 31 count 16-bit words
		i.FCSLen = int(network>>28) * 2
	}
	switch {
	case major == 2 && minor == 2 && aixLink(network) != 0:
		// AIX writes interface types instead of link types, and nanoseconds.
		i.LinkType, f.unit, f.mul = aixLink(network), 1e9, 1
		f.swapped = swapAlways
	case major == 543 && minor == 0, major == 2 && minor < 3:
		f.swapped = swapAlways
	case major == 2 && minor == 3:
		f.swapped = swapMaybe
	}
	i.TsResol = 6
	if f.unit == 1e9 {
		i.TsResol = 9
	}
	f.link = i.LinkType
	f.first += off
	r.newSection(f.be, off)
	r.rec = f
	if major != 2 && major != 543 {
		r.note(off, 0, DamageVersion, "pcap version %d.%d, but 2.4 is supported", major, minor)
		r.unseen = major < 2
	}
	if len(r.ifaces) >= maxInterfaces {
		r.skip = true
		return
	}
	i.clock, i.record = newClock(i.TsResol, 0), f
	r.addInterface(i, true, off)
}

// aixLink maps RFC 1573 interface types, which AIX writes, to link types.
func aixLink(ifType uint32) uint16 {
	switch ifType {
	case 6:
		return 1 // Ethernet
	case 9:
		return 6 // token ring
	case 15:
		return 10 // FDDI
	}
	return 0
}

// record is a record header.
type record struct {
	sec, frac    uint32
	capLen, orig uint32
}

func (f *recordFormat) read(h []byte) record {
	rec := record{u32(h, f.be), u32(h[4:], f.be), u32(h[8:], f.be), u32(h[12:], f.be)}
	if f.swapped != swapNever && (f.swapped == swapAlways || rec.capLen > rec.orig) {
		rec.capLen, rec.orig = rec.orig, rec.capLen
	}
	return rec
}

// odd reports whether a valid writer would not write this header.
func (f *recordFormat) odd(rec record) bool {
	return rec.capLen > rec.orig || rec.frac >= f.unit || rec.orig > 16<<20
}

func (rec record) zero() bool { return rec == record{} }

// walkRecords reads classic records from w[pos:].
func (r *Reader) walkRecords(b *Batch, w []byte, pos int) (int, int) {
	f := &r.rec
	for {
		if f.variant {
			if need := r.chooseVariant(w[pos:]); need > 0 {
				return pos, need
			}
		}
		rest, off := w[pos:], r.base+int64(pos)
		if len(rest) < f.header {
			if !r.eof {
				return pos, f.header
			}
			if used, _, ok := r.another(w, pos); ok {
				return pos + used, 0
			}
			return r.truncated(w, pos, f.header), 0
		}
		rec := f.read(rest)
		size := uint64(rec.capLen) + uint64(f.header)
		odd := rec.capLen > maxSnap || rec.zero() || f.odd(rec) || size > uint64(len(rest))
		if odd || rec.capLen == 0 {
			used, need, ok := r.another(w, pos)
			if pos += used; need > 0 || ok && r.format != FormatPcap {
				return pos, need
			}
			if ok {
				continue
			}
		}
		if next := size + uint64(f.header); !odd && uint64(len(rest)) < next && !r.eof && !r.opt.Live {
			return pos, int(next)
		}
		if odd || r.doubtful(rec, rest[size:]) {
			need := r.judge(w, pos, rec)
			if need > 0 || r.scanning || r.tail {
				if r.tail {
					pos = len(w)
				}
				return pos, need
			}
			r.unseen = r.unseen || rec.capLen > frameLimit(f.link)
		} else {
			r.ref = int64(rec.sec)
		}
		if r.skip {
			r.note(off, int64(size), DamageInterface, "more than %d interfaces in one file", maxInterfaces)
			pos += int(size)
			continue
		}
		b.Packets = append(b.Packets, Packet{
			Offset: off, Index: r.index, Frame: r.nextFrame(),
			Time: int64(rec.sec)*1e9 + int64(rec.frac)*f.mul, TimeOK: true,
			Interface: int32(r.ifBase), LinkType: f.link, OrigLen: rec.orig, BigEndian: f.be,
			Data: rest[f.header:size:size],
		})
		r.index++
		pos += int(size)
	}
}

// frameLimit is the captured length above which Wireshark calls a file damaged.
func frameLimit(link uint16) uint32 {
	switch link {
	case 231, 249, 279: // D-Bus, USBPcap, EBHSCR
		return 128 << 20
	}
	return maxSnap
}

// chooseVariant determines the length of the record headers. Kuznetzov's magic number means
// 24 or 28 bytes; the ordinary one means 20 in files of Nokia devices.
func (r *Reader) chooseVariant(w []byte) (need int) {
	if !r.eof && !r.opt.Live && len(w) < lookahead {
		return lookahead
	}
	f := &r.rec
	f.variant = false
	if r.opt.Live || f.soundStart(w, 1) {
		return 0
	}
	if other := f.longer(); other.soundStart(w, 2) {
		f.header = other.header
	}
	if !r.skip {
		r.ifaces[r.ifBase].record = *f
	}
	return 0
}

// longer is the layout with the other length that its magic number may mean.
func (f recordFormat) longer() recordFormat {
	f.header += 4
	return f
}

// soundStart reports whether the first records are valid. It checks at most four, and at least
// 'least' of them must be complete.
func (f *recordFormat) soundStart(w []byte, least int) bool {
	ref := int64(-1)
	for whole := 0; whole < 4; whole++ {
		if whole >= least && hasMagic(w) {
			return true
		}
		if len(w) < f.header {
			return whole >= least || whole > 0 && len(w) == 0
		}
		rec := f.read(w)
		const year = 366 * 86400
		far := ref >= 0 && (int64(rec.sec)-ref > year || ref-int64(rec.sec) > year)
		if far || f.odd(rec) || rec.capLen > maxSnap || rec.zero() {
			return false
		}
		size := int(rec.capLen) + f.header
		if size > len(w) {
			return whole >= least
		}
		ref, w = int64(rec.sec), w[size:]
	}
	return true
}

// judge examines a record that is truncated, too long or odd. It returns the bytes it needs,
// starts a scan, or records a truncated end; otherwise the record is accepted.
func (r *Reader) judge(w []byte, pos int, rec record) (need int) {
	f, rest, off := &r.rec, w[pos:], r.base+int64(pos)
	size := uint64(rec.capLen) + uint64(f.header)
	odd := rec.capLen > maxSnap || f.odd(rec)
	switch {
	case size > uint64(r.maxBlock):
		r.lose(off, DamageLength, "record with captured length %d, over the limit of %d", rec.capLen, r.maxBlock)
	case rec.zero():
		return r.judgeZero(rest, off)
	case size > uint64(len(rest)) && !r.eof:
		return int(size)
	case size > uint64(len(rest)) && !odd && !r.swallowed(rest, int(size)):
		r.truncated(w, pos, int(size))
	case size > uint64(len(rest)):
		r.lose(off, DamageTruncated, "record of %d bytes, %d left", size, len(rest))
		r.onFound = DamageLength
	case !r.eof && uint64(len(rest)) < size+lookahead:
		return int(size) + lookahead
	case r.swallowed(rest, int(size)):
		r.lose(off, DamageLength, "record of %d bytes, and another capture begins inside", size)
	case odd && r.nextPlausible(rest[size:]):
	case !odd:
		r.ref = int64(rec.sec)
	case rec.capLen > maxSnap:
		r.distrust(size)
		r.lose(off, DamageLength, "record with captured length %d and no record after it", rec.capLen)
	default:
		// An odd header alone proves nothing, and Wireshark accepts it. Only records inside
		// its data show that its length is false.
		for p := 1; uint64(p) < size; p++ {
			if r.recordsAt(rest[p:]) {
				r.lose(off, DamageRecord, "record with captured length %d and original length %d, and records inside", rec.capLen, rec.orig)
				return 0
			}
		}
	}
	return 0
}

// judgeZero distinguishes a record of zeros, which has no data, from an end of zeros that
// was allocated and never written.
func (r *Reader) judgeZero(rest []byte, off int64) (need int) {
	const run = 4
	h := r.rec.header
	if len(rest) < run*h && !r.eof {
		return run * h
	}
	for _, c := range rest[:min(run*h, len(rest))] {
		if c != 0 {
			return 0
		}
	}
	if len(rest) == h {
		return 0
	}
	r.lose(off, DamageZeros, "zero bytes instead of a record")
	return 0
}

// doubtful reports whether what follows a valid record is neither a record of its time nor a capture, so
// that the record itself may be cut.
func (r *Reader) doubtful(rec record, next []byte) bool {
	if len(next) < r.rec.header || r.opt.Live || hasMagic(next) {
		return false
	}
	n := r.rec.read(next)
	return n.capLen > maxSnap || r.rec.odd(n) || !near(n.sec, rec.sec)
}

// nextPlausible reports whether the header after an odd record is plausible.
func (r *Reader) nextPlausible(w []byte) bool {
	if len(w) < r.rec.header {
		return len(w) == 0
	}
	rec := r.rec.read(w)
	return !r.rec.odd(rec) && !rec.zero() && rec.capLen <= maxSnap && r.near(rec.sec)
}

// near reports whether a time is within a year of the last sound record.
func (r *Reader) near(sec uint32) bool { return r.ref == 0 || near(sec, uint32(r.ref)) }

// near reports whether two times are within a year.
func near(a, b uint32) bool {
	const year = 366 * 86400
	d := int64(a) - int64(b)
	return d > -year && d < year
}

// recordsAt reports whether a chain of records begins at w: three valid ones, or fewer
// that end where the file ends. Records have no magic number, so each must have data, a
// time near that of the last valid one, and no odd field.
func (r *Reader) recordsAt(w []byte) bool {
	for whole := 0; whole < 3; whole++ {
		if len(w) == 0 {
			return r.eof && whole > 0
		}
		if len(w) < r.rec.header {
			return whole > 1
		}
		rec := r.rec.read(w)
		if rec.capLen == 0 || rec.capLen > maxSnap || rec.sec == 0 || r.rec.odd(rec) || !r.near(rec.sec) {
			return false
		}
		size := int(rec.capLen) + r.rec.header
		if size > len(w) {
			return whole > 1
		}
		w = w[size:]
	}
	return true
}
