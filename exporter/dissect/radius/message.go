package radius

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Limits of a message.
const (
	headSize      = 20
	maxSize       = 4096 // RFC 2865 section 3
	maxText       = 253  // bytes of one attribute
	maxMessage    = 1 << 10
	maxSummary    = 400
	maxAttributes = 128 // names shown
)

// Codes of messages.
const (
	accessReject  = 3
	disconnectNAK = 42
	coaNAK        = 45
)

// answers are the requests with their responses.
var answers = map[uint8][]uint8{1: {2, 3, 11}, 4: {5}, 12: {2, 5, 3}, 40: {41, 42}, 43: {44, 45}, 13: {}}

func fits(request, response uint8) bool { return slices.Contains(answers[request], response) }

// Attributes that are read.
const (
	atUser          = 1
	atPassword      = 2
	atCHAP          = 3
	atNASAddress    = 4
	atNASPort       = 5
	atServiceType   = 6
	atFramedIP      = 8
	atMessage       = 18
	atVendor        = 26
	atTimeout       = 27
	atCalled        = 30
	atCalling       = 31
	atNAS           = 32
	atAcct          = 40
	atInput         = 42
	atOutput        = 43
	atSession       = 44
	atSeconds       = 46
	atTerminated    = 49
	atInputGiga     = 52
	atOutputGiga    = 53
	atNASPortType   = 61
	atARAP          = 70
	atEAP           = 79
	atAuthenticator = 80
	atNASIPv6       = 95
	atErrorCause    = 101
	atDigest        = 103 // Digest-Response, RFC 5090
	microsoft       = 311 // vendor of MS-CHAP, RFC 2548
)

// message is a request or a response.
type message struct {
	code, id      uint8
	size          int
	authenticator [16]byte
	row           *Row
	attributes    []string
	auth          table.Opt[string]
	signed        bool
	cause         uint32
	odd           string // what is wrong with the attributes; empty if nothing is
	eap           []byte // the first fragment
	reply         []byte
	input, output [2]uint32
}

func (m *message) name() string { return tables()["code"].Name(int64(m.code), "code_") }

// parse reads a message. Bytes after its length are padding.
func parse(b []byte) (m message, err error) {
	if len(b) < headSize {
		return m, fmt.Errorf("reading a message: %d bytes, the shortest one has %d", len(b), headSize)
	}
	m = message{code: b[0], id: b[1], size: int(binary.BigEndian.Uint16(b[2:])), row: &Row{Identifier: int32(b[1])}}
	if tables()["code"][int64(m.code)] == "" || m.size < headSize || m.size > maxSize || m.size > len(b) {
		return m, fmt.Errorf("reading a message: code %d with length %d in %d bytes is none of RADIUS", m.code, m.size, len(b))
	}
	copy(m.authenticator[:], b[4:])
	for rest := b[headSize:m.size]; len(rest) > 0; {
		if len(rest) < 2 || rest[1] < 2 || int(rest[1]) > len(rest) {
			m.odd = fmt.Sprintf("attribute %d at byte %d does not fit", rest[0], m.size-len(rest))
			break
		}
		m.attribute(rest[0], rest[2:rest[1]])
		rest = rest[rest[1]:]
	}
	m.finish()
	return m, nil
}

func (m *message) attribute(kind uint8, v []byte) {
	if len(m.attributes) < maxAttributes {
		name := tables()["attribute"].Name(int64(kind), "attribute_")
		if kind == atVendor && len(v) >= 4 {
			name = fmt.Sprintf("%s(%d)", name, binary.BigEndian.Uint32(v))
		}
		m.attributes = append(m.attributes, name)
	}
	row := m.row
	switch kind {
	case atUser:
		row.User = text(v)
	case atCalled:
		row.Called = text(v)
	case atCalling:
		row.Calling = text(v)
	case atNAS:
		row.NAS = text(v)
	case atSession:
		row.Session = text(v)
	case atMessage:
		m.reply = append(m.reply, v...)
	case atNASAddress, atNASIPv6:
		if a, ok := netip.AddrFromSlice(v); ok && !row.NASAddress.OK {
			row.NASAddress = table.Some(a.String())
		}
	case atFramedIP:
		if a, ok := netip.AddrFromSlice(v); ok {
			row.FramedIP = table.Some(a.String())
		}
	case atPassword:
		m.auth = table.Some("pap")
	case atCHAP:
		m.auth = table.Some("chap")
	case atARAP:
		m.auth = table.Some("arap")
	case atDigest:
		m.auth = table.Some("digest")
	case atEAP:
		if m.auth = table.Some("eap"); m.eap == nil {
			m.eap = v
		}
	case atAuthenticator:
		m.signed = true
	case atVendor:
		m.vendor(v)
	default:
		if len(v) == 4 {
			m.number(kind, binary.BigEndian.Uint32(v))
		}
	}
}

// vendor looks for the responses of MS-CHAP.
func (m *message) vendor(v []byte) {
	if len(v) < 6 || binary.BigEndian.Uint32(v) != microsoft {
		return
	}
	switch v[4] {
	case 1:
		m.auth = table.Some("ms-chap")
	case 25:
		m.auth = table.Some("ms-chap-v2")
	}
}

// number reads an attribute of four bytes.
func (m *message) number(kind uint8, n uint32) {
	row := m.row
	name := func(section string) table.Opt[string] {
		return table.Some(tables()[section].Name(int64(n), ""))
	}
	switch kind {
	case atNASPort:
		row.NASPort = table.Some(int64(n))
	case atServiceType:
		row.ServiceType = name("Service-Type")
	case atTimeout:
		row.Timeout = table.Some(int64(n))
	case atAcct:
		row.Acct = name("Acct-Status-Type")
	case atSeconds:
		row.SessionSeconds = table.Some(int64(n))
	case atTerminated:
		row.Terminated = name("Acct-Terminate-Cause")
	case atNASPortType:
		row.NASPortType = name("NAS-Port-Type")
	case atErrorCause:
		row.ErrorCause, m.cause = name("Error-Cause"), n
	case atInput:
		m.input[0], row.Input.OK = n, true
	case atOutput:
		m.output[0], row.Output.OK = n, true
	case atInputGiga:
		m.input[1] = n
	case atOutputGiga:
		m.output[1] = n
	}
}

// finish sets what needs several attributes.
func (m *message) finish() {
	row := m.row
	row.Input.V, row.Output.V = octets(m.input, row.Input.OK), octets(m.output, row.Output.OK)
	row.Message = table.NonEmpty(clip.Line(m.reply, maxMessage))
	if !row.NAS.OK {
		row.NAS = row.NASAddress
	}
	if len(m.eap) < 4 {
		return
	}
	switch m.eap[0] {
	case 1, 2:
		if len(m.eap) > 4 {
			row.EAP = table.Some(tables()["eap"].Name(int64(m.eap[4]), "method_"))
		}
	case 3:
		row.EAPResult = table.Some("success")
	case 4:
		row.EAPResult = table.Some("failure")
	}
}

// octets joins a count with its upper half, RFC 2869 section 5.1.
func octets(n [2]uint32, ok bool) int64 {
	if !ok {
		return 0
	}
	return int64(n[1]&0x7fffffff)<<32 | int64(n[0])
}

func text(b []byte) table.Opt[string] { return table.NonEmpty(clip.Line(b, maxText)) }

func clipLine(s string) string { return clip.Line([]byte(s), maxSummary) }
