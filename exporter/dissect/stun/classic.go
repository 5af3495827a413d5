package stun

import (
	"encoding/binary"

	"github.com/pcapsule/pcapsule/exporter/cursor"
)

// classicSizes are the sizes of attributes of RFC 3489, section 11.2, and of those that its servers added; 0 is a size
// that varies.
var classicSizes = map[uint16]int{attrMapped: 8, 0x0002: 8, attrChangeRequest: 4, 0x0004: 8, 0x0005: 8, attrUsername: 0, 0x0007: 0, attrIntegrity: 20, attrError: 0,
	0x000A: 0, 0x000B: 8, attrXorMapped: 8, 0x8020: 8, attrSoftware: 0}

// classic reports whether b, which has no magic cookie, is a message of RFC 3489: a Binding request with CHANGE-REQUEST,
// a response with MAPPED-ADDRESS, or an error, filled by known attributes. A request without attributes shows too little.
func classic(b []byte) bool {
	proof := map[uint16]uint16{0x0001: attrChangeRequest, 0x0101: attrMapped, 0x0111: attrError}[binary.BigEndian.Uint16(b)]
	proved := false
	for r := cursor.New(b[headSize:]); r.Left() > 0; {
		kind, n := r.Uint16(), int(r.Uint16())
		size, known := classicSizes[kind]
		v := r.Bytes(n)
		if r.Short() || !known || size != 0 && n != size || n&3 != 0 || !sound(kind, v) {
			return false
		}
		proved = proved || proof == kind
	}
	return proved
}

// sound reports whether the value of an attribute has the fixed bits that RFC 3489 gives it.
func sound(kind uint16, v []byte) bool {
	switch kind {
	case attrChangeRequest:
		return binary.BigEndian.Uint32(v)&^6 == 0
	case attrError:
		return len(v) >= 4 && v[0] == 0 && v[1] == 0 && v[2] > 0 && v[2] <= 6 && v[3] < 100
	case attrUsername, 0x0007, attrIntegrity, 0x000A, attrSoftware:
		return true
	}
	return v[0] == 0 && v[1] == 1 // an address of IPv4
}
