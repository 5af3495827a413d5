package decode

// Links of interfaces that only observe: packet filters record their decision about each packet.

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

// ipnet is the observability interface of Solaris: version, family, direction, length, and interfaces
// and zones of both ends.
func (w *walk) ipnet() layer {
	const size, inet6 = 24, 26
	b := w.data
	if len(b) < size {
		return w.short()
	}
	family := uint32(b[1])
	if b[0] != 1 || family != 2 && family != inet6 {
		return w.bad()
	}
	switch be16(b[2:]) {
	case 1:
		w.f.LinkDirection = DirIn
	case 2:
		w.f.LinkDirection = DirOut
	}
	w.f.IfIndex = be32(b[8:])
	if family == inet6 {
		return w.skipTo(size, layerIPv6)
	}
	return w.skipTo(size, layerIPv4)
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

// nflog is a list of netfilter attributes, one of which is the packet. Lengths are in the byte
// order of the capturing machine.
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

// pktap is Apple's header before any other link layer, little-endian.
func (w *walk) pktap() layer {
	b := w.data
	if len(b) < 40 {
		return w.short()
	}
	size, dlt, flags := le32(b), le32(b[8:]), le32(b[36:])
	if size < 40 || size > 4096 || dlt > 0xffff || dlt == linkPKTAP || dlt == linkUser2 {
		// Other programs use link type 149 for their own purposes.
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

// ppi reads a Per-Packet Information header, which names the link type of the frame after it: mostly
// 802.11, but other recorders use it for Ethernet.
func (w *walk) ppi() layer {
	b := w.data
	if len(b) < 8 {
		return w.short()
	}
	size, dlt := le16(b[2:]), le32(b[4:])
	if b[0] != 0 || size < 8 || dlt > 0xffff || dlt == linkPPI {
		return w.bad()
	}
	w.next = uint16(dlt)
	return w.skipTo(int(size), layerLink)
}
