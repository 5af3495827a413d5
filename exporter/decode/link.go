package decode

// Link types, by the numbers of the pcap file format.
const (
	linkNull         = 0
	linkEthernet     = 1
	linkTokenRing    = 6
	linkSLIP         = 8
	linkPPP          = 9
	linkFDDI         = 10
	linkRawBSD       = 12
	linkRawOpenBSD   = 14
	linkPPPSerial    = 50
	linkPPPoE        = 51
	linkATM          = 100
	linkRaw          = 101
	linkCHDLC        = 104
	linkWLAN         = 105
	linkCLIP         = 106
	linkFrameRelay   = 107
	linkLoop         = 108
	linkENC          = 109
	linkSLL          = 113
	linkPFLOG        = 117
	linkPrism        = 119
	linkIPoverFC     = 122
	linkRadiotap     = 127
	linkARCNETLinux  = 129
	linkIP1394       = 138
	linkUser2        = 149 // what Apple's tools write PKTAP as
	linkAVS          = 163
	linkPPPD         = 166
	linkPPI          = 192
	linkPPPDir       = 204
	linkCHDLCDir     = 205
	linkFrameDir     = 206
	linkIPv4         = 228
	linkIPv6         = 229
	linkNFLOG        = 239
	linkIPoIB        = 242
	linkUpperPDU     = 252 // what a program said, without packets around it
	linkPKTAP        = 258
	linkERF          = 197
	linkNetlink      = 253
	linkSLL2         = 276
	linkBRCM         = 281 // Ethernet with a switch's tag, of Broadcom and Marvell
	linkBRCMPrepend  = 282
	linkDSA          = 284
	linkEDSA         = 285
	maxRadiotapWords = 16 // words of the present bitmap
)

// link reads the header that the interface's link type puts first.
func (w *walk) link() layer {
	switch w.next {
	case linkEthernet:
		return layerEthernet
	case linkSLL:
		return w.sll()
	case linkSLL2:
		return w.sll2()
	case linkRaw, linkRawBSD, linkRawOpenBSD, linkIPv4, linkIPv6, linkCLIP:
		return layerIP
	case linkNull, linkLoop:
		return w.null()
	case linkWLAN:
		return layerWLAN
	case linkRadiotap, linkPrism, linkAVS, linkPPI:
		return w.wlanPrefix()
	case linkPPP, linkPPPSerial, linkPPPD, linkPPPDir:
		return w.pppLink()
	case linkPPPoE:
		return layerPPPoE
	case linkCHDLC, linkCHDLCDir:
		return w.chdlc()
	case linkFrameRelay, linkFrameDir:
		return w.frameRelay()
	case linkENC:
		return w.enc()
	case linkPFLOG:
		return w.pflog()
	case linkNFLOG:
		return w.nflog()
	case linkPKTAP, linkUser2:
		return w.pktap()
	case linkSLIP:
		return w.slip()
	}
	return w.rareLink()
}

// rareLink reads link layers of which only the way to the EtherType matters.
func (w *walk) rareLink() layer {
	switch w.next {
	case linkTokenRing:
		return w.tokenRing()
	case linkFDDI:
		return w.skipTo(13, layerLLC)
	case linkATM:
		return layerLLC
	case linkIPoverFC:
		return w.skipTo(16, layerLLC)
	case linkIP1394:
		return w.typeAfter(16, 18)
	case linkIPoIB:
		return w.typeAfter(40, 44)
	case linkARCNETLinux:
		return w.arcnet()
	case linkBRCM, linkDSA:
		return w.typeAfter(16, 18)
	case linkBRCMPrepend:
		return w.skipTo(4, layerEthernet)
	case linkEDSA:
		return w.typeAfter(20, 22)
	case linkUpperPDU:
		return w.upperPDU()
	case linkERF:
		return w.erf()
	case linkJuniperMLPPP, linkJuniperMLFR, linkJuniperGGSN, linkJuniperATM1, linkJuniperATM2, linkJuniperSvcs, linkJuniperPPPoE,
		linkJuniperEther, linkJuniperPPP, linkJuniperFrame, linkJuniperCHDLC, linkJuniperVoice:
		return w.juniper()
	}
	w.f.Problems |= UnknownLink
	return layerDone
}

func (w *walk) skipTo(n int, at layer) layer {
	if !w.skip(n) {
		return layerDone
	}
	return at
}

// typeAfter reads an EtherType at offset at of a header of size bytes.
func (w *walk) typeAfter(at, size int) layer {
	if size > len(w.data) {
		return w.short()
	}
	w.next = be16(w.data[at:])
	w.skip(size)
	return layerEtherType
}

// anyIP tells IPv4 from IPv6 by the version.
func (w *walk) anyIP() layer {
	if len(w.data) == 0 {
		return w.short()
	}
	switch w.data[0] >> 4 {
	case 4:
		return layerIPv4
	case 6:
		return layerIPv6
	}
	return w.bad()
}

