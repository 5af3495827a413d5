package dcerpc

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/msrpc"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/ntlm"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// levelPrivacy encrypts arguments and results.
const levelPrivacy = 6

// levelConnect is a login that later messages do not prove again: they carry no token.
const levelConnect = 2

// Limits.
const (
	headSize    = 16
	requestHead = 24
	trailerSize = 8  // before a token: its kind, level, padding and context
	maxList     = 64 // interfaces that are shown
)

// Kinds of messages, C706 section 12.6.4.
const (
	kindRequest   = 0
	kindResponse  = 2
	kindFault     = 3
	kindBind      = 11
	kindBindAck   = 12
	kindBindNak   = 13
	kindAlter     = 14
	kindAlterResp = 15
	kindAuth3     = 16 // MS-RPCE section 2.2.2.5
	kindShutdown  = 17
	kindCancel    = 18
	kindOrphaned  = 19
)

// Flags of a message, C706 section 12.6.3.1.
const (
	flagFirst  = 0x01
	flagLast   = 0x02
	flagMaybe  = 0x40 // no response is wanted
	flagObject = 0x80 // a request has the UUID of an object
)

// pdu is a message.
type pdu struct {
	b     []byte
	size  int
	kind  byte
	flags byte
	auth  int // bytes of the token at the end
	end   int // where the content ends: before the padding and the token's trailer
	id    uint32
	order binary.ByteOrder
}

// readHead reads the head of a message, C706 section 12.6.3.1; b has headSize bytes.
func readHead(b []byte) (m pdu, err error) {
	m = pdu{kind: b[2], flags: b[3], order: binary.BigEndian}
	if b[4]&0x10 != 0 {
		m.order = binary.LittleEndian
	}
	m.size, m.auth, m.id = int(m.order.Uint16(b[8:])), int(m.order.Uint16(b[10:])), m.order.Uint32(b[12:])
	switch {
	case b[0] != 5 || b[1] > 1 || tables()["message"][int64(b[2])] == "" || b[4]&0xef != 0 || b[5] > 3 || b[6]|b[7] != 0:
		return m, fmt.Errorf("reading a message: %x is not the head of a message of version 5", b[:8])
	case m.size < m.least() || m.auth > 0 && m.auth+trailerSize > m.size-headSize:
		return m, fmt.Errorf("reading a message: %d bytes with a token of %d are too few for %s", m.size, m.auth, m.name())
	}
	return m, nil
}

// least is the smallest size of a message.
func (m *pdu) least() int {
	switch m.kind {
	case kindRequest, kindResponse:
		return requestHead
	case kindFault, kindBind, kindAlter, kindBindAck, kindAlterResp:
		return requestHead + 4
	case kindBindNak:
		return headSize + 2
	}
	return headSize
}

func (m *pdu) name() string { return tables()["message"][int64(m.kind)] }

// asks reports whether the message begins a call.
func (m *pdu) asks() bool {
	switch m.kind {
	case kindResponse, kindFault, kindBindAck, kindBindNak, kindAlterResp:
		return false
	}
	return true
}

// answers reports whether the message can answer a message of another kind.
func (m *pdu) answers(name string) bool {
	switch m.kind {
	case kindBindAck, kindBindNak:
		return name == "bind"
	case kindAlterResp:
		return name == "alter_context"
	case kindResponse:
		return name == "request" || name == "response"
	}
	return name == "request" || name == "alter_context" || name == "response"
}

// stubEnd finds where the content ends.
func (m *pdu) stubEnd() {
	m.end = m.size
	if m.auth > 0 {
		at := m.size - m.auth - trailerSize
		m.end = max(headSize, at-int(m.b[at+2]))
	}
}

// sealed reports whether arguments or results are encrypted.
func (m *pdu) sealed() bool { return m.auth > 0 && m.b[m.size-m.auth-trailerSize+1] == levelPrivacy }

// stub is the size of arguments or results.
func (m *pdu) stub() int {
	from := requestHead
	if m.kind == kindRequest && m.flags&flagObject != 0 {
		from += 16
	}
	return max(0, m.end-from)
}

// bytes returns n bytes of the content, nil if it is shorter.
func (m *pdu) bytes(at, n int) []byte {
	if at+n > m.end {
		return nil
	}
	return m.b[at : at+n]
}

func (m *pdu) u16(at int) uint16 {
	if b := m.bytes(at, 2); b != nil {
		return m.order.Uint16(b)
	}
	return 0
}

func (m *pdu) u32(at int) uint32 {
	if b := m.bytes(at, 4); b != nil {
		return m.order.Uint32(b)
	}
	return 0
}

// propose reads the interfaces that a client wants to use: a context is its id, the interface and encodings for it.
func (k *conn) propose(row *Row, m *pdu) {
	at := requestHead + 4
	for range m.b[requestHead] {
		head := m.bytes(at, 24)
		if head == nil {
			k.Conn.Anomaly("malformed", "a list of interfaces ends early", 0)
			return
		}
		name := msrpc.Interface(head[4:20], m.order)
		if len(row.Interfaces) < maxList {
			row.Interfaces = append(row.Interfaces, name)
		}
		if !row.Interface.OK {
			row.Interface = table.Some(name)
		}
		remember(k, &k.bound, m.order.Uint16(head), name, boundCost)
		at += 24 + 20*int(head[2])
	}
}

