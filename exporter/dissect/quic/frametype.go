package quic

import "fmt"

// Frame types, RFC 9000 section 19, RFC 9221 and the drafts of acknowledgement frequency and
// reliable resets.
const (
	framePadding         = 0x00
	framePing            = 0x01
	frameAck             = 0x02
	frameAckECN          = 0x03
	frameResetStream     = 0x04
	frameStopSending     = 0x05
	frameCrypto          = 0x06
	frameNewToken        = 0x07
	frameStream          = 0x08
	frameStreamLast      = 0x0f
	frameMaxData         = 0x10
	frameMaxStreamData   = 0x11
	frameMaxStreamsBidi  = 0x12
	frameMaxStreamsUni   = 0x13
	frameDataBlocked     = 0x14
	frameStreamBlocked   = 0x15
	frameStreamsBlocked  = 0x16
	frameStreamsBlocked2 = 0x17
	frameNewID           = 0x18
	frameRetireID        = 0x19
	framePathChallenge   = 0x1a
	framePathResponse    = 0x1b
	frameClose           = 0x1c
	frameCloseApp        = 0x1d
	frameHandshakeDone   = 0x1e
	frameImmediateAck    = 0x1f
	frameResetStreamAt   = 0x24
	frameDatagram        = 0x30
	frameDatagramLen     = 0x31
	frameAckFrequency    = 0xaf
	frameTimestamp       = 0x02f5
)

// Bits of a STREAM frame's type.
const (
	streamFin    = 0x01
	streamLength = 0x02
	streamOffset = 0x04
)

// frameName is the name in column quic_close_frame and in anomalies.
func frameName(t uint64) string {
	switch t {
	case framePadding:
		return "PADDING"
	case framePing:
		return "PING"
	case frameAck, frameAckECN:
		return "ACK"
	case frameResetStream:
		return "RESET_STREAM"
	case frameStopSending:
		return "STOP_SENDING"
	case frameCrypto:
		return "CRYPTO"
	case frameNewToken:
		return "NEW_TOKEN"
	case frameMaxData:
		return "MAX_DATA"
	case frameMaxStreamData:
		return "MAX_STREAM_DATA"
	case frameMaxStreamsBidi, frameMaxStreamsUni:
		return "MAX_STREAMS"
	case frameDataBlocked:
		return "DATA_BLOCKED"
	case frameStreamBlocked:
		return "STREAM_DATA_BLOCKED"
	case frameStreamsBlocked, frameStreamsBlocked2:
		return "STREAMS_BLOCKED"
	case frameNewID:
		return "NEW_CONNECTION_ID"
	case frameRetireID:
		return "RETIRE_CONNECTION_ID"
	case framePathChallenge:
		return "PATH_CHALLENGE"
	case framePathResponse:
		return "PATH_RESPONSE"
	case frameClose, frameCloseApp:
		return "CONNECTION_CLOSE"
	case frameHandshakeDone:
		return "HANDSHAKE_DONE"
	case frameImmediateAck:
		return "IMMEDIATE_ACK"
	case frameResetStreamAt:
		return "RESET_STREAM_AT"
	case frameDatagram, frameDatagramLen:
		return "DATAGRAM"
	case frameAckFrequency:
		return "ACK_FREQUENCY"
	case frameTimestamp:
		return "TIMESTAMP"
	}
	if t >= frameStream && t <= frameStreamLast {
		return "STREAM"
	}
	return fmt.Sprintf("0x%x", t)
}

// allowed reports whether a frame may occur in a kind of packet, RFC 9000 section 12.4.
func allowed(t uint64, k kind) bool {
	switch t {
	case framePadding, framePing, frameClose, frameTimestamp:
		return true
	case frameAck, frameAckECN, frameCrypto:
		return k != zeroRTT
	case frameHandshakeDone, frameNewToken, framePathResponse, frameRetireID:
		return k == oneRTT
	}
	return k == oneRTT || k == zeroRTT
}
