package decode

// Links of serial lines and of older local networks.

func (w *walk) pppLink() layer {
	if w.next == linkPPPDir || w.next == linkPPPD {
		if len(w.data) < 2 {
			return w.short()
		}
		// Both begin with a direction byte, unless the HDLC address is first.
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

// chdlc is Cisco HDLC: address, control, and an EtherType except for Cisco's own SLARP.
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

// slip is SLIP with the BSD header of 16 bytes: direction and compressed header.
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
