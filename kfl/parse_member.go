package kfl

import (
	"math"
	"strings"
)

// unary = ("!" | "-") unary | member
func (p *parser) unary() (*ast, *Error) {
	kind := nNot
	switch {
	case p.isOp("-"):
		kind = nNeg
	case !p.isOp("!"):
		return p.member()
	}
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer func() { p.level-- }()
	at := p.tok
	if err := p.advance(); err != nil {
		return nil, err
	}
	if kind == nNeg && (p.tok.kind == tokInt || p.tok.kind == tokFloat || p.tok.kind == tokDuration) {
		return p.negative(at)
	}
	x, err := p.unary()
	if err != nil {
		return nil, err
	}
	return p.node(ast{kind: kind, args: []*ast{x}, pos: at.pos, end: x.end})
}

// negative reads a number after a minus as one literal.
func (p *parser) negative(minus token) (*ast, *Error) {
	t := p.tok
	t.pos = minus.pos
	switch t.kind {
	case tokFloat:
		t.flt = -t.flt
	default:
		if t.num != math.MinInt64 {
			t.num = -t.num
		}
		t.flt = 0
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	n, err := p.node(ast{kind: nLit, tok: t, pos: t.pos, end: t.end})
	if err != nil {
		return nil, err
	}
	return p.suffixes(n)
}

// member = primary { "." name [ "(" args ")" ] | "[" expr "]" }
func (p *parser) member() (*ast, *Error) {
	x, err := p.primary()
	if err != nil {
		return nil, err
	}
	return p.suffixes(x)
}

func (p *parser) suffixes(x *ast) (_ *ast, err *Error) {
	for {
		switch {
		case p.isOp("."):
			if err := p.advance(); err != nil {
				return nil, err
			}
			deep := p.isOp(".")
			if deep {
				if err := p.advance(); err != nil {
					return nil, err
				}
			}
			name := p.tok
			if !deep && p.isOp("*") {
				if x, err = p.node(ast{kind: nEvery, args: []*ast{x}, pos: x.pos, end: name.end, at: name.pos}); err != nil {
					return nil, err
				}
				err = p.advance()
				break
			}
			if name.kind != tokIdent {
				return nil, p.unexpected("a name after the dot")
			}
			if err := p.advance(); err != nil {
				return nil, err
			}
			if deep {
				x, err = p.node(ast{kind: nDeep, text: name.text, args: []*ast{x}, pos: x.pos, end: name.end, at: name.pos})
				break
			}
			if !p.isOp("(") {
				x, err = p.node(ast{kind: nSelect, text: name.text, args: []*ast{x}, pos: x.pos, end: name.end, at: name.pos})
				break
			}
			args, end, err := p.list("(", ")")
			if err != nil {
				return nil, err
			}
			if x, err = p.node(ast{kind: nMethod, text: name.text, args: append([]*ast{x}, args...), pos: x.pos, end: end, at: name.pos}); err != nil {
				return nil, err
			}
		case p.isOp("["):
			open := p.tok
			if err := p.advance(); err != nil {
				return nil, err
			}
			if star := p.tok; p.isOp("*") {
				if err := p.advance(); err != nil {
					return nil, err
				}
				end := p.tok.end
				if err := p.expect("]"); err != nil {
					return nil, err
				}
				if x, err = p.node(ast{kind: nEvery, args: []*ast{x}, pos: x.pos, end: end, at: star.pos}); err != nil {
					return nil, err
				}
				break
			}
			args, end, err := p.rest(open, "[", "]")
			if err != nil {
				return nil, err
			}
			if len(args) != 1 {
				return nil, errorAt(p.lex.src, x.end, end, "", "%d keys in brackets, expected 1", len(args))
			}
			if x, err = p.node(ast{kind: nIndex, args: []*ast{x, args[0]}, pos: x.pos, end: end}); err != nil {
				return nil, err
			}
		default:
			return x, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// list reads expressions between brackets, with an optional comma at the end.
func (p *parser) list(open, shut string) (args []*ast, end int, err *Error) {
	start := p.tok
	if err := p.expect(open); err != nil {
		return nil, 0, err
	}
	return p.rest(start, open, shut)
}

// rest reads a list after its opening bracket.
func (p *parser) rest(start token, open, shut string) (args []*ast, end int, err *Error) {
	for !p.isOp(shut) {
		a, err := p.expr()
		if err != nil {
			return nil, 0, err
		}
		args = append(args, a)
		if p.isOp(shut) {
			break
		}
		if p.tok.kind == tokEnd {
			return nil, 0, p.fail(start, "close it with "+shut, "%s is not closed", open)
		}
		if !p.isOp(",") {
			return nil, 0, p.unexpected(", or " + shut)
		}
		if err := p.advance(); err != nil {
			return nil, 0, err
		}
	}
	end = p.tok.end
	return args, end, p.advance()
}

func (p *parser) primary() (*ast, *Error) {
	t := p.tok
	switch t.kind {
	case tokInt, tokFloat, tokDuration, tokText, tokRaw:
		if t.kind == tokInt && t.num == math.MinInt64 && t.flt != 0 {
			return nil, p.fail(t, "", "number %s does not fit in 64 bits", t.text)
		}
		if err := p.advance(); err != nil {
			return nil, err
		}
		return p.node(ast{kind: nLit, tok: t, pos: t.pos, end: t.end})
	case tokIdent:
		return p.ident()
	case tokOp:
		switch t.text {
		case "(":
			if err := p.advance(); err != nil {
				return nil, err
			}
			x, err := p.expr()
			if err != nil {
				return nil, err
			}
			if !p.isOp(")") {
				if p.tok.kind == tokEnd {
					return nil, p.fail(t, "close it with )", "( is not closed")
				}
				return nil, p.unexpected("an operator or )")
			}
			return x, p.advance()
		case "[", "{":
			shut := map[string]string{"[": "]", "{": "}"}[t.text]
			args, end, err := p.list(t.text, shut)
			if err != nil {
				return nil, err
			}
			return p.node(ast{kind: nList, args: args, pos: t.pos, end: end})
		}
	}
	return nil, p.unexpected("a field, a value or (")
}

// ident reads a name, a call, or one of the keywords that are values.
func (p *parser) ident() (*ast, *Error) {
	t := p.tok
	for _, w := range infixWords {
		if strings.EqualFold(t.text, w) {
			err := p.unexpected("a field or a value")
			err.Hint = ""
			if form, ok := methods[w]; ok {
				err.Hint = "write " + form
			}
			return nil, err
		}
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	n := ast{kind: nIdent, text: t.text, pos: t.pos, end: t.end, at: t.pos}
	switch strings.ToLower(t.text) {
	case "true":
		n.kind, n.tok.num = nBool, 1
	case "false":
		n.kind = nBool
	case "nil", "null":
		n.kind = nNil
	}
	if n.kind == nIdent && p.isOp("(") {
		args, end, err := p.list("(", ")")
		if err != nil {
			return nil, err
		}
		n.kind, n.args, n.end = nCall, args, end
	}
	return p.node(n)
}
