// Package ldap reads LDAP version 3 and 2 (RFC 4511) over TCP and, as CLDAP, over UDP.
//
// A row is one operation with all of its answers: a search with all its entries. Messages are
// paired by their ids. Passwords never leave the package, and values of attributes are shown only
// in filters. After StartTLS the connection is read as TLS. Messages signed by a SASL mechanism are
// read; encrypted ones are counted in one row.
package ldap

import (
	"fmt"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/ber"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/byid"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/framed"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Limits of one message and of one call.
const (
	maxMessage = 128 << 20 // bytes of a message
	maxWhole   = 64 << 10  // bytes of a message that are read; of a longer one, its beginning
	maxText    = 1 << 10   // bytes shown of a name or a text
	maxFilter  = 4 << 10   // bytes shown of a filter
	maxDepth   = 32        // nested filters
	maxNames   = 20        // names of entries shown
	maxList    = 100       // attributes, controls and referrals shown
	maxID      = 1<<31 - 1 // RFC 4511 section 4.1.1.1
	waitUDP    = 60e9      // ns after which a request in a datagram counts as unanswered
)

// Row is one operation with its result.
type Row struct {
	table.Call
	Type       string            `col:"ldap_type" enc:"dict" doc:"operation: bind, unbind, search, modify, add, delete, modify_dn, compare, abandon, extended; notification for a message that the server sent on its own, sealed for everything that SASL encrypted"`
	MessageID  table.Opt[int64]  `col:"ldap_message_id" doc:"message id, which pairs request and response"`
	DN         table.Opt[string] `col:"ldap_dn" doc:"name of the object: of a bind, the user's; of a search, where it begins; at most 1 KiB"`
	Version    table.Opt[int32]  `col:"ldap_version" doc:"version that a bind requests"`
	Auth       table.Opt[string] `col:"ldap_auth" enc:"dict" doc:"kind of a bind: anonymous, unauthenticated (a name without a password), simple, sasl or ntlm"`
	Mechanism  table.Opt[string] `col:"ldap_mechanism" enc:"dict" doc:"SASL mechanism of a bind"`
	User       table.Opt[string] `col:"ldap_user" enc:"dict" doc:"name by which the connection was bound when the operation was requested; null if anonymous or not captured"`
	Scope      table.Opt[string] `col:"ldap_scope" enc:"dict" doc:"scope of a search: base, one, sub or subordinate"`
	Filter     table.Opt[string] `col:"ldap_filter" doc:"filter of a search as RFC 4515 writes it, at most 4 KiB; of a compare, the assertion; values of attributes for passwords are ***"`
	Attributes []string          `col:"ldap_attributes" doc:"attributes that a search requests or that an add or a modify sets; at most 100"`
	Changes    []string          `col:"ldap_changes" doc:"changes of a modify, such as replace mail, without values; at most 100"`
	NewName    table.Opt[string] `col:"ldap_new_name" doc:"new name of a modify_dn, with the new superior if there is one"`
	OID        table.Opt[string] `col:"ldap_oid" enc:"dict" doc:"extended operation, or its response's or a notification's name, such as 1.3.6.1.4.1.1466.20037 for StartTLS"`
	SizeLimit  table.Opt[int64]  `col:"ldap_size_limit" doc:"most entries that a search requests; 0 means no limit"`
	Entries    table.Opt[int64]  `col:"ldap_entries" doc:"number of entries that a search returned"`
	Names      []string          `col:"ldap_names" doc:"names of the first 20 entries"`
	References table.Opt[int64]  `col:"ldap_references" doc:"number of references to other servers that a search returned"`
	Referrals  []string          `col:"ldap_referrals" doc:"other servers that the result or the references name; at most 100"`
	Result     table.Opt[int32]  `col:"ldap_result_code" doc:"result code; its name is in status_text"`
	MatchedDN  table.Opt[string] `col:"ldap_matched_dn" doc:"the last object of the name that exists, if the result states it"`
	Message    table.Opt[string] `col:"ldap_message" doc:"the server's own text about the result, at most 1 KiB"`
	Controls   []string          `col:"ldap_controls" doc:"controls of the request, then of the result, by their OIDs; at most 100"`
	Abandoned  bool              `col:"ldap_abandoned" doc:"the client abandoned the operation"`
}

// Protocol is LDAP.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "ldap",
		Doc:        "LDAP versions 2 and 3 over TCP, and CLDAP over UDP",
		Versions:   "2, 3; CLDAP",
		Depth:      "operations with results, filters, attributes and the entries that a search returned",
		Transports: []dissect.Transport{dissect.TCP, dissect.UDP},
		Ports:      []uint16{389, 3268, 636, 3269},
		Detect:     detect, DetectOnPort: detectOnPort,
		Resume: resume,
		New:    newConn,
		Row:    &Row{},
	}
}

// call is an operation that waits for its result, or a result without an operation.
type call struct {
	x      dissect.Exchange
	row    *Row
	id     int64
	losses int // of responses, when it was sent
	user   string
	starts bool // StartTLS
	layer  bool // a SASL mechanism that may sign or encrypt what follows
	gap    bool
	bad    bool
	single bool // it has no response
	done   bool // its result was read
}

