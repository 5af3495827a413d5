// Package tacacs reads TACACS+ (RFC 8907): logins, authorizations and accounting of devices.
//
// A row is a packet of the client with the server's reply. The body is read if it is not obfuscated; passwords never leave the
// package.
package tacacs

import (
	_ "embed" // for names.txt
	"encoding/binary"
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/byid"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/names"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Limits of one packet.
const (
	headSize = 12
	maxBody  = 64 << 10
	maxText  = 255
	maxArgs  = 255
	maxUsers = 64 // sessions of a connection whose user is known
)

// Flags, RFC 8907 section 4.1.
const (
	unencrypted = 1
	single      = 4
)

// Row is a packet of the client with the server's reply.
type Row struct {
	table.Call
	Session    int64             `col:"tacacs_session" doc:"identifier of the session that the packets belong to"`
	Sequence   int32             `col:"tacacs_sequence" doc:"number of the client's packet in its session, from 1"`
	Single     bool              `col:"tacacs_single_connect" doc:"the client offers to use the connection for several sessions"`
	Obfuscated bool              `col:"tacacs_obfuscated" doc:"the bodies are obfuscated with a shared secret, so that only their heads are read"`
	User       table.Opt[string] `col:"tacacs_user" enc:"dict" doc:"user of the session"`
	Terminal   table.Opt[string] `col:"tacacs_port" enc:"dict" doc:"port of the device on which the user is, such as tty0"`
	Remote     table.Opt[string] `col:"tacacs_rem_addr" enc:"dict" doc:"address from which the user came, as the device says"`
	Privilege  table.Opt[int32]  `col:"tacacs_privilege" doc:"privilege level, 0 to 15"`
	Service    table.Opt[string] `col:"tacacs_service" enc:"dict" doc:"service that requests the authentication, such as login or enable"`
	Arguments  []string          `col:"tacacs_arguments" doc:"arguments of the request, such as cmd=show; at most 255"`
	Answers    []string          `col:"tacacs_response_arguments" doc:"arguments of the response"`
	Message    table.Opt[string] `col:"tacacs_server_message" doc:"text of the server for the user, at most 255 bytes"`
}

// Protocol is TACACS+.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "tacacs",
		Doc:        "TACACS+: logins, authorizations and accounting of devices",
		Versions:   "RFC 8907",
		Depth:      "heads; bodies that are not obfuscated, with users, arguments and results",
		Transports: []dissect.Transport{dissect.TCP},
		Ports:      []uint16{49},
		Detect:     detect,
		New:        newConn,
		Row:        &Row{},
	}
}

//go:embed names.txt
var namesText string

// tables are the sections of names.txt.
var tables = names.Lazy(namesText)

// key identifies the packet that a reply answers.
type key struct {
	session  uint32
	sequence uint8
}

type call = byid.Call[*Row, struct{}]

type conn struct {
	byid.Pairs[key, *Row, struct{}]
	users map[uint32]login
}

// login is what later packets of a session do not repeat.
type login struct {
	user string
	asks int64 // last status of the server
}

func newConn(c *dissect.Conn) dissect.Dissector {
	k := &conn{users: map[uint32]login{}}
	k.Start(c, 0, fill)
	return k
}

// Kept implements dissect.Dissector.
func (k *conn) Kept() int { return len(k.users) * (maxText + 32) }

// head is the head of a packet.
type head struct {
	kind, sequence, flags uint8
	session               uint32
	size                  int
}

// readHead reads a head of a direction.
func readHead(dir dissect.Dir, b []byte) (h head, err error) {
	h = head{kind: b[1], sequence: b[2], flags: b[3], session: binary.BigEndian.Uint32(b[4:]), size: headSize}
	length := binary.BigEndian.Uint32(b[8:])
	if b[0]&^1 != 0xc0 || tables()["type"][int64(h.kind)] == "" || h.flags&^(unencrypted|single) != 0 || h.sequence == 0 || (h.sequence&1 == 1) != (dir == dissect.ToServer) || length < 5 || length > maxBody {
		return h, fmt.Errorf("reading a head: version %#x, type %d, sequence %d and length %d are not those of TACACS+", b[0], b[1], b[2], length)
	}
	h.size += int(length)
	return h, nil
}

// Read implements dissect.Dissector.
func (k *conn) Read(in *dissect.Input) (int, error) {
	b := in.Data
	if len(b) < headSize {
		return 0, nil
	}
	h, err := readHead(in.Dir, b)
	if err != nil {
		return 0, err
	}
	if len(b) < h.size {
		k.Conn.Need(in.Dir, h.size)
		return 0, nil
	}
	if in.Dir == dissect.ToServer {
		err = k.request(in, h, b[headSize:h.size])
	} else {
		err = k.response(in, h, b[headSize:h.size])
	}
	if err != nil {
		if k.Conn.Unproved() {
			return 0, err
		}
		k.Conn.Anomaly("malformed", err.Error(), 0)
	}
	return h.size, nil
}

func newRow(h head) *Row {
	row := &Row{Session: int64(h.session), Sequence: int32(h.sequence), Single: h.flags&single != 0}
	row.Method = table.Some(tables()["type"].Name(int64(h.kind), ""))
	return row
}

func (k *conn) request(in *dissect.Input, h head, body []byte) (err error) {
	row := newRow(h)
	c := k.Request(in, h.size, row)
	if row.Obfuscated = !h.clear(in.Dir, body); !row.Obfuscated {
		err = k.asked(in, h, c, body)
	}
	k.Await(key{h.session, h.sequence + 1}, c, 512)
	return err
}

func (k *conn) response(in *dissect.Input, h head, body []byte) (err error) {
	c, _ := k.Take(key{h.session, h.sequence})
	row := newRow(h)
	row.Sequence-- // that of the request
	row.User = table.NonEmpty(k.users[h.session].user)
	c = k.Response(in, h.size, c, row)
	if !h.clear(in.Dir, body) {
		c.Row.Obfuscated, c.Row.Outcome = true, table.Unread
	} else {
		err = k.answered(h, c.Row, body)
	}
	k.End(c, "")
	return err
}

// detect accepts heads, which have many fixed bits, and bodies that fit them.
func detect(dir dissect.Dir, b []byte) dissect.Verdict {
	if len(b) < headSize {
		for i, c := range b {
			if i == 0 && c&^1 != 0xc0 || i == 1 && tables()["type"][int64(c)] == "" || i == 3 && c&^(unencrypted|single) != 0 || i == 8 && c != 0 {
				return dissect.No
			}
		}
		return dissect.More
	}
	h, err := readHead(dir, b)
	switch {
	case err != nil, dir == dissect.ToServer && h.flags&unencrypted != 0 && !bodyFits(h, b[headSize:min(len(b), h.size)]):
		return dissect.No
	case len(b) < h.size:
		return dissect.More
	}
	return dissect.Yes
}

// fill sets the columns about the end of a call.
func fill(c *call, why string) {
	row := c.Row
	s := row.Method.V
	if row.Service.OK {
		s += " " + row.Service.V
	}
	if row.User.OK {
		s += " " + row.User.V
	}
	if c.X.HasRequest() && row.Sequence > 1 && !row.User.OK && !row.Obfuscated { // the beginning of the session was not captured
		s += " ?"
	}
	for _, a := range row.Arguments[:min(len(row.Arguments), 4)] {
		s += " " + a
	}
	switch {
	case row.StatusText.OK:
		s += " → " + row.StatusText.V
	case why != "":
		s += " → " + why
	default:
		s += " → obfuscated"
	}
	row.Summary = s
}