// family goes on by an address family number. Systems agree on IPv4 only.
func (w *walk) family(af uint32) layer {
	switch af {
	case 2:
		return layerIPv4
	case 10, 23, 24, 28, 30:
		return layerIPv6
	}
	return layerDone
}

func (w *walk) null() layer {
	if len(w.data) < 4 {
		return w.short()
	}
	af := be32(w.data) // LOOP is network order; NULL is the order of the machine that captured
	if af > 0xffff {
		af = le32(w.data)
	}
	if af > 0xffff {
		af = uint32(be16(w.data[2:])) // an EtherType in the lower half
	}
	w.skip(4)
	if af >= 0x600 {
		w.next = uint16(af)
		return layerEtherType
	}
	return w.family(af)
}

func (w *walk) sll() layer {
	b := w.data
	if len(b) < 16 {
		return w.short()
	}
	w.direction(be16(b))
	hw, proto := be16(b[2:]), be16(b[14:])
	w.skip(16)
	return w.cooked(hw, proto)
}

func (w *walk) sll2() layer {
	b := w.data
	if len(b) < 20 {
		return w.short()
	}
	w.direction(uint16(b[10]))
	proto, hw := be16(b), be16(b[8:])
	w.f.IfIndex = be32(b[4:])
	w.skip(20)
	return w.cooked(hw, proto)
}

func (w *walk) direction(kind uint16) {
	switch kind {
	case 0, 1, 2: // to us, broadcast, multicast
		w.f.LinkDirection = DirIn
	case 4:
		w.f.LinkDirection = DirOut
	}
}

// cooked goes on after a Linux cooked header, whose protocol field is an EtherType
// except for some hardware types and small numbers.
func (w *walk) cooked(hw, proto uint16) layer {
	switch hw {
	case 801: // ARPHRD_IEEE80211
		return layerWLAN
	case 802:
		w.next = linkPrism
		return w.wlanPrefix()
	case 803:
		w.next = linkRadiotap
		return w.wlanPrefix()
	case 824: // netlink
		w.f.Named = "netlink"
		return layerDone
	}
	switch proto {
	case 0x0001: // 802.3 without LLC
		w.f.Named = "ipx"
		return layerDone
	case 0x0004:
		return layerLLC
	}
	if name := cookedNames[proto]; name != "" {
		w.f.Named = name
		return w.payload()
	}
	w.next = proto
	return layerEtherType
}

func (w *walk) pppLink() layer {
	if w.next == linkPPPDir || w.next == linkPPPD {
		if len(w.data) < 2 {
			return w.short()
		}
		// Both put a direction byte first; where the HDLC address stands first there is none.
		if w.data[0] != 0xff {
			w.dirByte(w.next == linkPPPDir && w.data[0] != 0 || w.next == linkPPPD && w.data[0] != 0)
			w.skip(1)
		}
		return layerPPP
	}
	if len(w.data) >= 4 && (w.data[0] == 0x0f || w.data[0] == 0x8f) && w.data[1] == 0 {
		return w.chdlc()
	}
	return layerPPP
}

func (w *walk) dirByte(out bool) {
	w.f.LinkDirection = DirIn
	if out {
		w.f.LinkDirection = DirOut
	}
}

// chdlc is Cisco HDLC: address, control, and an EtherType but for Cisco's own SLARP.
func (w *walk) chdlc() layer {
	if w.next == linkCHDLCDir {
		if len(w.data) < 1 {
			return w.short()
		}
		w.dirByte(w.data[0] != 0)
		w.skip(1)
	}
	if len(w.data) < 4 {
		return w.short()
	}
	w.next = be16(w.data[2:])
	w.skip(4)
	if w.next == 0x8035 || w.next == 0x2000 { // SLARP, CDP
		w.f.EtherType = w.next
		if w.next == 0x8035 {
			w.f.Named = "slarp"
		}
		return w.payload()
	}
	return layerEtherType
}

// frameRelay is Q.922 with the RFC 2427 encapsulation, or Cisco's EtherType.
func (w *walk) frameRelay() layer {
	if w.next == linkFrameDir {
		if len(w.data) < 1 {
			return w.short()
		}
		w.dirByte(w.data[0] != 0)
		w.skip(1)
	}
	n := 0
	for n < len(w.data) && n < 4 && w.data[n]&1 == 0 { // the last address byte has the EA bit
		n++
	}
	if n+3 > len(w.data) {
		return w.short()
	}
	if n == 4 || n == 0 {
		return w.bad()
	}
	w.skip(n + 1)
	if w.data[0] != 0x03 { // not an UI frame
		return w.typeAfter(0, 2)
	}
	w.skip(1)
	if w.data[0] == 0 && !w.skip(1) { // pad
		return layerDone
	}
	return w.nlpid()
}

