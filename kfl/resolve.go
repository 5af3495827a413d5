package kfl

import (
	"slices"
	"sort"
	"strings"

	"github.com/pcapsule/pcapsule/kfl/internal/parse"
	"github.com/pcapsule/pcapsule/kfl/nearest"
)

// dotted returns the name of n if it has the form a.b.c or a["b"].
func (c *checker) dotted(n *parse.Node) (string, bool) {
	switch n.Kind {
	case parse.Ident:
		for _, v := range c.scope {
			if v.name == n.Text {
				return "", false
			}
		}
		return n.Text, true
	case parse.Select:
		head, ok := c.dotted(n.Args[0])
		return head + "." + n.Text, ok
	case parse.Index:
		if key := n.Args[1]; key.Kind == parse.Literal && (key.Token.Kind == parse.TokenText || key.Token.Kind == parse.TokenRaw) && c.headOnly(n.Args[0]) {
			head, ok := c.dotted(n.Args[0])
			return head + "." + key.Token.Text, ok
		}
	}
	return "", false
}

// known reports whether name is a macro, a field or a column.
func (c *checker) known(name string) bool {
	if !c.own {
		if _, ok := c.env.Macros[name]; ok {
			return true
		}
		if _, ok := c.env.Columns[name]; ok {
			return true
		}
		if _, ok := c.env.Absent[name]; ok {
			return true
		}
	}
	return names().byName[name] != nil
}

// headOnly reports whether n is only the beginning of names, such as src or node.
func (c *checker) headOnly(n *parse.Node) bool {
	name, ok := c.dotted(n)
	return ok && names().heads[name] && !c.known(name)
}

// name resolves a name: a macro's variable, a macro, a field or a column, or a part of one.
func (c *checker) name(n *parse.Node) (*node, *Error) {
	if n.Kind == parse.Ident {
		for _, v := range slices.Backward(c.scope) {
			if v.name == n.Text {
				return c.make(n, node{op: opVar, typ: v.typ, num: v.id})
			}
		}
	}
	name, ok := c.dotted(n)
	switch {
	case ok && c.known(name):
		return c.named(n, name)
	case ok && !c.prefixKnown(n):
		return nil, c.unknown(n, name)
	}
	x, err := c.value(n.Args[0])
	if err != nil {
		return nil, err
	}
	key := &parse.Node{Kind: parse.Literal, Token: parse.Token{Kind: parse.TokenText, Text: n.Text}, Pos: n.At, End: n.End}
	return c.part(n, x, key)
}

func (c *checker) prefixKnown(n *parse.Node) bool {
	for n.Kind == parse.Select || n.Kind == parse.Index {
		n = n.Args[0]
		if name, ok := c.dotted(n); !ok || c.known(name) {
			return true
		}
	}
	return false
}

func (c *checker) named(n *parse.Node, name string) (*node, *Error) {
	if text, ok := c.env.Macros[name]; ok && !c.own && !slices.Contains(c.within, name) {
		return c.expand(n, name, text)
	}
	if f := names().byName[name]; f != nil {
		return c.field(n, f)
	}
	if t, ok := c.env.Columns[name]; ok {
		return c.column(n, name, t)
	}
	if t, ok := c.env.Absent[name]; ok {
		return c.column(n, name, t)
	}
	return nil, c.fail(n, "", "macro %s refers to itself", name)
}

// expand replaces a macro's name by its definition. Inside its own definition, the name of a
// macro means the field of that name, if there is one.
func (c *checker) expand(n *parse.Node, name, text string) (*node, *Error) {
	e, err := parsed(text)
	if err != nil {
		err.Macro = name
		return nil, err
	}
	if e.Root == nil {
		return nil, c.fail(n, "", "macro %s is empty", name)
	}
	if len(c.within) >= parse.MaxDepth {
		return nil, c.fail(n, "", "macros are nested more than %d deep", parse.MaxDepth)
	}
	inner := &checker{work: c.work, src: text, macro: name, within: append(slices.Clone(c.within), name)}
	x, err := inner.value(e.Root)
	if err == nil && x.typ.kind == kBool {
		x, err = inner.toCondition(e.Root, x)
	}
	return x, err
}

