package kfl

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/kfl/internal/jsontext"
	"github.com/pcapsule/pcapsule/kfl/internal/parse"
	"github.com/pcapsule/pcapsule/kfl/nearest"
)

// any tests whether an element of a list passes the test.
func (c *checker) any(n *parse.Node, list *node, test func(e *node) (*node, *Error)) (*node, *Error) {
	return c.quantifier(n, opAny, list, test)
}

// every is x.*: any element of a list, any value of a map, any member of a JSON value.
func (c *checker) every(n *parse.Node) (*node, *Error) {
	x, err := c.value(n.Args[0])
	if err != nil {
		return nil, err
	}
	members := typ{kind: kList, elem: kJSON, each: true}
	switch {
	case x.op == opDeep:
		return nil, c.fail(n, `compare it, as in request.body.json()..`+x.path[0]+` == "x"`, "cannot apply .* to all values under %s", parse.Clip(x.path[0]))
	case isXML(x):
		return c.xmlStep(n, x, &node{op: opConst, typ: typ{kind: kText}, str: "*"})
	case x.op == opAbsent && (x.typ.kind == kJSON || x.typ.kind == kBytes):
		return absent(members), nil
	case x.typ.kind == kJSON, x.typ.each && x.typ.elem == kJSON:
		return c.make(n, node{op: opSpread, typ: members, args: []*node{x}})
	case x.typ.kind == kMap:
		keys, err := c.make(n, node{op: opKeys, typ: typ{kind: kList, elem: kText}, args: []*node{x}})
		if err != nil {
			return nil, err
		}
		values, err := c.quantifier(n, opMap, keys, func(e *node) (*node, *Error) {
			return c.make(n, node{op: opLookup, typ: typ{kind: kText}, args: []*node{x, e}})
		})
		return eachOf(values), err
	case x.typ.kind == kList:
		return eachOf(x), nil
	case x.typ.kind == kBody:
		return nil, c.fail(n, "write "+n.Args[0].Text+".json().*", "cannot select a part of a body")
	}
	return nil, c.fail(n, "", "%s has no members", aType(x.typ))
}

// eachOf marks a list of which any element may match.
func eachOf(x *node) *node {
	if x == nil {
		return nil
	}
	out := *x
	out.typ.each = true
	return &out
}

// stepEach goes one step into each of several JSON values.
func (c *checker) stepEach(n *parse.Node, x *node, key *parse.Node, k *node) (*node, *Error) {
	list, err := c.quantifier(n, opMap, x, func(e *node) (*node, *Error) { return c.step(n, e, key, k) })
	return eachOf(list), err
}

// deep is x..name: the values under a name anywhere in the JSON of a body. It returns only
// scalars, because the values of nested keys with the same name would need space that is
// quadratic in the size of the document.
func (c *checker) deep(n *parse.Node) (*node, *Error) {
	x, err := c.value(n.Args[0])
	if err != nil {
		return nil, err
	}
	t := typ{kind: kList, elem: kJSON, each: true}
	if isXML(x) {
		return c.xmlDeep(n, x)
	}
	if x.op == opAbsent {
		return absent(t), nil
	}
	if x.op != opPath || len(x.path) > 0 || x.args[0].op != opDoc {
		return nil, c.fail(n, "write request.body.json().."+n.Text, ".. works only on a whole JSON body, not on %s", aType(x.typ))
	}
	return c.make(n, node{op: opDeep, typ: t, str: x.args[0].str, path: []string{n.Text}})
}

// inNetwork is cidr(address, range).
func (c *checker) inNetwork(n *parse.Node) (*node, *Error) {
	x, err := c.value(n.Args[0])
	if err != nil {
		return nil, err
	}
	if x.typ.text != textIP {
		return nil, c.fail(n.Args[0], "src.ip and dst.ip are addresses", "%s cannot be in an address range", aType(x.typ))
	}
	text, err := c.literalText(n.Args[1], functions["cidr"])
	if err != nil {
		return nil, err
	}
	nets, err := c.network(n.Args[1], text)
	if err != nil {
		return nil, err
	}
	return c.make(n, node{op: opRange, typ: typ{kind: kBool}, args: []*node{x}, nets: nets})
}

