package redact

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth is the depth up to which names are stored; below it only the last one counts.
const maxDepth = 256

// level is an open object or list.
type level struct {
	key    string // name of its member
	mask   bool   // everything below it is masked
	object bool

	name       string // value of its member "name", as in {"name": "X-Api-Key", "value": …}
	start, end int    // text of its member "value", if that came before the name
	line       string // the texts of a list, which may be the words of a command

	statement string   // of SQL; in a list, its first text
	items     []item   // of a list: values that may be parameters
	rows      [][]item // lists of parameters, which may come before their statement
}

// document is a JSON text during parsing. It may be incomplete or invalid: anything that is not a
// token of JSON is skipped as bare text.
type document struct {
	t     *task
	s     string
	depth int // nesting of this text
	edits []edit
	open  []level
	over  int // levels beyond maxDepth
	key   string
	path  []string

	odd    bool     // it has words that JSON does not have
	secret []string // names that are secret in this text
}

func (t *task) json(s string, depth int) string {
	d := document{t: t, s: s, depth: depth, secret: t.declared(s)}
	for i := 0; i < len(s); {
		switch c := s[i]; c {
		case ' ', '\t', '\r', '\n', ':':
			i++
		case ',':
			if n := len(d.open); n == 0 || d.open[n-1].object {
				d.key = ""
			}
			i++
		case '{', '[':
			d.push(c == '{')
			i++
		case '}', ']':
			d.pop()
			i++
		case '"':
			i = d.string(i)
		default:
			i = d.bare(i)
		}
	}
	for len(d.open) > 0 { // it is cut
		d.pop()
	}
	out := apply(s, tidy(d.edits))
	if d.odd { // a log line that begins with a bracket, for example
		return t.plain(out)
	}
	return out
}

// Objects whose members are secret regardless of their names.
var (
	secretKind = regexp.MustCompile(`"kind"\s*:\s*"Secret(?:List)?"`) // of Kubernetes
	variable   = regexp.MustCompile(`(\w+)\s*:\s*\$(\w+)`)            // of GraphQL: an argument and its variable
)

// declared returns the names that a document itself makes secret.
func (t *task) declared(s string) (names []string) {
	if strings.Contains(s, `"Secret`) && secretKind.MatchString(s) {
		names = append(names, "data", "stringData")
	}
	if strings.Contains(s, `"kty"`) { // a JSON Web Key, RFC 7518 section 6: its private members
		names = append(names, "d", "p", "q", "dp", "dq", "qi", "oth", "k")
	}
	if strings.Contains(s, `"authorization_code"`) { // of OAuth 2.0
		names = append(names, "code")
	}
	if strings.Contains(s, `"variables"`) && strings.Contains(s, `$`) {
		for _, m := range variable.FindAllStringSubmatch(s, -1) {
			if t.secret(nil, m[1]) {
				names = append(names, m[2])
			}
		}
	}
	return names
}

func (d *document) push(object bool) {
	if len(d.open) == maxDepth {
		d.over++
		return
	}
	l := level{key: d.key, mask: d.masked(), object: object}
	d.open = append(d.open, l)
	if object {
		if l.key != "" {
			d.path = append(d.path, l.key)
		}
		d.key = ""
	}
}

func (d *document) pop() {
	d.key = ""
	switch n := len(d.open); {
	case d.over > 0:
		d.over--
	case n > 0:
		l := d.open[n-1]
		d.open = d.open[:n-1]
		d.closed(&l)
		if l.object && l.key != "" {
			d.path = d.path[:len(d.path)-1]
		}
		if n > 1 && !d.open[n-2].object {
			d.key = d.open[n-2].key // the next element of the list
		}
	}
}

// masked reports whether the next value must be masked.
func (d *document) masked() bool {
	if n := len(d.open); n > 0 && d.open[n-1].mask {
		return true
	}
	return d.key != "" && (d.t.secret(d.path, d.key) || slices.Contains(d.secret, d.key)) || d.paired()
}

