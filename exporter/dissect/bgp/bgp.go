// Package bgp reads BGP 4: how sessions open, the routes that they announce and withdraw, and why
// they end.
//
// A row is an OPEN with the peer's answer, its own OPEN or a NOTIFICATION; any other message is a
// separate row, and all KEEPALIVEs of a connection are one.
package bgp

import (
	_ "embed" // for names.txt
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/names"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Limits of one message.
const (
	head        = 19        // bytes before a message, RFC 4271 section 4.1
	maxExtended = 1<<16 - 1 // bytes of a message, RFC 8654
	maxMessage  = 4096      // of an OPEN or a KEEPALIVE
	maxList     = 64        // prefixes, communities and capabilities that are listed; all are counted
	maxText     = 255       // bytes of a text
	maxPath     = 1 << 10   // bytes of a path
)

// Types of messages.
const (
	open         = 1
	update       = 2
	notification = 3
	keepalive    = 4
	refresh      = 5
)

// Row is a message, an OPEN with its answer, or all KEEPALIVEs of a connection.
type Row struct {
	table.Call
	Type             string            `col:"bgp_type" enc:"dict" doc:"OPEN, UPDATE, NOTIFICATION, KEEPALIVE (all of a connection in one row) or ROUTE-REFRESH"`
	AS               table.Opt[int64]  `col:"bgp_as" doc:"autonomous system of the sender of an OPEN: of 4 bytes if it states one"`
	PeerAS           table.Opt[int64]  `col:"bgp_peer_as" doc:"autonomous system that the peer's OPEN states"`
	ID               table.Opt[string] `col:"bgp_id" enc:"dict" doc:"BGP identifier of the sender of an OPEN"`
	PeerID           table.Opt[string] `col:"bgp_peer_id" enc:"dict" doc:"BGP identifier of the peer"`
	HoldTime         table.Opt[int64]  `col:"bgp_hold_time" unit:"s" doc:"hold time that an OPEN proposes"`
	PeerHoldTime     table.Opt[int64]  `col:"bgp_peer_hold_time" unit:"s" doc:"hold time that the peer's OPEN proposes"`
	Capabilities     []string          `col:"bgp_capabilities" doc:"capabilities of an OPEN, such as multiprotocol ipv4/unicast; at most 64"`
	PeerCapabilities []string          `col:"bgp_peer_capabilities" doc:"capabilities of the peer's OPEN"`
	Families         []string          `col:"bgp_families" doc:"address families of an UPDATE or a ROUTE-REFRESH, such as ipv6/unicast"`
	Announced        table.Opt[int64]  `col:"bgp_announced" doc:"prefixes that an UPDATE announces; null if it has families whose prefixes are not read"`
	Withdrawn        table.Opt[int64]  `col:"bgp_withdrawn" doc:"prefixes that an UPDATE withdraws"`
	Prefixes         []string          `col:"bgp_prefixes" doc:"announced prefixes of IPv4 and IPv6; at most 64"`
	WithdrawnList    []string          `col:"bgp_withdrawn_prefixes" doc:"withdrawn prefixes of IPv4 and IPv6; at most 64"`
	ASPath           table.Opt[string] `col:"bgp_as_path" doc:"AS path, the neighbour first, with AS4_PATH for numbers of 4 bytes; sets in braces, confederations in parentheses"`
	Origin           table.Opt[string] `col:"bgp_origin" enc:"dict" doc:"origin of the path: igp, egp or incomplete"`
	NextHop          table.Opt[string] `col:"bgp_next_hop" enc:"dict" doc:"next hop; the first one of several"`
	Communities      []string          `col:"bgp_communities" doc:"communities and large communities; at most 64"`
	EndOfRIB         bool              `col:"bgp_end_of_rib" doc:"the UPDATE marks the end of the first exchange of routes (RFC 4724)"`
	ErrorCode        table.Opt[string] `col:"bgp_error" enc:"dict" doc:"error of a NOTIFICATION, such as Cease"`
	ErrorSubcode     table.Opt[string] `col:"bgp_error_subcode" enc:"dict" doc:"subcode, such as Administrative Shutdown"`
	Reason           table.Opt[string] `col:"bgp_reason" doc:"operator's text in a NOTIFICATION (RFC 9003), at most 255 bytes"`
	Messages         table.Opt[int64]  `col:"bgp_messages" doc:"number of KEEPALIVEs that the sender sent on this connection"`
}

// Protocol is BGP.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "bgp",
		Doc:        "BGP 4: sessions, routes announced and withdrawn, errors",
		Versions:   "4",
		Depth:      "all messages; prefixes of IPv4 and IPv6, counts of labeled and VPN prefixes",
		Transports: []dissect.Transport{dissect.TCP},
		Ports:      []uint16{179},
		Detect:     detect,
		New:        newConn,
		Row:        &Row{},
	}
}

//go:embed names.txt
var namesText string

// tables are the sections of names.txt.
var tables = names.Lazy(namesText)

