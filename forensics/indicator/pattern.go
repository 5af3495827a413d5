package indicator

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/internal/clip"
)

// maxNested is the highest number of parentheses within each other in a pattern.
const maxNested = 32

// found is what a part of a pattern of STIX (version 2.1, section 9) accepts: one of the values. A part that needs more than
// one value has none, because each value alone would accept what the pattern does not.
type found struct {
	values  []operand
	several bool // it needs more than one value
}

func (f found) why() error {
	if f.several {
		return errPattern
	}
	return errType
}

// operand is a value of a comparison.
type operand struct {
	kind Kind
	text string
	host bool   // an address or a domain
	port uint16 // a comparison of ports only, if text is empty
}

func (o operand) read() (value, error) {
	if o.host {
		v, err := read(Domain, o.text)
		if strings.Contains(o.text, "/") {
			v, err = read(Address, o.text)
		}
		v.port = o.port
		return v, err
	}
	v, err := read(o.kind, o.text)
	if o.port != 0 {
		v.port = o.port
	}
	return v, err
}

// pattern is a pattern while it is read.
type pattern struct {
	text  string
	at    int
	word  string // the next token; a text in quotes begins with '
	depth int
	err   error
}

// parsePattern reads a pattern. Its error says where the pattern is not one.
func parsePattern(text string) (found, error) {
	if len(text) > maxLine {
		return found{}, fmt.Errorf("more than %d bytes", maxLine)
	}
	p := &pattern{text: text}
	p.next()
	f := p.observations()
	if p.err == nil && p.word != "" {
		p.fail("the end, AND, OR or FOLLOWEDBY")
	}
	all := len(f.values)
	f.values = slices.DeleteFunc(f.values, func(o operand) bool { return o.text == "" })
	f.several = f.several || len(f.values) < all
	return f, p.err
}

func (p *pattern) fail(want string) {
	if p.err == nil {
		got := "the end"
		if p.word != "" {
			got = strconv.Quote(clip.Line([]byte(p.word), 40))
		}
		p.err = fmt.Errorf("expected %s, found %s before character %d", want, got, p.at+1)
	}
	p.word = ""
}

// next reads a token.
func (p *pattern) next() {
	for p.at < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.at]) >= 0 {
		p.at++
	}
	start := p.at
	p.word = ""
	if p.err != nil || start == len(p.text) {
		return
	}
	switch c := p.text[start]; {
	case c == '\'':
		p.word = "'" + p.quoted()
	case strings.IndexByte("[](),", c) >= 0:
		p.at++
		p.word = p.text[start:p.at]
	case strings.IndexByte("=!<>", c) >= 0:
		for p.at < len(p.text) && strings.IndexByte("=!<>", p.text[p.at]) >= 0 {
			p.at++
		}
		p.word = p.text[start:p.at]
	default:
		p.plain()
		p.word = p.text[start:p.at]
	}
}

// plain reads a word or a path, which may have quotes and brackets within, as in file:hashes.'SHA-256' or to_refs[*].value.
func (p *pattern) plain() {
	for p.at < len(p.text) {
		switch c := p.text[p.at]; {
		case c == '\'':
			p.quoted()
			if p.err != nil {
				return
			}
		case c == '[':
			end := strings.IndexByte(p.text[p.at:], ']')
			if end < 0 {
				p.err = errors.New("a bracket is not closed")
				return
			}
			p.at += end + 1
		case strings.IndexByte(" \t\r\n](),=!<>", c) >= 0:
			return
		default:
			p.at++
		}
	}
}

// quoted reads a text in quotes.
func (p *pattern) quoted() string {
	var b strings.Builder
	for i := p.at + 1; i < len(p.text); i++ {
		switch c := p.text[i]; {
		case c == '\\' && i+1 < len(p.text):
			i++
			b.WriteByte(p.text[i])
		case c == '\'':
			p.at = i + 1
			return b.String()
		default:
			b.WriteByte(c)
		}
	}
	p.err = errors.New("a quote is not closed")
	return ""
}

// take reads a token if it is this one.
func (p *pattern) take(word string) bool {
	if p.err != nil || p.word != word {
		return false
	}
	p.next()
	return true
}

func (p *pattern) need(word string) {
	if p.err == nil && !p.take(word) {
		p.fail(word)
	}
}

// observations reads observations joined by operators.
func (p *pattern) observations() found {
	f := p.observation()
	for p.err == nil {
		switch {
		case p.take("OR"):
			f = either(f, p.observation())
		case p.take("AND"), p.take("FOLLOWEDBY"):
			p.observation()
			f = found{several: true}
		default:
			return f
		}
	}
	return f
}

func (p *pattern) observation() found {
	var f found
	if p.depth++; p.depth > maxNested {
		p.err = fmt.Errorf("more than %d parentheses within each other", maxNested)
		return f
	}
	defer func() { p.depth-- }()
	switch {
	case p.take("("):
		f = p.observations()
		p.need(")")
	case p.take("["):
		f = p.alternatives()
		p.need("]")
	default:
		p.fail("[ or (")
	}
	for p.err == nil { // qualifiers
		switch {
		case p.take("REPEATS"), p.take("WITHIN"):
			p.next()
			if p.word != "TIMES" && p.word != "SECONDS" {
				p.fail("TIMES or SECONDS")
			}
			p.next()
			f = found{several: true}
		case p.take("START"):
			p.next()
			p.need("STOP")
			p.next()
			f = found{several: true}
		default:
			return f
		}
	}
	return f
}

