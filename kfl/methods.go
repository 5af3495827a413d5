package kfl

import (
	"time"

	"github.com/pcapsule/pcapsule/kfl/internal/parse"
	"github.com/pcapsule/pcapsule/kfl/nearest"
)

// methods are the methods with their forms.
var methods = map[string]string{
	"contains": parse.MethodForm("contains"), "startsWith": parse.MethodForm("startsWith"), "endsWith": parse.MethodForm("endsWith"), "matches": parse.MethodForm("matches"),
	"size": "x.size()", "exists": "list.exists(e, condition)", "all": "list.all(e, condition)", "exists_one": "list.exists_one(e, condition)",
	"filter": "list.filter(e, condition)", "map": "list.map(e, value)", "json": "request.body.json()", "xml": "request.body.xml()", "text": "request.body.text()",
	"lowerAscii": stringCalls["lowerAscii"].form, "upperAscii": stringCalls["upperAscii"].form, "trim": stringCalls["trim"].form, "replace": stringCalls["replace"].form,
	"split": stringCalls["split"].form, "join": stringCalls["join"].form, "indexOf": stringCalls["indexOf"].form, "substring": stringCalls["substring"].form,
	"getHours": "timestamp.getHours()", "getMinutes": "timestamp.getMinutes()", "getSeconds": "timestamp.getSeconds()", "getDayOfWeek": "timestamp.getDayOfWeek()",
}

func (c *checker) method(n *parse.Node) (*node, *Error) {
	form, ok := methods[n.Text]
	if !ok {
		return nil, c.noMethod(n)
	}
	x, err := c.value(n.Args[0])
	if err != nil {
		return nil, err
	}
	args := n.Args[1:]
	switch n.Text {
	case "exists":
		if len(args) == 0 {
			return c.exists(n.Args[0], x)
		}
		fallthrough
	case "all", "exists_one", "filter", "map":
		if err := c.arity(n, args, 2, form); err != nil {
			return nil, err
		}
		return c.macroCall(n, x)
	case "lowerAscii", "upperAscii", "trim", "replace", "split", "join", "indexOf", "substring":
		return c.stringCall(n, x)
	case "size", "json", "xml", "text", "getHours", "getMinutes", "getSeconds", "getDayOfWeek":
		if err := c.arity(n, args, 0, form); err != nil {
			return nil, err
		}
	default:
		if err := c.arity(n, args, 1, form); err != nil {
			return nil, err
		}
		return c.textTest(n, x)
	}
	switch n.Text {
	case "size":
		return c.size(n, x)
	case "json":
		return c.document(n, x)
	case "xml":
		return c.xmlDocument(n, x)
	case "text":
		return c.whole(n, x)
	}
	return c.clock(n, x)
}

func (c *checker) noMethod(n *parse.Node) *Error {
	hint := retired[n.Text]
	if hint == "" {
		if near := nearest.Name(n.Text, sortedKeys(methods)); near != "" {
			hint = "did you mean " + methods[near] + "?"
		} else if form, ok := functions[n.Text]; ok {
			hint = "write " + form
		}
	}
	return c.failAt(n.At, n.At+len(n.Text), hint, "unknown method %s", parse.Clip(n.Text))
}

// textTest is contains, startsWith, endsWith or matches.
func (c *checker) textTest(n *parse.Node, x *node) (_ *node, err *Error) {
	b := typ{kind: kBool}
	x = asText(x)
	if x.typ.each {
		return c.any(n, x, func(e *node) (*node, *Error) { return c.textTest(n, e) })
	}
	if x.typ.kind == kJSON || x.typ.kind == kXML {
		if x, err = c.convert(n, x, typ{kind: kText}); err != nil {
			return nil, err
		}
	}
	switch x.typ.kind {
	case kText, kBody, kBytes:
	case kList:
		return nil, c.failAt(n.At, n.At+len(n.Text), `write "x" in list, or list.exists(e, e.contains("x"))`, "cannot apply %s to a list", n.Text)
	default:
		hint := ""
		if n.Args[0].Kind == parse.Not {
			hint = "! binds more tightly than word operators: write !(…)"
		}
		return nil, c.fail(n.Args[0], hint, "cannot apply %s to %s, only to text", n.Text, aType(x.typ))
	}
	if n.Text == "matches" {
		text, err := c.literalText(n.Args[1], methods["matches"])
		if err != nil {
			return nil, err
		}
		re, err := c.pattern(n.Args[1], text)
		if err != nil {
			return nil, err
		}
		switch x.typ.kind {
		case kBody:
			return c.bodyTest(n, node{op: opBodyRe, typ: b, str: x.str, re: re})
		case kBytes:
			return nil, c.fail(n, "", "cannot apply matches to bytes, only to text")
		}
		return c.make(n, node{op: opMatch, typ: b, args: []*node{x}, re: re})
	}
	y, err := c.value(n.Args[1])
	if err != nil {
		return nil, err
	}
	if y, err = c.oneXML(n.Args[1], asText(y)); err != nil {
		return nil, err
	}
	if y.typ.kind == kJSON || y.typ.kind == kXML {
		if y, err = c.convert(n.Args[1], y, typ{kind: kText}); err != nil {
			return nil, err
		}
	}
	if y.typ.kind != kText {
		hint := ""
		if n.Args[1].Kind == parse.Literal {
			hint = "write " + parse.Quote(n.Args[1].Token.Text) + " in quotes"
		}
		return nil, c.fail(n.Args[1], hint, "%s needs text, not %s", n.Text, aType(y.typ))
	}
	if x.typ.kind == kBody {
		return c.bodyTest(n, node{op: opBodyHas, typ: b, str: x.str, path: []string{n.Text}, args: []*node{y}})
	}
	return c.make(n, node{op: opText, typ: b, str: n.Text, args: []*node{x, y}})
}

