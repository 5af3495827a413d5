package rdp

import (
	"encoding/binary"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// detect accepts a request with a cookie or a negotiation, a confirm with a negotiation, and an MCS connect.
// Other protocols on X.224 have parameters instead.
func detect(dir dissect.Dir, head []byte) dissect.Verdict {
	n, v := whole(dir, head)
	if v != dissect.Yes {
		return v
	}
	b := head[:n]
	switch {
	case b[5] == request:
		q, err := parseRequest(b)
		if dir == dissect.ToServer && err == nil && n == len(head) && (q.cookie != nil || q.negotiate) {
			return dissect.Yes
		}
	case b[5] == confirm:
		kind, _, err := parseConfirm(b)
		if dir == dissect.ToClient && err == nil && kind != 0 {
			return dissect.Yes
		}
	case len(b) > mcsSize+2 && b[mcsSize] == 0x7f && b[mcsSize+1] == mcsTags[dir]:
		return dissect.Yes
	}
	return dissect.No
}

// detectOnPort also accepts a request and a confirm without a negotiation.
func detectOnPort(dir dissect.Dir, head []byte) dissect.Verdict {
	n, v := whole(dir, head)
	if v != dissect.Yes {
		return dissect.No
	}
	if _, err := parseRequest(head[:n]); dir == dissect.ToServer && err == nil {
		return dissect.Yes
	}
	if _, _, err := parseConfirm(head[:n]); dir == dissect.ToClient && err == nil {
		return dissect.Yes
	}
	return dissect.No
}

// whole is the size of the TPKT at the start of head. The verdict is Yes if it is complete, of a plausible
// size and of a kind that begins a connection.
func whole(dir dissect.Dir, b []byte) (n int, v dissect.Verdict) {
	for i, want := range [...]string{"\x03", "\x00"} {
		if i < len(b) && b[i] != want[0] {
			return 0, dissect.No
		}
	}
	if len(b) < 6 {
		if len(b) > 4 && b[4] != dataHead[0] && b[4] < x224Size-1 {
			return 0, dissect.No
		}
		return 0, dissect.More
	}
	n = int(binary.BigEndian.Uint16(b[2:]))
	kind := byte(request)
	if dir == dissect.ToClient {
		kind = confirm
	}
	switch {
	case b[5] == kind && n == tpktSize+1+int(b[4]) && b[4] >= x224Size-1:
	case b[4] == dataHead[0] && b[5] == dataHead[1] && n > mcsSize+2:
		if len(b) > 6 && b[6] != dataHead[2] || len(b) > 7 && b[7] != 0x7f || len(b) > 8 && b[8] != mcsTags[dir] {
			return 0, dissect.No
		}
	default:
		return 0, dissect.No
	}
	if len(b) < n {
		return n, dissect.More
	}
	return n, dissect.Yes
}
