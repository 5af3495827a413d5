package filter

import "fmt"

// parser reads tokens and builds the condition at the same time, because vlan, mpls and
// pppoes change the meaning of the words to their right.
//
//	expr  = term { (and|or) (term|id) }          and, or have equal precedence, from the left
//	term  = not term | ( expr ) | qualifier id | protocol | relation | other
//	id    = not id | ( id { (and|or) id } ) | address
type parser struct {
	*layout
	tokens []token
	pos    int
	close  map[int]int // of each opening parenthesis
	depth  int
	err    error // the first one; then pos is at the end
}

func parse(tokens []token, l *layout) (*cond, error) {
	p := &parser{layout: l, tokens: tokens, close: map[int]int{}}
	p.matchParentheses()
	if p.err == nil && p.at().kind == tokEnd {
		return always(true), nil
	}
	c := p.expr(qualifier{})
	if t := p.at(); p.err == nil && t.kind != tokEnd {
		p.fail(t.off, fmt.Sprintf("%v after a complete expression; join conditions with and, or", t))
	}
	return c, p.err
}

func (p *parser) matchParentheses() {
	var open []int
	for i, t := range p.tokens {
		switch {
		case t.is("("):
			open = append(open, i)
		case t.is(")"):
			if len(open) == 0 {
				p.fail(t.off, "this parenthesis has no opening parenthesis")
				return
			}
			p.close[open[len(open)-1]] = i
			open = open[:len(open)-1]
		}
	}
	if len(open) > 0 {
		p.fail(p.tokens[open[len(open)-1]].off, "this parenthesis is not closed")
	}
}

func (p *parser) at() token { return p.tokens[p.pos] }

func (p *parser) peek(n int) token {
	return p.tokens[min(p.pos+n, len(p.tokens)-1)]
}

func (p *parser) next() token {
	t := p.at()
	if t.kind != tokEnd {
		p.pos++
	}
	return t
}

func (p *parser) accept(words ...string) (token, bool) {
	for _, w := range words {
		if p.at().is(w) {
			return p.next(), true
		}
	}
	return token{}, false
}

// fail keeps the first error and ends parsing.
func (p *parser) fail(off int, msg string) *cond {
	if p.err == nil {
		p.err = &Error{off, msg}
	}
	p.pos = len(p.tokens) - 1
	return always(false)
}

// failLink refuses a primitive that needs headers of an unknown link type.
func (p *parser) failLink(off int) *cond {
	msg := "the headers are unknown; only len, less, greater and link[...] work"
	if p.floating {
		msg = "the headers are unknown; only len, less and greater work"
	}
	if p.err == nil {
		p.err = &LinkTypeError{LinkType: p.linkType, Offset: off, Msg: msg}
	}
	return p.fail(off, "")
}

func (p *parser) failExpr(off int, msg string) *expr {
	p.fail(off, msg)
	return constExpr(1)
}

// enter counts nesting; every enter needs a leave.
func (p *parser) enter() bool {
	p.depth++
	if p.depth > maxDepth {
		p.fail(p.at().off, fmt.Sprintf("more than %d nested parentheses or negations", maxDepth))
		return false
	}
	return true
}

func (p *parser) leave() { p.depth-- }

func (p *parser) expr(q qualifier) *cond {
	c, q := p.term(q)
	for p.err == nil {
		op, ok := p.accept("&&", "||")
		if !ok {
			break
		}
		var d *cond
		if p.startsID() {
			d = p.id(q)
		} else {
			d, q = p.term(q)
		}
		if op.text == "&&" {
			c = and(c, d)
		} else {
			c = or(c, d)
		}
	}
	return c
}

// startsID reports whether a bare address follows, which inherits its qualifiers.
func (p *parser) startsID() bool {
	for i := p.pos; i < len(p.tokens); i++ {
		t := p.tokens[i]
		switch {
		case t.is("!"):
		case t.is("("):
			if p.isCalculated(p.close[i] + 1) {
				return false
			}
		case t.kind == tokNumber:
			return !p.isCalculated(i + 1)
		default:
			return t.kind == tokIPv4 || t.kind == tokIPv6 || t.kind == tokMAC || t.kind == tokName
		}
	}
	return false
}

