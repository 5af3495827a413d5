package filter

// Link types, with their numbers in capture files.
const (
	linkNull        = 0
	linkEthernet    = 1
	linkTokenRing   = 6
	linkArcnet      = 7
	linkSLIP        = 8
	linkPPP         = 9
	linkFDDI        = 10
	linkRawOld      = 12 // DLT_RAW, written by some programs
	linkPPPSerial   = 50
	linkPPPEther    = 51
	linkATM         = 100
	linkRaw         = 101
	linkCHDLC       = 104
	linkATMClassic  = 106 // IP over ATM
	linkFrameRelay  = 107
	linkLoop        = 108
	linkEnc         = 109
	linkSLL         = 113
	linkPrism       = 119 // this, Radiotap, AVS and PPI precede an 802.11 header
	linkRadiotap    = 127
	linkArcnetLinux = 129
	linkFireWire    = 138
	linkAVS         = 163
	linkPPPD        = 166 // PPP with a direction byte
	linkPPI         = 192
	linkIPv4        = 228
	linkIPv6        = 229
	linkSLL2        = 276
)

// Ethernet types and 802.2 service access points.
const (
	etherIPv4      = 0x0800
	etherARP       = 0x0806
	etherXNS       = 0x0600
	etherMOPDL     = 0x6001
	etherMOPRC     = 0x6002
	etherDECnet    = 0x6003
	etherLAT       = 0x6004
	etherSCA       = 0x6007
	etherRARP      = 0x8035
	etherAppleTalk = 0x809b
	etherAARP      = 0x80f3
	etherVLAN      = 0x8100
	etherIPX       = 0x8137
	etherIPv6      = 0x86dd
	etherMPLS      = 0x8847
	etherPPPoED    = 0x8863
	etherPPPoES    = 0x8864
	etherQinQ      = 0x88a8
	etherLoopback  = 0x9000
	etherQinQOld   = 0x9100

	sapIP      = 0x06
	sapSTP     = 0x42
	sapIPX     = 0xe0
	sapNetBEUI = 0xf0
	sapOSI     = 0xfe

	maxLength = 1500 // a type field up to this value is a length
)

// layout says where the headers of a packet are. The primitives vlan, mpls and pppoes move
// it for everything to their right in the expression.
type layout struct {
	linkType uint16
	known    bool   // the headers of the link type are known
	floating bool   // the link header follows another header of variable length
	typed    bool   // there is a field that names the network protocol
	inner    uint16 // link type of the current header; PPP after pppoes

	header  int // offset of the link header
	typeAt  int // of the type field
	payload int // of the bytes after the link header
	net     int // of the network header in the payload
	netOSI  int // of the network header in the payload after a bare 802.2 header

	labels int // of MPLS
}

func newLayout(linkType uint16) *layout {
	l := &layout{linkType: linkType, inner: linkType, known: true, typed: true}
	switch linkType {
	case linkEthernet:
		l.typeAt, l.payload, l.netOSI = 12, 14, 3
	case linkTokenRing:
		l.typeAt, l.payload, l.net, l.netOSI = 14, 14, 8, 3
	case linkFDDI:
		l.typeAt, l.payload, l.net, l.netOSI = 13, 13, 8, 3
	case linkATM, linkATMClassic:
		l.net, l.netOSI = 8, 3
	case linkArcnet:
		l.typeAt, l.payload = 2, 6
	case linkArcnetLinux:
		l.typeAt, l.payload = 4, 8
	case linkSLIP:
		l.payload, l.typed = 16, false
	case linkNull, linkLoop:
		l.payload = 4
	case linkEnc:
		l.payload = 12
	case linkPPP, linkPPPSerial, linkPPPD, linkCHDLC:
		l.typeAt, l.payload = 2, 4
	case linkPPPEther:
		l.typeAt, l.payload = 6, 8
	case linkRaw, linkRawOld, linkIPv4, linkIPv6, linkFrameRelay:
		l.typed = false
	case linkSLL:
		l.typeAt, l.payload = 14, 16
	case linkSLL2:
		l.payload = 20
	case linkFireWire:
		l.typeAt, l.payload = 16, 18
	case linkPrism, linkRadiotap, linkAVS, linkPPI:
		l.known, l.floating = false, true
	default:
		l.known = false
	}
	return l
}

