// Package netbios reads the name service and the datagram service of NetBIOS over UDP (RFC 1002).
//
// A row is a request with its response; a datagram is a row. Package smb reads the session service.
package netbios

import (
	_ "embed" // for names.txt
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/cursor"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/byid"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/names"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Limits of one message.
const (
	maxNames    = 64
	wait        = int64(30e9) // ns in which a request may be answered
	headSize    = 12
	maxMailslot = 64
)

// Types of records, RFC 1002 section 4.2.1.3.
const (
	typeNB   = 0x20
	typeStat = 0x21
)

// Row is a request of the name service with its response, or a datagram.
type Row struct {
	table.Call
	Name        table.Opt[string] `col:"netbios_name" enc:"dict" doc:"name that the message is about, with the number of its service, such as FILES<20>; of a datagram, the name that it is sent to"`
	Source      table.Opt[string] `col:"netbios_source" enc:"dict" doc:"name that a datagram is from"`
	Scope       table.Opt[string] `col:"netbios_scope" enc:"dict" doc:"scope of the name"`
	Transaction int32             `col:"netbios_transaction" doc:"identifier that pairs request and response"`
	Broadcast   bool              `col:"netbios_broadcast" doc:"the message is sent to all hosts of a network"`
	Addresses   []string          `col:"netbios_addresses" doc:"addresses of the name: that the response has, or that are registered; at most 64"`
	Names       []string          `col:"netbios_names" doc:"names of a host in its status; at most 64"`
	MAC         table.Opt[string] `col:"netbios_mac" doc:"hardware address of a host in its status"`
	TTL         table.Opt[int64]  `col:"netbios_ttl" unit:"s" doc:"how long the name is valid"`
	Mailslot    table.Opt[string] `col:"netbios_mailslot" enc:"dict" doc:"mailslot of a datagram, such as \\MAILSLOT\\BROWSE"`
}

// Protocol is NetBIOS in datagrams.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "netbios",
		Doc:        "NetBIOS over UDP: names, and datagrams",
		Versions:   "RFC 1002",
		Depth:      "names with addresses, the status of hosts, names and mailslots of datagrams",
		Transports: []dissect.Transport{dissect.UDP},
		Ports:      []uint16{137, 138},
		Detect:     detect,
		New:        newConn,
		Row:        &Row{},
		Traits:     table.Traits{Lookup: true, Elsewhere: true, Words: "NULL", Harmless: "status_text = 'NAM_ERR'"},
	}
}

//go:embed names.txt
var namesText string

// tables are the sections of names.txt.
var tables = names.Lazy(namesText)

// key identifies a request; each host may send some.
type key struct {
	id  uint16
	dir dissect.Dir
}

type call = byid.Call[*Row, struct{}]

type conn struct {
	byid.Pairs[key, *Row, struct{}]
}

func newConn(c *dissect.Conn) dissect.Dissector {
	k := &conn{}
	k.Start(c, wait, fill)
	return k
}

// Gap implements dissect.Dissector; datagrams have no gaps.
func (k *conn) Gap(*dissect.Input, int64) bool { return true }

// Read implements dissect.Dissector.
func (k *conn) Read(in *dissect.Input) (int, error) {
	b := in.Data
	if len(b) == 0 { // the end
		return 0, nil
	}
	if row, ok := readDatagram(b); ok {
		k.End(k.Request(in, len(b), row), "")
		return len(b), nil
	}
	m, ok := readMessage(b)
	switch {
	case !ok:
		return 0, fmt.Errorf("reading a message: %d bytes are no message of NetBIOS", len(b))
	case m.response:
		k.response(in, m)
		return len(b), nil
	}
	c := k.Request(in, len(b), &m.row)
	if m.row.Broadcast || k.Conn.Info.Multicast {
		k.End(c, "")
	} else {
		k.Await(key{m.id, in.Dir}, c, 256)
	}
	return len(b), nil
}

