package postgresql

import "bytes"

// split returns the end of each statement of a simple query, after its semicolon. Statements
// without a word are joined to their neighbour. Semicolons in strings, quoted names, comments,
// parentheses and in the body of a function written in SQL do not end a statement. After most
// statements, the rest counts as one.
func split(b []byte, most int) (ends []int) {
	if i := bytes.IndexByte(b, ';'); i < 0 || len(bytes.TrimSpace(b[i:])) == 1 {
		return nil
	}
	s := splitter{b: b}
	for s.i < len(b) {
		c := b[s.i]
		switch {
		case c == ';':
			s.i++
			if s.paren > 0 || s.begin > 0 || !s.word {
				continue
			}
			ends = append(ends, s.i)
			if len(ends) == most {
				ends[most-1] = len(b)
				return ends
			}
			s = splitter{b: b, i: s.i}
		case c == '(':
			s.paren++
			s.i++
		case c == ')':
			s.paren = max(s.paren-1, 0)
			s.i++
		default:
			s.next(c)
		}
	}
	if s.word {
		ends = append(ends, len(b))
	} else if n := len(ends); n > 0 {
		ends[n-1] = len(b)
	}
	return ends
}

// splitter is a position in a query.
type splitter struct {
	b      []byte
	i      int
	paren  int  // open parentheses
	begin  int  // open BEGIN ATOMIC and CASE
	word   bool // the statement has begun
	create bool // its first word is CREATE
	body   bool // and it creates a function or procedure
	escape bool // the last word was E: the next string has backslash escapes
}

// next skips one token that begins with c.
func (s *splitter) next(c byte) {
	b := s.b
	escape := s.escape
	s.escape = false
	switch {
	case c <= ' ':
		s.i++
		return
	case c == '-' && s.peek() == '-':
		if n := bytes.IndexByte(b[s.i:], '\n'); n >= 0 {
			s.i += n + 1
		} else {
			s.i = len(b)
		}
		return
	case c == '/' && s.peek() == '*':
		s.comment()
		return
	}
	first := !s.word
	s.word = true
	switch {
	case c == '\'' || c == '"':
		s.quoted(c, escape)
	case c == '$':
		s.dollar()
	case isLetter(c):
		from := s.i
		for s.i < len(b) && (isLetter(b[s.i]) || b[s.i] >= '0' && b[s.i] <= '9' || b[s.i] == '$') {
			s.i++
		}
		s.keyword(b[from:s.i], first)
	default:
		s.i++
	}
}

func (s *splitter) peek() byte {
	if s.i+1 < len(s.b) {
		return s.b[s.i+1]
	}
	return 0
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' || c >= 0x80 }

func (s *splitter) keyword(w []byte, first bool) {
	switch {
	case len(w) == 1:
		s.escape = w[0]|0x20 == 'e'
	case first:
		s.create = bytes.EqualFold(w, []byte("create"))
	case s.create && (bytes.EqualFold(w, []byte("function")) || bytes.EqualFold(w, []byte("procedure"))):
		s.body = true
	case s.body && bytes.EqualFold(w, []byte("begin")), s.begin > 0 && bytes.EqualFold(w, []byte("case")):
		s.begin++
	case s.begin > 0 && bytes.EqualFold(w, []byte("end")):
		s.begin--
	}
}

// quoted skips a string or a quoted name.
func (s *splitter) quoted(q byte, escape bool) {
	for s.i++; s.i < len(s.b); s.i++ {
		switch {
		case s.b[s.i] == '\\' && escape:
			s.i++
		case s.b[s.i] == q:
			if s.peek() != q {
				s.i++
				return
			}
			s.i++
		}
	}
	s.i = min(s.i, len(s.b))
}

// dollar skips a dollar-quoted string, with or without a tag.
func (s *splitter) dollar() {
	b := s.b[s.i:]
	n := 1
	for n < len(b) && (isLetter(b[n]) || n > 1 && b[n] >= '0' && b[n] <= '9') {
		n++
	}
	if n == len(b) || b[n] != '$' {
		s.i++
		return
	}
	tag := b[:n+1]
	if end := bytes.Index(b[n+1:], tag); end >= 0 {
		s.i += n + 1 + end + len(tag)
	} else {
		s.i = len(s.b)
	}
}

// comment skips a comment; comments nest.
func (s *splitter) comment() {
	depth := 0
	for s.i < len(s.b) {
		switch {
		case s.b[s.i] == '/' && s.peek() == '*':
			depth++
			s.i += 2
		case s.b[s.i] == '*' && s.peek() == '/':
			depth--
			s.i += 2
			if depth == 0 {
				return
			}
		default:
			s.i++
		}
	}
}
