package radius

import (
	"encoding/binary"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// secrets are the attributes that log in, prove a secret or hold a key.
var secrets = map[uint8]bool{
	atPassword: true, atCHAP: true, 24: true, 60: true, // State, which continues a login, and CHAP-Challenge: RFC 2865
	69:     true,                                                   // Tunnel-Password, RFC 2868
	atARAP: true, 71: true, 73: true, 74: true, 84: true, 78: true, // of ARAP, and Configuration-Token: RFC 2869
	atAuthenticator: true,                                                                              // RFC 3579
	102:             true,                                                                              // EAP-Key-Name, RFC 4072
	atDigest:        true, 105: true, 106: true, 107: true, 113: true, 116: true, 118: true, 121: true, // RFC 5090
	143: true, // PKM-Auth-Key, RFC 5904
}

// microsoftSecrets are those of Microsoft: responses and challenges of MS-CHAP, passwords and keys, RFC 2548.
var microsoftSecrets = map[uint8]bool{1: true, 3: true, 4: true, 5: true, 6: true, 11: true, 12: true, 16: true, 17: true, 25: true, 26: true, 27: true}

// hide records the secrets of a message, in.Data[:m.size]. The kinds and lengths of attributes stay,
// and so does the random authenticator of a request. That of a response proves the secret of the server.
func (m *message) hide(in *dissect.Input, x *dissect.Exchange) {
	if !in.Tracing() {
		return
	}
	x.Hide(in, 0, 0) // it may have none
	if answers[m.code] == nil {
		x.Hide(in, headSize-len(m.authenticator), headSize)
	}
	eap := 5 // the head of EAP and the method, which the row shows
	for at := headSize; at+2 <= m.size; {
		kind, end := in.Data[at], at+int(in.Data[at+1])
		from := at + 2
		switch {
		case end < from || end > m.size:
			x.HideRest(in, from, m.size)
			return
		case secrets[kind]:
			x.Hide(in, from, end)
		case kind == atEAP:
			if method := in.Data[from:end]; eap == 0 || len(method) < eap || method[4] > 3 { // not an identity, a notification or a Nak, RFC 3748 section 5
				x.Hide(in, min(from+eap, end), end)
			}
			eap = 0
		case kind == atVendor && end-from > 4:
			hideVendor(in, x, from, end)
		case kind >= 192 || tables()["attribute"][int64(kind)] == "": // of experiments, extended (RFC 6929) or unknown
			x.HideRest(in, from, end)
		}
		at = end
	}
}

// hideVendor records the values of a vendor's attributes, in.Data[from:end]. They have kinds and lengths, unless
// the vendor uses another format, RFC 2865 section 5.26.
func hideVendor(in *dissect.Input, x *dissect.Exchange, from, end int) {
	vendor := binary.BigEndian.Uint32(in.Data[from:])
	from += 4
	sound := true
	for at := from; at < end && sound; at += int(in.Data[at+1]) {
		sound = at+2 <= end && in.Data[at+1] >= 2 && at+int(in.Data[at+1]) <= end
	}
	for at, next := from, end; at < end; at = next {
		if sound {
			next = at + int(in.Data[at+1])
		}
		if vendor == microsoft && microsoftSecrets[in.Data[at]] {
			x.Hide(in, at+2, next)
		} else {
			x.HideRest(in, at+2, next)
		}
	}
}
