package stun

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"

	"github.com/pcapsule/pcapsule/exporter/cursor"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

const (
	headSize = 20
	cookie   = 0x2112A442 // RFC 8489 section 5
	msCookie = 0x72C64BC6 // MS-TURN section 2.2.2.13
	maxText  = 512        // bytes of a text; those of the protocol have fewer than 763
	maxPeers = 16         // peers of a message
)

// Classes of messages, RFC 8489 section 5.
const (
	request = iota
	indication
	success
	failure
)

// Attributes, RFC 8489 section 18.3, RFC 8656 section 18, RFC 8445 section 16.1, RFC 6062 section 6.2.
const (
	attrMapped        = 0x0001
	attrChangeRequest = 0x0003 // RFC 3489
	attrUsername      = 0x0006
	attrIntegrity     = 0x0008
	attrError         = 0x0009
	attrChannel       = 0x000C
	attrLifetime      = 0x000D
	attrMagicCookie   = 0x000F // MS-TURN
	attrXorPeer       = 0x0012
	attrData          = 0x0013
	attrRealm         = 0x0014
	attrXorRelayed    = 0x0016
	attrTransport     = 0x0019
	attrIntegrity2    = 0x001C // MESSAGE-INTEGRITY-SHA256
	attrXorMapped     = 0x0020
	attrPriority      = 0x0024
	attrNominate      = 0x0025 // USE-CANDIDATE
	attrSoftware      = 0x8022
	attrAlternate     = 0x8023
	attrFingerprint   = 0x8028
	attrControlled    = 0x8029
	attrControlling   = 0x802A
)

// methods are the names of methods, by number.
var methods = map[uint16]string{1: "Binding", 3: "Allocate", 4: "Refresh", 6: "Send", 7: "Data", 8: "CreatePermission", 9: "ChannelBind",
	10: "Connect", 11: "ConnectionBind", 12: "ConnectionAttempt"}

const methodChannelBind = 9

// msMethods are the names of the methods that Microsoft's form of TURN numbers differently (MS-TURN section 2.2.1,
// after draft-rosenberg-midcom-turn-08).
var msMethods = map[uint16]string{4: "Send", 5: "Data", 6: "SetActiveDestination"}

// transaction identifies a request and its response. It begins with the magic cookie, unless the message is of RFC 3489.
type transaction [16]byte

func (t transaction) String() string {
	if binary.BigEndian.Uint32(t[:]) == cookie {
		return hex.EncodeToString(t[4:])
	}
	return hex.EncodeToString(t[:])
}

// message is a parsed message.
type message struct {
	class, method uint16
	id            transaction
	attrs         []byte
	microsoft     bool // Microsoft's form of TURN: attributes are not padded, and some methods have other numbers
}

// begins reports whether b begins like a message.
func begins(b []byte) bool {
	return len(b) >= 8 && b[0]&0xC0 == 0 && binary.BigEndian.Uint32(b[4:]) == cookie
}

// parse reads the head of a message, which fills b. ok is false if b is something else.
func parse(b []byte) (m message, ok bool) {
	if len(b) < headSize || int(binary.BigEndian.Uint16(b[2:])) != len(b)-headSize || !begins(b) && !classic(b) {
		return m, false
	}
	kind := binary.BigEndian.Uint16(b)
	m.class = kind>>7&2 | kind>>4&1
	m.method = kind>>2&0xF80 | kind>>1&0x70 | kind&0xF
	copy(m.id[:], b[4:])
	m.attrs = b[headSize:]
	if r := cursor.New(m.attrs); r.Uint16() == attrMagicCookie && r.Uint16() == 4 && r.Uint32() == msCookie {
		m.microsoft = true
		switch {
		case m.class == request && m.method == 4: // the server does not respond, MS-TURN section 3.3.5.4
			m.class = indication
		case m.class == failure && m.method == 5:
			m.class = indication
		}
	}
	for r := cursor.New(m.attrs); r.Left() > 0; { // the attributes end where the message does
		r.Uint16()
		n := int(r.Uint16())
		if r.Skip(n + m.padding(n)); r.Short() {
			return m, false
		}
	}
	return m, true
}

// padding is the number of bytes after an attribute of n bytes.
func (m *message) padding(n int) int {
	if m.microsoft {
		return 0
	}
	return (4 - n&3) & 3
}

