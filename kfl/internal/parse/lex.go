package parse

import (
	"math"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// TokenKind is a kind of token.
type TokenKind uint8

// Kinds of tokens, with the fields of Token that they use.
const (
	tokEnd TokenKind = iota
	TokenIdent
	TokenInt
	TokenFloat
	TokenDuration // Int is in nanoseconds
	TokenText     // Text is the value
	TokenRaw      // r"…": Text is the value
	TokenOp       // Text is the operator
)

// Token is the smallest part of a text. Pos and End are its range in bytes.
type Token struct {
	Kind     TokenKind
	Text     string
	Int      int64
	Float    float64
	Pos, End int
}

// comment is the text of a comment without its marker.
type comment struct{ text string }

type lexer struct {
	src      string
	pos      int
	comments []comment
}

// operators, longest first.
var operators = [...]string{"&&", "||", "=~", "==", "!=", "<=", ">=", "(", ")", "[", "]", "{", "}", "<", ">", "!", "+", "-", "*", "/", "%", "?", ":", ",", "."}

// foreignOperators are operators of other languages, with the KFL equivalent.
var foreignOperators = [...][2]string{
	{"!~", "write !x.matches(\"…\")"}, {"<>", "write !="},
	{"=", "write == for equality"}, {"&", "write && or and"}, {"|", "write || or or"}, {";", "a query is one condition; join conditions with &&"},
}

func (l *lexer) fail(pos, end int, hint, format string, args ...any) *Error {
	return ErrorAt(l.src, pos, end, hint, format, args...)
}

// next reads one token.
func (l *lexer) next() (Token, *Error) {
	l.skipSpace()
	start := l.pos
	if start >= len(l.src) {
		return Token{Kind: tokEnd, Pos: start, End: start}, nil
	}
	c := l.src[start]
	switch {
	case isDigit(c), c == '.' && start+1 < len(l.src) && isDigit(l.src[start+1]):
		return l.number()
	case c == '"' || c == '\'':
		return l.quoted(start, false)
	case (c == 'r' || c == 'R') && start+1 < len(l.src) && (l.src[start+1] == '"' || l.src[start+1] == '\''):
		l.pos++
		return l.quoted(start, true)
	case (c == 'b' || c == 'B') && start+1 < len(l.src) && (l.src[start+1] == '"' || l.src[start+1] == '\''):
		return Token{}, l.fail(start, start+1, "omit the b: text and bytes are searched the same way", "byte literals are not supported")
	case isLetter(c):
		for l.pos < len(l.src) && (isLetter(l.src[l.pos]) || isDigit(l.src[l.pos])) {
			l.pos++
		}
		return Token{Kind: TokenIdent, Text: l.src[start:l.pos], Pos: start, End: l.pos}, nil
	}
	if two := l.src[start:min(start+2, len(l.src))]; two == "<>" || two == "!~" {
		return Token{}, l.foreignOperator(start)
	}
	for _, op := range operators {
		if strings.HasPrefix(l.src[start:], op) {
			l.pos += len(op)
			return Token{Kind: TokenOp, Text: op, Pos: start, End: l.pos}, nil
		}
	}
	if err := l.foreignOperator(start); err != nil {
		return Token{}, err
	}
	r, n := utf8.DecodeRuneInString(l.src[start:])
	hint := ""
	if strings.ContainsRune("“”„‘’«»`", r) {
		hint = `put text in plain quotes: "…" or '…'`
	}
	return Token{}, l.fail(start, start+n, hint, "unexpected character %q", r)
}

// foreignOperator returns the error for an operator of another language, or nil.
func (l *lexer) foreignOperator(start int) *Error {
	for _, s := range foreignOperators {
		if strings.HasPrefix(l.src[start:], s[0]) {
			return l.fail(start, start+len(s[0]), s[1], "unknown operator %s", s[0])
		}
	}
	return nil
}

// skipSpace skips white space and comments, and keeps the comments.
func (l *lexer) skipSpace() {
	for l.pos < len(l.src) {
		switch c := l.src[l.pos]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			l.pos++
		case c == '#' || c == '/' && strings.HasPrefix(l.src[l.pos:], "//"):
			end := strings.IndexByte(l.src[l.pos:], '\n')
			if end < 0 {
				end = len(l.src) - l.pos
			}
			text := strings.TrimLeft(strings.TrimPrefix(l.src[l.pos:l.pos+end], "//"), "#")
			l.comments = append(l.comments, comment{strings.TrimSpace(text)})
			l.pos += end
		default:
			return
		}
	}
}

