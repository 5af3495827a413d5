package nfs

import (
	"encoding/binary"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// detect accepts a call of a known program with its credentials, and the head of a reply.
func detect(dir dissect.Dir, b []byte) dissect.Verdict {
	if len(b) == 0 {
		return dissect.More
	}
	// A datagram has no mark: the type of its message is at the place of the number behind a mark.
	if v := detectMessage(dir, b, int64(len(b))); v == dissect.Yes || v == dissect.Likely {
		return v
	}
	if len(b) < mark {
		return dissect.More
	}
	size := int64(binary.BigEndian.Uint32(b) &^ last)
	if size < least || size > 4<<20 {
		return dissect.No
	}
	return detectMessage(dir, b[mark:], size)
}

// detectMessage looks at a message of a size; b is its beginning.
func detectMessage(dir dissect.Dir, b []byte, size int64) dissect.Verdict {
	if int64(len(b)) > size {
		b = b[:size]
	}
	field := func(i int) int64 {
		if 4*i+4 > len(b) {
			return -1
		}
		return int64(binary.BigEndian.Uint32(b[4*i:]))
	}
	want := int64(0)
	if dir == dissect.ToClient {
		want = 1
	}
	switch kind := field(1); {
	case kind < 0 && size > int64(len(b)):
		return dissect.More
	case kind != want:
		return dissect.No
	case dir == dissect.ToServer:
		return detectCall(b, size, field)
	}
	return detectReply(b, size, field)
}

// detectCall looks at the fields of a call.
func detectCall(b []byte, size int64, field func(int) int64) dissect.Verdict {
	if v := field(2); v >= 0 && v != 2 {
		return dissect.No
	}
	flavor, length := field(6), field(7)
	switch {
	case size < 40:
		return dissect.No
	case length < 0 && size > int64(len(b)):
		return dissect.More
	case length < 0 || !isProgram(field(3), field(4), field(5)) || tables()["auth"][flavor] == "" || length > maxCredentials || length&3 != 0 || 40+length > size || flavor == 0 && length != 0:
		return dissect.No
	}
	return dissect.Yes
}

// maxFirst is the highest first number of a result of our programs: a status, a boolean, a port or the
// length of a cookie.
const maxFirst = 1<<16 - 1

// detectReply looks at the fields of a reply.
func detectReply(b []byte, size int64, field func(int) int64) dissect.Verdict {
	state, flavor, length := field(2), field(3), field(4)
	switch {
	case state < 0 && size > int64(len(b)):
		return dissect.More
	case state == 1: // denied: AUTH_ERROR or RPC_MISMATCH
		return dissect.Likely.If(flavor == 1 && size == 20 && length >= 0 && length <= 14 || flavor == 0 && size == 24)
	case length < 0 && size > int64(len(b)):
		return dissect.More
	case state != 0 || tables()["auth"][flavor] == "" || length < 0 || length > maxCredentials || length&3 != 0 || 24+length > size || flavor == 0 && length != 0:
		return dissect.No
	}
	at := 5 + int(length/4)
	if status := field(at); status > 5 || status == 0 && field(at+1) > maxFirst {
		return dissect.No
	}
	return dissect.Likely
}
