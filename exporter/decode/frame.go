package decode

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"strings"
)

// Addr is an IP address, IPv4 in its IPv6-mapped form.
//
// LIMIT: an IPv6 packet with a real address ::ffff:a.b.c.d on the wire is shown as IPv4 a.b.c.d;
// Frame.IPVersion distinguishes them.
type Addr [16]byte

// Netip returns a as a netip.Addr, IPv4 unmapped.
func (a Addr) Netip() netip.Addr { return netip.AddrFrom16(a).Unmap() }

// String returns a as RFC 5952 writes it, IPv4 with dots.
func (a Addr) String() string { return a.Netip().String() }

// Is4 reports whether a is an IPv4 address.
func (a Addr) Is4() bool {
	return binary.LittleEndian.Uint64(a[:8]) == 0 && binary.LittleEndian.Uint32(a[8:12]) == 0xffff0000
}

func (a *Addr) set4(b []byte) {
	_ = b[3]
	binary.LittleEndian.PutUint64(a[:8], 0)
	binary.LittleEndian.PutUint32(a[8:12], 0xffff0000)
	binary.LittleEndian.PutUint32(a[12:], binary.LittleEndian.Uint32(b))
}

// Kind is the kind of a frame.
type Kind uint8

// Kinds of frames.
const (
	KindNone     Kind = iota // neither IP nor ARP, or unreadable; see EtherType and Problems
	KindIP                   // an IP packet, complete or reassembled
	KindFragment             // an IP fragment; its bytes are held until the datagram is complete
	KindARP                  // ARP or RARP; Src and Dst are the protocol addresses if they are IPv4
)

// String returns the kind's name.
func (k Kind) String() string {
	switch k {
	case KindIP:
		return "ip"
	case KindFragment:
		return "fragment"
	case KindARP:
		return "arp"
	}
	return "none"
}

// Problem is a set of decoding problems.
type Problem uint32

// Problems of a frame.
const (
	Truncated        Problem = 1 << iota // the capture's snap length or a mirror cut a header or the payload
	BadLength                            // a length field and the bytes around it contradict each other
	BadHeader                            // a header field has a value it cannot have
	BadOptions                           // the TCP options are inconsistent
	UnknownLink                          // the link type is not supported
	DepthLimit                           // more headers, labels or tunnels than the limits
	FragmentOverlap                      // fragments overlap; the first copy of each byte was kept
	FragmentConflict                     // overlapping fragments differ, or disagree on the datagram's end
	FragmentDropped                      // the fragment cannot belong to any datagram, or a limit was reached
	Encrypted                            // a protected 802.11 or MACsec frame: nothing to read
	Aggregate                            // an 802.11 A-MSDU of which only the first packet was read
	HeaderCut                            // the snap length cut the transport header after the ports
	FragmentMissing                      // some fragments of the datagram did not arrive: its payload ends before the first missing one
	FragmentTooLong                      // it ends behind the longest datagram (RFC 791 section 3.1, RFC 8200 section 4.5)
	numProblems      = iota
)

// Checksums have no code, because only the other packets of the conversation show the meaning of a
// wrong one.
const (
	BadIPSum      Problem = 1 << (numProblems + iota) // wrong checksum of the innermost IPv4 header, or of an outer one
	BadSum                                            // wrong checksum of TCP or UDP
	UnfinishedSum                                     // no checksum of TCP or UDP: the network adapter computes it
)

var problemCodes = [numProblems]string{
	"truncated", "bad_length", "bad_header", "bad_options", "unknown_link", "depth_limit",
	"fragment_overlap", "fragment_conflict", "fragment_dropped", "encrypted", "aggregate", "header_cut", "fragment_missing", "fragment_too_long",
}

// Codes returns the names of the problems in p.
func (p Problem) Codes() []string {
	var codes []string
	for ; p != 0; p &= p - 1 {
		if i := bits.TrailingZeros32(uint32(p)); i < numProblems {
			codes = append(codes, problemCodes[i])
		}
	}
	return codes
}

// String returns the names of the problems in p, joined by commas.
func (p Problem) String() string { return strings.Join(p.Codes(), ",") }

// Direction is the direction of a packet, if the link layer contains it.
type Direction uint8

