package decode

import "encoding/binary"

// EtherTypes that are decoded further.
const (
	etherIPv4     = 0x0800
	etherARP      = 0x0806
	etherEoIP     = 0x6400 // in GRE only
	etherTEB      = 0x6558
	etherRARP     = 0x8035
	etherVLAN     = 0x8100
	etherSlow     = 0x8809
	etherIPv6     = 0x86dd
	etherPPP      = 0x880b
	etherMPLS     = 0x8847
	etherMPLSmc   = 0x8848
	etherPPPoEd   = 0x8863
	etherPPPoE    = 0x8864
	etherQinQ     = 0x88a8
	etherMACsec   = 0x88e5
	etherPBB      = 0x88e7
	etherFabric   = 0x8903
	etherCMD      = 0x8909 // Cisco MetaData
	etherVNTag    = 0x8926
	etherETag     = 0x893f
	etherNSH      = 0x894f
	etherOldQinQ  = 0x9100
	etherOldQinQ2 = 0x9200
	etherOldQinQ3 = 0x9300
)

func (w *walk) ethernet() layer {
	b := w.data
	if len(b) < 14 {
		return w.short()
	}
	w.next = be16(b[12:])
	w.f.Carrier = mix(w.f.Carrier ^ binary.BigEndian.Uint64(b) ^ uint64(be32(b[8:]))*hashA)
	w.data = b[14:]
	w.wire -= 14
	if w.next == etherIPv4 { // most packets
		w.f.EtherType = etherIPv4
		return layerIPv4
	}
	return layerEtherType
}

// etherType continues by w.next, or uses it as the length of an 802.3 frame.
func (w *walk) etherType() layer {
	if w.next < 0x600 {
		w.trim(int(w.next))
		return layerLLC
	}
	w.f.EtherType = w.next
	switch w.next {
	case etherIPv4:
		return layerIPv4
	case etherIPv6:
		return layerIPv6
	case etherVLAN, etherQinQ, etherOldQinQ, etherOldQinQ2, etherOldQinQ3:
		return w.vlan()
	case etherARP, etherRARP:
		return w.arp()
	case etherMPLS, etherMPLSmc:
		return layerMPLS
	case etherPPPoE:
		return layerPPPoE
	case etherPPP:
		return layerPPP
	case etherTEB:
		return layerEthernet
	case etherVNTag:
		return w.typeAfter(4, 6)
	case etherETag:
		return w.typeAfter(6, 8)
	case etherNSH:
		return w.nsh()
	case etherPBB:
		return w.pbb()
	case etherFabric:
		return w.fabric()
	case etherMACsec:
		return w.macsec()
	case etherCMD:
		return w.metaData()
	case etherSlow:
		if len(w.data) > 0 && int(w.data[0]) < len(slowNames) {
			w.f.Named = slowNames[w.data[0]]
		}
	}
	return w.payload()
}

func (w *walk) vlan() layer {
	b := w.data
	if len(b) < 4 {
		return w.short()
	}
	if f := w.f; int(f.NVLANs) < len(f.VLANs) {
		f.VLANs[f.NVLANs] = be16(b) & 0xfff
		f.NVLANs++
	}
	return w.typeAfter(2, 4)
}

// llc is 802.2: SNAP, or IP's own service access point.
func (w *walk) llc() layer {
	b := w.data
	if len(b) < 3 {
		return w.short()
	}
	switch {
	case b[0] == 0xaa && b[1]&0xfe == 0xaa && b[2] == 0x03:
		w.skip(3)
		return w.snap()
	case b[0] == 0x06 && b[1]&0xfe == 0x06 && b[2] == 0x03:
		return w.skipTo(3, layerIPv4)
	case b[0] == 0xfe && b[1]&0xfe == 0xfe && b[2] == 0x03: // RFC 2684 routed
		w.skip(3)
		return w.nlpid()
	}
	w.f.Named = saps[b[0]]
	if w.f.Named == "" {
		w.f.Named = "llc"
	}
	return w.payload()
}

// snap is an organization and a type. The type is an EtherType for organization 0 and those of
// 802.1H and RFC 2684.
func (w *walk) snap() layer {
	b := w.data
	if len(b) < 5 {
		return w.short()
	}
	w.f.Carrier = mix(w.f.Carrier ^ hashB)
	oui, pid := uint32(b[0])<<16|uint32(b[1])<<8|uint32(b[2]), be16(b[3:])
	w.skip(5)
	switch oui {
	case 0, 0x0000f8:
		if pid >= 0x600 {
			w.next = pid
			return layerEtherType
		}
	case 0x0080c2:
		switch pid {
		case 0x0001, 0x0007: // bridged Ethernet, with and without check sequence
			return layerEthernet
		}
	}
	w.f.Named = snapNames[uint64(oui)<<16|uint64(pid)]
	if w.f.Named == "" {
		w.f.Named = "snap"
	}
	return w.payload()
}

// arp reads ARP, RARP and InARP of any hardware with IPv4 addresses.
func (w *walk) arp() layer {
	f, b := w.f, w.data
	if len(b) < 8 {
		return w.short()
	}
	f.Kind = KindARP
	f.ARPOp = be16(b[6:])
	hlen, plen := int(b[4]), int(b[5])
	size := 8 + 2*(hlen+plen)
	if be16(b[2:]) == etherIPv4 && plen == 4 && len(b) >= size {
		f.Src.set4(b[8+hlen:])
		f.Dst.set4(b[8+2*hlen+plen:])
		w.address(b[8+hlen:], 4, RoleOther)
		w.address(b[8+2*hlen+plen:], 4, RoleOther)
	}
	if size > w.wire {
		f.Problems |= BadLength
	} else {
		w.trim(size)
	}
	return w.payload()
}

