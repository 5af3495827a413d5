package decode

// Flags in the first byte of a LISP header, RFC 9300 section 5.3 and RFC 9305 section 3.
const (
	lispNonce    = 0x80
	lispEcho     = 0x20
	lispVersion  = 0x10
	lispInstance = 0x08
	lispNext     = 0x04
	lispKey      = 0x03 // the payload is encrypted, RFC 8061
)

// lisp is a data packet of the Locator/ID Separation Protocol: IP, or what its next-protocol field says.
func (w *walk) lisp() layer {
	const header = 8
	b := w.data
	if b[0]&lispKey != 0 || b[0]&lispVersion != 0 && b[0]&lispNonce != 0 || b[0]&lispEcho != 0 && b[0]&lispNonce == 0 {
		return layerDone
	}
	id, hasID := be32(b[4:])>>8, b[0]&lispInstance != 0
	if !hasID {
		id = 0
	}
	at, plausible, inner, wire := layerIP, false, b[header:], w.wire-header
	next := byte(1)
	if b[0]&lispNext != 0 {
		next = b[3]
	}
	switch next {
	case 1, 2:
		plausible = plausibleIP(inner, wire)
	case 3:
		at, plausible = layerEthernet, plausibleEthernet(inner, wire)
	case 4:
		w.next, at, plausible = etherNSH, layerEtherType, len(inner) >= 8
	}
	if !plausible || !w.enter(TunnelLISP, id, hasID) {
		return layerDone
	}
	return w.skipTo(header, at)
}