func (k *conn) response(in *dissect.Input, m *message) {
	id := key{m.id, in.Dir.Other()}
	c, _ := k.Get(id)
	if c != nil && m.opcode == 7 { // WACK: the server needs more time
		c.X.Response(in, 0, len(in.Data))
		return
	}
	k.Take(id)
	c = k.Response(in, len(in.Data), c, &m.row)
	row := c.Row
	row.Addresses, row.Names, row.MAC, row.TTL = m.row.Addresses, m.row.Names, m.row.MAC, m.row.TTL
	row.StatusCode = table.Some(int32(m.rcode))
	if m.rcode != 0 {
		row.StatusText = table.Some(tables()["rcode"].Name(int64(m.rcode), "rcode_"))
	}
	switch m.rcode {
	case 0:
	case 2:
		row.Outcome = table.ServerError
	case 5, 6:
		row.Outcome = table.Refused
	default:
		row.Outcome = table.ClientError
	}
	k.End(c, "")
}

// message is a message of the name service.
type message struct {
	id       uint16
	response bool
	opcode   uint8
	rcode    uint8
	row      Row
}

// readMessage reads a message, RFC 1002 section 4.2. All of b must belong to it.
func readMessage(b []byte) (*message, bool) {
	if len(b) < headSize+34+4 {
		return nil, false
	}
	flags := binary.BigEndian.Uint16(b[2:])
	m := &message{id: binary.BigEndian.Uint16(b), response: flags>>15 != 0, opcode: uint8(flags >> 11 & 15), rcode: uint8(flags & 15)}
	questions, answers := binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[6:])
	others := int(binary.BigEndian.Uint16(b[8:])) + int(binary.BigEndian.Uint16(b[10:]))
	if tables()["opcode"][int64(m.opcode)] == "" || m.rcode > 7 || flags&0x60 != 0 || questions > 1 || answers > 1 || others > 8 || !m.response && (questions == 0 || m.rcode != 0) {
		return nil, false
	}
	r := cursor.New(b)
	r.Skip(headSize)
	row := &m.row
	row.Transaction, row.Broadcast = int32(m.id), flags&0x10 != 0
	row.Method = table.Some(tables()["opcode"].Name(int64(m.opcode), ""))
	if questions == 1 {
		if !row.name(&r) || !row.kind(r.Uint16()) || r.Uint16() != 1 {
			return nil, false
		}
	}
	for range int(answers) + others {
		if !row.record(&r) {
			return nil, false
		}
	}
	return m, !r.Short() && r.Left() == 0 && row.Name.OK
}

// kind notes the type of a question, and reports whether there is such a one.
func (row *Row) kind(t uint16) bool {
	if t == typeStat {
		row.Method = table.Some("NODE STATUS")
	}
	return t == typeNB || t == typeStat
}

// name reads a name, or a pointer to the first one.
func (row *Row) name(r *cursor.Cursor) bool {
	rest := r.Rest()
	if len(rest) >= 2 && rest[0] == 0xc0 && rest[1] == headSize && row.Name.OK {
		r.Skip(2)
		return true
	}
	name, scope, n := coded(rest)
	if n == 0 {
		return false
	}
	r.Skip(n)
	if !row.Name.OK {
		row.Name, row.Scope = table.Some(name), table.NonEmpty(scope)
		host, _, _ := strings.Cut(name, "<")
		row.Host = table.NonEmpty(host)
	}
	return true
}

// record reads a record.
func (row *Row) record(r *cursor.Cursor) bool {
	if !row.name(r) {
		return false
	}
	t, class, ttl := r.Uint16(), r.Uint16(), r.Uint32()
	data := r.Sub(int(r.Uint16()))
	if r.Short() || class != 1 {
		return false
	}
	switch t {
	case typeNB:
		row.TTL = table.Some(int64(ttl))
		for data.Left() >= 6 && len(row.Addresses) < maxNames {
			data.Skip(2)
			addr, _ := netip.AddrFromSlice(data.Bytes(4))
			row.Addresses = append(row.Addresses, addr.String())
		}
	case typeStat:
		row.Method = table.Some("NODE STATUS")
		for range data.Uint8() {
			name := data.Bytes(16)
			data.Skip(2)
			if data.Short() {
				return false
			}
			if len(row.Names) < maxNames {
				row.Names = append(row.Names, written(name))
			}
		}
		if mac := data.Bytes(6); mac != nil {
			row.MAC = table.Some(fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]))
		}
	case 1, 2, 10: // A, NS, NULL
	default:
		return false
	}
	return true
}

