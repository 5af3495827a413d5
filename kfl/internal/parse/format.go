package parse

import "strings"

// lineLimit is the length at which String breaks a chain of && or || into lines.
const lineLimit = 100

// String returns the expression in canonical form: && || ! instead of words, methods instead of infix words,
// one space around operators, comments first. It keeps names, text and the meaning.
func (e *Expr) String() string {
	p := printer{src: e.src}
	for _, c := range e.comments {
		p.b.WriteString(strings.TrimRight("# "+c.text, " ") + "\n")
	}
	if e.Root == nil {
		return strings.TrimSuffix(p.b.String(), "\n")
	}
	from := p.b.Len()
	p.print(e.Root, 0, "")
	if p.b.Len()-from > lineLimit && (e.Root.Kind == And || e.Root.Kind == Or) {
		head := p.b.String()[:from]
		p.b.Reset()
		p.b.WriteString(head)
		p.print(e.Root, 0, "\n  ")
	}
	return p.b.String()
}

type printer struct {
	src string
	b   strings.Builder
}

// How tightly expressions bind, from the least.
const (
	bindCond = iota
	bindOr
	bindAnd
	bindRelation
	bindSum
	bindProduct
	bindUnary
	bindMember
)

func binding(n *Node) int {
	switch n.Kind {
	case Conditional:
		return bindCond
	case Or:
		return bindOr
	case And:
		return bindAnd
	case Not, Negative:
		return bindUnary
	case Binary:
		switch n.Text {
		case "+", "-":
			return bindSum
		case "*", "/", "%":
			return bindProduct
		}
		return bindRelation
	}
	return bindMember
}

// print writes n, in parentheses if it binds less tightly than least. A chain starts each further
// operand with lead.
func (p *printer) print(n *Node, least int, lead string) {
	if binding(n) < least {
		p.b.WriteByte('(')
		defer p.b.WriteByte(')')
	}
	switch n.Kind {
	case Literal:
		p.literal(n)
	case Nil:
		p.b.WriteString("nil")
	case Bool:
		p.b.WriteString(map[bool]string{true: "true", false: "false"}[n.Token.Int != 0])
	case Ident:
		p.b.WriteString(n.Text)
	case Select:
		p.print(n.Args[0], bindMember, "")
		p.b.WriteString("." + n.Text)
	case Every:
		p.print(n.Args[0], bindMember, "")
		p.b.WriteString(".*")
	case Deep:
		p.print(n.Args[0], bindMember, "")
		p.b.WriteString(".." + n.Text)
	case Index:
		p.print(n.Args[0], bindMember, "")
		p.list("[", n.Args[1:], "]")
	case Call:
		p.b.WriteString(n.Text)
		p.list("(", n.Args, ")")
	case Method:
		p.print(n.Args[0], bindMember, "")
		p.b.WriteString("." + n.Text)
		p.list("(", n.Args[1:], ")")
	case Not, Negative:
		p.b.WriteString(map[Kind]string{Not: "!", Negative: "-"}[n.Kind])
		p.print(n.Args[0], bindUnary, "")
	case And, Or:
		op := map[Kind]string{And: "&& ", Or: "|| "}[n.Kind]
		if lead == "" {
			lead = " "
		}
		for i, a := range n.Args {
			if i > 0 {
				p.b.WriteString(lead + op)
			}
			p.print(a, binding(n), "")
		}
	case Conditional:
		p.print(n.Args[0], bindOr, "")
		p.b.WriteString(" ? ")
		p.print(n.Args[1], bindCond, "")
		p.b.WriteString(" : ")
		p.print(n.Args[2], bindCond, "")
	case List:
		p.list("[", n.Args, "]")
	case Binary:
		own := binding(n)
		left, right := own, own+1
		if own == bindRelation {
			left = own + 1 // comparisons cannot be chained
		}
		p.print(n.Args[0], left, "")
		p.b.WriteString(" " + n.Text + " ")
		p.print(n.Args[1], right, "")
	}
}

func (p *printer) list(open string, args []*Node, shut string) {
	p.b.WriteString(open)
	for i, a := range args {
		if i > 0 {
			p.b.WriteString(", ")
		}
		p.print(a, bindCond, "")
	}
	p.b.WriteString(shut)
}

// literal writes a literal as in the source; the range of a negative number includes its minus.
func (p *printer) literal(n *Node) {
	if n.Token.Kind == TokenText || n.Token.Kind == TokenRaw {
		p.b.WriteString(p.src[n.Pos:n.End])
		return
	}
	if p.src[n.Pos] == '-' {
		p.b.WriteByte('-')
	}
	p.b.WriteString(n.Token.Text)
}
