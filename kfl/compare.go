package kfl

import (
	"net/netip"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/when"
	"github.com/pcapsule/pcapsule/kfl/internal/parse"
	"github.com/pcapsule/pcapsule/kfl/nearest"
)

const (
	maxPattern     = 1000   // bytes of a regular expression
	maxPatternCost = 20_000 // size of its program; DuckDB's engine allows 8 MB
	exactFloat     = 1 << 53
)

// compare compiles a op b. It is false if an operand is absent; see docs/kfl.md.
func (c *checker) compare(n *parse.Node, op string, a, b *node) (*node, *Error) {
	a, b = textOfMap(a, b), textOfMap(b, a)
	if err := c.impossible(n, a, b); err != nil {
		return nil, err
	}
	if a.op == opFindings || b.op == opFindings {
		return c.compareFinding(n, op, a, b)
	}
	if a.typ.kind == kList && b.typ.kind == kList && isXML(a) && isXML(b) {
		return c.any(n, a, func(e *node) (*node, *Error) { return c.compare(n, op, e, b) })
	}
	if x, y := a, b; a.typ.each != b.typ.each && a.typ.kind != kNil && b.typ.kind != kNil {
		if x.typ.each {
			return c.any(n, x, func(e *node) (*node, *Error) { return c.compare(n, op, e, y) })
		}
		return c.any(n, y, func(e *node) (*node, *Error) { return c.compare(n, op, x, e) })
	}
	// From here on, the special operand is on the left.
	if special(b) > special(a) {
		op, a, b = mirrored(op), b, a
	}
	equality := op == "==" || op == "!="
	switch {
	case a.typ.kind == kNil:
		if !equality {
			return nil, c.fail(n, "nil can be compared only with == and !=", "nil has no order")
		}
		there, err := c.exists(n, b)
		if err != nil || op == "!=" {
			return there, err
		}
		return c.make(n, node{op: opNot, typ: typ{kind: kBool}, args: []*node{there}})
	case a.typ.kind == kBody:
		return c.compareBody(n, op, a, b)
	case a.typ.kind == kXML:
		return c.compareXML(n, op, a, b)
	case a.typ.kind == kJSON:
		return c.compareJSON(n, op, a, b)
	case a.typ.kind == kDuration && b.typ.unit != "":
		return c.compareUnit(n, op, a, b)
	case a.typ.kind == kText && b.typ.kind == kText && equality:
		return c.compareText(n, op, a, b)
	case a.typ.kind == kBytes && b.typ.kind == kText && equality:
		return c.plain(n, op, a, b)
	case b.typ.text == textPattern && a.typ.kind == kInt && equality:
		return c.comparePattern(n, op, a, "^(?:"+b.str+")$")
	case a.typ.number() && b.typ.number():
		a, b, err := c.unify(n, a, b)
		if err != nil {
			return nil, err
		}
		return c.plain(n, op, a, b)
	case a.typ.kind == b.typ.kind:
		switch a.typ.kind {
		case kBool:
			if !equality {
				return nil, c.fail(n, "", "bools have no order, use == or !=")
			}
			return c.plain(n, op, a, b)
		case kText, kTime, kDuration:
			return c.plain(n, op, a, b)
		case kBytes:
			if equality {
				return c.plain(n, op, a, b)
			}
		}
	}
	return nil, c.mismatch(n, a, b)
}

// mirrored is the operator that compares b with a as op compares a with b.
func mirrored(op string) string {
	switch op {
	case "<":
		return ">"
	case "<=":
		return ">="
	case ">":
		return "<"
	case ">=":
		return "<="
	}
	return op
}

// textOfMap returns the text of a URL query if the other operand is text.
func textOfMap(x, other *node) *node {
	if other.typ.kind == kText {
		return asText(x)
	}
	return x
}

// special ranks the kinds of operands that determine the meaning of a comparison.
func special(x *node) int {
	switch {
	case x.typ.kind == kNil:
		return 10
	case x.typ.kind == kBody:
		return 9
	case x.typ.kind == kXML:
		return 8
	case x.typ.kind == kJSON:
		return 7
	case x.typ.kind == kDuration && x.typ.unit == "":
		return 6
	case x.typ.kind == kBytes:
		return 5
	case x.typ.kind == kText && x.op != opConst && x.typ.text != textPlain:
		return 3
	case x.op != opConst:
		return 2
	}
	return 1
}

