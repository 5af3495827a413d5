package kfl

import (
	"net/netip"
	"regexp"
	"slices"

	"github.com/pcapsule/pcapsule/kfl/internal/parse"
)

// Env is the environment that a query is compiled for.
type Env struct {
	// Now is the value of now() in nanoseconds since 1970 UTC: the time of the last packet of
	// the case.
	Now int64
	// Macros maps names to conditions or values in KFL. They take precedence over fields of
	// the same name.
	Macros map[string]string
	// Columns are the columns of the view calls, with their DuckDB types. A field without its
	// column is absent; a column without a field can be used under its own name. Nil means the
	// columns that fields read.
	Columns map[string]string
	// Absent are columns of calls that the view lacks because none of its rows has a value of
	// them, with their DuckDB types. A query may name them; they are absent.
	Absent map[string]string
	// Tables are the columns of the tables that a query may look up for a call, by table name:
	// flows, connections, tls. If a table NAME_raw exists for one of these or for calls, it is
	// read instead, because endpoints are not joined to it. Nil means no tables or, if Columns
	// is nil too, those that fields read.
	Tables map[string]map[string]string
	// Bodies evaluates conditions on XML. If it is nil, SQL with such a condition fails when it
	// is run: an empty answer would be misleading.
	Bodies Bodies
	// Findings evaluates finding == "name". If it is nil, such a condition is an error, because
	// an empty answer would be misleading.
	Findings Findings
	// Protocol reports whether calls have a protocol that this release does not dissect, as a bundle
	// of another release can. If it is nil, none have.
	Protocol func(name string) bool
}

// Findings returns the calls that findings are about.
type Findings interface {
	// Names lists the findings that a query may name.
	Names() []string
	// Calls returns the numbers of the calls that a finding is about, in any order: call_no or,
	// if the view calls has a column bundle, bundle<<48 + call_no.
	Calls(name string) ([]int64, error)
}

// Bodies searches the bodies of calls.
type Bodies interface {
	// XML returns the hashes (column sha256 of table bodies) of the bodies in one part that look
	// like XML, contain all strings in with, and pass the test, in any order. Tests with equal
	// keys are equal. Compile returns its error.
	XML(key string, with []string, test func(text string) bool) ([][]byte, error)
}

const maxVars = 4 // nested macros such as exists

// node is one expression with its type and resolved names.
type node struct {
	op       op
	typ      typ
	args     []*node
	str      string
	num      int64
	flt      float64
	re       *regexp.Regexp
	nets     []netip.Prefix
	path     []string
	ids      []int64
	joined   *joined
	pos, end int
}

// variable is a name that a macro such as exists defines.
type variable struct {
	name string
	typ  typ
	id   int64
}

// work is the state that all checkers of one query share.
type work struct {
	env     Env
	nodes   int
	vars    int64
	usesNow bool
	columns map[string]bool
	absent  map[string]bool // columns in env.Absent
	inner   []string        // columns of other rows of calls
	notes   []string
	limit   int
	xml     *Error // error of the first xml() whose condition needs more than that body
}

// checker assigns types and resolves names in one text: the query, a macro, or a definition in
// names.tsv.
type checker struct {
	*work
	src    string
	macro  string   // name of this macro
	within []string // enclosing macros
	own    bool     // a definition in names.tsv: names can only be fields
	scope  []variable
}

func (c *checker) fail(n *parse.Node, hint, format string, args ...any) *Error {
	return c.failAt(n.Pos, n.End, hint, format, args...)
}

func (c *checker) failAt(pos, end int, hint, format string, args ...any) *Error {
	err := parse.ErrorAt(c.src, pos, end, hint, format, args...)
	err.Macro = c.macro
	return err
}

// make counts the node and folds constants.
func (c *checker) make(at *parse.Node, n node) (*node, *Error) {
	if c.nodes++; c.nodes > parse.MaxNodes {
		err := c.fail(at, "", "more than %d expressions, including macros", parse.MaxNodes)
		err.Limit = true
		return nil, err
	}
	for _, a := range n.args {
		if a.op == opFindings {
			return nil, c.fail(at, `write "name" in findings, or findings alone for any`, "findings can be tested only by name")
		}
	}
	n.pos, n.end = at.Pos, at.End
	return fold(&n), nil
}

func (c *checker) constant(at *parse.Node, n node) *node {
	n.op, n.pos, n.end = opConst, at.Pos, at.End
	return &n
}

func boolNode(v bool) *node {
	n := &node{op: opConst, typ: typ{kind: kBool}}
	if v {
		n.num = 1
	}
	return n
}

func absent(t typ) *node { return &node{op: opAbsent, typ: t} }

// condition checks n as a condition.
func (c *checker) condition(n *parse.Node) (*node, *Error) {
	x, err := c.value(n)
	if err != nil {
		return nil, err
	}
	return c.toCondition(n, x)
}

// total reports whether x is a condition, which is never absent.
func total(x *node) bool {
	return x.op >= opTruth || x.op == opConst && x.typ.kind == kBool
}

