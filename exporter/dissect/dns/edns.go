package dns

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strconv"

	lib "github.com/miekg/dns"
)

const ednsDO = 1 << 15 // RFC 3225 section 3

// maxOptions is how many EDNS options of a message are shown.
const maxOptions = 64

// opt reads an OPT record, RFC 6891 section 6.1.
func (m *message) opt(class uint16, ttl uint32, b []byte) {
	if m.edns.seen {
		m.odd = "a second OPT record"
		return
	}
	m.edns.seen = true
	m.edns.size, m.edns.ext, m.edns.version = class, uint8(ttl>>24), uint8(ttl>>16)
	m.edns.do = ttl&ednsDO != 0
	for len(b) > 0 {
		if len(b) < 4 || int(binary.BigEndian.Uint16(b[2:])) > len(b)-4 {
			m.odd = "options of OPT"
			return
		}
		code, n := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if m.full() || len(m.edns.options) >= maxOptions {
			m.limited = true
			return
		}
		at := len(m.text)
		m.option(code, b[4:4+n])
		m.edns.options = append(m.edns.options, span{at, len(m.text)})
		b = b[4+n:]
	}
}

func (m *message) option(code uint16, b []byte) {
	name := optionName(code)
	if name == "" {
		m.text = append(m.text, "option"...)
		m.text = strconv.AppendUint(m.text, uint64(code), 10)
	}
	m.text = append(m.text, name...)
	if len(b) == 0 {
		return
	}
	m.text = append(m.text, '=')
	switch code {
	case lib.EDNS0SUBNET:
		if m.subnet(b) {
			return
		}
	case lib.EDNS0EDE: // RFC 8914 section 2
		if len(b) >= 2 {
			info := binary.BigEndian.Uint16(b)
			m.text = strconv.AppendUint(m.text, uint64(info), 10)
			for _, s := range [...]string{lib.ExtendedErrorCodeToString[info], string(appendEscaped(nil, b[2:], '\\'))} {
				if s != "" {
					m.text = append(append(m.text, ' '), s...)
				}
			}
			return
		}
	case lib.EDNS0PADDING: // its length is its only information
		m.text = strconv.AppendInt(m.text, int64(len(b)), 10)
		return
	case lib.EDNS0NSID:
		if printable(b) {
			m.text = append(m.text, b...)
			return
		}
	}
	if len(b) > maxHex {
		b = b[:maxHex]
	}
	m.text = hex.AppendEncode(m.text, b)
}

// subnet writes a client subnet, RFC 7871 section 6.
func (m *message) subnet(b []byte) bool {
	if len(b) < 4 {
		return false
	}
	family, bits, addr := binary.BigEndian.Uint16(b), int(b[2]), b[4:]
	var a netip.Addr
	switch {
	case family == 1 && bits <= 32 && len(addr) <= 4:
		var v [4]byte
		copy(v[:], addr)
		a = netip.AddrFrom4(v)
	case family == 2 && bits <= 128 && len(addr) <= 16:
		var v [16]byte
		copy(v[:], addr)
		a = netip.AddrFrom16(v)
	default:
		return false
	}
	m.text = netip.PrefixFrom(a, bits).AppendTo(m.text)
	return true
}

func printable(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c >= 0x7f || c == '\\' {
			return false
		}
	}
	return true
}

// optionName is the name of an EDNS option, or "" if it is unknown.
func optionName(code uint16) string {
	switch code {
	case lib.EDNS0LLQ:
		return "llq"
	case lib.EDNS0UL:
		return "update_lease"
	case lib.EDNS0NSID:
		return "nsid"
	case lib.EDNS0DAU:
		return "dau"
	case lib.EDNS0DHU:
		return "dhu"
	case lib.EDNS0N3U:
		return "n3u"
	case lib.EDNS0SUBNET:
		return "ecs"
	case lib.EDNS0EXPIRE:
		return "expire"
	case lib.EDNS0COOKIE:
		return "cookie"
	case lib.EDNS0TCPKEEPALIVE:
		return "keepalive"
	case lib.EDNS0PADDING:
		return "padding"
	case lib.EDNS0EDE:
		return "ede"
	}
	return ""
}