const callCost = int(unsafe.Sizeof(call{}) + unsafe.Sizeof(Row{}))

// conn is the state of a connection.
type conn struct {
	byid.Table[int64, *call]
	parts   framed.Parts[*call]
	user    string
	losses  int
	layer   bool // SASL may protect messages
	gaps    bool // a bind may be missing
	sealed  *call
	upgrade bool
}

func newConn(c *dissect.Conn) dissect.Dissector {
	k := &conn{}
	k.Table = byid.Table[int64, *call]{Conn: c, Emit: k.emit}
	if c.Info.Transport == dissect.UDP {
		k.Wait = waitUDP
	}
	return k
}

// Continue implements dissect.Continuer: StartTLS changes who the user is only by a bind (RFC 4513 section 3.2).
func (k *conn) Continue(before dissect.Dissector) { k.user = before.(*conn).user }

// Read implements dissect.Dissector.
func (k *conn) Read(in *dissect.Input) (int, error) {
	n, err := k.parts.Read(k, in, false)
	if err == nil && in.Datagram && n < len(in.Data) && !k.upgrade {
		err = fmt.Errorf("reading a datagram: its message is longer than the %d bytes left", len(in.Data)-n)
	}
	return n, err
}

// Next implements framed.Owner: it reads one message, or the beginning of a long one.
func (k *conn) Next(in *dissect.Input, at int, _ bool) (int, error) {
	b := in.Data[at:]
	if k.upgrade {
		return 0, nil
	}
	if b[0] == 0 && (k.layer || k.gaps || detectSigned(in.Dir, b) != dissect.No) {
		return k.protected(in, at)
	}
	tag, length, size := ber.Header(b)
	switch {
	case b[0] != ber.Sequence || size < 0 || length > maxMessage:
		return 0, fmt.Errorf("reading a message: expected a sequence of at most %d bytes, got %#x and length %d", maxMessage, tag, length)
	case size == 0:
		return 0, nil
	case length < 5:
		return 0, fmt.Errorf("reading a message: %d bytes are too few for an id and an operation", length)
	}
	want := size + int(min(length, maxWhole))
	if len(b) < want {
		if err := k.plausible(in.Dir, b[size:]); err != nil {
			return 0, err
		}
		k.Conn.Need(in.Dir, want)
		return 0, nil
	}
	c, final, err := k.message(in, b[size:want], at, at+want, length > maxWhole)
	if err != nil {
		return 0, err
	}
	s := &k.parts[in.Dir]
	*s = framed.Side[*call]{Left: length - int64(want-size), Call: c, Final: final}
	if s.Left == 0 {
		k.Ended(in.Dir, "")
	}
	return want, nil
}

// plausible rejects the beginning of a message that cannot become one, so that no time is wasted on the
// rest of it.
func (k *conn) plausible(dir dissect.Dir, b []byte) error {
	r := ber.New(b)
	id, op := r.Expect(ber.Integer), r.Peek()
	if r.Bad() && len(b) >= 8 || len(id) > 4 || op != 0 && !sends(dir, op) {
		return fmt.Errorf("reading a message: expected an id and an operation of this side, got % x", b[:min(len(b), 8)])
	}
	return nil
}

// Add implements framed.Call.
func (c *call) Add(in *dissect.Input, from, to int) {
	if c != nil {
		c.x.Add(in, from, to)
	}
}

// Ended implements framed.Owner.
func (k *conn) Ended(dir dissect.Dir, why string) {
	s := k.parts.Take(dir)
	c := s.Call
	if c == nil {
		return
	}
	c.gap = c.gap || s.Gap || why == string(dissect.LossGap)
	c.bad = c.bad || why == string(dissect.LossMalformed)
	if s.Final {
		if dir == dissect.ToClient {
			k.Take(c.id)
		}
		c.done = why == ""
		k.emit(c, why)
	}
}

// Gap implements dissect.Dissector. Bytes in a message of known length can be missing.
func (k *conn) Gap(in *dissect.Input, missing int64) bool {
	return len(in.Data) == 0 && k.parts.Gap(k, in, missing)
}

// Resync implements dissect.Dissector.
func (k *conn) Resync(dir dissect.Dir, why dissect.Loss) {
	k.Table.Resync(dir, why)
	k.gaps = true
	if dir == dissect.ToClient {
		k.losses++
	}
	k.parts.Stop(k, dir, string(why))
}

// Kept implements dissect.Dissector.
func (k *conn) Kept() int {
	n := len(k.user)
	for _, c := range [...]*call{k.sealed, k.parts[0].Call, k.parts[1].Call} {
		if c != nil {
			n += callCost
		}
	}
	return n
}

// Close implements dissect.Dissector.
func (k *conn) Close(why dissect.End) {
	k.parts.Stop(k, dissect.ToServer, "cut")
	k.parts.Stop(k, dissect.ToClient, "cut")
	k.Table.Close(why)
	if c := k.sealed; c != nil {
		k.sealed, c.done = nil, true
		k.emit(c, "")
	}
}