// toCondition converts a value to a condition. A bool is its value, or false if absent; a field,
// an element or a member of a JSON value is true if present.
func (c *checker) toCondition(n *parse.Node, x *node) (*node, *Error) {
	switch {
	case total(x):
		return x, nil
	case x.typ.kind == kBool:
		return c.make(n, node{op: opTruth, typ: x.typ, args: []*node{x}})
	case x.typ.kind == kJSON:
		there, err := c.exists(n, x)
		if err != nil {
			return nil, err
		}
		no, err := c.compare(n, "==", x, boolNode(false))
		if err != nil {
			return nil, err
		}
		not, err := c.make(n, node{op: opNot, typ: typ{kind: kBool}, args: []*node{no}})
		if err != nil {
			return nil, err
		}
		return c.make(n, node{op: opAnd, typ: typ{kind: kBool}, args: []*node{there, not}})
	}
	switch n.Kind {
	case parse.Ident, parse.Select, parse.Index, parse.Every, parse.Deep:
		if n.Kind == parse.Ident && n.Text == "error" && !slices.Contains(c.notes, bareError) {
			c.notes = append(c.notes, bareError)
		}
		return c.exists(n, x)
	}
	if x.typ.kind == kXML {
		return c.exists(n, x)
	}
	return nil, c.fail(n, "compare it, as in x == …", "expected a condition, got %s", aType(x.typ))
}

// bareError is the note about error alone, which people write for failures of every kind.
const bareError = "error selects calls without a complete answer; it leaves out failures that the server answered, such as status 500 or an error of SQL: write failed for failures of every kind"

// aType returns the name of a type for a message.
func aType(t typ) string {
	switch t.kind {
	case kInt, kFloat:
		return "a number"
	case kBool:
		return "a condition"
	case kXML, kCIDR:
		return "an " + t.String()
	case kBytes, kNil, kText:
		return t.String()
	}
	return "a " + t.String()
}

// exists tests whether x is present; a list or a map must also be non-empty.
func (c *checker) exists(n *parse.Node, x *node) (*node, *Error) {
	b := typ{kind: kBool}
	switch {
	case x.op == opFindings:
		return c.finding(n, "")
	case x.typ.kind == kList || x.typ.kind == kMap:
		size, err := c.make(n, node{op: opSize, typ: typ{kind: kInt}, args: []*node{x}})
		if err != nil {
			return nil, err
		}
		return c.make(n, node{op: opCompare, typ: b, str: ">", args: []*node{size, {op: opConst, typ: typ{kind: kInt}}}})
	case x.op == opLookup && len(x.args) == 2:
		return c.make(n, node{op: opHasKey, typ: b, args: []*node{x.args[1], x.args[0]}})
	case x.typ.kind == kBody:
		x = c.bodyHash(n, x)
	case x.typ.kind == kNil || x.typ.kind == kCIDR:
		return nil, c.fail(n, "", "%s is never absent", x.typ)
	case total(x):
		return boolNode(true), nil
	case x.op == opHex:
		x = x.args[0]
	}
	return c.make(n, node{op: opExists, typ: b, args: []*node{x}})
}

// value checks n and determines its type.
func (c *checker) value(n *parse.Node) (*node, *Error) {
	switch n.Kind {
	case parse.Literal:
		return c.literal(n), nil
	case parse.Nil:
		return absent(typ{}), nil
	case parse.Bool:
		return boolNode(n.Token.Int != 0), nil
	case parse.Ident, parse.Select:
		return c.name(n)
	case parse.Index:
		return c.index(n)
	case parse.Call:
		return c.call(n)
	case parse.Method:
		return c.method(n)
	case parse.Not:
		x, err := c.condition(n.Args[0])
		if err != nil {
			return nil, err
		}
		return c.make(n, node{op: opNot, typ: typ{kind: kBool}, args: []*node{x}})
	case parse.And, parse.Or:
		return c.logic(n)
	case parse.Negative:
		return c.negate(n)
	case parse.Conditional:
		return c.ternary(n)
	case parse.Every:
		return c.every(n)
	case parse.Deep:
		return c.deep(n)
	case parse.List:
		return c.list(n)
	}
	return c.binary(n)
}

func (c *checker) literal(n *parse.Node) *node {
	t := n.Token
	switch t.Kind {
	case parse.TokenInt:
		return c.constant(n, node{typ: typ{kind: kInt}, num: t.Int})
	case parse.TokenFloat:
		return c.constant(n, node{typ: typ{kind: kFloat}, flt: t.Float})
	case parse.TokenDuration:
		return c.constant(n, node{typ: typ{kind: kDuration}, num: t.Int})
	case parse.TokenRaw:
		return c.constant(n, node{typ: typ{kind: kText, text: textPattern}, str: t.Text})
	}
	return c.constant(n, node{typ: typ{kind: kText}, str: t.Text})
}

func (c *checker) list(n *parse.Node) (*node, *Error) {
	out := node{op: opList, typ: typ{kind: kList, elem: kText}}
	for i, a := range n.Args {
		x, err := c.value(a)
		if err != nil {
			return nil, err
		}
		switch x.typ.kind {
		case kText, kInt, kFloat, kTime, kDuration, kBool, kJSON:
		default:
			return nil, c.fail(a, "", "%s cannot be in a list, only text or numbers", aType(x.typ))
		}
		if i > 0 && x.typ.kind != out.typ.elem {
			if !x.typ.number() || out.typ.elem != kInt && out.typ.elem != kFloat {
				return nil, c.fail(a, "", "%s cannot be in a list of %s", aType(x.typ), kindWords[out.typ.elem])
			}
			out.typ.elem = kFloat
		} else if i == 0 {
			out.typ.elem = x.typ.kind
		}
		out.args = append(out.args, x)
	}
	if out.typ.elem == kFloat {
		for i, x := range out.args {
			var err *Error
			if out.args[i], err = c.convert(n, x, typ{kind: kFloat}); err != nil {
				return nil, err
			}
		}
	}
	return c.make(n, out)
}

// convert converts x to type t, if possible.
func (c *checker) convert(n *parse.Node, x *node, t typ) (*node, *Error) {
	if x.typ.kind == t.kind {
		return x, nil
	}
	if x.op == opAbsent {
		return absent(t), nil
	}
	return c.make(n, node{op: opConvert, typ: t, args: []*node{x}})
}
