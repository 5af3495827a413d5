package kfl

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/kfl/internal/parse"
	"github.com/pcapsule/pcapsule/kfl/internal/xmltree"
)

// DuckDB has no functions for XML. A condition on XML is therefore evaluated here with the
// matcher, on every distinct body that may meet it, and SQL gets the hashes of those that do.

// maxXMLBodies is how many bodies may meet one condition.
const maxXMLBodies = 250_000

// isXML reports whether x is one or more elements.
func isXML(x *node) bool {
	return x.typ.kind == kXML || x.typ.kind == kList && x.typ.elem == kXML && x.typ.each
}

// elements of XML, of which any may match.
var xmlElements = typ{kind: kList, elem: kXML, each: true}

// xmlDocument is the XML document of a body.
func (c *checker) xmlDocument(n *parse.Node, x *node) (*node, *Error) {
	if x.op == opAbsent {
		return absent(typ{kind: kXML}), nil
	}
	if x.typ.kind != kBody {
		return nil, c.fail(n, "xml() works only on request.body and response.body", "cannot apply xml() to %s", aType(x.typ))
	}
	if c.xml == nil {
		c.xml = c.fail(n, "compare it with a literal or another part of the same body", "a condition on xml() cannot use anything outside that body")
	}
	c.columns[x.str+"_body_sha256"] = true
	return c.make(n, node{op: opXML, typ: typ{kind: kXML}, str: x.str})
}

// xmlStep selects the child elements of x with a name or, with an @, an attribute.
func (c *checker) xmlStep(n *parse.Node, x, k *node) (*node, *Error) {
	if k.op != opConst {
		return nil, c.fail(n, `write .name, ["name"], ["@attribute"] or [0]`, "expected a name or an index from 0")
	}
	if x.op == opAbsent {
		return absent(xmlElements), nil
	}
	return c.make(n, node{op: opXMLStep, typ: xmlElements, path: []string{xmltree.Local(k.str)}, args: []*node{x}})
}

// xmlDeep is xml()..name: elements with a name anywhere.
func (c *checker) xmlDeep(n *parse.Node, x *node) (*node, *Error) {
	switch x.op {
	case opAbsent:
		return absent(xmlElements), nil
	case opXML:
		return c.make(n, node{op: opXMLDeep, typ: xmlElements, path: []string{n.Text}, args: []*node{x}})
	}
	return nil, c.fail(n, "write request.body.xml().."+n.Text, ".. works only on a whole body, not on an XML element")
}

// oneXML returns the first of several elements if one value is required.
func (c *checker) oneXML(n *parse.Node, x *node) (*node, *Error) {
	if x.typ.kind != kList || !isXML(x) {
		return x, nil
	}
	return c.make(n, node{op: opElem, typ: typ{kind: kXML}, args: []*node{x, {op: opConst, typ: typ{kind: kInt}}}})
}

// textOfXML returns the text of the first element if x is XML.
func (c *checker) textOfXML(n *parse.Node, x *node) (*node, *Error) {
	if !isXML(x) {
		return x, nil
	}
	x, err := c.oneXML(n, x)
	if err != nil {
		return nil, err
	}
	return c.convert(n, x, typ{kind: kText})
}

// compareXML compares the text of an element, converted to the type of the other operand.
func (c *checker) compareXML(n *parse.Node, op string, x, y *node) (_ *node, err *Error) {
	to := y.typ.kind
	switch to {
	case kXML, kJSON:
		to = kText
		if y, err = c.convert(n, y, typ{kind: kText}); err != nil {
			return nil, err
		}
	case kInt:
		if y.op != opConst || y.num < exactFloat && y.num > -exactFloat {
			to = kFloat
		}
	case kText, kFloat, kBool:
	default:
		return nil, c.mismatch(n, x, y)
	}
	if x, err = c.convert(n, x, typ{kind: to}); err != nil {
		return nil, err
	}
	return c.compare(n, op, x, y)
}

// xmlAs converts an element's text to the type of n.
func xmlAs(text string, n *node) Value {
	switch {
	case n.typ.kind == kText:
		return Text(text)
	case n.typ.kind == kBool:
		return Value{kind: kBool, there: text == "true" || text == "false", num: Bool(text == "true").num}
	}
	return convert(Text(text), n)
}

// xmlDocument reads a body of the row, once.
func (m *matcher) xmlDocument(side Side) Value {
	if m.xml[side] == nil {
		v := Value{kind: kXML}
		if m.row.Column(sideNames[side] + "_body_sha256").there {
			if text, ok := wholeText(m.row.Body(side)); ok {
				v.xml, v.there = xmltree.Parse(text)
			}
		}
		m.xml[side] = &v
	}
	return *m.xml[side]
}

