package decode

// UDP ports of tunnels. A port is a hint: the inner headers must be plausible too.
const (
	portL2TP     = 1701
	portGTPU     = 2152
	portTeredo   = 3544
	portLISP     = 4341
	portGRE      = 4754 // RFC 8086
	portVXLAN    = 4789
	portVXLANGPE = 4790
	portAYIYA    = 5072
	portCAPWAP   = 5247
	portGUE      = 6080
	portGeneve   = 6081
	portMPLS     = 6635
	portOldVXLAN = 8472 // Linux's default, and Flannel's and Cilium's
	portTZSP     = 37008
)

func tunnelPort(port uint16) bool {
	switch port {
	case portL2TP, portGTPU, portTeredo, portGRE, portVXLAN, portVXLANGPE, portAYIYA, portCAPWAP, portGUE, portGeneve, portMPLS, portOldVXLAN, portLISP, portTZSP:
		return true
	}
	return false
}

// enter moves the current fields of the packet into a tunnel entry and clears those that the
// inner packet has itself. It returns false if there are too many tunnels.
func (w *walk) enter(kind TunnelKind, id uint32, hasID bool) bool {
	f := w.f
	if f.NTunnels == maxTunnels {
		f.Problems |= DepthLimit
		if f.Kind == KindNone {
			w.payload()
		}
		return false
	}
	if f.Kind != KindNone {
		w.d.saved = *f
		w.inner = true
	}
	t := &f.Tunnels[f.NTunnels]
	f.NTunnels++
	*t = Tunnel{Kind: kind, ID: id, HasID: hasID, Src: f.Src, Dst: f.Dst, SrcPort: f.SrcPort, DstPort: f.DstPort}
	f.Kind = KindNone
	f.IPVersion, f.Proto, f.TTL, f.L4 = 0, 0, 0, false
	f.SrcPort, f.DstPort = 0, 0
	f.IPID, f.IPLen, f.PayloadLen = 0, 0, 0
	if f.Problems&BadIPSum == 0 {
		f.Sums.IP = 0
	}
	if f.Problems&BadSum == 0 {
		f.Sums.L4 = 0
	}
	f.Src, f.Dst = Addr{}, Addr{}
	f.Payload, f.Named = nil, ""
	return true
}

// leave returns to the outer packet if the inner one is neither IP nor ARP.
func (w *walk) leave() {
	problems := w.f.Problems
	*w.f = w.d.saved
	w.f.Problems |= problems
}

// into enters a tunnel and continues n bytes from here.
func (w *walk) into(kind TunnelKind, id uint32, n int, at layer) layer {
	if !w.enter(kind, id, true) {
		return layerDone
	}
	return w.skipTo(n, at)
}

// ipTunnel enters a protocol with its own IP protocol number.
func (w *walk) ipTunnel() layer {
	outer := w.f.IPVersion
	kind, at := TunnelIPIP, layerIPv4
	switch w.next {
	case protoIPv4:
		if outer == 6 {
			kind = Tunnel4in6
		}
	case protoIPv6:
		kind, at = Tunnel6in4, layerIPv6
		if outer == 6 {
			kind = Tunnel6in6
		}
	case protoMPLS:
		return layerMPLS
	case protoGRE:
		return layerGRE
	case protoEtherIP: // RFC 3378: version 3, reserved
		if len(w.data) < 2 {
			return w.short()
		}
		if be16(w.data) != 0x3000 {
			return layerDone
		}
		kind, at = TunnelEtherIP, layerEthernet
		w.skip(2)
	case protoL2TP:
		return w.l2tpIP()
	case protoEthernet:
		kind, at = TunnelEthernet, layerEthernet
	}
	if !w.enter(kind, 0, false) {
		return layerDone
	}
	return at
}

