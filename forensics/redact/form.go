package redact

import (
	"mime"
	"net/url"
	"strings"
)

// form masks a URL query, a whole URL, or a form.
func (t *task) form(s string) string {
	if t.calmForm(s) {
		return s
	}
	return t.parameters(s)
}

// calmForm is a quick check whether parameters would change nothing: the whole form, raw and
// unescaped, has no match, and no name is secret. An ampersand ends a match for every detector, so a
// single parameter has no match either.
func (t *task) calmForm(s string) bool {
	if !t.calm(s) {
		return false
	}
	reads, ok := t.calmNames(s)
	return ok && (len(reads) == 0 || t.calm(string(reads)))
}

// calm reports whether a text has no matches of detectors or patterns, and no base64.
func (t *task) calm(s string) bool {
	for i := range t.p.patterns {
		if q := &t.p.patterns[i]; q.need == "" || strings.Contains(s, q.need) {
			return false
		}
	}
	if _, end, _ := nextRun(s, 0, len(s)); end > 0 && t.depth < maxWithin {
		return false
	}
	return t.p.scan.want == 0 || t.p.scan.open(s, 0).End == 0
}

// calmNames reports whether no parameter of a form has a secret name, and returns the unescaped text of
// the parameters that encoded would unescape.
func (t *task) calmNames(s string) (reads []byte, ok bool) {
	begin, escaped := 0, byte(0) // start of the parameter; % or + in it
	start, odd := 0, false       // start of a name; it has more than one part
	name, value := "", 0         // the name before the value that begins there
	for i := 0; i <= len(s); i++ {
		c := byte('&')
		if i < len(s) {
			if c = s[i]; !formSigns[c] {
				continue
			}
		}
		if value > 0 && (c == '&' || c == '?' || c == '#' || c == ';') {
			if t.guessParameter(name, s[value:i]) {
				return nil, false
			}
			value = 0
		}
		switch c {
		case '&':
			if part := s[begin:i]; escaped != 0 && len(part) > 8 && (escaped != '+' || strings.ContainsAny(part, "0123456789")) {
				if hasParameters(part) {
					return nil, false
				}
				reads = append(unquote(reads, part), '&')
			}
			begin, escaped, start, odd = i+1, 0, i+1, false
		case '?', '#', ';':
			start, odd = i+1, false
		case '[', '.':
			odd = true
		case '%':
			escaped, odd = c, true
		case '{':
			escaped = c
		case '+':
			if escaped == 0 {
				escaped = c
			}
		case '=':
			if start < 0 {
				continue
			}
			name, value = s[start:i], i+1
			if odd && t.secretParameter(name) || !odd && t.judge(name) != no && t.secret(nil, name) {
				return nil, false
			}
			start = -1
		}
	}
	return reads, true
}

// hasParameters reports whether the value of a parameter with escapes may itself have parameters.
func hasParameters(part string) bool {
	return strings.Count(part, "=") > 1 || strings.Contains(part, "%7B") || strings.Contains(part, "%7b") || strings.IndexByte(part, '{') >= 0 || strings.Contains(part, "%3D") || strings.Contains(part, "%3d") || strings.Contains(part, "%25")
}

// formSigns are the bytes that calmNames checks.
var formSigns = [256]bool{'&': true, '?': true, '#': true, ';': true, '%': true, '+': true, '[': true, '.': true, '=': true, '{': true}

// unquote appends an unescaped parameter; invalid escapes stay.
func unquote(to []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '+' {
			c = ' '
		} else if c == '%' && i+2 < len(s) {
			if n, ok := hex2(s[i+1], s[i+2]); ok {
				c = n
				i += 2
			}
		}
		to = append(to, c)
	}
	return to
}

// hex2 decodes two hexadecimal digits.
func hex2(high, low byte) (byte, bool) {
	const digits = "0123456789abcdef"
	a, b := strings.IndexByte(digits, high|0x20), strings.IndexByte(digits, low|0x20)
	return byte(a<<4 | b), a >= 0 && b >= 0
}

// parameters masks the parameters of a form one by one.
func (t *task) parameters(s string) string {
	s = t.grants(s)
	var edits []edit
	for start := 0; start <= len(s); {
		end := strings.IndexByte(s[start:], '&')
		if end < 0 {
			end = len(s) - start
		}
		end += start
		if out := t.parameter(s[start:end]); out != s[start:end] {
			edits = append(edits, edit{start, end, out})
		}
		start = end + 1
	}
	return apply(s, edits)
}

var grantScanner = newScanner(kGrant)

// grants masks authorization codes, which only the other parameters reveal.
func (t *task) grants(s string) string {
	if t.p.scan.want&kGrant == 0 {
		return s
	}
	var edits []edit
	for m := grantScanner.open(s, 0); m.End > 0; m = grantScanner.open(s, m.End) {
		if code := s[m.Start:m.End]; code != t.p.mask {
			t.n++
			t.report(m.Kind, code)
			edits = append(edits, edit{m.Start, m.End, t.p.mask})
		}
	}
	return apply(s, edits)
}

