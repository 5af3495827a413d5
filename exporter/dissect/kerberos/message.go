package kerberos

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect/internal/ber"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Limits of a row.
const (
	maxText  = 1 << 10
	maxName  = 512 // bytes of a principal
	maxParts = 16  // components of a principal
	maxList  = 32
)

// Types of messages; an APPLICATION tag has the same number.
const (
	asReq    = 10
	asRep    = 11
	tgsReq   = 12
	tgsRep   = 13
	krbError = 30
)

// Types of pre-authentication data that are read.
const (
	paTimestamp = 2
	paForUser   = 129
)

const (
	version      = 5
	kerberosTime = 0x18
	application  = ber.Application | ber.Constructed
	context      = ber.Context | ber.Constructed
	netBIOS      = 20 // type of an address, RFC 4120 section 7.5.3
	ticketTag    = application | 1
)

// message is one message.
type message struct {
	kind int64
	row  *Row
	odd  string // what is wrong with it; empty if nothing is
	auth int64  // the weightiest type of pre-authentication data
}

func (m *message) name() string { return tables()["type"].Name(m.kind, "type_") }

var errNone = errors.New("reading a message: expected AS, TGS or KRB-ERROR of version 5")

// parse reads a message.
func parse(b []byte) (m message, err error) {
	kind, body, ok := head(b)
	if !ok {
		return m, errNone
	}
	m = message{kind: kind, row: &Row{}}
	switch kind {
	case asReq, tgsReq:
		m.odd = each(body, m.request)
		m.finish()
	case asRep, tgsRep:
		m.odd = each(body, m.response)
	case krbError:
		m.odd = each(body, m.failure)
	}
	return m, nil
}

// head checks the tag of a message, that it fills b, and the version and type in it. It returns the
// fields.
func head(b []byte) (kind int64, fields ber.Reader, ok bool) {
	r := ber.New(b)
	tag, body := r.Next()
	kind = int64(tag &^ application)
	if r.Bad() || r.More() || tag&application != application || tables()["type"][kind] == "" {
		return 0, fields, false
	}
	r = ber.New(body)
	fields = r.Enter(ber.Sequence)
	if r.Bad() || r.More() {
		return 0, fields, false
	}
	look, first := fields, byte(context)
	if kind == asReq || kind == tgsReq {
		first++ // RFC 4120 section 5.4.1 begins with 1
	}
	pvno, typ := look.Enter(first), look.Enter(first+1)
	return kind, fields, pvno.Int(ber.Integer) == version && typ.Int(ber.Integer) == kind && !look.Bad()
}

// each calls f with the number and content of each field of a sequence. It returns the error.
func each(r ber.Reader, f func(n byte, v ber.Reader)) string {
	for r.More() {
		tag, body := r.Next()
		if r.Bad() || tag&context != context {
			return fmt.Sprintf("the field at byte %d of a sequence is damaged", r.Used())
		}
		f(tag&0x1f, ber.New(body))
	}
	return ""
}

func (m *message) request(n byte, v ber.Reader) {
	switch n {
	case 3:
		list := v.Enter(ber.Sequence)
		for list.More() {
			m.padata(list.Enter(ber.Sequence))
		}
		m.check(v.Bad() || list.Bad(), "the pre-authentication data")
	case 4:
		if odd := each(v.Enter(ber.Sequence), m.body); odd != "" || v.Bad() {
			m.check(true, "the body of the request")
		}
	}
}

func (m *message) check(bad bool, what string) {
	if bad && m.odd == "" {
		m.odd = what + " is damaged"
	}
}

func (m *message) body(n byte, v ber.Reader) {
	row := m.row
	switch n {
	case 0:
		bits := v.Expect(ber.BitString)
		for i := range int64(32) {
			if at := 1 + int(i/8); at < len(bits) && bits[at]&(0x80>>(i%8)) != 0 && tables()["option"][i] != "" {
				row.Options = append(row.Options, tables()["option"][i])
			}
		}
	case 1:
		row.Client = principal(v)
	case 2:
		row.Realm = text(&v)
	case 3:
		row.Service = principal(v)
	case 5:
		row.Till = table.NonEmpty(clip.Line(v.Expect(kerberosTime), maxText))
	case 8:
		m.etypes(v.Enter(ber.Sequence))
	case 9:
		for list := v.Enter(ber.Sequence); list.More() && len(row.Addresses) < maxList; {
			row.addAddress(list.Enter(ber.Sequence))
		}
	}
}

// etypes reads the types of encryption that a client offers.
func (m *message) etypes(list ber.Reader) {
	weak, any := true, false
	for list.More() {
		n := list.Int(ber.Integer)
		if list.Bad() {
			break
		}
		any = true
		weak = weak && tables()["weak"][n] != ""
		if len(m.row.Offered) < maxList {
			m.row.Offered = append(m.row.Offered, etype(n))
		}
	}
	if any {
		m.row.OfferedWeak = table.Some(weak)
	}
}

func (r *Row) addAddress(v ber.Reader) {
	kind, value := v.Enter(context), v.Enter(context|1)
	n, b := kind.Int(ber.Integer), value.Expect(ber.Octets)
	a, ok := netip.AddrFromSlice(b)
	switch {
	case v.Bad() || kind.Bad() || value.Bad():
	case n == netBIOS:
		r.Addresses = append(r.Addresses, strings.TrimSpace(clip.Line(b, maxName)))
	case ok:
		r.Addresses = append(r.Addresses, a.String())
	}
}

