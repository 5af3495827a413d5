package decode

// TZSP encapsulations and tags, as sniffers of MikroTik, Aruba and others use them; Wireshark's packet-tzsp.c.
const (
	tzspEthernet = 1
	tzspPPP      = 4
	tzspRaw      = 7
	tzspWLAN     = 18
	tzspPrism    = 119
	tzspAVS      = 127

	tzspReceived = 0
	tzspTransmit = 1

	tzspPad      = 0
	tzspEnd      = 1
	tzspOriginal = 41 // length of the frame before it was cut
	maxTZSPTags  = 64
)

// tzsp is the TaZmen Sniffer Protocol: a head of 4 bytes, tags about how the frame was received, and the frame.
func (w *walk) tzsp() layer {
	b := w.data
	if len(b) < 5 || b[0] != 1 || b[1] != tzspReceived && b[1] != tzspTransmit {
		return layerDone
	}
	size, original, ok := tzspTags(b)
	if !ok {
		return layerDone
	}
	at, plausible := layerDone, false
	inner, wire := b[size:], w.wire-size
	switch be16(b[2:]) {
	case tzspEthernet:
		at, plausible = layerEthernet, len(inner) >= 14 && be16(inner[12:]) != 0
	case tzspWLAN:
		at, plausible = layerWLAN, len(inner) >= 10 && inner[0]&0x03 == 0
	case tzspPrism, tzspAVS:
		at, plausible = layerLink, len(inner) >= 8
	case tzspPPP:
		at, plausible = layerPPP, len(inner) > 4
	case tzspRaw:
		at, plausible = layerIP, plausibleIP(inner, wire)
	}
	if !plausible || !w.enter(TunnelTZSP, 0, false) {
		return layerDone
	}
	if at == layerLink {
		w.next = linkPrism // which also reads AVS
	}
	w.skip(size)
	if original > w.wire {
		w.cutTo(original)
	}
	return w.skipTo(0, at)
}

// tzspTags returns where the frame begins, and its length before it was cut, 0 if that is unknown.
func tzspTags(b []byte) (size, original int, ok bool) {
	at := 4
	for range maxTZSPTags {
		if at >= len(b) {
			return 0, 0, false
		}
		switch tag := b[at]; tag {
		case tzspPad:
			at++
		case tzspEnd:
			return at + 1, original, true
		default:
			if at+2 > len(b) || at+2+int(b[at+1]) > len(b) {
				return 0, 0, false
			}
			if v := b[at+2 : at+2+int(b[at+1])]; tag == tzspOriginal && len(v) == 2 {
				original = int(be16(v))
			}
			at += 2 + int(b[at+1])
		}
	}
	return 0, 0, false
}