// Directions, as seen from the machine that captured.
const (
	DirUnknown Direction = iota
	DirIn
	DirOut
)

// String returns the direction's name.
func (d Direction) String() string {
	switch d {
	case DirIn:
		return "in"
	case DirOut:
		return "out"
	}
	return "unknown"
}

// TunnelKind is the protocol that carried a packet inside another.
type TunnelKind uint8

// Kinds of tunnels.
const (
	TunnelNone TunnelKind = iota
	TunnelVXLAN
	TunnelGeneve
	TunnelGRE
	TunnelNVGRE
	TunnelIPIP // IPv4 in IPv4
	Tunnel6in4
	Tunnel4in6
	Tunnel6in6
	TunnelGTPU
	TunnelERSPAN
	TunnelMPLS
	TunnelPPPoE
	TunnelTeredo
	TunnelAYIYA
	TunnelL2TP
	TunnelEtherIP
	TunnelEthernet // Ethernet straight in IP, protocol 143
	TunnelNSH
	TunnelPBB
	TunnelCAPWAP
	TunnelGUE
	TunnelTZSP
	TunnelEoIP
	TunnelLISP
	TunnelHEP
)

var tunnelNames = [...]string{
	"", "vxlan", "geneve", "gre", "nvgre", "ipip", "6in4", "4in6", "6in6", "gtpu", "erspan", "mpls", "pppoe",
	"teredo", "ayiya", "l2tp", "etherip", "ethernet", "nsh", "pbb", "capwap", "gue", "tzsp", "eoip", "lisp", "hep",
}

// String returns the tunnel's name in the tables.
func (k TunnelKind) String() string {
	if int(k) < len(tunnelNames) {
		return tunnelNames[k]
	}
	return ""
}

// Tunnel is one tunnel around a packet.
type Tunnel struct {
	Kind             TunnelKind
	HasID            bool   // the encapsulation has an id, ID
	ID               uint32 // VNI, GRE key, TEID, session, bottom label, NSH path, EoIP tunnel, LISP instance, HEP probe
	SrcPort, DstPort uint16 // of UDP tunnels
	VLAN             uint16 // of ERSPAN: the removed tag of the mirrored frame, 0 if it had none or still has it
	Src, Dst         Addr   // outer addresses; all zero if there is no outer IP header
}

// Pieces are the fragments from which a datagram was reassembled.
type Pieces struct {
	Packets int
	Bytes   int   // IP packets on the wire, headers included
	First   int64 // time of the one captured first
}

// SACKBlock is a range of sequence numbers received out of order.
type SACKBlock struct{ Left, Right uint32 }

// TCP flag bits of Frame.Flags: the low twelve bits after the data offset.
const (
	FIN uint16 = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
	ECE
	CWR
	NS
)

