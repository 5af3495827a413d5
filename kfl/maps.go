package kfl

import (
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// The texts that int() and double() accept. The SQL uses the same patterns.
const (
	digitsPattern  = `^-?[0-9]{1,19}$`
	decimalPattern = `^-?[0-9]{1,300}(?:\.[0-9]{1,300})?(?:[eE][-+]?[0-9]{1,3})?$`
)

var (
	digits  = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(digitsPattern) })
	decimal = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(decimalPattern) })
)

// entries returns a map's names and values in order; ok is false if the map is absent.
func (m *matcher) entries(n *node) (out []Pair, ok bool) {
	if !m.cond(n.args[0]) {
		return nil, false
	}
	what, arg, _ := strings.Cut(n.str, ":")
	switch what {
	case "headers":
		for _, h := range m.row.Column("headers").heads {
			if h.Kind == arg {
				out = append(out, Pair{lowerASCII(h.Name), h.Value})
			}
		}
	case "labels":
		out = m.row.Column(arg).pairs
	case "query":
		for _, p := range strings.Split(m.value(n.args[1]).str, "&") {
			if p != "" {
				k, v, _ := strings.Cut(p, "=")
				out = append(out, Pair{unescapeURL(k), unescapeURL(v)})
			}
		}
	case "cookies":
		for _, p := range m.cookies(arg) {
			if p = trim(p); p != "" {
				k, v, _ := strings.Cut(p, "=")
				out = append(out, Pair{trim(k), trim(v)})
			}
		}
	}
	return out, true
}

// cookies returns the cookies of a side as name=value.
func (m *matcher) cookies(side string) (out []string) {
	for _, h := range m.row.Column("headers").heads {
		switch {
		case h.Kind != side:
		case side == "request" && lowerASCII(h.Name) == "cookie":
			out = append(out, strings.Split(h.Value, ";")...)
		case side == "response" && lowerASCII(h.Name) == "set-cookie":
			c, _, _ := strings.Cut(h.Value, ";")
			out = append(out, c)
		}
	}
	return out
}

func trim(s string) string { return strings.Trim(s, " \t") }

// unescapeURL decodes percent encoding. It keeps invalid escapes, and the whole text if the
// result would not be UTF-8.
func unescapeURL(s string) string {
	if !strings.ContainsAny(s, "%+") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '+':
			b.WriteByte(' ')
		case s[i] == '%' && i+2 < len(s) && hexDigit(s[i+1]) >= 0 && hexDigit(s[i+2]) >= 0:
			b.WriteByte(byte(hexDigit(s[i+1])<<4 | hexDigit(s[i+2])))
			i += 2
		default:
			b.WriteByte(s[i])
		}
	}
	if !utf8.ValidString(b.String()) {
		return s
	}
	return b.String()
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// foldsCase reports whether the keys of map n are case-insensitive.
func foldsCase(n *node) bool { return strings.HasPrefix(n.str, "headers:") }

// lookup returns the value of a key, with several values joined by commas. ok is false if the
// map or the key is absent.
func (m *matcher) lookup(n, key *node) (value string, found, ok bool) {
	k := m.value(key)
	if !k.there {
		return "", false, false
	}
	entries, ok := m.entries(n)
	if foldsCase(n) {
		k.str = lowerASCII(k.str)
	}
	var all []string
	for _, e := range entries {
		if e.Name == k.str {
			all = append(all, e.Value)
		}
	}
	return strings.Join(all, ", "), len(all) > 0, ok
}

func (m *matcher) lookupValue(n *node) Value {
	v, found, ok := m.lookup(n.args[0], n.args[1])
	switch {
	case !ok:
		return Value{}
	case !found && len(n.args) == 3:
		return m.value(n.args[2])
	}
	return Text(v)
}

// keys returns a map's keys, each once, in byte order.
func (m *matcher) keys(n *node) ([]string, bool) {
	entries, ok := m.entries(n)
	keys := make([]string, 0, len(entries))
	for _, e := range entries {
		keys = append(keys, e.Name)
	}
	slices.Sort(keys)
	return slices.Compact(keys), ok
}
