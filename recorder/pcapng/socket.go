package pcapng

import (
	"encoding/binary"
	"net/netip"
)

// socketPEN is the enterprise number that RFC 5612 reserves for examples, because pcapsule has
// none. The letters after it distinguish pcapsule's options from others.
const socketPEN = 32473

// Version of a socket option; readers skip versions that they do not know.
const socketVersion = 1

// Lengths of a socket option's value.
const (
	socketHead = 24 // number, letters, version, kind, cookies
	socketWho  = 8  // process and thread
)

// Socket has a recorder's data about the socket that sent or received a packet, from a custom
// option (docs/format/owners.md).
type Socket struct {
	Cookie   uint64 // the kernel's number of the socket, not reused before the next boot
	Netns    uint64 // the kernel's number of its network namespace; 0 if unknown
	Kind     uint8  // how its process is known: the values of bpf.Kind
	PID, TID uint32 // 0 if unknown
	Ends     *SocketEnds
}

// SocketEnds are the ends of a socket if the packet has different ones because an address is
// translated after the socket.
type SocketEnds struct {
	Local, Remote netip.AddrPort // of the same IP version
}

// OptionSize is the size of the option in bytes, with its header.
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

// AppendOption appends the option for a little-endian section.
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

// Socket returns the recorder's data about the packet's socket. It returns false if there is no
// such option, or only an invalid one.
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
