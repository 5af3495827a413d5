package pcapng

import (
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
)

// ErrOptionTooLong means that the value of an option does not fit in its 16-bit length.
var ErrOptionTooLong = errors.New("option value longer than 65535 bytes")

// OptionList builds the options of a block. The zero value is empty. Its byte order is
// chosen by the Writer.
type OptionList struct {
	b   []byte // little-endian
	err error
}

// Reset empties the list and keeps its memory.
func (l *OptionList) Reset() { l.b, l.err = l.b[:0], nil }

// Len is the size of the list in a file, without its end mark.
func (l *OptionList) Len() int { return len(l.b) }

// Add appends an option whose value needs no byte order, or is little-endian.
func (l *OptionList) Add(code uint16, value []byte) {
	if len(value) > 0xFFFF {
		l.err = fmt.Errorf("option %d with %d bytes: %w", code, len(value), ErrOptionTooLong)
		return
	}
	l.b = put16(put16(l.b, code, false), uint16(len(value)), false)
	l.b = append(l.b, value...)
	for len(l.b)&3 != 0 {
		l.b = append(l.b, 0)
	}
}

func (l *OptionList) addText(code uint16, s string) { l.Add(code, []byte(s)) }

func (l *OptionList) addUnlessEmpty(code uint16, s string) {
	if s != "" {
		l.addText(code, s)
	}
}

func (l *OptionList) add32(code uint16, v uint32) {
	var a [4]byte
	l.Add(code, put32(a[:0], v, false))
}

func (l *OptionList) add64(code uint16, v uint64) {
	var a [8]byte
	l.Add(code, put64(a[:0], v, false))
}

func (l *OptionList) addTicks(code uint16, v uint64) {
	var a [8]byte
	l.Add(code, put32(put32(a[:0], uint32(v>>32), false), uint32(v), false))
}

// Comment appends a comment.
func (l *OptionList) Comment(s string) { l.addText(OptComment, s) }

// Custom appends a custom option; code is one of the four custom codes.
func (l *OptionList) Custom(code uint16, pen uint32, data []byte) {
	l.Add(code, append(put32(nil, pen, false), data...))
}

// Flags appends the link-layer flags of a packet.
func (l *OptionList) Flags(f Flags) { l.add32(EPBFlags, uint32(f)) }

// DropCount appends the number of packets lost before this one.
func (l *OptionList) DropCount(n uint64) { l.add64(EPBDropCount, n) }

// PacketID appends the id of a packet, which is the same at all its interfaces.
func (l *OptionList) PacketID(n uint64) { l.add64(EPBPacketID, n) }

// Queue appends the queue through which a packet passed.
func (l *OptionList) Queue(n uint32) { l.add32(EPBQueue, n) }

// ProcessThread appends the process and thread that sent a packet.
func (l *OptionList) ProcessThread(pid, tid uint32) {
	var a [8]byte
	l.Add(EPBProcess, put32(put32(a[:0], pid, false), tid, false))
}

// Socket appends the known fields of a packet's socket.
func (l *OptionList) Socket(s *Socket) { l.Add(OptCustomBytes, s.AppendOption(nil)[4:]) }

// Hash appends a hash of the packet.
func (l *OptionList) Hash(h Hash) { l.Add(EPBHash, append([]byte{h.Algorithm}, h.Value...)) }

// Verdict appends a verdict on the packet.
func (l *OptionList) Verdict(v Verdict) { l.Add(EPBVerdict, append([]byte{v.Kind}, v.Value...)) }

// words is the layout of an option's value: count numbers of size bytes. Zero means that it
// has no byte order, or an unknown layout.
func words(typ BlockType, code uint16) (count, size int) {
	switch code {
	case OptCustomText, OptCustomBytes, OptCustomTextStay, OptCustomBytesStay:
		return 1, 4
	}
	switch typ {
	case BlockInterface:
		switch code {
		case IfSpeed, IfTxSpeed, IfRxSpeed, IfTsOffset:
			return 1, 8
		case IfTimeZone:
			return 1, 4
		}
	case BlockEnhanced:
		switch code {
		case EPBFlags, EPBQueue:
			return 1, 4
		case EPBDropCount, EPBPacketID:
			return 1, 8
		case EPBProcess:
			return 2, 4
		}
	case BlockStatistics:
		switch code {
		case StatStart, StatEnd:
			return 2, 4
		case StatReceived, StatDropped, StatFilterAccept, StatOSDrop, StatDelivered:
			return 1, 8
		}
	}
	return 0, 0
}

