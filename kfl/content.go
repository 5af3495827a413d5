package kfl

import (
	"slices"
	"strconv"

	"github.com/pcapsule/pcapsule/kfl/internal/jsontext"
	"github.com/pcapsule/pcapsule/kfl/internal/parse"
)

const (
	// maxNeedle is within the overlap of a body's parts, so that no match across two parts is
	// missed.
	maxNeedle = 4096
	maxPath   = 32 // steps into a JSON value
)

// bodyHash returns the column with the hash of a side's body.
func (c *checker) bodyHash(n *parse.Node, x *node) *node {
	c.columns[x.str+"_body_sha256"] = true
	return &node{op: opCol, typ: typ{kind: kBytes}, str: x.str + "_body_sha256", pos: n.Pos, end: n.End}
}

// uses reports whether x depends on the variable of a macro such as exists.
func uses(x *node) bool { return x.op == opVar || slices.ContainsFunc(x.args, uses) }

func (c *checker) bodyTest(n *parse.Node, test node) (*node, *Error) {
	// DuckDB has no subqueries inside a lambda, so the test of a body must not depend on
	// the lambda's variable.
	if len(c.scope) > 0 && slices.ContainsFunc(test.args, uses) {
		return nil, c.fail(n, "use a field or a literal", "a body cannot be searched for an element of a list")
	}
	if test.op == opBodyHas && test.args[0].op == opConst && len(test.args[0].str) > maxNeedle {
		err := c.fail(n.Args[1], "", "search text is %d bytes long, the limit is %d in a body", len(test.args[0].str), maxNeedle)
		err.Limit = true
		return nil, err
	}
	c.columns[test.str+"_body_sha256"] = true
	return c.make(n, test)
}

// compareBody is == and != of a whole body and text. It compares hashes and does not read the body.
func (c *checker) compareBody(n *parse.Node, op string, body, text *node) (*node, *Error) {
	if op != "==" && op != "!=" || text.typ.kind != kText {
		return nil, c.fail(n, `write body.contains("…"), body.json().key or size(body)`, "the comparison body %s %s is not supported", op, aType(text.typ))
	}
	is, err := c.bodyTest(n, node{op: opBodyIs, typ: typ{kind: kBool}, str: body.str, args: []*node{text}})
	if err != nil || op == "==" {
		return is, err
	}
	return c.differ(n, is, body, text)
}

// differ is != of two values whose == is the condition is: false if one of them is absent.
func (c *checker) differ(n *parse.Node, is *node, values ...*node) (*node, *Error) {
	out := node{op: opAnd, typ: typ{kind: kBool}}
	for _, x := range values {
		there, err := c.exists(n, x)
		if err != nil {
			return nil, err
		}
		out.args = append(out.args, there)
	}
	not, err := c.make(n, node{op: opNot, typ: typ{kind: kBool}, args: []*node{is}})
	if err != nil {
		return nil, err
	}
	out.args = append(out.args, not)
	return c.make(n, out)
}

// document is the JSON value of a body.
func (c *checker) document(n *parse.Node, x *node) (*node, *Error) {
	if x.op == opAbsent {
		return absent(typ{kind: kJSON}), nil
	}
	if x = asText(x); x.typ.kind == kText {
		if usesXML(x) {
			return nil, c.fail(n, `search it as text, as in .contains("x")`, "json() does not work inside an XML body")
		}
		doc, err := c.make(n, node{op: opParse, typ: typ{kind: kJSON}, args: []*node{x}})
		if err != nil || doc.op != opParse {
			return doc, err
		}
		return c.make(n, node{op: opPath, typ: typ{kind: kJSON}, args: []*node{doc}})
	}
	if x.typ.kind != kBody {
		return nil, c.fail(n, "json() works on bodies and text", "cannot apply json() to %s", aType(x.typ))
	}
	c.columns[x.str+"_body_sha256"] = true
	doc, err := c.make(n, node{op: opDoc, typ: typ{kind: kJSON}, str: x.str})
	if err != nil {
		return nil, err
	}
	return c.make(n, node{op: opPath, typ: typ{kind: kJSON}, args: []*node{doc}})
}

func (c *checker) whole(n *parse.Node, x *node) (*node, *Error) {
	if x.op == opAbsent {
		return absent(typ{kind: kText}), nil
	}
	if x.typ.kind != kBody {
		return nil, c.fail(n, "text() works only on request.body and response.body", "cannot apply text() to %s", aType(x.typ))
	}
	c.columns[x.str+"_body_sha256"] = true
	return c.make(n, node{op: opWhole, typ: typ{kind: kText}, str: x.str})
}

