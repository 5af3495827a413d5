package decode

// gue is Generic UDP Encapsulation (draft-ietf-intarea-gue): version 0 with the number of an IP protocol,
// or version 1, which is an IP packet.
func (w *walk) gue() layer {
	b := w.data
	if b[0]>>6 == 1 && plausibleIP(b, w.wire) {
		return w.guePacket(0, layerIP)
	}
	const version, control = 0xc0, 0x20
	size := 4 + int(b[0]&0x1f)*4
	if b[0]&(version|control) != 0 || len(b) < size {
		return layerDone
	}
	inner, wire := b[size:], w.wire-size
	switch next := uint16(b[1]); {
	case (next == protoIPv4 || next == protoIPv6) && plausibleIP(inner, wire):
		return w.guePacket(size, layerIP)
	case next == protoEthernet && plausibleEthernet(inner, wire):
		return w.guePacket(size, layerEthernet)
	case next == protoGRE && len(inner) > 4 && plausibleType(be16(inner[2:]), inner[4:], wire-4) && be16(inner) == 0:
		return w.guePacket(size, layerGRE)
	}
	return layerDone
}

func (w *walk) guePacket(n int, at layer) layer {
	if !w.enter(TunnelGUE, 0, false) {
		return layerDone
	}
	return w.skipTo(n, at)
}
