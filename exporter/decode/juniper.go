package decode

// Link types of Juniper's routers. A header with the magic number MGC, flags and extensions
// comes before the interface card's own header.
const (
	linkJuniperMLPPP  = 130
	linkJuniperMLFR   = 131
	linkJuniperGGSN   = 133
	linkJuniperATM2   = 135
	linkJuniperSvcs   = 136
	linkJuniperATM1   = 137
	linkJuniperPPPoE  = 167
	linkJuniperEther  = 178
	linkJuniperPPP    = 179
	linkJuniperFrame  = 180
	linkJuniperCHDLC  = 181
	linkJuniperVoice  = 194
	juniperMagic      = 0x4d4743
	juniperIn         = 0x01 // flags
	juniperNoL2       = 0x02
	juniperExtensions = 0x80
)

// juniper reads Juniper's header. Old releases of the system omitted it.
func (w *walk) juniper() layer {
	link, flags := w.next, byte(0)
	if b := w.data; len(b) >= 4 && be32(b)>>8 == juniperMagic {
		flags = b[3]
		w.dirByte(flags&juniperIn == 0)
		size := 4
		if flags&juniperExtensions != 0 {
			if len(b) < 6 {
				return w.short()
			}
			size = 6 + int(be16(b[4:]))
		}
		if !w.skip(size) {
			return layerDone
		}
	}
	if flags&juniperNoL2 != 0 {
		if len(w.data) < 4 {
			return w.short()
		}
		proto := le32(w.data) // in the byte order of the router's processor
		w.skip(4)
		return w.juniperProto(proto)
	}
	switch link {
	case linkJuniperEther, linkJuniperPPPoE:
		return layerEthernet
	case linkJuniperPPP:
		return w.skipTo(2, layerPPP)
	case linkJuniperFrame:
		w.next = linkFrameRelay
		return w.frameRelay()
	case linkJuniperCHDLC:
		w.next = linkCHDLC
		return w.chdlc()
	case linkJuniperVoice:
		return w.skipTo(18, layerIPv4)
	case linkJuniperSvcs:
		if flags&juniperIn != 0 {
			return w.skipTo(16, layerIPv4)
		}
		return w.skipTo(12, layerIPv4)
	case linkJuniperGGSN:
		if len(w.data) < 4 {
			return w.short()
		}
		proto := uint32(le16(w.data))
		w.skip(4)
		return w.juniperProto(proto)
	case linkJuniperATM1, linkJuniperATM2:
		return w.juniperATM(link, flags)
	}
	return w.juniperBundle(link, flags)
}

// juniperProto continues by Juniper's own protocol numbers.
func (w *walk) juniperProto(proto uint32) layer {
	switch proto {
	case 2, 3:
		return layerIPv4
	case 6, 7:
		return layerIPv6
	case 4, 5, 8, 32:
		return layerMPLS
	case 200:
		return layerPPP
	case 202, 203:
		return layerLLC
	case 204:
		return layerEthernet
	case 207:
		w.next = linkFrameRelay
		return w.frameRelay()
	case 208:
		w.next = linkCHDLC
		return w.chdlc()
	}
	return w.payload()
}

// juniperATM skips the cookie. The bytes after it identify themselves.
func (w *walk) juniperATM(link uint16, flags byte) layer {
	if len(w.data) < 8 {
		return w.short()
	}
	cookie, size := w.data[:8], 8
	if link == linkJuniperATM1 {
		size = 4
	}
	w.skip(size)
	if link == linkJuniperATM1 && cookie[0] == 0x80 || link == linkJuniperATM2 && cookie[7]&0x70 != 0 {
		w.f.Named = "atm_oam"
		return w.payload()
	}
	b := w.data
	if len(b) < 3 {
		return w.short()
	}
	switch first := be16(b); {
	case first == 0xfefe && b[2] == 0x03, first == 0xaaaa && b[2] == 0x03:
		return layerLLC
	case link == linkJuniperATM2 && flags&juniperIn == 0 && be32(cookie)&0x70000000 != 0:
		return layerEthernet // RFC 2684, bridged
	case link == linkJuniperATM2 && pppProtocol(first):
		return layerPPP
	case b[0] == 0x03:
		return w.skipNLPID(1)
	}
	if plausibleIP(b, w.wire) {
		return layerIP
	}
	return w.payload()
}

// juniperBundle is multilink PPP and Frame Relay: a cookie of 2, 4 or 8 bytes, as its first byte
// says, and the protocol that the cookie or the link contains.
func (w *walk) juniperBundle(link uint16, flags byte) layer {
	b := w.data
	if len(b) < 8 {
		return w.short()
	}
	switch b[0] {
	case 0x54: // link services
		w.skip(4)
		if link == linkJuniperMLPPP {
			return layerPPP
		}
		for len(w.data) > 0 && (w.data[0] == 0x03 || w.data[0] == 0) { // control byte and padding
			w.skip(1)
		}
		return w.nlpid()
	case 0x40, 0x47: // adaptive services: the cookie has the protocol
		toRouter := b[4]&3 == 3
		w.skip(8)
		switch (uint16(b[4])<<8 | uint16(b[5])) & 0x170 {
		case 0x00:
			if link == linkJuniperMLPPP && flags&juniperIn != 0 && !toRouter {
				return layerPPP
			}
			return layerIPv4
		case 0x10:
			return layerIPv6
		case 0x20:
			return layerMPLS
		}
		return w.payload()
	}
	switch {
	case link == linkJuniperMLPPP && (be16(b) == 0xff03 || pppProtocol(be16(b))):
		return layerPPP
	case link == linkJuniperMLPPP && pppProtocol(be16(b[2:])):
		return w.skipTo(2, layerPPP)
	case link == linkJuniperMLFR && be16(b[2:]) == 0x0300:
		return w.skipNLPID(4)
	case link == linkJuniperMLFR && b[2] == 0x03:
		return w.skipNLPID(3)
	}
	return w.payload()
}

func (w *walk) skipNLPID(n int) layer {
	if !w.skip(n) {
		return layerDone
	}
	return w.nlpid()
}

// pppProtocol reports whether a number is a PPP protocol that routers send.
func pppProtocol(n uint16) bool {
	switch n {
	case 0x0021, 0x0023, 0x003d, 0x0057, 0x0281, 0x0283, 0x8021, 0x8023, 0x8057, 0x8281, 0xc021, 0xc023, 0xc223:
		return true
	}
	return false
}
