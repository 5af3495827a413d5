package smb

import (
	"encoding/binary"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// detect accepts the head of a message of SMB with the flag of that side, and what opens a session of
// NetBIOS.
func detect(dir dissect.Dir, b []byte) dissect.Verdict {
	if len(b) == 0 {
		return dissect.More
	}
	switch b[0] {
	case 0:
		return detectMessage(dir, b)
	case 0x81:
		if dir == dissect.ToServer {
			return detectSession(b)
		}
	case 0x82, 0x83:
		size := int(b[0] - 0x82)
		switch {
		case dir == dissect.ToServer || len(b) > frameHead+size && b[0] == 0x83:
			return dissect.No
		case len(b) < frameHead+size:
			return dissect.More
		case b[1] == 0 && b[2] == 0 && int(b[3]) == size && (size == 0 || b[4]&0x80 != 0):
			return dissect.Likely
		}
	}
	return dissect.No
}

func detectMessage(dir dissect.Dir, b []byte) dissect.Verdict {
	const enough = frameHead + 18
	for i, want := range []byte("SMB") {
		if at := frameHead + 1 + i; at < len(b) && b[at] != want {
			return dissect.No
		}
	}
	if len(b) < frameHead+4 {
		return dissect.More
	}
	size := int64(binary.BigEndian.Uint32(b))
	m := b[frameHead:]
	if len(b) < enough {
		if m[0] < 0xfc || int64(len(m)) > size {
			return dissect.No
		}
		return dissect.More
	}
	switch string(m[:4]) {
	case magic1:
		if size >= head1+3 && tables()["command1"][int64(m[4])] != "" && (m[9]&0x80 != 0) == (dir == dissect.ToClient) {
			return dissect.Yes
		}
	case magic2:
		if size >= head2+2 && binary.LittleEndian.Uint16(m[4:]) == head2 && binary.LittleEndian.Uint16(m[12:]) <= 0x12 && (m[16]&1 != 0) == (dir == dissect.ToClient) {
			return dissect.Yes
		}
	case encrypted:
		if size >= 52+head2+2 {
			return dissect.Yes
		}
	case compressed:
		if size >= 16 {
			return dissect.Yes
		}
	}
	return dissect.No
}

// detectSession accepts two names of NetBIOS, RFC 1002 section 4.3.2.
func detectSession(b []byte) dissect.Verdict {
	for i, c := range b[:min(len(b), 72)] {
		ok := true
		switch i {
		case 0:
		case 1, 2:
			ok = c == 0
		case 3:
			ok = c == 68
		case 4, 38:
			ok = c == 32
		case 37, 71:
			ok = c == 0
		default:
			ok = c >= 'A' && c <= 'P'
		}
		if !ok {
			return dissect.No
		}
	}
	if len(b) < 72 {
		return dissect.More
	}
	return dissect.Yes
}