func (c *checker) plain(n *parse.Node, op string, a, b *node) (*node, *Error) {
	return c.make(n, node{op: opCompare, typ: typ{kind: kBool}, str: op, args: []*node{a, b}})
}

func (c *checker) mismatch(n *parse.Node, a, b *node) *Error {
	hint := ""
	if n.Kind == parse.Binary && len(n.Args) == 2 {
		for i, x := range n.Args {
			other := [2]*node{b, a}
			if i == 1 {
				other = [2]*node{a, b}
			}
			hint = literalHint(x, other)
			if hint != "" {
				break
			}
		}
	}
	switch {
	case hint != "":
	case a.typ.kind == kList || b.typ.kind == kList:
		hint = `test an element: "x" in list, or list.exists(e, e == "x")`
	case a.typ.kind == kMap || b.typ.kind == kMap:
		hint = `test a key: map["k"] == "v"`
	case a.typ.kind == kDuration && b.typ.number():
		hint = "only time fields can be compared with a duration; compare others with a number"
	case a.typ.kind == kTime && b.typ.kind == kInt || a.typ.kind == kInt && b.typ.kind == kTime:
		hint = "compare with timestamp(\"…\"), or use ts_ns for nanoseconds"
	}
	return c.fail(n, hint, "cannot compare %s with %s", aType(a.typ), aType(b.typ))
}

// literalHint suggests a form of literal x for a comparison with another type.
func literalHint(x *parse.Node, among [2]*node) string {
	if x.Kind != parse.Literal {
		return ""
	}
	for _, o := range among {
		switch text := x.Token.Kind == parse.TokenText || x.Token.Kind == parse.TokenRaw; {
		case text && o.typ.number():
			if _, err := strconv.ParseFloat(x.Token.Text, 64); err == nil {
				return "write " + parse.Clip(x.Token.Text) + " without quotes"
			}
		case text && o.typ.kind == kTime && !slices.ContainsFunc(when.Layouts, func(l string) bool { _, err := time.Parse(l, x.Token.Text); return err == nil }):
			return "write " + functions["timestamp"] + ", with the date"
		case text && o.typ.kind == kTime:
			return "write timestamp(" + parse.Quote(parse.Clip(x.Token.Text)) + ")"
		case text && o.typ.kind == kDuration:
			return "write a duration such as 500ms"
		case text && o.typ.kind == kBool && (x.Token.Text == "true" || x.Token.Text == "false"):
			return "write " + x.Token.Text + " without quotes"
		case (x.Token.Kind == parse.TokenInt || x.Token.Kind == parse.TokenFloat) && o.typ.kind == kText && o.op != opConst:
			return "write " + parse.Quote(x.Token.Text) + " in quotes"
		}
	}
	return ""
}

// unitNs returns the nanoseconds of a unit.
func unitNs(unit string) int64 {
	return map[string]int64{"ns": 1, "us": 1e3, "ms": 1e6}[unit]
}

// compareUnit compares a duration with a time field.
func (c *checker) compareUnit(n *parse.Node, op string, d, x *node) (_ *node, err *Error) {
	per := unitNs(x.typ.unit)
	if per == 0 {
		return nil, c.fail(n, "", "operator %s does not work for a duration and a number of %s", op, x.typ.unit)
	}
	op = mirrored(op) // x is on the left again
	one := &node{op: opConst, typ: typ{kind: kInt}, num: per}
	switch {
	case x.typ.kind == kFloat:
		f, err := c.convert(n, &node{op: opConvert, typ: typ{kind: kInt}, args: []*node{d}}, typ{kind: kFloat})
		if err != nil {
			return nil, err
		}
		if d, err = c.make(n, node{op: opArith, typ: typ{kind: kFloat}, str: "/", args: []*node{f, {op: opConst, typ: typ{kind: kFloat}, flt: float64(per)}}}); err != nil {
			return nil, err
		}
	case d.op == opConst && d.num%per == 0:
		d = &node{op: opConst, typ: typ{kind: kInt}, num: d.num / per}
	default:
		if x, err = c.make(n, node{op: opArith, typ: typ{kind: kDuration}, str: "*", args: []*node{x, one}}); err != nil {
			return nil, err
		}
	}
	return c.plain(n, op, x, d)
}