// udpTunnel enters a tunnel identified by its port if the inner headers are plausible.
func (w *walk) udpTunnel(port uint16) layer {
	if len(w.data) < 8 && port != portTZSP {
		return layerDone
	}
	switch port {
	case portVXLAN, portOldVXLAN:
		return w.vxlan()
	case portVXLANGPE:
		return w.vxlanGPE()
	case portGeneve:
		return w.geneve()
	case portGTPU:
		return w.gtpu()
	case portTeredo:
		return w.teredo()
	case portAYIYA:
		return w.ayiya()
	case portL2TP:
		return w.l2tp()
	case portCAPWAP:
		return w.capwap()
	case portGUE:
		return w.gue()
	case portMPLS:
		return w.mplsUDP()
	case portGRE:
		return w.greUDP()
	case portLISP:
		return w.lisp()
	case portTZSP:
		return w.tzsp()
	}
	return layerDone
}

// vxlan is RFC 7348. Reserved bits are ignored as required; the I bit is not.
func (w *walk) vxlan() layer {
	b := w.data
	if b[0]&0x08 == 0 || !plausibleEthernet(b[8:], w.wire-8) {
		return layerDone
	}
	return w.into(TunnelVXLAN, be32(b[4:])>>8, 8, layerEthernet)
}

// provenVXLAN reports whether a datagram to any port is VXLAN, which networks are often configured to send to a
// port of their own. All reserved bits are 0 as RFC 7348 section 5 requires of senders, and an IPv4 header with
// a valid checksum, an IPv6 header with exactly this length or that of a cut packet follows.
func provenVXLAN(b []byte, wire int) bool {
	const header = 8
	if len(b) < header || be32(b) != 0x08000000 || b[7] != 0 || !plausibleEthernet(b[header:], wire-header) {
		return false
	}
	at := header + 12
	kind := be16(b[at:])
	for ; kind == etherVLAN || kind == etherQinQ || kind == etherOldQinQ; kind = be16(b[at:]) {
		at += 4
	}
	ip := b[at+2:]
	switch kind {
	case etherIPv4:
		size := int(ip[0]&15) * 4
		return size <= len(ip) && checksum(ip[:size], 0) == 0xffff
	case etherIPv6:
		return ipv6Header+int(be16(ip[4:])) == wire-at-2 || cutIP(ip, wire-at-2)
	}
	return false
}

func (w *walk) vxlanGPE() layer {
	b, vni := w.data, be32(w.data[4:])>>8
	if b[0]&0x08 == 0 || b[0]&0x30 != 0 {
		return layerDone
	}
	next := b[3]
	if b[0]&0x04 == 0 {
		next = 3
	}
	switch next {
	case 1, 2:
		if plausibleIP(b[8:], w.wire-8) {
			return w.into(TunnelVXLAN, vni, 8, layerIP)
		}
	case 3:
		if plausibleEthernet(b[8:], w.wire-8) {
			return w.into(TunnelVXLAN, vni, 8, layerEthernet)
		}
	case 4:
		w.next = etherNSH
		return w.into(TunnelVXLAN, vni, 8, layerEtherType)
	}
	return layerDone
}

// geneve is RFC 8926: version 0, data packets.
func (w *walk) geneve() layer {
	b := w.data
	size, proto, vni := 8+int(b[0]&0x3f)*4, be16(b[2:]), be32(b[4:])>>8
	if b[0]>>6 != 0 || b[1]&0x80 != 0 || len(b) < size {
		return layerDone
	}
	switch proto {
	case etherTEB:
		if plausibleEthernet(b[size:], w.wire-size) {
			return w.into(TunnelGeneve, vni, size, layerEthernet)
		}
	case etherIPv4, etherIPv6, etherARP:
		if plausibleType(proto, b[size:], w.wire-size) {
			w.next = proto
			return w.into(TunnelGeneve, vni, size, layerEtherType)
		}
	}
	return layerDone
}

// gtpu is a G-PDU of 3GPP TS 29.281: version 1, with its extension headers.
func (w *walk) gtpu() layer {
	b := w.data
	if b[0]>>5 != 1 || b[0]&0x10 == 0 || b[1] != 255 {
		return layerDone
	}
	size, length := 8, int(be16(b[2:]))
	if b[0]&0x07 != 0 {
		if len(b) < 12 {
			return layerDone
		}
		size = 12
		if b[0]&0x04 != 0 {
			var ok bool
			if size, ok = gtpExtensions(b); !ok {
				return layerDone
			}
		}
	}
	if size > len(b) || size > length+8 || !w.plausibleRest(size, length+8) {
		return layerDone
	}
	teid := be32(b[4:])
	if !w.enter(TunnelGTPU, teid, true) {
		return layerDone
	}
	w.trim(length + 8)
	return w.skipTo(size, layerIP)
}

