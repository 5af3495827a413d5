package pcapng

import (
	"encoding/binary"
	"net/netip"
)

// socketPEN is the enterprise number that RFC 5612 sets aside for examples: pcapsule has none
// of its own. What tells its options from those of others are the letters behind it.
const socketPEN = 32473

// Versions of a socket option; a reader passes over those that it does not know.
const socketVersion = 1

// Lengths of a socket option's value.
const (
	socketHead = 24 // number, letters, version, kind, cookies
	socketWho  = 8  // process and thread
)

// Socket is what a recorder says of the socket that sent or received a packet, in a custom
// option (docs/format/socket.md).
type Socket struct {
	Cookie   uint64 // the kernel's number of it, not used again before the next boot
	Netns    uint64 // the kernel's number of its network namespace, 0 unknown
	Kind     uint8  // how its process is known: the values of bpf.Kind
	PID, TID uint32 // 0 unknown
	Ends     *SocketEnds
}

// SocketEnds are a socket's own ends, where the packet shows others because an address is
// translated behind the socket.
type SocketEnds struct {
	Local, Remote netip.AddrPort // of one IP version
}

// OptionSize is how many bytes the option takes, with its header.
func (s *Socket) OptionSize() int {
	n := 4 + socketHead
	if s.PID != 0 {
		n += socketWho
	}
	switch {
	case s.Ends == nil:
	case s.Ends.Local.Addr().Is4():
		n += 4 + 2*4
	default:
		n += 4 + 2*16
	}
	return n
}

// AppendOption writes the option into a section that is little endian.
func (s *Socket) AppendOption(b []byte) []byte {
	le := binary.LittleEndian
	b = le.AppendUint32(b, uint32(OptCustomBytes)|uint32(s.OptionSize()-4)<<16)
	b = le.AppendUint32(b, socketPEN)
	b = append(b, 'p', 's', socketVersion, s.Kind)
	b = le.AppendUint64(b, s.Cookie)
	b = le.AppendUint64(b, s.Netns)
	if s.PID != 0 {
		b = le.AppendUint32(b, s.PID)
		b = le.AppendUint32(b, s.TID)
	}
	if e := s.Ends; e != nil {
		b = le.AppendUint16(b, e.Local.Port())
		b = le.AppendUint16(b, e.Remote.Port())
		b = append(b, e.Local.Addr().AsSlice()...)
		b = append(b, e.Remote.Addr().AsSlice()...)
	}
	return b
}

// Socket returns what the recorder said of the packet's socket. It answers false where
// there is no such option, or one that is not well formed.
func (p *Packet) Socket() (s Socket, ok bool) {
	if p.Kind != KindEnhanced || len(p.Options) < 4+socketHead {
		return s, false
	}
	for it := IterOptions(p.Options, p.BigEndian); it.Next(); {
		if it.Code == OptCustomBytes && len(it.Value) >= socketHead && u32(it.Value, p.BigEndian) == socketPEN && string(it.Value[4:7]) == "ps\x01" {
			return parseSocket(it.Value)
		}
	}
	return s, false
}

func parseSocket(b []byte) (s Socket, ok bool) {
	le := binary.LittleEndian
	s = Socket{Kind: b[7], Cookie: le.Uint64(b[8:]), Netns: le.Uint64(b[16:])}
	b = b[socketHead:]
	if n := len(b); n == socketWho || n == socketWho+12 || n == socketWho+36 {
		s.PID, s.TID = le.Uint32(b), le.Uint32(b[4:])
		b = b[socketWho:]
	}
	var e SocketEnds
	switch len(b) {
	case 0:
		return s, true
	case 12:
		e.Local, e.Remote = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:])), le.Uint16(b)), netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[8:])), le.Uint16(b[2:]))
	case 36:
		e.Local, e.Remote = netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[4:])), le.Uint16(b)), netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[20:])), le.Uint16(b[2:]))
	default:
		return Socket{}, false
	}
	s.Ends = &e
	return s, true
}
