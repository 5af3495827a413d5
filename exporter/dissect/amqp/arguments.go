package amqp

import (
	"bytes"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/message"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/sasl"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// arguments reads the arguments of a method that is not an answer. wait is false if the sender asked for no answer.
func (k *conn) arguments(c *call, in *dissect.Input, at int, id uint32, r *reader) (wait bool) {
	row := c.row
	wait = true
	switch id {
	case connStart:
		r.Skip(2)
		row.product(r)
		r.long()
	case connStartOK:
		row.product(r)
		k.login(c, in, at, r)
	case connSecureOK:
		row.AuthKind = table.Some("sasl")
		r.hide(c, in, at, r.long())
	case connOpen:
		k.host = message.Text(r.short())
		row.Host = table.Some(k.host)
	case connClose, chanClose:
		code, text := int32(r.Uint16()), message.Text(r.short())
		c.cause = uint32(r.Uint16())<<16 | uint32(r.Uint16())
		c.refused(code, text)
		if code == 200 {
			row.StatusText, row.Outcome = table.Opt[string]{}, ""
		}
	case exDeclare:
		r.Skip(2)
		row.Exchange = table.Some(message.Text(r.short()))
		row.Type = table.NonEmpty(message.Text(r.short()))
		wait = r.Uint8()&16 == 0
	case exDelete:
		r.Skip(2)
		row.Exchange = table.Some(message.Text(r.short()))
		wait = r.Uint8()&2 == 0
	case exBind, exUnbind:
		r.Skip(2)
		row.Queue = table.NonEmpty(message.Text(r.short())) // the exchange that gets the messages
		row.Exchange, row.Key = table.Some(message.Text(r.short())), table.Some(message.Text(r.short()))
		wait = r.Uint8()&1 == 0
	case quDeclare:
		r.Skip(2)
		row.Queue = table.NonEmpty(message.Text(r.short()))
		wait = r.Uint8()&16 == 0
	case quBind, quUnbind:
		r.Skip(2)
		row.Queue = table.NonEmpty(message.Text(r.short()))
		row.Exchange, row.Key = table.Some(message.Text(r.short())), table.Some(message.Text(r.short()))
		wait = id == quUnbind || r.Uint8()&1 == 0
	case quPurge, quDelete:
		r.Skip(2)
		row.Queue = table.NonEmpty(message.Text(r.short()))
		wait = r.Uint8()&map[uint32]uint8{quPurge: 1, quDelete: 4}[id] == 0
	default:
		wait = k.basic(c, id, r)
	}
	c.path()
	c.texts += 2 * (len(row.Exchange.V) + len(row.Key.V) + len(row.Queue.V) + len(row.Consumer.V))
	return wait
}

// basic reads the arguments of the methods of class basic.
func (k *conn) basic(c *call, id uint32, r *reader) (wait bool) {
	row := c.row
	ch := k.channel(c.channel)
	switch id {
	case consume:
		r.Skip(2)
		row.Queue, row.Consumer = table.NonEmpty(message.Text(r.short())), table.NonEmpty(message.Text(r.short()))
		flags := r.Uint8()
		row.NoAck = flags&2 != 0
		if flags&8 != 0 {
			ch.consumer(k, row.Consumer.V, row.NoAck)
		}
		return flags&8 == 0
	case cancel:
		row.Consumer = table.NonEmpty(message.Text(r.short()))
		return r.Uint8()&1 == 0
	case publish:
		r.Skip(2)
		row.Exchange, row.Key = table.Some(message.Text(r.short())), table.Some(message.Text(r.short()))
		row.Mandatory = r.Uint8()&1 != 0
		if ch != nil && ch.confirm {
			ch.sent++
			row.Tag = table.Some(int64(ch.sent))
		}
		c.gap = c.gap || ch != nil && ch.doubt
	case returned:
		code, text := int32(r.Uint16()), message.Text(r.short())
		row.Exchange, row.Key = table.Some(message.Text(r.short())), table.Some(message.Text(r.short()))
		c.refused(code, text)
		row.Returned = true
		c.gap = c.gap || ch != nil && ch.doubt
	case deliver:
		row.Consumer = table.NonEmpty(message.Text(r.short()))
		row.Tag = table.Some(int64(r.Uint64()))
		row.Redelivered = r.Uint8()&1 != 0
		row.Exchange, row.Key = table.Some(message.Text(r.short())), table.Some(message.Text(r.short()))
		row.NoAck = ch != nil && ch.noAck[row.Consumer.V]
	case get:
		r.Skip(2)
		row.Queue = table.NonEmpty(message.Text(r.short()))
		row.NoAck = r.Uint8()&1 != 0
	case chanOpen:
		if ch != nil {
			ch.doubt = false
		}
	case txSelect, txCommit, txRollback:
		if ch != nil {
			ch.tx, c.upTo = true, ch.made
		}
	case confirmSelect:
		ch.confirms()
		return r.Uint8()&1 == 0
	}
	return true
}

// confirms begins the numbering of published messages.
func (ch *channel) confirms() {
	if ch != nil && !ch.confirm {
		ch.confirm, ch.doubt, ch.sent = true, false, 0
	}
}

// consumer remembers whether a consumer acknowledges.
func (ch *channel) consumer(k *conn, name string, noAck bool) {
	if ch == nil || !noAck || ch.noAck[name] || !k.c.Hold(len(name)+64) {
		return
	}
	if ch.noAck == nil {
		ch.noAck = map[string]bool{}
	}
	ch.noAck[name] = true
	ch.consumes += len(name) + 64
	k.held += len(name) + 64
}

// path is the object of a call: an exchange with a routing key, else a queue.
func (c *call) path() {
	row := c.row
	switch {
	case row.Key.OK && row.Exchange.V != "":
		row.Path = table.Some(row.Exchange.V + "/" + row.Key.V)
	case row.Key.OK:
		row.Path = row.Key
	case row.Exchange.OK:
		row.Path = row.Exchange
	default:
		row.Path = row.Queue
	}
	if id := c.id; row.Queue.OK && (id == quBind || id == quUnbind) {
		row.Path = row.Queue
	}
}

// login reads start-ok. Of the credentials, only the user's name is kept.
func (k *conn) login(c *call, in *dissect.Input, at int, r *reader) {
	mechanism := strings.ToLower(message.Text(r.short()))
	c.row.AuthKind = table.NonEmpty(sasl.Kind(mechanism))
	secret := r.long()
	if user := sasl.User(k.c, mechanism, secret); len(user) > 0 {
		k.user = message.Text(user)
	}
	switch mechanism {
	case "plain": // the password comes last
		if parts := bytes.SplitN(secret, []byte{0}, 3); len(parts) == 3 {
			secret = parts[2]
		}
	case "amqplain": // a table of LOGIN and PASSWORD without its length
		t := newReader(secret)
		for _, h := range t.fields(0) {
			if h.Name == "LOGIN" {
				k.user = h.Value
			}
		}
	}
	r.hide(c, in, at, secret)
	c.row.User = table.NonEmpty(k.user)
}

// hide records the place of a credential, which ends at the reader's position.
func (r *reader) hide(c *call, in *dissect.Input, at int, secret []byte) {
	end := at + frameHead + 4 + r.Used()
	c.x.Hide(in, end-len(secret), end)
}

// product reads the properties of the sender of start and start-ok.
func (row *Row) product(r *reader) {
	name, version := "", ""
	for _, h := range r.table(0) {
		switch h.Name {
		case "product":
			name = h.Value
		case "version":
			version = h.Value
		}
	}
	row.Product = table.NonEmpty(strings.TrimSpace(name + " " + version))
}

// results reads the arguments of an answer.
func (k *conn) results(c *call, id uint32, r *reader) {
	row := c.row
	ch := k.channel(c.channel)
	switch id {
	case quDeclareOK:
		row.Queue = table.NonEmpty(message.Text(r.short()))
		row.Messages, row.Consumers = table.Some(int64(r.Uint32())), table.Some(int64(r.Uint32()))
		c.path()
	case quPurgeOK, quDeleteOK:
		row.Messages = table.Some(int64(r.Uint32()))
	case consumeOK:
		row.Consumer = table.NonEmpty(message.Text(r.short()))
		ch.consumer(k, row.Consumer.V, row.NoAck)
	case confirmSelect + 1:
		ch.confirms() // the request may be lost
	case getOK:
		row.Tag = table.Some(int64(r.Uint64()))
		row.Redelivered = r.Uint8()&1 != 0
		row.Exchange, row.Key = table.Some(message.Text(r.short())), table.Some(message.Text(r.short()))
		row.Messages = table.Some(int64(r.Uint32()))
		if ch != nil {
			ch.got = max(ch.got, uint64(row.Tag.V))
		}
	case getEmpty:
		row.Messages = table.Some[int64](0)
	}
}
