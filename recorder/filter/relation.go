package filter

import "fmt"

// isCalculated reports whether there is an arithmetic operator at i.
func (p *parser) isCalculated(i int) bool {
	t := p.tokens[min(i, len(p.tokens)-1)]
	return t.kind == tokOp && (precedence(t.text) > 0 || isRelation(t.text))
}

func (p *parser) startsRelation() bool {
	t := p.at()
	switch {
	case t.kind == tokNumber, t.is("-"), t.is("len"):
		return true
	case t.is("("):
		return p.isCalculated(p.close[p.pos] + 1)
	case t.kind == tokKeyword && among(wordsProtocol, t.text):
		return p.peek(1).is("[")
	}
	return false
}

func packetLength() load { return load{kind: loadLength, mask: ^uint32(0)} }

func isRelation(op string) bool { return among(" > >= = <= < != ", op) }

// precedence of an arithmetic operator; 0 for anything else.
func precedence(op string) int {
	switch op {
	case "|", "^":
		return 1
	case "&":
		return 2
	case "<<", ">>":
		return 3
	case "+", "-":
		return 4
	case "*", "/", "%":
		return 5
	}
	return 0
}

func (p *parser) relation() *cond {
	a := p.arithmetic(1)
	op := p.next()
	if op.kind != tokOp || !isRelation(op.text) {
		return p.fail(op.off, fmt.Sprintf("expected a comparison such as = or <, found %v", op))
	}
	return relation(op.text, a, p.arithmetic(1))
}

// arithmetic parses operators that bind at least as strongly as level.
func (p *parser) arithmetic(level int) *expr {
	if !p.enter() {
		return constExpr(1)
	}
	defer p.leave()
	a := p.operand()
	for p.err == nil {
		op := p.at()
		if op.kind != tokOp || precedence(op.text) < level || precedence(op.text) == 0 {
			break
		}
		p.next()
		b := p.arithmetic(precedence(op.text) + 1)
		e, msg := combine(op.text, a, b)
		if msg != "" {
			return p.failExpr(op.off, msg)
		}
		a = e
	}
	return a
}

func (p *parser) operand() *expr {
	t := p.next()
	switch {
	case t.kind == tokNumber:
		return constExpr(t.num)
	case t.is("len"):
		return loadOf(packetLength())
	case t.is("-"):
		return negate(p.arithmetic(6))
	case t.is("("):
		e := p.arithmetic(1)
		p.expect(")")
		return e
	case t.kind == tokKeyword && among(wordsProtocol, t.text) && p.at().is("["):
		p.next()
		e := p.arithmetic(1)
		size := uint32(1)
		if _, ok := p.accept(":"); ok {
			size = p.wantNumber()
		}
		p.expect("]")
		if p.err != nil {
			return constExpr(1)
		}
		return p.index(t.off, t.text, e, size)
	}
	return p.failExpr(t.off, fmt.Sprintf("expected a number, len or bytes such as tcp[13], found %v", t))
}
