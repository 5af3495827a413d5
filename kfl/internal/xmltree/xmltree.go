// Package xmltree reads XML 1.0 into a tree of names and texts, for filters on bodies.
//
// It accepts only well-formed documents within its limits, and refuses document types, so that no
// document can define entities.
package xmltree

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits of XML; a text that exceeds them does not count as XML.
const (
	MaxBytes = 1 << 20 // the size of a part of a body
	MaxDepth = 100     // nested elements
	MaxAttrs = 256     // of one element
)

// Node is an element, an attribute, or the whole document, whose only child is the root
// element.
type Node struct {
	doc      *document
	Name     string // without its prefix
	from, to int    // of the text inside, in doc.text
	Attrs    []*Node
	Kids     []*Node
}

// document is the data that the nodes of one document share.
type document struct{ text string }

// Text returns the text in n, without leading and trailing white space.
func (n *Node) Text() string { return strings.Trim(n.doc.text[n.from:n.to], " \t\r\n") }

// reader reads well-formed XML 1.0 without a document type. It keeps the open elements in a
// list, so that nesting costs no stack.
type reader struct {
	s    string
	i    int
	text []byte
	doc  *document
	open []*Node
	raw  []string // names of the open elements as written
	slab []Node
}

// node returns a new node; it allocates many at once.
func (r *reader) node(doc *document, name string) *Node {
	if len(r.slab) == 0 {
		r.slab = make([]Node, 32)
	}
	n := &r.slab[0]
	r.slab = r.slab[1:]
	n.doc, n.Name = doc, name
	return n
}

// Parse parses s. It refuses document types, and thus custom entities.
//
// LIMIT: a declared encoding is ignored, because bodies stored as text are always UTF-8.
func Parse(s string) (*Node, bool) {
	if len(s) > MaxBytes || !allChars(s) {
		return nil, false
	}
	r := &reader{s: strings.TrimPrefix(s, "\ufeff"), doc: &document{}}
	top := &Node{doc: r.doc}
	r.open, r.raw = []*Node{top}, []string{""}
	if strings.HasPrefix(r.s, "<?xml") && !r.instruction() {
		return nil, false
	}
	for r.i < len(r.s) {
		if !r.next() {
			return nil, false
		}
	}
	top.to = len(r.text)
	r.doc.text = string(r.text)
	return top, len(r.open) == 1 && len(top.Kids) == 1
}

// allChars reports whether s is UTF-8 without characters that XML 1.0, section 2.2, forbids.
func allChars(s string) bool {
	for i := range len(s) {
		if c := s[i]; c >= 0x80 || c < ' ' && !isChar(rune(c)) {
			return utf8.ValidString(s[i:]) && !strings.ContainsFunc(s[i:], func(c rune) bool { return !isChar(c) })
		}
	}
	return true
}

func isChar(c rune) bool {
	return c >= ' ' && c < 0xd800 || c == '\t' || c == '\n' || c == '\r' || c >= 0xe000 && c <= 0x10ffff && c != 0xfffe && c != 0xffff
}

// next reads a tag, text, or another item at i.
func (r *reader) next() bool {
	rest := r.s[r.i:]
	switch {
	case rest[0] != '<':
		end := strings.IndexByte(rest, '<')
		if end < 0 {
			end = len(rest)
		}
		r.i += end
		return r.chars(rest[:end])
	case strings.HasPrefix(rest, "<!--"):
		inside, ok := r.until(4, "--")
		return ok && r.accept(">") && !strings.HasSuffix(inside, "-")
	case strings.HasPrefix(rest, "<![CDATA["):
		inside, ok := r.until(9, "]]>")
		r.add(inside)
		return ok && len(r.open) > 1
	case rest[1:] == "" || rest[1] == '!':
		return false
	case rest[1] == '?':
		return !strings.HasPrefix(strings.ToLower(rest), "<?xml") && r.instruction()
	case rest[1] == '/':
		r.i += 2
		return r.end()
	}
	r.i++
	return r.start()
}

// until reads skip bytes, everything up to mark, and mark.
func (r *reader) until(skip int, mark string) (inside string, ok bool) {
	inside, _, ok = strings.Cut(r.s[r.i+skip:], mark)
	r.i += skip + len(inside) + len(mark)
	return inside, ok
}

func (r *reader) accept(s string) bool {
	if r.i > len(r.s) || !strings.HasPrefix(r.s[r.i:], s) {
		return false
	}
	r.i += len(s)
	return true
}

func (r *reader) instruction() bool {
	r.i += 2
	if _, ok := r.name(); !ok {
		return false
	}
	if r.accept("?>") {
		return true
	}
	if !r.space() {
		return false
	}
	_, ok := r.until(0, "?>")
	return ok
}

// space skips white space and reports whether there was any.
func (r *reader) space() bool {
	at := r.i
	for r.i < len(r.s) && strings.IndexByte(" \t\r\n", r.s[r.i]) >= 0 {
		r.i++
	}
	return r.i > at
}

// add keeps text and normalizes line ends (section 2.11).
func (r *reader) add(s string) {
	if strings.Contains(s, "\r") {
		s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
	}
	r.text = append(r.text, s...)
}

// chars reads text between tags.
func (r *reader) chars(s string) bool {
	if len(r.open) == 1 {
		return strings.Trim(s, " \t\r\n") == ""
	}
	return !strings.Contains(s, "]]>") && r.refs(s)
}

