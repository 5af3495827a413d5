package ring

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// InterfaceID is the number of an interface in a series. It is valid until Release, across
// rotations.
type InterfaceID int32

// Packet is one packet to write. It is not used after Append.
type Packet struct {
	Interface InterfaceID
	Time      int64  // nanoseconds since 1970 UTC
	Prefix    []byte // precedes Data: the header of LINKTYPE_LINUX_SLL2
	Data      []byte
	OrigLen   uint32        // on the wire, including Prefix; at least the captured length
	Flags     uint32        // pcapng.Flags; 0 is omitted
	ID        uint64        // packet id, see Writer.FirstPacketID; 0 is omitted
	PID, TID  uint32        // process and thread that sent it; omitted if PID is 0
	Drops     uint64        // packets lost before it at this interface; Append adds those that the ring dropped
	Comment   string        // "" for none; cut to 64 KiB
	Socket    pcapng.Socket // its local socket; omitted if the cookie is 0
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

// optionsSize returns the size of a packet's options in bytes.
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

// blockSize returns the size of p as a block that has keep bytes of Data.
func (p *Packet) blockSize(keep int, drops uint64) int {
	return enhanced + pad4(len(p.Prefix)+keep) + p.optionsSize(drops)
}

// appendBlock appends p as a block of size bytes, with the interface number iface of its
// segment. Data is cut to keep bytes.
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

// describe encodes an interface description block for a segment.
func describe(i pcapng.Interface, link uint16, snap uint32) ([]byte, error) {
	i.LinkType, i.SnapLen, i.TsResol, i.TsOffset, i.Options = link, snap, 9, 0, nil
	if i.FCSLen == 0 {
		i.FCSLen = -1 // unknown if the caller does not set it
	}
	return encoded(func(w *pcapng.Writer) error {
		_, err := w.AddInterface(i)
		return err
	})
}

// encoded returns what write writes to a PCAPNG writer, without the section header.
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

// InterfaceAccount has the caller's counters of an interface. The output counts the packets that it
// received itself, so that the statistics agree with the packets before them.
type InterfaceAccount struct {
	ID    InterfaceID
	At    int64  // time of counting
	Start int64  // start of counting; 0 is omitted
	Lost  uint64 // packets
}

// Statistics returns the statistics of an interface with kept packets in the output.
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

// appendTicks appends a time in the form used in blocks, the high word first.
func appendTicks(b []byte, ns int64) []byte {
	return le.AppendUint32(le.AppendUint32(b, uint32(uint64(ns)>>32)), uint32(ns))
}

func appendCounter(b []byte, code uint16, c pcapng.Counter) []byte {
	if !c.Known {
		return b
	}
	return le.AppendUint64(le.AppendUint32(b, uint32(code)|8<<16), c.N)
}

// tally counts the contents of a sequence of blocks.
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

// wholeBlock returns the length of the block at the start of b, 0 if it is incomplete or
// invalid.
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

// lookAt adds a whole block to the tally. It returns an error if a segment cannot have the
// block at that place.
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
			return fmt.Errorf("packet of interface %d: only %d interfaces are described", iface, t.interfaces)
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

// packetTime returns the time of an enhanced packet block of a segment.
func packetTime(blk []byte) Time {
	return Time(uint64(le.Uint32(blk[12:]))<<32 | uint64(le.Uint32(blk[16:])))
}

// option returns the value of a 64-bit option of an enhanced packet block, 0 if it is absent.
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

// packetBase returns the ring's part of packet IDs: 24 bits of its hash.
func packetBase(ring string) uint64 {
	sum := sha256.Sum256([]byte(ring))
	return uint64(sum[0])<<56 | uint64(sum[1])<<48 | uint64(sum[2])<<40
}
