package redact

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"html"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/pcapsule/pcapsule/exporter/table"
)

// Limits of the known secrets of a case.
const (
	maxKnown      = 4096 // values
	maxKnownValue = 4096 // bytes of a value; only the first bytes of a longer one are searched
	leastKnown    = 8    // minimum bytes of a value, and of each of its forms
)

// Collector collects the values that a policy masks, so that they can be masked wherever they appear
// without their names. It must be used by one goroutine only.
type Collector struct {
	p      *Policy
	values map[string]bool
}

// Collect returns an empty Collector.
func (p *Policy) Collect() *Collector { return &Collector{p: p, values: map[string]bool{}} }

// Text collects from a text, read as by Policy.Text.
func (c *Collector) Text(contentType, text string) {
	t := task{p: c.p, seen: c.seen}
	t.text(contentType, text, 0)
}

// Header collects from a header: each value of cookies, and the part of Authorization after the
// scheme.
func (c *Collector) Header(name, value string) {
	if !c.p.SecretHeader(name) {
		t := task{p: c.p, seen: c.seen}
		t.header(name, value)
		return
	}
	switch strings.ToLower(name) {
	case "authorization", "proxy-authorization":
		if scheme, rest, ok := strings.Cut(value, " "); ok && len(scheme) <= 20 {
			value = rest
			if strings.EqualFold(scheme, "basic") {
				c.basic(rest)
			}
		}
	case "cookie", "set-cookie":
		for i, part := range strings.Split(value, ";") {
			_, v, ok := strings.Cut(part, "=")
			if ok && (i == 0 || strings.EqualFold(name, "cookie")) {
				c.add(v)
			}
		}
		return
	}
	c.add(value)
}

// Pair collects a value whose key has the name of a secret, such as user:1:password.
func (c *Collector) Pair(key, value string) {
	if t := (&task{p: c.p}); t.secretWord(key) {
		c.add(value)
	}
}

// Reply collects from a reply of Redis to a command.
func (c *Collector) Reply(command, text string) {
	t := task{p: c.p, seen: c.seen}
	t.reply(command, text)
}

// Params collects from the parameters of a statement.
func (c *Collector) Params(statement string, list []string) {
	t := task{p: c.p, seen: c.seen}
	t.params(statement, list)
}

// Rows collects from tab-separated rows of COPY with these columns.
func (c *Collector) Rows(columns, text string) {
	t := task{p: c.p, seen: c.seen}
	t.table(text, strings.Split(columns, "\t"))
}

// basic adds the password of Basic credentials (RFC 7617).
func (c *Collector) basic(text string) {
	if plain, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text)); err == nil {
		if _, password, ok := strings.Cut(string(plain), ":"); ok {
			c.add(password)
		}
	}
}

// seen adds a value of any kind.
func (c *Collector) seen(_, v string) { c.add(v) }

// add adds a value, the part after a scheme as in Bearer …, and parts with a name as in sha256=… and
// t=1,v1=….
func (c *Collector) add(v string) {
	v = strings.Trim(strings.TrimSpace(v), `"'`)
	if scheme, rest, ok := strings.Cut(v, " "); ok && isScheme(strings.ToLower(scheme)) {
		v = strings.TrimSpace(rest)
	}
	c.keep(v)
	if len(v) > maxKnownValue || !strings.Contains(v, "=") {
		return
	}
	for part := range strings.FieldsFuncSeq(v, func(r rune) bool { return r == ',' || r == ';' || r == ' ' || r == '&' }) {
		if name, inner, ok := strings.Cut(part, "="); ok && !slices.Contains(cookieAttributes, strings.ToLower(name)) {
			c.keep(strings.Trim(inner, `"'`))
		}
	}
}

// cookieAttributes are the attributes of a cookie with a value (RFC 6265 section 5.2, and SameSite of its successor), none of
// which is secret.
var cookieAttributes = []string{"domain", "path", "expires", "max-age", "samesite"}

// keep adds a value unless it could be a word.
func (c *Collector) keep(v string) {
	if strings.Contains(v, "%") {
		if plain, err := url.QueryUnescape(v); err == nil {
			v = plain
		}
	}
	if len(v) > maxKnownValue {
		v = v[:maxKnownValue]
	}
	if len(v) < leastKnown || len(c.values) >= maxKnown || strings.Contains(v, c.p.mask) {
		return
	}
	letters, digits, others := 0, 0, 0
	for i := range len(v) {
		switch {
		case isDigit(v[i]):
			digits++
		case isAlpha(v[i]):
			letters++
		default:
			others++
		}
	}
	if digits == 0 && others == 0 && len(v) < 12 || ownWords()[v] { // a word
		return
	}
	c.values[v] = true
}