// Frame is the result of decoding a packet. Addresses, ports and the fields below them are those
// of the innermost packet; the outer ones are in VLANs, Labels and Tunnels, outermost first.
type Frame struct {
	Kind          Kind
	LinkDirection Direction
	IPVersion     uint8
	Proto         uint8 // upper protocol after extension headers
	TTL           uint8
	Type, Code    uint8 // of ICMP, ICMPv6 and IGMP (Code of IGMP is its second byte)
	WScale        int8  // -1 if absent
	Problems      Problem
	EtherType     uint16 // innermost; 0 if the link has none
	LinkType      uint16 // of the packet

	L4            bool // the ports are valid; so are the fields after them unless Problems has HeaderCut
	HasTS         bool
	SACKPermitted bool
	Multipath     bool   // an option of Multipath TCP, RFC 8684
	Mapped        bool   // the option says where the payload belongs among that of all connections
	Mapping       uint32 // difference of that place and the one in this connection
	HasPPPoE      bool
	PDU           bool // not a packet: bytes of a stream or datagram with the ends of its connection (LINKTYPE_WIRESHARK_UPPER_PDU, HEP)
	NSACK         uint8
	NVLANs        uint8
	NLabels       uint8
	NTunnels      uint8

	SrcPort, DstPort uint16
	Flags, Window    uint16
	MSS              uint16 // 0 if absent
	ARPOp            uint16
	PPPoESession     uint16
	Urgent           uint16

	// Sums are the checksums that were verified. A wrong one is off by a value that is the same for
	// all packets of a direction if addresses or ports were rewritten without it. A difference of 0
	// means not verified, 0xffff means correct (RFC 1071).
	Sums struct {
		IP     uint16 // of the innermost IPv4 header, or of an outer one if that is wrong
		L4     uint16 // of TCP or UDP
		Pseudo uint16 // that of TCP or UDP, taken as the sum of the pseudo-header alone
	}

	Seq, Ack     uint32
	TSVal, TSEcr uint32
	IPID         uint32 // of IPv4, or of an IPv6 fragment header
	IfIndex      uint32 // of SLL2, 0 elsewhere

	Stated int64 // time of the packet according to the probe that sent it in HEP, ns since 1970; 0 elsewhere

	IPLen      int // IP packet on the wire, header included; reassembled: the whole datagram
	PayloadLen int // transport payload on the wire according to the headers; above len(Payload) if truncated
	Src, Dst   Addr

	// Payload is the captured transport payload without link padding: for TCP, UDP, DCCP and
	// UDP-Lite the bytes after their header; for SCTP, ICMP, ICMPv6 and IGMP the whole message
	// with its header; for other protocols everything after the IP headers. A
	// fragment has its own bytes, ARP its whole packet, KindNone the bytes after the EtherType
	// if that is known.
	Payload []byte

	// Carrier is a hash of what of a packet's way is not in Network: the addresses of Ethernet, SNAP, IPv6 options, and the kinds
	// of the TCP options that a connection has in each segment or in none.
	Carrier uint64

	Own     []byte  // the bytes of this fragment, also of the last one
	OwnAt   int     // where they are in the datagram
	FragNos []int64 // packets of all fragments, ascending, on the frame that completed them
	Pieces  Pieces  // their sizes and times; zero unless the packet was reassembled

	Named string // of a frame that is neither IP nor ARP, if its EtherType is not specific enough; see Name

	VLANs   [maxVLANs]uint16
	Labels  [4]uint32
	SACK    [4]SACKBlock
	Tunnels [maxTunnels]Tunnel
}

// Multipliers of FlowHash, from the finalizer of SplitMix64 and the golden ratio.
const (
	hashA = 0x9e3779b97f4a7c15
	hashB = 0xbf58476d1ce4e5b9
	hashC = 0x94d049bb133111eb
)

// FlowHash is a hash of the innermost addresses, ports and protocol. It is the same for both
// directions, on every machine and in every release, so that work can be divided by it.
func (f *Frame) FlowHash() uint64 {
	// The ends are hashed separately and added, which makes their order irrelevant.
	return mix(endHash(&f.Src, f.SrcPort) + endHash(&f.Dst, f.DstPort) + uint64(f.Proto)*hashA)
}

func endHash(a *Addr, port uint16) uint64 {
	h := binary.LittleEndian.Uint64(a[:8])*hashB ^ uint64(port)*hashA
	return mix(h ^ bits.RotateLeft64(binary.LittleEndian.Uint64(a[8:])*hashC, 31))
}

func mix(h uint64) uint64 {
	h = (h ^ h>>30) * hashB
	h = (h ^ h>>27) * hashC
	return h ^ h>>31
}

// context is a hash of everything around the current IP packet. Fragments with equal ids in
// different VLANs, tunnels or interfaces are different datagrams.
func (f *Frame) context(inif int32) uint64 {
	h := mix(uint64(uint32(inif))<<32 | uint64(f.IfIndex))
	for _, v := range f.VLANs[:f.NVLANs] {
		h = mix(h ^ uint64(v)*hashA)
	}
	for _, l := range f.Labels[:f.NLabels] {
		h = mix(h ^ uint64(l)*hashB)
	}
	for i := range f.Tunnels[:f.NTunnels] {
		t := &f.Tunnels[i]
		// Source ports of UDP tunnels are derived from the inner flow. Fragments without ports
		// may have another one, so the hash omits them.
		h = mix(h ^ uint64(t.Kind)<<32 ^ uint64(t.ID))
		h = mix(h ^ endHash(&t.Src, 0)*hashA ^ endHash(&t.Dst, 0)*hashC)
	}
	return h
}
