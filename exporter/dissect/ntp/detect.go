package ntp

import (
	"bytes"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// Bounds of plausible values.
const (
	maxPoll   = 17      // RFC 5905 section 7.3
	hidden    = 32      // precision of clients of chrony, which hide theirs
	maxShort  = 1 << 22 // 64 s in the short format
	since1993 = 0xb0    // first byte of a time stamp
	until2070 = 0x40    // in the next era
)

// detect checks sizes and fixed values. Requests go to the server, and responses to the client.
func detect(dir dissect.Dir, b []byte) dissect.Verdict {
	if len(b) < privateSize {
		return dissect.No
	}
	request := dir == dissect.ToServer
	switch b[0] & 7 {
	case modeControl:
		n := controlShape(b)
		if rest := len(b) - n; n > 0 && (rest == 0 || rest == 12 || rest == 20 || rest == 24) && (b[1]&0x80 == 0) == request && (!request || b[1]&0x60 == 0 && b[4]|b[5] == 0) && b[8]|b[9] == 0 {
			return dissect.Likely
		}
		return dissect.No
	case modePrivate:
		if n := privateShape(b); n > 0 && (b[0]&0x80 == 0) == request && b[2] >= 2 && (!request || b[0]&0x40 == 0 && b[1]&0x7f == 0 && b[4] == 0 && len(bytes.Trim(b[n:min(len(b), 48)], "\x00")) == 0) && (request || len(b) == n) {
			return dissect.Likely
		}
		return dissect.No
	}
	m, ok := parse(b)
	if !ok || m.end != len(b) || m.poll < -8 || m.poll > maxPoll || m.precision > 0 && (m.precision != hidden || m.mode != modeClient) || m.precision < -40 || m.delay > maxShort || m.dispersion > maxShort*16 || !plausible(m.stamped) {
		return dissect.No
	}
	switch m.mode {
	case modeServer, modePassive:
		if !request && plausible(m.received) && m.transmit != 0 && plausible(m.transmit) {
			return dissect.Likely
		}
	case modeClient, modeActive:
		if request && (m.mode == modeClient || plausible(m.transmit)) {
			return dissect.Likely
		}
	case modeBroadcast:
		if request && m.transmit != 0 && plausible(m.transmit) && m.origin == 0 {
			return dissect.Likely
		}
	}
	return dissect.No
}

// plausible reports whether a time stamp is unset, or from our time.
func plausible(stamp uint64) bool {
	top := byte(stamp >> 56)
	return stamp == 0 || top >= since1993 || top < until2070
}
