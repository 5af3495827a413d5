package kfl

import (
	"strings"
	"unicode/utf8"

	"github.com/pcapsule/pcapsule/kfl/internal/parse"
)

// stringCall is a function of CEL's string extensions. Positions count characters from 0; a
// position outside the text makes the result absent.
type stringCall struct {
	form     string
	on       kind   // of the receiver
	args     []kind // of the arguments
	optional int    // number of optional arguments at the end
	result   typ
	eval     func(a []Value) Value
	sql      string // @ is the receiver, then each argument
}

// blanks are the characters with Unicode's White_Space property, which trim removes.
const blanks = "\t\n\v\f\r \u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"

const (
	upperCase = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	lowerCase = "abcdefghijklmnopqrstuvwxyz"
)

var (
	plainText = typ{kind: kText}
	textList  = typ{kind: kList, elem: kText}
)

var stringCalls = map[string]stringCall{
	"lowerAscii": {form: "x.lowerAscii()", on: kText, result: plainText, sql: lowerSQL,
		eval: func(a []Value) Value { return Text(strings.Map(asciiLower, a[0].str)) }},
	"upperAscii": {form: "x.upperAscii()", on: kText, result: plainText, sql: "translate(@, '" + lowerCase + "', '" + upperCase + "')",
		eval: func(a []Value) Value { return Text(strings.Map(asciiUpper, a[0].str)) }},
	"trim": {form: "x.trim()", on: kText, result: plainText, sql: "trim(@, '" + blanks + "')",
		eval: func(a []Value) Value { return Text(strings.Trim(a[0].str, blanks)) }},
	"replace": {form: `x.replace("old", "new")`, on: kText, args: []kind{kText, kText}, result: plainText, sql: "replace(@, @, @)",
		eval: func(a []Value) Value { return Text(strings.ReplaceAll(a[0].str, a[1].str, a[2].str)) }},
	"split": {form: `x.split(",")`, on: kText, args: []kind{kText}, result: textList, sql: "string_split(@, @)",
		eval: func(a []Value) Value { return Texts(strings.Split(a[0].str, a[1].str)) }},
	"join": {form: `list.join(",")`, on: kList, args: []kind{kText}, optional: 1, result: plainText, sql: "array_to_string(@, @)",
		eval: func(a []Value) Value { return Text(strings.Join(textsOf(a[0]), a[1].str)) }},
	"indexOf": {form: `x.indexOf("part")`, on: kText, args: []kind{kText}, result: typ{kind: kInt}, sql: "CAST(instr(@, @) - 1 AS BIGINT)",
		eval: func(a []Value) Value {
			at := strings.Index(a[0].str, a[1].str)
			if at > 0 {
				at = utf8.RuneCountInString(a[0].str[:at])
			}
			return Int(int64(at))
		}},
	"substring": {form: "x.substring(0, 5)", on: kText, args: []kind{kInt, kInt}, optional: 1, result: plainText, eval: substring,
		sql: "list_transform([{s: @, a: @, b: @}], lambda kfl_s: CASE WHEN kfl_s.a >= 0 AND kfl_s.a <= kfl_s.b AND kfl_s.b <= length(kfl_s.s) THEN substring(kfl_s.s, kfl_s.a + 1, kfl_s.b - kfl_s.a) END)[1]"},
}

func asciiLower(r rune) rune {
	if r >= 'A' && r <= 'Z' {
		r += 'a' - 'A'
	}
	return r
}

func asciiUpper(r rune) rune {
	if r >= 'a' && r <= 'z' {
		r -= 'a' - 'A'
	}
	return r
}

func textsOf(v Value) (list []string) {
	for _, e := range v.elements() {
		list = append(list, e.str)
	}
	return list
}

func substring(a []Value) Value {
	r := []rune(a[0].str)
	from, to := a[1].num, a[2].num
	if from < 0 || from > to || to > int64(len(r)) {
		return Value{}
	}
	return Text(string(r[from:to]))
}

// stringCall checks a call of a string function.
func (c *checker) stringCall(n *parse.Node, x *node) (*node, *Error) {
	f := stringCalls[n.Text]
	args := n.Args[1:]
	if len(args) > len(f.args) || len(args) < len(f.args)-f.optional {
		return nil, c.fail(n, "write "+f.form, "wrong number of arguments (%d) for %s", len(args), n.Text)
	}
	x, err := c.textOf(n.Args[0], x, f.on, f.form)
	if err != nil {
		return nil, err
	}
	out := node{op: opCall, typ: f.result, str: n.Text, args: []*node{x}}
	for i, a := range args {
		v, err := c.value(a)
		if err == nil {
			v, err = c.textOf(a, v, f.args[i], f.form)
		}
		if err != nil {
			return nil, err
		}
		switch literal := v.op == opConst; {
		case i > 0:
		case n.Text == "join" && !literal:
			return nil, c.fail(a, "write "+f.form, "expected quoted text")
		case (n.Text == "split" || n.Text == "replace" || n.Text == "indexOf") && (!literal || v.str == ""):
			return nil, c.fail(a, "write "+f.form, "expected quoted text that is not empty")
		}
		out.args = append(out.args, v)
	}
	if len(args) < len(f.args) {
		last := &node{op: opConst, typ: plainText}
		if n.Text == "substring" {
			if last, err = c.size(n, x); err != nil {
				return nil, err
			}
		}
		out.args = append(out.args, last)
	}
	return c.make(n, out)
}

// textOf converts a value to the kind that a string function accepts.
func (c *checker) textOf(n *parse.Node, x *node, want kind, form string) (_ *node, err *Error) {
	if x, err = c.oneXML(n, asText(x)); err != nil {
		return nil, err
	}
	switch {
	case want == kList && x.typ.kind == kList && x.typ.elem == kText, x.typ.kind == want && want != kList:
		return x, nil
	case x.typ.kind == kJSON, x.typ.kind == kXML:
		if want != kList {
			return c.convert(n, x, typ{kind: want})
		}
	case x.op == opAbsent && x.typ.kind == kNil:
		return absent(typ{kind: want, elem: kText}), nil
	}
	return nil, c.fail(n, "write "+form, "%s, expected %s", aType(x.typ), aType(typ{kind: want, elem: kText}))
}

// stringCall evaluates a string function; the result is absent if an argument is.
func (m *matcher) stringCall(n *node) Value {
	args := make([]Value, len(n.args))
	for i, a := range n.args {
		if args[i] = m.value(a); !args[i].there {
			return Value{}
		}
	}
	return stringCalls[n.str].eval(args)
}