// padata reads pre-authentication data of a request.
func (m *message) padata(v ber.Reader) {
	kind, value := v.Enter(context|1), v.Enter(context|2)
	n, b := kind.Int(ber.Integer), value.Expect(ber.Octets)
	if v.Bad() || kind.Bad() || value.Bad() {
		m.check(true, "the pre-authentication data")
		return
	}
	row := m.row
	if len(row.Preauth) < maxList {
		row.Preauth = append(row.Preauth, tables()["padata"].Name(n, "padata_"))
	}
	if tables()["auth"][n] != "" && weight(n) > weight(m.auth) {
		m.auth = n
	}
	inner := ber.New(b)
	switch n {
	case paTimestamp:
		row.PreauthEtype, row.Weak = encrypted(&inner)
	case paForUser:
		user := inner.Enter(ber.Sequence)
		name, realm := user.Enter(context), user.Enter(context|1)
		if p := principal(name); p.OK && !user.Bad() {
			row.ForUser = table.Some(p.V + "@" + text(&realm).V)
		}
	}
}

// weight says which data decides how a client logs in, if there are several.
func weight(kind int64) int {
	for i, n := range [...]int64{0, 1, 2, 138, 151, 14, 16, 31, 12, 142, 130, paForUser} {
		if n == kind {
			return i
		}
	}
	return 0
}

func (m *message) finish() {
	row := m.row
	row.AuthKind = table.Some("none")
	if s := tables()["auth"][m.auth]; s != "" {
		row.AuthKind = table.Some(s)
	}
	if m.kind == asReq && row.Client.OK {
		row.ClientRealm = row.Realm
	}
}

// response reads a field of AS-REP or TGS-REP.
func (m *message) response(n byte, v ber.Reader) {
	row := m.row
	switch n {
	case 3:
		row.ClientRealm = text(&v)
	case 4:
		row.Client = principal(v)
	case 5:
		ticket := v.Enter(ticketTag)
		m.check(each(ticket.Enter(ber.Sequence), m.ticket) != "" || ticket.Bad() || v.Bad(), "the ticket")
	case 6:
		var weak table.Opt[string]
		row.Etype, weak = encrypted(&v)
		row.Weak = weakest(row.Weak, weak)
	}
}

func (m *message) ticket(n byte, v ber.Reader) {
	row := m.row
	switch n {
	case 1:
		row.Realm = text(&v)
	case 2:
		row.Ticket = principal(v)
		row.Service = row.Ticket
	case 3:
		var weak table.Opt[string]
		row.TicketEtype, weak = encrypted(&v)
		row.Weak = weakest(row.Weak, weak)
	}
}

// failure reads a field of KRB-ERROR.
func (m *message) failure(n byte, v ber.Reader) {
	row := m.row
	switch n {
	case 4:
		row.ServerTime = table.NonEmpty(clip.Line(v.Expect(kerberosTime), maxText))
	case 6:
		if code := v.Int(ber.Integer); !v.Bad() {
			row.ErrorCode = table.Some(int32(min(max(code, -1<<31), 1<<31-1)))
		}
	case 7:
		row.ClientRealm = text(&v)
	case 8:
		row.Client = principal(v)
	case 9:
		row.Realm = text(&v)
	case 10:
		row.Service = principal(v)
	case 11:
		row.ErrorText = text(&v)
	case 12:
		m.required(v.Expect(ber.Octets))
	}
}

// required reads the pre-authentication data that an error asks for. Other errors have other data, of
// any form.
func (m *message) required(b []byte) {
	outer := ber.New(b)
	list := outer.Enter(ber.Sequence)
	for list.More() && list.Peek() == ber.Sequence && len(m.row.Required) < maxList {
		v := list.Enter(ber.Sequence)
		kind := v.Enter(context | 1)
		if n := kind.Int(ber.Integer); !v.Bad() && !kind.Bad() {
			m.row.Required = append(m.row.Required, tables()["padata"].Name(n, "padata_"))
		}
	}
}

// encrypted reads the type of encryption of EncryptedData, and the algorithm if it is weak.
func encrypted(v *ber.Reader) (name, weak table.Opt[string]) {
	data := v.Enter(ber.Sequence)
	kind := data.Enter(context)
	n := kind.Int(ber.Integer)
	if v.Bad() || data.Bad() || kind.Bad() {
		return name, weak
	}
	return table.Some(etype(n)), table.NonEmpty(tables()["weak"][n])
}

func etype(n int64) string { return tables()["etype"].Name(n, "etype_") }

// weakest is the weaker of two algorithms.
func weakest(a, b table.Opt[string]) table.Opt[string] {
	for _, s := range [...]string{"des", "rc4", "des3"} {
		if a.V == s || b.V == s {
			return table.Some(s)
		}
	}
	return a
}

// principal reads a PrincipalName: its components with slashes.
func principal(v ber.Reader) table.Opt[string] {
	name := v.Enter(ber.Sequence)
	name.Enter(context)
	list := name.Enter(context | 1)
	var parts []string
	for all := list.Enter(ber.Sequence); all.More() && len(parts) < maxParts; {
		_, b := all.Next()
		parts = append(parts, clip.Line(b, maxName))
	}
	if v.Bad() || name.Bad() || list.Bad() {
		return table.Opt[string]{}
	}
	return table.NonEmpty(clip.Text(strings.Join(parts, "/"), maxName))
}

// text reads a string. Old clients use other kinds than GeneralString.
func text(v *ber.Reader) table.Opt[string] {
	_, b := v.Next()
	return table.NonEmpty(clip.Line(b, maxText))
}