// macroCall is exists, all, exists_one, filter or map with a variable.
func (c *checker) macroCall(n *parse.Node, x *node) (_ *node, err *Error) {
	name := n.Args[1]
	if name.Kind != parse.Ident {
		return nil, c.fail(name, "write "+methods[n.Text], "expected a variable name for the element")
	}
	switch x.typ.kind {
	case kMap:
		x, err = c.make(n.Args[0], node{op: opKeys, typ: typ{kind: kList, elem: kText}, args: []*node{x}})
	case kJSON:
		x, err = c.convert(n.Args[0], x, typ{kind: kList, elem: kJSON})
	case kList:
	default:
		return nil, c.fail(n.Args[0], "", "cannot apply %s to %s, only to a list or a map", n.Text, aType(x.typ))
	}
	if err != nil {
		return nil, err
	}
	ops := map[string]op{"exists": opAny, "all": opAll, "exists_one": opOne, "filter": opFilter, "map": opMap}
	return c.quantifier(n, ops[n.Text], x, func(e *node) (*node, *Error) {
		c.scope[len(c.scope)-1].name = name.Text
		if n.Text != "map" {
			return c.condition(n.Args[2])
		}
		v, err := c.value(n.Args[2])
		if err != nil {
			return nil, err
		}
		if v, err = c.textOfXML(n.Args[2], v); err != nil {
			return nil, err
		}
		switch v.typ.kind {
		case kText, kInt, kFloat, kBool, kTime, kDuration, kJSON:
			return v, nil
		}
		return nil, c.fail(n.Args[2], "", "cannot make a list of %s", aType(v.typ))
	})
}

// quantifier applies op to list x, with a variable for its element.
func (c *checker) quantifier(n *parse.Node, o op, x *node, body func(e *node) (*node, *Error)) (*node, *Error) {
	if len(c.scope) >= maxVars {
		err := c.fail(n, "", "more than %d nested list macros", maxVars)
		err.Limit = true
		return nil, err
	}
	c.vars++
	v := variable{typ: typ{kind: x.typ.elem}, id: c.vars}
	c.scope = append(c.scope, v)
	defer func() { c.scope = c.scope[:len(c.scope)-1] }()
	e, err := body(&node{op: opVar, typ: v.typ, num: v.id})
	if err != nil {
		return nil, err
	}
	t := typ{kind: kBool}
	switch o {
	case opFilter:
		t = x.typ
	case opMap:
		t = typ{kind: kList, elem: e.typ.kind}
	}
	return c.make(n, node{op: o, typ: t, num: v.id, args: []*node{x, e}})
}

// clock returns a part of a time, in UTC.
func (c *checker) clock(n *parse.Node, x *node) (*node, *Error) {
	if x.typ.kind != kTime {
		return nil, c.fail(n.Args[0], "", "cannot apply %s to %s, only to a time", n.Text, aType(x.typ))
	}
	i := typ{kind: kInt}
	num := func(v int64) *node { return &node{op: opConst, typ: i, num: v} }
	var fault *Error
	arith := func(a *node, op string, b *node) *node {
		x, err := c.make(n, node{op: opArith, typ: i, str: op, args: []*node{a, b}})
		if err != nil {
			fault = err
			return a
		}
		return x
	}
	mod := func(a *node, m int64) *node { return arith(arith(arith(a, "%", num(m)), "+", num(m)), "%", num(m)) }
	const day = int64(24 * time.Hour)
	var out *node
	switch n.Text {
	case "getHours":
		out = arith(mod(x, day), "/", num(int64(time.Hour)))
	case "getMinutes":
		out = arith(mod(x, int64(time.Hour)), "/", num(int64(time.Minute)))
	case "getSeconds":
		out = arith(mod(x, int64(time.Minute)), "/", num(int64(time.Second)))
	default: // 1970 began on a Thursday; Sunday is 0
		out = mod(arith(arith(arith(x, "-", mod(x, day)), "/", num(day)), "+", num(4)), 7)
	}
	return out, fault
}
