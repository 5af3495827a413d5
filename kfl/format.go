package kfl

import "strings"

// lineLimit is the length at which Format breaks a chain of && or || into lines.
const lineLimit = 100

// Format writes src in canonical form: && || ! instead of words, methods instead of infix words,
// one space around operators, comments first. It keeps names, text and the meaning.
func Format(src string) (string, error) {
	e, err := parse(src)
	if err != nil {
		return "", err
	}
	return e.String(), nil
}

// String returns the expression in the form of Format.
func (e *Expr) String() string {
	p := printer{src: e.src}
	for _, c := range e.comments {
		p.b.WriteString(strings.TrimRight("# "+c.text, " ") + "\n")
	}
	if e.root == nil {
		return strings.TrimSuffix(p.b.String(), "\n")
	}
	from := p.b.Len()
	p.print(e.root, 0, "")
	if p.b.Len()-from > lineLimit && (e.root.kind == nAnd || e.root.kind == nOr) {
		head := p.b.String()[:from]
		p.b.Reset()
		p.b.WriteString(head)
		p.print(e.root, 0, "\n  ")
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

func binding(n *ast) int {
	switch n.kind {
	case nCond:
		return bindCond
	case nOr:
		return bindOr
	case nAnd:
		return bindAnd
	case nNot, nNeg:
		return bindUnary
	case nBinary:
		switch n.text {
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
func (p *printer) print(n *ast, least int, lead string) {
	if binding(n) < least {
		p.b.WriteByte('(')
		defer p.b.WriteByte(')')
	}
	switch n.kind {
	case nLit:
		p.literal(n)
	case nNil:
		p.b.WriteString("nil")
	case nBool:
		p.b.WriteString(map[bool]string{true: "true", false: "false"}[n.tok.num != 0])
	case nIdent:
		p.b.WriteString(n.text)
	case nSelect:
		p.print(n.args[0], bindMember, "")
		p.b.WriteString("." + n.text)
	case nEvery:
		p.print(n.args[0], bindMember, "")
		p.b.WriteString(".*")
	case nDeep:
		p.print(n.args[0], bindMember, "")
		p.b.WriteString(".." + n.text)
	case nIndex:
		p.print(n.args[0], bindMember, "")
		p.list("[", n.args[1:], "]")
	case nCall:
		p.b.WriteString(n.text)
		p.list("(", n.args, ")")
	case nMethod:
		p.print(n.args[0], bindMember, "")
		p.b.WriteString("." + n.text)
		p.list("(", n.args[1:], ")")
	case nNot, nNeg:
		p.b.WriteString(map[nodeKind]string{nNot: "!", nNeg: "-"}[n.kind])
		p.print(n.args[0], bindUnary, "")
	case nAnd, nOr:
		op := map[nodeKind]string{nAnd: "&& ", nOr: "|| "}[n.kind]
		if lead == "" {
			lead = " "
		}
		for i, a := range n.args {
			if i > 0 {
				p.b.WriteString(lead + op)
			}
			p.print(a, binding(n), "")
		}
	case nCond:
		p.print(n.args[0], bindOr, "")
		p.b.WriteString(" ? ")
		p.print(n.args[1], bindCond, "")
		p.b.WriteString(" : ")
		p.print(n.args[2], bindCond, "")
	case nList:
		p.list("[", n.args, "]")
	case nBinary:
		own := binding(n)
		left, right := own, own+1
		if own == bindRelation {
			left = own + 1 // comparisons cannot be chained
		}
		p.print(n.args[0], left, "")
		p.b.WriteString(" " + n.text + " ")
		p.print(n.args[1], right, "")
	}
}

func (p *printer) list(open string, args []*ast, shut string) {
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
func (p *printer) literal(n *ast) {
	if n.tok.kind == tokText || n.tok.kind == tokRaw {
		p.b.WriteString(p.src[n.pos:n.end])
		return
	}
	if p.src[n.pos] == '-' {
		p.b.WriteByte('-')
	}
	p.b.WriteString(n.tok.text)
}
