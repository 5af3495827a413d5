package decode

// Record types of ERF, Endace's Extensible Record Format, that can hold IP.
const (
	erfHDLC          = 1
	erfEthernet      = 2
	erfATM           = 3
	erfAAL5          = 4
	erfMultiHDLC     = 5
	erfMultiAAL5     = 9
	erfColorHDLC     = 10
	erfColorEthernet = 11
	erfDSMHDLC       = 15
	erfDSMEthernet   = 16
	erfColorMulti    = 17
	erfHashHDLC      = 19
	erfHashEthernet  = 20
	erfInfiniband    = 21
	erfIPv4          = 22
	erfIPv6          = 23
	erfMeta          = 27
	maxERFExtensions = 16
)

// erf is one record: a header of 16 bytes, extension headers of 8, and the content of its type.
func (w *walk) erf() layer {
	b := w.data
	if len(b) < 16 {
		return w.short()
	}
	kind, wire := b[8]&0x7f, int(be16(b[14:]))
	more := b[8]&0x80 != 0
	w.skip(16)
	for n := 0; more; n++ {
		if n == maxERFExtensions {
			return w.bad()
		}
		if len(w.data) < 8 {
			return w.short()
		}
		more = w.data[0]&0x80 != 0
		w.skip(8)
	}
	switch kind {
	case erfEthernet, erfColorEthernet, erfDSMEthernet, erfHashEthernet:
		if !w.skip(2) { // offset and padding
			return layerDone
		}
		w.erfLength(wire)
		return layerEthernet
	case erfMultiHDLC, erfColorMulti:
		if !w.skip(4) {
			return layerDone
		}
		return w.erfHDLC(wire)
	case erfHDLC, erfColorHDLC, erfDSMHDLC, erfHashHDLC:
		return w.erfHDLC(wire)
	case erfIPv4, erfIPv6:
		w.erfLength(wire)
		return layerIP
	case erfATM, erfAAL5:
		return w.skipTo(4, layerLLC) // the cell's header without its check byte
	case erfMultiAAL5:
		return w.skipTo(8, layerLLC)
	case erfInfiniband:
		w.f.Named = "infiniband"
	case erfMeta:
		w.f.Named = "erf_metadata"
	}
	return w.payload()
}

// erfLength applies the record's length on the wire, which exceeds the record if that was
// truncated.
func (w *walk) erfLength(wire int) {
	if wire > w.wire {
		w.wire, w.cut = wire, true
	} else if wire > 0 {
		w.trim(wire)
	}
}

// erfHDLC is PPP, Cisco HDLC or Frame Relay, distinguished by the first bytes.
func (w *walk) erfHDLC(wire int) layer {
	w.erfLength(wire)
	b := w.data
	if len(b) < 4 {
		return w.short()
	}
	switch {
	case b[0] == 0xff && b[1] == 0x03:
		return layerPPP
	case (b[0] == 0x0f || b[0] == 0x8f) && b[1] == 0:
		w.next = linkCHDLC
		return w.chdlc()
	}
	w.next = linkFrameRelay
	return w.frameRelay()
}
