package pcapng

import "net/netip"

// Interface is where packets were captured: an interface description block, or a whole
// classic pcap file. It shares no memory with the Reader's buffers.
type Interface struct {
	Index         int32  // in Reader.Interfaces
	ID            uint32 // in its section
	Section       int32  // number of its section, from 0
	SectionOffset int64  // of the section header
	Offset        int64  // of the description; of the file header in classic pcap
	BigEndian     bool
	LinkType      uint16
	SnapLen       uint32 // 0 means no limit

	Name, Description string
	Filter            string // without the kind
	FilterKind        uint8  // 0: text in libpcap's language; 1: BPF bytecode
	OS, Hardware      string
	TimeZone          string // IANA name
	IPv4, IPv6        []netip.Prefix
	MAC, EUI          []byte
	Speed             uint64 // bits per second
	TxSpeed, RxSpeed  uint64
	TsResol           uint8 // as in the file: 6 is microseconds, 9 nanoseconds; the high bit means powers of two
	TsOffset          int64 // seconds
	FCSLen            int   // bytes; -1 if unknown
	Comments          []string
	Options           []byte // unchanged, in the interface's byte order; nil in classic pcap
	OptionsIncomplete bool   // there were too many options to keep, or they end in damage
	clock             clock
	record            recordFormat // classic pcap only
}

// readInterface parses the body of an interface description block.
func readInterface(body []byte, be bool) (Interface, bool) {
	if len(body) < 8 {
		return Interface{}, false
	}
	i := Interface{
		BigEndian: be,
		LinkType:  u16(body, be),
		SnapLen:   u32(body[4:], be),
		TsResol:   6,
		FCSLen:    -1,
		Options:   body[8:],
	}
	it := IterOptions(i.Options, be)
	for it.Next() {
		i.setOption(it.Option)
	}
	i.OptionsIncomplete = it.Bad()
	i.clock = newClock(i.TsResol, i.TsOffset)
	return i, true
}

func (i *Interface) setOption(o Option) {
	v, be, n := o.Value, i.BigEndian, len(o.Value)
	switch o.Code {
	case OptComment:
		i.Comments = append(i.Comments, text(v))
	case IfName:
		i.Name = text(v)
	case IfDescription:
		i.Description = text(v)
	case IfOS:
		i.OS = text(v)
	case IfHardware:
		i.Hardware = text(v)
	case IfIANAZone:
		i.TimeZone = text(v)
	case IfFilter:
		if n > 0 {
			i.FilterKind, i.Filter = v[0], string(v[1:])
		}
		if i.FilterKind == 0 {
			i.Filter = text([]byte(i.Filter))
		}
	case IfMAC, IfEUI:
		i.setHardware(o)
	case IfIPv4:
		if n >= 8 {
			i.IPv4 = append(i.IPv4, netip.PrefixFrom(addr4(v[:4]), maskBits(v[4:8])))
		}
	case IfIPv6:
		if n >= 17 {
			i.IPv6 = append(i.IPv6, netip.PrefixFrom(addr6(v[:16]), int(v[16])))
		}
	case IfTsResol:
		if n >= 1 {
			i.TsResol = v[0]
		}
	case IfTsOffset:
		if n >= 8 {
			i.TsOffset = int64(u64(v, be))
		}
	case IfFCSLen:
		if n >= 1 {
			i.FCSLen = int(v[0])
		}
	case IfSpeed, IfTxSpeed, IfRxSpeed:
		i.setSpeed(o)
	}
}

func (i *Interface) setHardware(o Option) {
	v := append([]byte(nil), o.Value...)
	if o.Code == IfMAC {
		i.MAC = v
	} else {
		i.EUI = v
	}
}

func (i *Interface) setSpeed(o Option) {
	if len(o.Value) < 8 {
		return
	}
	v := u64(o.Value, i.BigEndian)
	switch o.Code {
	case IfSpeed:
		i.Speed = v
	case IfTxSpeed:
		i.TxSpeed = v
	case IfRxSpeed:
		i.RxSpeed = v
	}
}

// maskBits counts the leading ones of a netmask; -1 if ones follow a zero.
func maskBits(mask []byte) int {
	n, open := 0, true
	for _, b := range mask {
		for bit := 7; bit >= 0; bit-- {
			one := b>>bit&1 == 1
			if one && !open {
				return -1
			}
			open = open && one
			if one {
				n++
			}
		}
	}
	return n
}

// Time converts a tick count of the interface to nanoseconds since 1970 UTC; false if it
// does not fit and was saturated.
func (i *Interface) Time(ticks uint64) (int64, bool) {
	c := newClock(i.TsResol, i.TsOffset)
	return c.ns(ticks)
}

// ifaceFast has the fields of an interface that the walk needs for each packet.
type ifaceFast struct {
	clock clock
	snap  uint32
	link  uint16
	ok    bool // false: the description could not be read
}

// addInterface appends an interface and copies its memory.
func (r *Reader) addInterface(i Interface, ok bool, off int64) {
	id := uint32(len(r.ifaces) - r.ifBase)
	i.ID, i.Index = id, int32(len(r.ifaces))
	i.Section, i.SectionOffset, i.Offset = r.section, r.sectionOff, off
	if r.kept += int64(len(i.Options)); r.kept > maxOptionKeep {
		r.note(off, 0, DamageOptions, "options of interface %d are not kept: this file has more than %d bytes of them",
			int64(i.Index), maxOptionKeep)
		i = Interface{Index: i.Index, ID: i.ID, Section: i.Section, SectionOffset: i.SectionOffset, Offset: off,
			BigEndian: i.BigEndian, LinkType: i.LinkType, SnapLen: i.SnapLen, TsResol: i.TsResol,
			TsOffset: i.TsOffset, FCSLen: i.FCSLen, OptionsIncomplete: true, clock: i.clock}
	}
	i.Options = append([]byte(nil), i.Options...)
	r.ifaces = append(r.ifaces, i)
	r.fast = append(r.fast, ifaceFast{clock: i.clock, snap: i.SnapLen, link: i.LinkType, ok: ok})
}

// Interfaces lists the interfaces found so far, in all sections. Existing elements never
// change. Call it in the goroutine that calls Next; other goroutines have
// Batch.Interfaces.
func (r *Reader) Interfaces() []Interface { return r.ifaces[:len(r.ifaces):len(r.ifaces)] }