func gtpExtensions(b []byte) (int, bool) {
	size := 12
	for next := b[11]; next != 0; {
		if size >= len(b) {
			return 0, false
		}
		n := int(b[size]) * 4
		if n == 0 || size+n > len(b) {
			return 0, false
		}
		size += n
		next = b[size-1]
	}
	return size, true
}

const teredoPrefix = 0x20010000 // RFC 4380 section 2.6

// teredo is RFC 4380: authentication and origin, then IPv6.
func (w *walk) teredo() layer {
	b, size := w.data, 0
	if be16(b) == 1 { // authentication: client id, value, nonce, confirmation
		size = 4 + int(b[2]) + int(b[3]) + 9
	}
	if len(b) >= size+8 && be16(b[size:]) == 0 { // origin: obfuscated port and address
		size += 8
	}
	if len(b) <= size || b[size]>>4 != 6 || !plausibleIP(b[size:], w.wire-size) {
		return layerDone
	}
	if ip := b[size:]; !wholeIP(ip, w.wire-size) && be32(ip[8:]) != teredoPrefix && be32(ip[24:]) != teredoPrefix {
		return layerDone // nothing before the packet shows that it is one
	}
	if !w.enter(TunnelTeredo, 0, false) {
		return layerDone
	}
	return w.skipTo(size, layerIPv6)
}

// ayiya carries IPv6 or IPv4 after an identity and a signature.
func (w *walk) ayiya() layer {
	b := w.data
	size := 8 + 1<<(b[0]>>4) + int(b[1]>>4)*4
	if b[2]&0x0f != 1 || len(b) <= size { // operation: forward
		return layerDone
	}
	version := b[size] >> 4
	if b[3] == protoIPv6 && version != 6 || b[3] == protoIPv4 && version != 4 || b[3] != protoIPv6 && b[3] != protoIPv4 {
		return layerDone
	}
	if !plausibleIP(b[size:], w.wire-size) || !w.enter(TunnelAYIYA, 0, false) {
		return layerDone
	}
	return w.skipTo(size, layerIP)
}

// mplsUDP is RFC 7510. The label stack must end in plausible IP.
func (w *walk) mplsUDP() layer {
	if plausibleLabels(w.data, w.wire) {
		return layerMPLS
	}
	return layerDone
}

// plausibleLabels reports whether b starts with a label stack that ends in IP or Ethernet.
func plausibleLabels(b []byte, wire int) bool {
	for at := 4; at <= 4*maxLabels && at <= len(b); at += 4 {
		if b[at-2]&1 != 0 {
			return plausibleIP(b[at:], wire-at) || plausibleEthernet(b[at:], wire-at)
		}
	}
	return false
}

// capwap is a data message of RFC 5415 with an Ethernet or an 802.11 frame inside.
func (w *walk) capwap() layer {
	b := w.data
	size, binding, flags := int(b[1]>>3)*4, b[2]>>1&0x1f, b[3]
	if b[0] != 0 || size < 8 || size > len(b) || flags&0x80 != 0 { // DTLS, or a fragment
		return layerDone
	}
	if b[2]&1 == 0 {
		if plausibleEthernet(b[size:], w.wire-size) {
			if !w.enter(TunnelCAPWAP, 0, false) {
				return layerDone
			}
			return w.skipTo(size, layerEthernet)
		}
		return layerDone
	}
	if binding != 1 || len(b) < size+24 || b[size]&0x0f != 0x08 && b[size+1]&0x0f != 0x08 {
		return layerDone
	}
	if !w.enter(TunnelCAPWAP, 0, false) || !w.skip(size) {
		return layerDone
	}
	return w.wlanFrame(false, b[size]&0x0f != 0x08)
}
