package pcapng

import "net/netip"

// Option codes that all blocks share.
const (
	OptEnd             uint16 = 0
	OptComment         uint16 = 1
	OptCustomText      uint16 = 2988 // rewriters copy it
	OptCustomBytes     uint16 = 2989
	OptCustomTextStay  uint16 = 19372 // rewriters do not copy it
	OptCustomBytesStay uint16 = 19373
)

// Option codes of section headers.
const (
	SectionHardware    uint16 = 2
	SectionOS          uint16 = 3
	SectionApplication uint16 = 4
)

// Option codes of interface descriptions.
const (
	IfName        uint16 = 2
	IfDescription uint16 = 3
	IfIPv4        uint16 = 4
	IfIPv6        uint16 = 5
	IfMAC         uint16 = 6
	IfEUI         uint16 = 7
	IfSpeed       uint16 = 8
	IfTsResol     uint16 = 9
	IfTimeZone    uint16 = 10
	IfFilter      uint16 = 11
	IfOS          uint16 = 12
	IfFCSLen      uint16 = 13
	IfTsOffset    uint16 = 14
	IfHardware    uint16 = 15
	IfTxSpeed     uint16 = 16
	IfRxSpeed     uint16 = 17
	IfIANAZone    uint16 = 18
)

// Option codes of enhanced packets.
const (
	EPBFlags     uint16 = 2
	EPBHash      uint16 = 3
	EPBDropCount uint16 = 4
	EPBPacketID  uint16 = 5
	EPBQueue     uint16 = 6
	EPBVerdict   uint16 = 7
	EPBProcess   uint16 = 8 // process and thread id
)

// Option codes of interface statistics.
const (
	StatStart        uint16 = 2
	StatEnd          uint16 = 3
	StatReceived     uint16 = 4
	StatDropped      uint16 = 5
	StatFilterAccept uint16 = 6
	StatOSDrop       uint16 = 7
	StatDelivered    uint16 = 8
)

// Option codes of name resolution.
const (
	NameServer     uint16 = 2
	NameServerIPv4 uint16 = 3
	NameServerIPv6 uint16 = 4
)

// Option is one option of a block. Value has no padding and refers to the block.
type Option struct {
	Code  uint16
	Value []byte
}

// IsCustom reports whether the option is one of the four custom ones, whose value
// begins with a private enterprise number.
func (o Option) IsCustom() bool {
	switch o.Code {
	case OptCustomText, OptCustomBytes, OptCustomTextStay, OptCustomBytesStay:
		return true
	}
	return false
}

// Custom splits a custom option into its private enterprise number and data.
func (o Option) Custom(bigEndian bool) (pen uint32, data []byte, ok bool) {
	if !o.IsCustom() || len(o.Value) < 4 {
		return 0, nil, false
	}
	return u32(o.Value, bigEndian), o.Value[4:], true
}

// OptionIter walks the options of a block.
//
//	for it := pcapng.IterOptions(p.Options, p.BigEndian); it.Next(); {
//		use(it.Code, it.Value)
//	}
type OptionIter struct {
	Option
	rest []byte
	be   bool
	bad  bool
}

// IterOptions starts a walk over options in the given byte order.
func IterOptions(options []byte, bigEndian bool) OptionIter {
	return OptionIter{rest: options, be: bigEndian}
}

// Next moves to the next option. It returns false at the end of the options, and if an option is
// longer than the remaining bytes; in the second case Bad is true.
func (it *OptionIter) Next() bool {
	if len(it.rest) < 4 {
		it.bad = it.bad || len(it.rest) > 0
		it.rest = nil
		return false
	}
	code, n := u16(it.rest, it.be), int(u16(it.rest[2:], it.be))
	if code == OptEnd && n == 0 {
		it.rest = nil
		return false
	}
	if n > len(it.rest)-4 {
		it.bad, it.rest = true, nil
		return false
	}
	it.Option = Option{code, it.rest[4 : 4+n : 4+n]}
	it.rest = it.rest[min(4+pad4(n), len(it.rest)):]
	return true
}

// Bad reports whether the walk ended at an invalid option.
func (it *OptionIter) Bad() bool { return it.bad }

// optionsOK reports whether all options fit in the block.
func optionsOK(options []byte, be bool) bool {
	it := IterOptions(options, be)
	for it.Next() {
	}
	return !it.bad
}

// find returns the first option with a code and at least size bytes.
func find(options []byte, be bool, code uint16, size int) []byte {
	for it := IterOptions(options, be); it.Next(); {
		if it.Code == code && len(it.Value) >= size {
			return it.Value
		}
	}
	return nil
}

