package http3

import (
	"encoding/binary"
	"strconv"
)

// Frame types, RFC 9114 section 7.2, and extensions in use.
const (
	frameData            = 0x00
	frameHeaders         = 0x01
	frameCancelPush      = 0x03
	frameSettings        = 0x04
	framePushPromise     = 0x05
	frameGoAway          = 0x07
	frameOrigin          = 0x0c // RFC 9412
	frameMaxPushID       = 0x0d
	frameSession         = 0x41 // WebTransport: not a frame, the rest of the stream belongs to a session
	framePriorityRequest = 0xf0700
	framePriorityPush    = 0xf0701
)

// Types of unidirectional streams, RFC 9114 section 6.2 and RFC 9204 section 4.2.
const (
	streamControl = 0x00
	streamPush    = 0x01
	streamEncoder = 0x02
	streamDecoder = 0x03
	streamSession = 0x54 // WebTransport
)

// Settings that matter to an observer: RFC 9204 section 5, and the names for the number of
// sessions in the drafts of WebTransport over HTTP/3.
const (
	settingTableCapacity = 0x01
	settingSessionsOld   = 0x2b603742
	settingSessionsDraft = 0xc671706a
	settingSessions      = 0x14e9cd29
)

const (
	maxHeaderList = 256 << 10 // bytes of one header section on the wire
	maxControl    = 16 << 10  // bytes of a frame on a control stream
)

// frame is a frame's type and length, RFC 9114 section 7.1.
type frame struct {
	typ  int64
	size int64
	head int // bytes of type and length
}

// varint reads an integer, RFC 9000 section 16; n is 0 if the integer is incomplete.
func varint(p []byte) (v int64, n int) {
	if len(p) == 0 {
		return 0, 0
	}
	n = 1 << (p[0] >> 6)
	if len(p) < n {
		return 0, 0
	}
	switch n {
	case 1:
		return int64(p[0]), 1
	case 2:
		return int64(binary.BigEndian.Uint16(p) & (1<<14 - 1)), 2
	case 4:
		return int64(binary.BigEndian.Uint32(p) & (1<<30 - 1)), 4
	}
	return int64(binary.BigEndian.Uint64(p) & (1<<62 - 1)), 8
}

// parseFrame reads the head of a frame. It returns false if the head is incomplete.
func parseFrame(p []byte) (f frame, ok bool) {
	typ, n := varint(p)
	if n == 0 {
		return f, false
	}
	size, k := varint(p[n:])
	return frame{typ, size, n + k}, k > 0
}

// reserved reports whether a type of a frame, stream or setting is reserved to test the
// tolerance of receivers, RFC 9114 section 7.2.8.
func reserved(typ int64) bool { return typ >= 0x21 && (typ-0x21)%0x1f == 0 }

// onControl reports whether frames of the type belong on a control stream or, with a number from
// HTTP/2, on no stream.
func onControl(typ int64) bool {
	switch typ {
	case frameCancelPush, frameSettings, frameGoAway, frameMaxPushID, framePriorityRequest, framePriorityPush,
		frameOrigin, 0x2, 0x6, 0x8, 0x9:
		return true
	}
	return false
}

// noError is the code H3_NO_ERROR.
const noError = 0x100

// errorNames are the codes of RFC 9114 section 8.1 from noError on.
var errorNames = [...]string{"H3_NO_ERROR", "H3_GENERAL_PROTOCOL_ERROR", "H3_INTERNAL_ERROR", "H3_STREAM_CREATION_ERROR",
	"H3_CLOSED_CRITICAL_STREAM", "H3_FRAME_UNEXPECTED", "H3_FRAME_ERROR", "H3_EXCESSIVE_LOAD", "H3_ID_ERROR",
	"H3_SETTINGS_ERROR", "H3_MISSING_SETTINGS", "H3_REQUEST_REJECTED", "H3_REQUEST_CANCELLED", "H3_REQUEST_INCOMPLETE",
	"H3_MESSAGE_ERROR", "H3_CONNECT_ERROR", "H3_VERSION_FALLBACK"}

// errorName is the name of an error code; the name of an unknown one is its number.
func errorName(code int64) string {
	if i := code - noError; i >= 0 && i < int64(len(errorNames)) {
		return errorNames[i]
	}
	switch code {
	case 0x33: // RFC 9297 section 5.2
		return "H3_DATAGRAM_ERROR"
	case 0x200: // RFC 9204 section 6
		return "QPACK_DECOMPRESSION_FAILED"
	case 0x201:
		return "QPACK_ENCODER_STREAM_ERROR"
	case 0x202:
		return "QPACK_DECODER_STREAM_ERROR"
	case 0x170d7b68:
		return "WT_SESSION_GONE"
	case 0x3994bd84:
		return "WT_BUFFERED_STREAM_REJECTED"
	}
	return "0x" + strconv.FormatInt(code, 16)
}
