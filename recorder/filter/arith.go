package filter

import "fmt"

// expr is an arithmetic expression on unsigned 32-bit numbers.
type expr struct {
	op    string // "number", "load", "at" or an operator
	k     uint32
	load  load  // of load, and of at, which adds left to the offset
	left  *expr // also the operand of neg
	right *expr
	check *cond // must be true for the expression to be defined
	words int   // of scratch memory
}

func constExpr(k uint32) *expr { return &expr{op: "number", k: k} }
func loadOf(l load) *expr      { return &expr{op: "load", load: l} }

// combine builds an expression, or returns the reason why it is invalid.
func combine(op string, a, b *expr) (*expr, string) {
	if b.op == "number" {
		switch {
		case b.k == 0 && (op == "/" || op == "%"):
			return nil, "division by zero"
		case b.k > 31 && (op == "<<" || op == ">>"):
			return nil, fmt.Sprintf("shift by %d bits; the maximum is 31", b.k)
		case a.op == "number":
			v, _ := calculate(op, a.k, b.k)
			return constExpr(v), ""
		case op == "&" && a.op == "load":
			e := *a
			e.load = e.load.masked(b.k)
			return &e, ""
		}
	}
	// LIMIT: as in libpcap, the protocol of the left operand is checked, but not that of the
	// right one: 1 + tcp[13] reads every packet.
	e := &expr{op: op, left: a, right: b, check: a.check, words: max(a.words, b.words+1)}
	if b.op == "number" {
		e.words = a.words
	}
	return e, checkWords(e)
}

func negate(a *expr) *expr {
	if a.op == "number" {
		return constExpr(-a.k)
	}
	return &expr{op: "neg", left: a, check: a.check, words: a.words}
}

func checkWords(e *expr) string {
	if e.words >= scratch {
		return fmt.Sprintf("the expression needs more than %d words of memory", scratch)
	}
	return ""
}

// calculate returns false for a division by zero.
func calculate(op string, a, b uint32) (uint32, bool) {
	switch op {
	case "+":
		return a + b, true
	case "-":
		return a - b, true
	case "*":
		return a * b, true
	case "/":
		if b == 0 {
			return 0, false
		}
		return a / b, true
	case "%":
		if b == 0 {
			return 0, false
		}
		return a % b, true
	case "&":
		return a & b, true
	case "|":
		return a | b, true
	case "^":
		return a ^ b, true
	case "<<":
		return a << b, true
	}
	return a >> b, true
}

// value is the value of the expression for a packet. It returns false if the expression
// reads past the end of the packet or divides by zero. The parser limits the recursion.
func (e *expr) value(data []byte, length uint32) (uint32, bool) {
	switch e.op {
	case "number":
		return e.k, true
	case "load":
		return e.load.value(data, length)
	}
	a, ok := e.left.value(data, length)
	if !ok {
		return 0, false
	}
	switch e.op {
	case "neg":
		return -a, true
	case "at":
		return e.load.valueAt(data, a)
	}
	b, ok := e.right.value(data, length)
	if !ok {
		return 0, false
	}
	return calculate(e.op, a, b)
}

func (l *load) value(data []byte, length uint32) (uint32, bool) {
	switch l.kind {
	case loadLength:
		return length & l.mask, true
	case loadExpr:
		return l.expr.value(data, length)
	}
	return l.valueAt(data, 0)
}

// valueAt reads index bytes further on. Like the BPF machine, it adds the index and the
// length of the IPv4 header in 32 bits, and the offset in 64.
func (l *load) valueAt(data []byte, index uint32) (uint32, bool) {
	if l.kind == loadPastIP4 {
		if uint64(l.ip) >= uint64(len(data)) {
			return 0, false
		}
		index += 4 * uint32(data[l.ip]&15)
	}
	at := uint64(l.off) + uint64(index)
	if at+uint64(l.size) > uint64(len(data)) {
		return 0, false
	}
	var v uint32
	for _, b := range data[at : at+uint64(l.size)] {
		v = v<<8 | uint32(b)
	}
	return v & l.mask, true
}

// relation compares two expressions.
func relation(op string, a, b *expr) *cond {
	var cs []*cond
	for _, e := range []*expr{a, b} {
		if e.check != nil {
			cs = append(cs, e.check)
		}
	}
	t := test{load: asLoad(a), right: b}
	if b.op == "number" {
		t.k, t.right = b.k, nil
	}
	negated := false
	switch op {
	case "=", "!=":
		t.op, negated = equal, op == "!="
	case ">", "<=":
		t.op, negated = greater, op == "<="
	case ">=", "<":
		t.op, negated = atLeast, op == "<"
	}
	c := &cond{test: t}
	if a.op == "number" && b.op == "number" {
		c = always(t.op.compare(a.k, b.k))
	}
	if negated {
		c = not(c)
	}
	return and(append(cs, c)...)
}

// asLoad and asExpr convert between loads and expressions.
func asLoad(e *expr) load {
	if e.op == "load" {
		return e.load
	}
	return load{kind: loadExpr, expr: e, mask: ^uint32(0)}
}

func asExpr(l load) *expr {
	if l.kind == loadExpr {
		return l.expr
	}
	return loadOf(l)
}

// index parses PROTOCOL[e:size], such as tcp[13].
func (p *parser) index(off int, word string, e *expr, size uint32) *expr {
	if size != 1 && size != 2 && size != 4 {
		return p.failExpr(off, fmt.Sprintf("cannot read %d bytes of %s[…]; the size is 1, 2 or 4", size, word))
	}
	if p.floating && word == "ether" {
		p.failLink(off)
		return constExpr(1)
	}
	var at load
	var check *cond
	switch word {
	case "ether":
		at, check = p.headerAt(0, uint8(size)), e.check
	case "ip", "ip6", "arp", "rarp", "atalk", "decnet", "sca", "lat", "mopdl", "moprc":
		at = p.netAt(0, uint8(size))
		check = both(e.check, p.protocol(off, word))
	case "tcp", "udp", "sctp", "icmp", "igmp", "igrp", "pim", "vrrp", "carp":
		at = p.transport4At(0, uint8(size))
		check = and(both(p.ofType(off, etherIPv4), e.check), p.protocol(off, word), p.firstFragment())
	case "icmp6":
		at = p.transport6At(0, uint8(size))
		check = and(both(e.check, p.ofType(off, etherIPv6)), is(p.netAt(6, 1), ipICMP6))
	default:
		return p.failExpr(off, fmt.Sprintf("cannot read bytes of %s; use ether, ip, ip6, arp, rarp, tcp, udp, sctp, icmp, icmp6 or igmp", word))
	}
	if e.op == "number" {
		sum := uint64(at.off) + uint64(e.k)
		if sum > 1<<31-1 {
			return p.failExpr(off, fmt.Sprintf("%s[%d] is beyond the end of every packet", word, int32(e.k)))
		}
		at.off = uint32(sum)
		return &expr{op: "load", load: at, check: check}
	}
	return &expr{op: "at", load: at, left: e, check: check, words: e.words}
}

// both is and for conditions that may be nil.
func both(a, b *cond) *cond {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return and(a, b)
}