func (c *checker) unknown(n *parse.Node, name string) *Error {
	if names().heads[name] {
		var some []string
		for _, f := range names().all {
			if strings.HasPrefix(f, name+".") && len(some) < 4 {
				some = append(some, f)
			}
		}
		return c.fail(n, "fields that begin with it: "+strings.Join(some, ", "), "%s is not a complete field name", parse.Clip(name))
	}
	hint := nearest.Hint(name, c.allNames())
	return c.fail(n, hint, "unknown name %s, expected a field, a keyword or a macro", parse.Clip(name))
}

// allNames returns the names that this query may use, in a fixed order.
func (c *checker) allNames() []string {
	all := slices.Clone(names().all)
	for m := range c.env.Macros {
		all = append(all, m)
	}
	for m := range c.env.Columns {
		all = append(all, m)
	}
	for m := range c.env.Absent {
		all = append(all, m)
	}
	for _, v := range c.scope {
		all = append(all, v.name)
	}
	sort.Strings(all)
	return all
}

// field returns the expression of a field.
func (c *checker) field(n *parse.Node, f *field) (*node, *Error) {
	switch f.kind {
	case srcExpr:
		e, err := parsed(f.arg)
		if err != nil {
			return nil, err
		}
		inner := &checker{work: c.work, src: f.arg, own: true}
		x, err := inner.value(e.Root)
		if err != nil {
			return nil, err
		}
		x.typ.unit = f.typ.unit
		return x, nil
	case srcColumn:
		if !c.has(f.arg) {
			c.lacks(f.arg)
			return absent(f.typ), nil
		}
		return c.read(n, f, f.arg)
	case srcLater:
		if _, ok := c.env.Columns[f.arg]; ok {
			return c.read(n, f, f.arg)
		}
		c.lacks(f.arg)
		if f.typ.kind == kMap {
			return c.make(n, node{op: opEntries, typ: f.typ, str: "none", args: []*node{boolNode(false)}})
		}
		return absent(f.typ), nil
	case srcBody:
		if !c.has(f.arg + "_body_sha256") {
			return absent(typ{kind: kBytes}), nil
		}
		return c.make(n, node{op: opBody, typ: f.typ, str: f.arg})
	case srcFindings:
		return c.make(n, node{op: opFindings, typ: f.typ})
	case srcFlow, srcConnection, srcHello, srcHandshake:
		return c.join(n, f)
	}
	return c.entries(n, f)
}

// has reports whether the view has the column.
func (c *checker) has(column string) bool {
	if c.env.Columns == nil {
		return true
	}
	_, ok := c.env.Columns[column]
	return ok
}

// lacks reports whether name is a column that the view lacks because it has no value, and notes it.
func (c *checker) lacks(name string) bool {
	_, ok := c.env.Absent[name]
	if ok {
		c.absent[name] = true
	}
	return ok
}

// read returns the column of a field, with the type of the view's column.
func (c *checker) read(n *parse.Node, f *field, column string) (*node, *Error) {
	t := f.typ
	if real, ok := c.env.Columns[column]; ok {
		r, known := columnType(real)
		if known && r.kind != t.kind && !(t.text == textHex && r.kind == kBytes) && !(t.kind == kTime && r.kind == kInt) {
			return c.column(n, column, real)
		}
	}
	c.columns[column] = true
	if t.text == textHex {
		col, err := c.make(n, node{op: opCol, typ: typ{kind: kBytes}, str: column})
		if err != nil {
			return nil, err
		}
		return c.make(n, node{op: opHex, typ: t, args: []*node{col}})
	}
	return c.make(n, node{op: opCol, typ: t, str: column})
}

