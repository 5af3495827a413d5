package kfl

import (
	"strings"

	"github.com/pcapsule/pcapsule/kfl/internal/parse"
)

// Condition is one of the conditions that a query joins with &&.
type Condition struct {
	Text  string   // as written in the query
	Texts []string // the text literals in it, such as payment in dst.service == "payment"
	Part  bool     // it reads elements of a field, such as a header
}

// Conditions splits a query at its top-level &&. It returns none for an empty query or one with an
// error.
func Conditions(src string) []Condition {
	e, err := parsed(src)
	if err != nil || e.Root == nil {
		return nil
	}
	var list []Condition
	var split func(n *parse.Node)
	split = func(n *parse.Node) {
		if n.Kind == parse.And {
			for _, a := range n.Args {
				split(a)
			}
			return
		}
		one := Condition{Text: strings.TrimSpace(src[n.Pos:n.End])}
		one.collect(n)
		list = append(list, one)
	}
	split(e.Root)
	return list
}

func (c *Condition) collect(n *parse.Node) {
	if n.Kind == parse.Literal && n.Token.Kind == parse.TokenText {
		c.Texts = append(c.Texts, n.Token.Text)
	}
	switch n.Kind {
	case parse.Index, parse.Every, parse.Deep:
		c.Part = true
	}
	for _, a := range n.Args {
		c.collect(a)
	}
}
