package decode

import "encoding/binary"

// l2tp is a data message of RFC 2661 with PPP inside; its id is tunnel and session. Or it is one of version 3.
func (w *walk) l2tp() layer {
	b := w.data
	flags, size, length := be16(b), 2, w.wire
	if flags == 3 && be32(b[4:]) != 0 { // RFC 3931 section 4.1.2: version 3, data
		return w.l2tpFrame(be32(b[4:]), 8)
	}
	if flags&0x8000 != 0 || flags&0xf != 2 {
		return layerDone
	}
	if flags&0x4000 != 0 {
		length = max(length, int(be16(b[2:])))
		size += 2
	}
	if len(b) < size+4 {
		return layerDone
	}
	id := binary.BigEndian.Uint32(b[size:])
	size += 4
	if flags&0x0800 != 0 {
		size += 4
	}
	if flags&0x0200 != 0 {
		if len(b) < size+2 {
			return layerDone
		}
		size += 2 + int(be16(b[size:]))
	}
	at := size
	if len(b) >= at+2 && b[at] == 0xff && b[at+1] == 0x03 {
		at += 2
	}
	if len(b) > at && b[at]&1 == 0 {
		at++
	}
	if len(b) < at+2 || b[at] != 0x21 && b[at] != 0x57 || !w.plausibleRest(at+1, length) {
		return layerDone
	}
	return w.into(TunnelL2TP, id, size, layerPPP)
}

// l2tpIP is a message of RFC 3931 straight in IP: its session, which is 0 in control messages.
func (w *walk) l2tpIP() layer {
	if len(w.data) < 8 || be32(w.data) == 0 {
		return layerDone
	}
	return w.l2tpFrame(be32(w.data), 4)
}

// l2tpFrame enters the Ethernet frame of a session. The two ends agreed on the lengths of a cookie (0, 4
// or 8 bytes) and of a sublayer (0 or 4) before it, so the first plausible place counts.
func (w *walk) l2tpFrame(session uint32, at int) layer {
	for n := at; n <= at+12 && n <= len(w.data); n += 4 {
		if plausibleEthernet(w.data[n:], w.wire-n) {
			return w.into(TunnelL2TP, session, n, layerEthernet)
		}
	}
	return layerDone
}
