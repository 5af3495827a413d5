package pcapng

import (
	"errors"
	"net/netip"
)

// ErrBody means that the body of a block ends before its fields do. What was parsed before
// that is returned with it.
var ErrBody = errors.New("block body ends inside a field")

// Section is the content of a section header.
type Section struct {
	Major, Minor              uint16
	Length                    int64 // -1 if unknown
	Hardware, OS, Application string
	Comments                  []string
	Options                   []byte
	BigEndian                 bool
}

// ParseSection parses the body of a section header.
func ParseSection(b Block) (Section, error) {
	if len(b.Body) < 16 {
		return Section{}, ErrBody
	}
	be := b.BigEndian
	s := Section{
		Major: u16(b.Body[4:], be), Minor: u16(b.Body[6:], be), Length: int64(u64(b.Body[8:], be)),
		Options: b.Body[16:], BigEndian: be,
	}
	it := IterOptions(s.Options, be)
	for it.Next() {
		switch it.Code {
		case OptComment:
			s.Comments = append(s.Comments, text(it.Value))
		case SectionHardware:
			s.Hardware = text(it.Value)
		case SectionOS:
			s.OS = text(it.Value)
		case SectionApplication:
			s.Application = text(it.Value)
		}
	}
	return s, bodyErr(it)
}

func bodyErr(it OptionIter) error {
	if it.Bad() {
		return ErrBody
	}
	return nil
}

// NameRecord is one record of a name resolution block: an address and its names.
type NameRecord struct {
	Type  uint16     // 1 IPv4, 2 IPv6, 3 EUI-48, 4 EUI-64; others are kept unchanged
	Addr  netip.Addr // of types 1 and 2
	EUI   []byte     // of types 3 and 4
	Names []string
	Value []byte // the whole record
}

// Name record types.
const (
	NameIPv4  uint16 = 1
	NameIPv6  uint16 = 2
	NameEUI48 uint16 = 3
	NameEUI64 uint16 = 4
)

// Names is the content of a name resolution block.
type Names struct {
	Records  []NameRecord
	Server   string // name of the server that resolved
	ServerIP []netip.Addr
	Comments []string

	Options   []byte
	BigEndian bool
}

// ParseNames parses the body of a name resolution block.
func ParseNames(b Block) (Names, error) {
	n := Names{BigEndian: b.BigEndian}
	rest, be := b.Body, b.BigEndian
	for {
		if len(rest) < 4 {
			if len(rest) == 0 {
				return n, nil // some writers omit the end record
			}
			return n, ErrBody
		}
		typ, size := u16(rest, be), int(u16(rest[2:], be))
		if typ == 0 {
			rest = rest[4:]
			break
		}
		if size > len(rest)-4 {
			return n, ErrBody
		}
		rec, ok := nameRecord(typ, rest[4:4+size])
		if !ok {
			return n, ErrBody
		}
		n.Records = append(n.Records, rec)
		rest = rest[min(4+pad4(size), len(rest)):]
	}
	n.Options = rest
	it := IterOptions(rest, be)
	for it.Next() {
		switch {
		case it.Code == OptComment:
			n.Comments = append(n.Comments, text(it.Value))
		case it.Code == NameServer:
			n.Server = text(it.Value)
		case it.Code == NameServerIPv4 && len(it.Value) >= 4:
			n.ServerIP = append(n.ServerIP, addr4(it.Value[:4]))
		case it.Code == NameServerIPv6 && len(it.Value) >= 16:
			n.ServerIP = append(n.ServerIP, addr6(it.Value[:16]))
		}
	}
	return n, bodyErr(it)
}

func nameRecord(typ uint16, v []byte) (NameRecord, bool) {
	rec := NameRecord{Type: typ, Value: v}
	size := 0
	switch typ {
	case NameIPv4:
		size = 4
	case NameIPv6:
		size = 16
	case NameEUI48:
		size = 6
	case NameEUI64:
		size = 8
	default:
		return rec, true
	}
	if len(v) < size {
		return rec, false
	}
	switch typ {
	case NameIPv4:
		rec.Addr = addr4(v[:4])
	case NameIPv6:
		rec.Addr = addr6(v[:16])
	default:
		rec.EUI = v[:size]
	}
	for rest := v[size:]; len(rest) > 0; {
		name := text(rest)
		if name != "" {
			rec.Names = append(rec.Names, name)
		}
		rest = rest[min(len(name)+1, len(rest)):]
	}
	return rec, true
}