// impossible refuses a literal that its field never has, and notes a word that this release does not know.
func (c *checker) impossible(n *parse.Node, a, b *node) *Error {
	if a.op == opConst {
		a, b = b, a
	}
	if b.op != opConst {
		return nil
	}
	switch {
	case a.typ.text == textPort && b.typ.kind == kInt && (b.num < 0 || b.num > 65535):
		return c.fail(n, "a port is 0 to 65535", "%d is not a port", b.num)
	case a.typ.text == textOutcome && b.typ.kind == kText && b.typ.text == textPlain && !slices.Contains(table.Outcomes(), b.str):
		c.notes = append(c.notes, parse.Quote(parse.Clip(b.str))+" is not an outcome: these are "+strings.Join(table.Outcomes(), ", "))
	case a.typ.text == textProtocol && b.typ.kind == kText && b.typ.text == textPlain && !c.own && b.str != "":
		c.noteProtocol(b.str)
	}
	return nil
}

// noteProtocol notes a word that is no value of protocol.
func (c *checker) noteProtocol(text string) {
	word := lowerASCII(text)
	f := names().byName[word]
	switch {
	case choosesProtocol(f) || slices.Contains(protocols(), word) || c.env.Protocol != nil && c.env.Protocol(word):
	case f != nil && f.kind == srcExpr && f.typ.kind == kBool:
		c.notes = append(c.notes, parse.Quote(word)+" is carried by other protocols, and is not a value of protocol; write "+word+" alone")
	default:
		near := nearest.Name(word, append(protocolWords(), protocols()...))
		if near != "" {
			near = "; did you mean " + near + "?"
		}
		c.notes = append(c.notes, parse.Quote(parse.Clip(text))+" is not a protocol that this release dissects"+near)
	}
}

// choosesProtocol reports whether a field is a keyword that chooses protocols.
func choosesProtocol(f *field) bool {
	return f != nil && f.kind == srcExpr && f.typ.kind == kBool && strings.HasPrefix(f.arg, "protocol ")
}

// protocolWords are the keywords that choose protocols.
func protocolWords() (list []string) {
	for _, f := range names().fields {
		if choosesProtocol(f) {
			list = append(list, f.name)
		}
	}
	return list
}

// protocols are the values of protocol in bundles of this release.
var protocols = sync.OnceValue(func() []string {
	list := slices.Clone(table.Undissected)
	for _, t := range table.AllTraits() {
		list = append(list, t.Protocol)
	}
	return list
})

// compareText is == and != of text. The meaning of a literal depends on the other operand.
func (c *checker) compareText(n *parse.Node, op string, a, b *node) (*node, *Error) {
	if b.op != opConst {
		return c.plain(n, op, a, b)
	}
	switch a.typ.text {
	case textName:
		if side, ok := sideOf(a); ok && b.str == Outside {
			return c.outside(n, op, side)
		}
		if strings.ContainsAny(b.str, `*+?[]()|^$\{}`) {
			c.notes = append(c.notes, parse.Quote(parse.Clip(b.str))+" is not a valid name here, so it is used as a pattern, as in matches()")
			return c.comparePattern(n, op, a, b.str)
		}
	case textIP:
		if strings.Contains(b.str, "/") {
			return nil, c.fail(n, "write src.ip in "+parse.Quote(parse.Clip(b.str)), "operator %s does not work with an address range", op)
		}
		ip, err := netip.ParseAddr(b.str)
		if b.str == "" {
			break // it asks whether there is an address
		}
		if err != nil || ip.Zone() != "" {
			return nil, c.fail(n, "an address looks like 10.0.0.7 or 2001:db8::7; host names are in src.name and dst.name", "%s is not an address", parse.Quote(parse.Clip(b.str)))
		}
		b = &node{op: opConst, typ: b.typ, str: ip.String()}
	case textHex:
		b = &node{op: opConst, typ: b.typ, str: lowerASCII(b.str)}
	case textProtocol:
		if !c.own {
			return c.compareProtocol(n, op, a, b)
		}
	}
	return c.plain(n, op, a, b)
}

