package kfl

import (
	"maps"
	"slices"
	"time"

	"github.com/pcapsule/pcapsule/internal/when"
	"github.com/pcapsule/pcapsule/kfl/internal/parse"
	"github.com/pcapsule/pcapsule/kfl/nearest"
)

// index is x[key].
func (c *checker) index(n *parse.Node) (*node, *Error) {
	if name, ok := c.dotted(n); ok {
		if c.known(name) {
			return c.named(n, name)
		}
		if head, _ := c.dotted(n.Args[0]); head == "node" || head == "capture" { // maps of KFL2
			return absent(typ{kind: kText}), nil
		}
		return nil, c.unknown(n, name)
	}
	x, err := c.value(n.Args[0])
	if err != nil {
		return nil, err
	}
	return c.part(n, x, n.Args[1])
}

// part is an element of a list, a value of a map or a member of a JSON value.
func (c *checker) part(n *parse.Node, x *node, key *parse.Node) (*node, *Error) {
	k, err := c.value(key)
	if err != nil {
		return nil, err
	}
	switch {
	case x.op == opDeep && k.typ.kind == kText:
		return nil, c.fail(n, `write one name after the dots: request.body.json()..sku == "x"`, "cannot select a part of all values under %s", parse.Clip(x.path[0]))
	case isXML(x) && k.typ.kind == kText:
		return c.xmlStep(key, x, k)
	case x.typ.each && x.typ.elem == kJSON && k.typ.kind == kText:
		return c.stepEach(n, x, key, k)
	case x.typ.kind == kMap && k.typ.kind == kText:
		return c.make(n, node{op: opLookup, typ: typ{kind: kText}, args: []*node{x, asText(k)}})
	case x.typ.kind == kList && k.typ.kind == kInt:
		return c.make(n, node{op: opElem, typ: typ{kind: x.typ.elem}, args: []*node{x, k}})
	case x.typ.kind == kJSON:
		return c.step(n, x, key, k)
	case x.typ.kind == kBody:
		return nil, c.fail(n, "write "+n.Args[0].Text+".json() first", "cannot select a part of a body")
	case x.typ.kind == kMap || x.typ.kind == kList:
		return nil, c.fail(key, "", "a key of %s cannot be %s", aType(x.typ), aType(k.typ))
	}
	if n.Kind == parse.Select {
		of := aType(x.typ)
		if name := n.Args[0].Text; x.typ.kind == kBool && name != "" {
			of = parse.Clip(name) + ", a condition,"
		}
		return nil, c.failAt(n.At, n.End, "", "%s has no member %s", of, parse.Clip(n.Text))
	}
	return nil, c.fail(n, "", "%s has no members", aType(x.typ))
}

// arity checks the number of arguments.
func (c *checker) arity(n *parse.Node, args []*parse.Node, want int, form string) *Error {
	if len(args) != want {
		return c.fail(n, "write "+form, "wrong number of arguments (%d) for %s, expected %d", len(args), n.Text, want)
	}
	return nil
}

// literalText returns a literal argument.
func (c *checker) literalText(n *parse.Node, form string) (string, *Error) {
	if n.Kind != parse.Literal || n.Token.Kind != parse.TokenText && n.Token.Kind != parse.TokenRaw {
		return "", c.fail(n, "write "+form, "expected quoted text")
	}
	return n.Token.Text, nil
}

// functions are the functions with their forms.
var functions = map[string]string{
	"size": "size(x)", "has": "has(x)", "map_get": `map_get(map, "key", "default")`, "timestamp": `timestamp("2026-01-31T12:00:00Z")`,
	"duration": `duration("5m")`, "now": "now()", "string": "string(x)", "int": "int(x)", "double": "double(x)", "cidr": `cidr(src.ip, "10.0.0.0/8")`,
	"datetime": `datetime("1/2/2006, 3:04:05.000 PM")`, "seconds": "seconds(-30)", "minutes": "minutes(-5)", "hours": "hours(-1)", "days": "days(-1)", "weeks": "weeks(-1)",
	"months": "months(-1)", "years": "years(-1)", "limit": "limit(100)",
}

// retired are functions of older and other languages, with their replacements.
var retired = map[string]string{
	"rlimit": "write limit(100)", "redact": "masking is not part of a filter: pass a policy with --redact to pcapsule mcp or serve (docs/guide/redaction.md)",
	"record": "open the bundle that contains the recording", "xml": "write request.body.xml() or response.body.xml()", "json": "write request.body.json() or response.body.json()",
	"lower": "write x.lowerAscii()", "upper": "write x.upperAscii()", "len": "write size(x)", "length": "write size(x)", "count": "write size(x)",
}

func (c *checker) call(n *parse.Node) (*node, *Error) {
	form, ok := functions[n.Text]
	if !ok {
		return nil, c.noFunction(n)
	}
	want := 1
	switch n.Text {
	case "cidr":
		if len(n.Args) == 2 {
			return c.inNetwork(n)
		}
	case "now":
		want = 0
	case "map_get":
		want = 3
	}
	if err := c.arity(n, n.Args, want, form); err != nil {
		return nil, err
	}
	switch n.Text {
	case "now":
		c.usesNow = true
		return c.constant(n, node{typ: typ{kind: kTime}, num: c.env.Now}), nil
	case "timestamp", "datetime", "duration", "cidr":
		return c.literalCall(n, form)
	case "seconds", "minutes", "hours", "days", "weeks", "months", "years":
		return c.ago(n)
	case "limit":
		return c.limitTo(n)
	case "map_get":
		return c.mapGet(n)
	}
	x, err := c.value(n.Args[0])
	if err != nil {
		return nil, err
	}
	switch n.Text {
	case "size":
		return c.size(n, x)
	case "has":
		return c.exists(n.Args[0], x)
	}
	return c.cast(n, x)
}

