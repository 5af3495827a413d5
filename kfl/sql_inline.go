package kfl

import (
	"regexp"
	"slices"
	"strings"
)

// inline marks the evaluation of conditions on one body's JSON during the scan of table bodies,
// once for each body instead of for each call.
type inline struct{ side string }

// documentOf returns the side whose JSON alone determines a condition, so that the condition is
// false if there is no such body.
func documentOf(n *node) (side string, ok bool) {
	switch n.op {
	case opCompare, opIn, opText, opMatch, opExists, opAny, opAll, opOne, opTruth:
	default:
		return "", false
	}
	strict := n.args
	if n.op == opAny || n.op == opAll || n.op == opOne {
		strict = n.args[:1]
	}
	for _, a := range strict {
		if side = needs(a); side != "" {
			return side, onlyDocument(n, side, nil)
		}
	}
	return "", false
}

// needs returns the side whose JSON must be present for n to be present.
func needs(n *node) string {
	switch n.op {
	case opDoc, opDeep, opXML:
		return n.str
	case opPath, opConvert, opNeg, opSize, opSpread, opParse, opFilter, opMap, opXMLStep, opXMLDeep:
		return needs(n.args[0])
	case opArith, opJoin, opElem, opCall:
		for _, a := range n.args {
			if side := needs(a); side != "" {
				return side
			}
		}
	}
	return ""
}

// onlyDocument reports whether n reads only the JSON of one body of the call; own are the
// variables that it defines itself.
func onlyDocument(n *node, side string, own []int64) bool {
	switch n.op {
	case opConst, opAbsent:
		return true
	case opDoc, opDeep, opXML:
		return n.str == side
	case opVar:
		return slices.Contains(own, n.num)
	case opAny, opAll, opOne, opFilter, opMap:
		return onlyDocument(n.args[0], side, own) && onlyDocument(n.args[1], side, append(slices.Clone(own), n.num))
	case opCompare, opIn, opText, opMatch, opExists, opTruth, opAnd, opOr, opNot, opCond, opList,
		opPath, opConvert, opNeg, opSize, opSpread, opParse, opArith, opJoin, opElem, opCall, opXMLStep, opXMLDeep:
		return !slices.ContainsFunc(n.args, func(a *node) bool { return !onlyDocument(a, side, own) })
	}
	return false
}

// documents is table bodies restricted to JSON in one part.
// The @ is a condition on kfl_text.
const documents = "(SELECT kfl_sha, kfl_text, TRY_CAST(kfl_text AS JSON) AS kfl_j FROM " + bodies + " WHERE kfl_part = 0 AND kfl_size = strlen(kfl_text) AND kfl_sha IS NOT NULL AND @)"

// inDocument selects the bodies whose JSON meets the condition.
func (w *writer) inDocument(n *node, side string) frag {
	return w.lookUp(func() frag {
		w.inline = &inline{side}
		cond := w.cond(n)
		w.inline = nil
		return w.f("coalesce(@ IN (SELECT kfl_sha FROM "+documents+" AS kfl_d WHERE kfl_j IS NOT NULL AND @), FALSE)", w.quote(side+"_body_sha256"), w.mayContain(requiredText(n)), cond)
	})
}

// deep returns the scalars under a key anywhere in a body's JSON. DuckDB needs quadratic time in
// the depth to walk a document, so the text is searched instead: in JSON, a quote after a brace,
// comma or blank opens a string, and a string before a colon is a key.
func (w *writer) deep(n *node) frag {
	pattern := `(?s)[{, \t\r\n]"` + regexp.QuoteMeta(n.path[0]) + `"[ \t\r\n]*:[ \t\r\n]*("(?:[^"\\]|\\.)*"|-?[0-9][-+.0-9eE]*|true|false)`
	v := w.fresh()
	list := w.f("list_transform(regexp_extract_all(kfl_text, @, 1), lambda "+v+": TRY_CAST("+v+" AS JSON))", w.text(pattern))
	if w.inline != nil {
		return list
	}
	return w.lookUp(func() frag {
		return w.f("(SELECT any_value(@) FROM "+documents+" AS kfl_d WHERE kfl_j IS NOT NULL AND kfl_sha = @)", list, frag{sql: "TRUE"}, w.quote(n.str+"_body_sha256"))
	})
}

// mayContain is a quick test of a text before it is parsed as JSON: it contains all required strings,
// or it has escapes and may spell them differently.
func (w *writer) mayContain(list []string) frag {
	out := frag{sql: "TRUE"}
	for i, s := range list {
		if i == 3 {
			break
		}
		out = w.f("@ AND contains(kfl_text, @)", out, w.text(s))
	}
	if len(list) == 0 {
		return out
	}
	return w.f(`(contains(kfl_text, '\') OR @)`, out)
}

// requiredText returns strings that every JSON text without escapes must contain to meet a condition:
// the names on the path, and the string that the value must equal.
func requiredText(n *node) (list []string) {
	switch n.op {
	case opCompare:
		if n.str == "==" {
			for _, a := range n.args {
				if a.op == opConst && a.typ.kind == kText {
					list = append(list, a.str)
				}
			}
		}
		fallthrough
	case opIn, opText, opMatch, opExists, opTruth:
		for _, a := range n.args {
			list = append(list, steps(a)...)
		}
	case opAny:
		list = append(steps(n.args[0]), requiredText(n.args[1])...)
	}
	return slices.DeleteFunc(list, func(s string) bool {
		return len(s) < 2 || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' || r == '/' }) || strings.Trim(s, "0123456789") == ""
	})
}

// steps returns the names on the path to a value.
func steps(n *node) []string {
	switch n.op {
	case opDeep:
		return slices.Clone(n.path)
	case opPath:
		return append(steps(n.args[0]), n.path...)
	case opConvert, opNeg, opSpread, opElem:
		return steps(n.args[0])
	case opMap:
		return append(steps(n.args[0]), steps(n.args[1])...)
	}
	return nil
}
