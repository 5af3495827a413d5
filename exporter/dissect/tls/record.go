package tls

import (
	"bytes"
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/handshake"
	"github.com/pcapsule/pcapsule/exporter/internal/tlskeys"
)

type recordHeader struct {
	typ     uint8
	version uint16
	size    int
}

func header(b []byte) recordHeader {
	return recordHeader{b[0], uint16(b[1])<<8 | uint16(b[2]), int(b[3])<<8 | int(b[4])}
}

func (h recordHeader) plausible() bool {
	return h.typ >= recordCCS && h.typ <= recordHeartbeat && h.version>>8 == 3 && h.version&0xff <= 4 && h.size <= maxRecord
}

// record reads the record at in.Data[at].
func (k *conn) record(s *side, in *dissect.Input, at int, h recordHeader) (int, error) {
	whole := headerBytes + h.size
	have := len(in.Data) - at
	if s.unsure && h.typ == recordHandshake && k.hs != nil && have > headerBytes+1 && !bytes.HasPrefix(in.Data[at+headerBytes:], []byte{handshake.TypeClientHello, 0}) {
		k.encrypt(s, in) // it was TLS 1.2
	}
	role := tlskeys.Role(k.role(in.Dir))
	change := s.encrypted && h.typ == recordCCS && h.size > 1
	if s.sealed(h) || change {
		s.began = true
		if change && have < whole && !in.End {
			k.c.Need(in.Dir, whole)
			return 0, nil
		}
		switch {
		case !k.opens(role, h) || have < whole && (in.End || !k.fits(role, h)):
			k.count(in, at, whole)
			k.hide(s, in.Dir, h.typ, whole)
			k.skip(s, in.Dir, h.typ, whole)
		case have < whole:
			k.c.Need(in.Dir, whole)
			return 0, nil
		case k.unseal(s, in, at, whole, h, true):
			return whole, nil
		}
	}
	if s.sealed(h) {
		if h.typ == recordHeartbeat {
			k.sealedHeartbeat(k.role(in.Dir), h.size)
		}
		k.beginOpaque(s, in, h)
		s.place, s.left = inOpaque, whole
		n := min(whole, have)
		k.opaqueHeader(s, in, at)
		k.opaque(s, in, at, n)
		return n, nil
	}
	if have < whole && !in.End {
		k.c.Need(in.Dir, whole)
		return 0, nil
	}
	n := min(whole, have)
	if off := in.Offset(at); !s.began || s.next == off {
		s.next = off + int64(n)
	}
	s.began = true
	body := in.Data[at+headerBytes : at+n]
	switch h.typ {
	case recordHandshake:
		k.begin(s, in, body)
		k.hs.recordVersion(h.version)
		k.cite(in, at, at+n)
		k.handshake(s, in, body)
	case recordCCS:
		k.changeCipher(s, in, at, n)
	case recordAlert:
		k.ensureHandshake()
		k.cite(in, at, at+n)
		k.alert(in, body)
	case recordHeartbeat:
		k.heartbeat(k.role(in.Dir), body, h.size)
		if k.hs != nil {
			k.cite(in, at, at+n)
		}
	}
	if n < whole && k.hs != nil {
		k.hs.cut = true
	}
	return n, nil
}

// beginOpaque decides whether an encrypted record belongs to a handshake.
func (k *conn) beginOpaque(s *side, in *dissect.Input, h recordHeader) {
	s.of, s.ends = nil, false
	if k.hs == nil {
		switch {
		case !k.done:
			k.newShake()
			k.hs.row.Midstream = true
			k.hs.recordVersion(h.version)
		case h.typ == recordHandshake:
			k.newShake()
			k.hs.row.Renegotiation = true
		default:
			return
		}
	}
	hs := k.hs
	side := k.role(in.Dir)
	switch {
	case hs.row.Midstream:
		hs.fin[side] = true
	case hs.version13():
		k.opaque13(s, hs, side, h)
	case h.typ == recordHandshake:
		s.of, s.ends = hs, hs.ccs[side]
	case h.typ == recordAlert && !hs.fin[side]:
		hs.alert("encrypted", !hs.gap, side) // after a loss, perhaps that of the end
		s.of = hs
	case h.typ == recordData && hs.server && !hs.ccs[side] && s.lost:
		hs.ccs[side], hs.fin[side] = true, true // the messages that ended its handshake are missing
		s.encrypted = true
	}
	k.finishIfDone()
}

// opaque13 assigns an encrypted TLS 1.3 record to the handshake. The client's first record after
// the ServerHello contains its Finished; its length identifies an alert.
//
// LIMIT: if the client sends a certificate in a separate record, its Finished comes after what
// counts here as the end of the handshake.
func (k *conn) opaque13(s *side, hs *shake, side role, h recordHeader) {
	const alertRecord = 2 + 1 + 16 // level and description, content type, tag
	if side == server {
		s.of = hs
		return
	}
	s.of, s.ends = hs, true
	if h.size == alertRecord && !hs.row.EarlyData && !hs.gap {
		hs.alert("encrypted", true, side)
	}
}

// opaqueHeader adds the first bytes of a record to a handshake that has no other bytes from this
// side.
func (k *conn) opaqueHeader(s *side, in *dissect.Input, at int) {
	if hs := k.hs; hs != nil && hs.row.Midstream && s.of == nil {
		k.cite(in, at, min(at+headerBytes, len(in.Data)))
		k.finishIfDone()
	}
}

// opaque skips n bytes of the current record.
func (k *conn) opaque(s *side, in *dissect.Input, at, n int) {
	s.left -= n
	if s.of != nil && s.of == k.hs && s.flight < maxFlight {
		s.flight += n
		k.cite(in, at, at+n)
	}
	if s.left > 0 {
		return
	}
	s.place = atRecord
	if s.of == nil || s.of != k.hs {
		return
	}
	if s.ends {
		k.hs.fin[k.role(in.Dir)] = true
	}
	s.of = nil
	k.finishIfDone()
}

func (k *conn) changeCipher(s *side, in *dissect.Input, at, n int) {
	if k.hs == nil && !k.done {
		k.newShake()
		k.hs.recordVersion(uint16(in.Data[at+1])<<8 | uint16(in.Data[at+2]))
	}
	if k.hs == nil {
		if k.version != 0 && !handshake.Is13(k.version) { // of a renegotiation without its start
			k.newShake()
			k.hs.row.Renegotiation = true
		} else {
			return
		}
	}
	k.cite(in, at, at+n)
	if k.hs.version13() {
		return // it has no meaning in TLS 1.3, RFC 8446 section 5
	}
	if k.hs.offers13 && !k.hs.server && !k.hs.keyExchanged {
		s.unsure = true
		return
	}
	k.encrypt(s, in)
}

// encrypt records that a side begins to encrypt, before TLS 1.3.
func (k *conn) encrypt(s *side, in *dissect.Input) {
	side := k.role(in.Dir)
	k.dropPart(s)
	s.encrypted, s.unsure = true, false
	k.keys.Change(tlskeys.Role(side))
	k.hs.changed(side)
}

func (k *conn) alert(in *dissect.Input, body []byte) {
	if len(body) != 2 {
		k.c.Anomaly("malformed", fmt.Sprintf("reading alert: %d bytes instead of 2", len(body)), 0)
		return
	}
	fatal := body[0] == 2 || k.hs.version13() && body[1] != 0 && body[1] != 90
	k.hs.alert(handshake.Alert(body[1]), fatal, k.role(in.Dir))
}