// text ends a string option at its first zero byte, as the format requires.
func text(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

// Comments returns the comments among options.
func Comments(options []byte, bigEndian bool) []string {
	var list []string
	for it := IterOptions(options, bigEndian); it.Next(); {
		if it.Code == OptComment {
			list = append(list, text(it.Value))
		}
	}
	return list
}

// Direction is the direction of a packet through its interface.
type Direction uint8

// Directions.
const (
	DirectionUnknown  Direction = 0
	DirectionInbound  Direction = 1
	DirectionOutbound Direction = 2
)

// Flags is the link-layer flags word of a packet (section 4.3.1 of the format).
type Flags uint32

// Bits of Flags.
const (
	FlagChecksumNotReady Flags = 1 << 9
	FlagChecksumValid    Flags = 1 << 10
	FlagSegmentation     Flags = 1 << 11 // segmentation offloaded
)

// Direction is in bits 0 and 1.
func (f Flags) Direction() Direction { return Direction(f & 3) }

// Reception is 1 unicast, 2 multicast, 3 broadcast, 4 promiscuous, 0 unknown.
func (f Flags) Reception() uint8 { return uint8(f >> 2 & 7) }

// FCSLen is the length of the frame check sequence in bytes; 0 if unknown.
func (f Flags) FCSLen() uint8 { return uint8(f >> 5 & 15) }

// LinkErrors are bits 16 to 31.
func (f Flags) LinkErrors() uint16 { return uint16(f >> 16) }

// Hash is an epb_hash option: 0 2s complement, 1 XOR, 2 CRC32, 3 MD5, 4 SHA-1, 5 Toeplitz.
type Hash struct {
	Algorithm uint8
	Value     []byte
}

// Verdict is an epb_verdict option: 0 hardware, 1 Linux eBPF TC, 2 Linux eBPF XDP.
type Verdict struct {
	Kind  uint8
	Value []byte
}

// Comments returns the packet's comments.
func (p *Packet) Comments() []string { return Comments(p.Options, p.BigEndian) }

// Flags returns the packet's link-layer flags.
func (p *Packet) Flags() (Flags, bool) {
	if len(p.Options) == 0 {
		return 0, false
	}
	v := find(p.Options, p.BigEndian, EPBFlags, 4)
	if v == nil {
		return 0, false
	}
	return Flags(u32(v, p.BigEndian)), true
}

// DropCount is the number of packets lost since the last one of the same interface.
func (p *Packet) DropCount() (uint64, bool) {
	if p.Kind == KindObsolete {
		return uint64(p.Drops), p.Drops != 0xFFFF
	}
	return p.uint64Option(EPBDropCount)
}

// PacketID is equal for one packet captured at several interfaces.
func (p *Packet) PacketID() (uint64, bool) { return p.uint64Option(EPBPacketID) }

func (p *Packet) uint64Option(code uint16) (uint64, bool) {
	if p.Kind != KindEnhanced {
		return 0, false
	}
	v := find(p.Options, p.BigEndian, code, 8)
	if v == nil {
		return 0, false
	}
	return u64(v, p.BigEndian), true
}

// Queue is the queue of the interface through which the packet passed.
func (p *Packet) Queue() (uint32, bool) {
	if p.Kind != KindEnhanced {
		return 0, false
	}
	v := find(p.Options, p.BigEndian, EPBQueue, 4)
	if v == nil {
		return 0, false
	}
	return u32(v, p.BigEndian), true
}

// ProcessThread is the process and thread that sent the packet.
func (p *Packet) ProcessThread() (pid, tid uint32, ok bool) {
	if p.Kind != KindEnhanced {
		return 0, 0, false
	}
	v := find(p.Options, p.BigEndian, EPBProcess, 8)
	if v == nil {
		return 0, 0, false
	}
	return u32(v, p.BigEndian), u32(v[4:], p.BigEndian), true
}

// Hashes returns the packet's hashes.
func (p *Packet) Hashes() []Hash {
	var list []Hash
	for it := IterOptions(p.Options, p.BigEndian); it.Next(); {
		if it.Code == EPBHash && len(it.Value) > 0 {
			list = append(list, Hash{it.Value[0], it.Value[1:]})
		}
	}
	return list
}

// Verdicts returns the verdicts on the packet.
func (p *Packet) Verdicts() []Verdict {
	var list []Verdict
	if p.Kind != KindEnhanced {
		return nil
	}
	for it := IterOptions(p.Options, p.BigEndian); it.Next(); {
		if it.Code == EPBVerdict && len(it.Value) > 0 {
			list = append(list, Verdict{it.Value[0], it.Value[1:]})
		}
	}
	return list
}

func addr4(b []byte) netip.Addr { return netip.AddrFrom4([4]byte(b)) }
func addr6(b []byte) netip.Addr { return netip.AddrFrom16([16]byte(b)) }
