package postgresql

import (
	"github.com/pcapsule/pcapsule/exporter/cursor"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/sqltext"
)

// opened is the current extended query.
func (k *conn) opened(kind byte) *call {
	if k.open == nil {
		c := k.newCall(kindPrepare)
		if kind == 'C' {
			c.kind = kindClose
		}
		k.open = c
		k.start(c)
	}
	return k.open
}

func oids(r *cursor.Cursor) []uint32 {
	n := int(r.Uint16())
	if n == 0 || r.Short() {
		return nil
	}
	list := make([]uint32, 0, min(n, maxParams, r.Left()/4))
	for range cap(list) {
		list = append(list, r.Uint32())
	}
	return list
}

// bind reads Bind: it assigns a statement and its parameters to a portal.
func (k *conn) bind(r *cursor.Cursor, in *dissect.Input, from, to int, cut bool) error {
	name, stmt := r.CString(), r.CString()
	if r.Short() && !cut {
		return errShort('B', r.Rest())
	}
	p := &portal{name: sqltext.Text(name), stmt: k.statement(stmt)}
	p.params.read(r)
	if n := int(r.Uint16()); !r.Short() && n <= maxColumns {
		for range n {
			p.result = append(p.result, int16(r.Uint16()))
		}
	}
	if r.Short() && !cut {
		return errShort('B', r.Rest())
	}
	c := k.opened('B')
	k.assign(c, in, from, to)
	c.bound(p)
	k.remember(p)
	k.wait('B', c, in, from)
	return nil
}

// bound records that the call runs a portal.
func (c *call) bound(p *portal) {
	c.portal, c.stmt, c.params, c.result = p, p.stmt, p.params, p.result
	c.query, c.known = p.stmt.query, p.stmt.known
}

// describe reads Describe and Close.
func (k *conn) describe(kind byte, r *cursor.Cursor, in *dissect.Input, from, to int, cut bool) error {
	what, name := r.Uint8(), r.CString()
	if r.Short() && !cut || what != 'S' && what != 'P' {
		return errShort(kind, r.Rest())
	}
	c := k.opened(kind)
	k.assign(c, in, from, to)
	switch {
	case kind == 'C' && what == 'S':
		k.forget(sqltext.Text(name))
	case kind == 'C':
		k.forgetPortal(sqltext.Text(name))
	case what == 'S' && c.stmt == nil:
		c.stmt = k.statement(name)
		c.query, c.known = c.stmt.query, c.stmt.known
	case what == 'P' && c.portal == nil:
		if p := k.portal(name); p != nil {
			c.bound(p)
		}
	}
	if kind == 'C' && c.kind == kindClose && c.stmt == nil && what == 'S' {
		c.text = sqltext.Text(name)
	}
	k.wait(kind, c, in, from)
	return nil
}

// execute reads Execute, which ends the request of a call.
func (k *conn) execute(r *cursor.Cursor, in *dissect.Input, from, to int, cut bool) error {
	name := r.CString()
	if r.Uint32(); r.Short() && !cut {
		return errShort('E', r.Rest())
	}
	c := k.opened('E')
	k.assign(c, in, from, to)
	if c.portal == nil || c.portal.name != sqltext.Text(name) {
		if p := k.portal(name); p != nil {
			c.bound(p)
		}
	}
	c.kind = kindExecute
	k.wait('E', c, in, from)
	k.finish(c, in)
	return nil
}

// sync reads Sync: it ends the messages since the last one.
func (k *conn) sync(in *dissect.Input, from, to int) {
	c := k.open
	if c == nil && k.last != nil && k.last.left > 0 {
		c = k.last
	}
	if c != nil {
		k.assign(c, in, from, to)
	}
	if o := k.front(); o != nil && o.kind == 'E' && o.call != nil && o.call.copyIn && !o.call.dataSent {
		return // the server ignores it too, see ignoreSyncs
	}
	k.aborted, k.unsynced = false, false
	k.wait('S', c, in, from)
	if k.open != nil {
		k.finish(k.open, in)
	}
}