// appendOptions appends options in another byte order, without their end mark. Values with
// an unknown layout are copied unchanged.
func appendOptions(dst []byte, typ BlockType, options []byte, from, to bool) []byte {
	it := IterOptions(options, from)
	for it.Next() {
		dst = put16(put16(dst, it.Code, to), uint16(len(it.Value)), to)
		at := len(dst)
		dst = append(dst, it.Value...)
		if from != to {
			count, size := words(typ, it.Code)
			swapWords(dst[at:], count, size)
		}
		for n := len(it.Value); n&3 != 0; n++ {
			dst = append(dst, 0)
		}
	}
	return dst
}

func swapWords(v []byte, count, size int) {
	for ; count > 0 && len(v) >= size; count-- {
		if size == 4 {
			put32(v[:0], bits.ReverseBytes32(u32(v, false)), false)
		} else {
			put64(v[:0], bits.ReverseBytes64(u64(v, false)), false)
		}
		v = v[size:]
	}
}

// optionList makes the options of an interface from its fields.
func (i *Interface) optionList() *OptionList {
	l := &OptionList{}
	for _, c := range i.Comments {
		l.Comment(c)
	}
	l.addUnlessEmpty(IfName, i.Name)
	l.addUnlessEmpty(IfDescription, i.Description)
	for _, p := range i.IPv4 {
		if p.IsValid() && p.Addr().Is4() {
			l.Add(IfIPv4, append(p.Addr().AsSlice(), mask4(p)...))
		}
	}
	for _, p := range i.IPv6 {
		if p.IsValid() && p.Addr().Is6() {
			l.Add(IfIPv6, append(p.Addr().AsSlice(), byte(p.Bits())))
		}
	}
	if i.MAC != nil {
		l.Add(IfMAC, i.MAC)
	}
	if i.EUI != nil {
		l.Add(IfEUI, i.EUI)
	}
	if i.Speed != 0 {
		l.add64(IfSpeed, i.Speed)
	}
	l.Add(IfTsResol, []byte{i.TsResol})
	if i.Filter != "" {
		l.Add(IfFilter, append([]byte{i.FilterKind}, i.Filter...))
	}
	l.addUnlessEmpty(IfOS, i.OS)
	if i.FCSLen >= 0 {
		l.Add(IfFCSLen, []byte{byte(i.FCSLen)})
	}
	if i.TsOffset != 0 {
		l.add64(IfTsOffset, uint64(i.TsOffset))
	}
	l.addUnlessEmpty(IfHardware, i.Hardware)
	if i.TxSpeed != 0 {
		l.add64(IfTxSpeed, i.TxSpeed)
	}
	if i.RxSpeed != 0 {
		l.add64(IfRxSpeed, i.RxSpeed)
	}
	l.addUnlessEmpty(IfIANAZone, i.TimeZone)
	return l
}

func mask4(p netip.Prefix) []byte {
	return put32(nil, ^uint32(0)<<(32-p.Bits()), true)
}

func (s *Section) optionList() *OptionList {
	l := &OptionList{}
	for _, c := range s.Comments {
		l.Comment(c)
	}
	l.addUnlessEmpty(SectionHardware, s.Hardware)
	l.addUnlessEmpty(SectionOS, s.OS)
	l.addUnlessEmpty(SectionApplication, s.Application)
	return l
}

func (n *Names) optionList() *OptionList {
	l := &OptionList{}
	for _, c := range n.Comments {
		l.Comment(c)
	}
	l.addUnlessEmpty(NameServer, n.Server)
	for _, a := range n.ServerIP {
		if a.Is4() {
			l.Add(NameServerIPv4, a.AsSlice())
		} else if a.Is6() {
			l.Add(NameServerIPv6, a.AsSlice())
		}
	}
	return l
}

func (s *Statistics) optionList() *OptionList {
	l := &OptionList{}
	for _, c := range s.Comments {
		l.Comment(c)
	}
	if s.Start.Known {
		l.addTicks(StatStart, s.Start.N)
	}
	if s.End.Known {
		l.addTicks(StatEnd, s.End.N)
	}
	for _, f := range []struct {
		code uint16
		c    Counter
	}{
		{StatReceived, s.Received}, {StatDropped, s.Dropped}, {StatFilterAccept, s.Accepted},
		{StatOSDrop, s.OSDropped}, {StatDelivered, s.Delivered},
	} {
		if f.c.Known {
			l.add64(f.code, f.c.N)
		}
	}
	return l
}