// column returns a column that is not in names.tsv.
func (c *checker) column(n *parse.Node, name, duckType string) (*node, *Error) {
	t, ok := columnType(duckType)
	if !ok {
		return nil, c.fail(n, "use SQL", "KFL does not support column %s of type %s", parse.Clip(name), parse.Clip(duckType))
	}
	switch {
	case !c.lacks(name):
	case t.kind == kMap:
		return c.make(n, node{op: opEntries, typ: t, str: "none", args: []*node{boolNode(false)}})
	default:
		return absent(t), nil
	}
	c.columns[name] = true
	if t.kind != kMap {
		return c.make(n, node{op: opCol, typ: t, str: name})
	}
	return c.labels(n, name)
}

// columnType returns the KFL type of a DuckDB type.
func columnType(duck string) (typ, bool) {
	switch strings.ToUpper(strings.ReplaceAll(strings.ReplaceAll(duck, `"`, ""), " ", "")) {
	case "VARCHAR":
		return typ{kind: kText}, true
	case "BOOLEAN":
		return typ{kind: kBool}, true
	case "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER":
		return typ{kind: kInt}, true
	case "DOUBLE", "FLOAT":
		return typ{kind: kFloat}, true
	case "BLOB":
		return typ{kind: kBytes}, true
	case "VARCHAR[]":
		return typ{kind: kList, elem: kText}, true
	case "TINYINT[]", "SMALLINT[]", "INTEGER[]", "BIGINT[]":
		return typ{kind: kList, elem: kInt}, true
	case "STRUCT(NAMEVARCHAR,VALUEVARCHAR)[]":
		return typ{kind: kMap}, true
	}
	return typ{}, false
}

func (c *checker) labels(n *parse.Node, column string) (*node, *Error) {
	there, err := c.make(n, node{op: opExists, typ: typ{kind: kBool}, args: []*node{{op: opCol, typ: typ{kind: kMap}, str: column}}})
	if err != nil {
		return nil, err
	}
	return c.make(n, node{op: opEntries, typ: typ{kind: kMap}, str: "labels:" + column, args: []*node{there}})
}

// entries makes a map. Its first argument is the condition for the presence of the map; a map
// that is present may be empty.
func (c *checker) entries(n *parse.Node, f *field) (*node, *Error) {
	b := typ{kind: kBool}
	col := func(name string, t typ) *node { return &node{op: opCol, typ: t, str: name} }
	exists := func(x *node) *node { return &node{op: opExists, typ: b, args: []*node{x}} }
	if f.kind == srcLabels {
		if !c.has(f.arg) {
			return c.make(n, node{op: opEntries, typ: f.typ, str: "none", args: []*node{boolNode(false)}})
		}
		c.columns[f.arg] = true
		return c.labels(n, f.arg)
	}
	needs := []string{"headers", "method", "status_code"}
	if f.kind == srcQuery {
		needs = []string{"query_string", "path"}
	}
	for _, need := range needs {
		if !c.has(need) {
			return c.make(n, node{op: opEntries, typ: f.typ, str: "none", args: []*node{boolNode(false)}})
		}
		c.columns[need] = true
	}
	if f.kind == srcQuery {
		return c.make(n, node{op: opEntries, typ: f.typ, str: "query", args: []*node{exists(col("path", typ{kind: kText})), col("query_string", typ{kind: kText})}})
	}
	// A side has headers if any was seen, or if its first line was: a message may have no
	// headers.
	side, _, _ := strings.Cut(f.arg, "_")
	line := col("method", typ{kind: kText})
	if side == "response" {
		line = col("status_code", typ{kind: kInt})
	}
	there := &node{op: opAnd, typ: b, args: []*node{
		exists(col("headers", typ{kind: kMap})),
		{op: opOr, typ: b, args: []*node{exists(line), {op: opHeader, typ: b, str: side}}},
	}}
	word := "headers:"
	if f.kind == srcCookies {
		word = "cookies:"
	}
	return c.make(n, node{op: opEntries, typ: f.typ, str: word + f.arg, args: []*node{there}})
}
