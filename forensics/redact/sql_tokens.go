package redact

import "strings"

// sqlKind is the kind of an SQL token.
type sqlKind uint8

const (
	sqlWord  sqlKind = iota // name or keyword, without quotes
	sqlText                 // literal text; start and end are inside its quotes
	sqlOther                // number
	sqlParam                // $1, ?, :name
	sqlSign                 // one byte of punctuation
)

type sqlToken struct {
	kind       sqlKind
	start, end int
	word       string
	double     bool // in double quotes: a name, or in MySQL a literal
}

// maxTokens is the highest number of tokens that are parsed as SQL; the rest is searched as text.
const maxTokens = 200_000

// sqlTokens splits a statement into tokens and comments. The statement may be cut.
func sqlTokens(s string) (list, comments []sqlToken) {
	for i := 0; i < len(s) && len(list) < maxTokens; {
		c := s[i]
		switch {
		case c <= ' ':
			i++
		case c == '-' && after(s, i+1) == '-', c == '/' && after(s, i+1) == '*':
			end := pastAny(s, i, map[byte]string{'-': "\n", '/': "*/"}[c])
			comments = append(comments, sqlToken{kind: sqlText, start: i, end: end})
			i = end
		case c == '\'':
			end := quoteEnd(s, i, c)
			list = append(list, sqlToken{kind: sqlText, start: i + 1, end: end})
			i = end + 1
		case c == '"' || c == '`' || c == '[' && isAlpha(after(s, i+1)):
			close := c
			if c == '[' {
				close = ']'
			}
			end := quoteEnd(s, i, close)
			list = append(list, sqlToken{kind: sqlWord, start: i + 1, end: end, word: s[i+1 : end], double: c == '"'})
			i = end + 1
		case c == '$' && !isDigit(after(s, i+1)):
			end, inner := dollar(s, i)
			list = append(list, inner)
			i = end
		case c == '$' || c == '?' || c == ':' && isAlnum(after(s, i+1)) && before(s, i) != ':':
			n := span(s, i+1, maxName, token)
			list = append(list, sqlToken{kind: sqlParam, start: i, end: i + 1 + n})
			i += 1 + n
		case isDigit(c):
			n := span(s, i, len(s), alnum|dot)
			list = append(list, sqlToken{kind: sqlOther, start: i, end: i + n})
			i += n
		case isToken(c) && c != '-' || c >= 0x80:
			n := span(s, i, len(s), word|high)
			list = append(list, sqlToken{kind: sqlWord, start: i, end: i + n, word: s[i : i+n]})
			i += n
		default:
			list = append(list, sqlToken{kind: sqlSign, start: i, end: i + 1, word: s[i : i+1]})
			i++
		}
	}
	return list, comments
}

// quoteEnd returns the end of the text in quotes at i: a quote that is not doubled or escaped.
func quoteEnd(s string, i int, quote byte) int {
	for j := i + 1; j < len(s); j++ {
		switch s[j] {
		case '\\':
			j++
		case quote:
			if after(s, j+1) != quote {
				return j
			}
			j++
		}
	}
	return len(s)
}

// dollar parses $tag$…$tag$ (PostgreSQL, section 4.1.2.4), or a single sign.
func dollar(s string, i int) (int, sqlToken) {
	n := span(s, i+1, 64, word)
	if after(s, i+1+n) != '$' {
		return i + 1, sqlToken{kind: sqlSign, start: i, end: i + 1, word: "$"}
	}
	tag := s[i : i+n+2]
	start := i + len(tag)
	end := strings.Index(s[start:], tag)
	if end < 0 {
		return len(s), sqlToken{kind: sqlText, start: start, end: len(s)}
	}
	return start + end + len(tag), sqlToken{kind: sqlText, start: start, end: start + end}
}

func (tok sqlToken) isLiteral() bool {
	return tok.kind == sqlText || tok.kind == sqlOther || tok.kind == sqlParam
}
