package http2

import (
	"encoding/binary"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// maxDetect is how many bytes Detect waits for while a first frame goes on.
const maxDetect = 24 << 10

// detect tells HTTP/2 by the client's preface, by a server's first SETTINGS, and in
// mid-connection by frames that follow each other: two that are likely, or one that ends
// exactly where the segment does.
//
// LIMIT: frames longer than the default of 16 KiB are not recognised here, so the search
// after a gap waits for a segment that begins with a shorter one.
func detect(dir dissect.Dir, head []byte) dissect.Verdict {
	if dir == dissect.ToServer {
		n := min(len(head), len(preface))
		if n > 0 && string(head[:n]) == preface[:n] {
			if n == len(preface) {
				return dissect.Yes
			}
			return dissect.More
		}
	}
	if len(head) < frameHead {
		if dir == dissect.ToClient && mayBeSettings(head) {
			return dissect.More
		}
		return dissect.No
	}
	f := parseFrame(head)
	if !f.likely(head, dir) {
		return dissect.No
	}
	if f.typ == frameSettings && !f.has(flagAck) {
		return detectSettings(dir, f, head)
	}
	return chain(dir, f, head)
}

// mayBeSettings reports whether a few bytes can begin a server's first SETTINGS frame.
func mayBeSettings(b []byte) bool {
	const shape = "\x00\x00?\x04\x00\x00\x00\x00\x00"
	for i, c := range b {
		if i == 2 && (c%6 != 0 || c > 96) || i != 2 && c != shape[i] {
			return false
		}
	}
	return len(b) > 0
}

// detectSettings judges SETTINGS as the first frame. The client's come after its preface,
// so here they are the server's; that also shows a server taken for the client.
func detectSettings(dir dissect.Dir, f frame, head []byte) dissect.Verdict {
	if dir == dissect.ToServer {
		return dissect.No
	}
	next := frameHead + f.size
	if len(head) < next {
		return dissect.More
	}
	if f.size > 0 {
		return dissect.Yes
	}
	if len(head) < next+frameHead {
		return dissect.More // empty SETTINGS are nine bytes that are almost all zeros
	}
	return chain(dir, f, head)
}

// chain looks for a second frame behind the first.
func chain(dir dissect.Dir, f frame, head []byte) dissect.Verdict {
	next := frameHead + f.size
	switch {
	case len(head) == next:
		return dissect.Yes
	case len(head) < next && len(head) < maxDetect && (f.typ == frameData || f.typ == frameHeaders):
		return dissect.More
	case len(head) < next+frameHead:
		return dissect.No
	}
	g := parseFrame(head[next:])
	if g.likely(head[next:], dir) {
		return dissect.Yes
	}
	return dissect.No
}

// likely reports whether b begins with a frame as peers send them: of a known type with
// the flags that it has, not too long, and with header blocks of the right direction.
func (f *frame) likely(b []byte, dir dissect.Dir) bool {
	const maxStream = 1 << 24 // few connections get that far; random bytes mostly do
	if f.size > defaultFrame || f.stream > maxStream || b[5]&0x80 != 0 || !f.legal() {
		return false
	}
	var flags uint8
	body := b[frameHead:]
	switch f.typ {
	case frameData:
		flags = flagEndStream | flagPadded
	case frameHeaders:
		flags = flagEndStream | flagEndHeaders | flagPadded | flagPriority
		if n := f.before(); f.size == n || len(body) > n && !likelyBlock(body[n:], dir) {
			return false
		}
	case frameSettings:
		flags = flagAck
		for i := 0; i+6 <= min(f.size, len(body)); i += 6 {
			if !likelySetting(binary.BigEndian.Uint16(body[i:]), binary.BigEndian.Uint32(body[i+2:])) {
				return false
			}
		}
	case framePing:
		flags = flagAck
	case framePushPromise:
		if dir == dissect.ToServer {
			return false
		}
		flags = flagEndHeaders | flagPadded
	case frameContinuation:
		flags = flagEndHeaders
	case frameWindowUpdate:
		if len(body) >= 4 && binary.BigEndian.Uint32(body)&(1<<31-1) == 0 {
			return false
		}
	case framePriority, frameRSTStream, frameGoAway, frameAltSvc, frameOrigin, framePriorityUpdate:
	default:
		return false
	}
	return f.flags&^flags == 0
}

// likelySetting knows the registered settings and those that senders make up (0x?a?a).
func likelySetting(id uint16, v uint32) bool {
	switch id {
	case 2, 8: // ENABLE_PUSH, ENABLE_CONNECT_PROTOCOL
		return v <= 1
	case 4: // INITIAL_WINDOW_SIZE
		return v < 1<<31
	case settingMaxFrame:
		return v >= defaultFrame && v <= largestFrame
	case settingTableSize, 3, 6, 9, 16: // …, MAX_CONCURRENT_STREAMS, MAX_HEADER_LIST_SIZE, NO_RFC7540_PRIORITIES, METADATA
		return true
	}
	return id&0x0f0f == 0x0a0a || id >= 0xf000
}

// likelyBlock looks at the first field of a header block: a request does not begin with
// :status, nor a response with a request's pseudo header.
func likelyBlock(b []byte, dir dissect.Dir) bool {
	index := 0
	switch c := b[0]; {
	case c&0x80 != 0:
		if index = int(c & 0x7f); index == 0 {
			return false
		}
	case c&0xc0 == 0x40:
		index = int(c & 0x3f)
	case c&0xe0 == 0x20:
		return true // a table size update comes first
	default:
		index = int(c & 0x0f)
	}
	request := index >= 1 && index <= 7
	response := index >= 8 && index <= 14
	return !(request && dir == dissect.ToClient) && !(response && dir == dissect.ToServer)
}
