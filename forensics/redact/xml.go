package redact

import (
	"html"
	"strings"
)

// xml masks the text of elements and the values of attributes with secret names, and searches the
// rest. It parses tags only, so the document may be cut or invalid.
func (t *task) xml(s string, depth int) string {
	var edits []edit
	var open []string // local names
	masked := 0       // number of open elements from the first secret one on, or 0
	paired := false   // the next element is the value of a secret name, as in <key>password</key><string>…</string>
	replace := func(start, end int) {
		text := strings.TrimSpace(s[start:end])
		if text == "" || text == t.p.mask {
			return
		}
		t.n++
		t.report(byName, text)
		edits = append(edits, edit{start, end, t.p.mask})
	}
	// between masks text between tags, which is a text of its own.
	between := func(start, end int) {
		switch text := s[start:end]; {
		case masked == 1 && len(open) > 0 && t.secret(open[:len(open)-1], open[len(open)-1]) && t.harmless(open[len(open)-1], text):
		case masked > 0, len(open) > 0 && t.guess(open[:len(open)-1], open[len(open)-1], strings.TrimSpace(text)):
			replace(start, end)
		case strings.ContainsAny(text, "=:<&"):
			code, plain := t.code, html.UnescapeString(text)
			if out := t.text("", plain, depth+1); out != plain {
				if plain != text {
					out = html.EscapeString(out)
				}
				edits = append(edits, edit{start, end, out})
			}
			t.code = code
		}
	}
	for i := 0; i < len(s); {
		lt := strings.IndexByte(s[i:], '<')
		if lt < 0 {
			lt = len(s) - i
		}
		between(i, i+lt)
		if i += lt; i >= len(s) {
			break
		}
		switch {
		case strings.HasPrefix(s[i:], "<!--"):
			end := pastAny(s, i, "-->")
			between(min(i+4, end), max(min(i+4, end), end-3))
			i = end
		case strings.HasPrefix(s[i:], "<![CDATA["):
			end := pastAny(s, i, "]]>")
			between(min(i+9, end), max(min(i+9, end), end-3))
			i = end
		case after(s, i+1) == '?' || after(s, i+1) == '!':
			i = pastAny(s, i, ">")
		case after(s, i+1) == '/':
			if n := len(open); n > 0 {
				name := open[n-1]
				open = open[:n-1]
				masked = max(0, masked-1)
				paired = masked == 0 && isNameElement(name) && t.secret(nil, strings.TrimSpace(s[i-lt:i]))
			}
			i = pastAny(s, i, ">")
		default:
			name, field, list, end, closed := t.tag(s, i, open)
			edits = append(edits, list...)
			if !closed && name != "" && len(open) < maxDepth {
				if masked > 0 || paired || t.secret(open, name) || isNamed(name) && t.secret(nil, field) {
					masked++
				}
				open = append(open, name)
			}
			paired = false
			i = end
		}
	}
	return apply(s, t.hits(s, edits))
}

// isNameElement reports whether an element names the value in the element that follows.
func isNameElement(name string) bool {
	return strings.EqualFold(name, "key") || strings.EqualFold(name, "name")
}

// isNamed reports whether an attribute names the text of the element, as in <entry key="password">…</entry>. In a form of
// HTML, it names the element or its attribute value.
func isNamed(element string) bool {
	switch strings.ToLower(element) {
	case "form", "input", "select", "button", "iframe", "a", "map", "meta", "param", "object":
		return false
	}
	return true
}

func pastAny(s string, i int, end string) int {
	if at := strings.Index(s[i:], end); at >= 0 {
		return i + at + len(end)
	}
	return len(s)
}

// tag parses the tag at i. Field is what its attribute name or key says.
func (t *task) tag(s string, i int, open []string) (name, field string, edits []edit, end int, closed bool) {
	local := func(n string) string { return n[strings.LastIndexByte(n, ':')+1:] }
	n := span(s, i+1, maxName, xmlName)
	name = local(s[i+1 : i+1+n])
	i += 1 + n
	value, valueEnd := 0, 0 // of <input name="…" value="…">
	typed := false          // its type is password
	defer func() {
		if valueEnd > value && s[value:valueEnd] != t.p.mask && (typed || t.secret(nil, field)) {
			edits = tidy(append(edits, t.cover(s, value, valueEnd)))
		}
	}()
	for i < len(s) && s[i] != '>' && s[i] != '<' {
		if s[i] == '/' && after(s, i+1) == '>' {
			return name, field, edits, i + 2, true
		}
		n := span(s, i, maxName, xmlName)
		if n == 0 {
			i++
			continue
		}
		attr := local(s[i : i+n])
		i += n
		if after(s, i) != '=' {
			continue
		}
		start, ends := i+2, string(after(s, i+1))
		if ends != `"` && ends != "'" { // HTML needs no quotes
			start, ends = i+1, " \t\r\n>"
		}
		end := strings.IndexAny(s[start:], ends)
		if end < 0 {
			end = len(s) - start
		}
		end += start
		switch strings.ToLower(attr) {
		case "name", "key":
			field = s[start:end]
		case "type":
			typed = strings.EqualFold(s[start:end], "password") && t.passwords()
		case "value", "content": // of input and meta
			value, valueEnd = start, end
		}
		if end > start && s[start:end] != t.p.mask && (t.judge(attr) != no && t.secret(append(open[:len(open):len(open)], name), attr) || t.guess(nil, attr, s[start:end])) && !t.harmless(attr, s[start:end]) {
			edits = append(edits, t.cover(s, start, end))
		}
		if i = end; after(s, i) != '>' {
			i = min(end+1, len(s))
		}
	}
	if after(s, i) == '>' {
		i++
	}
	return name, field, edits, i, false
}
