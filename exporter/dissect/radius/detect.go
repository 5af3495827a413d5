package radius

import (
	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// detect requires a message that fills the datagram, from the side that sends it, with valid sizes of attributes. Without an attribute, only the port distinguishes it from other bytes.
func detect(dir dissect.Dir, b []byte) dissect.Verdict {
	if len(b) == headSize || !valid(dir, b) {
		return dissect.No
	}
	return dissect.Likely
}

// detectOnPort accepts messages without attributes, such as the response to an accounting request.
func detectOnPort(dir dissect.Dir, b []byte) dissect.Verdict {
	if !valid(dir, b) {
		return dissect.No
	}
	return dissect.Likely
}

func valid(dir dissect.Dir, b []byte) bool {
	if len(b) < headSize || len(b) > maxSize || tables()["code"][int64(b[0])] == "" || int(b[2])<<8|int(b[3]) != len(b) || (answers[b[0]] != nil) != (dir == dissect.ToServer) {
		return false
	}
	for rest := b[headSize:]; len(rest) > 0; rest = rest[rest[1]:] {
		if len(rest) < 2 || int(rest[1]) > len(rest) || !sized(rest[0], int(rest[1])-2) {
			return false
		}
	}
	return true
}

// sized reports whether the value of an attribute can have n bytes.
func sized(kind uint8, n int) bool {
	switch {
	case tables()["attribute"][int64(kind)] == "" && kind < 192: // from 192 on, numbers are for experiments
		return false
	case tables()["four"][int64(kind)] != "":
		return n == 4
	}
	switch kind {
	case atPassword: // RFC 2865 section 5.2
		return n >= 16 && n <= 128 && n%16 == 0
	case atCHAP:
		return n == 17
	case atAuthenticator, atNASIPv6:
		return n == 16
	case atVendor:
		return n >= 4
	}
	return n >= 1
}
