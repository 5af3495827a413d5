package kfl

import (
	"strings"
	"unicode/utf8"

	"github.com/pcapsule/pcapsule/kfl/nearest"
)

const (
	maxSource = 64 << 10 // bytes of a query, and of a macro
	maxDepth  = 100      // nested expressions
	maxNodes  = 10_000   // expressions of a query, including its macros
)

type nodeKind uint8

const (
	nLit    nodeKind = iota // tok
	nNil                    // nil, null
	nBool                   // num 0 or 1
	nIdent                  // text
	nSelect                 // args[0].text
	nIndex                  // args[0][args[1]]
	nCall                   // text(args…)
	nMethod                 // args[0].text(args[1:]…)
	nNot                    // !args[0]
	nNeg                    // -args[0]
	nBinary                 // args[0] text args[1]
	nAnd                    // args… joined
	nOr                     // args… joined
	nCond                   // args[0] ? args[1] : args[2]
	nList                   // [args…]
	nEvery                  // args[0].*
	nDeep                   // args[0]..text
)

// ast is one expression as written.
type ast struct {
	kind     nodeKind
	text     string
	tok      token
	args     []*ast
	pos, end int // range in the source; at and atEnd are the range of the operator
	at       int
	depth    int
}

// Expr is a parsed text.
type Expr struct {
	src      string
	root     *ast // nil for an empty text, which matches everything
	comments []comment
}

type parser struct {
	lex   lexer
	tok   token
	level int
	nodes int
}

// Parse parses src. It checks only the syntax; Compile also checks names and types. The error
// is an *Error.
func Parse(src string) (*Expr, error) {
	e, err := parse(src)
	if err != nil {
		return nil, err
	}
	return e, nil
}

func parse(src string) (*Expr, *Error) {
	if len(src) > maxSource {
		err := errorAt(src, maxSource, maxSource, "", "query is %d bytes long, the limit is %d", len(src), maxSource)
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
		return nil, errorAt(src, at, at+1, `write other bytes as escapes: "\xff"`, "byte 0x%02x is not valid UTF-8", src[at])
	}
	p := &parser{lex: lexer{src: src}}
	if err := p.advance(); err != nil {
		return nil, err
	}
	e := &Expr{src: src}
	if p.tok.kind != tokEnd {
		root, err := p.expr()
		if err != nil {
			return nil, err
		}
		if p.tok.kind != tokEnd {
			return nil, p.unexpected("an operator or the end")
		}
		e.root = root
	}
	e.comments = p.lex.comments
	return e, nil
}

func (p *parser) advance() (err *Error) {
	p.tok, err = p.lex.next()
	return err
}

func (p *parser) fail(t token, hint, format string, args ...any) *Error {
	return errorAt(p.lex.src, t.pos, t.end, hint, format, args...)
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
	switch t.kind {
	case tokEnd:
		return p.fail(t, "", "the query ends here, expected %s", want)
	case tokIdent:
		hint := foreign[strings.ToLower(t.text)]
		if hint == "" {
			hint = nearest.Hint(t.text, infixWords[:])
		}
		return p.fail(t, hint, "unexpected %s, expected %s", clip(t.text), want)
	case tokText, tokRaw:
		return p.fail(t, "", "unexpected text %s, expected %s", clip(p.lex.src[t.pos:t.end]), want)
	}
	return p.fail(t, "", "%s, expected %s", clip(p.lex.src[t.pos:t.end]), want)
}

func (p *parser) isOp(op string) bool { return p.tok.kind == tokOp && p.tok.text == op }

// isWord is for operators that are words, in any case.
func (p *parser) isWord(w string) bool {
	return p.tok.kind == tokIdent && strings.EqualFold(p.tok.text, w)
}

func (p *parser) expect(op string) *Error {
	if !p.isOp(op) {
		return p.unexpected(op)
	}
	return p.advance()
}

// enter guards the stack: every recursive rule calls it.
func (p *parser) enter() *Error {
	if p.level++; p.level > maxDepth {
		return p.tooDeep(p.tok)
	}
	return nil
}

