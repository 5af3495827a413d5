package kfl

import (
	"net/netip"
	"strings"

	"github.com/pcapsule/pcapsule/kfl/internal/parse"
)

// in compiles membership in a list, in a map's keys, or in an address range.
func (c *checker) in(n *parse.Node) (*node, *Error) {
	x, err := c.value(n.Args[0])
	if err != nil {
		return nil, err
	}
	is, err := c.member(n, x, n.Args[1])
	if err != nil || n.Text == "in" {
		return is, err
	}
	there, err := c.exists(n.Args[0], x)
	if err != nil {
		return nil, err
	}
	not, err := c.make(n, node{op: opNot, typ: typ{kind: kBool}, args: []*node{is}})
	if err != nil {
		return nil, err
	}
	return c.make(n, node{op: opAnd, typ: typ{kind: kBool}, args: []*node{there, not}})
}

func (c *checker) member(n *parse.Node, x *node, set *parse.Node) (*node, *Error) {
	if x.typ.each {
		return c.any(n, x, func(e *node) (*node, *Error) { return c.member(n, e, set) })
	}
	if set.Kind == parse.List {
		return c.memberOf(n, x, set)
	}
	// "name" in node: the beginning of a dotted name, used as a map.
	if name, ok := c.dotted(set); ok && c.headOnly(set) && x.op == opConst && x.typ.kind == kText {
		f := names().byName[name+"."+x.str]
		if f == nil {
			return boolNode(false), nil
		}
		v, err := c.field(n, f)
		if err != nil {
			return nil, err
		}
		return c.exists(n, v)
	}
	y, err := c.value(set)
	if err != nil {
		return nil, err
	}
	b := typ{kind: kBool}
	switch {
	case y.op == opFindings:
		return c.compareFinding(n, "==", y, x)
	case y.typ.kind == kCIDR:
		if x.typ.text != textIP {
			return nil, c.fail(n.Args[0], "src.ip and dst.ip are addresses", "%s cannot be in an address range", aType(x.typ))
		}
		return c.make(n, node{op: opRange, typ: b, args: []*node{x}, nets: y.nets})
	case y.typ.kind == kText && x.typ.text == textIP && y.op == opConst:
		if strings.Contains(y.str, "/") {
			nets, err := c.network(set, y.str)
			if err != nil {
				return nil, err
			}
			return c.make(n, node{op: opRange, typ: b, args: []*node{x}, nets: nets})
		}
		return c.compare(n, "==", x, y)
	case y.typ.kind == kMap && x.typ.kind == kText:
		return c.make(n, node{op: opHasKey, typ: b, args: []*node{x, y}})
	case y.typ.kind == kJSON:
		return c.memberOfJSON(n, x, y)
	case y.typ.kind == kList && (y.typ.elem == kJSON || y.typ.elem == kXML):
		return c.quantifier(n, opAny, y, func(e *node) (*node, *Error) { return c.compare(n, "==", e, x) })
	case y.typ.kind == kList && (x.typ.kind == y.typ.elem || x.typ.number() && (y.typ.elem == kInt || y.typ.elem == kFloat)):
		if x.typ.kind != y.typ.elem {
			return c.quantifier(n, opAny, y, func(e *node) (*node, *Error) { return c.compare(n, "==", x, e) })
		}
		return c.make(n, node{op: opIn, typ: b, args: []*node{x, y}})
	case y.typ.kind == kText || y.typ.kind == kBody:
		return nil, c.fail(n, "to search text, write text.contains(part)", "in needs a list or a map, not %s", y.typ)
	}
	return nil, c.fail(n, "", "%s in %s", aType(x.typ), aType(y.typ))
}

// memberOf is x in [a, b, …]: x == a || x == b ….
func (c *checker) memberOf(n *parse.Node, x *node, set *parse.Node) (*node, *Error) {
	either := node{op: opOr, typ: typ{kind: kBool}}
	same := &node{op: opList, typ: typ{kind: kList, elem: x.typ.kind}}
	for _, a := range set.Args {
		e, err := c.value(a)
		if err != nil {
			return nil, err
		}
		var is *node
		if x.typ.text == textIP && e.op == opConst && e.typ.kind == kText && strings.Contains(e.str, "/") || e.typ.kind == kCIDR {
			is, err = c.member(n, x, a)
		} else {
			is, err = c.compare(&parse.Node{Kind: parse.Binary, Text: "==", Args: []*parse.Node{n.Args[0], a}, Pos: a.Pos, End: a.End}, "==", x, e)
		}
		if err != nil {
			return nil, err
		}
		if is.op == opCompare && is.args[0] == x && is.args[1].typ.kind == x.typ.kind {
			same.args = append(same.args, is.args[1])
			continue
		}
		either.args = append(either.args, is)
	}
	if len(same.args) > 0 {
		in, err := c.make(n, node{op: opIn, typ: typ{kind: kBool}, args: []*node{x, same}})
		if err != nil {
			return nil, err
		}
		either.args = append(either.args, in)
	}
	return c.make(n, either)
}

func (c *checker) network(n *parse.Node, text string) ([]netip.Prefix, *Error) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return nil, c.fail(n, `write an address range such as "10.0.0.0/8" or "fd00::/8"`, "invalid address range %s", parse.Quote(parse.Clip(text)))
	}
	return []netip.Prefix{p.Masked()}, nil
}