// Kinds of secrets.
const (
	SecretsTLS       uint32 = 0x544c534b // RFC 9850 key log
	SecretsSSH       uint32 = 0x5353484b
	SecretsWireGuard uint32 = 0x57474b4c
	SecretsZigBeeNWK uint32 = 0x5a4e574b
	SecretsZigBeeAPS uint32 = 0x5a415053
	SecretsOPCUA     uint32 = 0x55414b4c
)

// Secrets is the content of a decryption secrets block.
type Secrets struct {
	Type      uint32
	Data      []byte
	Comments  []string
	Options   []byte
	BigEndian bool
}

// ParseSecrets parses the body of a decryption secrets block.
func ParseSecrets(b Block) (Secrets, error) {
	if len(b.Body) < 8 {
		return Secrets{}, ErrBody
	}
	s := Secrets{Type: u32(b.Body, b.BigEndian), BigEndian: b.BigEndian}
	size, rest := uint64(u32(b.Body[4:], b.BigEndian)), b.Body[8:]
	if size > uint64(len(rest)) {
		s.Data = rest
		return s, ErrBody
	}
	s.Data = rest[:size]
	s.Options = rest[min(pad4(int(size)), len(rest)):]
	s.Comments = Comments(s.Options, b.BigEndian)
	return s, optionsErr(s.Options, b.BigEndian)
}

func optionsErr(options []byte, be bool) error {
	if !optionsOK(options, be) {
		return ErrBody
	}
	return nil
}

// Counter is an optional number of a block.
type Counter struct {
	N     uint64
	Known bool
}

// Statistics is the content of an interface statistics block.
type Statistics struct {
	Interface  uint32 // number in its section
	Ticks      uint64 // in the units of the interface: see Interface.Time
	Start, End Counter
	Received   Counter
	Dropped    Counter // by the interface
	Accepted   Counter // by the filter
	OSDropped  Counter
	Delivered  Counter
	Comments   []string
	Options    []byte
	BigEndian  bool
}

// ParseStatistics parses the body of an interface statistics block.
func ParseStatistics(b Block) (Statistics, error) {
	if len(b.Body) < 12 {
		return Statistics{}, ErrBody
	}
	be := b.BigEndian
	s := Statistics{Interface: u32(b.Body, be), Ticks: ticksOf(b.Body[4:], be), Options: b.Body[12:], BigEndian: be}
	it := IterOptions(s.Options, be)
	for it.Next() {
		if it.Code == OptComment {
			s.Comments = append(s.Comments, text(it.Value))
		}
		if len(it.Value) < 8 {
			continue
		}
		switch v := it.Value; it.Code {
		case StatStart:
			s.Start = Counter{ticksOf(v, be), true}
		case StatEnd:
			s.End = Counter{ticksOf(v, be), true}
		case StatReceived:
			s.Received = Counter{u64(v, be), true}
		case StatDropped:
			s.Dropped = Counter{u64(v, be), true}
		case StatFilterAccept:
			s.Accepted = Counter{u64(v, be), true}
		case StatOSDrop:
			s.OSDropped = Counter{u64(v, be), true}
		case StatDelivered:
			s.Delivered = Counter{u64(v, be), true}
		}
	}
	return s, bodyErr(it)
}

// ticksOf reads a time in the format of blocks: the high word first in either byte order.
func ticksOf(b []byte, be bool) uint64 {
	return uint64(u32(b, be))<<32 | uint64(u32(b[4:], be))
}

// Custom is the content of a custom block.
type Custom struct {
	PEN  uint32 // private enterprise number
	Data []byte // including its options, which only the owner can separate
}

// ParseCustom parses the body of a custom block of either type.
func ParseCustom(b Block) (Custom, error) {
	if len(b.Body) < 4 {
		return Custom{}, ErrBody
	}
	return Custom{PEN: u32(b.Body, b.BigEndian), Data: b.Body[4:]}, nil
}
