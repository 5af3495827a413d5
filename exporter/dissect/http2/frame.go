package http2

import (
	"encoding/binary"
	"strconv"
)

// Frame types, RFC 9113 section 6, and extensions in use.
const (
	frameData           = 0x0
	frameHeaders        = 0x1
	framePriority       = 0x2
	frameRSTStream      = 0x3
	frameSettings       = 0x4
	framePushPromise    = 0x5
	framePing           = 0x6
	frameGoAway         = 0x7
	frameWindowUpdate   = 0x8
	frameContinuation   = 0x9
	frameAltSvc         = 0xa  // RFC 7838
	frameOrigin         = 0xc  // RFC 8336
	framePriorityUpdate = 0x10 // RFC 9218
)

// Frame flags.
const (
	flagEndStream  = 0x01
	flagAck        = 0x01
	flagEndHeaders = 0x04
	flagPadded     = 0x08
	flagPriority   = 0x20
)

// Settings that matter to an observer, RFC 9113 section 6.5.2.
const (
	settingTableSize = 1
	settingMaxFrame  = 5
)

const (
	preface       = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	frameHead     = 9
	defaultFrame  = 16384
	largestFrame  = 1<<24 - 1
	maxHeaderList = 256 << 10 // bytes of one header block on the wire
)

// frame is a frame's first nine bytes, RFC 9113 section 4.1.
type frame struct {
	size   int
	typ    uint8
	flags  uint8
	stream uint32
}

// parseFrame reads the head of a frame; b has at least frameHead bytes. The reserved bit
// is ignored, as a receiver must.
func parseFrame(b []byte) frame {
	return frame{
		size:   int(b[0])<<16 | int(b[1])<<8 | int(b[2]),
		typ:    b[3],
		flags:  b[4],
		stream: binary.BigEndian.Uint32(b[5:]) & (1<<31 - 1),
	}
}

func (f *frame) has(flag uint8) bool { return f.flags&flag != 0 }

// legal reports whether a frame's length and stream are valid for its type. It does not check
// the limit that the peers agreed on.
func (f *frame) legal() bool {
	onStream := f.stream != 0
	switch f.typ {
	case frameData:
		return onStream && (!f.has(flagPadded) || f.size >= 1)
	case frameHeaders:
		return onStream && f.size >= f.before()
	case framePriority:
		return onStream && f.size == 5
	case frameRSTStream:
		return onStream && f.size == 4
	case frameSettings:
		return !onStream && f.size%6 == 0 && (!f.has(flagAck) || f.size == 0)
	case framePushPromise:
		return onStream && f.size >= f.before()
	case framePing:
		return !onStream && f.size == 8
	case frameGoAway:
		return !onStream && f.size >= 8
	case frameWindowUpdate:
		return f.size == 4
	case frameContinuation:
		return onStream
	}
	return true
}

// before is the number of payload bytes before the data or header fragment.
func (f *frame) before() (n int) {
	if f.has(flagPadded) {
		n++
	}
	switch {
	case f.typ == frameHeaders && f.has(flagPriority):
		n += 5
	case f.typ == framePushPromise:
		n += 4
	}
	return n
}

// known reports whether the type defines the payload, or is reserved to test the tolerance of
// receivers (0x0b + 31·n).
func (f *frame) known() bool {
	switch f.typ {
	case frameAltSvc, frameOrigin, framePriorityUpdate:
		return true
	}
	return f.typ <= frameContinuation || f.typ%31 == 0x0b
}

// errorNames are the codes of RFC 9113 section 7, in order.
var errorNames = [...]string{"NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT",
	"STREAM_CLOSED", "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR",
	"ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED"}

// errorName is the name of an error code; the name of an unknown one is its number.
func errorName(code uint32) string {
	if int64(code) < int64(len(errorNames)) {
		return errorNames[code]
	}
	return "0x" + strconv.FormatUint(uint64(code), 16)
}
