package graphql

import (
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect/content"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Limits of a document.
const (
	maxNested    = 16  // inline fragments inside each other, at the top level
	maxFragments = 256 // fragments whose fields are looked up
	maxOps       = 256 // operations of a document
)

// operation is an operation of a document.
type operation struct {
	kind, name string
	fields     []string
	spreads    []string // fragments at the top level
}

// parse reads a document and returns the operation of that name, or the first. It reports whether
// the document is one of GraphQL: every definition up to its selection is read strictly. A
// document that is cut inside a selection is accepted.
func parse(document, name string) (op operation, ok bool) {
	s := scanner{text: document}
	fragments := map[string]*operation{}
	var ops []operation
	for s.next(); s.token != ""; s.next() {
		d, fragment, ok := s.definition()
		if !ok {
			return operation{}, false
		}
		switch {
		case fragment && len(fragments) < maxFragments:
			fragments[d.name] = &d
		case !fragment && len(ops) < maxOps:
			ops = append(ops, d)
		}
	}
	if len(ops) == 0 {
		return operation{}, false
	}
	op = ops[0]
	if i := slices.IndexFunc(ops, func(o operation) bool { return o.name == name }); i >= 0 && name != "" {
		op = ops[i]
	}
	seen := map[string]bool{}
	for queue := op.spreads; len(queue) > 0; queue = queue[1:] {
		f := fragments[queue[0]]
		if f == nil || seen[queue[0]] {
			continue
		}
		seen[queue[0]] = true
		for _, field := range f.fields {
			op.add(field)
		}
		queue = append(queue, f.spreads...)
	}
	op.name = clip.Text(op.name, 128)
	return op, true
}

// add adds a top-level field.
func (o *operation) add(field string) {
	if field = clip.Text(field, 128); len(o.fields) < content.MaxList && !slices.Contains(o.fields, field) {
		o.fields = append(o.fields, field)
	}
}

// scanner reads the tokens of a document, GraphQL specification section 2.1.
type scanner struct {
	text  string
	at    int
	token string // the current one, empty at the end
}

// next moves to the next token.
func (s *scanner) next() {
	for s.at < len(s.text) {
		switch c := s.text[s.at]; {
		case c == '#':
			if n := strings.IndexAny(s.text[s.at:], "\r\n"); n >= 0 {
				s.at += n
			} else {
				s.at = len(s.text)
			}
		case c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == ',':
			s.at++
		case strings.HasPrefix(s.text[s.at:], "\ufeff"):
			s.at += 3
		default:
			n := s.size()
			s.token = s.text[s.at : s.at+n]
			s.at += n
			return
		}
	}
	s.token = ""
}

// size is the length of the token at the position.
func (s *scanner) size() int {
	t := s.text[s.at:]
	switch c := t[0]; {
	case strings.HasPrefix(t, "..."):
		return 3
	case strings.HasPrefix(t, `"""`):
		for i := 3; ; {
			n := strings.Index(t[i:], `"""`)
			if n < 0 {
				return len(t)
			}
			if i += n + 3; t[i-4] != '\\' || i == 6 {
				return i
			}
		}
	case c == '"':
		for i := 1; i < len(t); i++ {
			switch t[i] {
			case '\\':
				i++
			case '"', '\n':
				return i + 1
			}
		}
		return len(t)
	case isWord(c):
		n := 1
		for n < len(t) && (isWord(t[n]) || t[n] == '.' && c <= '9') {
			n++
		}
		return n
	}
	return 1
}

// isWord reports whether c belongs to names and numbers.
func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '+'
}

// name reads a name; it is empty if the token is not one.
func (s *scanner) name() (name string) {
	if s.token == "" || !isWord(s.token[0]) || strings.IndexByte("0123456789-+", s.token[0]) >= 0 {
		return ""
	}
	name = s.token
	s.next()
	return name
}

// definition reads an operation or a fragment, up to its last token.
func (s *scanner) definition() (o operation, fragment, ok bool) {
	switch s.token {
	case "{":
		o.kind = "query"
	case "query", "mutation", "subscription":
		o.kind = s.token
		s.next()
		o.name = s.name()
		if s.token == "(" {
			s.group()
		}
	case "fragment":
		fragment = true
		s.next()
		o.name = s.name()
		if s.token != "on" || o.name == "" {
			return o, true, false
		}
		s.next()
		if s.name() == "" {
			return o, true, false
		}
	default:
		return o, false, false
	}
	s.directives()
	if s.token != "{" {
		return o, fragment, false
	}
	s.next()
	return o, fragment, s.selection(&o)
}

// group skips the tokens between brackets, up to the token after them.
func (s *scanner) group() {
	depth := 0
	for ; s.token != ""; s.next() {
		switch s.token {
		case "(", "[", "{":
			depth++
		case ")", "]", "}":
			if depth--; depth == 0 {
				s.next()
				return
			}
		}
	}
}

// directives skips directives.
func (s *scanner) directives() {
	for s.token == "@" {
		s.next()
		s.name()
		if s.token == "(" {
			s.group()
		}
	}
}

// selection reads the fields of a selection, up to its closing brace. It reports whether there is
// at least one, and nothing else.
func (s *scanner) selection(o *operation) bool {
	for depth := 1; s.token != ""; {
		switch s.token {
		case "}":
			if depth--; depth == 0 {
				return len(o.fields)+len(o.spreads) > 0
			}
			s.next()
			continue
		case "...":
			s.next()
			if s.token != "on" && s.token != "@" && s.token != "{" {
				name := s.name()
				if name == "" {
					return false
				}
				if len(o.spreads) < content.MaxList {
					o.spreads = append(o.spreads, name)
				}
				s.directives()
				continue
			}
			if s.token == "on" {
				s.next()
				s.name()
			}
			s.directives()
			if depth++; s.token != "{" || depth > maxNested {
				return false
			}
			s.next()
			continue
		}
		if !s.field(o) {
			return false
		}
	}
	return len(o.fields) > 0
}

// field reads one field with what belongs to it.
func (s *scanner) field(o *operation) bool {
	name := s.name()
	if s.token == ":" && name != "" {
		s.next()
		name = s.name()
	}
	if name == "" {
		return false
	}
	o.add(name)
	if s.token == "(" {
		s.group()
	}
	s.directives()
	if s.token == "{" {
		s.group()
	}
	return true
}