// Outside is the name that answers have for all clients outside without a name of their own. src.who and src.name, and
// those of dst, can be compared with it.
const Outside = "(outside)"

// sideOf is the side, src or dst, whose name an operand is.
func sideOf(x *node) (side string, ok bool) {
	if x.op != opCol {
		return "", false
	}
	side, name, _ := strings.Cut(x.str, "_")
	return side, (side == "src" || side == "dst") && (name == "who" || name == "name")
}

// outside compiles the comparison of a side's name with Outside.
func (c *checker) outside(n *parse.Node, op, side string) (*node, *Error) {
	text := strings.ReplaceAll(`SIDE.kind == "outside" and !SIDE.dns and !SIDE.hostname`, "SIDE", side)
	if op == "!=" {
		text = "!(" + text + ")"
	}
	return c.expand(n, Outside, text)
}

// compareProtocol reads a literal as a protocol's keyword: "HTTP" is every HTTP version.
func (c *checker) compareProtocol(n *parse.Node, op string, a, b *node) (*node, *Error) {
	word := lowerASCII(b.str)
	f := names().byName[word]
	if !choosesProtocol(f) {
		return c.plain(n, op, a, &node{op: opConst, typ: b.typ, str: word})
	}
	is, err := c.field(n, f)
	if err != nil || op == "==" {
		return is, err
	}
	not, err := c.make(n, node{op: opNot, typ: typ{kind: kBool}, args: []*node{is}})
	if err != nil {
		return nil, err
	}
	there, err := c.make(n, node{op: opExists, typ: typ{kind: kBool}, args: []*node{a}})
	if err != nil {
		return nil, err
	}
	return c.make(n, node{op: opAnd, typ: typ{kind: kBool}, args: []*node{there, not}})
}

// comparePattern is x op a pattern; as always, != is false if x is absent.
func (c *checker) comparePattern(n *parse.Node, op string, x *node, pattern string) (*node, *Error) {
	re, err := c.pattern(n, pattern)
	if err != nil {
		return nil, err
	}
	text, err := c.convert(n, x, typ{kind: kText})
	if err != nil {
		return nil, err
	}
	is, err := c.make(n, node{op: opMatch, typ: typ{kind: kBool}, args: []*node{text}, re: re})
	if err != nil || op == "==" {
		return is, err
	}
	not, err := c.make(n, node{op: opNot, typ: typ{kind: kBool}, args: []*node{is}})
	if err != nil {
		return nil, err
	}
	there, err := c.exists(n, x)
	if err != nil {
		return nil, err
	}
	return c.make(n, node{op: opAnd, typ: typ{kind: kBool}, args: []*node{there, not}})
}

// pattern compiles a regular expression. It rewrites the text from its parts, so that DuckDB's
// engine gets no class name or flag that it does not know or interprets differently.
func (c *checker) pattern(n *parse.Node, text string) (*regexp.Regexp, *Error) {
	if len(text) > maxPattern {
		err := c.fail(n, "", "pattern is %d bytes long, the limit is %d", len(text), maxPattern)
		err.Limit = true
		return nil, err
	}
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		hint := ""
		if strings.HasPrefix(text, "*") {
			hint = "a pattern for any text is .*"
		}
		return nil, c.fail(n, hint, "pattern %s: %s", parse.Quote(parse.Clip(text)), patternFault(err))
	}
	if prog, err := syntax.Compile(parsed.Simplify()); err == nil {
		cost := 0
		for _, in := range prog.Inst {
			cost += 1 + 4*len(in.Rune)
		}
		if cost > maxPatternCost {
			e := c.fail(n, "use fewer repetitions or smaller character classes", "pattern %s is too large", parse.Quote(parse.Clip(text)))
			e.Limit = true
			return nil, e
		}
	}
	re, err := regexp.Compile(parsed.String())
	if err != nil {
		return nil, c.fail(n, "", "pattern %s: %s", parse.Quote(parse.Clip(text)), patternFault(err))
	}
	return re, nil
}

func patternFault(err error) string {
	if e, ok := err.(*syntax.Error); ok {
		return e.Code.String() + " " + parse.Clip(e.Expr)
	}
	return err.Error()
}

func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}
