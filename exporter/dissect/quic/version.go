package quic

import (
	"fmt"
	"strconv"

	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// Versions with packets as in RFC 9000 section 17.2; see readable.
const (
	version1  = secrets.QUICv1
	version2  = secrets.QUICv2
	draftBase = 0xff000000
)

// Drafts of QUIC version 1 with today's headers and frames.
const (
	firstDraft = 22
	lastDraft  = 34
)

// draft is the draft of RFC 9000 that a version follows, or 0 if there is none. The private
// versions belong to mvfst and Google.
func draft(v uint32) int {
	switch v {
	case 0xfaceb001:
		return 22
	case 0xfaceb002, 0xfaceb00e, 0xfaceb011, 0xfaceb012, 0xfaceb013:
		return 27
	case 0x54303530: // T050
		return 25
	case 0x54303531: // T051
		return 29
	}
	if v&0xffffff00 == draftBase {
		return int(v & 0xff)
	}
	return 0
}

// isGoogle reports whether v is a version of Google's QUIC: Q0nn, T0nn.
func isGoogle(v uint32) bool {
	digit := func(b byte) bool { return b >= '0' && b <= '9' }
	return (v>>24 == 'Q' || v>>24 == 'T') && byte(v>>16) == '0' && digit(byte(v>>8)) && digit(byte(v))
}

// googleNumber is nn of Q0nn and T0nn.
func googleNumber(v uint32) int { return int(byte(v>>8)-'0')*10 + int(byte(v)-'0') }

// isGrease reports whether v is reserved to force version negotiation, RFC 9000 section 15.
func isGrease(v uint32) bool { return v&0x0f0f0f0f == 0x0a0a0a0a }

// readable reports whether long headers of v have the types and lengths of RFC 9000.
func readable(v uint32) bool {
	d := draft(v)
	return v == version1 || v == version2 || d >= firstDraft && d <= lastDraft
}

// known reports whether v is a version in use.
func known(v uint32) bool {
	return readable(v) || draft(v) != 0 && v&0xff <= 64 || isGoogle(v) || v&0xfffffff0 == 0xfaceb000
}

// versionName is the name of a version in rows.
func versionName(v uint32) string {
	switch {
	case v == version1:
		return "1"
	case v == version2:
		return "2"
	case isGoogle(v):
		return string([]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)})
	case v&0xffffff00 == draftBase:
		return "draft-" + strconv.Itoa(int(v&0xff))
	case isGrease(v):
		return "grease"
	case v&0xfffffff0 == 0xfaceb000:
		return fmt.Sprintf("mvfst-%d", v&0xf)
	}
	return fmt.Sprintf("0x%08x", v)
}