func (w *walk) nlpid() layer {
	if len(w.data) < 1 {
		return w.short()
	}
	id := w.data[0]
	switch id {
	case 0xcc:
		return w.skipTo(1, layerIPv4)
	case 0x8e:
		return w.skipTo(1, layerIPv6)
	case 0x80:
		w.skip(1)
		return w.snap()
	case 0xcf:
		return w.skipTo(1, layerPPP)
	}
	if w.f.Named = osiNames[id]; w.f.Named == "" {
		w.f.Named = "osi"
	}
	return w.payload()
}

// enc is OpenBSD's IPsec interface: family, SPI and flags.
func (w *walk) enc() layer {
	if len(w.data) < 12 {
		return w.short()
	}
	af := le32(w.data)
	if af > 0xffff {
		af = be32(w.data)
	}
	w.skip(12)
	return w.family(af)
}

// pflog is the BSD packet filter's log: a header whose first byte is its length
// without the padding to four bytes.
func (w *walk) pflog() layer {
	if len(w.data) < 2 {
		return w.short()
	}
	size, af := (int(w.data[0])+3)&^3, uint32(w.data[1])
	if size < 28 {
		return w.bad()
	}
	if size > 60 && len(w.data) > 60 {
		switch w.data[60] {
		case 1:
			w.f.LinkDirection = DirIn
		case 2:
			w.f.LinkDirection = DirOut
		}
	}
	return w.skipTo(size, w.family(af))
}

// nflog is a list of netfilter attributes of which one is the packet. Lengths are in
// the order of the machine that captured.
func (w *walk) nflog() layer {
	if len(w.data) < 4 {
		return w.short()
	}
	af, proto := uint32(w.data[0]), uint16(0)
	w.skip(4)
	for len(w.data) >= 4 {
		size, kind := int(le16(w.data)), le16(w.data[2:])
		if kind&0x7fff > 0xff { // NFULA types are small numbers
			size, kind = int(be16(w.data)), be16(w.data[2:])
		}
		if size < 4 {
			return w.bad()
		}
		switch kind & 0x7fff {
		case 1: // NFULA_PACKET_HDR: EtherType, hook
			if size >= 6 && len(w.data) >= 6 {
				proto = be16(w.data[4:])
			}
		case 9: // NFULA_PAYLOAD
			w.trim(size)
			w.skip(4)
			if at := w.family(af); at != layerDone {
				return at
			}
			w.next = proto
			if proto == 0 {
				return layerIP
			}
			return layerEtherType
		}
		if !w.skip((size + 3) &^ 3) {
			return layerDone
		}
	}
	return w.short()
}

// pktap is Apple's header in front of any other link layer, little-endian.
func (w *walk) pktap() layer {
	b := w.data
	if len(b) < 40 {
		return w.short()
	}
	size, dlt, flags := le32(b), le32(b[8:]), le32(b[36:])
	if size < 40 || size > 4096 || dlt > 0xffff || dlt == linkPKTAP || dlt == linkUser2 {
		// Other programs use link type 149 for things of their own.
		if w.next == linkUser2 {
			w.f.Problems |= UnknownLink
			return layerDone
		}
		return w.bad()
	}
	switch flags & 3 {
	case 1:
		w.f.LinkDirection = DirIn
	case 2:
		w.f.LinkDirection = DirOut
	}
	w.next = uint16(dlt)
	return w.skipTo(int(size), layerLink)
}

// slip is SLIP with the BSD header of sixteen bytes: direction and compressed header.
func (w *walk) slip() layer {
	if len(w.data) < 16 {
		return w.short()
	}
	dir, kind := w.data[0], w.data[1]
	if dir > 1 {
		return w.bad()
	}
	w.dirByte(dir == 1)
	if kind&0xf0 == 0x80 || kind&0xf0 == 0x70 {
		// Van Jacobson compression changes the IP header itself.
		w.f.Named = "ppp_compressed_tcp"
		return layerDone
	}
	return w.skipTo(16, layerIP)
}

func (w *walk) tokenRing() layer {
	if len(w.data) < 14 {
		return w.short()
	}
	size := 14
	if w.data[8]&0x80 != 0 { // source routing: the length is in the next field
		if len(w.data) < 16 {
			return w.short()
		}
		size += int(w.data[14] & 0x1f)
	}
	return w.skipTo(size, layerLLC)
}

// arcnet is Linux's ARCNET header: source, destination, offset, protocol id.
func (w *walk) arcnet() layer {
	if len(w.data) < 5 {
		return w.short()
	}
	id := w.data[4]
	size := 5
	switch id {
	case 0xd4, 0xd5, 0xc4: // RFC 1201 has a split flag and a sequence number
		if len(w.data) < 8 {
			return w.short()
		}
		size = 8
		if w.data[5] == 0xff { // exception packet: four more bytes
			size = 12
		} else if w.data[5] != 0 {
			w.f.Problems |= Aggregate
		}
	}
	switch id {
	case 0xd4, 0xf0:
		return w.skipTo(size, layerIPv4)
	case 0xc4:
		return w.skipTo(size, layerIPv6)
	case 0xd5, 0xf1:
		w.next = etherARP
		return w.skipTo(size, layerEtherType)
	}
	return w.payload()
}
