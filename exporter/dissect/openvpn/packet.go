package openvpn

import (
	"encoding/binary"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// Opcodes, the upper 5 bits of the first byte.
const (
	hardResetClientV1 = 1
	hardResetServerV1 = 2
	softReset         = 3
	control           = 4
	ack               = 5
	dataV1            = 6
	hardResetClientV2 = 7
	hardResetServerV2 = 8
	dataV2            = 9
	hardResetClientV3 = 10
	controlWKC        = 11
)

var opNames = [32]string{hardResetClientV1: "P_CONTROL_HARD_RESET_CLIENT_V1", hardResetServerV1: "P_CONTROL_HARD_RESET_SERVER_V1", softReset: "P_CONTROL_SOFT_RESET_V1",
	control: "P_CONTROL_V1", ack: "P_ACK_V1", dataV1: "P_DATA_V1", hardResetClientV2: "P_CONTROL_HARD_RESET_CLIENT_V2", hardResetServerV2: "P_CONTROL_HARD_RESET_SERVER_V2",
	dataV2: "P_DATA_V2", hardResetClientV3: "P_CONTROL_HARD_RESET_CLIENT_V3", controlWKC: "P_CONTROL_WKC_V1"}

func isHardReset(op byte) bool {
	return op == hardResetClientV1 || op == hardResetServerV1 || op == hardResetClientV2 || op == hardResetServerV2 || op == hardResetClientV3
}

// Sizes in bytes.
const (
	idSize    = 8                               // of a session id
	replay    = 8                               // packet id and time of tls-auth and tls-crypt
	cryptHMAC = 32                              // tag of tls-crypt
	askSize   = 1 + idSize + 1 + 4              // first packet: no acknowledgement, packet id
	replySize = 1 + idSize + 1 + 4 + idSize + 4 // server's first packet: one acknowledgement, the client's session
	maxWKC    = 1024                            // wrapped client key of tls-crypt-v2
	firstID   = 1                               // packet id of tls-auth and tls-crypt
	earlyID   = 0x0f000001                      // the same, if early negotiation is possible
	since2001 = 1_000_000_000                   // times in packets are after it
	cryptAsk  = askSize + replay + cryptHMAC
	maxAcks   = 8
)

// format is how control packets are protected.
type format int

const (
	unknown   format = 0
	plain     format = -1
	crypted   format = -2
	cryptedV2 format = -3
	// A positive format is tls-auth with an HMAC of that many bytes.
)

// String is the value of column openvpn_protection.
func (f format) String() string {
	switch {
	case f == plain:
		return "none"
	case f == crypted:
		return "tls-crypt"
	case f == cryptedV2:
		return "tls-crypt-v2"
	case f > 0:
		return "tls-auth"
	}
	return ""
}

// hmacs are the sizes of HMACs: MD5, SHA-1, SHA-224, SHA-256, SHA-384, SHA-512.
var hmacs = [...]int{16, 20, 28, 32, 48, 64}

// formatOf is the format of a hard reset, which begins a session. ok is false if it is not one.
func formatOf(op byte, b []byte) (f format, ok bool) {
	if b[0]&7 != 0 || len(b) < askSize || [idSize]byte(b[1:]) == [idSize]byte{} {
		return unknown, false
	}
	size := askSize
	if op == hardResetServerV1 || op == hardResetServerV2 {
		size = replySize
	}
	switch {
	case op == hardResetClientV3: // the length of the wrapped key is at its end
		wkc := int(binary.BigEndian.Uint16(b[len(b)-2:]))
		return cryptedV2, len(b) == cryptAsk+wkc && wkc > cryptHMAC && wkc <= maxWKC && isReplay(b[1+idSize:])
	case len(b) == size && isFirst(b[1+idSize:], size):
		return plain, true
	case len(b) >= size+replay+cryptHMAC && len(b) <= size+replay+cryptHMAC+maxAcks && isReplay(b[1+idSize:]):
		return crypted, true // the server may add what it negotiates early
	}
	for _, n := range hmacs {
		if at := 1 + idSize + n; len(b) == size+n+replay && isReplay(b[at:]) && isFirst(b[at+replay:], size) {
			return format(n), true
		}
	}
	return unknown, false
}

// isFirst reports whether b is the rest of a packet with id 0 that acknowledges nothing, or packet 0 if it
// is the server's.
func isFirst(b []byte, size int) bool {
	if size == askSize {
		return string(b) == "\x00\x00\x00\x00\x00"
	}
	return b[0] == 1 && binary.BigEndian.Uint32(b[1:]) == 0 && [idSize]byte(b[5:]) != [idSize]byte{} && binary.BigEndian.Uint32(b[5+idSize:]) == 0
}

// isReplay reports whether b begins with the first packet id and a plausible time.
func isReplay(b []byte) bool {
	id, at := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	return (id == firstID || id == earlyID) && at >= since2001
}

// remoteOf is the session of the other side in a server's reset without protection.
func remoteOf(b []byte) [idSize]byte { return [idSize]byte(b[1+idSize+1+4:]) }

// message is a control packet.
type message struct {
	id uint32
	at int // of its content
}

// parseControl reads a control packet that is not encrypted.
func parseControl(op byte, f format, b []byte) (m message, ok bool) {
	at := 1 + idSize
	if f > 0 {
		at += int(f) + replay
	}
	if len(b) <= at {
		return m, false
	}
	if n := int(b[at]); n > maxAcks {
		return m, false
	} else if at++; n > 0 {
		at += 4*n + idSize
	}
	if op != ack {
		at += 4
	}
	if len(b) < at {
		return m, false
	}
	if op != ack {
		m.id = binary.BigEndian.Uint32(b[at-4:])
	}
	m.at = at
	return m, true
}

// detect accepts the first packet of each side. Only the server's without protection names the session of
// the other side.
func detect(dir dissect.Dir, head []byte) dissect.Verdict {
	b := head
	if len(b) > 2 && b[0] < 8 { // in a stream, a length comes first
		n := int(binary.BigEndian.Uint16(b))
		if n < askSize || n > cryptAsk+maxWKC || opNames[b[2]>>3] == "" || b[2]&7 != 0 || !isHardReset(b[2]>>3) {
			return dissect.No
		}
		if len(b) < 2+n {
			return dissect.More
		}
		if len(b) > 2+n {
			return dissect.No
		}
		b = b[2:]
	} else if len(b) > 0 && len(b) <= 2 && b[0] < 8 {
		return dissect.More
	}
	if len(b) < askSize {
		return dissect.No
	}
	op := b[0] >> 3
	server := op == hardResetServerV1 || op == hardResetServerV2
	f, ok := unknown, false
	if isHardReset(op) {
		f, ok = formatOf(op, b)
	}
	switch {
	case !ok || server != (dir == dissect.ToClient):
		return dissect.No
	case f == plain && server, f == cryptedV2:
		return dissect.Yes
	}
	return dissect.Likely
}

// resume accepts a whole packet in a stream, after a gap.
func resume(_ dissect.Dir, head []byte) dissect.Verdict {
	if len(head) < 2+1+idSize {
		return dissect.No
	}
	n := 2 + int(binary.BigEndian.Uint16(head))
	if opNames[head[2]>>3] == "" || n < 2+1+idSize || n != len(head) {
		return dissect.No
	}
	return dissect.Likely
}
