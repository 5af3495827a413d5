package decode

// Decoded IP protocol numbers.
const (
	protoHopByHop = 0
	protoICMP     = 1
	protoIGMP     = 2
	protoIPv4     = 4
	protoTCP      = 6
	protoUDP      = 17
	protoDCCP     = 33
	protoIPv6     = 41
	protoRouting  = 43
	protoFragment = 44
	protoGRE      = 47
	protoAH       = 51
	protoICMPv6   = 58
	protoNoNext   = 59
	protoDestOpts = 60
	protoEtherIP  = 97
	protoL2TP     = 115
	protoSCTP     = 132
	protoUDPLite  = 136
	protoMPLS     = 137
	protoShim6    = 140
	protoEthernet = 143
)

const (
	ipv4Header = 20
	ipv6Header = 40
	maxIPv4    = 65535
)

func (w *walk) ipv4() layer {
	f, b := w.f, w.data
	if len(b) < ipv4Header {
		return w.short()
	}
	if b[0]>>4 != 4 {
		return w.bad()
	}
	hl, total := int(b[0]&15)*4, int(be16(b[2:]))
	f.Kind = KindIP
	f.IPVersion = 4
	f.TTL = b[8]
	f.Proto = b[9]
	f.IPID = uint32(be16(b[4:]))
	f.Src.set4(b[12:])
	f.Dst.set4(b[16:])
	w.address(b[12:], 4, RoleSource)
	w.address(b[16:], 4, RoleDestination)
	if total == 0 {
		total = w.wire // segmentation offload: the length was not set yet
	}
	if hl < ipv4Header || total < hl {
		f.IPLen = min(total, w.wire)
		return w.bad()
	}
	w.packetLength(total)
	f.IPLen = w.wire
	if !w.skip(hl) {
		return layerDone
	}
	w.header4(b[:hl])
	w.options4(b[ipv4Header:hl])
	w.next = uint16(f.Proto)
	if frag := be16(b[6:]); frag&0x3fff != 0 {
		return w.fragment(piece{
			off: int(frag&0x1fff) * 8, more: frag&0x2000 != 0, header: hl, proto: f.Proto,
		})
	}
	return layerProto
}

func (w *walk) ipv6() layer {
	f, b := w.f, w.data
	if len(b) < ipv6Header {
		return w.short()
	}
	if b[0]>>4 != 6 {
		return w.bad()
	}
	size := int(be16(b[4:]))
	f.Kind = KindIP
	f.IPVersion = 6
	f.TTL = b[7]
	f.Proto = b[6]
	f.Src = Addr(b[8:24])
	f.Dst = Addr(b[24:40])
	w.address(b[8:], 16, RoleSource)
	w.address(b[24:], 16, RoleDestination)
	w.next = uint16(f.Proto)
	w.ext = 0
	if size == 0 && f.Proto != protoNoNext {
		size = w.wire - ipv6Header // offload beyond 64 KiB, unless a jumbo option has the length
		if f.Proto == protoHopByHop {
			if n, ok := jumbo(b[ipv6Header:]); ok {
				size = n
			}
		}
	}
	w.packetLength(ipv6Header + size)
	f.IPLen = w.wire
	if !w.skip(ipv6Header) {
		return layerDone
	}
	switch f.Proto {
	case protoTCP, protoUDP, protoICMPv6:
		return layerProto
	}
	return layerExt6
}

// jumbo finds the jumbo payload option of RFC 2675 in a hop-by-hop header.
func jumbo(b []byte) (int, bool) {
	if len(b) < 8 {
		return 0, false
	}
	b = b[:min(len(b), int(b[1])*8+8)]
	for at := 2; at+1 < len(b); {
		if b[at] == 0 { // Pad1
			at++
			continue
		}
		n := int(b[at+1])
		if b[at] == 0xc2 && n == 4 && at+6 <= len(b) {
			size := be32(b[at+2:])
			return int(size), size > 0xffff && size < 1<<31
		}
		at += 2 + n
	}
	return 0, false
}

// ext6 skips IPv6 extension headers up to the upper protocol.
func (w *walk) ext6() layer {
	for {
		size := 0
		switch w.next {
		case protoHopByHop, protoDestOpts, protoRouting, protoShim6, protoAH, protoFragment:
		default:
			return layerProto
		}
		b := w.data
		if len(b) < 8 {
			w.f.Proto = uint8(w.next)
			return w.short()
		}
		if w.ext == maxExtHeaders {
			w.f.Proto = uint8(w.next)
			w.f.Problems |= DepthLimit
			return w.payload()
		}
		w.ext++
		if w.next != protoFragment {
			w.f.Carrier = mix(w.f.Carrier ^ uint64(w.next)*hashC)
		}
		switch w.next {
		case protoFragment:
			return w.fragment6()
		case protoAH:
			size = (int(b[1]) + 2) * 4
		case protoRouting:
			w.routing(b)
			size = (int(b[1]) + 1) * 8
		case protoDestOpts:
			w.home(b)
			size = (int(b[1]) + 1) * 8
		default:
			size = (int(b[1]) + 1) * 8
		}
		if size > w.wire {
			w.f.Proto = uint8(w.next)
			w.f.Problems |= BadLength
			return w.payload()
		}
		w.next = uint16(b[0])
		w.f.Proto = b[0]
		if !w.skip(size) {
			return layerDone
		}
	}
}

// fragment6 reads the fragment header of RFC 8200 section 4.5. A fragment with the whole
// datagram (RFC 6946) is not a fragment.
func (w *walk) fragment6() layer {
	b := w.data
	off := be16(b[2:])
	w.next = uint16(b[0])
	w.f.Proto = b[0]
	w.f.IPID = be32(b[4:])
	w.skip(8)
	if off&0xfff9 == 0 {
		return layerExt6
	}
	return w.fragment(piece{
		off: int(off &^ 7), more: off&1 != 0, header: w.f.IPLen - w.wire - 8, proto: b[0],
	})
}

// ah skips an authentication header after IPv4.
func (w *walk) ah() layer {
	b := w.data
	if len(b) < 12 {
		return w.short()
	}
	if w.ext == maxExtHeaders {
		w.f.Problems |= DepthLimit
		return w.payload()
	}
	w.ext++
	w.next = uint16(b[0])
	return w.skipTo((int(b[1])+2)*4, layerProto)
}

// plausibleEthernet reports whether b starts with an Ethernet frame that carries IP, ARP or a
// protocol that can lead to them, with headers that fit.
func plausibleEthernet(b []byte, wire int) bool {
	at := 12
	for range maxVLANs + 1 {
		if len(b) < at+4 {
			return false
		}
		kind := be16(b[at:])
		at += 2
		switch kind {
		case etherVLAN, etherQinQ, etherOldQinQ:
			at += 2
			continue
		}
		return plausibleType(kind, b[at:], wire-at)
	}
	return false
}

// plausibleType reports whether b starts with the protocol of an EtherType.
func plausibleType(kind uint16, b []byte, wire int) bool {
	if len(b) == 0 {
		return false
	}
	switch kind {
	case etherIPv4:
		return b[0]>>4 == 4 && plausibleIP(b, wire)
	case etherIPv6:
		return b[0]>>4 == 6 && plausibleIP(b, wire)
	case etherARP:
		return len(b) >= 8 && be16(b) == 1 && b[4] == 6 && b[5] == 4
	case etherPPPoE:
		return b[0] == 0x11
	case etherMPLS, etherMPLSmc, etherNSH:
		return true
	}
	return false
}