// results reads what a server says of each context, C706 section 12.6.4.4. Without an accepted one the bind failed.
func (r *Row) results(m *pdu) {
	n := int(m.u16(requestHead))
	if name := m.bytes(requestHead+2, n); n > 1 && name != nil {
		r.Endpoint = table.NonEmpty(clip.Line(bytes.TrimRight(name, "\x00"), 64))
	}
	at := (requestHead+2+n+3)&^3 + 4
	if at > m.end {
		return
	}
	accepted := false
	for range m.b[at-4] {
		b := m.bytes(at, 4)
		if b == nil {
			return
		}
		text := "acceptance"
		switch result, reason := m.order.Uint16(b), int64(m.order.Uint16(b[2:])); result {
		case 0:
			accepted = true
		case 3: // MS-RPCE section 2.2.2.4: which features the server has
			text = "negotiate_ack"
		default:
			text = tables()["result"].Name(reason, "reason_")
		}
		if len(r.Results) < maxList {
			r.Results = append(r.Results, text)
		}
		at += 24
	}
	if !accepted && len(r.Results) > 0 {
		r.StatusText, r.Outcome = table.Some(r.Results[0]), table.ClientError
	}
}

// authenticate reads the trailer of a token (C706 section 13.2.6.1): the login of the message's security context, or
// a signature by it. The token of a login is hidden, because it may have credentials.
func (k *conn) authenticate(in *dissect.Input, q *call, m *pdu) {
	if m.auth == 0 {
		if k.connected != nil && m.kind == kindRequest {
			q.Row.identify(k.connected)
		}
		return
	}
	at := m.size - m.auth - trailerSize
	kind, level, context := int64(m.b[at]), int64(m.b[at+1]), m.order.Uint32(m.b[at+4:])
	row := q.Row
	row.Auth = table.Some(tables()["auth"].Name(kind, "auth_"))
	row.Level = table.Some(tables()["level"].Name(level, "level_"))
	switch m.kind {
	case kindRequest, kindResponse, kindFault:
	default:
		q.X.Hide(in, at+trailerSize, m.size)
		if in.Dir == dissect.ToServer {
			row.AuthKind = row.Auth
		}
		token := m.b[at+trailerSize : m.size]
		if i := ntlm.Find(token); i >= 0 {
			if n := ntlm.Parse(token[i:]); n.Kind == ntlm.Authenticate {
				if level == levelConnect {
					k.connected = &n.Login
				}
				remember(k, &k.logins, context, &n.Login, boundCost+len(n.Login.User)+len(n.Login.Domain)+len(n.Login.Workstation))
			}
		}
	}
	if l := k.logins[context]; l != nil {
		row.identify(l)
	}
}

func (r *Row) identify(l *ntlm.Login) {
	r.User, r.Domain, r.Station = table.NonEmpty(l.User), table.NonEmpty(l.Domain), table.NonEmpty(l.Workstation)
}

// remember keeps a value of the connection, at most maxKnown of each kind.
func remember[K comparable, V any](k *conn, all *map[K]V, id K, v V, cost int) {
	if *all == nil {
		*all = map[K]V{}
	}
	if _, had := (*all)[id]; !had {
		if len(*all) >= maxKnown {
			return
		}
		k.kept += cost
	}
	(*all)[id] = v
}

// method is the operation of a request, or the kind of another message.
func method(r *Row) string {
	if r.Message == "request" {
		return r.Operation.V
	}
	return strings.ToUpper(r.Message)
}

// detect accepts the head of a message that this side sends. Its second half must fit what came.
func detect(dir dissect.Dir, b []byte) dissect.Verdict {
	const fixed = "\x05\x00\x00\x00\x10\x00\x00\x00"
	for i := range min(len(b), len(fixed)) {
		switch {
		case i == 1 && b[1] > 1, i == 2 && tables()["message"][int64(b[2])] == "", i == 4 && b[4]&0xef != 0, i == 5 && b[5] > 3, (i == 0 || i > 5) && b[i] != fixed[i]:
			return dissect.No
		}
	}
	if len(b) < requestHead {
		return dissect.More
	}
	m, err := readHead(b)
	if err != nil || m.asks() != (dir == dissect.ToServer) && m.kind != kindShutdown {
		return dissect.No
	}
	switch m.kind {
	case kindBind, kindAlter:
		if size := m.order.Uint16(b[16:]); size < 1024 || len(b) > requestHead && (b[requestHead] == 0 || requestHead+4+44*int(b[requestHead]) > m.size) {
			return dissect.No
		}
		return dissect.Yes
	case kindBindAck, kindAlterResp:
		if m.order.Uint16(b[16:]) < 1024 {
			return dissect.No
		}
		return dissect.Yes
	}
	return dissect.Likely
}