// harmless reports whether the value is no secret, although its name is that of one.
func (d *document) harmless(text string) bool {
	n := len(d.open)
	return d.over == 0 && (n == 0 || !d.open[n-1].mask) && d.t.harmless(d.key, text)
}

// paired reports whether the next value belongs to a pair with a secret name.
func (d *document) paired() bool {
	n := len(d.open)
	if n > 1 && d.over == 0 && !d.open[n-1].object && !d.open[n-2].object { // [["Authorization", "…"], …]
		name, rest, _ := strings.Cut(d.open[n-1].line, " ")
		return name != "" && rest == "" && d.secretPair(name)
	}
	if n == 0 || d.over > 0 || !d.open[n-1].object || d.open[n-1].name == "" {
		return false
	}
	switch d.key {
	case "value", "Value", "values", "val", "v":
		return d.secretPair(d.open[n-1].name)
	}
	return false
}

func (d *document) secretPair(name string) bool {
	return len(name) <= maxName && (d.t.p.SecretHeader(name) || d.t.secret(nil, name))
}

// pair stores the text of a name, or of a value that comes before its name.
func (d *document) pair(start, end int) {
	n := len(d.open)
	if n == 0 || d.over > 0 || !d.open[n-1].object {
		return
	}
	l := &d.open[n-1]
	switch d.key {
	case "name", "Name", "key", "Key", "header", "k", "n":
		l.name = d.s[start:end]
		if l.end > l.start && d.secretPair(l.name) {
			text := d.s[l.start:l.end]
			d.edits = slices.DeleteFunc(d.edits, func(e edit) bool { return e.start >= l.start && e.end <= l.end })
			d.edits = append(d.edits, edit{l.start, l.end, d.t.value(text)})
		}
	case "value", "Value", "val", "v":
		if l.name == "" {
			l.start, l.end = start, end
		}
	}
}

// string processes the string at i and returns its end.
func (d *document) string(i int) int {
	start, escaped := i+1, false
	end := start
	for {
		at := strings.IndexByte(d.s[end:], '"')
		if at < 0 {
			end = len(d.s) // cut
			escaped = escaped || strings.IndexByte(d.s[start:], '\\') >= 0
			break
		}
		at += end
		slashes := back(d.s[start:at], at-start, at-start, backslash)
		end = at
		if slashes%2 == 0 {
			escaped = escaped || strings.IndexByte(d.s[start:end], '\\') >= 0
			break
		}
		escaped, end = true, at+1
	}
	text := d.s[start:end]
	next := min(end+1, len(d.s))
	if colon := next + span(d.s, next, len(d.s), blank); after(d.s, colon) == ':' && (len(d.open) == 0 || d.open[len(d.open)-1].object) {
		d.key = text
		if escaped {
			d.key = unescape(text)
		}
		if n := len(d.open); n > 1 && d.t.index(d.open[n-1].key) && generated(text) {
			d.edits = append(d.edits, d.t.cover(d.s, start, end))
		}
		return colon + 1
	}
	d.pair(start, end)
	d.item(start, end, true)
	var out string
	switch {
	case d.masked() && !d.harmless(text), !escaped && d.key != "" && d.t.guess(d.path, d.key, text):
		out = d.t.value(text)
	case escaped:
		out = d.escaped(text)
	case len(text) > 8 && (strings.ContainsAny(text, "=:&'`") || strings.Contains(text, is)):
		out = d.t.inner(text)
	default:
		out = d.t.words(text)
	}
	if out == text {
		out = d.word(text)
	}
	if out != text {
		d.edits = append(d.edits, edit{start, end, out})
	}
	return next
}

// word masks a text of a list that is a password by the texts before it, as in ["redis-cli", "-a", "…"].
func (d *document) word(text string) string {
	n := len(d.open)
	if n == 0 || d.over > 0 || d.open[n-1].object || len(text) > maxCommand || d.t.p.scan.want&kCommand == 0 {
		return text
	}
	l := &d.open[n-1]
	line := l.line + text
	for m := commandScanner.open(line, 0); m.End > 0; m = commandScanner.open(line, m.End) {
		if at := max(0, m.Start-len(l.line)); m.End == len(line) && m.Start+1 >= len(l.line) {
			return text[:at] + d.t.value(text[at:])
		}
	}
	if l.line = line + " "; len(l.line) > maxCommand {
		l.line = l.line[len(l.line)-maxCommand:]
	}
	return text
}

