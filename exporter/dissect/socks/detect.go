package socks

import (
	"encoding/binary"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// detect accepts only whole messages. All are short, so other protocols may have the same bytes.
func detect(dir dissect.Dir, head []byte) dissect.Verdict {
	switch {
	case len(head) == 0:
		return dissect.More
	case dir == dissect.ToClient:
		return detectReply(head)
	case head[0] == 5:
		port, whole := message(head)
		if greeting(head) > 0 || whole && head[1] == connect && port > 0 { // other commands look like replies
			return dissect.Likely
		}
		if len(head) < 4 && mayGreet(head) {
			return dissect.More
		}
	case head[0] == 4:
		return detect4(head)
	}
	return dissect.No
}

// detectReply accepts a reply of SOCKS 5. The two bytes that choose an authentication, and a reply of
// SOCKS 4, are not enough without the client's.
func detectReply(head []byte) dissect.Verdict {
	_, whole := message(head)
	switch {
	case whole && head[0] == 5 && (head[1] == 0 || head[1] > associate && head[1] <= 8): // others look like requests
		return dissect.Likely
	case len(head) <= 2 && head[0] == 5 && (len(head) == 1 || kinds[head[1]] != "" || head[1] == authNothing),
		len(head) == 8 && head[0] == 0 && head[1] >= 90 && head[1] <= 93:
		return dissect.More
	}
	return dissect.No
}

// message reports whether b is exactly one request or reply of SOCKS 5, and its port.
func message(b []byte) (port uint16, whole bool) {
	_, port, n, err := address(b)
	return port, err == nil && n > 0 && n == len(b) && (b[3] != typeName || clip.Printable(b[5:n-2]))
}

// detect4 accepts a request of SOCKS 4 or 4A that ends with its last text.
func detect4(head []byte) dissect.Verdict {
	k := conn{row: &Row{}}
	if len(head) < 9 || binary.BigEndian.Uint16(head[2:]) == 0 {
		if len(head) < 9 && (len(head) < 2 || commands[head[1]] != "" && head[1] != associate) {
			return dissect.More
		}
		return dissect.No
	}
	n, err := k.request4(head)
	switch {
	case err != nil, n > 0 && n != len(head):
		return dissect.No
	case n == 0:
		return dissect.More
	}
	return dissect.Likely
}
