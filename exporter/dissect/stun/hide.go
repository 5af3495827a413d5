package stun

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// secrets are the attributes that log in, or prove a password: PASSWORD (RFC 3489 section 11.2.7), MESSAGE-INTEGRITY
// and MESSAGE-INTEGRITY-SHA256 (RFC 8489), ACCESS-TOKEN (RFC 7635), RESERVATION-TOKEN (RFC 8656), MOBILITY-TICKET
// (RFC 8016).
var secrets = map[uint16]bool{0x0007: true, attrIntegrity: true, attrIntegrity2: true, 0x001B: true, 0x0022: true, 0x8030: true}

// shown are the attributes whose values are in the row, or are random numbers.
var shown = map[uint16]bool{attrMapped: true, attrUsername: true, attrError: true, attrChannel: true, attrLifetime: true, attrXorPeer: true, attrRealm: true,
	attrXorRelayed: true, attrTransport: true, attrXorMapped: true, attrPriority: true, attrNominate: true, attrSoftware: true, attrAlternate: true,
	attrControlled: true, attrControlling: true}

// hide records the values of a message that no row shows. The fingerprint is one, because it would confirm a guess of
// the others.
func (m *message) hide(in *dissect.Input, x *dissect.Exchange) {
	if !in.Tracing() {
		return
	}
	x.Hide(in, 0, 0) // it may have none
	m.each(func(kind uint16, v []byte, at int) {
		switch at += 4; {
		case secrets[kind]:
			x.Hide(in, at, at+len(v))
		case !shown[kind], m.microsoft && kind == attrUsername:
			x.HideRest(in, at, at+len(v))
		}
	})
}

// Fingerprint corrects the fingerprints of the messages with which the payload of a packet begins, after bytes of
// their attributes were replaced. A fingerprint that was wrong stays as it is. was is the payload before.
func Fingerprint(was, now []byte) {
	for len(was) >= headSize && len(now) == len(was) && bytes.Equal(was[:headSize], now[:headSize]) {
		size := headSize + int(binary.BigEndian.Uint16(was[2:]))
		if size > len(was) {
			return
		}
		m, ok := parse(was[:size])
		if !ok {
			return
		}
		m.each(func(kind uint16, v []byte, at int) {
			if kind == attrFingerprint && !wrongFingerprint(was, v, at) {
				binary.BigEndian.PutUint32(now[at+4:], fingerprint(now[:at]))
			}
		})
		was, now = was[size:], now[size:]
	}
}

// fingerprint is the checksum of the bytes before it, RFC 8489 section 14.7.
func fingerprint(b []byte) uint32 { return crc32.ChecksumIEEE(b) ^ 0x5354554E }