func bytesAt(off int, size uint8) load {
	return load{kind: loadBytes, size: size, off: uint32(off), mask: ^uint32(0)}
}

func (l *layout) headerAt(off int, size uint8) load { return bytesAt(l.header+off, size) }
func (l *layout) llcAt(off int, size uint8) load    { return bytesAt(l.payload+off, size) }
func (l *layout) netAt(off int, size uint8) load    { return bytesAt(l.payload+l.net+off, size) }
func (l *layout) osiAt(off int) load                { return bytesAt(l.payload+l.netOSI+off, 1) }

// transport4At reads after an IPv4 header, transport6At after an IPv6 header without
// extension headers.
func (l *layout) transport4At(off int, size uint8) load {
	ip := uint32(l.payload + l.net)
	return load{kind: loadPastIP4, size: size, off: ip + uint32(off), ip: ip, mask: ^uint32(0)}
}

func (l *layout) transport6At(off int, size uint8) load { return l.netAt(40+off, size) }

// ofType matches packets whose link header names the protocol.
func (l *layout) ofType(proto uint32) (*cond, string) {
	if l.labels > 0 {
		return l.ofMPLS(proto)
	}
	at := bytesAt(l.typeAt, 2)
	switch l.inner {
	case linkEthernet:
		return l.ofEthernet(proto), ""
	case linkSLL:
		return l.ofSLL(proto), ""
	case linkTokenRing, linkFDDI, linkATM, linkATMClassic:
		return l.ofLLC(proto), ""
	case linkPPP, linkPPPSerial, linkPPPEther, linkPPPD:
		return is(at, pppType(proto)), ""
	case linkCHDLC:
		if proto == sapOSI {
			proto = sapOSI<<8 | sapOSI
		}
		return is(at, proto), ""
	case linkRaw, linkRawOld, linkSLIP:
		switch proto {
		case etherIPv4:
			return is(l.headerAt(0, 1).masked(0xf0), 0x40), ""
		case etherIPv6:
			return is(l.headerAt(0, 1).masked(0xf0), 0x60), ""
		}
		return always(false), ""
	case linkIPv4:
		return always(proto == etherIPv4), ""
	case linkIPv6:
		return always(proto == etherIPv6), ""
	case linkNull, linkLoop, linkEnc:
		return l.ofLoopback(proto), ""
	case linkFrameRelay:
		return l.ofFrameRelay(proto), ""
	case linkArcnet, linkArcnetLinux:
		return l.ofArcnet(proto), ""
	}
	return is(at, proto), ""
}

func (l *layout) ofEthernet(proto uint32) *cond {
	at := bytesAt(l.typeAt, 2)
	length := not(isAbove(at, maxLength))
	switch proto {
	case sapOSI, sapIP, sapNetBEUI:
		return and(length, is(l.llcAt(0, 2), proto<<8|proto))
	case sapIPX:
		return or(is(at, etherIPX), and(length, or(l.snap(0, etherIPX), is(l.llcAt(0, 1), sapIPX), is(l.llcAt(0, 2), 0xffff))))
	case etherAppleTalk:
		return or(is(at, proto), and(length, l.snap(0x080007, proto)))
	case etherAARP:
		return or(is(at, proto), and(length, l.snap(0, proto)))
	}
	if proto <= maxLength {
		return and(length, is(bytesAt(l.typeAt+2, 1), proto))
	}
	return is(at, proto)
}

