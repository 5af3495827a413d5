package kfl

import "github.com/pcapsule/pcapsule/kfl/internal/parse"

// join describes how rows of another table belong to a call.
type join struct {
	word  string // the prefix in Row's names
	table string
	key   string // column of both calls and the table
}

// joins are the tables that are looked up for a call. If a connection has several handshakes,
// the first one with the value counts.
var joins = map[sourceKind]join{
	srcFlow: {"flow", "flows", "flow_id"}, srcConnection: {"connection", "connections", "conn_id"},
	srcHello: {"hello", "calls", "conn_id"}, srcHandshake: {"tls", "tls_handshakes", "conn_id"},
}

// joined is a column of another table.
type joined struct {
	join
	column string
	from   string // SQL of a relation with the key kfl_k, the column kfl_c and, if needed, the order kfl_o and the bundle kfl_n
	first  bool   // the first of several rows with the column counts
	bundle bool
}

// join returns a column of the row that belongs to the call; it is absent if the table lacks it.
func (c *checker) join(n *parse.Node, f *field) (*node, *Error) {
	j := &joined{join: joins[f.kind], column: f.arg, bundle: c.several()}
	calls, ok := c.table("calls", "conn_id", "call_no", "protocol")
	own, has := c.table(j.table, f.arg)
	if !c.has(j.key) || !ok || !has {
		c.lacks(f.arg)
		return absent(f.typ), nil
	}
	which := "kfl_t"
	switch f.kind {
	case srcFlow, srcConnection:
		j.from = own + " AS kfl_t"
	case srcHello:
		j.from = own + " AS kfl_t WHERE kfl_t.protocol = 'tls'"
	case srcHandshake:
		which = "kfl_h"
		j.from = own + " AS kfl_t JOIN " + calls + " AS kfl_h ON kfl_h.call_no = kfl_t.call_no"
		if j.bundle {
			j.from += " AND kfl_h.bundle = kfl_t.bundle"
		}
		j.from += " WHERE kfl_h.protocol = 'tls'"
	}
	head := "SELECT " + which + `."` + j.key + `" AS kfl_k, kfl_t."` + f.arg + `" AS kfl_c`
	if j.first = f.kind == srcHello || f.kind == srcHandshake; j.first {
		head += ", " + which + ".call_no AS kfl_o"
	}
	c.columns[j.key] = true
	if j.bundle {
		head += ", " + which + ".bundle AS kfl_n"
		c.columns["bundle"] = true
	}
	j.from = head + " FROM " + j.from
	if j.table == "calls" || f.kind == srcHandshake {
		c.inner = append(c.inner, f.arg, "conn_id", "call_no", "protocol")
	}
	name := j.word + "." + f.arg
	t := f.typ
	if t.text != textHex {
		return c.make(n, node{op: opJoined, typ: t, str: name, joined: j})
	}
	raw, err := c.make(n, node{op: opJoined, typ: typ{kind: kBytes}, str: name, joined: j})
	if err != nil {
		return nil, err
	}
	return c.make(n, node{op: opHex, typ: t, args: []*node{raw}})
}

// table returns the name of a table that has these columns.
func (c *checker) table(name string, columns ...string) (string, bool) {
	if c.env.Columns == nil && c.env.Tables == nil {
		return name, true
	}
	if name == "calls" && c.env.Tables[name] == nil && c.env.Tables[name+"_raw"] == nil {
		if c.env.Tables == nil {
			return name, false
		}
		for _, col := range columns {
			if !c.has(col) {
				return name, false
			}
		}
		return name, true
	}
	for _, n := range []string{name + "_raw", name} {
		has := c.env.Tables[n]
		for _, col := range columns {
			if _, ok := has[col]; !ok {
				has = nil
			}
		}
		if has != nil {
			return n, true
		}
	}
	return name, false
}

func (w *writer) joined(n *node) frag {
	return w.lookUp(func() frag {
		j := n.joined
		with := ""
		if j.bundle {
			with = ` AND kfl_n = "bundle"`
		}
		one := "any_value(kfl_c)"
		if j.first {
			one = "arg_min(kfl_c, kfl_o)"
		}
		return w.f("(SELECT "+one+" FROM ("+j.from+") AS kfl_r WHERE kfl_k = @"+with+")", w.quote(j.key))
	})
}
