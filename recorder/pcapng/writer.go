package pcapng

import (
	"errors"
	"fmt"
	"io"
	"math"
)

// Errors of a Writer that a caller may need to distinguish.
var (
	ErrBlockTooLong = errors.New("the block is longer than the writer's limit")
	ErrByteOrder    = errors.New("the byte order of a block with an unknown layout cannot be changed")
)

// WriterOptions of a Writer. The zero value is ready to use.
type WriterOptions struct {
	BigEndian bool
	MaxBlock  int // 0 means 16 MiB, the longest block that libpcap reads at once
}

// Writer writes PCAPNG. It collects complete blocks and writes them in large pieces; Flush
// writes the rest. After an error it writes nothing more.
type Writer struct {
	w      io.Writer
	be     bool
	max    int
	buf    []byte
	offset int64 // of buf[0]
	clocks []clock
	links  []uint16
	snaps  []uint32
	err    error
}

const writeAtOnce = 256 << 10

// NewWriter begins the first section.
func NewWriter(w io.Writer, s Section, opt WriterOptions) (*Writer, error) {
	if opt.MaxBlock <= 0 {
		opt.MaxBlock = 16 << 20
	}
	x := &Writer{w: w, be: opt.BigEndian, max: min(opt.MaxBlock, maxBlock)}
	if err := x.AddSection(s); err != nil {
		return nil, err
	}
	return x, nil
}

// Offset is the place where the next block will begin.
func (w *Writer) Offset() int64 { return w.offset + int64(len(w.buf)) }

// Flush writes all complete blocks.
func (w *Writer) Flush() error {
	if w.err != nil || len(w.buf) == 0 {
		return w.err
	}
	n, err := w.w.Write(w.buf)
	if err == nil && n < len(w.buf) {
		err = io.ErrShortWrite
	}
	w.offset += int64(n)
	if err != nil {
		w.err = fmt.Errorf("writing capture at %d: %w", w.offset, err)
		return w.err
	}
	w.buf = w.buf[:0]
	return nil
}

// begin starts a block and returns its place in the buffer.
func (w *Writer) begin(typ BlockType) int {
	start := len(w.buf)
	w.buf = put32(put32(w.buf, uint32(typ), w.be), 0, w.be)
	return start
}

// end pads the block and writes its lengths, or removes it if it is too long.
func (w *Writer) end(start int) error {
	w.pad()
	size := len(w.buf) + 4 - start
	if size > w.max {
		typ := u32(w.buf[start:], w.be)
		w.buf = w.buf[:start]
		return fmt.Errorf("writing block of type %#x with %d bytes, over the limit of %d: %w", typ, size, w.max, ErrBlockTooLong)
	}
	put32(w.buf[start+4:start+4], uint32(size), w.be)
	w.buf = put32(w.buf, uint32(size), w.be)
	if len(w.buf) >= writeAtOnce {
		return w.Flush()
	}
	return nil
}

func (w *Writer) pad() {
	for len(w.buf)&3 != 0 {
		w.buf = append(w.buf, 0)
	}
}

// options appends raw options, then those of the list, then the end mark if there were any.
func (w *Writer) options(typ BlockType, raw []byte, rawBE bool, list *OptionList) error {
	before := len(w.buf)
	w.buf = appendOptions(w.buf, typ, raw, rawBE, w.be)
	if list != nil {
		if list.err != nil {
			return list.err
		}
		w.buf = appendOptions(w.buf, typ, list.b, false, w.be)
	}
	if len(w.buf) > before {
		w.buf = append(w.buf, 0, 0, 0, 0)
	}
	return nil
}

// finish writes the options of a block and ends it, or removes it after an error.
func (w *Writer) finish(start int, typ BlockType, raw []byte, rawBE bool, list *OptionList) error {
	if err := w.options(typ, raw, rawBE, list); err != nil {
		w.buf = w.buf[:start]
		return err
	}
	return w.end(start)
}

// AddSection begins a section and restarts the numbers of interfaces. Options are written
// unchanged if there are any; otherwise they are made from the fields.
func (w *Writer) AddSection(s Section) error {
	if w.err != nil {
		return w.err
	}
	start := w.begin(BlockSection)
	w.buf = put32(w.buf, 0x1A2B3C4D, w.be)
	w.buf = put16(put16(w.buf, 1, w.be), 0, w.be)
	w.buf = put64(w.buf, math.MaxUint64, w.be) // length: unknown
	var list *OptionList
	if s.Options == nil {
		list = s.optionList()
	}
	if err := w.finish(start, BlockSection, s.Options, s.BigEndian, list); err != nil {
		return err
	}
	w.clocks, w.links, w.snaps = w.clocks[:0], w.links[:0], w.snaps[:0]
	return nil
}

