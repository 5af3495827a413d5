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
	LinkRaw          = 101
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
	linkUser2        = 149 // Apple's tools write PKTAP as this type
	linkAVS          = 163
	linkPPPD         = 166
	linkPPI          = 192
	linkPPPDir       = 204
	linkCHDLCDir     = 205
	linkFrameDir     = 206
	linkIPNET        = 226
	linkIPv4         = 228
	linkIPv6         = 229
	linkNFLOG        = 239
	linkIPoIB        = 242
	linkUpperPDU     = 252 // a program's data, without packets around it
	linkPKTAP        = 258
	linkERF          = 197
	linkNetlink      = 253
	linkSLL2         = 276
	linkBRCM         = 281 // Ethernet with a switch tag of Broadcom and Marvell
	linkBRCMPrepend  = 282
	linkDSA          = 284
	linkEDSA         = 285
	maxRadiotapWords = 16 // words of the present bitmap
)

// link reads the header of the interface's link type.
func (w *walk) link() layer {
	switch w.next {
	case linkEthernet:
		return layerEthernet
	case linkSLL:
		return w.sll()
	case linkSLL2:
		return w.sll2()
	case LinkRaw, linkRawBSD, linkRawOpenBSD, linkIPv4, linkIPv6, linkCLIP:
		return layerIP
	case linkNull, linkLoop:
		return w.null()
	case linkWLAN:
		return layerWLAN
	case linkRadiotap, linkPrism, linkAVS:
		return w.wlanPrefix()
	case linkPPI:
		return w.ppi()
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

// rareLink reads link layers for which only the position of the EtherType matters.
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
	case linkIPNET:
		return w.ipnet()
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

// typeAfter reads an EtherType at an offset in a header of size bytes.
func (w *walk) typeAfter(at, size int) layer {
	if size > len(w.data) {
		return w.short()
	}
	w.next = be16(w.data[at:])
	w.skip(size)
	return layerEtherType
}

// anyIP distinguishes IPv4 from IPv6 by the version.
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

// family continues by an address family number. Systems only agree on that of IPv4.
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
	af := be32(w.data) // LOOP is network order; NULL is the order of the capturing machine
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

// cooked continues after a Linux cooked header. Its protocol field is an EtherType except for
// some hardware types and small numbers.
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