// compareFinding is finding == "name".
func (c *checker) compareFinding(n *parse.Node, op string, a, b *node) (*node, *Error) {
	if a.op != opFindings {
		a, b = b, a
	}
	switch {
	case b.typ.kind == kNil && (op == "==" || op == "!="):
		is, err := c.finding(n, "")
		if err != nil || op == "!=" {
			return is, err
		}
		return c.make(n, node{op: opNot, typ: typ{kind: kBool}, args: []*node{is}})
	case op == "!=":
		return nil, c.fail(n, `write !("name" in findings)`, "!= does not work for findings, because a call may have several")
	case op != "==" || b.op != opConst || b.typ.kind != kText:
		return nil, c.fail(n, `write "name" in findings, or findings alone for any`, "findings can be tested only by name")
	}
	return c.finding(n, b.str)
}

// finding tests whether a call has the finding, or any finding if name is empty.
func (c *checker) finding(n *parse.Node, name string) (*node, *Error) {
	f := c.env.Findings
	if f == nil {
		return nil, c.fail(n, "open the bundle as a case to compute findings", "findings are not available here")
	}
	all := f.Names()
	if name != "" {
		if kind, _, _ := strings.Cut(name, "/"); !slices.Contains(all, kind) { // the part after / selects one finding of the kind
			hint := "this case has no findings"
			if near := nearest.Name(name, all); near != "" {
				hint = "did you mean " + parse.Quote(near) + "?"
			} else if len(all) > 0 {
				hint = "the findings are " + strings.Join(all[:min(len(all), 8)], ", ")
			}
			return nil, c.fail(n, hint, "unknown finding %s", parse.Quote(parse.Clip(name)))
		}
		all = []string{name}
	}
	var ids []int64
	for _, one := range all {
		calls, err := f.Calls(one)
		if err != nil {
			return nil, c.fail(n, "", "finding %s: %v", parse.Clip(one), err)
		}
		ids = append(ids, calls...)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	c.columns["call_no"] = true
	x := node{op: opFinding, typ: typ{kind: kBool}, ids: ids}
	if c.several() {
		c.columns["bundle"] = true
		x.str = "bundle"
	}
	if len(ids) == 0 {
		return boolNode(false), nil
	}
	return c.make(n, x)
}

// several reports whether the calls are from several bundles, which number them separately.
func (c *checker) several() bool { return c.env.Columns["bundle"] != "" }

// number returns the number of the row's call in the form of Findings.Calls.
func (m *matcher) number() int64 {
	no, bundle := m.row.Column("call_no"), m.row.Column("bundle")
	if !no.there {
		return -1
	}
	return bundle.num<<48 + no.num
}

func (w *writer) finding(n *node) frag {
	return w.lookUp(func() frag {
		key := frag{sql: `"call_no"`}
		if n.str != "" {
			key.sql = `(CAST("bundle" AS BIGINT) * 281474976710656 + "call_no")`
		}
		ids := frag{sql: "CAST(? AS BIGINT[])", args: []any{n.ids}}
		if w.d.literal != nil {
			ids = frag{sql: "CAST([" + strings.Trim(strings.ReplaceAll(fmt.Sprint(n.ids), " ", ", "), "[]") + "] AS BIGINT[])"}
		}
		return w.f("coalesce(@ IN (SELECT unnest(@)), FALSE)", key, ids)
	})
}

// spread returns every member of JSON values, both lists and objects.
func (m *matcher) spread(n *node) Value {
	x := m.value(n.args[0])
	if !x.there {
		return Value{}
	}
	if x.kind == kJSON {
		list, ok := jsontext.Members(x.str)
		return Value{kind: kList, there: ok, list: jsonValues(list)}
	}
	out := Value{kind: kList, there: true, list: []Value{}}
	for _, e := range x.list {
		list, _ := jsontext.Members(e.str)
		out.list = append(out.list, jsonValues(list)...)
	}
	return out
}

// membersSQL returns the members of a JSON value @.
const membersSQL = "CASE json_type(@) WHEN 'ARRAY' THEN json_extract(@, '$[*]') WHEN 'OBJECT' THEN json_extract(@, '$.*') END"

func (w *writer) spread(n *node) frag {
	if n.args[0].typ.kind == kJSON {
		return w.json(n.args[0], membersSQL)
	}
	v := w.fresh()
	return w.over(w.value(n.args[0]), func(list frag) frag {
		return w.f("flatten(list_transform(@, lambda "+v+": coalesce("+strings.ReplaceAll(membersSQL, "@", v)+", [])))", list)
	})
}