// AddInterface describes an interface and returns its number in the section. Options are
// written unchanged if there are any and they are complete; otherwise they are made from the
// fields. To change a field, set Options to nil.
func (w *Writer) AddInterface(i Interface) (int32, error) {
	if w.err != nil {
		return 0, w.err
	}
	start := w.begin(BlockInterface)
	w.buf = put16(put16(w.buf, i.LinkType, w.be), 0, w.be)
	w.buf = put32(w.buf, i.SnapLen, w.be)
	raw, list := i.Options, (*OptionList)(nil)
	if raw == nil || i.OptionsIncomplete {
		raw, list = nil, i.optionList()
	} else {
		// The options determine how times are written.
		described := Interface{BigEndian: i.BigEndian, TsResol: 6}
		for it := IterOptions(raw, i.BigEndian); it.Next(); {
			described.setOption(it.Option)
		}
		i.TsResol, i.TsOffset = described.TsResol, described.TsOffset
	}
	if err := w.finish(start, BlockInterface, raw, i.BigEndian, list); err != nil {
		return 0, err
	}
	w.clocks = append(w.clocks, newClock(i.TsResol, i.TsOffset))
	w.links = append(w.links, i.LinkType)
	w.snaps = append(w.snaps, i.SnapLen)
	return int32(len(w.clocks) - 1), nil
}

// WritePacket writes a packet of the interface that AddInterface numbered p.Interface,
// with its own options and then more. A packet without a time becomes a simple packet if the
// format allows it, and otherwise has time 0.
func (w *Writer) WritePacket(p *Packet, more *OptionList) error {
	if w.err != nil {
		return w.err
	}
	if p.Interface < 0 || int(p.Interface) >= len(w.clocks) {
		return fmt.Errorf("writing packet of interface %d: only %d are described", p.Interface, len(w.clocks))
	}
	if uint64(len(p.Data)) > uint64(w.max) {
		return fmt.Errorf("writing packet of %d bytes, over the block limit of %d: %w", len(p.Data), w.max, ErrBlockTooLong)
	}
	if w.canBeSimple(p, more) {
		return w.writeSimple(p)
	}
	ticks, ok := w.clocks[p.Interface].packetTicks(p)
	if !ok {
		return fmt.Errorf("writing packet: time %d ns is outside the range of interface %d", p.Time, p.Interface)
	}
	start := w.begin(BlockEnhanced)
	b := put32(w.buf, uint32(p.Interface), w.be)
	b = put32(put32(b, uint32(ticks>>32), w.be), uint32(ticks), w.be)
	b = put32(put32(b, uint32(len(p.Data)), w.be), p.OrigLen, w.be)
	w.buf = append(b, p.Data...)
	w.pad()
	if p.Kind == KindObsolete && p.Drops != 0xFFFF {
		var drops OptionList
		drops.DropCount(uint64(p.Drops))
		w.buf = appendOptions(w.buf, BlockEnhanced, drops.b, false, w.be)
		if len(p.Options) == 0 && (more == nil || more.Len() == 0) {
			w.buf = append(w.buf, 0, 0, 0, 0)
		}
	}
	return w.finish(start, BlockEnhanced, p.Options, p.BigEndian, more)
}

func (w *Writer) canBeSimple(p *Packet, more *OptionList) bool {
	return p.Kind == KindSimple && !p.TimeOK && p.Interface == 0 && len(p.Options) == 0 &&
		(more == nil || more.Len() == 0 && more.err == nil) &&
		simpleLen(p.OrigLen, w.snaps[0]) == uint64(len(p.Data))
}

func (w *Writer) writeSimple(p *Packet) error {
	start := w.begin(BlockSimple)
	w.buf = append(put32(w.buf, p.OrigLen, w.be), p.Data...)
	return w.end(start)
}

// WriteNames writes a name resolution block.
func (w *Writer) WriteNames(n Names) error {
	if w.err != nil {
		return w.err
	}
	start := w.begin(BlockNames)
	for _, rec := range n.Records {
		v := rec.encode()
		if len(v) > 0xFFFF {
			w.buf = w.buf[:start]
			return fmt.Errorf("writing name record of %d bytes: %w", len(v), ErrOptionTooLong)
		}
		w.buf = put16(put16(w.buf, rec.Type, w.be), uint16(len(v)), w.be)
		w.buf = append(w.buf, v...)
		w.pad()
	}
	w.buf = append(w.buf, 0, 0, 0, 0)
	var list *OptionList
	if n.Options == nil {
		list = n.optionList()
	}
	return w.finish(start, BlockNames, n.Options, n.BigEndian, list)
}

// encode is the value of the record: unchanged, or made from address and names.
func (rec *NameRecord) encode() []byte {
	if rec.Value != nil {
		return rec.Value
	}
	var v []byte
	switch rec.Type {
	case NameIPv4, NameIPv6:
		v = rec.Addr.AsSlice()
	default:
		v = append(v, rec.EUI...)
	}
	for _, name := range rec.Names {
		v = append(append(v, name...), 0)
	}
	return v
}

