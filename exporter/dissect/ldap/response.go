package ldap

import (
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/ber"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// response reads a message of the server and finds its call.
func (k *conn) response(in *dissect.Input, op int, id int64, b []byte, partial bool) (*call, bool, error) {
	c, ok := k.Get(id)
	if !ok {
		c = k.orphan(op, id)
	}
	row, r := c.row, ber.New(b)
	switch op {
	case opEntry:
		row.Entries = table.Some(row.Entries.V + 1)
		if dn := r.Expect(ber.Octets); len(row.Names) < maxNames && !r.Bad() {
			row.Names = append(row.Names, clip.Line(dn, 256))
			k.Grow(id, 64+min(len(dn), 256))
		}
		for list := r.Enter(ber.Sequence); list.More(); {
			one := list.Enter(ber.Sequence)
			c.secrets(in, one.Expect(ber.Octets), &one)
		}
		return c, false, nil
	case opReference:
		row.References = table.Some(row.References.V + 1)
		k.referrals(c, &r)
		return c, false, nil
	case opIntermediate:
		return c, false, nil
	}
	if err := k.result(in, c, op, &r); err != nil && !partial {
		return nil, false, err
	}
	return c, true, nil
}

// orphan makes a call for a response whose request was not captured. More responses with its id
// belong to it.
func (k *conn) orphan(op int, id int64) *call {
	kind := op - 1
	switch op {
	case opEntry, opReference, opDone:
		kind = opSearch
	case opIntermediate:
		kind = opExtended
	}
	c := &call{row: &Row{Type: tables()["operation"].Name(int64(kind), "operation_")}, id: id, losses: k.losses}
	c.row.MessageID = table.Some(id)
	if id == 0 { // RFC 4511 section 4.4
		c.row.Type = "notification"
		return c
	}
	if op == opEntry || op == opReference || op == opIntermediate {
		k.Put(id, c, callCost)
	}
	return c
}

func (k *conn) referrals(c *call, r *ber.Reader) {
	for r.More() {
		uri := r.Expect(ber.Octets)
		if len(c.row.Referrals) >= maxList {
			return
		}
		if !r.Bad() {
			c.row.Referrals = append(c.row.Referrals, clip.Line(uri, 256))
			k.Grow(c.id, 64+min(len(uri), 256))
		}
	}
}

// result reads what all results have, RFC 4511 section 4.1.9, and what it means for the connection.
func (k *conn) result(in *dissect.Input, c *call, op int, r *ber.Reader) error {
	row := c.row
	code := r.Int(ber.Enumerated)
	matched, text := r.Expect(ber.Octets), r.Expect(ber.Octets)
	if r.Bad() || code < 0 || code > 1<<20 {
		return fmt.Errorf("reading a result of %s: expected a code, a name and a text", row.Type)
	}
	row.Result = table.Some(int32(code))
	row.MatchedDN, row.Message = table.NonEmpty(clip.Line(matched, maxText)), table.NonEmpty(clip.Line(text, maxText))
	if list, ok := r.Optional(ber.Context | ber.Constructed | 3); ok {
		uris := ber.New(list)
		k.referrals(c, &uris)
	}
	switch op {
	case opDone:
		if !row.Entries.OK {
			row.Entries = table.Some(int64(0))
		}
	case opExtendedDone:
		if oid, ok := r.Optional(ber.Context | 10); ok && !row.OID.OK {
			row.OID = table.NonEmpty(clip.Line(oid, maxText))
		}
		if value, ok := r.Optional(ber.Context | 11); ok && row.OID.V == passwordModify {
			c.hide(in, value) // a password that the server made, RFC 3062 section 2
		}
		if c.starts && code == 0 {
			k.upgrade = true
			k.Conn.Upgrade("tls", nil)
		}
	case opBindResult:
		challenge, _ := r.Optional(ber.Context | 7) // serverSaslCreds, RFC 4511 section 4.2.2
		c.x.HidePart(in, challenge)
		if code == 0 && c.x.HasRequest() {
			k.user, k.layer = c.user, c.layer
		} else if code == 0 {
			k.layer = true // unknown
		}
	}
	return nil
}
