package ldap

import (
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/ber"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/sasl"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Operations by the number of their tag, RFC 4511 section 4.2 and following.
const (
	opBind         = 0
	opBindResult   = 1
	opUnbind       = 2
	opSearch       = 3
	opEntry        = 4
	opDone         = 5
	opModify       = 6
	opAdd          = 8
	opDelete       = 10
	opModifyDN     = 12
	opCompare      = 14
	opAbandon      = 16
	opReference    = 19
	opExtended     = 23
	opExtendedDone = 24
	opIntermediate = 25
)

const startTLS = "1.3.6.1.4.1.1466.20037" // RFC 4511 section 4.14.1

// sends reports whether a side sends messages with this tag of the operation.
func sends(dir dissect.Dir, tag byte) bool {
	n := int(tag & 0x1f)
	switch n {
	case opUnbind, opDelete, opAbandon: // not constructed
		if tag&^0x1f != ber.Application {
			return false
		}
	default:
		if tag&^0x1f != ber.Application|ber.Constructed {
			return false
		}
	}
	switch n {
	case opBind, opUnbind, opSearch, opModify, opAdd, opDelete, opModifyDN, opCompare, opAbandon, opExtended:
		return dir == dissect.ToServer
	case opBindResult, opEntry, opDone, opModify + 1, opAdd + 1, opDelete + 1, opModifyDN + 1, opCompare + 1, opReference, opExtendedDone, opIntermediate:
		return dir == dissect.ToClient
	}
	return false
}

// message reads one message, b, which in.Data[from:to] carries. It returns the call that the message
// belongs to, and whether it ends it.
func (k *conn) message(in *dissect.Input, b []byte, from, to int, partial bool) (c *call, final bool, err error) {
	r := ber.New(b)
	id := r.Int(ber.Integer)
	op := r.Peek()
	if r.Bad() || id < 0 || id > maxID || !sends(in.Dir, op) {
		return nil, false, fmt.Errorf("reading a message: expected an id and an operation of this side, got % x", b[:min(len(b), 8)])
	}
	_, body := r.Next()
	if r.Bad() {
		if !partial {
			return nil, false, fmt.Errorf("reading a message: the operation is longer than the message of %d bytes", len(b))
		}
		body = cutBody(b)
	}
	if in.Dir == dissect.ToServer {
		c, final, err = k.request(in, int(op&0x1f), id, body, partial)
	} else {
		c, final, err = k.response(in, int(op&0x1f), id, body, partial)
	}
	if err != nil {
		return nil, false, err
	}
	c.Add(in, from, to)
	if list, ok := r.Optional(ber.Context | ber.Constructed); ok && !partial {
		c.controls(list)
	}
	return c, final, nil
}

// cutBody is the beginning of an operation whose message is longer than b.
func cutBody(b []byte) []byte {
	_, n, size := ber.Header(b)
	b = b[size+int(n):]
	_, _, size = ber.Header(b)
	return b[max(size, 0):]
}

func (c *call) controls(b []byte) {
	for r := ber.New(b); r.More() && len(c.row.Controls) < maxList; {
		one := r.Enter(ber.Sequence)
		if oid := one.Expect(ber.Octets); !one.Bad() {
			c.row.Controls = append(c.row.Controls, clip.Line(oid, 128))
		}
	}
}

// request reads an operation of the client.
func (k *conn) request(in *dissect.Input, op int, id int64, b []byte, partial bool) (*call, bool, error) {
	c := &call{row: &Row{Type: tables()["operation"].Name(int64(op), "operation_")}, id: id, losses: k.losses}
	row := c.row
	row.MessageID, row.User = table.Some(id), table.NonEmpty(k.user)
	r := ber.New(b)
	switch op {
	case opBind:
		if password := c.bind(in, &r); row.Auth.V == "simple" {
			k.Conn.Password(commonName(row.DN.V), string(password))
		}
	case opSearch:
		c.search(in, &r)
	case opModify, opAdd:
		row.DN = name(r.Expect(ber.Octets))
		list := r.Enter(ber.Sequence)
		c.changes(in, &list, op == opModify)
	case opDelete:
		row.DN = name(b)
	case opModifyDN:
		row.DN = name(r.Expect(ber.Octets))
		renamed := clip.Line(r.Expect(ber.Octets), maxText)
		r.Expect(ber.Boolean)
		if above, ok := r.Optional(ber.Context); ok {
			renamed += "," + clip.Line(above, maxText)
		}
		row.NewName = table.NonEmpty(renamed)
	case opCompare:
		row.DN = name(r.Expect(ber.Octets))
		compared := r.Expect(ber.Sequence)
		row.Filter = table.NonEmpty(assertion(compared, "="))
		if a := ber.New(compared); isSecret(a.Expect(ber.Octets)) {
			c.hide(in, a.Expect(ber.Octets))
		}
	case opExtended:
		oid := clip.Line(r.Expect(ber.Context), maxText)
		row.OID, c.starts = table.NonEmpty(oid), oid == startTLS
		if value, ok := r.Optional(ber.Context | 1); ok && oid == passwordModify {
			c.hide(in, value)
		}
	case opAbandon:
		k.abandon(b)
		c.single = true
	case opUnbind:
		c.single = true
	}
	if r.Bad() && !partial {
		return nil, false, fmt.Errorf("reading %s: a field is missing, or longer than the message", row.Type)
	}
	if !c.single {
		k.Put(id, c, callCost+2*min(len(b), maxFilter+maxText))
	}
	return c, c.single, nil
}

// name is a name, which may be empty.
func name(b []byte) table.Opt[string] { return table.Some(clip.Line(b, maxText)) }

// commonName is the first value of a distinguished name, or the name if it is not one.
func commonName(dn string) string {
	first, _, _ := strings.Cut(dn, ",")
	return first[strings.IndexByte(first, '=')+1:]
}

// bind reads who logs in and how, RFC 4511 section 4.2. The tags from 0x89 on are Microsoft's
// (MS-ADTS section 5.1.1.1.3). It returns the password of a simple bind, which no row keeps.
func (c *call) bind(in *dissect.Input, r *ber.Reader) (password []byte) {
	row := c.row
	row.Version = table.Some(int32(r.Int(ber.Integer)))
	who := r.Expect(ber.Octets)
	row.DN = name(who)
	tag, body := r.Next()
	kind := ""
	switch tag {
	case ber.Context: // a password
		c.x.HidePart(in, body)
		switch {
		case len(body) > 0:
			row.Auth, kind, password = table.Some("simple"), "password", body
		case len(who) > 0:
			row.Auth = table.Some("unauthenticated") // RFC 4513 section 5.1.2
		default:
			row.Auth = table.Some("anonymous")
		}
		c.user = row.DN.V
	case ber.Context | ber.Constructed | 3:
		s := ber.New(body)
		mechanism := s.Expect(ber.Octets)
		credentials, _ := s.Optional(ber.Octets)
		c.x.HidePart(in, credentials)
		if row.Auth = table.Some("sasl"); sasl.Valid(mechanism) {
			row.Mechanism = table.Some(string(mechanism))
			kind = sasl.Kind(string(mechanism))
		}
		switch strings.ToUpper(string(mechanism)) {
		case "GSSAPI", "GSS-SPNEGO", "DIGEST-MD5", "NTLM":
			c.layer = true
		}
		c.user = row.DN.V
	case ber.Context | 9, ber.Context | 10, ber.Context | 11, ber.Context | 2, ber.Context | 3, ber.Context | 4:
		row.Auth, kind = table.Some("ntlm"), "ntlm"
		c.x.HidePart(in, body)
		c.layer = tag == ber.Context|11
	}
	row.AuthKind = table.NonEmpty(kind)
	return password
}

// search reads the parameters of a search, RFC 4511 section 4.5.1.
func (c *call) search(in *dissect.Input, r *ber.Reader) {
	row := c.row
	row.DN = name(r.Expect(ber.Octets))
	row.Scope = table.Some(tables()["scope"].Name(r.Int(ber.Enumerated), "scope_"))
	r.Int(ber.Enumerated) // aliases
	row.SizeLimit = table.Some(r.Int(ber.Integer))
	r.Int(ber.Integer) // time
	r.Expect(ber.Boolean)
	filter := *r
	if _, body := r.Next(); !r.Bad() {
		c.filterSecrets(in, filter.Rest()[:r.Used()-filter.Used()])
		row.Filter = table.NonEmpty(filterText(&filter))
	} else if len(body) == 0 {
		return
	}
	for list := r.Enter(ber.Sequence); list.More() && len(row.Attributes) < maxList; {
		row.Attributes = append(row.Attributes, clip.Line(list.Expect(ber.Octets), maxText))
	}
}

const passwordModify = "1.3.6.1.4.1.4203.1.11.1" // RFC 3062

// secrets marks the values of an attribute that holds passwords or keys.
func (c *call) secrets(in *dissect.Input, attribute []byte, r *ber.Reader) {
	if !isSecret(attribute) {
		return
	}
	for values := r.Enter(ber.Set); values.More(); {
		if _, v := values.Next(); !values.Bad() {
			c.hide(in, v)
		}
	}
}

// hide marks a password that a call sets, compares or returns.
func (c *call) hide(in *dissect.Input, part []byte) {
	c.x.HidePart(in, part)
	c.row.AuthKind = table.Some("password")
}

// changes reads the attributes that an add or a modify sets.
func (c *call) changes(in *dissect.Input, list *ber.Reader, modify bool) {
	row := c.row
	for list.More() {
		one := list.Enter(ber.Sequence)
		verb := ""
		if modify {
			verb = tables()["change"].Name(one.Int(ber.Enumerated), "change_") + " "
			one = one.Enter(ber.Sequence)
		}
		attribute := one.Expect(ber.Octets)
		if one.Bad() {
			break
		}
		c.secrets(in, attribute, &one)
		if len(row.Attributes) >= maxList {
			continue
		}
		text := clip.Line(attribute, 128)
		row.Attributes = append(row.Attributes, text)
		if modify {
			row.Changes = append(row.Changes, verb+text)
		}
	}
}

// isSecret reports whether the values of an attribute are passwords or keys.
func isSecret(attribute []byte) bool {
	s := strings.ToLower(string(attribute[:min(len(attribute), 128)]))
	return strings.Contains(s, "password") || strings.Contains(s, "pwd") || strings.Contains(s, "krbprincipalkey") || strings.Contains(s, "secret")
}

// abandon ends an operation whose result the client does not want.
func (k *conn) abandon(b []byte) {
	if id, ok := ber.Int(b); ok {
		if c, ok := k.Take(id); ok {
			c.row.Abandoned = true
			k.emit(c, "no_response")
		}
	}
}