// number reads an integer, a float, a duration such as 1h30m or a size such as 10KB.
func (l *lexer) number() (Token, *Error) {
	start := l.pos
	src := l.src
	for l.pos < len(src) {
		c := src[l.pos]
		switch {
		case isDigit(c), isLetter(c):
		case strings.HasPrefix(src[l.pos:], "µ"), strings.HasPrefix(src[l.pos:], "μ"):
			l.pos++
		case c == '.' && l.pos+1 < len(src) && isDigit(src[l.pos+1]):
		case (c == '+' || c == '-') && (src[l.pos-1] == 'e' || src[l.pos-1] == 'E') && l.pos+1 < len(src) && isDigit(src[l.pos+1]) && !isHex(src[start:l.pos]):
		default:
			goto done
		}
		l.pos++
	}
done:
	text := src[start:l.pos]
	t := Token{Pos: start, End: l.pos, Text: text}
	digits := strings.TrimRight(text, "uU")
	if len(digits) < len(text)-1 {
		digits = text
	}
	n, err := strconv.ParseInt(digits, 0, 64)
	switch {
	case err == nil && (isHex(digits) || len(digits) == 1 || digits[0] != '0') && !strings.Contains(digits, "_"):
		t.Kind, t.Int = TokenInt, n
		return t, nil
	case err != nil && err.(*strconv.NumError).Err == strconv.ErrRange:
		// The smallest integer has no positive counterpart: the parser negates it.
		if u, err := strconv.ParseUint(digits, 0, 64); err == nil && u == 1<<63 {
			t.Kind, t.Int, t.Float = TokenInt, math.MinInt64, 1
			return t, nil
		}
		return t, l.fail(start, l.pos, "", "number %s does not fit in 64 bits", Clip(text))
	}
	if f, err := strconv.ParseFloat(text, 64); err == nil && !isHex(text) && !strings.ContainsAny(text, "_pPnNiI") {
		if !strings.ContainsAny(text, ".eE") { // 007
			return t, l.fail(start, l.pos, "omit the leading zeros", "invalid number %s", Clip(text))
		}
		t.Kind, t.Float = TokenFloat, f
		return t, nil
	}
	if d, ok := ParseDuration(text); ok {
		t.Kind, t.Int = TokenDuration, d
		return t, nil
	}
	if n, ok := parseSize(text); ok {
		t.Kind, t.Int = TokenInt, n
		return t, nil
	}
	if quoted := QuotedAddress(text); quoted != text {
		return t, l.fail(start, l.pos, "write "+quoted, "address %s is not in quotes", text)
	}
	return t, l.fail(start, l.pos, "write a number such as 500, 0x1f4 or 1.5, a duration such as 250us, 500ms, 5s, 1h30m or 2d, or a size such as 10KB or 4MiB", "invalid number %s", Clip(text))
}

func isHex(s string) bool { return strings.HasPrefix(s, "0x") || strings.HasPrefix(s, "0X") }

// ParseDuration reads a Go duration, days or weeks.
func ParseDuration(s string) (int64, bool) {
	for unit, of := range map[string]int64{"d": 24, "w": 7 * 24} {
		if n, err := strconv.ParseInt(strings.TrimSuffix(s, unit), 10, 64); err == nil && strings.HasSuffix(s, unit) {
			hours := n * of
			if n > math.MaxInt64/of || hours > int64(math.MaxInt64/time.Hour) || hours < -int64(math.MaxInt64/time.Hour) {
				return 0, false
			}
			return hours * int64(time.Hour), true
		}
	}
	d, err := time.ParseDuration(s)
	return int64(d), err == nil
}

