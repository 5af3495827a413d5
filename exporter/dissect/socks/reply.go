package socks

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// replies are the codes of SOCKS 5 (RFC 1928 section 6) and 4: names, and the outcomes that they mean.
var replies = map[byte]struct{ text, outcome string }{
	0: {"succeeded", ""}, 1: {"general failure", table.ServerError}, 2: {"not allowed", table.Refused}, 3: {"network unreachable", table.ServerError},
	4: {"host unreachable", table.ServerError}, 5: {"connection refused", table.ServerError}, 6: {"TTL expired", table.ServerError},
	7: {"command not supported", table.ClientError}, 8: {"address type not supported", table.ClientError},
	90: {"granted", ""}, 91: {"rejected or failed", table.ServerError}, 92: {"no identd at the client", table.Refused}, 93: {"identd names another user", table.Refused},
}

// server reads one message of the proxy.
func (k *conn) server(in *dissect.Input) (int, error) {
	b, s := in.Data, &k.sides[dissect.ToClient]
	switch {
	case k.sides[dissect.ToServer] == phaseGreeting && k.c.Info.RolesKnown && k.c.Unread(dissect.ToServer) > 0:
		return 0, nil // the client's bytes come first
	case b[0] == 0 && k.row.Version == 4 && k.sides[dissect.ToServer] == phaseDone:
		return k.reply4(in)
	case b[0] == 5 && *s == phaseGreeting && k.sides[dissect.ToServer] != phaseGreeting && k.row.Offered != nil:
		return k.method(in)
	case b[0] == 1 && *s == phaseLogin:
		return k.welcome(in)
	case b[0] == 5:
		return k.reply5(in)
	}
	return 0, fmt.Errorf("reading what the proxy sent: it begins with %#02x", b[0])
}

// method reads the chosen authentication, RFC 1928 section 3.
func (k *conn) method(in *dissect.Input) (int, error) {
	if len(in.Data) < 2 {
		return 0, nil
	}
	m := in.Data[1]
	k.c.Confirm()
	k.x.Response(in, 0, 2)
	k.sides[dissect.ToClient] = phaseRequest
	switch m {
	case authNone:
		k.row.Auth = table.Some(kind(m))
	case authPassword:
		k.row.Auth, k.sides[dissect.ToClient] = table.Some(kind(m)), phaseLogin
	case authNothing:
		k.refuse("no acceptable authentication")
	default:
		k.row.Auth, k.row.AuthKind = table.Some(kind(m)), table.Some(kind(m))
		k.row.StatusText = table.Some("not read behind " + kind(m))
		k.emit("")
	}
	return 2, nil
}

// welcome reads the result of a login, RFC 1929 section 2.
func (k *conn) welcome(in *dissect.Input) (int, error) {
	if len(in.Data) < 2 {
		return 0, nil
	}
	k.x.Response(in, 0, 2)
	k.sides[dissect.ToClient] = phaseRequest
	if code := in.Data[1]; code != 0 {
		k.row.StatusCode = table.Some(int32(code))
		k.refuse("login failed")
	}
	return 2, nil
}

// refuse ends a negotiation before the request was answered.
func (k *conn) refuse(why string) {
	k.row.StatusText, k.row.Outcome = table.Some(why), table.Refused
	k.emit("")
}

// reply5 reads a reply, RFC 1928 section 6.
func (k *conn) reply5(in *dissect.Input) (int, error) {
	host, port, n, err := address(in.Data)
	if n == 0 || err != nil {
		return 0, err
	}
	k.c.Confirm()
	k.reply(in, n, in.Data[1], join(host, port))
	return n, nil
}

// reply4 reads a reply of SOCKS 4.
func (k *conn) reply4(in *dissect.Input) (int, error) {
	b := in.Data
	if len(b) < 8 {
		return 0, nil
	}
	if b[1] < 90 || b[1] > 93 {
		return 0, fmt.Errorf("reading a reply of SOCKS 4: unknown code %d", b[1])
	}
	k.c.Confirm()
	k.reply(in, 8, b[1], join(netip.AddrFrom4([4]byte(b[4:8])).String(), binary.BigEndian.Uint16(b[2:])))
	return 8, nil
}

// reply records a reply. BIND has two: where the proxy listens, and who connected.
func (k *conn) reply(in *dissect.Input, n int, code byte, where string) {
	k.x.Response(in, 0, n)
	if k.asked == 0 && k.loss == "" { // the request was not captured
		k.loss = string(dissect.LossGap)
	}
	row, said := k.row, replies[code]
	granted := code == 0 || code == 90
	row.StatusCode, row.StatusText, row.Outcome = table.Some(int32(code)), table.Some(said.text), said.outcome
	if said.text == "" {
		row.StatusText, row.Outcome = table.Some("code "+strconv.Itoa(int(code))), table.ServerError
	}
	if granted && k.bound {
		row.Connected = table.Some(where)
	} else if granted {
		row.Bound = table.Some(where)
	}
	if granted && k.asked == bind && !k.bound {
		k.bound = true
		return
	}
	k.emit("")
}
