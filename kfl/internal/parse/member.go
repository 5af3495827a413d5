package parse

import (
	"math"
	"strings"
)

// unary = ("!" | "-") unary | member
func (p *parser) unary() (*Node, *Error) {
	kind := Not
	switch {
	case p.isOp("-"):
		kind = Negative
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
	if kind == Negative && (p.tok.Kind == TokenInt || p.tok.Kind == TokenFloat || p.tok.Kind == TokenDuration) {
		return p.negative(at)
	}
	x, err := p.unary()
	if err != nil {
		return nil, err
	}
	return p.node(Node{Kind: kind, Args: []*Node{x}, Pos: at.Pos, End: x.End})
}

// negative reads a number after a minus as one literal.
func (p *parser) negative(minus Token) (*Node, *Error) {
	t := p.tok
	t.Pos = minus.Pos
	switch t.Kind {
	case TokenFloat:
		t.Float = -t.Float
	default:
		if t.Int != math.MinInt64 {
			t.Int = -t.Int
		}
		t.Float = 0
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	n, err := p.node(Node{Kind: Literal, Token: t, Pos: t.Pos, End: t.End})
	if err != nil {
		return nil, err
	}
	return p.suffixes(n)
}

// member = primary { "." name [ "(" args ")" ] | "[" expr "]" }
func (p *parser) member() (*Node, *Error) {
	x, err := p.primary()
	if err != nil {
		return nil, err
	}
	return p.suffixes(x)
}

func (p *parser) suffixes(x *Node) (_ *Node, err *Error) {
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
				if x, err = p.node(Node{Kind: Every, Args: []*Node{x}, Pos: x.Pos, End: name.End, At: name.Pos}); err != nil {
					return nil, err
				}
				err = p.advance()
				break
			}
			if name.Kind != TokenIdent {
				return nil, p.unexpected("a name after the dot")
			}
			if err := p.advance(); err != nil {
				return nil, err
			}
			if deep {
				x, err = p.node(Node{Kind: Deep, Text: name.Text, Args: []*Node{x}, Pos: x.Pos, End: name.End, At: name.Pos})
				break
			}
			if !p.isOp("(") {
				x, err = p.node(Node{Kind: Select, Text: name.Text, Args: []*Node{x}, Pos: x.Pos, End: name.End, At: name.Pos})
				break
			}
			args, end, err := p.list("(", ")")
			if err != nil {
				return nil, err
			}
			if x, err = p.node(Node{Kind: Method, Text: name.Text, Args: append([]*Node{x}, args...), Pos: x.Pos, End: end, At: name.Pos}); err != nil {
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
				end := p.tok.End
				if err := p.expect("]"); err != nil {
					return nil, err
				}
				if x, err = p.node(Node{Kind: Every, Args: []*Node{x}, Pos: x.Pos, End: end, At: star.Pos}); err != nil {
					return nil, err
				}
				break
			}
			args, end, err := p.rest(open, "[", "]")
			if err != nil {
				return nil, err
			}
			if len(args) != 1 {
				return nil, ErrorAt(p.lex.src, x.End, end, "", "%d keys in brackets, expected 1", len(args))
			}
			if x, err = p.node(Node{Kind: Index, Args: []*Node{x, args[0]}, Pos: x.Pos, End: end}); err != nil {
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
func (p *parser) list(open, shut string) (args []*Node, end int, err *Error) {
	start := p.tok
	if err := p.expect(open); err != nil {
		return nil, 0, err
	}
	return p.rest(start, open, shut)
}

// rest reads a list after its opening bracket.
func (p *parser) rest(start Token, open, shut string) (args []*Node, end int, err *Error) {
	for !p.isOp(shut) {
		a, err := p.expr()
		if err != nil {
			return nil, 0, err
		}
		args = append(args, a)
		if p.isOp(shut) {
			break
		}
		if p.tok.Kind == tokEnd {
			return nil, 0, p.fail(start, "close it with "+shut, "%s is not closed", open)
		}
		if !p.isOp(",") {
			return nil, 0, p.unexpected(", or " + shut)
		}
		if err := p.advance(); err != nil {
			return nil, 0, err
		}
	}
	end = p.tok.End
	return args, end, p.advance()
}

func (p *parser) primary() (*Node, *Error) {
	t := p.tok
	switch t.Kind {
	case TokenInt, TokenFloat, TokenDuration, TokenText, TokenRaw:
		if t.Kind == TokenInt && t.Int == math.MinInt64 && t.Float != 0 {
			return nil, p.fail(t, "", "number %s does not fit in 64 bits", t.Text)
		}
		if err := p.advance(); err != nil {
			return nil, err
		}
		return p.node(Node{Kind: Literal, Token: t, Pos: t.Pos, End: t.End})
	case TokenIdent:
		return p.ident()
	case TokenOp:
		switch t.Text {
		case "(":
			if err := p.advance(); err != nil {
				return nil, err
			}
			x, err := p.expr()
			if err != nil {
				return nil, err
			}
			if !p.isOp(")") {
				if p.tok.Kind == tokEnd {
					return nil, p.fail(t, "close it with )", "( is not closed")
				}
				return nil, p.unexpected("an operator or )")
			}
			return x, p.advance()
		case "[", "{":
			shut := map[string]string{"[": "]", "{": "}"}[t.Text]
			args, end, err := p.list(t.Text, shut)
			if err != nil {
				return nil, err
			}
			return p.node(Node{Kind: List, Args: args, Pos: t.Pos, End: end})
		}
	}
	return nil, p.unexpected("a field, a value or (")
}

// ident reads a name, a call, or one of the keywords that are values.
func (p *parser) ident() (*Node, *Error) {
	t := p.tok
	for _, w := range InfixWords {
		if strings.EqualFold(t.Text, w) {
			err := p.unexpected("a field or a value")
			err.Hint, err.Word = "", ""
			if form := MethodForm(w); form != "" {
				err.Hint = "write " + form
			}
			return nil, err
		}
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	n := Node{Kind: Ident, Text: t.Text, Pos: t.Pos, End: t.End, At: t.Pos}
	switch strings.ToLower(t.Text) {
	case "true":
		n.Kind, n.Token.Int = Bool, 1
	case "false":
		n.Kind = Bool
	case "nil", "null":
		n.Kind = Nil
	}
	if n.Kind == Ident && p.isOp("(") {
		args, end, err := p.list("(", ")")
		if err != nil {
			return nil, err
		}
		n.Kind, n.Args, n.End = Call, args, end
	}
	return p.node(n)
}
