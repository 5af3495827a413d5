package snmp

import (
	"encoding/hex"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pcapsule/pcapsule/exporter/dissect/internal/ber"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Tags of values, RFC 3416 section 3.
const (
	tagAddress   = 0x40
	tagCounter   = 0x41
	tagGauge     = 0x42
	tagTicks     = 0x43
	tagUnsigned  = 0x47
	tagCounter64 = 0x46
	noSuchObject = 0x80
	noSuchOne    = 0x81
	endOfMibView = 0x82
)

// secrets are the beginnings of variables whose values are keys, passwords or communities: the
// tables of users (RFC 3414) and of communities (RFC 3584), and the password of Cisco's table for
// copying.
var secrets = []string{"1.3.6.1.6.3.15.1.2.2.1.", "1.3.6.1.6.3.18.1.", "1.3.6.1.4.1.9.9.96.1.1.1.1.8."}

func isSecret(name string) bool {
	for _, s := range secrets {
		if strings.HasPrefix(name, s) {
			return true
		}
	}
	return false
}

// show is a value as text.
func show(tag byte, b []byte) string {
	switch tag {
	case ber.Integer:
		if v, ok := ber.Int(b); ok {
			return strconv.FormatInt(v, 10)
		}
	case ber.Octets:
		if utf8.Valid(b) && clip.Printable(b) {
			return clip.Text(b, maxValue)
		}
	case ber.Null:
		return ""
	case ber.OID:
		if s, ok := ber.AppendOID(nil, b); ok {
			return clip.Text(s, maxValue)
		}
	case tagAddress:
		if a, ok := netip.AddrFromSlice(b); ok {
			return a.String()
		}
	case tagCounter, tagGauge, tagTicks, tagCounter64, tagUnsigned:
		return strconv.FormatUint(unsigned(b), 10)
	case noSuchObject:
		return "noSuchObject"
	case noSuchOne:
		return "noSuchInstance"
	case endOfMibView:
		return "endOfMibView"
	}
	return "0x" + clip.Text(hex.EncodeToString(b[:min(len(b), maxValue)]), maxValue)
}

// unsigned is the value of an unsigned number; one that is too long keeps its last 8 bytes.
func unsigned(b []byte) (v uint64) {
	for _, c := range b {
		v = v<<8 | uint64(c)
	}
	return v
}

// last is the number before the first point of s.
func last(s string) int64 {
	s, _, _ = strings.Cut(s, ".")
	n, _ := strconv.ParseInt(s, 10, 64)
	return n
}
