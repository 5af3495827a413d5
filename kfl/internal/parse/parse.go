// Package parse reads the syntax of KFL: it splits a text into tokens, builds its tree of expressions,
// and writes the tree in canonical form. It knows no names and no types; package kfl checks those.
package parse

import (
	"strings"
	"unicode/utf8"
)

// Limits of a text.
const (
	MaxSource = 64 << 10 // bytes of a query, and of a macro
	MaxDepth  = 100      // nested expressions
	MaxNodes  = 10_000   // expressions of a query, including its macros
)

// Kind is a kind of expression.
type Kind uint8

// Kinds of expressions, with the fields of Node that they use.
const (
	Literal     Kind = iota // Token
	Nil                     // nil, null
	Bool                    // Token.Int is 0 or 1
	Ident                   // Text
	Select                  // Args[0].Text
	Index                   // Args[0][Args[1]]
	Call                    // Text(Args…)
	Method                  // Args[0].Text(Args[1:]…)
	Not                     // !Args[0]
	Negative                // -Args[0]
	Binary                  // Args[0] Text Args[1]
	And                     // Args… joined
	Or                      // Args… joined
	Conditional             // Args[0] ? Args[1] : Args[2]
	List                    // [Args…]
	Every                   // Args[0].*
	Deep                    // Args[0]..Text
)

// Node is one expression as written.
type Node struct {
	Kind     Kind
	Text     string
	Token    Token
	Args     []*Node
	Pos, End int // range in the source, in bytes
	At       int // where its operator or name begins
	depth    int
}

// Expr is a parsed text.
type Expr struct {
	src      string
	Root     *Node // nil for an empty text, which matches everything
	comments []comment
}

type parser struct {
	lex   lexer
	tok   Token
	level int
	nodes int
}

// Parse parses src. It checks only the syntax.
func Parse(src string) (*Expr, *Error) {
	if len(src) > MaxSource {
		err := ErrorAt(src, MaxSource, MaxSource, "", "query is %d bytes long, the limit is %d", len(src), MaxSource)
		err.Limit = true
		return nil, err
	}
	if !utf8.ValidString(src) {
		at := 0
		for at < len(src) {
			r, n := utf8.DecodeRuneInString(src[at:])
			if r == utf8.RuneError && n <= 1 {
				break
			}
			at += n
		}
		return nil, ErrorAt(src, at, at+1, `write other bytes as escapes: "\xff"`, "byte 0x%02x is not valid UTF-8", src[at])
	}
	p := &parser{lex: lexer{src: src}}
	if err := p.advance(); err != nil {
		return nil, err
	}
	e := &Expr{src: src}
	if p.tok.Kind != tokEnd {
		root, err := p.expr()
		if err != nil {
			return nil, err
		}
		if p.tok.Kind != tokEnd {
			return nil, p.unexpected("an operator or the end")
		}
		e.Root = root
	}
	e.comments = p.lex.comments
	return e, nil
}

func (p *parser) advance() (err *Error) {
	p.tok, err = p.lex.next()
	return err
}

func (p *parser) fail(t Token, hint, format string, args ...any) *Error {
	return ErrorAt(p.lex.src, t.Pos, t.End, hint, format, args...)
}

// foreign has keywords of other query languages that appear in place of an operator.
var foreign = map[string]string{
	"like": `write x.contains("…") or x.matches("…")`, "ilike": `write x.matches("(?i)…")`, "is": "write x == nil, or !x for an absent field",
	"between": "write x >= 1 && x <= 9", "eq": "write ==", "ne": "write !=", "gt": "write >", "lt": "write <", "ge": "write >=", "le": "write <=",
	"xor": "write (a) != (b)", "where": "a query is only the condition", "limit": "limits are an option of the command, not part of the condition",
	"order": "order is an option of the command, not part of the condition",
}

func (p *parser) unexpected(want string) *Error {
	t := p.tok
	switch t.Kind {
	case tokEnd:
		return p.fail(t, "", "the query ends here, expected %s", want)
	case TokenIdent:
		err := p.fail(t, foreign[strings.ToLower(t.Text)], "unexpected %s, expected %s", Clip(t.Text), want)
		err.Word = t.Text
		return err
	case TokenText, TokenRaw:
		return p.fail(t, "", "unexpected text %s, expected %s", Clip(p.lex.src[t.Pos:t.End]), want)
	}
	return p.fail(t, "", "unexpected %s, expected %s", Clip(p.lex.src[t.Pos:t.End]), want)
}

func (p *parser) isOp(op string) bool { return p.tok.Kind == TokenOp && p.tok.Text == op }

// isWord is for operators that are words, in any case.
func (p *parser) isWord(w string) bool {
	return p.tok.Kind == TokenIdent && strings.EqualFold(p.tok.Text, w)
}

func (p *parser) expect(op string) *Error {
	if !p.isOp(op) {
		return p.unexpected(op)
	}
	return p.advance()
}

// enter guards the stack: every recursive rule calls it.
func (p *parser) enter() *Error {
	if p.level++; p.level > MaxDepth {
		return p.tooDeep(p.tok)
	}
	return nil
}

func (p *parser) tooDeep(t Token) *Error {
	err := p.fail(t, "", "expressions are nested more than %d deep", MaxDepth)
	err.Limit = true
	return err
}