var marker = strings.Repeat("\xff", 16)

// readHead checks the head of a message. size is 0 if b is too short.
func readHead(b []byte) (size int, kind byte, err error) {
	if n := min(len(b), 16); string(b[:n]) != marker[:n] {
		return 0, 0, fmt.Errorf("reading a message: expected a marker, got % x", b[:n])
	}
	if len(b) < head {
		return 0, 0, nil
	}
	size, kind = int(binary.BigEndian.Uint16(b[16:])), b[18]
	least, most := map[byte]int{open: 29, update: 23, notification: 21, keepalive: head, refresh: 23}[kind], maxExtended
	switch kind {
	case open:
		most = maxMessage
	case keepalive:
		most = head
	}
	if least == 0 || size < least || size > most {
		return 0, 0, fmt.Errorf("reading a message: type %d with %d bytes", kind, size)
	}
	return size, kind, nil
}

// detect accepts a message after 16 bytes of ones; of an OPEN and a NOTIFICATION also their first fields.
func detect(_ dissect.Dir, b []byte) dissect.Verdict {
	size, kind, err := readHead(b)
	switch {
	case err != nil:
		return dissect.No
	case size == 0 || kind == open && len(b) < 29 || kind == notification && len(b) < 21:
		return dissect.More
	case kind == open && (b[19] != 4 || int(b[28]) != size-29 && b[28] != 255):
		return dissect.No
	case kind == notification && tables()["error"][int64(b[19])] == "":
		return dissect.No
	case kind == keepalive && len(b) > size && b[size] != 0xff:
		return dissect.No
	}
	return dissect.Yes
}

// call is a row in the making.
type call struct {
	x   dissect.Exchange
	row Row
}

// conn is the state of a connection.
type conn struct {
	c     *dissect.Conn
	open  *call // an OPEN that waits for the peer's
	from  dissect.Dir
	sent  [2]*offer // what the OPEN of each direction states
	alive [2]*call  // the KEEPALIVEs of each direction
	lost  dissect.Loss
}

func newConn(c *dissect.Conn) dissect.Dissector { return &conn{c: c} }

// Read implements dissect.Dissector.
func (k *conn) Read(in *dissect.Input) (int, error) {
	b := in.Data
	size, kind, err := readHead(b)
	if err != nil || size == 0 {
		return 0, err
	}
	if len(b) < size {
		k.c.Need(in.Dir, size)
		return 0, nil
	}
	if err := k.message(in, kind, b[head:size], size); err != nil {
		return 0, err
	}
	return size, nil
}

func (k *conn) message(in *dissect.Input, kind byte, b []byte, size int) error {
	if kind == keepalive {
		c := k.alive[in.Dir]
		if c == nil {
			c = &call{row: Row{Type: "KEEPALIVE"}}
			c.x.Reversed = in.Dir == dissect.ToClient
			k.alive[in.Dir] = c
		}
		c.row.Messages = table.Some(c.row.Messages.V + 1)
		c.x.Request(in, 0, size)
		return nil
	}
	c := &call{row: Row{Type: tables()["type"][int64(kind)]}}
	ok := true
	switch kind {
	case open:
		return k.opened(in, c, b, size)
	case update:
		ok = k.update(in.Dir, &c.row, b)
	case notification:
		c.row.notify(b)
		switch {
		case k.open == nil || k.from == in.Dir:
		case !in.First(0): // its own OPEN, which answers the other's, was not captured
			k.emit(k.open, string(dissect.LossGap))
			k.open = nil
		default:
			k.open.row.ErrorCode, k.open.row.ErrorSubcode, k.open.row.Reason = c.row.ErrorCode, c.row.ErrorSubcode, c.row.Reason
			k.open.row.StatusCode, k.open.row.StatusText, k.open.row.Outcome = c.row.StatusCode, c.row.StatusText, table.Refused
			k.answered(in, size)
			return nil
		}
	case refresh:
		c.row.Families = []string{family{int(binary.BigEndian.Uint16(b)), b[3]}.String()}
		c.row.StatusText = table.Some(tables()["refresh"].Name(int64(b[2]), "refresh_"))
	}
	c.x.Reversed = in.Dir == dissect.ToClient
	c.x.Request(in, 0, size)
	why := ""
	if !ok {
		why = string(dissect.LossMalformed)
		k.c.Anomaly("malformed", "bgp: a field of "+c.row.Type+" does not fit into it", 0)
	}
	k.emit(c, why)
	return nil
}

// opened reads an OPEN: the first one of a connection waits for the other's.
func (k *conn) opened(in *dissect.Input, c *call, b []byte, size int) error {
	o, err := readOpen(b)
	if err != nil {
		return err
	}
	k.sent[in.Dir] = o
	if k.open != nil && k.from != in.Dir {
		row := &k.open.row
		row.PeerAS, row.PeerID, row.PeerHoldTime, row.PeerCapabilities = table.Some(o.as), table.Some(o.id), table.Some(o.hold), o.list
		k.answered(in, size)
		return nil
	}
	if k.open != nil {
		k.emit(k.open, "no_response")
	}
	row := &c.row
	row.AS, row.ID, row.HoldTime, row.Capabilities = table.Some(o.as), table.Some(o.id), table.Some(o.hold), o.list
	c.x.Request(in, 0, size)
	c.x.Reversed = in.Dir == dissect.ToClient
	k.open, k.from = c, in.Dir
	return nil
}

