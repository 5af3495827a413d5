// Package kerberos reads Kerberos 5 (RFC 4120) between clients and key distribution centers, in datagrams
// and TCP connections: AS, TGS and KRB-ERROR.
//
// A row is a request with its response. Tickets, keys, encrypted timestamps and other encrypted parts are
// in no column: of those, only the type of encryption is kept.
package kerberos

import (
	_ "embed" // for names.txt
	"encoding/binary"
	"fmt"
	"hash/fnv"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/byid"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/names"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Row is a request with its response.
type Row struct {
	table.Call
	Type         string            `col:"kerberos_type" enc:"dict" doc:"AS-REQ or TGS-REQ; AS-REP, TGS-REP or KRB-ERROR if only the response was captured"`
	ResponseType table.Opt[string] `col:"kerberos_response_type" enc:"dict" doc:"AS-REP, TGS-REP or KRB-ERROR"`
	Client       table.Opt[string] `col:"kerberos_client" enc:"bloom" doc:"principal that logs in (cname): of the request, else of the response; of a TGS-REQ, as the response states it"`
	ClientRealm  table.Opt[string] `col:"kerberos_client_realm" enc:"dict" doc:"realm of the client, as the response states it; of an AS-REQ without one, the realm of the request"`
	Realm        table.Opt[string] `col:"kerberos_realm" enc:"dict" doc:"realm of the service"`
	Service      table.Opt[string] `col:"kerberos_service" enc:"bloom" doc:"service that a ticket is requested for (sname), such as krbtgt/SHOP.EXAMPLE or cifs/files"`
	Ticket       table.Opt[string] `col:"kerberos_ticket_service" enc:"bloom" doc:"service of the ticket in the response; another one than requested is a referral"`
	Offered      []string          `col:"kerberos_etypes" doc:"types of encryption that the client offers, in its order; at most 32"`
	Etype        table.Opt[string] `col:"kerberos_etype" enc:"dict" doc:"type of encryption of the response, which is that of the client's key"`
	TicketEtype  table.Opt[string] `col:"kerberos_ticket_etype" enc:"dict" doc:"type of encryption of the ticket, which is that of the service's key"`
	Weak         table.Opt[string] `col:"kerberos_weak" enc:"dict" doc:"weakest algorithm that encrypts the response, its ticket or the pre-authentication: des, rc4 or des3; null if none is weak"`
	OfferedWeak  table.Opt[bool]   `col:"kerberos_weak_offered" doc:"whether the client offers nothing but DES, DES3 and RC4"`
	Preauth      []string          `col:"kerberos_padata" doc:"types of pre-authentication data in the request, in order; at most 32"`
	PreauthEtype table.Opt[string] `col:"kerberos_preauth_etype" enc:"dict" doc:"type of encryption of the encrypted timestamp"`
	Required     []string          `col:"kerberos_required_padata" doc:"types of pre-authentication data that an error asks for; at most 32"`
	ForUser      table.Opt[string] `col:"kerberos_for_user" enc:"bloom" doc:"user whom the client impersonates (S4U2Self), with the realm"`
	Options      []string          `col:"kerberos_options" doc:"options of the request, such as forwardable"`
	Till         table.Opt[string] `col:"kerberos_till" doc:"until when the ticket is requested, as sent: 20371013024805Z"`
	Addresses    []string          `col:"kerberos_addresses" doc:"addresses of the client in the request, or its NetBIOS name; at most 32"`
	ErrorCode    table.Opt[int32]  `col:"kerberos_error_code" doc:"error code; its name is in status_text"`
	ErrorText    table.Opt[string] `col:"kerberos_error_text" doc:"the server's text about the error, at most 1 KiB"`
	ServerTime   table.Opt[string] `col:"kerberos_server_time" doc:"server's clock in an error, as sent"`
}

// Protocol is Kerberos.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "kerberos",
		Doc:        "Kerberos: logins and tickets, principals, types of encryption",
		Versions:   "5",
		Depth:      "requests with replies, principals, types of encryption, flags; encrypted parts are counted",
		Transports: []dissect.Transport{dissect.UDP, dissect.TCP},
		Ports:      []uint16{88},
		Detect:     detect,
		New:        newConn,
		Row:        &Row{},
		Traits:     table.Traits{Elsewhere: true, Issues: true},
	}
}

//go:embed names.txt
var namesText string

// tables are the sections of names.txt.
var tables = names.Lazy(namesText)

// Limits of a connection.
const (
	maxMessage = 256 << 10   // bytes of a message: tickets of Windows have up to 64 KiB
	maxSearch  = 64          // waiting requests that a response may answer
	wait       = int64(60e9) // ns after which a request in a datagram counts as unanswered
)

// call is a request with its response.
type call = byid.Call[*Row, note]

// note has the fields of a request that its response needs.
type note struct {
	key  key
	kind int64
	hash uint64 // of its bytes, to know it when it is sent again
}

