package decode

// GRE flag bits.
const (
	greChecksum = 0x8000
	greRouting  = 0x4000
	greKey      = 0x2000
	greSequence = 0x1000
	greAck      = 0x0080
)

// gre is RFC 2784 and 2890, source routes of RFC 1701, and version 1 of PPTP.
func (w *walk) gre() layer {
	b := w.data
	if len(b) < 4 {
		return w.short()
	}
	flags, proto := be16(b), be16(b[2:])
	version := flags & 7
	if flags == eoipFlags && proto == etherEoIP {
		return w.eoip()
	}
	if version > 1 || version == 1 && proto != etherPPP {
		return w.bad()
	}
	size, key := 4, uint32(0)
	if version == 0 && flags&(greChecksum|greRouting) != 0 {
		size += 4
	}
	if flags&greKey != 0 {
		if len(b) < size+4 {
			return w.short()
		}
		key = be32(b[size:])
		size += 4
	}
	if flags&greSequence != 0 {
		size += 4
	}
	if version == 1 {
		if flags&greAck != 0 {
			size += 4
		}
		if n := int(key >> 16); size+n <= w.wire {
			w.trim(size + n)
		}
		key &= 0xffff // the call id
	}
	if !w.skip(size) {
		return layerDone
	}
	if version == 0 && flags&greRouting != 0 && !w.sourceRoutes() {
		return layerDone
	}
	return w.greInner(flags, proto, key)
}

// greUDP is RFC 8086: version 0 without source routes, and IP, Ethernet or MPLS inside.
func (w *walk) greUDP() layer {
	b := w.data
	flags, proto, size := be16(b), be16(b[2:]), 4
	if flags&^(greChecksum|greKey|greSequence) != 0 {
		return layerDone
	}
	for _, flag := range [...]uint16{greChecksum, greKey, greSequence} {
		if flags&flag != 0 {
			size += 4
		}
	}
	if len(b) < size {
		return layerDone
	}
	inside := plausibleType
	switch proto {
	case etherTEB:
		inside = func(_ uint16, b []byte, wire int) bool { return plausibleEthernet(b, wire) }
	case etherMPLS, etherMPLSmc:
		inside = func(_ uint16, b []byte, wire int) bool { return plausibleLabels(b, wire) }
	}
	if !inside(proto, b[size:], w.wire-size) {
		return layerDone
	}
	return layerGRE
}

// sourceRoutes skips the routing entries of RFC 1701; the empty one is the last.
func (w *walk) sourceRoutes() bool {
	for range 16 {
		if len(w.data) < 4 {
			w.short()
			return false
		}
		end := be16(w.data) == 0 && w.data[3] == 0
		if !w.skip(4 + int(w.data[3])) {
			return false
		}
		if end {
			return true
		}
	}
	w.bad()
	return false
}

func (w *walk) greInner(flags, proto uint16, key uint32) layer {
	hasKey := flags&greKey != 0
	switch proto {
	case 0x88be, 0x22eb:
		return w.erspan(flags, proto)
	}
	kind := TunnelGRE
	// NVGRE reserves ids below 0x1000, so small keys of other Ethernet tunnels are not mistaken
	// for it. LIMIT: a large key on a Linux gretap looks the same.
	if id := key >> 8; proto == etherTEB && flags&0xf000 == greKey && id >= 0x1000 && id != 0xffffff {
		kind, key = TunnelNVGRE, id
	}
	if !w.enter(kind, key, hasKey) {
		return layerDone
	}
	switch proto {
	case 0x883e: // WCCP: an optional redirect header
		if len(w.data) > 0 && w.data[0]>>4 != 4 && !w.skip(4) {
			return layerDone
		}
		return layerIPv4
	case etherPPP:
		return layerPPP
	}
	if proto < 0x600 {
		return layerDone
	}
	if arubaWLAN(proto) {
		return layerWLAN
	}
	w.next = proto
	return layerEtherType
}

// arubaWLAN reports whether a GRE protocol type is one of those with which Aruba's access points
// send 802.11 frames to their controller, one for each radio and network.
func arubaWLAN(proto uint16) bool { return proto >= 0x8200 && proto <= 0x8370 && proto&0x0f == 0 }

// erspan is a mirrored frame. Type I has neither a sequence number nor its own header. Type II
// has a header of 8 bytes. Type III (0x22eb) has one of 12 and optionally 8 more bytes, and may
// contain an IP packet without its frame.
func (w *walk) erspan(flags, proto uint16) layer {
	b, size, at := w.data, 0, layerEthernet
	switch {
	case proto == 0x22eb:
		size = 12
	case flags&greSequence != 0:
		size = 8
	}
	if len(b) < size {
		return w.short()
	}
	if size == 0 {
		if !w.enter(TunnelERSPAN, 0, false) {
			return layerDone
		}
		return at
	}
	session, vlan := be16(b[2:]), be16(b)&0xfff
	if size == 12 {
		if b[10]>>2&0x1f == 2 { // frame type
			at = layerIP
		}
		if b[11]&1 != 0 {
			size += 8
		}
	} else if session>>11&3 == 3 { // the frame still has its tag
		vlan = 0
	}
	if !w.enter(TunnelERSPAN, uint32(session&0x3ff), true) {
		return layerDone
	}
	w.f.Tunnels[w.f.NTunnels-1].VLAN = vlan
	return w.skipTo(size, at)
}

// eoipFlags are those of GRE version 1 with a key.
const eoipFlags = 0x2001

// eoip is MikroTik's Ethernet over IP: in the place of the key, the length of the frame and the number of the tunnel,
// which is little-endian.
func (w *walk) eoip() layer {
	const header = 8
	b := w.data
	if len(b) < header {
		return w.short()
	}
	size, id := int(be16(b[4:])), uint32(le16(b[6:]))
	if size == 0 { // keepalive
		return layerDone
	}
	if !w.enter(TunnelEoIP, id, true) {
		return layerDone
	}
	w.skip(header)
	w.trim(size)
	return layerEthernet
}