// answered ends the OPEN that waits.
func (k *conn) answered(in *dissect.Input, size int) {
	c := k.open
	k.open = nil
	c.x.Response(in, 0, size)
	k.emit(c, "")
}

// notify reads a NOTIFICATION, RFC 4271 section 4.5.
func (r *Row) notify(b []byte) {
	code, sub := int64(b[0]), int64(b[1])
	r.ErrorCode = table.Some(tables()["error"].Name(code, "error_"))
	r.StatusCode, r.StatusText = table.Some(int32(code)), r.ErrorCode
	if sub != 0 || tables()[fmt.Sprint("error", code)] != nil && code == 6 {
		name := tables()[fmt.Sprint("error", code)].Name(sub, "subcode_")
		r.ErrorSubcode, r.StatusText = table.Some(name), table.Some(r.ErrorCode.V+"/"+name)
	}
	b = b[2:]
	if code == 6 && sub == 9 && len(b) >= 2 { // a hard reset encloses another one, RFC 8538 section 3
		b = b[2:]
		sub = 2
	}
	if code == 6 && (sub == 2 || sub == 4) && len(b) > 1 && int(b[0]) < len(b) {
		r.Reason = table.NonEmpty(line(b[1 : 1+int(b[0])]))
	}
	r.Outcome = table.ServerError
	if code == 6 {
		r.Outcome = table.OK
	}
}

// Gap implements dissect.Dissector: a message with a gap has lost its meaning.
func (k *conn) Gap(*dissect.Input, int64) bool { return false }

// Resync implements dissect.Dissector.
func (k *conn) Resync(_ dissect.Dir, why dissect.Loss) {
	k.lost = why // a KEEPALIVE may be among what is lost
	if c := k.open; c != nil {
		k.open = nil
		k.emit(c, string(why))
	}
}

// Kept implements dissect.Dissector.
func (k *conn) Kept() int {
	n := 0
	for _, c := range [...]*call{k.open, k.alive[0], k.alive[1]} {
		if c != nil {
			n += rowCost
		}
	}
	for _, o := range k.sent {
		if o != nil {
			n += rowCost
		}
	}
	return n
}

const rowCost = 4 << 10 // memory of a row, or of what an OPEN states

// Shed implements dissect.Dissector.
func (k *conn) Shed() bool {
	for _, c := range [...]**call{&k.open, &k.alive[0], &k.alive[1]} {
		if waiting := *c; waiting != nil {
			*c = nil
			why := string(k.lost)
			if c == &k.open {
				why = "cut"
			}
			k.emit(waiting, why)
			return true
		}
	}
	return false
}

// Close implements dissect.Dissector.
func (k *conn) Close(why dissect.End) {
	if c := k.open; c != nil {
		k.open = nil
		k.emit(c, why.CallError())
	}
	for dir, c := range k.alive {
		if c != nil {
			k.alive[dir] = nil
			k.emit(c, string(k.lost))
		}
	}
}

// emit emits a row. why is the value of column error, empty if nothing is missing.
func (k *conn) emit(c *call, why string) {
	row := &c.row
	row.Error, row.Complete = table.NonEmpty(why), why == ""
	row.Method = table.Some(row.Type)
	row.Summary = row.summary(why)
	k.c.Emit(&c.x, row)
}

func (r *Row) summary(why string) string {
	s := r.Type
	if r.AS.OK {
		s += fmt.Sprintf(" AS %d", r.AS.V)
	}
	if len(r.Families) > 0 {
		s += " " + strings.Join(r.Families, " ")
	}
	switch {
	case r.EndOfRIB:
		s += " end of RIB"
	case r.Type == "UPDATE":
		for _, n := range [...]struct {
			count table.Opt[int64]
			sign  string
			list  []string
		}{{r.Announced, "+", r.Prefixes}, {r.Withdrawn, "-", r.WithdrawnList}} {
			if n.count.V > 0 {
				s += fmt.Sprintf(" %s%d", n.sign, n.count.V)
			}
			if len(n.list) > 0 {
				s += " " + n.list[0]
			}
		}
		if r.ASPath.V != "" {
			s += " via " + r.ASPath.V[:min(len(r.ASPath.V), 80)]
		}
	case r.Messages.OK:
		s += fmt.Sprintf(" ×%d", r.Messages.V)
	}
	switch {
	case r.StatusText.OK:
		return s + " → " + r.StatusText.V
	case r.PeerAS.OK:
		return s + fmt.Sprintf(" → AS %d", r.PeerAS.V)
	case why != "":
		return s + " → " + why
	}
	return s
}
