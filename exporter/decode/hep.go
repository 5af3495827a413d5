package decode

// Chunks of HEP3, the Homer Encapsulation Protocol (hep-protocol revision 36, section 3), of the generic vendor.
const (
	hepFamily    = 1
	hepProtocol  = 2
	hepIPv4Src   = 3
	hepIPv4Dst   = 4
	hepIPv6Src   = 5
	hepIPv6Dst   = 6
	hepSrcPort   = 7
	hepDstPort   = 8
	hepSeconds   = 9
	hepMicros    = 10
	hepProbe     = 12
	hepPayload   = 15
	hepChunk     = 6 // bytes of a chunk's head
	hepHeader    = 6
	maxHEPChunks = 64
)

// hepMessage is what a HEP3 message says about the payload that it carries.
type hepMessage struct {
	src, dst         []byte // of the same length
	payload          []byte
	size             int // of the payload on the wire
	srcPort, dstPort uint16
	proto            uint8
	probe            uint32
	hasProbe         bool
	time             int64 // ns since 1970
}

func isHEP(b []byte) bool { return len(b) >= hepHeader && string(b[:4]) == "HEP3" }

// readHEP reads a message whose chunks end where it does. It must have the addresses, the ports, the time and the
// payload of a message of UDP, TCP or SCTP.
func readHEP(b []byte, wire int) (m hepMessage, ok bool) {
	total := int(be16(b[4:]))
	if total < hepHeader || total > wire {
		return m, false
	}
	has := uint32(0)
	at := hepHeader
	for n := 0; at < total; n++ {
		if n == maxHEPChunks || at+hepChunk > min(total, len(b)) {
			return m, false
		}
		vendor, kind, size := be16(b[at:]), be16(b[at+2:]), int(be16(b[at+4:]))
		if size < hepChunk || at+size > total {
			return m, false
		}
		v := b[at+hepChunk : min(at+size, len(b))]
		if vendor == 0 && m.set(kind, v, size-hepChunk) {
			has |= 1 << kind
		}
		at += size
	}
	const fixed = 1<<hepFamily | 1<<hepProtocol | 1<<hepSrcPort | 1<<hepDstPort | 1<<hepSeconds | 1<<hepPayload
	const four, six = 1<<hepIPv4Src | 1<<hepIPv4Dst, 1<<hepIPv6Src | 1<<hepIPv6Dst
	return m, has&fixed == fixed && (has&four == four || has&six == six) && len(m.src) == len(m.dst)
}

// set takes the value of a chunk, and reports whether it is one that it knows. Only a payload may be cut.
func (m *hepMessage) set(kind uint16, v []byte, size int) bool {
	switch {
	case kind == hepPayload:
		m.payload, m.size = v, size
	case len(v) != size:
		return false
	case kind == hepFamily && size == 1:
	case kind == hepProtocol && size == 1 && (v[0] == protoUDP || v[0] == protoTCP || v[0] == protoSCTP):
		m.proto = v[0]
	case kind == hepIPv4Src && size == 4 || kind == hepIPv6Src && size == 16:
		m.src = v
	case kind == hepIPv4Dst && size == 4 || kind == hepIPv6Dst && size == 16:
		m.dst = v
	case kind == hepSrcPort && size == 2:
		m.srcPort = be16(v)
	case kind == hepDstPort && size == 2:
		m.dstPort = be16(v)
	case kind == hepSeconds && size == 4:
		m.time += int64(be32(v)) * 1e9
	case kind == hepMicros && size == 4 && be32(v) < 1e6:
		m.time += int64(be32(v)) * 1e3
	case kind == hepProbe && size == 4:
		m.probe, m.hasProbe = be32(v), true
	default:
		return false
	}
	return true
}

// texts reports the values of a message that no field of the frame shows.
func (w *walk) texts(b []byte) {
	if w.d.OnText == nil || w.f.FragNos != nil {
		return
	}
	var m hepMessage
	for at := hepHeader; at < len(b); at += int(be16(b[at+4:])) {
		v := b[at+hepChunk : min(at+int(be16(b[at+4:])), len(b))]
		if be16(b[at:]) != 0 || !m.set(be16(b[at+2:]), v, len(v)) {
			w.d.OnText(w.whole-cap(v), len(v))
		}
	}
}

// hep makes the payload of a HEP3 message that of the frame.
func (w *walk) hep(m *hepMessage) layer {
	if !w.enter(TunnelHEP, m.probe, m.hasProbe) {
		return layerDone
	}
	f := w.f
	f.Kind, f.PDU, f.L4, f.Proto, f.IPLen = KindIP, true, true, m.proto, m.size
	f.SrcPort, f.DstPort, f.Stated = m.srcPort, m.dstPort, m.time
	if len(m.src) == 4 {
		f.IPVersion = 4
		f.Src.set4(m.src)
		f.Dst.set4(m.dst)
	} else {
		f.IPVersion, f.Src, f.Dst = 6, Addr(m.src), Addr(m.dst)
	}
	w.texts(w.data[:min(int(be16(w.data[4:])), len(w.data))])
	w.address(m.src, len(m.src), RoleOther)
	w.address(m.dst, len(m.dst), RoleOther)
	w.data, w.wire = m.payload, m.size
	return w.payload()
}