func (c *checker) noFunction(n *parse.Node) *Error {
	hint := retired[n.Text]
	if hint == "" {
		if form, ok := methods[n.Text]; ok {
			hint = "write " + form
		} else if near := nearest.Name(n.Text, sortedKeys(functions)); near != "" {
			hint = "did you mean " + functions[near] + "?"
		}
	}
	return c.failAt(n.Pos, n.Pos+len(n.Text), hint, "unknown function %s", parse.Clip(n.Text))
}

func (c *checker) literalCall(n *parse.Node, form string) (*node, *Error) {
	text, err := c.literalText(n.Args[0], form)
	if err != nil {
		return nil, err
	}
	switch n.Text {
	case "duration":
		d, ok := parse.ParseDuration(text)
		if !ok {
			return nil, c.fail(n.Args[0], "write a duration such as 250us, 500ms, 5s, 1h30m or 2d", "invalid duration %s", parse.Quote(parse.Clip(text)))
		}
		return c.constant(n, node{typ: typ{kind: kDuration}, num: d}), nil
	case "cidr":
		nets, err := c.network(n.Args[0], text)
		if err != nil {
			return nil, err
		}
		return c.constant(n, node{typ: typ{kind: kCIDR}, nets: nets, str: text}), nil
	}
	layouts := when.Layouts
	if n.Text == "datetime" {
		layouts = []string{"1/2/2006, 3:04:05.000 PM", "1/2/2006, 3:04:05 PM"}
	}
	for _, l := range layouts {
		t, err := time.Parse(l, text)
		if err != nil {
			continue
		}
		// 64-bit nanoseconds since 1970 cover the years 1677 to 2262.
		if year := t.UTC().Year(); year < 1678 || year > 2261 {
			return nil, c.fail(n.Args[0], "", "time %s is outside the years 1678 to 2261", parse.Quote(parse.Clip(text)))
		}
		return c.constant(n, node{typ: typ{kind: kTime}, num: t.UnixNano()}), nil
	}
	return nil, c.fail(n.Args[0], "write "+form, "invalid time %s", parse.Quote(parse.Clip(text)))
}

func (c *checker) mapGet(n *parse.Node) (*node, *Error) {
	var x [3]*node
	for i := 1; i < 3; i++ {
		v, err := c.value(n.Args[i])
		if err != nil {
			return nil, err
		}
		if v = asText(v); v.typ.kind != kText {
			return nil, c.fail(n.Args[i], "write "+functions["map_get"], "got %s, expected text", aType(v.typ))
		}
		x[i] = v
	}
	if c.headOnly(n.Args[0]) && x[1].op == opConst {
		name, _ := c.dotted(n.Args[0])
		f := names().byName[name+"."+x[1].str]
		if f == nil {
			return x[2], nil
		}
		v, err := c.field(n, f)
		if err != nil {
			return nil, err
		}
		there, err := c.exists(n, v)
		if err != nil {
			return nil, err
		}
		return c.make(n, node{op: opCond, typ: typ{kind: kText}, args: []*node{there, v, x[2]}})
	}
	m, err := c.value(n.Args[0])
	if err != nil {
		return nil, err
	}
	if m.typ.kind != kMap {
		return nil, c.fail(n.Args[0], "write "+functions["map_get"], "got %s, expected a map", aType(m.typ))
	}
	return c.make(n, node{op: opLookup, typ: typ{kind: kText}, args: []*node{m, x[1], x[2]}})
}

func (c *checker) size(n *parse.Node, x *node) (_ *node, err *Error) {
	switch x.typ.kind {
	case kText, kList, kMap, kBytes:
	case kJSON:
		if x, err = c.convert(n, x, typ{kind: kList, elem: kJSON}); err != nil {
			return nil, err
		}
	case kBody:
		if !c.has(x.str + "_body_size") {
			return absent(typ{kind: kInt, unit: "bytes"}), nil
		}
		c.columns[x.str+"_body_size"] = true
		return c.make(n, node{op: opCol, typ: typ{kind: kInt, unit: "bytes"}, str: x.str + "_body_size"})
	default:
		return nil, c.fail(n, "", "cannot compute the size of %s", aType(x.typ))
	}
	return c.make(n, node{op: opSize, typ: typ{kind: kInt}, args: []*node{x}})
}

// cast is string(x), int(x) or double(x).
func (c *checker) cast(n *parse.Node, x *node) (*node, *Error) {
	to := map[string]kind{"string": kText, "int": kInt, "double": kFloat}[n.Text]
	x, err := c.oneXML(n, asText(x))
	if err != nil {
		return nil, err
	}
	switch from := x.typ.kind; {
	case from == to:
		return x, nil
	case from == kJSON, from == kXML, from == kText, from == kInt:
	case from == kBool && to == kText, from == kFloat && to == kInt:
	case (from == kTime || from == kDuration) && to == kInt:
	default:
		return nil, c.fail(n, "", "%s of %s", n.Text, aType(x.typ))
	}
	return c.convert(n, x, typ{kind: to})
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