func (l *layout) ofSLL(proto uint32) *cond {
	const raw802dot3, llc = 1, 4
	at := bytesAt(l.typeAt, 2)
	switch proto {
	case sapOSI, sapIP, sapNetBEUI:
		return and(is(at, llc), is(l.llcAt(0, 2), proto<<8|proto))
	case sapIPX:
		return or(is(at, etherIPX), is(at, raw802dot3), and(is(at, llc), or(is(l.llcAt(0, 1), sapIPX), l.snap(0, etherIPX))))
	case etherAppleTalk:
		return or(is(at, proto), and(is(at, llc), l.snap(0x080007, proto)))
	case etherAARP:
		return or(is(at, proto), and(is(at, llc), l.snap(0, proto)))
	}
	if proto <= maxLength {
		return and(is(at, llc), is(l.headerAt(l.payload, 1), proto))
	}
	return is(at, proto)
}

// ofLLC handles links whose frames always have an 802.2 header, with SNAP for Ethernet types.
func (l *layout) ofLLC(proto uint32) *cond {
	switch proto {
	case sapOSI, sapIP, sapNetBEUI:
		return is(l.llcAt(0, 2), proto<<8|proto)
	case etherAppleTalk:
		return l.snap(0x080007, proto)
	}
	if proto <= maxLength {
		return is(l.llcAt(0, 1), proto)
	}
	return is(l.llcAt(6, 2), proto)
}

func (l *layout) snap(oui, proto uint32) *cond {
	return areBytes(l.llcAt, 0, []byte{0xaa, 0xaa, 3, byte(oui >> 16), byte(oui >> 8), byte(oui), byte(proto >> 8), byte(proto)})
}

// ofLoopback compares the address family of the capturing system. The BSDs use three
// numbers for IPv6. NULL and ENC use that system's byte order, so both orders are accepted.
func (l *layout) ofLoopback(proto uint32) *cond {
	var families []uint32
	switch proto {
	case etherIPv4:
		families = []uint32{2}
	case etherIPv6:
		families = []uint32{24, 28, 30}
	default:
		return always(false)
	}
	var cs []*cond
	for _, f := range families {
		cs = append(cs, is(l.headerAt(0, 4), f))
		if l.inner != linkLoop {
			cs = append(cs, is(l.headerAt(0, 4), f<<24))
		}
	}
	return or(cs...)
}

func (l *layout) ofFrameRelay(proto uint32) *cond {
	at := l.headerAt(2, 2)
	switch proto {
	case etherIPv4:
		return is(at, 0x03cc)
	case etherIPv6:
		return is(at, 0x038e)
	case sapOSI:
		return or(is(at, 0x0300|osiCLNP), is(at, 0x0300|osiESIS), is(at, 0x0300|osiISIS))
	}
	return always(false)
}

func (l *layout) ofArcnet(proto uint32) *cond {
	at := bytesAt(l.typeAt, 1)
	switch proto {
	case etherIPv4:
		return or(is(at, 212), is(at, 240))
	case etherARP:
		return or(is(at, 213), is(at, 241))
	case etherRARP:
		return is(at, 214)
	case etherAppleTalk:
		return is(at, 221)
	case etherIPv6:
		return is(at, 196)
	}
	return always(false)
}

// ofMPLS guesses the protocol after the bottom label by its first four bits.
func (l *layout) ofMPLS(proto uint32) (*cond, string) {
	bottom := is(l.netAt(-2, 1).masked(1), 1)
	switch proto {
	case etherIPv4:
		return and(bottom, is(l.netAt(0, 1).masked(0xf0), 0x40)), ""
	case etherIPv6:
		return and(bottom, is(l.netAt(0, 1).masked(0xf0), 0x60)), ""
	}
	return nil, "after mpls only ip, ip6 and the protocols over them can be matched"
}

// pppType returns the PPP protocol number of an Ethernet type.
func pppType(proto uint32) uint32 {
	switch proto {
	case etherIPv4:
		return 0x21
	case etherIPv6:
		return 0x57
	case etherDECnet:
		return 0x27
	case etherAppleTalk:
		return 0x29
	case etherXNS:
		return 0x25
	case sapOSI:
		return 0x23
	case sapSTP:
		return 0x31
	case sapIPX:
		return 0x2b
	}
	return proto
}
