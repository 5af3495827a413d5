package http2

import (
	"encoding/binary"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/hpack"
)

// Limits of detection.
const (
	maxDetect = 24 << 10 // bytes of an unfinished first frame to wait for
	maxChain  = 64       // frames examined
)

// detect recognizes HTTP/2 by the client's preface and by a server's first SETTINGS. In
// mid-connection it is likely if two frames follow each other, or if one frame with a complete
// header block ends exactly at the end of the segment.
//
// LIMIT: frames longer than the default of 16 KiB are not recognized here, so the search after a
// gap waits for a segment that begins with a shorter frame.
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
		if mayBeSettings(head) {
			return dissect.More
		}
		return dissect.No
	}
	f := parseFrame(head)
	if !f.likely(head, dir, f.stream) {
		return dissect.No
	}
	if f.typ == frameSettings && !f.has(flagAck) {
		return detectSettings(dir, f, head)
	}
	if len(head) == frameHead+f.size && !(f.typ == frameHeaders && f.has(flagEndHeaders)) {
		return dissect.More // the length alone proves little
	}
	return chain(dir, f, head)
}

// resume is detect for a connection that is already known to be HTTP/2: one frame that ends with
// the segment is enough.
func resume(dir dissect.Dir, head []byte) dissect.Verdict {
	if len(head) >= frameHead {
		if f := parseFrame(head); f.likely(head, dir, f.stream) && len(head) == frameHead+f.size {
			return dissect.Likely
		}
	}
	return detect(dir, head)
}

// mayBeSettings reports whether a few bytes can be the start of a side's first SETTINGS frame.
func mayBeSettings(b []byte) bool {
	const shape = "\x00\x00?\x04\x00\x00\x00\x00\x00"
	for i, c := range b {
		if i == 2 && (c%6 != 0 || c > 96) || i != 2 && c != shape[i] {
			return false
		}
	}
	return len(b) > 0
}

// detectSettings examines SETTINGS as the first frame. Both sides send it, the client after its preface, which
// may have been before the capture. So the first header block decides.
func detectSettings(dir dissect.Dir, f frame, head []byte) dissect.Verdict {
	for range maxChain {
		next := frameHead + f.size
		if len(head) < next+frameHead {
			return dissect.More
		}
		head = head[next:]
		switch f = parseFrame(head); {
		case !f.likely(head, dir, 0):
			return dissect.No
		case f.typ != frameHeaders:
		case len(head) <= frameHead+f.before():
			return dissect.More
		case dir == dissect.ToServer:
			return dissect.Likely // without a preface
		default:
			return dissect.Yes
		}
	}
	return dissect.No
}

// maxStream is the largest id of a stream that one frame proves: few connections reach it, and random bytes mostly do.
const maxStream = 1 << 24

// chain examines the frames after the first: all present frames must be likely, and the last may
// be incomplete if another one precedes it. Streams above maxStream need two frames that agree.
func chain(dir dissect.Dir, f frame, head []byte) dissect.Verdict {
	near, high := f.stream, 0
	for n := 1; ; n++ {
		if f.stream > maxStream {
			high++
		}
		next := frameHead + f.size
		switch {
		case len(head) == next && high == 1 && len(head) < maxDetect:
			return dissect.More
		case len(head) < next && n == 1 && len(head) < maxDetect && (f.typ == frameData || f.typ == frameHeaders):
			return dissect.More
		case len(head) != next && len(head) < next+frameHead && n == 1, len(head) < next+frameHead && high == 1:
			return dissect.No
		case len(head) < next+frameHead, n > maxChain:
			return dissect.Likely
		}
		head = head[next:]
		if f = parseFrame(head); near == 0 {
			near = f.stream
		}
		if !f.likely(head, dir, near) {
			return dissect.No
		}
	}
}