// node makes an expression and limits their number.
func (p *parser) node(n Node) (*Node, *Error) {
	for _, a := range n.Args {
		n.depth = max(n.depth, a.depth+1)
	}
	if n.depth > MaxDepth {
		return nil, p.tooDeep(Token{Pos: n.Pos, End: n.End})
	}
	if p.nodes++; p.nodes > MaxNodes {
		err := p.fail(p.tok, "", "more than %d expressions", MaxNodes)
		err.Limit = true
		return nil, err
	}
	return &n, nil
}

// expr = or [ "?" expr ":" expr ]
func (p *parser) expr() (*Node, *Error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer func() { p.level-- }()
	c, err := p.or()
	if err != nil || !p.isOp("?") {
		return c, err
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	a, err := p.expr()
	if err != nil {
		return nil, err
	}
	if err := p.expect(":"); err != nil {
		return nil, err
	}
	b, err := p.expr()
	if err != nil {
		return nil, err
	}
	return p.node(Node{Kind: Conditional, Args: []*Node{c, a, b}, Pos: c.Pos, End: b.End})
}

func (p *parser) or() (*Node, *Error)  { return p.chain(Or, "||", "or", p.and) }
func (p *parser) and() (*Node, *Error) { return p.chain(And, "&&", "and", p.not) }

// chain reads operands joined by one operator into one node, so that a long chain is not
// deeply nested.
func (p *parser) chain(kind Kind, op, word string, operand func() (*Node, *Error)) (*Node, *Error) {
	first, err := operand()
	if err != nil || !p.isOp(op) && !p.isWord(word) {
		return first, err
	}
	n := Node{Kind: kind, Args: []*Node{first}, Pos: first.Pos}
	for p.isOp(op) || p.isWord(word) {
		if err := p.advance(); err != nil {
			return nil, err
		}
		a, err := operand()
		if err != nil {
			return nil, err
		}
		n.Args = append(n.Args, a)
		n.End = a.End
	}
	return p.node(n)
}

// not = "not" not | relation. not binds less tightly than a comparison, ! more tightly.
func (p *parser) not() (*Node, *Error) {
	if !p.isWord("not") {
		return p.relation()
	}
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer func() { p.level-- }()
	at := p.tok
	if err := p.advance(); err != nil {
		return nil, err
	}
	x, err := p.not()
	if err != nil {
		return nil, err
	}
	return p.node(Node{Kind: Not, Args: []*Node{x}, Pos: at.Pos, End: x.End})
}

// InfixWords are the operators that are words.
var InfixWords = [...]string{"in", "contains", "startsWith", "endsWith", "matches", "and", "or", "not"}

// MethodForm is how a method is written that is also an infix word, "" for another word.
func MethodForm(word string) string {
	switch word {
	case "contains", "startsWith", "endsWith":
		return "x." + word + `("part")`
	case "matches":
		return `x.matches("pattern")`
	}
	return ""
}

// relation = sum [ operator sum ]
func (p *parser) relation() (*Node, *Error) {
	a, err := p.sum()
	if err != nil {
		return nil, err
	}
	op, at := p.relationOp(), p.tok
	if op == "" {
		return a, nil
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	if op == "not in" {
		if !p.isWord("in") {
			return nil, p.unexpected("in after not")
		}
		if err := p.advance(); err != nil {
			return nil, err
		}
	}
	b, err := p.sum()
	if err != nil {
		return nil, err
	}
	if p.relationOp() != "" {
		return nil, p.fail(p.tok, "join comparisons with &&, or add parentheses", "a second comparison, expected && or ||")
	}
	n := Node{Kind: Binary, Text: op, Args: []*Node{a, b}, Pos: a.Pos, End: b.End, At: at.Pos}
	switch op {
	case "contains", "startsWith", "endsWith", "matches":
		n.Kind = Method
	}
	return p.node(n)
}

// relationOp returns the comparison operator at this place, or "".
func (p *parser) relationOp() string {
	switch p.tok.Kind {
	case TokenOp:
		switch p.tok.Text {
		case "==", "!=", "<", "<=", ">", ">=":
			return p.tok.Text
		case "=~":
			return "matches"
		}
	case TokenIdent:
		for _, w := range InfixWords[:5] {
			if strings.EqualFold(w, p.tok.Text) {
				return w
			}
		}
		if p.isWord("not") {
			return "not in"
		}
	}
	return ""
}

func (p *parser) sum() (*Node, *Error)     { return p.left("+-", p.product) }
func (p *parser) product() (*Node, *Error) { return p.left("*/%", p.unary) }

// left reads left-associative operators.
func (p *parser) left(ops string, operand func() (*Node, *Error)) (*Node, *Error) {
	a, err := operand()
	if err != nil {
		return nil, err
	}
	for p.tok.Kind == TokenOp && len(p.tok.Text) == 1 && strings.Contains(ops, p.tok.Text) {
		op := p.tok
		if err := p.advance(); err != nil {
			return nil, err
		}
		b, err := operand()
		if err != nil {
			return nil, err
		}
		if a, err = p.node(Node{Kind: Binary, Text: op.Text, Args: []*Node{a, b}, Pos: a.Pos, End: b.End, At: op.Pos}); err != nil {
			return nil, err
		}
	}
	return a, nil
}
