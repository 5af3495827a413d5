package tds

import (
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// responsePacket reads a packet of the server.
func (k *conn) responsePacket(s *session, in *dissect.Input, from, to int, head, payload []byte) error {
	a := &s.response
	k.alone = false
	if !a.open {
		c := s.queue.Answer(in.Seq(from))
		if c == nil {
			c = k.begin(s)
		} else {
			k.c.Confirm()
		}
		a.call, a.open = c, true
		a.words = tokens{k: k, c: c}
	}
	c := a.call
	if c != nil {
		c.x.Response(in, from, to)
		c.row.Responded++
		c.row.Process = table.Some(int32(head[4])<<8 | int32(head[5]))
	}
	last := head[1]&eom != 0
	if c != nil && len(payload) > 0 && payload[0] == optVersion && !c.x.HasRequest() || c != nil && c.kind == typePrelogin {
		if err := k.prelogin(c, dissect.ToClient, payload); err != nil {
			return err
		}
	} else {
		a.words.feed(payload)
	}
	if !last {
		return nil
	}
	if c == nil || c.kind != typePrelogin {
		a.words.end()
	}
	attn := a.words.attn
	a.open, a.words = false, tokens{}
	if c == nil {
		return nil
	}
	if attn {
		k.cancelled(s, c)
	}
	k.finish(c)
	return nil
}

// cancelled adds the client's request to cancel to the call that it cancelled.
func (k *conn) cancelled(s *session, c *call) {
	if c.kind == typeAttention {
		return
	}
	c.row.Cancelled = true
	for _, d := range s.queue.All() {
		if d.kind == typeAttention {
			c.x.Include(k.c, &d.x)
			s.queue.Remove(d)
			return
		}
	}
}

// finish ends a call with its complete response.
func (k *conn) finish(c *call) {
	row := c.row
	if c.prepare != "" && row.Handle.OK {
		k.remember(row.Handle.V, c.prepare)
	}
	if c.forget.OK && row.Errors == 0 {
		k.unprepare(c.forget.V)
	}
	c.answered = true
	k.emit(c, "")
}

// fact reads a token whose length is known.
func (t *tokens) fact(token byte, b []byte) {
	r := newLittle(b)
	row := t.c.row
	switch token {
	case tokError, tokInfo:
		t.message(token, r)
	case tokChange:
		t.change(r)
	case tokLoginAck:
		r.Skip(1)
		version := r.Uint32()
		name := strings.TrimRight(r.short(), "\x00 ")
		major, minor, build := r.Uint8(), r.Uint8(), r.Uint16()
		if r.Short() {
			return
		}
		t.k.setVersion(version)
		row.Product = table.Some(fmt.Sprintf("%s %d.%d.%d", name, major, minor, build))
		row.Version = table.NonEmpty(t.k.version)
	}
}

// message reads ERROR or INFO, sections 2.2.7.10 and 2.2.7.13.
func (t *tokens) message(token byte, r *little) {
	row := t.c.row
	number, state, class := int64(int32(r.u32())), r.Uint8(), r.Uint8()
	text := r.long(maxMessage)
	if r.Short() {
		t.k.c.Anomaly("malformed", "reading a message of the server: it is too short", 0)
		return
	}
	r.short() // the server
	procedure := r.short()
	line := int64(0)
	if t.k.modern == no {
		line = int64(r.u16())
	} else {
		line = int64(r.u32())
	}
	if token == tokInfo {
		if len(row.Messages) < maxList {
			row.Messages = append(row.Messages, text)
		}
		return
	}
	if row.Errors++; row.Errors > 1 {
		return
	}
	row.ErrNumber, row.State, row.Class = table.Some(number), table.Some(int32(state)), table.Some(int32(class))
	row.Message, row.ErrProc = table.Some(text), table.NonEmpty(procedure)
	if !r.Short() {
		row.Line = table.Some(line)
	}
}

// change reads ENVCHANGE, section 2.2.7.9.
func (t *tokens) change(r *little) {
	kind := r.Uint8()
	name := tables()["change"].Name(int64(kind), "change_")
	what := name
	switch {
	case kind <= 6 || kind == 13 || kind == 19:
		value := r.short()
		if r.Short() {
			return
		}
		what += "=" + value
		if kind == 1 {
			t.k.database = value
			if t.c.kind == typeLogin || t.c.kind == typeSSPI || t.c.kind == typeFedAuth {
				t.c.row.Database = table.NonEmpty(value)
			}
		}
	case kind == 20: // route to another server
		r.u16()
		protocol, port := r.Uint8(), r.u16()
		host := r.long(maxText)
		if protocol == 0 && !r.Short() {
			what += fmt.Sprintf("=%s:%d", host, port)
		}
	}
	if row := t.c.row; len(row.Changes) < maxList {
		row.Changes = append(row.Changes, what)
	}
}

// returned reads RETURNVALUE, section 2.2.7.19.
func (t *tokens) returned(r *little) {
	ordinal := r.u16()
	name := r.short()
	r.Skip(1)
	if t.k.modern == no {
		r.Skip(4)
	} else {
		r.Skip(6)
	}
	var col column
	ok := col.readType(r, t.k, false)
	if r.Short() {
		return
	}
	if !ok {
		t.lose(fmt.Sprintf("an output parameter of type %#x", col.kind))
		return
	}
	v := value{col: &col, keep: maxText}
	n, done := v.read(r.Rest())
	if !done {
		n = r.Left() + 1
	}
	if r.Skip(n); !done || t.c == nil {
		return
	}
	row := t.c.row
	if name == "" {
		name = fmt.Sprint(ordinal)
	}
	if len(row.Outputs) < maxParams {
		row.Outputs = append(row.Outputs, name+"="+v.text(maxText))
	}
	if t.c.prepare != "" && !row.Handle.OK && !v.null {
		row.Handle = table.Some(v.number())
	}
}

// done reads DONE, DONEPROC or DONEINPROC.
func (t *tokens) done(r *little) {
	status, command := r.u16(), r.u16()
	count := uint64(0)
	if t.k.modern == no {
		count = uint64(r.u32())
	} else {
		count = r.u64()
	}
	if status >= 2*doneServer {
		t.lose(fmt.Sprintf("status %#x of DONE", status))
		return
	}
	if status&doneAttention != 0 {
		t.attn = true
	}
	c := t.c
	if c == nil || t.bulk {
		return
	}
	row := c.row
	row.Done++
	if status&(doneError|doneServer) != 0 && row.Errors == 0 {
		row.Errors = 1 // the server said no more about it
	}
	if status&doneCount == 0 || count > 1<<62 {
		return
	}
	if command != commandSelect {
		row.Affected = table.Some(row.Affected.V + int64(count))
	}
	if t.lost && command == commandSelect {
		t.rows = max(t.rows, int64(count))
		row.Rows = table.Some(t.rows)
	}
}
