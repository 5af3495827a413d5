package decode

// proto continues by the IP protocol.
func (w *walk) proto() layer {
	f := w.f
	f.Proto = uint8(w.next)
	switch w.next {
	case protoTCP:
		return w.tcp()
	case protoUDP:
		return w.udp()
	case protoICMP, protoICMPv6, protoIGMP:
		return w.icmp()
	case protoSCTP:
		return w.sctp()
	case protoDCCP, protoUDPLite:
		return w.otherPorts()
	case protoAH:
		return w.ah()
	case protoIPv4, protoIPv6, protoGRE, protoEtherIP, protoL2TP, protoMPLS, protoEthernet:
		w.payload() // remains if the tunnel cannot be entered
		return w.ipTunnel()
	}
	return w.payload()
}

const tcpHeader = 20

func (w *walk) tcp() layer {
	f, b := w.f, w.data
	if len(b) < tcpHeader {
		return w.shortTCP()
	}
	f.SrcPort = be16(b)
	f.DstPort = be16(b[2:])
	f.Seq = be32(b[4:])
	f.Ack = be32(b[8:])
	f.Flags = be16(b[12:]) & 0xfff
	f.Window = be16(b[14:])
	f.Urgent = be16(b[18:])
	f.L4 = true
	off := int(b[12]>>4) * 4
	switch {
	case off < tcpHeader:
		return w.bad()
	case off > w.wire:
		f.Problems |= BadLength
		return layerDone
	case off > len(b):
		f.PayloadLen = w.wire - off
		w.tcpOptions(b[tcpHeader:], true)
		return w.short()
	case off > tcpHeader:
		o := b[tcpHeader:off]
		if len(o) == 12 && be32(o) == 0x0101080a { // two NOPs and a timestamp: most segments
			f.HasTS, f.TSVal, f.TSEcr = true, be32(o[4:]), be32(o[8:])
			f.Carrier += optionBit(8)
		} else {
			w.tcpOptions(o, false)
		}
	}
	w.transportSum(b, w.wire, 16)
	f.Payload = b[off:]
	f.PayloadLen = w.wire - off
	if f.PayloadLen > len(f.Payload) {
		w.short()
	}
	return layerDone
}

// shortTCP keeps the available part of a truncated header: ports, or numbers and flags too. It
// sets both numbers only together with the flags that give them meaning.
func (w *walk) shortTCP() layer {
	f, b := w.f, w.data
	if len(b) >= 14 {
		f.Seq, f.Ack, f.Flags = be32(b[4:]), be32(b[8:]), be16(b[12:])&0xfff
		if off := int(b[12]>>4) * 4; off >= tcpHeader && off <= w.wire {
			f.PayloadLen = w.wire - off
		}
	}
	return w.shortPorts(0)
}

// tcpOptions reads the options; cut means that the capture truncated them.
func (w *walk) tcpOptions(o []byte, cut bool) {
	f := w.f
	for len(o) > 0 {
		kind := o[0]
		if kind == 0 {
			return
		}
		if kind == 1 {
			o = o[1:]
			continue
		}
		if len(o) < 2 || o[1] < 2 || int(o[1]) > len(o) {
			if !cut {
				f.Problems |= BadOptions
			}
			return
		}
		n := int(o[1])
		v := o[2:n]
		o = o[n:]
		f.Carrier += optionBit(kind)
		switch {
		case kind == 2 && len(v) == 2:
			f.MSS = be16(v)
		case kind == 3 && len(v) == 1:
			f.WScale = int8(min(v[0], 127)) // above 14 counts as 14, RFC 7323 2.3
		case kind == 4 && len(v) == 0:
			f.SACKPermitted = true
		case kind == 5 && len(v)%8 == 0:
			for ; len(v) > 0 && int(f.NSACK) < len(f.SACK); v = v[8:] {
				f.SACK[f.NSACK] = SACKBlock{be32(v), be32(v[4:])}
				f.NSACK++
			}
		case kind == 30 && len(v) > 0:
			f.Multipath = true
			f.Mapping, f.Mapped = mapping(v)
			w.addAddress(v)
		case kind == 8 && len(v) == 8:
			f.HasTS, f.TSVal, f.TSEcr = true, be32(v), be32(v[4:])
		case kind == 2 || kind == 3 || kind == 4 || kind == 5 || kind == 8:
			f.Problems |= BadOptions
		}
	}
}

// optionBit is what an option adds to Frame.Carrier: nothing if only some segments of a connection have it.
func optionBit(kind byte) uint64 {
	switch kind {
	case 2, 3, 4, 5, 30, 34: // of SYN; SACK; Multipath TCP; Fast Open
		return 0
	}
	return hashA * (1 + uint64(kind))
}