// likely reports whether b begins with a frame that this side may send: of a known type, with
// flags of that type, on a stream that the side may use and that is low or near another one, not too
// long, and with header blocks of the right direction.
func (f *frame) likely(b []byte, dir dissect.Dir, near uint32) bool {
	const window = 1 << 12 // streams that are open together are rarely further apart
	if f.stream > maxStream && max(f.stream, near)-min(f.stream, near) > window {
		return false
	}
	if f.size > defaultFrame || b[5]&0x80 != 0 || !f.legal() {
		return false
	}
	body := b[frameHead:]
	body = body[:min(len(body), f.size)]
	flags, ok := uint8(0), true
	switch f.typ {
	case frameData:
		flags, ok = flagEndStream|flagPadded, f.sentBy(dir) && f.padded(body)
	case frameHeaders:
		flags, ok = flagEndStream|flagEndHeaders|flagPadded|flagPriority, f.sentBy(dir) && f.padded(body) && f.likelyHeaders(body, dir)
	case frameSettings:
		flags, ok = flagAck, likelySettings(body)
	case framePing:
		flags = flagAck
	case framePushPromise: // RFC 9113 section 6.6: on a stream that the client opened
		flags, ok = flagEndHeaders|flagPadded, dir == dissect.ToClient && f.stream&1 == 1 && f.padded(body)
	case frameContinuation:
		flags, ok = flagEndHeaders, f.sentBy(dir) && f.size > 0
	case frameWindowUpdate:
		ok = len(body) < 4 || binary.BigEndian.Uint32(body)&(1<<31-1) != 0
	case framePriority:
	case frameRSTStream:
		ok = len(body) < 4 || binary.BigEndian.Uint32(body) < uint32(len(errorNames))
	case frameGoAway:
		ok = len(body) < 8 || binary.BigEndian.Uint32(body[4:]) < uint32(len(errorNames))
	default:
		ok = f.likelyExtension(body, dir)
	}
	return ok && f.flags&^flags == 0
}

// sentBy reports whether a side may send data or headers on the stream, RFC 9113 section
// 5.1.1: the client on those that it opened, which are odd.
func (f *frame) sentBy(dir dissect.Dir) bool { return f.stream&1 == 1 || dir == dissect.ToClient }

// padded reports whether padding leaves room for the fields before it, RFC 9113 section 6.1.
func (f *frame) padded(body []byte) bool {
	return !f.has(flagPadded) || len(body) == 0 || int(body[0])+f.before() <= f.size
}

// likelyExtension examines the frames of RFC 7838 section 4, RFC 8336 section 2.1 and RFC 9218
// section 7.1. Servers send the first two; clients send the last, on stream 0.
func (f *frame) likelyExtension(body []byte, dir dissect.Dir) bool {
	switch f.typ {
	case frameAltSvc:
		if dir == dissect.ToServer || f.size < 2 {
			return false
		}
		return len(body) < 2 || (binary.BigEndian.Uint16(body) == 0) == (f.stream != 0) && int(binary.BigEndian.Uint16(body)) <= f.size-2
	case frameOrigin:
		if dir == dissect.ToServer || f.stream != 0 {
			return false
		}
		return f.size == 0 || f.size > 2 && (len(body) < 2 || int(binary.BigEndian.Uint16(body)) <= f.size-2)
	case framePriorityUpdate:
		if dir == dissect.ToClient || f.stream != 0 || f.size < 4 {
			return false
		}
		for _, c := range body[min(4, len(body)):] {
			if c < ' ' || c > '~' {
				return false
			}
		}
		return len(body) < 4 || binary.BigEndian.Uint32(body)&(1<<31-1) != 0
	}
	return false
}

// likelyHeaders examines the available part of a HEADERS frame's block.
func (f *frame) likelyHeaders(body []byte, dir dissect.Dir) bool {
	n := f.before()
	if f.size == n {
		return false
	}
	if len(body) <= n {
		return true
	}
	if !likelyBlock(body[n:], dir) {
		return false
	}
	if len(body) < f.size || !f.has(flagEndHeaders) {
		return true
	}
	end := len(body)
	if f.has(flagPadded) {
		end -= int(body[0])
	}
	return end > n && hpack.WellFormed(body[n:end])
}

func likelySettings(body []byte) bool {
	for ; len(body) >= 6; body = body[6:] {
		if !likelySetting(binary.BigEndian.Uint16(body), binary.BigEndian.Uint32(body[2:])) {
			return false
		}
	}
	return true
}

// likelySetting accepts the registered settings and the reserved ones (0x?a?a).
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

// likelyBlock examines the first field of a header block if it is in the static table: a request
// does not begin with :status, nor a response with a request's pseudo header.
func likelyBlock(b []byte, dir dissect.Dir) bool {
	const dynamic, long = 62, 0x7f // first index of the dynamic table; an index that takes more bytes
	for len(b) > 1 && b[0] >= 0x80|dynamic && b[0] != 0x80|long {
		b = b[1:]
	}
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
