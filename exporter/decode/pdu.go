package decode

// Tags of an upper PDU, Wireshark's wsutil/exported_pdu_tlvs.h; docs/format/plaintext.md.
const (
	pduEnd      = 0
	pduIPv4Src  = 20
	pduIPv4Dst  = 21
	pduIPv6Src  = 22
	pduIPv6Dst  = 23
	pduPortType = 24
	pduSrcPort  = 25
	pduDstPort  = 26
	maxPDUTags  = 64
)

// pduProtocols are IP protocols by the format's numbers of port types.
var pduProtocols = [...]uint8{1: 132, 2: protoTCP, 3: protoUDP}

// upperPDU reads the tags before bytes that are not a packet. Without both addresses and ports
// it stays KindNone, because its conversation is unknown.
func (w *walk) upperPDU() layer {
	f := w.f
	f.PDU = true
	const src, dst, srcPort, dstPort, transport = 1, 2, 4, 8, 16
	has := 0
	for n := 0; ; n++ {
		if n == maxPDUTags {
			f.Problems |= DepthLimit
			return layerDone
		}
		if len(w.data) < 4 {
			return w.short()
		}
		tag, size := be16(w.data), int(be16(w.data[2:]))
		v := w.data[4:]
		if size > len(v) {
			return w.short()
		}
		v = v[:size]
		w.skip(4 + size)
		switch {
		case tag == pduEnd:
			f.Payload, f.PayloadLen = w.data, w.wire
			if has == src|dst|srcPort|dstPort|transport {
				f.Kind, f.L4, f.IPLen = KindIP, true, w.wire
				f.IPVersion = 6
				if f.Src.Is4() && f.Dst.Is4() {
					f.IPVersion = 4
				}
			}
			if w.wire > len(w.data) {
				return w.short()
			}
			return layerDone
		case tag == pduIPv4Src && size == 4:
			f.Src.set4(v)
			w.address(v, 4, RoleOther)
			has |= src
		case tag == pduIPv4Dst && size == 4:
			f.Dst.set4(v)
			w.address(v, 4, RoleOther)
			has |= dst
		case tag == pduIPv6Src && size == 16:
			f.Src = Addr(v)
			w.address(v, 16, RoleOther)
			has |= src
		case tag == pduIPv6Dst && size == 16:
			f.Dst = Addr(v)
			w.address(v, 16, RoleOther)
			has |= dst
		case tag == pduPortType && size == 4:
			if t := be32(v); t > 0 && t < uint32(len(pduProtocols)) {
				f.Proto = pduProtocols[t]
				has |= transport
			}
		case tag == pduSrcPort && size == 4:
			f.SrcPort = uint16(be32(v))
			has |= srcPort
		case tag == pduDstPort && size == 4:
			f.DstPort = uint16(be32(v))
			has |= dstPort
		}
	}
}
