// Package socks reads SOCKS 4, 4A and 5 (RFC 1928, RFC 1929): a client asks a proxy to connect it
// to a server.
//
// A row is one request with everything before it on its connection: the offered and the chosen
// authentication, and the login. After a granted request, the rest of the connection is read as any
// other connection. LIMIT: nothing is read behind an authentication that may encrypt the rest, such
// as GSSAPI, nor in the datagrams of UDP ASSOCIATE.
package socks

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/cursor"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// unknownTarget is column proxied_to of what a proxy relays to a target that cannot be read.
const unknownTarget = "(unknown)"

const (
	maxMethods = 32  // methods that a client offers; real ones offer up to 5
	maxName    = 255 // bytes of a name or user
)

// Row is one request to a proxy.
type Row struct {
	table.Call
	Version   int32             `col:"socks_version" doc:"4 or 5"`
	Offered   []string          `col:"socks_offered" doc:"kinds of authentication that the client offers; null if not captured"`
	Auth      table.Opt[string] `col:"socks_auth" enc:"dict" doc:"kind of authentication that the proxy chose: none, password, gssapi, …"`
	User      table.Opt[string] `col:"socks_user" enc:"dict" doc:"user of the login; of SOCKS 4, the user id"`
	Target    table.Opt[string] `col:"socks_target" doc:"address or name and port that the client asked for, such as api.example:443"`
	Bound     table.Opt[string] `col:"socks_bound" doc:"address and port in the proxy's reply: its end of the connection to the target, or the place where it listens"`
	Connected table.Opt[string] `col:"socks_connected" doc:"of BIND: address and port of the host that connected"`
}

// Protocol is SOCKS.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "socks",
		Doc:        "SOCKS 4, 4A and 5: requests to a proxy, with the login's user; what the connection then carries is read as usual",
		Versions:   "4, 4A, 5",
		Depth:      "methods offered and chosen, login, requested address, reply",
		Transports: []dissect.Transport{dissect.TCP},
		Ports:      []uint16{1080},
		Detect:     detect,
		Resume:     func(dissect.Dir, []byte) dissect.Verdict { return dissect.Likely }, // what follows a loss is read as another protocol
		New:        newConn,
		Row:        &Row{},
		Traits:     table.Traits{Elsewhere: true},
	}
}

// Commands, RFC 1928 section 4.
const (
	connect   = 1
	bind      = 2
	associate = 3
)

var commands = map[byte]string{connect: "CONNECT", bind: "BIND", associate: "UDP ASSOCIATE"}

// Kinds of authentication, RFC 1928 section 3 and the registry of IANA.
const (
	authNone     = 0
	authGSSAPI   = 1
	authPassword = 2
	authNothing  = 0xff // none is acceptable
)

var kinds = map[byte]string{authNone: "none", authGSSAPI: "gssapi", authPassword: "password", 3: "chap", 5: "challenge-response", 6: "ssl", 7: "nds", 8: "multi-authentication", 9: "json"}

func kind(b byte) string {
	if name := kinds[b]; name != "" {
		return name
	}
	return strconv.Itoa(int(b))
}

// phase is the next expected message of a side.
type phase uint8

const (
	phaseGreeting phase = iota // of the client: methods or a request; of the proxy: a method or a reply
	phaseLogin                 // of the client: a login or a request
	phaseRequest
	phaseDone
)

// conn is the state of a connection.
type conn struct {
	c     *dissect.Conn
	x     dissect.Exchange
	row   *Row
	sides [2]phase
	asked byte   // command
	bound bool   // BIND had its first reply
	loss  string // of a message of the client
	done  bool

	passed table.Opt[string] // column proxied_to of the rest of the connection
}

const connCost = int(unsafe.Sizeof(conn{}) + unsafe.Sizeof(Row{}))

func newConn(c *dissect.Conn) dissect.Dissector { return &conn{c: c, row: &Row{Version: 5}} }

// Kept implements dissect.Dissector.
func (k *conn) Kept() int { return connCost }

// Shed implements dissect.Dissector.
func (k *conn) Shed() bool { return k.cut("cut") }

// Gap implements dissect.Dissector.
func (k *conn) Gap(*dissect.Input, int64) bool { return false }

// Resync implements dissect.Dissector. If a message of the client was lost, the reply still ends the
// negotiation.
func (k *conn) Resync(dir dissect.Dir, why dissect.Loss) {
	if dir == dissect.ToServer && !k.done && k.x.HasRequest() {
		k.loss, k.sides[dir] = string(why), phaseDone
		return
	}
	k.cut(string(why))
}

