package kfl

import "strings"

// Condition is one of the conditions that a query joins with &&.
type Condition struct {
	Text  string   // as written in the query
	Texts []string // the text literals in it, such as payment in dst.service == "payment"
	Part  bool     // it reads elements of a field, such as a header
}

// Conditions splits a query at its top-level &&. It returns none for an empty query or one with an
// error.
func Conditions(src string) []Condition {
	e, err := parse(src)
	if err != nil || e.root == nil {
		return nil
	}
	var list []Condition
	var split func(n *ast)
	split = func(n *ast) {
		if n.kind == nAnd {
			for _, a := range n.args {
				split(a)
			}
			return
		}
		one := Condition{Text: strings.TrimSpace(src[n.pos:n.end])}
		one.collect(n)
		list = append(list, one)
	}
	split(e.root)
	return list
}

func (c *Condition) collect(n *ast) {
	if n.kind == nLit && n.tok.kind == tokText {
		c.Texts = append(c.Texts, n.tok.text)
	}
	switch n.kind {
	case nIndex, nEvery, nDeep:
		c.Part = true
	}
	for _, a := range n.args {
		c.collect(a)
	}
}