// ownWords are words of answers: an attacker who sends one as a password must not mask it everywhere.
var ownWords = sync.OnceValue(func() map[string]bool {
	own := map[string]bool{}
	for _, w := range table.Outcomes() {
		own[w] = true
	}
	for _, s := range table.All() {
		own[s.Name] = true
		for i := range s.Columns {
			own[s.Columns[i].Name] = true
		}
	}
	return own
})

// Known finds values in texts, including their forms in URLs, JSON, HTML, base64 and hexadecimal, in
// upper case, in lower case and reversed.
type Known struct {
	mask  string
	list  []string            // the values, in order
	forms map[uint64][]string // forms by their first 8 bytes, longest first
	first [1 << 13]byte       // one bit per hash of these
}

// Known returns the collected values; nil if there are none.
func (c *Collector) Known() *Known { return c.p.Known(slices.Sorted(maps.Keys(c.values))) }

// Values returns the values, for Policy.Known.
func (k *Known) Values() []string {
	if k == nil {
		return nil
	}
	return k.list
}

// Known finds values that were collected before; nil if there are none.
func (p *Policy) Known(values []string) *Known {
	if len(values) == 0 {
		return nil
	}
	k := &Known{mask: p.mask, list: values, forms: map[uint64][]string{}}
	for _, v := range values {
		for _, f := range forms(v) {
			k.form(f)
		}
	}
	for _, list := range k.forms {
		slices.SortFunc(list, func(a, b string) int { return len(b) - len(a) })
	}
	return k
}

func (k *Known) form(f string) {
	if len(f) < leastKnown {
		return
	}
	head := load8(f)
	if !slices.Contains(k.forms[head], f) {
		k.forms[head] = append(k.forms[head], f)
		h := knownHash(head)
		k.first[h>>3] |= 1 << (h & 7)
	}
}

func knownHash(head uint64) uint64 { return head * 0x9E3779B97F4A7C15 >> 48 }

// forms returns the ways to write a value.
func forms(v string) []string {
	quoted, _ := json.Marshal(v) // text always marshals
	escaped := string(quoted[1 : len(quoted)-1])
	back := []rune(v)
	slices.Reverse(back)
	bytesBack := []byte(v)
	slices.Reverse(bytesBack)
	list := []string{v, escaped, url.QueryEscape(v), url.PathEscape(v), html.EscapeString(v), strings.ToLower(v), strings.ToUpper(v), string(back),
		hex.EncodeToString([]byte(v)), strings.ToUpper(hex.EncodeToString([]byte(v))), hex.EncodeToString(bytesBack)}
	for _, sign := range []string{`\x`, `\\x`, `\u00`, `\\u00`, "%"} { // every byte escaped
		var upper, lower strings.Builder
		for i := range len(v) {
			digits := hex.EncodeToString([]byte{v[i]})
			upper.WriteString(sign + strings.ToUpper(digits))
			lower.WriteString(sign + digits)
		}
		list = append(list, upper.String(), lower.String())
	}
	list = append(list, lowerEscapes(url.QueryEscape(v)), lowerEscapes(url.PathEscape(v)))
	for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for shift := range 3 { // the alignment in base64 depends on the preceding bytes
			text := enc.EncodeToString([]byte("\x00\x00"[:shift] + v))
			from := []int{0, 2, 3}[shift]
			to := len(text)
			if (shift+len(v))%3 != 0 {
				to-- // shared with the following byte
			}
			if to-from >= leastKnown {
				list = append(list, text[from:to])
			}
		}
	}
	return list
}

// lowerEscapes writes the digits of percent escapes in lower case.
func lowerEscapes(s string) string {
	parts := strings.Split(s, "%")
	for i := 1; i < len(parts); i++ {
		parts[i] = strings.ToLower(parts[i][:2]) + parts[i][2:]
	}
	return strings.Join(parts, "%")
}

// Mask masks every known value in a text. Nil masks nothing.
func (k *Known) Mask(text string) string {
	if k == nil || len(text) < leastKnown {
		return text
	}
	var edits []edit
	for i := 0; i+leastKnown <= len(text); {
		head := load8(text[i:])
		if h := knownHash(head); k.first[h>>3]&(1<<(h&7)) == 0 {
			i++
			continue
		}
		if n := k.at(head, text[i:]); n > 0 {
			edits = append(edits, edit{i, i + n, k.mask})
			i += n
		} else {
			i++
		}
	}
	return apply(text, edits)
}

// at returns the length of the known value at the beginning of a text.
func (k *Known) at(head uint64, text string) int {
	for _, f := range k.forms[head] {
		if strings.HasPrefix(text, f) {
			return len(f)
		}
	}
	return 0
}
