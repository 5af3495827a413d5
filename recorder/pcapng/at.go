package pcapng

import (
	"errors"
	"fmt"
	"io"
)

// ErrNoPacket means that no packet begins at an offset.
var ErrNoPacket = errors.New("no packet begins here")

// ReadPacketAt reads a packet again: the one whose block or record begins at byte off. i is its
// interface. Data and Options are in buf, which grows as needed and is returned for the next call.
// Index is -1 and Frame 0, because they are unknown here.
func ReadPacketAt(src io.ReaderAt, i *Interface, off int64, buf []byte) (Packet, []byte, error) {
	buf, err := readAt(src, off, 32, buf)
	if err != nil {
		return Packet{}, buf, fmt.Errorf("reading packet at %d: %w", off, err)
	}
	var p Packet
	if i.record.header != 0 {
		p, buf, err = recordAt(src, i, off, buf)
	} else {
		p, buf, err = blockAt(src, i, off, buf)
	}
	if err != nil {
		return Packet{}, buf, fmt.Errorf("reading packet at %d: %w", off, err)
	}
	p.Offset, p.Index, p.Interface, p.LinkType = off, -1, i.Index, i.LinkType
	return p, buf, nil
}

// readAt reads up to n bytes at off into buf; the file may end earlier. buf grows with the
// bytes that are read, so a false length costs no memory.
func readAt(src io.ReaderAt, off int64, n int, buf []byte) ([]byte, error) {
	const step = 1 << 20
	buf = buf[:0]
	for len(buf) < n {
		have := len(buf)
		want := min(n-have, step)
		if cap(buf) < have+want {
			grown := make([]byte, have, max(have+want, min(2*have, n)))
			copy(grown, buf)
			buf = grown
		}
		k, err := src.ReadAt(buf[have:have+want], off+int64(have))
		buf = buf[:have+k]
		if err == io.EOF {
			break
		}
		if err != nil {
			return buf, err
		}
	}
	return buf, nil
}

func recordAt(src io.ReaderAt, i *Interface, off int64, buf []byte) (Packet, []byte, error) {
	f := &i.record
	if len(buf) < f.header || off < f.first {
		return Packet{}, buf, ErrNoPacket
	}
	rec := f.read(buf)
	if uint64(rec.capLen)+uint64(f.header) > maxBlock {
		return Packet{}, buf, fmt.Errorf("captured length %d is over the limit of %d: %w", rec.capLen, maxBlock, ErrNoPacket)
	}
	size := int(rec.capLen) + f.header
	buf, err := readAt(src, off, size, buf)
	if err != nil {
		return Packet{}, buf, err
	}
	if len(buf) < size {
		return Packet{}, buf, fmt.Errorf("the record needs %d bytes, %d left: %w", size, len(buf), io.ErrUnexpectedEOF)
	}
	return Packet{
		Time: int64(rec.sec)*1e9 + int64(rec.frac)*f.mul, TimeOK: true,
		OrigLen: rec.orig, BigEndian: f.be, Data: buf[f.header:size:size],
	}, buf, nil
}