// coded reads a name in which each letter is half a byte, RFC 1001 section 14.1, and its scope. n is 0 if it is not one.
func coded(b []byte) (name, scope string, n int) {
	if len(b) < 34 || b[0] != 32 {
		return "", "", 0
	}
	var raw [16]byte
	for i := range raw {
		high, low := b[1+2*i]-'A', b[2+2*i]-'A'
		if high > 15 || low > 15 {
			return "", "", 0
		}
		raw[i] = high<<4 | low
	}
	for n = 33; n < len(b) && b[n] != 0; n += 1 + int(b[n]) {
		if b[n] > 63 || n+1+int(b[n]) >= len(b) || n > 255 {
			return "", "", 0
		}
		scope += "." + clip.Line(b[n+1:n+1+int(b[n])], 63)
	}
	if n >= len(b) {
		return "", "", 0
	}
	return written(raw[:]), strings.TrimPrefix(scope, "."), n + 1
}

// written is a name of 16 bytes: the last one is a number of a service.
func written(b []byte) string {
	text := clip.Line([]byte(strings.TrimRight(string(b[:15]), " \x00")), 64)
	return fmt.Sprintf("%s<%02x>", text, b[15])
}

// readDatagram reads a datagram, RFC 1002 section 4.4.
func readDatagram(b []byte) (*Row, bool) {
	if len(b) < 14+2*34 || tables()["datagram"][int64(b[0])] == "" || b[1]&^0x0f != 0 || int(binary.BigEndian.Uint16(b[10:])) != len(b)-14 {
		return nil, false
	}
	source, _, n := coded(b[14:])
	if n == 0 {
		return nil, false
	}
	name, scope, m := coded(b[14+n:])
	if m == 0 {
		return nil, false
	}
	row := &Row{Name: table.Some(name), Source: table.Some(source), Scope: table.NonEmpty(scope), Transaction: int32(binary.BigEndian.Uint16(b[2:])), Broadcast: b[0] == 0x12}
	row.Method = table.Some(tables()["datagram"].Name(int64(b[0]), ""))
	data := string(b[14+n+m:])
	if i := strings.Index(data, `\MAILSLOT\`); i >= 0 && strings.HasPrefix(data, "\xffSMB") {
		slot, _, _ := strings.Cut(data[i:], "\x00")
		row.Mailslot = table.Some(clip.Line([]byte(slot), maxMailslot))
	}
	return row, true
}

// detect accepts whole messages only: names in half bytes are rare elsewhere.
func detect(_ dissect.Dir, b []byte) dissect.Verdict {
	if len(b) > 0 && b[0] >= 0x10 && b[0] <= 0x12 {
		if _, ok := readDatagram(b); ok {
			return dissect.Yes
		}
	}
	_, ok := readMessage(b)
	return dissect.Yes.If(ok)
}

// fill sets the columns about the end of a call.
func fill(c *call, why string) {
	row := c.Row
	s := row.Method.V + " " + row.Name.V
	if row.Source.OK {
		s = row.Method.V + " " + row.Source.V + " to " + row.Name.V
	}
	switch {
	case row.StatusText.OK:
		s += " → " + row.StatusText.V
	case len(row.Names) > 0:
		s += " → " + clip.Count(int64(len(row.Names)), "name", "names")
	case len(row.Addresses) > 0:
		s += " → " + strings.Join(row.Addresses[:min(len(row.Addresses), 4)], ", ")
	case why != "":
		s += " → " + why
	case row.Mailslot.OK:
		s += ", " + row.Mailslot.V
	}
	row.Summary = s
}