// parameter masks one name with its value; the name begins after the last ?, # or ;.
func (t *task) parameter(part string) string {
	start := 0
	for {
		eq := strings.IndexByte(part[start:], '=')
		if eq < 0 {
			return t.encoded(part)
		}
		eq += start
		head := part[start:eq]
		if cut := strings.LastIndexAny(head, "?#;"); cut >= 0 {
			head = head[cut+1:]
		}
		// A value may contain further names: a URL in a URL, or fields with semicolons.
		next := strings.IndexAny(part[eq+1:], "?#;")
		if t.secretParameter(head) && (next >= 0 || !t.harmlessParameter(head, part[eq+1:])) {
			return t.encoded(part[:eq+1]) + t.value(part[eq+1:])
		}
		end := len(part)
		if next >= 0 {
			end = eq + 1 + next
		}
		if value := part[eq+1 : end]; t.guessParameter(head, value) {
			e := t.cover(part, eq+1, end)
			return t.encoded(part[:eq+1]) + e.with + t.parameter(part[end:])
		}
		if next < 0 {
			return t.encoded(part)
		}
		start = eq + 1 + next
	}
}

// secretPath reports whether the value at a path of names must be masked.
func (t *task) secretPath(path []string) bool {
	last := len(path) - 1
	return last >= 0 && t.secret(path[:last], path[last])
}

// secretParameter reports whether a parameter's value must be masked.
func (t *task) secretParameter(name string) bool {
	if !strings.ContainsAny(name, "%[.") {
		return t.secret(nil, name)
	}
	return t.secretPath(parameterPath(name))
}

// harmlessParameter is harmless for a parameter.
func (t *task) harmlessParameter(name, value string) bool {
	if len(value) > 4*maxWord {
		return false
	}
	if plain, err := url.QueryUnescape(value); err == nil {
		value = plain
	}
	path := parameterPath(name)
	return len(path) > 0 && t.harmless(path[len(path)-1], value)
}

// parameterPath splits user[card][number] or user.card.number into names.
func parameterPath(name string) []string {
	if len(name) > 4*maxName {
		name = name[:4*maxName]
	}
	if strings.IndexByte(name, '%') >= 0 {
		if plain, err := url.QueryUnescape(name); err == nil {
			name = plain
		}
	}
	if !strings.ContainsAny(name, "[.") {
		return []string{name}
	}
	return strings.FieldsFunc(name, func(r rune) bool { return r == '[' || r == ']' || r == '.' })
}

// encoded searches URL-escaped text: first raw, and if there is no match, unescaped.
func (t *task) encoded(s string) string {
	had := t.n
	if out := t.words(s); t.n > had || len(s) < 9 || !strings.ContainsAny(s, "%+{") {
		return out
	}
	// Without an escape only blanks are hidden: in groups of digits, and between a word and a
	// token, which also has digits.
	if !strings.ContainsAny(s, "%{0123456789") {
		return s
	}
	name, value, ok := strings.Cut(s, "=")
	if !ok {
		name, value = "", s
	}
	plain, err := url.QueryUnescape(value)
	if err != nil {
		return s
	}
	out := t.unescaped(plain)
	if t.n == had && ok { // a detector may need the name
		if head, err := url.QueryUnescape(name); err == nil {
			_, out, _ = strings.Cut(t.words(head+"="+plain), "=")
		}
	}
	if t.n == had {
		return s
	}
	out = strings.ReplaceAll(url.QueryEscape(out), url.QueryEscape(t.p.mask), t.p.mask)
	if ok {
		return name + "=" + out
	}
	return out
}

// unescaped masks an unescaped value, such as a URL with parameters, which may be escaped again.
func (t *task) unescaped(s string) string {
	if strings.IndexByte(s, '{') >= 0 { // JSON, GraphQL
		return t.text("", s, maxNested)
	}
	if !strings.ContainsAny(s, "=%") || t.escapes >= maxEscapes {
		return t.words(s)
	}
	t.escapes++
	defer func() { t.escapes-- }()
	return t.parameters(s)
}

// multipart masks the parts of a form whose names are secret and searches the others.
func (t *task) multipart(contentType, s string, depth int) string {
	boundary := ""
	if _, params, err := mime.ParseMediaType(contentType); err == nil && params["boundary"] != "" {
		boundary = "--" + params["boundary"]
	} else {
		boundary, _, _ = strings.Cut(s, "\n")
		boundary = strings.TrimRight(boundary, "\r")
	}
	if len(boundary) < 3 || !strings.HasPrefix(boundary, "--") {
		return t.plain(s)
	}
	parts := strings.Split(s, boundary)
	for i, part := range parts {
		head, body, ok := strings.Cut(part, "\r\n\r\n")
		gap := "\r\n\r\n"
		if !ok {
			if head, body, ok = strings.Cut(part, "\n\n"); !ok {
				continue
			}
			gap = "\n\n"
		}
		name, kind := partHead(head)
		end := len(strings.TrimRight(body, "\r\n"))
		if t.secretParameter(name) || t.guessParameter(name, body[:end]) {
			parts[i] = t.plain(head) + gap + t.value(body[:end]) + body[end:]
		} else {
			parts[i] = t.plain(head) + gap + t.text(kind, body[:end], depth+1) + body[end:]
		}
	}
	return strings.Join(parts, boundary)
}

// partHead returns the name and the content type in the head of a part.
func partHead(head string) (name, kind string) {
	for line := range strings.SplitSeq(head, "\n") {
		switch {
		case hasFold(line, "content-disposition:"):
			if at := strings.Index(line, " name="); at >= 0 {
				start, end := literal(line, at+6)
				name = line[start:end]
			}
		case hasFold(line, "content-type:"):
			kind = strings.TrimSpace(line[len("content-type:"):])
		}
	}
	return name, kind
}
