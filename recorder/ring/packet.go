package ring

import (
	"encoding/binary"
	"fmt"

	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// InterfaceID is the number that a series gave an interface. It holds until Release,
// over all rotations.
type InterfaceID int32

// Packet is one packet to keep. Nothing of it is held after Append.
type Packet struct {
	Interface InterfaceID
	Time      int64  // nanoseconds since 1970 UTC
	Prefix    []byte // stands before Data: the header of LINKTYPE_LINUX_SLL2
	Data      []byte
	OrigLen   uint32        // on the wire, with the length of Prefix; at least what is captured
	Flags     uint32        // pcapng.Flags; 0 is left out
	ID        uint64        // packet id, see Writer.FirstPacketID; 0 is left out
	PID, TID  uint32        // process and thread that sent it; a PID of 0 is left out
	Drops     uint64        // lost before it at this interface; Append adds what the ring itself dropped
	Comment   string        // "" for none; at most 64 KiB of it are kept
	Socket    pcapng.Socket // that it came from or went to; a cookie of 0 is left out
}

var le = binary.LittleEndian

// Lengths of options with their headers.
const (
	sizeFlags = 4 + 4
	size64    = 4 + 8
	sizeEnd   = 4
	enhanced  = 32 // an enhanced packet block without data and options
)

const maxComment = 0xFFFF

func pad4(n int) int { return (n + 3) &^ 3 }

// optionsSize is how many bytes the options of a packet take.
func (p *Packet) optionsSize(drops uint64) int {
	n := 0
	if p.Flags != 0 {
		n += sizeFlags
	}
	if drops != 0 {
		n += size64
	}
	if p.ID != 0 {
		n += size64
	}
	if p.PID != 0 {
		n += size64
	}
	if p.Socket.Cookie != 0 {
		n += p.Socket.OptionSize()
	}
	if p.Comment != "" {
		n += 4 + pad4(min(len(p.Comment), maxComment))
	}
	if n > 0 {
		n += sizeEnd
	}
	return n
}

// Size of p as a block, of which so many bytes of Data are kept.
func (p *Packet) blockSize(keep int, drops uint64) int {
	return enhanced + pad4(len(p.Prefix)+keep) + p.optionsSize(drops)
}

// appendBlock writes p as a block of size bytes, of interface number iface in its segment.
// Data is cut to keep.
func (p *Packet) appendBlock(b []byte, size int, iface uint32, keep int, drops uint64) []byte {
	captured := len(p.Prefix) + keep
	b = le.AppendUint32(b, uint32(pcapng.BlockEnhanced))
	b = le.AppendUint32(b, uint32(size))
	b = le.AppendUint32(b, iface)
	b = appendTicks(b, p.Time)
	b = le.AppendUint32(b, uint32(captured))
	b = le.AppendUint32(b, max(p.OrigLen, uint32(captured)))
	b = append(append(b, p.Prefix...), p.Data[:keep]...)
	b = append(b, zeros[:-captured&3]...)
	if pad4(captured)+enhanced < size {
		b = p.appendOptions(b, drops)
	}
	return le.AppendUint32(b, uint32(size))
}

var zeros [4]byte

func (p *Packet) appendOptions(b []byte, drops uint64) []byte {
	if p.Flags != 0 {
		b = le.AppendUint32(b, uint32(pcapng.EPBFlags)|4<<16)
		b = le.AppendUint32(b, p.Flags)
	}
	if drops != 0 {
		b = option64(b, pcapng.EPBDropCount, drops)
	}
	if p.ID != 0 {
		b = option64(b, pcapng.EPBPacketID, p.ID)
	}
	if p.PID != 0 {
		b = option64(b, pcapng.EPBProcess, uint64(p.PID)|uint64(p.TID)<<32)
	}
	if p.Socket.Cookie != 0 {
		b = p.Socket.AppendOption(b)
	}
	if p.Comment != "" {
		b = appendComment(b, p.Comment)
	}
	return le.AppendUint32(b, 0)
}

func appendComment(b []byte, text string) []byte {
	text = text[:min(len(text), maxComment)]
	b = le.AppendUint32(b, uint32(pcapng.OptComment)|uint32(len(text))<<16)
	return append(append(b, text...), zeros[:-len(text)&3]...)
}

func option64(b []byte, code uint16, v uint64) []byte {
	return le.AppendUint64(le.AppendUint32(b, uint32(code)|8<<16), v)
}

// describe encodes an interface description, in the way every segment has it.
func describe(i pcapng.Interface, link uint16, snap uint32) ([]byte, error) {
	i.LinkType, i.SnapLen, i.TsResol, i.TsOffset, i.Options = link, snap, 9, 0, nil
	if i.FCSLen == 0 {
		i.FCSLen = -1 // a caller that leaves it out knows nothing of check sums
	}
	return encoded(func(w *pcapng.Writer) error {
		_, err := w.AddInterface(i)
		return err
	})
}

// encoded is what write gives a PCAPNG writer, without the section header before it.
func encoded(write func(*pcapng.Writer) error) ([]byte, error) {
	var out appender
	w, err := pcapng.NewWriter(&out, pcapng.Section{}, pcapng.WriterOptions{MaxBlock: maxBlock})
	if err != nil {
		return nil, err
	}
	if err := w.Flush(); err != nil {
		return nil, err
	}
	out = out[:0]
	if err := write(w); err != nil {
		return nil, err
	}
	if err := w.Flush(); err != nil {
		return nil, err
	}
	return out, nil
}

type appender []byte

func (a *appender) Write(p []byte) (int, error) { *a = append(*a, p...); return len(p), nil }

// InterfaceAccount is what was counted at an interface and is not in the output, which
// counts itself what it was given: only so do statistics agree with the packets before them.
type InterfaceAccount struct {
	ID    InterfaceID
	At    int64  // when it was counted
	Start int64  // when counting began; 0 is left out
	Lost  uint64 // packets
}

// Statistics of an interface of which an output has so many packets.
func (a *InterfaceAccount) Statistics(iface uint32, kept uint64) pcapng.Statistics {
	known := func(n uint64) pcapng.Counter { return pcapng.Counter{N: n, Known: true} }
	return pcapng.Statistics{Interface: iface, Ticks: uint64(a.At),
		Start: pcapng.Counter{N: uint64(a.Start), Known: a.Start != 0}, End: pcapng.Counter{N: uint64(a.At), Known: a.At != 0},
		Received: known(kept + a.Lost), OSDropped: known(a.Lost), Delivered: known(kept)}
}

// appendStatistics appends a block; without a comment it has at most 120 bytes.
func appendStatistics(b []byte, s *pcapng.Statistics) []byte {
	at := len(b)
	b = le.AppendUint32(b, uint32(pcapng.BlockStatistics))
	b = le.AppendUint32(b, 0)
	b = le.AppendUint32(b, s.Interface)
	b = appendTicks(b, int64(s.Ticks))
	for _, text := range s.Comments {
		b = appendComment(b, text)
	}
	if s.Start.Known {
		b = appendTicks(le.AppendUint32(b, uint32(pcapng.StatStart)|8<<16), int64(s.Start.N))
	}
	if s.End.Known {
		b = appendTicks(le.AppendUint32(b, uint32(pcapng.StatEnd)|8<<16), int64(s.End.N))
	}
	b = appendCounter(b, pcapng.StatReceived, s.Received)
	b = appendCounter(b, pcapng.StatOSDrop, s.OSDropped)
	b = appendCounter(b, pcapng.StatDelivered, s.Delivered)
	b = le.AppendUint32(b, 0)
	size := uint32(len(b) - at + 4)
	le.PutUint32(b[at+4:], size)
	return le.AppendUint32(b, size)
}

// appendTicks writes a time as blocks have it, the high word first.
func appendTicks(b []byte, ns int64) []byte {
	return le.AppendUint32(le.AppendUint32(b, uint32(uint64(ns)>>32)), uint32(ns))
}

func appendCounter(b []byte, code uint16, c pcapng.Counter) []byte {
	if !c.Known {
		return b
	}
	return le.AppendUint64(le.AppendUint32(b, uint32(code)|8<<16), c.N)
}

// tally counts what a stretch of blocks holds.
type tally struct {
	packets     uint64
	bytes       uint64
	first, last Time
	id          uint64 // largest packet id, its counter only
	interfaces  int
}

func (t *tally) packet(captured int, ns Time) {
	if t.packets == 0 || ns < t.first {
		t.first = ns
	}
	if t.packets == 0 || ns > t.last {
		t.last = ns
	}
	t.packets++
	t.bytes += uint64(captured)
}

func (t *tally) add(o *tally) {
	t.interfaces += o.interfaces
	t.id = max(t.id, o.id)
	if o.packets == 0 {
		return
	}
	if t.packets == 0 || o.first < t.first {
		t.first = o.first
	}
	if t.packets == 0 || o.last > t.last {
		t.last = o.last
	}
	t.packets += o.packets
	t.bytes += o.bytes
}

// wholeBlock is the length of the block at the start of b, 0 where no whole and sound
// block is there.
func wholeBlock(b []byte) int {
	if len(b) < 12 {
		return 0
	}
	size := le.Uint32(b[4:])
	if size < 12 || size > maxBlock || size&3 != 0 || uint64(size) > uint64(len(b)) || le.Uint32(b) == 0 || le.Uint32(b[size-4:]) != size {
		return 0
	}
	return int(size)
}

// lookAt adds a block that is whole to the tally and says whether it can stand in a
// segment at that place.
func (t *tally) lookAt(blk []byte) error {
	switch typ := pcapng.BlockType(le.Uint32(blk)); typ {
	case pcapng.BlockInterface:
		if len(blk) < 20 {
			return fmt.Errorf("interface description of %d bytes", len(blk))
		}
		t.interfaces++
	case pcapng.BlockEnhanced:
		if len(blk) < enhanced {
			return fmt.Errorf("packet block of %d bytes", len(blk))
		}
		iface, captured := le.Uint32(blk[8:]), le.Uint32(blk[20:])
		if uint64(iface) >= uint64(t.interfaces) {
			return fmt.Errorf("packet of interface %d, %d are described", iface, t.interfaces)
		}
		if uint64(captured) > uint64(len(blk)-enhanced) {
			return fmt.Errorf("captured length %d in a block of %d bytes", captured, len(blk))
		}
		t.packet(int(captured), packetTime(blk))
		t.id = max(t.id, option(blk, pcapng.EPBPacketID)&packetIDMask)
	case pcapng.BlockSection:
		return fmt.Errorf("second section")
	}
	return nil
}

// packetTime is the time of an enhanced packet block of a segment.
func packetTime(blk []byte) Time {
	return Time(uint64(le.Uint32(blk[12:]))<<32 | uint64(le.Uint32(blk[16:])))
}

// option is the value of a 64-bit option of an enhanced packet block, 0 where it has none.
func option(blk []byte, code uint16) uint64 {
	at := 28 + (uint64(le.Uint32(blk[20:]))+3)&^3
	if at >= uint64(len(blk)-4) {
		return 0
	}
	for it := pcapng.IterOptions(blk[at:len(blk)-4], false); it.Next(); {
		if it.Code == code && len(it.Value) == 8 {
			return le.Uint64(it.Value)
		}
	}
	return 0
}