func (p *parser) tooDeep(t token) *Error {
	err := p.fail(t, "", "expressions are nested more than %d deep", maxDepth)
	err.Limit = true
	return err
}

// node makes an expression and limits their number.
func (p *parser) node(n ast) (*ast, *Error) {
	for _, a := range n.args {
		n.depth = max(n.depth, a.depth+1)
	}
	if n.depth > maxDepth {
		return nil, p.tooDeep(token{pos: n.pos, end: n.end})
	}
	if p.nodes++; p.nodes > maxNodes {
		err := p.fail(p.tok, "", "more than %d expressions", maxNodes)
		err.Limit = true
		return nil, err
	}
	return &n, nil
}

// expr = or [ "?" expr ":" expr ]
func (p *parser) expr() (*ast, *Error) {
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
	return p.node(ast{kind: nCond, args: []*ast{c, a, b}, pos: c.pos, end: b.end})
}

func (p *parser) or() (*ast, *Error)  { return p.chain(nOr, "||", "or", p.and) }
func (p *parser) and() (*ast, *Error) { return p.chain(nAnd, "&&", "and", p.not) }

// chain reads operands joined by one operator into one node, so that a long chain is not
// deeply nested.
func (p *parser) chain(kind nodeKind, op, word string, operand func() (*ast, *Error)) (*ast, *Error) {
	first, err := operand()
	if err != nil || !p.isOp(op) && !p.isWord(word) {
		return first, err
	}
	n := ast{kind: kind, args: []*ast{first}, pos: first.pos}
	for p.isOp(op) || p.isWord(word) {
		if err := p.advance(); err != nil {
			return nil, err
		}
		a, err := operand()
		if err != nil {
			return nil, err
		}
		n.args = append(n.args, a)
		n.end = a.end
	}
	return p.node(n)
}

// not = "not" not | relation. not binds less tightly than a comparison, ! more tightly.
func (p *parser) not() (*ast, *Error) {
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
	return p.node(ast{kind: nNot, args: []*ast{x}, pos: at.pos, end: x.end})
}

// infixWords are the operators that are words.
var infixWords = [...]string{"in", "contains", "startsWith", "endsWith", "matches", "and", "or", "not"}

// relation = sum [ operator sum ]
func (p *parser) relation() (*ast, *Error) {
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
	n := ast{kind: nBinary, text: op, args: []*ast{a, b}, pos: a.pos, end: b.end, at: at.pos}
	switch op {
	case "contains", "startsWith", "endsWith", "matches":
		n.kind = nMethod
	}
	return p.node(n)
}

// relationOp returns the comparison operator at this place, or "".
func (p *parser) relationOp() string {
	switch p.tok.kind {
	case tokOp:
		switch p.tok.text {
		case "==", "!=", "<", "<=", ">", ">=":
			return p.tok.text
		case "=~":
			return "matches"
		}
	case tokIdent:
		for _, w := range infixWords[:5] {
			if strings.EqualFold(w, p.tok.text) {
				return w
			}
		}
		if p.isWord("not") {
			return "not in"
		}
	}
	return ""
}

func (p *parser) sum() (*ast, *Error)     { return p.left("+-", p.product) }
func (p *parser) product() (*ast, *Error) { return p.left("*/%", p.unary) }

// left reads left-associative operators.
func (p *parser) left(ops string, operand func() (*ast, *Error)) (*ast, *Error) {
	a, err := operand()
	if err != nil {
		return nil, err
	}
	for p.tok.kind == tokOp && len(p.tok.text) == 1 && strings.Contains(ops, p.tok.text) {
		op := p.tok
		if err := p.advance(); err != nil {
			return nil, err
		}
		b, err := operand()
		if err != nil {
			return nil, err
		}
		if a, err = p.node(ast{kind: nBinary, text: op.text, args: []*ast{a, b}, pos: a.pos, end: b.end, at: op.pos}); err != nil {
			return nil, err
		}
	}
	return a, nil
}