var sideNames = [...]string{Request: "request", Response: "response"}

func (m *matcher) xmlPart(n *node) Value {
	x := m.value(n.args[0])
	if !x.there {
		return Value{}
	}
	out := Value{kind: kList, there: true}
	if n.op == opXMLDeep {
		out.list = xmlValues(x.xml.Deep(n.path[0]))
		return out
	}
	from := x.list
	if x.kind == kXML {
		from = []Value{x}
	}
	out.list = []Value{}
	for _, v := range from {
		out.list = append(out.list, xmlValues(v.xml.Children(n.path[0]))...)
	}
	return out
}

// usesXML reports whether n reads XML.
func usesXML(n *node) bool { return n.op == opXML || slices.ContainsFunc(n.args, usesXML) }

// misplaced reports whether n reads XML in a condition that also depends on other data.
func misplaced(n *node) bool {
	if _, ok := documentOf(n); ok {
		return false
	}
	return n.op == opXML || slices.ContainsFunc(n.args, misplaced)
}

// inXML selects the bodies whose XML meets the condition.
func (w *writer) inXML(n *node, side string) frag {
	if w.bodies == nil {
		return frag{sql: "coalesce(CAST(error('xml() is evaluated on the bodies of a bundle') AS BOOLEAN), FALSE)"}
	}
	if w.fault != nil || w.tooLong {
		return frag{sql: "NULL"}
	}
	hashes, err := w.bodies.XML(keyOf(n), xmlNames(n), func(text string) bool {
		m := matcher{row: &bodyRow{side: bodySide(side), text: text}}
		return m.cond(n)
	})
	if err == nil && len(hashes) > maxXMLBodies {
		err = &Error{Msg: fmt.Sprintf("a condition on XML matches %d bodies, more than %d", len(hashes), maxXMLBodies), Hint: "narrow the condition", Limit: true}
	}
	if err != nil {
		w.fault = err
		return frag{sql: "NULL"}
	}
	if len(hashes) == 0 {
		return frag{sql: "FALSE"}
	}
	list := make([]string, len(hashes))
	for i, h := range hashes {
		list[i] = hex.EncodeToString(h)
	}
	slices.Sort(list)
	return w.lookUp(func() frag {
		return w.f("coalesce(@ IN (SELECT unhex(unnest(@))), FALSE)", w.quote(side+"_body_sha256"), frag{sql: "CAST(? AS VARCHAR[])", args: []any{slices.Compact(list)}})
	})
}

// bodyRow is a call with one body and no other values.
type bodyRow struct {
	side Side
	text string
}

// Column implements Row.
func (r *bodyRow) Column(name string) Value {
	if name == sideNames[r.side]+"_body_sha256" {
		return Bytes([]byte{})
	}
	return Value{}
}

// Body implements Row.
func (r *bodyRow) Body(side Side) []BodyPart {
	if side != r.side {
		return nil
	}
	return []BodyPart{{Size: int64(len(r.text)), Text: r.text, IsText: true}}
}

// xmlNames returns the names that every XML text must contain to meet a condition. Names of
// elements and attributes have only one spelling.
func xmlNames(n *node) (names []string) {
	var steps func(n *node)
	steps = func(n *node) {
		switch n.op {
		case opXMLStep, opXMLDeep:
			if name := strings.TrimPrefix(n.path[0], "@"); name != "*" && name != "" && !slices.Contains(names, name) {
				names = append(names, name)
			}
			steps(n.args[0])
		case opConvert, opNeg, opElem, opJoin, opCall, opArith, opParse, opPath:
			for _, a := range n.args {
				steps(a)
			}
		}
	}
	switch n.op {
	case opCompare, opIn, opText, opMatch, opExists, opTruth:
		for _, a := range n.args {
			if a.op != opList {
				steps(a)
			}
		}
	case opAny, opOne:
		steps(n.args[0])
		names = append(names, xmlNames(n.args[1])...)
	}
	return names
}

// keyOf writes out a condition, so that equal keys are equal conditions.
func keyOf(n *node) string {
	var b strings.Builder
	var write func(n *node)
	write = func(n *node) {
		fmt.Fprintf(&b, "%d %v %q %d %v %q", n.op, n.typ, n.str, n.num, n.flt, n.path)
		if n.re != nil {
			fmt.Fprintf(&b, " %q", n.re.String())
		}
		b.WriteString("(")
		for _, a := range n.args {
			write(a)
			b.WriteString(",")
		}
		b.WriteString(")")
	}
	write(n)
	return b.String()
}

// xmlValues makes values of XML elements.
func xmlValues(nodes []*xmltree.Node) []Value {
	out := make([]Value, len(nodes))
	for i, n := range nodes {
		out[i] = Value{kind: kXML, there: true, xml: n}
	}
	return out
}