// Close implements dissect.Dissector.
func (k *conn) Close(why dissect.End) { k.cut(why.CallError()) }

// cut emits the read part of a request, if any.
func (k *conn) cut(why string) bool {
	if k.done || !k.x.HasRequest() && !k.x.HasResponse() {
		return false
	}
	k.emit(why)
	return true
}

// Read implements dissect.Dissector.
func (k *conn) Read(in *dissect.Input) (n int, err error) {
	if in.Offset(0) > 0 && !k.x.HasRequest() && !k.x.HasResponse() && k.loss == "" { // the methods were not captured
		k.loss = string(dissect.LossGap)
	}
	switch {
	case len(in.Data) == 0:
		return 0, nil
	case k.done: // given up before its end
	case in.Dir == dissect.ToServer:
		n, err = k.client(in)
	default:
		n, err = k.server(in)
	}
	if k.done {
		k.c.PassedTo(k.passed)
		k.c.Upgrade("", nil)
	}
	return n, err
}

// client reads one message of the client.
func (k *conn) client(in *dissect.Input) (int, error) {
	b, s := in.Data, &k.sides[dissect.ToServer]
	if *s == phaseDone {
		return 0, nil // the first bytes of the tunnel, before the reply
	}
	var n int
	var err error
	switch {
	case b[0] == 4 && *s == phaseGreeting:
		n, err = k.request4(b)
	case b[0] == 5 && *s == phaseGreeting:
		if n = greeting(b); n > 0 {
			k.offer(b[2:n])
			*s = phaseLogin
			break
		}
		if !mayGreet(b) {
			n, err = k.request5(b)
		}
	case b[0] == 1 && *s == phaseLogin:
		if n = k.login(in); n > 0 {
			*s = phaseRequest
		}
	case b[0] == 5:
		n, err = k.request5(b)
	default:
		return 0, fmt.Errorf("reading what the client sent: it begins with %#02x", b[0])
	}
	if n > 0 {
		k.x.Request(in, 0, n)
	}
	return n, err
}

// greeting is the length of a client's greeting with the methods that it offers (RFC 1928 section 3), or 0 if b is not
// one: only the beginning of a login or a request may follow.
func greeting(b []byte) int {
	if len(b) < 3 || b[0] != 5 || b[1] == 0 || b[1] > maxMethods || len(b) < 2+int(b[1]) {
		return 0
	}
	n := 2 + int(b[1])
	var seen [256]bool
	for _, m := range b[2:n] {
		if seen[m] || m > 9 && m < 0x80 || m == authNothing {
			return 0
		}
		seen[m] = true
	}
	switch rest := b[n:]; {
	case len(rest) == 0:
	case rest[0] == 5 && seen[authNone]:
	case rest[0] == 1 && seen[authPassword]:
	default:
		return 0
	}
	return n
}

// mayGreet reports whether more bytes may complete b to a greeting.
func mayGreet(b []byte) bool {
	return len(b) < 2 || b[1] > 0 && b[1] <= maxMethods && len(b) < 2+int(b[1])
}

func (k *conn) offer(methods []byte) {
	for _, m := range methods {
		k.row.Offered = append(k.row.Offered, kind(m))
	}
}

// login reads the user and skips the password, RFC 1929 section 2.
func (k *conn) login(in *dissect.Input) int {
	c := cursor.New(in.Data[1:])
	user := c.Bytes(int(c.Uint8()))
	size := int(c.Uint8())
	password := c.Bytes(size)
	if c.Short() {
		return 0
	}
	k.x.Hide(in, 1+c.Used()-size, 1+c.Used())
	k.row.User, k.row.AuthKind = table.NonEmpty(clip.Line(user, maxName)), table.Some("password")
	k.c.Password(string(user), string(password))
	return 1 + c.Used()
}

// request5 reads a request, RFC 1928 section 4.
func (k *conn) request5(b []byte) (int, error) {
	host, port, n, err := address(b)
	if n == 0 || err != nil {
		return 0, err
	}
	if commands[b[1]] == "" {
		return 0, fmt.Errorf("reading a request: unknown command %d", b[1])
	}
	if k.row.Offered == nil && k.loss == "" { // the choice of a method was not captured
		k.loss = string(dissect.LossGap)
	}
	k.ask(b[1], host, port)
	return n, nil
}

