package kfl

import (
	"github.com/pcapsule/pcapsule/kfl/internal/parse"
)

func (c *checker) logic(n *parse.Node) (*node, *Error) {
	out := node{op: opAnd, typ: typ{kind: kBool}}
	if n.Kind == parse.Or {
		out.op = opOr
	}
	for _, a := range n.Args {
		x, err := c.condition(a)
		if err != nil {
			return nil, err
		}
		out.args = append(out.args, x)
	}
	return c.make(n, out)
}

func (c *checker) negate(n *parse.Node) (*node, *Error) {
	x, err := c.value(n.Args[0])
	if err != nil {
		return nil, err
	}
	if x, err = c.oneXML(n, x); err != nil {
		return nil, err
	}
	if x.typ.kind == kJSON || x.typ.kind == kXML {
		if x, err = c.convert(n, x, typ{kind: kFloat}); err != nil {
			return nil, err
		}
	}
	if !x.typ.number() && x.typ.kind != kDuration {
		return nil, c.fail(n, "", "cannot negate %s, only a number", aType(x.typ))
	}
	return c.make(n, node{op: opNeg, typ: x.typ, args: []*node{x}})
}

func (c *checker) ternary(n *parse.Node) (*node, *Error) {
	test, err := c.condition(n.Args[0])
	if err != nil {
		return nil, err
	}
	a, err := c.value(n.Args[1])
	if err != nil {
		return nil, err
	}
	b, err := c.value(n.Args[2])
	if err != nil {
		return nil, err
	}
	switch {
	case a.typ.kind == kNil:
		a = absent(b.typ)
	case b.typ.kind == kNil:
		b = absent(a.typ)
	}
	if a, b, err = c.unify(n, a, b); err != nil {
		return nil, err
	}
	switch a.typ.kind {
	case kMap, kBody, kCIDR, kNil:
		return nil, c.fail(n, "use a part of it", "%s cannot be a result of ?:", aType(a.typ))
	}
	t := a.typ
	if b.typ != a.typ {
		t.text, t.unit = textPlain, ""
	}
	return c.make(n, node{op: opCond, typ: t, args: []*node{test, a, b}})
}

// unify converts a and b to one kind; an int may become a float.
func (c *checker) unify(n *parse.Node, a, b *node) (_, _ *node, err *Error) {
	switch {
	case a.typ.kind == kInt && b.typ.kind == kFloat:
		a, err = c.convert(n, a, b.typ)
	case a.typ.kind == kFloat && b.typ.kind == kInt:
		b, err = c.convert(n, b, a.typ)
	case a.typ.kind != b.typ.kind, a.typ.elem != b.typ.elem:
		err = c.fail(n, "", "types differ: %s and %s", aType(a.typ), aType(b.typ))
	}
	return a, b, err
}

func (c *checker) binary(n *parse.Node) (*node, *Error) {
	switch n.Text {
	case "in", "not in":
		return c.in(n)
	}
	a, err := c.value(n.Args[0])
	if err != nil {
		return nil, err
	}
	b, err := c.value(n.Args[1])
	if err != nil {
		return nil, err
	}
	switch n.Text {
	case "+", "-", "*", "/", "%":
		return c.arithmetic(n, a, b)
	}
	return c.compare(n, n.Text, a, b)
}

func (c *checker) arithmetic(n *parse.Node, a, b *node) (_ *node, err *Error) {
	if a, err = c.oneXML(n, a); err != nil {
		return nil, err
	}
	if b, err = c.oneXML(n, b); err != nil {
		return nil, err
	}
	if (a.typ.kind == kJSON || a.typ.kind == kXML) && (b.typ.number() || b.typ.kind == kText) {
		if a, err = c.convert(n, a, typ{kind: max(b.typ.kind, kFloat)}); err != nil {
			return nil, err
		}
	}
	if (b.typ.kind == kJSON || b.typ.kind == kXML) && (a.typ.number() || a.typ.kind == kText) {
		if b, err = c.convert(n, b, typ{kind: max(a.typ.kind, kFloat)}); err != nil {
			return nil, err
		}
	}
	t := typ{kind: kNil}
	plus := n.Text == "+" || n.Text == "-"
	switch x, y := a.typ.kind, b.typ.kind; {
	case x == kText && y == kText && n.Text == "+":
		return c.make(n, node{op: opJoin, typ: typ{kind: kText}, args: []*node{a, b}})
	case a.typ.number() && b.typ.number():
		if a, b, err = c.unify(n, a, b); err != nil {
			return nil, err
		}
		if a.typ.kind == kFloat && n.Text == "%" {
			return nil, c.fail(n, "", "%% needs integers, not a float")
		}
		t = typ{kind: a.typ.kind}
		if n.Args[0].Kind != parse.Literal && plus {
			t.unit = a.typ.unit
		}
	case x == kTime && y == kTime && n.Text == "-", x == kDuration && y == kDuration && plus:
		t.kind = kDuration
	case x == kTime && y == kDuration && plus, x == kDuration && y == kTime && n.Text == "+":
		t.kind = kTime
	case x == kDuration && y == kInt && (n.Text == "*" || n.Text == "/"), x == kInt && y == kDuration && n.Text == "*":
		t.kind = kDuration
	default:
		hint := ""
		if x == kText || y == kText {
			hint = "int(x) converts text to a number, string(x) a number to text"
		}
		return nil, c.fail(n, hint, "cannot compute %s %s %s", aType(a.typ), n.Text, aType(b.typ))
	}
	return c.make(n, node{op: opArith, typ: t, str: n.Text, args: []*node{a, b}})
}

// asText returns x as text: a URL query is both a map and text.
func asText(x *node) *node {
	if x.op == opEntries && x.str == "query" {
		return x.args[1]
	}
	return x
}