// key identifies a request. Nothing in it is also in the response, so requests are numbered.
type key struct {
	dir dissect.Dir
	no  int64
}

type conn struct {
	byid.Pairs[key, *Row, note]
	requests int64
}

func newConn(c *dissect.Conn) dissect.Dissector {
	k := &conn{}
	k.Start(c, wait, fill)
	if c.Info.Transport != dissect.UDP {
		k.Wait = 0
	}
	return k
}

// Read implements dissect.Dissector.
func (k *conn) Read(in *dissect.Input) (int, error) {
	b, size := in.Data, len(in.Data)
	if len(b) == 0 { // the end
		return 0, nil
	}
	if !in.Datagram {
		if len(b) < 4 {
			return 0, nil
		}
		n := binary.BigEndian.Uint32(b)
		if n > maxMessage {
			return 0, fmt.Errorf("reading a message: length %d is greater than %d", n, maxMessage)
		}
		if size = 4 + int(n); len(b) < size {
			k.Conn.Need(in.Dir, size)
			return 0, nil
		}
		b = b[4:size]
	}
	m, err := parse(b)
	if err != nil {
		k.unread(in)
		return 0, err
	}
	if m.odd != "" {
		k.Conn.Anomaly("malformed", m.odd, 0)
	}
	if m.kind == asReq || m.kind == tgsReq {
		k.request(in, &m, b, size)
	} else {
		k.response(in, &m, b, size)
	}
	return size, nil
}

// request begins a call. On UDP, the bytes of a request that waits are the same request, sent again.
func (k *conn) request(in *dissect.Input, m *message, b []byte, size int) {
	h := fnv.New64a()
	h.Write(b)
	k.requests++
	c := k.Request(in, size, m.row)
	c.Note = note{key{in.Dir, k.requests}, m.kind, h.Sum64()}
	m.row.Type = m.name()
	for old := range k.Newest(maxSearch) {
		if in.Datagram && old.Note.hash == c.Note.hash && old.Note.key.dir == in.Dir {
			k.Take(old.Note.key)
			m.row.Attempt = table.Some(max(old.Row.Attempt.V, 1) + 1)
			k.End(old, "no_response")
			break
		}
	}
	hide(in, &c.X, b)
	k.Await(c.Note.key, c, m.row.cost())
}

func (k *conn) response(in *dissect.Input, m *message, b []byte, size int) {
	c := k.answered(in.Dir.Other(), m)
	if c != nil {
		k.Take(c.Note.key)
		c.Row.merge(m.row)
	} else {
		m.row.Type = m.name()
	}
	c = k.Response(in, size, c, m.row)
	hide(in, &c.X, b)
	c.Row.ResponseType = table.Some(m.name())
	k.End(c, "")
}

// unread ends the oldest request that a datagram may answer that is no readable message.
func (k *conn) unread(in *dissect.Input) {
	for c := range k.Oldest(maxSearch) {
		if in.Datagram && c.Note.key.dir == in.Dir.Other() {
			k.Take(c.Note.key)
			k.End(c, "gap")
			return
		}
	}
}

// answered finds the request of a response: the oldest one that fits its kind and names, or, if nothing was
// lost, its kind.
func (k *conn) answered(dir dissect.Dir, m *message) (first *call) {
	n := 0
	for c := range k.Oldest(maxSearch) {
		n++
		switch {
		case c.Note.key.dir != dir || m.kind != krbError && m.kind != c.Note.kind+1:
		case same(c.Row.Client, m.row.Client) && same(c.Row.Service, m.row.Service):
			return c
		case first == nil:
			first = c
		}
	}
	if k.Lost() {
		return nil
	}
	if n == maxSearch {
		k.Conn.Anomaly("limit", fmt.Sprintf("%d requests or more wait: a response goes to the oldest of its kind, though its names may be those of a later one", n), 0)
	}
	return first
}

// same reports whether two names do not contradict each other.
func same(a, b table.Opt[string]) bool { return !a.OK || !b.OK || a.V == b.V }

// merge adds the fields of the response.
func (r *Row) merge(s *Row) {
	r.Ticket, r.Etype, r.TicketEtype, r.Required = s.Ticket, s.Etype, s.TicketEtype, s.Required
	r.ErrorCode, r.ErrorText, r.ServerTime = s.ErrorCode, s.ErrorText, s.ServerTime
	r.Weak = weakest(r.Weak, s.Weak)
	if !r.Client.OK {
		r.Client = s.Client
	}
	if s.ClientRealm.OK {
		r.ClientRealm = s.ClientRealm
	}
}

// cost is the memory of the texts of a row.
func (r *Row) cost() int {
	n := len(r.Client.V) + len(r.Realm.V) + len(r.Service.V) + len(r.ForUser.V)
	for _, list := range [][]string{r.Offered, r.Preauth, r.Addresses, r.Options} {
		for _, s := range list {
			n += len(s) + 16
		}
	}
	return n
}