// mpls skips a label stack. The stack does not name the next protocol, so the first nibble
// decides, and the IP header must be plausible, because an Ethernet address may begin with 4 or
// 6 too.
func (w *walk) mpls() layer {
	f := w.f
	outer := f.Payload
	for n := 0; ; n++ {
		if len(w.data) < 4 {
			return w.short()
		}
		if n == maxLabels {
			f.Problems |= DepthLimit
			return w.restPayload(outer)
		}
		e := be32(w.data)
		if int(f.NLabels) < len(f.Labels) {
			f.Labels[f.NLabels] = e >> 12
			f.NLabels++
		}
		w.skip(4)
		if e&0x100 == 0 {
			continue
		}
		if e>>12 == 13 || len(w.data) == 0 { // 13: associated channel, not user data
			break
		}
		at, n := layerDone, 0
		switch nib := w.data[0] >> 4; {
		case (nib == 4 || nib == 6) && wholeIP(w.data, w.wire):
			at = layerIP
		case plausibleEthernet(w.data, w.wire):
			at = layerEthernet
		case nib == 0 && len(w.data) > 4 && plausibleEthernet(w.data[4:], w.wire-4): // control word
			at, n = layerEthernet, 4
		case nib == 4 || nib == 6:
			at = layerIP // damaged or truncated, but no other protocol matches
		default:
			return w.restPayload(outer)
		}
		if !w.enter(TunnelMPLS, e>>12, true) {
			return layerDone
		}
		return w.skipTo(n, at)
	}
	return w.restPayload(outer)
}

// restPayload makes the rest the payload unless an outer IP header has already set it.
func (w *walk) restPayload(outer []byte) layer {
	if outer != nil {
		return layerDone
	}
	return w.payload()
}

// pppoe is a session frame of RFC 2516.
func (w *walk) pppoe() layer {
	f, b := w.f, w.data
	if len(b) < 6 {
		return w.short()
	}
	if b[0] != 0x11 || b[1] != 0 {
		return w.bad()
	}
	session, size := be16(b[2:]), int(be16(b[4:]))
	f.PPPoESession, f.HasPPPoE = session, true
	w.skip(6)
	w.trim(size)
	if !w.enter(TunnelPPPoE, uint32(session), true) {
		return layerDone
	}
	return layerPPP
}

// ppp reads the protocol field, which has one byte if it is compressed, after the HDLC address
// and control fields if they are present.
func (w *walk) ppp() layer {
	b := w.data
	if len(b) >= 2 && b[0] == 0xff && b[1] == 0x03 {
		w.skip(2)
		b = w.data
	}
	if len(b) < 2 {
		return w.short()
	}
	proto := uint16(b[0])
	if proto&1 != 0 {
		w.skip(1)
	} else {
		proto = be16(b)
		w.skip(2)
	}
	switch proto {
	case 0x0021:
		return layerIPv4
	case 0x0057:
		return layerIPv6
	case 0x0281, 0x0283:
		return layerMPLS
	case 0x0031: // bridging: flags, MAC type, frame
		return w.skipTo(2, layerEthernet)
	}
	if w.inner && w.d.saved.Kind != KindNone {
		return layerDone
	}
	w.f.Named = pppNames[proto]
	return w.payload()
}

// nsh is the network service header of RFC 8300.
func (w *walk) nsh() layer {
	b := w.data
	if len(b) < 8 {
		return w.short()
	}
	size, path := int(be16(b)&0x3f)*4, be32(b[4:])>>8
	if b[0]>>6 != 0 || size < 8 {
		return w.bad()
	}
	next := b[3]
	if !w.enter(TunnelNSH, path, true) || !w.skip(size) {
		return layerDone
	}
	switch next {
	case 1:
		return layerIPv4
	case 2:
		return layerIPv6
	case 3:
		return layerEthernet
	case 4:
		w.next = etherNSH
		return layerEtherType
	case 5:
		return layerMPLS
	}
	return w.payload()
}

// pbb is the service tag of 802.1ah, followed by the customer's complete frame.
func (w *walk) pbb() layer {
	if len(w.data) < 4 {
		return w.short()
	}
	isid := be32(w.data) & 0xffffff
	if !w.enter(TunnelPBB, isid, true) {
		return layerDone
	}
	return w.skipTo(4, layerEthernet)
}

// fabric is Cisco FabricPath: its header has the form of an Ethernet header, and the complete
// frame follows a 2-byte tag.
func (w *walk) fabric() layer { return w.skipTo(2, layerEthernet) }

// metaData is Cisco MetaData, which carries a security group tag: version, length of the options in
// words, options, and the EtherType.
func (w *walk) metaData() layer {
	if len(w.data) < 2 {
		return w.short()
	}
	if w.data[0] != 1 {
		return w.bad()
	}
	return w.typeAfterSize(2 + 4*int(w.data[1]))
}

// macsec continues if the frame is only authenticated.
func (w *walk) macsec() layer {
	b := w.data
	if len(b) < 6 {
		return w.short()
	}
	tci, size := b[0], 6
	if tci&0x20 != 0 { // explicit channel
		size += 8
	}
	if tci&0x0c != 0 { // encrypted or changed payload
		w.f.Problems |= Encrypted
		return w.payload()
	}
	const icv = 16
	if w.wire >= size+2+icv {
		w.trim(w.wire - icv)
	}
	return w.typeAfterSize(size)
}

// typeAfterSize reads the EtherType after a header of size bytes.
func (w *walk) typeAfterSize(size int) layer {
	if !w.skip(size) {
		return layerDone
	}
	return w.typeAfter(0, 2)
}