// each calls f with every attribute and its position in the message.
func (m *message) each(f func(kind uint16, value []byte, at int)) {
	for r := cursor.New(m.attrs); r.Left() > 0; {
		at := headSize + r.Used()
		kind, n := r.Uint16(), int(r.Uint16())
		f(kind, r.Bytes(n), at)
		r.Skip(m.padding(n))
	}
}

// endpoint reads an address with its port; if xor is set, it is disguised from translators, RFC 8489
// section 14.2.
func (m *message) endpoint(b []byte, xor bool) table.Opt[string] {
	r := cursor.New(b)
	r.Uint8()
	size := 4
	if family := r.Uint8(); family == 2 {
		size = 16
	} else if family != 1 {
		return table.Opt[string]{}
	}
	port, addr := r.Uint16(), append([]byte(nil), r.Bytes(size)...)
	if r.Short() || r.Left() > 0 {
		return table.Opt[string]{}
	}
	if xor {
		port ^= binary.BigEndian.Uint16(m.id[:])
		for i := range addr {
			addr[i] ^= m.id[i]
		}
	}
	ip, _ := netip.AddrFromSlice(addr)
	return table.Some(netip.AddrPortFrom(ip.Unmap(), port).String())
}

// wrongFingerprint reports whether the checksum of a message, b, is not that of its bytes.
func wrongFingerprint(b, value []byte, at int) bool {
	return len(value) != 4 || binary.BigEndian.Uint32(value) != fingerprint(b[:at])
}

// read sets the columns that a message states. It returns what is wrong with it, or "".
func (row *Row) read(m *message, b []byte) (odd string) {
	m.each(func(kind uint16, v []byte, at int) {
		switch kind {
		case attrMapped:
			if !row.Mapped.OK {
				row.Mapped = m.endpoint(v, false)
			}
		case attrXorMapped:
			row.Mapped = m.endpoint(v, true)
		case attrXorRelayed:
			row.Relayed = m.endpoint(v, true)
		case attrXorPeer:
			if p := m.endpoint(v, true); p.OK && len(row.Peers) < maxPeers {
				row.Peers = append(row.Peers, p.V)
			}
		case attrAlternate:
			row.Alternate = m.endpoint(v, false)
		case attrUsername:
			if !m.microsoft { // there it is a token, no text
				row.User = text(v)
			}
		case attrRealm:
			row.Realm = text(v)
		case attrSoftware:
			row.software(m.class, text(v))
		case attrData:
			row.Data = table.Some(int64(len(v)))
		case attrNominate:
			row.Nominated = true
		case attrControlling:
			row.Role = table.Some("controlling")
		case attrControlled:
			row.Role = table.Some("controlled")
		case attrError:
			if len(v) >= 4 {
				row.StatusCode, row.StatusText = table.Some(int32(v[2]&7)*100+int32(v[3])), text(v[4:])
			}
		case attrIntegrity, attrIntegrity2:
			row.signed = row.signed || m.class == request
		case attrFingerprint:
			if wrongFingerprint(b, v, at) {
				odd = fmt.Sprintf("the fingerprint of %s %s is wrong", m.name(), m.id)
			}
		default:
			row.number(kind, v)
		}
	})
	return odd
}

// number sets a column whose attribute is a number.
func (row *Row) number(kind uint16, v []byte) {
	if len(v) != 4 {
		return
	}
	n := int64(binary.BigEndian.Uint32(v))
	switch kind {
	case attrLifetime:
		row.Lifetime = table.Some(n)
	case attrPriority:
		row.Priority = table.Some(n)
	case attrChannel:
		row.Channel = table.Some(int32(n >> 16))
	case attrTransport:
		row.Asked = table.NonEmpty(map[byte]string{6: "tcp", 17: "udp"}[v[0]])
	}
}

// software keeps the name of a sender's software.
func (row *Row) software(class uint16, name table.Opt[string]) {
	if class == success || class == failure {
		row.Server = name
	} else {
		row.Client = name
	}
}

// name is the method's name.
func (m *message) name() string {
	if s := msMethods[m.method]; s != "" && m.microsoft {
		return s
	}
	if s := methods[m.method]; s != "" {
		return s
	}
	return fmt.Sprintf("method 0x%03x", m.method)
}

func text(v []byte) table.Opt[string] { return table.NonEmpty(clip.Line(v, maxText)) }