// term also returns the qualifier that a bare address after it inherits.
func (p *parser) term(q qualifier) (*cond, qualifier) {
	if !p.enter() {
		return always(false), q
	}
	defer p.leave()
	t := p.at()
	if p.startsRelation() {
		return p.relation(), qualifier{}
	}
	switch {
	case t.is("!"):
		p.next()
		c, q := p.term(q)
		return not(c), q
	case t.is("("):
		p.next()
		c := p.expr(q)
		p.expect(")")
		return c, q
	case t.kind == tokKeyword:
		return p.primitive()
	case t.kind == tokEnd:
		return p.fail(t.off, "the expression ends without a condition"), q
	case t.kind == tokOp:
		return p.fail(t.off, fmt.Sprintf("%v is not a condition", t)), q
	case t.kind == tokName:
		return p.fail(t.off, fmt.Sprintf("unknown word %v; %s", t, supported)), q
	}
	return p.fail(t.off, fmt.Sprintf("%v needs a qualifier before it, such as host, net or port", t)), q
}

func (p *parser) expect(op string) {
	if _, ok := p.accept(op); !ok {
		p.fail(p.at().off, fmt.Sprintf("expected %[2]q, found %[1]v", p.at(), op))
	}
}

// primitive parses a condition that starts with a keyword.
func (p *parser) primitive() (*cond, qualifier) {
	t := p.at()
	if among(wordsProtocol, t.text) {
		p.next()
		switch n := p.at(); {
		case n.is("broadcast"):
			p.next()
			return p.broadcast(t.off, t.text), qualifier{}
		case n.is("multicast"):
			p.next()
			return p.multicast(t.off, t.text), qualifier{}
		case n.kind == tokKeyword && (among(" src dst host net port portrange proto ", n.text)):
			return p.qualified(t)
		case n.kind == tokKeyword && among(wordsRefused, n.text):
			return p.refuse(n), qualifier{}
		}
		return p.protocol(t.off, t.text), qualifier{}
	}
	switch t.text {
	case "src", "dst", "host", "net", "port", "portrange", "proto":
		return p.qualified(token{off: t.off})
	}
	return p.other(), qualifier{}
}

func (p *parser) refuse(t token) *cond {
	return p.fail(t.off, fmt.Sprintf("%v is not supported; %s", t, supported))
}

// qualified parses direction, kind and address; the protocol has been read.
func (p *parser) qualified(proto token) (*cond, qualifier) {
	q := qualifier{given: true, proto: proto.text, off: proto.off}
	if d, ok := p.accept("src", "dst"); ok {
		q.dir = d.text
		other := map[string]string{"src": "dst", "dst": "src"}[d.text]
		if op := p.at(); (op.is("&&") || op.is("||")) && p.peek(1).is(other) {
			p.next()
			p.next()
			q.dir = map[string]string{"&&": "and", "||": "or"}[op.text]
		}
	} else if w, ok := p.accept("proto"); ok {
		q.what = w.text
	}
	if q.what == "" {
		if w, ok := p.accept("host", "net", "port", "portrange"); ok {
			q.what = w.text
		}
	}
	if t := p.at(); t.is("proto") {
		return p.fail(t.off, "proto cannot have a direction"), q
	}
	return p.id(q), q
}

func (p *parser) other() *cond {
	t := p.next()
	switch t.text {
	case "broadcast":
		return p.broadcast(t.off, "")
	case "multicast":
		return p.multicast(t.off, "")
	case "inbound", "outbound":
		return p.direction(t.off, t.text == "outbound")
	case "less":
		return not(isAbove(packetLength(), p.wantNumber()))
	case "greater":
		return isAtLeast(packetLength(), p.wantNumber())
	case "ifindex":
		n := p.wantNumber()
		if p.linkType != linkSLL2 {
			return p.fail(t.off, fmt.Sprintf("packets of link type %d have no interface number", p.linkType))
		}
		return is(p.headerAt(4, 4), n)
	case "vlan":
		return p.vlan(t.off, p.maybeNumber())
	case "mpls":
		return p.mpls(t.off, p.maybeNumber())
	case "pppoed":
		return p.ofType(t.off, etherPPPoED)
	case "pppoes":
		return p.pppoes(t.off, p.maybeNumber())
	case "mask":
		return p.fail(t.off, "mask needs an address before it, such as net 10.0.0.0 mask 255.0.0.0")
	}
	return p.refuse(t)
}

func (p *parser) wantNumber() uint32 {
	if n := p.maybeNumber(); n != nil {
		return n.num
	}
	p.fail(p.at().off, fmt.Sprintf("expected a number, found %v", p.at()))
	return 0
}

// maybeNumber parses an optional number, possibly in parentheses.
func (p *parser) maybeNumber() *token {
	n := 0
	for p.peek(n).is("(") {
		n++
	}
	t := p.peek(n)
	if t.kind != tokNumber {
		return nil
	}
	for i := 1; i <= n; i++ {
		if !p.peek(n + i).is(")") {
			return nil
		}
	}
	p.pos += 2*n + 1
	return &t
}