// step goes one step into a JSON value. Steps are literals: a key, or an index from 0.
func (c *checker) step(n *parse.Node, x *node, key *parse.Node, k *node) (*node, *Error) {
	if x.op == opAbsent {
		return x, nil
	}
	if k.op != opConst || k.typ.kind != kText && (k.typ.kind != kInt || k.num < 0) {
		return nil, c.fail(key, `write .name, ["name"] or [0]`, "expected a key or an index from 0")
	}
	text := k.str
	if k.typ.kind == kInt {
		text = strconv.FormatInt(k.num, 10)
	}
	at := node{op: opPath, typ: typ{kind: kJSON}, args: []*node{x}, path: []string{text}}
	if x.op == opPath {
		at.args, at.path = x.args, append(append([]string(nil), x.path...), text)
	}
	if len(at.path) > maxPath {
		err := c.fail(n, "", "more than %d steps into a JSON value", maxPath)
		err.Limit = true
		return nil, err
	}
	return c.make(n, at)
}

// compareJSON compares a member of a JSON value with a value of a certain type: a JSON number is
// never equal to text.
func (c *checker) compareJSON(n *parse.Node, op string, j, x *node) (*node, *Error) {
	if op == "!=" {
		is, err := c.compareJSON(n, "==", j, x)
		if err != nil {
			return nil, err
		}
		return c.differ(n, is, j, x)
	}
	switch x.typ.kind {
	case kJSON:
		if op != "==" {
			return nil, c.fail(n, "state the type, as in int(a) < int(b)", "JSON values have no order")
		}
		out := node{op: opOr, typ: typ{kind: kBool}}
		for _, k := range []kind{kText, kFloat, kBool} {
			a, err := c.convert(n, j, typ{kind: k})
			if err != nil {
				return nil, err
			}
			b, err := c.convert(n, x, typ{kind: k})
			if err != nil {
				return nil, err
			}
			is, err := c.plain(n, op, a, b)
			if err != nil {
				return nil, err
			}
			out.args = append(out.args, is)
		}
		return c.make(n, out)
	case kInt:
		// Beyond 2^53 a float cannot represent every integer, so an int is required.
		to := typ{kind: kFloat}
		if x.op == opConst && (x.num >= exactFloat || x.num <= -exactFloat) {
			to.kind = kInt
		}
		v, err := c.convert(n, j, to)
		if err != nil {
			return nil, err
		}
		v, x, err = c.unify(n, v, x)
		if err != nil {
			return nil, err
		}
		return c.plain(n, op, v, x)
	case kFloat, kText, kBool:
		if x.typ.kind == kBool && op != "==" {
			return nil, c.fail(n, "", "bools have no order, use == or !=")
		}
		v, err := c.convert(n, j, typ{kind: x.typ.kind})
		if err != nil {
			return nil, err
		}
		return c.plain(n, op, v, x)
	}
	return nil, c.mismatch(n, j, x)
}

func (c *checker) memberOfJSON(n *parse.Node, x, j *node) (*node, *Error) {
	list, err := c.convert(n, j, typ{kind: kList, elem: kJSON})
	if err != nil {
		return nil, err
	}
	return c.quantifier(n, opAny, list, func(e *node) (*node, *Error) { return c.compare(n, "==", e, x) })
}

// jsonAs converts a JSON value to kind to; a value of another kind is absent.
func jsonAs(s string, to kind) Value {
	kind := jsontext.Kind(s)
	switch {
	case to == kText && kind == jsontext.String:
		t, _ := jsontext.Text(s)
		return Text(t)
	case to == kFloat && kind == jsontext.Number:
		f, _ := strconv.ParseFloat(s, 64)
		return Value{kind: kFloat, there: isFinite(f), flt: f}
	case to == kInt && kind == jsontext.Number:
		v, err := strconv.ParseInt(s, 10, 64)
		return Value{kind: kInt, there: err == nil, num: v}
	case to == kBool && (kind == jsontext.True || kind == jsontext.False):
		return Bool(kind == jsontext.True)
	case to == kList && kind == jsontext.Array:
		return Value{kind: kList, there: true, list: jsonValues(jsontext.Elements(s))}
	}
	return Value{}
}

// jsonValues makes values of JSON texts.
func jsonValues(texts []string) []Value {
	out := make([]Value, len(texts))
	for i, s := range texts {
		out[i] = Value{kind: kJSON, there: true, str: s}
	}
	return out
}