// refs keeps text with its references resolved. Only the predefined entities exist
// (section 4.6).
func (r *reader) refs(s string) bool {
	for {
		plain, rest, more := strings.Cut(s, "&")
		if r.add(plain); !more {
			return true
		}
		ref, after, ok := strings.Cut(rest, ";")
		if !ok {
			return false
		}
		i := slices.Index([]string{"lt", "gt", "amp", "apos", "quot"}, ref)
		switch {
		case i >= 0:
			r.text = append(r.text, `<>&'"`[i])
		case strings.HasPrefix(ref, "#"):
			c, ok := charRef(ref[1:])
			if !ok {
				return false
			}
			r.text = utf8.AppendRune(r.text, c)
		default:
			return false
		}
		s = after
	}
}

func charRef(digits string) (rune, bool) {
	base := 10
	if hex, ok := strings.CutPrefix(digits, "x"); ok {
		digits, base = hex, 16
	}
	n, err := strconv.ParseUint(digits, base, 21)
	return rune(n), err == nil && digits[0] != '+' && isChar(rune(n))
}

// name reads a name.
func (r *reader) name() (string, bool) {
	at := r.i
	for r.i < len(r.s) && isName(rune(r.s[r.i]), r.i == at) && r.s[r.i] < 0x80 {
		r.i++
	}
	for _, c := range r.s[r.i:] {
		if !isName(c, r.i == at) {
			break
		}
		r.i += utf8.RuneLen(c)
	}
	name := r.s[at:r.i]
	return name, name != "" && strings.Count(name, ":") <= 1
}

// isName reports whether c may be in a name, or begin one (section 2.3).
func isName(c rune, first bool) bool {
	switch {
	case c|0x20 >= 'a' && c|0x20 <= 'z', c == '_', c == ':':
		return true
	case c < 0x80, c == 0xb7, c >= 0x300 && c <= 0x36f, c == 0x203f, c == 0x2040:
		return !first && (c >= '0' && c <= '9' || c == '-' || c == '.' || c >= 0x80)
	}
	return c >= 0xc0 && c != 0xd7 && c != 0xf7 && c != 0x37e && c <= 0x1fff || c == 0x200c || c == 0x200d || c >= 0x2070 && c <= 0x218f ||
		c >= 0x2c00 && c <= 0x2fef || c >= 0x3001 && c <= 0xd7ff || c >= 0xf900 && c <= 0xfdcf || c >= 0xfdf0 && c <= 0xfffd || c >= 0x10000 && c <= 0xeffff
}

// Local returns a name without its prefix.
func Local(name string) string {
	if prefix, rest, ok := strings.Cut(name, ":"); ok && prefix != "" && rest != "" {
		return rest
	}
	return name
}

// start reads a start tag after its bracket.
func (r *reader) start() bool {
	name, ok := r.name()
	parent := r.open[len(r.open)-1]
	if !ok || len(r.open) > MaxDepth || len(r.open) == 1 && len(parent.Kids) > 0 {
		return false
	}
	n := r.node(r.doc, Local(name))
	var names []string
	closed := false
	for {
		space := r.space()
		if closed = r.accept("/>"); closed || r.accept(">") {
			break
		}
		if !space || len(names) >= MaxAttrs {
			return false
		}
		attr, ok := r.attribute(n)
		if !ok || slices.Contains(names, attr) {
			return false
		}
		names = append(names, attr)
	}
	n.from = len(r.text)
	n.to = n.from
	parent.Kids = append(parent.Kids, n)
	if !closed {
		r.open, r.raw = append(r.open, n), append(r.raw, name)
	}
	return true
}

// attribute reads an attribute of n; it does not keep declarations of prefixes.
func (r *reader) attribute(n *Node) (name string, ok bool) {
	if name, ok = r.name(); !ok {
		return "", false
	}
	r.space()
	if !r.accept("=") {
		return "", false
	}
	r.space()
	quote := `"`
	if !r.accept(quote) {
		if quote = "'"; !r.accept(quote) {
			return "", false
		}
	}
	value, ok := r.until(0, quote)
	if !ok || strings.Contains(value, "<") {
		return "", false
	}
	from := len(r.text)
	if !r.refs(value) {
		return "", false
	}
	own := &document{text: string(r.text[from:])}
	r.text = r.text[:from]
	if name != "xmlns" && !strings.HasPrefix(name, "xmlns:") {
		a := r.node(own, "@"+Local(name))
		a.to = len(own.text)
		n.Attrs = append(n.Attrs, a)
	}
	return name, true
}

func (r *reader) end() bool {
	name, ok := r.name()
	r.space()
	last := len(r.open) - 1
	if !ok || !r.accept(">") || last == 0 || r.raw[last] != name {
		return false
	}
	r.open[last].to = len(r.text)
	r.open, r.raw = r.open[:last], r.raw[:last]
	return true
}

// Children returns the child elements with a name or, with an @, the attributes; * is any element.
func (n *Node) Children(name string) (out []*Node) {
	among := n.Kids
	if strings.HasPrefix(name, "@") {
		among = n.Attrs
	}
	for _, x := range among {
		if x.Name == name || name == "*" {
			out = append(out, x)
		}
	}
	return out
}

// Deep returns the elements of a name anywhere in n, in document order.
func (n *Node) Deep(name string) (out []*Node) {
	todo := []*Node{n}
	for len(todo) > 0 {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if at.Name == name {
			out = append(out, at)
		}
		for _, kid := range slices.Backward(at.Kids) {
			todo = append(todo, kid)
		}
	}
	return out
}