// mapping is the difference of the data sequence number and the subflow sequence number in a DSS option of Multipath TCP,
// RFC 8684 section 3.3. A mapping of the end of the data alone has no place in the connection.
func mapping(v []byte) (difference uint32, ok bool) {
	if len(v) < 2 || v[0]>>4 != 2 || v[1]&0x04 == 0 {
		return 0, false
	}
	at, wide := 2, v[1]&0x08 != 0
	if v[1]&0x01 != 0 { // an acknowledgement comes first
		at += 4
		if v[1]&0x02 != 0 {
			at += 4
		}
	}
	if wide {
		at += 4 // the low half is compared
	}
	if len(v) < at+10 || be32(v[at+4:]) == 0 || be16(v[at+8:]) == 0 {
		return 0, false
	}
	return be32(v[at:]) - be32(v[at+4:]), true
}

// addAddress reports the address in an ADD_ADDR option of Multipath TCP (RFC 8684 section 3.4.1, RFC 6824 section 3.4.1),
// which may also have a port and an authentication code.
func (w *walk) addAddress(v []byte) {
	const subtype, port, code = 3, 2, 8
	if v[0]>>4 != subtype {
		return
	}
	switch len(v) - 2 { // the subtype with its flags, and a number of the address
	case 4, 4 + port, 4 + code, 4 + port + code:
		w.address(v[2:], 4, RoleOther)
	case 16, 16 + port, 16 + code, 16 + port + code:
		w.address(v[2:], 16, RoleOther)
	}
}

func (w *walk) udp() layer {
	f, b := w.f, w.data
	if len(b) < 8 {
		return w.shortPorts(8)
	}
	f.SrcPort = be16(b)
	f.DstPort = be16(b[2:])
	f.L4 = true
	w.udpLength(int(be16(b[4:])))
	whole, length := w.data, w.wire
	w.data = w.data[8:]
	w.wire -= 8
	f.Payload = w.data
	f.PayloadLen = w.wire
	if w.wire > len(w.data) {
		w.short()
	}
	if w.partial {
		return layerDone
	}
	if tunnelPort(f.DstPort) {
		return w.udpTunnel(f.DstPort)
	}
	if tunnelPort(f.SrcPort) {
		return w.udpTunnel(f.SrcPort)
	}
	if provenVXLAN(w.data, w.wire) {
		return w.vxlan()
	}
	if isHEP(w.data) {
		if m, ok := readHEP(w.data, w.wire); ok {
			if w.d.OnSum != nil {
				w.transportSum(whole, length, 6)
			}
			return w.hep(&m)
		}
	}
	w.transportSum(whole, length, 6)
	return layerDone
}

// udpLength applies the length field, header included.
func (w *walk) udpLength(size int) {
	switch {
	case size == 0: // a jumbogram, or offload
	case size < 8:
		w.f.Problems |= BadLength
	case size > w.wire && w.partial: // missing bytes count too
		w.wire = size
	case size > w.wire:
		// A reader of the socket would get nothing; the bytes present are kept.
		w.f.Problems |= BadLength
	default:
		w.trim(size)
	}
}

// shortPorts keeps the ports of an incomplete header, which identify the conversation if the
// capture truncated it. header is its size, 0 if PayloadLen is known or cannot be.
func (w *walk) shortPorts(header int) layer {
	f, b := w.f, w.data
	if len(b) >= 4 {
		f.SrcPort, f.DstPort = be16(b), be16(b[2:])
		if w.cut && w.wire >= header {
			f.L4 = true
			f.Problems |= HeaderCut
			if header > 0 {
				f.PayloadLen = w.wire - header
			}
		}
	}
	return w.short()
}

// otherPorts reads DCCP and UDP-Lite, which have their ports where TCP does.
func (w *walk) otherPorts() layer {
	f, b := w.f, w.data
	size := 8
	if w.next == protoDCCP {
		size = 12
		if len(b) > 4 {
			size = max(12, int(b[4])*4) // data offset, in words
		}
	}
	if len(b) < size {
		return w.shortPorts(size)
	}
	f.SrcPort, f.DstPort = be16(b), be16(b[2:])
	f.L4 = true
	w.skip(size)
	return w.payload()
}

func (w *walk) sctp() layer {
	f, b := w.f, w.data
	if len(b) < 12 {
		return w.shortPorts(12)
	}
	f.SrcPort, f.DstPort = be16(b), be16(b[2:])
	f.L4 = true
	return w.payload()
}

// icmp sets type and code; the payload is the whole message, header included.
func (w *walk) icmp() layer {
	f, b := w.f, w.data
	if len(b) >= 4 {
		f.Type, f.Code = b[0], b[1]
		f.L4 = true
		return w.payload()
	}
	if len(b) > 0 {
		f.Type = b[0]
	}
	w.payload()
	return w.short()
}
