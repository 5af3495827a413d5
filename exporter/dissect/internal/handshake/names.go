package handshake

import (
	_ "embed"
	"fmt"
	"strconv"
	"sync"

	"github.com/pcapsule/pcapsule/exporter/dissect/internal/names"
)

//go:embed names.txt
var namesText string

// tables are the registries by kind, so that a lookup is one map access.
type tables struct {
	suite, suite2, group, scheme, extension, alert, message names.Table
}

var registries = sync.OnceValue(func() *tables {
	r := names.Read(namesText)
	return &tables{r["suite"], r["suite2"], r["group"], r["scheme"], r["extension"], r["alert"], r["message"]}
})

// GREASE reports whether v is one of the reserved values of RFC 8701.
func GREASE(v uint16) bool { return v&0x0f0f == 0x0a0a && v>>8 == v&0xff }

const greaseName = "GREASE"

// hexName is the name of v; an unnamed number is as 0x1234.
func hexName(t names.Table, v uint16) string {
	if s, ok := t[int64(v)]; ok {
		return s
	}
	if GREASE(v) {
		return greaseName
	}
	return fmt.Sprintf("0x%04x", v)
}

// Suite is IANA's name of a cipher suite; an unnamed one is its number, as 0x1234.
func Suite(v uint16) string { return hexName(registries().suite, v) }

// Suite2 is the name of an SSL 2.0 cipher kind, a 24-bit number. A number below 2^16 is a cipher
// suite of SSL 3.0 and later.
func Suite2(v uint32) string {
	if v <= 0xffff {
		return Suite(uint16(v))
	}
	if s, ok := registries().suite2[int64(v)]; ok {
		return s
	}
	return fmt.Sprintf("0x%06x", v)
}

// Group is IANA's name of a key exchange group.
func Group(v uint16) string { return hexName(registries().group, v) }

// Scheme is the name of a signature scheme.
func Scheme(v uint16) string { return hexName(registries().scheme, v) }

// Extension is IANA's name of an extension.
func Extension(v uint16) string { return hexName(registries().extension, v) }

// Alert is IANA's name of an alert.
func Alert(v uint8) string { return registries().alert.Name(int64(v), "alert_") }

// Message is IANA's name of a handshake message.
func Message(v uint8) string { return registries().message.Name(int64(v), "message_") }

// Version is the common name of a protocol version.
func Version(v uint16) string {
	switch v {
	case 0x0002:
		return "SSL 2.0"
	case 0x0300:
		return "SSL 3.0"
	case 0x0301:
		return "TLS 1.0"
	case 0x0302:
		return "TLS 1.1"
	case 0x0303:
		return "TLS 1.2"
	case 0x0304:
		return "TLS 1.3"
	case 0x0100:
		return "DTLS 1.0 (OpenSSL before 0.9.8f)"
	case 0xfeff:
		return "DTLS 1.0"
	case 0xfefd:
		return "DTLS 1.2"
	case 0xfefc:
		return "DTLS 1.3"
	}
	switch {
	case v>>8 == 0x7f:
		return "TLS 1.3 draft " + strconv.Itoa(int(v&0xff))
	case v>>8 == 0xfb:
		return "TLS 1.3 Facebook draft " + strconv.Itoa(int(v&0xff))
	case GREASE(v):
		return greaseName
	}
	return fmt.Sprintf("0x%04x", v)
}

// Is13 reports whether v is TLS 1.3, DTLS 1.3 or a draft of TLS 1.3.
func Is13(v uint16) bool { return v == 0x0304 || v == 0xfefc || v>>8 == 0x7f || v>>8 == 0xfb }