// alternatives reads comparisons joined by OR.
func (p *pattern) alternatives() found {
	f := p.conjunction()
	for p.take("OR") {
		f = either(f, p.conjunction())
	}
	return f
}

// conjunction reads comparisons joined by AND.
func (p *pattern) conjunction() found {
	f := p.comparison()
	for p.take("AND") {
		f = both(f, p.comparison())
	}
	return f
}

// either is what one of two parts accepts.
func either(a, b found) found {
	return found{values: append(a.values[:len(a.values):len(a.values)], b.values...), several: a.several || b.several}
}

// both is what two parts accept together, if one value decides it: a hash says all about a file, and a port belongs to an
// address.
func both(a, b found) found {
	for _, f := range []found{a, b} {
		if len(f.values) == 1 && (f.values[0].kind == File || f.values[0].kind == Certificate) && !f.values[0].host {
			return f
		}
	}
	if len(a.values) == 1 && len(b.values) == 1 {
		x, y := a.values[0], b.values[0]
		if x.text == "" {
			x, y = y, x
		}
		if y.text == "" && x.port == 0 && (x.host || x.kind == Address) {
			x.port = y.port
			return found{values: []operand{x}}
		}
	}
	return found{several: true}
}

// comparison reads one comparison.
func (p *pattern) comparison() found {
	if p.depth++; p.depth > maxNested {
		p.err = fmt.Errorf("more than %d parentheses within each other", maxNested)
		return found{}
	}
	defer func() { p.depth-- }()
	if p.take("(") {
		f := p.alternatives()
		p.need(")")
		return f
	}
	if p.take("EXISTS") {
		p.next()
		return found{several: true}
	}
	path := p.word
	if !strings.Contains(path, ":") || path[0] == '\'' {
		p.fail("an object path such as domain-name:value")
		return found{}
	}
	p.next()
	not := p.take("NOT")
	operator := p.word
	p.next()
	var list []string
	switch operator {
	case "=", "!=", ">", "<", ">=", "<=", "ISSUBSET", "ISSUPERSET", "LIKE", "MATCHES":
		list = []string{p.literal()}
	case "IN":
		p.need("(")
		for p.err == nil {
			list = append(list, p.literal())
			if !p.take(",") {
				break
			}
		}
		p.need(")")
	default:
		p.fail("an operator such as =")
	}
	if p.err != nil || not || operator != "=" && operator != "IN" && operator != "ISSUBSET" {
		return found{}
	}
	var f found
	for _, text := range list {
		if o, ok := operandOf(path, text); ok {
			f.values = append(f.values, o)
		}
	}
	if len(f.values) < len(list) {
		return found{}
	}
	return f
}

// literal reads a constant.
func (p *pattern) literal() string {
	text := p.word
	if text == "" || strings.Contains("[](),=", text) {
		p.fail("a value")
		return ""
	}
	p.next()
	if rest, ok := strings.CutPrefix(text, "'"); ok {
		return rest
	}
	if len(text) > 2 && (text[0] == 't' || text[0] == 'h' || text[0] == 'b') && text[1] == '\'' {
		return text[2 : len(text)-1]
	}
	return text
}

// operandOf returns what a comparison with a value of an object means. It returns false if packets do not have it.
func operandOf(path, text string) (operand, bool) {
	object, property, _ := strings.Cut(strings.ToLower(path), ":")
	property = strings.ReplaceAll(property, "'", "")
	last := property[strings.LastIndexByte(property, '.')+1:]
	switch {
	case text == "":
		return operand{}, false
	case (object == "ipv4-addr" || object == "ipv6-addr") && property == "value":
		return operand{kind: Address, text: text}, true
	case object == "domain-name" && property == "value":
		return operand{kind: Domain, text: text, host: true}, true
	case object == "network-traffic" && (property == "dst_ref.value" || property == "src_ref.value"):
		return operand{kind: Address, text: text, host: true}, true
	case object == "network-traffic" && property == "dst_port":
		n, err := strconv.ParseUint(text, 10, 16)
		return operand{port: uint16(n)}, err == nil && n > 0
	case object == "url" && property == "value":
		return operand{kind: URL, text: text}, true
	case object == "email-addr" && property == "value", object == "email-message" && (property == "from_ref.value" || property == "sender_ref.value" || property == "to_refs[*].value"):
		return operand{kind: Mail, text: text}, true
	case (object == "file" || object == "artifact") && strings.HasPrefix(property, "hashes."):
		return operand{kind: File, text: text}, last == "md5" || last == "sha-1" || last == "sha-256" || last == "sha1" || last == "sha256"
	case object == "x509-certificate" && strings.HasPrefix(property, "hashes."):
		return operand{kind: Certificate, text: text}, last == "md5" || last == "sha-1" || last == "sha-256"
	case object == "network-traffic" && last == "user-agent":
		return operand{kind: UserAgent, text: text}, true
	case last == "ja3", last == "ja3s", last == "ja4", last == "hassh":
		k, ok := kindOf(last)
		return operand{kind: k, text: text}, ok
	}
	return operand{}, false
}
