package pcapng

import (
	"io"
	"slices"
)

// Edit defines how Rewrite changes a capture. Texts, bodies and data may be changed in place, but
// keep their lengths.
type Edit struct {
	Packet  func(p *Packet) (keep bool)                                  // p.Data may be changed
	Block   func(typ BlockType, body []byte, bigEndian bool) (keep bool) // any block that is not a packet
	Comment func(typ BlockType, text []byte) (keep bool)                 // a comment of a kept block or packet

	// Another option of a kept section header, interface or packet; nil keeps all.
	Option func(typ BlockType, code uint16, value []byte) (keep bool)
}

// Rewritten counts the parts that Rewrite left out.
type Rewritten struct {
	Packets  int64 // kept
	Removed  int64 // packets left out
	Blocks   int64 // other blocks left out
	Comments int64 // left out
	Options  int64 // others, left out
	Damaged  int64 // bytes left out that are not a block or not a packet
	Written  int64
}

// Rewrite copies a capture byte for byte except for the changes of edit: packets, blocks and
// comments that are left out, and bytes that are changed in place. Bytes outside packets and blocks
// are left out. If a section header has its section's length, it is set to unknown. The errors are
// those of NewReader, of Next and of w.
func Rewrite(w io.Writer, src io.Reader, edit Edit) (Rewritten, error) {
	s := &rewriting{passing: passing{src: src, w: w}, edit: edit}
	s.flush = s.copyKept
	r, err := NewReader(s, Options{})
	if err != nil {
		return Rewritten{}, err
	}
	s.r = r
	r.pass, r.passAll, r.passHeader = s.block, true, s.keep
	if r.Format() == FormatPcap {
		s.keep(0, r.rec.first)
	}
	var b Batch
	for err == nil {
		if err = r.Next(&b); err == nil {
			for i := range b.Packets {
				s.packet(&b.Packets[i])
			}
			err = s.flush()
		}
	}
	if err == io.EOF {
		err = s.flush()
	}
	s.said.Written = s.written
	return s.said, err
}

// rewriting copies the stretches of the file that are kept.
type rewriting struct {
	passing
	edit Edit
	in   []stretch
	said Rewritten
}

func (s *rewriting) keep(from, to int64) {
	if from < to {
		s.in = append(s.in, stretch{from, to})
	}
}

// block is shown every block that is not a packet and, as type 0, bytes that are not a block.
func (s *rewriting) block(typ BlockType, off, size int64, _ []byte) {
	if typ == 0 {
		s.said.Damaged += size
		return
	}
	blk := s.buf[off-s.off:][:size]
	at := map[BlockType]int{BlockSection: 24, BlockInterface: 16}[typ]
	if typ == BlockSection {
		copy(blk[16:], "\xff\xff\xff\xff\xff\xff\xff\xff") // its length, section 4.1 of the format
	}
	if !s.edit.Block(typ, blk[8:len(blk)-4], s.r.be) {
		s.said.Blocks++
		return
	}
	if at == 0 {
		s.keep(off, off+size)
		return
	}
	s.unit(typ, off, blk, at, s.r.be)
}

// packet keeps a packet, or does not.
func (s *rewriting) packet(p *Packet) {
	head := s.r.ifaces[p.Interface].record.header
	size := head + len(p.Data)
	if p.Kind != KindRecord {
		head = 28
		if p.Kind == KindSimple {
			head = 12
		}
		size = (int(u32(s.buf[p.Offset-s.off+4:], p.BigEndian)) + 3) &^ 3
	}
	blk := s.buf[p.Offset-s.off:][:size]
	if !s.edit.Packet(p) {
		s.said.Removed++
		return
	}
	s.said.Packets++
	copy(blk[head:], p.Data)
	if p.Kind == KindEnhanced || p.Kind == KindObsolete {
		if at := head + pad4(len(p.Data)); at < size-4 {
			s.unit(BlockEnhanced, p.Offset, blk, at, p.BigEndian)
			return
		}
	}
	s.keep(p.Offset, p.Offset+int64(size))
}

// unit keeps a block whose options begin at at, without the comments that go.
func (s *rewriting) unit(typ BlockType, off int64, blk []byte, at int, be bool) {
	const comment = 1
	from, gone := off, 0
	for end := len(blk) - 4; at+4 <= end; {
		code, size := u16(blk[at:], be), int(u16(blk[at+2:], be))
		next := at + 4 + pad4(size)
		if code == 0 || next > end {
			if code != 0 { // longer than its block: its content is unknown
				s.keep(from, off+int64(at))
				from, gone = off+int64(end), gone+end-at
			}
			break
		}
		if code == comment && !s.edit.Comment(typ, blk[at+4:at+4+size]) {
			s.keep(from, off+int64(at))
			from, gone = off+int64(next), gone+next-at
			s.said.Comments++
		} else if code != comment && s.edit.Option != nil && !s.edit.Option(typ, code, blk[at+4:at+4+size]) {
			s.keep(from, off+int64(at))
			from, gone = off+int64(next), gone+next-at
			s.said.Options++
		}
		at = next
	}
	if gone > 0 {
		length := put32(nil, uint32(len(blk)-gone), be)
		copy(blk[4:], length)
		copy(blk[len(blk)-4:], length)
	}
	s.keep(from, off+int64(len(blk)))
}

// copyKept implements flush.
func (s *rewriting) copyKept() error {
	if s.err != nil || s.r == nil {
		return s.err
	}
	slices.SortFunc(s.in, func(a, b stretch) int { return int(max(min(a.from-b.from, 1), -1)) })
	for i := 0; i < len(s.in); {
		x := s.in[i]
		for i++; i < len(s.in) && s.in[i].from == x.to; i++ { // fewer and longer writes
			x.to = s.in[i].to
		}
		s.write(x.from, x.to)
	}
	s.in = s.in[:0]
	upTo := s.r.base
	s.forget(upTo)
	return s.err
}