// WriteStatistics writes an interface statistics block.
func (w *Writer) WriteStatistics(s Statistics) error {
	if w.err != nil {
		return w.err
	}
	if uint64(s.Interface) >= uint64(len(w.clocks)) {
		return fmt.Errorf("writing statistics of interface %d: only %d are described", s.Interface, len(w.clocks))
	}
	start := w.begin(BlockStatistics)
	w.buf = put32(w.buf, s.Interface, w.be)
	w.buf = put32(put32(w.buf, uint32(s.Ticks>>32), w.be), uint32(s.Ticks), w.be)
	var list *OptionList
	if s.Options == nil {
		list = s.optionList()
	}
	return w.finish(start, BlockStatistics, s.Options, s.BigEndian, list)
}

// Ticks converts nanoseconds since 1970 UTC to the units of an interface of this
// section, for Statistics.
func (w *Writer) Ticks(iface int32, ns int64) (uint64, bool) {
	if iface < 0 || int(iface) >= len(w.clocks) {
		return 0, false
	}
	return w.clocks[iface].ticks(ns)
}

// WriteSecrets writes a decryption secrets block.
func (w *Writer) WriteSecrets(s Secrets) error {
	if w.err != nil {
		return w.err
	}
	if uint64(len(s.Data)) > uint64(w.max) {
		return fmt.Errorf("writing secrets of %d bytes, over the block limit of %d: %w", len(s.Data), w.max, ErrBlockTooLong)
	}
	start := w.begin(BlockSecrets)
	w.buf = put32(put32(w.buf, s.Type, w.be), uint32(len(s.Data)), w.be)
	w.buf = append(w.buf, s.Data...)
	w.pad()
	var list *OptionList
	if s.Options == nil {
		list = &OptionList{}
		for _, c := range s.Comments {
			list.Comment(c)
		}
	}
	return w.finish(start, BlockSecrets, s.Options, s.BigEndian, list)
}

// WriteCustom writes a custom block; stay means that rewriters must not copy it.
func (w *Writer) WriteCustom(c Custom, stay bool) error {
	if w.err != nil {
		return w.err
	}
	typ := BlockCustom
	if stay {
		typ = BlockCustomStay
	}
	return w.raw(typ, put32(nil, c.PEN, w.be), c.Data)
}

func (w *Writer) raw(typ BlockType, parts ...[]byte) error {
	start := w.begin(typ)
	for _, p := range parts {
		if uint64(len(p)) > uint64(w.max) {
			w.buf = w.buf[:start]
			return fmt.Errorf("writing block of type %#x with %d bytes, over the limit of %d: %w", uint32(typ), len(p), w.max, ErrBlockTooLong)
		}
		w.buf = append(w.buf, p...)
	}
	return w.end(start)
}

// WriteBlock writes a block from a Reader in this writer's byte order. Blocks of any type
// except packets are accepted. A block with an unknown layout is refused with ErrByteOrder
// if its byte order would have to change.
func (w *Writer) WriteBlock(b Block) error {
	if w.err != nil {
		return w.err
	}
	switch b.Type {
	case BlockSection:
		s, err := ParseSection(b)
		return w.parsed(err, b, func() error { return w.AddSection(s) })
	case BlockInterface:
		i, ok := readInterface(b.Body, b.BigEndian)
		if !ok {
			i = Interface{TsResol: 6, FCSLen: -1}
		}
		_, err := w.AddInterface(i)
		return err
	case BlockNames:
		n, err := ParseNames(b)
		return w.parsed(err, b, func() error { return w.WriteNames(n) })
	case BlockStatistics:
		s, err := ParseStatistics(b)
		return w.parsed(err, b, func() error { return w.WriteStatistics(s) })
	case BlockSecrets:
		s, err := ParseSecrets(b)
		return w.parsed(err, b, func() error { return w.WriteSecrets(s) })
	case BlockCustom, BlockCustomStay:
		c, err := ParseCustom(b)
		return w.parsed(err, b, func() error { return w.WriteCustom(c, b.Type == BlockCustomStay) })
	case BlockJournal:
		return w.raw(b.Type, b.Body)
	case BlockEnhanced, BlockSimple, BlockPacket:
		return fmt.Errorf("writing block of type %d: use WritePacket for packets", uint32(b.Type))
	}
	return w.same(b)
}

// parsed writes the parsed block, or the unchanged one if it could not be parsed.
func (w *Writer) parsed(err error, b Block, write func() error) error {
	if err != nil {
		return w.same(b)
	}
	return write()
}

func (w *Writer) same(b Block) error {
	if b.BigEndian != w.be || b.Type == BlockSection {
		return fmt.Errorf("writing block of type %#x: %w", uint32(b.Type), ErrByteOrder)
	}
	return w.raw(b.Type, b.Body)
}