// index reports whether an object below a name has secrets as its own names: the plural of a secret name.
func (t *task) index(name string) bool {
	one, plural := strings.CutSuffix(name, "s")
	return plural && !t.secret(nil, name) && t.secret(nil, one)
}

// delimits reports whether a byte ends a number or word.
func delimits(c byte) bool {
	switch c {
	case ' ', '\t', '\r', '\n', ',', ':', '{', '}', '[', ']', '"':
		return true
	}
	return false
}

// inner masks a string that may contain its own names: a URL, a log line, a command.
func (t *task) inner(s string) string {
	if isStatement(s) {
		return t.sql(s)
	}
	if strings.IndexByte(s, '=') >= 0 && (strings.IndexByte(s, '?') >= 0 || isForm(s)) {
		return t.form(s)
	}
	return t.plain(s)
}

// escaped masks a string with escapes: it searches the unescaped text, and rewrites the string if
// there is a match.
func (d *document) escaped(text string) string {
	plain := unescape(text)
	had := d.t.n
	out := d.t.text("", plain, d.depth+1)
	if d.t.n == had {
		return text
	}
	b, err := json.Marshal(out)
	if err != nil {
		return d.t.p.mask
	}
	return string(b[1 : len(b)-1])
}

// unescape decodes the escapes of a string; invalid or cut escapes stay as they are.
func unescape(text string) string {
	b := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c != '\\' || i+1 == len(text) {
			b = append(b, c)
			continue
		}
		i++
		switch c := text[i]; c {
		case 'n':
			b = append(b, '\n')
		case 't':
			b = append(b, '\t')
		case 'r':
			b = append(b, '\r')
		case 'b':
			b = append(b, '\b')
		case 'f':
			b = append(b, '\f')
		case '"', '\\', '/':
			b = append(b, c)
		case 'u':
			r, ok := hex4(text, i+1)
			if !ok {
				b = append(b, '\\', c)
				continue
			}
			i += 4
			if low, ok := hex4(text, i+3); ok && utf16.IsSurrogate(r) && text[i+1] == '\\' && text[i+2] == 'u' {
				if both := utf16.DecodeRune(r, low); both != utf8.RuneError {
					r = both
					i += 6
				}
			}
			b = utf8.AppendRune(b, r)
		default:
			b = append(b, '\\', c)
		}
	}
	return string(b)
}

// hex4 decodes the four hexadecimal digits at i.
func hex4(s string, i int) (rune, bool) {
	if i+4 > len(s) {
		return 0, false
	}
	n, err := strconv.ParseUint(s[i:i+4], 16, 16)
	return rune(n), err == nil
}

// bare processes a number, a word, or invalid text.
func (d *document) bare(i int) int {
	end := i
	for end < len(d.s) && !delimits(d.s[end]) {
		end++
	}
	if end == i {
		return i + 1
	}
	text := d.s[i:end]
	d.item(i, end, false)
	if text == "null" || text == d.t.p.mask {
		return end
	}
	d.odd = d.odd || text != "true" && text != "false" && !isDigit(text[0]) && text[0] != '-'
	if d.masked() && !d.harmless(text) {
		e := d.t.cover(d.s, i, end)
		e.with = `"` + e.with + `"`
		d.edits = append(d.edits, e)
		return end
	}
	if out := d.t.bareWord(text); out != text {
		d.edits = append(d.edits, edit{i, end, `"` + out + `"`})
	}
	return end
}

func (t *task) bareWord(s string) string {
	if len(s) < 9 {
		return s
	}
	if strings.IndexByte(s, '=') >= 0 {
		return t.plain(s)
	}
	return t.words(s)
}