// blockAt parses the block with the same code as a walk.
func blockAt(src io.ReaderAt, i *Interface, off int64, buf []byte) (Packet, []byte, error) {
	if len(buf) < 16 {
		return Packet{}, buf, ErrNoPacket
	}
	typ, size := BlockType(u32(buf, i.BigEndian)), u32(buf[4:], i.BigEndian)
	id := uint32(0)
	switch typ {
	case BlockEnhanced:
		id = u32(buf[8:], i.BigEndian)
	case BlockPacket:
		id = uint32(u16(buf[8:], i.BigEndian))
	case BlockSimple:
	default:
		return Packet{}, buf, fmt.Errorf("the block has type %#x: %w", uint32(typ), ErrNoPacket)
	}
	if id != i.ID {
		return Packet{}, buf, fmt.Errorf("the packet belongs to interface %d, not to %d: %w", id, i.ID, ErrNoPacket)
	}
	if size < 16 || size > maxBlock {
		return Packet{}, buf, fmt.Errorf("block length %d is outside 16 to %d: %w", size, maxBlock, ErrNoPacket)
	}
	full := pad4(int(size))
	buf, err := readAt(src, off, full, buf)
	if err != nil {
		return Packet{}, buf, err
	}
	if len(buf) < full {
		return Packet{}, buf, fmt.Errorf("the block needs %d bytes, %d left: %w", full, len(buf), io.ErrUnexpectedEOF)
	}
	r := Reader{be: i.BigEndian, opt: Options{MaxBlock: maxBlock, MaxDamage: 1}}
	r.fast = make([]ifaceFast, 1)
	r.fast[0] = ifaceFast{clock: newClock(i.TsResol, i.TsOffset), snap: i.SnapLen, link: i.LinkType, ok: true}
	var one [1]Packet
	b := Batch{Packets: one[:0]}
	switch {
	case typ == BlockSimple:
		r.simple(&b, buf, off)
	case len(buf) < 32:
		r.shortBody(typ, buf, off)
	default:
		r.enhancedAs(&b, buf, off, 0)
		if typ == BlockPacket && len(b.Packets) > 0 {
			b.Packets[0].Kind, b.Packets[0].Drops = KindObsolete, u16(buf[10:], r.be)
		}
	}
	if len(b.Packets) == 0 {
		return Packet{}, buf, fmt.Errorf("%s: %w", r.damage[0].Detail, ErrNoPacket)
	}
	p := b.Packets[0]
	p.Frame = 0
	return p, buf, nil
}

// ReadInterfaceAt reads the interface description at off in the section whose header
// is at section, so that packets can be read again without a walk from the start. For
// classic pcap both are the place of the file header. Index and Section are 0; ID is id, its number in the section.
func ReadInterfaceAt(src io.ReaderAt, section, off int64, id uint32) (Interface, error) {
	head, err := readAt(src, section, 24, nil)
	if err != nil {
		return Interface{}, fmt.Errorf("reading section header at %d: %w", section, err)
	}
	if len(head) >= 12 && u32(head, true) == uint32(BlockSection) {
		be, ok := sectionOrder(head[8:])
		if !ok {
			return Interface{}, fmt.Errorf("reading section header at %d: invalid byte-order magic % x", section, head[8:12])
		}
		i, err := describedAt(src, be, off)
		if err != nil {
			return Interface{}, fmt.Errorf("reading interface description at %d: %w", off, err)
		}
		i.ID, i.SectionOffset, i.Offset = id, section, off
		return i, nil
	}
	if section != off {
		return Interface{}, fmt.Errorf("reading section header at %d: %w", section, ErrNotCapture)
	}
	r, err := NewReader(io.NewSectionReader(src, off, 1<<62), Options{})
	if err != nil {
		return Interface{}, err
	}
	var b Batch // the first records show how long their headers are
	if err := r.Next(&b); err != nil && err != io.EOF {
		return Interface{}, err
	}
	i := r.ifaces[0]
	i.SectionOffset, i.Offset = off, off
	i.record.first += off
	return i, nil
}

func describedAt(src io.ReaderAt, be bool, off int64) (Interface, error) {
	head, err := readAt(src, off, 8, nil)
	if err != nil {
		return Interface{}, err
	}
	if len(head) < 8 || u32(head, be) != uint32(BlockInterface) {
		return Interface{}, errors.New("no interface description begins here")
	}
	size := u32(head[4:], be)
	if size < 20 || size > maxBlock {
		return Interface{}, fmt.Errorf("block length %d is outside 20 to %d", size, maxBlock)
	}
	blk, err := readAt(src, off, int(size), nil)
	if err != nil {
		return Interface{}, err
	}
	if len(blk) < int(size) {
		return Interface{}, io.ErrUnexpectedEOF
	}
	i, _ := readInterface(blk[8:len(blk)-4], be)
	return i, nil
}
