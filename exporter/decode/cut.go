package decode

// A mirror may cut a packet before it sends it on, to the MTU of its tunnel or to a length that its owner chose, as a
// snapshot length does. The headers around the packet then have the length of what is left, and only its own length
// field shows that there was more. That field is believed if the rest of the IP header holds, see cutIP.

// packetLength applies the length of an IP packet: bytes after it are padding. If fewer are there, either the packet
// was cut or the field is wrong: a cut leaves nothing after it, and other length fields exceed the rest as much.
func (w *walk) packetLength(n int) {
	if n > w.wire && !w.ended && cutIP(w.data, w.wire) {
		if w.excess != 0 && w.excess == n-w.wire {
			w.f.Problems &^= BadLength
		}
		w.cutTo(n)
	} else {
		w.trim(n)
	}
	w.ended, w.excess = false, 0
}

// cutTo sets the length of a cut packet on the wire.
func (w *walk) cutTo(n int) {
	w.wire, w.cut = n, true
	w.f.Problems |= Truncated
}

// plausibleIP reports whether b starts with an IP packet that is whole, or of which wire bytes are left.
func plausibleIP(b []byte, wire int) bool { return wholeIP(b, wire) || cutIP(b, wire) }

// plausibleRest reports whether an IP packet follows after n bytes of a tunnel's message whose own length field has the
// value size. The field may exceed the bytes that are left only as much as that of the packet does.
func (w *walk) plausibleRest(n, size int) bool {
	if size > w.wire {
		return lengthOfCut(w.data[n:], w.wire-n) == size-n
	}
	return plausibleIP(w.data[n:], size-n)
}

// wholeIP reports whether b starts with an IP packet with lengths that fit into wire bytes.
func wholeIP(b []byte, wire int) bool {
	if len(b) < ipv4Header {
		return false
	}
	switch b[0] >> 4 {
	case 4:
		hl, total := int(b[0]&15)*4, int(be16(b[2:]))
		if total == 0 {
			total = wire
			if wire <= maxIPv4 && b[9] != protoTCP {
				return false
			}
		}
		return hl >= ipv4Header && total >= hl && total <= wire
	case 6:
		if len(b) < ipv6Header {
			return false
		}
		size := int(be16(b[4:]))
		return ipv6Header+size <= wire && (size != 0 || b[6] == protoNoNext || wire > maxIPv4)
	}
	return false
}

// cutIP reports whether b starts with an IP packet that is longer than wire bytes and whose header proves itself: by
// its checksum, or in IPv6, which has none, by the header of its transport.
func cutIP(b []byte, wire int) bool { return lengthOfCut(b, wire) != 0 }

// lengthOfCut is the length of such a packet, 0 if it is not one.
func lengthOfCut(b []byte, wire int) int {
	if len(b) < ipv4Header {
		return 0
	}
	switch b[0] >> 4 {
	case 4:
		hl, total := int(b[0]&15)*4, int(be16(b[2:]))
		if hl >= ipv4Header && hl <= len(b) && total > wire && be16(b[10:]) != 0 && checksum(b[:hl], 0) == 0xffff {
			return total
		}
	case 6:
		if len(b) < ipv6Header {
			return 0
		}
		size := int(be16(b[4:]))
		if ipv6Header+size > wire && plausibleNext(b[6], b[ipv6Header:], size) {
			return ipv6Header + size
		}
	}
	return 0
}

// plausibleNext reports whether b can be the first bytes of an IPv6 packet's payload with a length of size.
func plausibleNext(next uint8, b []byte, size int) bool {
	if len(b) < 8 {
		return false
	}
	switch next {
	case protoTCP:
		const reserved = 0x0e
		return len(b) >= 14 && int(b[12]>>4)*4 >= tcpHeader && int(b[12]>>4)*4 <= size && b[12]&reserved == 0
	case protoUDP:
		return int(be16(b[4:])) == size
	case protoICMPv6:
		return b[0] >= 1 && b[0] <= 4 || b[0] >= 128 && b[0] <= 161
	case protoFragment:
		return knownNext(b[0]) && b[1] == 0 && be16(b[2:])&6 == 0
	case protoHopByHop, protoDestOpts, protoRouting:
		return knownNext(b[0]) && (int(b[1])+1)*8 <= size
	case protoIPv4, protoIPv6:
		return int(b[0]>>4) == 4 && next == protoIPv4 || int(b[0]>>4) == 6 && next == protoIPv6
	case protoGRE:
		return be16(b)&0x0ff8 == 0
	case protoSCTP:
		return be16(b) != 0 && be16(b[2:]) != 0
	}
	return false
}

// knownNext reports whether a number is that of a header which often follows another one in IPv6.
func knownNext(next uint8) bool {
	switch next {
	case protoTCP, protoUDP, protoICMPv6, protoSCTP, protoHopByHop, protoDestOpts, protoRouting, protoFragment, protoIPv4, protoIPv6, protoGRE, protoAH, protoNoNext, 50:
		return true
	}
	return false
}