// sizeUnits are decimal units, and binary units with an i (IEC 80000-13).
var sizeUnits = [...]struct {
	name string
	of   int64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}, {"KB", 1e3}, {"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1}}

func parseSize(s string) (int64, bool) {
	for _, u := range sizeUnits {
		head, ok := strings.CutSuffix(s, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(head, 10, 64)
		if err != nil || n > math.MaxInt64/u.of {
			return 0, false
		}
		return n * u.of, true
	}
	return 0, false
}

// quoted reads text in single, double or triple quotes. start is the beginning of the token,
// including an r.
func (l *lexer) quoted(start int, raw bool) (Token, *Error) {
	quote := l.src[l.pos : l.pos+1]
	if t := strings.Repeat(quote, 3); strings.HasPrefix(l.src[l.pos:], t) {
		quote = t
	}
	l.pos += len(quote)
	var b strings.Builder
	for {
		if l.pos >= len(l.src) || len(quote) == 1 && (l.src[l.pos] == '\n' || l.src[l.pos] == '\r') {
			return Token{}, l.fail(start, l.pos, "close it with "+quote, "text is not closed")
		}
		if strings.HasPrefix(l.src[l.pos:], quote) {
			l.pos += len(quote)
			break
		}
		if c := l.src[l.pos]; c != '\\' || raw {
			b.WriteByte(c)
			l.pos++
			continue
		}
		r, n, ok := unescape(l.src[l.pos:])
		if !ok {
			return Token{}, l.fail(l.pos, l.pos+min(2, len(l.src)-l.pos), `write \\ for a backslash, or r"…" for text without escapes`, "invalid escape in text")
		}
		b.WriteRune(r)
		l.pos += n
	}
	kind := TokenText
	if raw {
		kind = TokenRaw
	}
	return Token{Kind: kind, Text: b.String(), Pos: start, End: l.pos}, nil
}

// unescape reads one escape of CEL at the start of s, which begins with a backslash.
func unescape(s string) (r rune, n int, ok bool) {
	if len(s) < 2 {
		return 0, 0, false
	}
	const from, to = "abfnrtv\\'\"`?", "\a\b\f\n\r\t\v\\'\"`?"
	if i := strings.IndexByte(from, s[1]); i >= 0 {
		return rune(to[i]), 2, true
	}
	digits, base, at := 0, 16, 2
	switch s[1] {
	case 'x', 'X':
		digits = 2
	case 'u':
		digits = 4
	case 'U':
		digits = 8
	case '0', '1', '2', '3':
		digits, base, at = 3, 8, 1
	default:
		return 0, 0, false
	}
	if len(s) < at+digits {
		return 0, 0, false
	}
	v, err := strconv.ParseUint(s[at:at+digits], base, 32)
	if err != nil || !utf8.ValidRune(rune(v)) {
		return 0, 0, false
	}
	return rune(v), at + digits, true
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' }

// Tokens reads tokens up to the end or the first error; open reports whether text is not closed.
func Tokens(src string) (toks []Token, open bool) {
	l := lexer{src: src}
	for {
		t, err := l.next()
		if err != nil {
			return append(toks, Token{Kind: TokenText, Pos: err.Offset, End: len(src)}), strings.Contains(err.Msg, "not closed")
		}
		if t.Kind == tokEnd {
			return toks, false
		}
		toks = append(toks, t)
	}
}

var hexByte = regexp.MustCompile(`^0x[0-9a-fA-F]+$`)

// QuotedAddress puts an address or a prefix in quotes. It returns other values unchanged.
func QuotedAddress(s string) string {
	if hexByte.MatchString(s) {
		return s
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return `"` + s + `"`
	}
	if _, err := netip.ParsePrefix(s); err == nil {
		return `"` + s + `"`
	}
	return s
}