// request4 reads a request of SOCKS 4 or 4A.
func (k *conn) request4(b []byte) (int, error) {
	c := cursor.New(b[1:])
	command, port, ip := c.Uint8(), c.Uint16(), c.Bytes(4)
	if c.Short() {
		return 0, nil
	}
	user := c.CString()
	var name []byte
	isName := ip[0] == 0 && ip[1] == 0 && ip[2] == 0 && ip[3] != 0
	if isName && !c.Short() {
		name = c.CString()
	}
	switch {
	case ip[3] == 0: // no host has this address, but lengths in other protocols look like it
		return 0, fmt.Errorf("reading a request of SOCKS 4: %v is a network", netip.AddrFrom4([4]byte(ip)))
	case command != connect && command != bind:
		return 0, fmt.Errorf("reading a request of SOCKS 4: unknown command %d", command)
	case c.Short() && len(b) > 9+2*maxName || len(user) > maxName || len(name) > maxName:
		return 0, errors.New("reading a request of SOCKS 4: a user or name of more than 255 bytes")
	case !clip.Printable(user) || !clip.Printable(name):
		return 0, errors.New("reading a request of SOCKS 4: control characters in a user or name")
	case c.Short():
		return 0, nil
	}
	host := netip.AddrFrom4([4]byte(ip)).String()
	if isName {
		host = clip.Line(name, maxName)
	}
	k.row.Version, k.row.User = 4, table.NonEmpty(clip.Line(user, maxName))
	k.ask(command, host, port)
	return 1 + c.Used(), nil
}

// ask records a request.
func (k *conn) ask(command byte, host string, port uint16) {
	k.asked, k.sides[dissect.ToServer] = command, phaseDone
	k.row.Method, k.row.Host, k.row.Target = table.Some(commands[command]), table.NonEmpty(host), table.Some(join(host, port))
	if command != associate { // which names the client's own address
		k.row.ProxiedTo = k.row.Target
	}
}

func join(host string, port uint16) string {
	if a, err := netip.ParseAddr(host); err == nil {
		return netip.AddrPortFrom(a, port).String()
	}
	return host + ":" + strconv.Itoa(int(port))
}

// Types of addresses, RFC 1928 section 5.
const (
	typeIPv4 = 1
	typeName = 3
	typeIPv6 = 4
)

// address reads a message that ends with an address and a port: VER, CMD or REP, RSV, ATYP. n is 0 if
// it is not complete.
func address(b []byte) (host string, port uint16, n int, err error) {
	if len(b) < 5 {
		return "", 0, 0, nil
	}
	size := 0
	switch {
	case b[2] != 0:
		return "", 0, 0, fmt.Errorf("reading a message of SOCKS 5: the reserved byte is %d", b[2])
	case b[3] == typeIPv4:
		size = 4
	case b[3] == typeIPv6:
		size = 16
	case b[3] == typeName && b[4] > 0:
		size = 1 + int(b[4])
	case b[3] == typeName && b[1] != 0 && b[0] == 5: // some proxies reply an empty name to a failed request
		size = 1
	default:
		return "", 0, 0, fmt.Errorf("reading a message of SOCKS 5: unknown type of address %d", b[3])
	}
	n = 4 + size + 2
	if len(b) < n {
		return "", 0, 0, nil
	}
	if b[3] == typeName {
		host = clip.Line(b[5:4+size], maxName)
	} else {
		a, _ := netip.AddrFromSlice(b[4 : 4+size])
		host = a.Unmap().String()
	}
	return host, binary.BigEndian.Uint16(b[n-2:]), n, nil
}

// emit emits the row. why is the value of column error, empty if the request was answered.
func (k *conn) emit(why string) {
	k.done = true
	row := k.row
	if k.passed = row.ProxiedTo; !row.Method.OK { // it was not captured, or is encrypted
		k.passed = table.Some(unknownTarget)
	}
	if why == "" {
		why = k.loss
	}
	if !k.x.HasRequest() && (why == "" || why == k.loss) {
		why = "no_request"
	}
	row.Error, row.Complete = table.NonEmpty(why), why == ""
	if !row.Method.OK {
		row.Method = table.Some("NEGOTIATE")
	}
	row.Summary = row.Method.V
	if row.Target.OK {
		row.Summary += " " + row.Target.V
	}
	if row.User.OK {
		row.Summary += " as " + row.User.V
	}
	if end := row.StatusText.V; end != "" {
		row.Summary += " → " + end
	}
	if why != "" {
		row.Summary += " → " + why
	}
	k.c.Emit(&k.x, row)
	k.x, k.row = dissect.Exchange{}, &Row{Version: row.Version}
}
