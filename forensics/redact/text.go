package redact

import (
	"mime"
	"net/url"
	"slices"
	"strings"
)

// plain masks values after secret names, as in password=… or "token": "…", and matches of detectors.
func (t *task) plain(s string) string {
	return apply(s, together(t.printable(s), t.hits(s, t.assignments(s))))
}

// duplicate is the beginning of an error of MySQL.
const duplicate = "Duplicate entry '"

// assignments returns the edits for values after secret names.
func (t *task) assignments(s string) (edits []edit) {
	if _, rest, ok := strings.Cut(s, duplicate); ok { // of MySQL, whose key has the name
		value, key, _ := strings.Cut(rest, "' for key '")
		key, _, ok = strings.Cut(key, "'")
		if start := len(s) - len(rest); ok && t.secretPath(strings.Split(key, ".")) {
			edits = append(edits, t.cover(s, start, start+len(value)))
		}
	}
	for i := first(s, 0, equals|colon|quoteMark); i < len(s); i = first(s, i, equals|colon|quoteMark) {
		at := i // of the sign between name and value
		if classes[s[i]] == quoteMark {
			if t.identified(s, i) {
				if start, end := literal(s, i); end > start && !strings.HasPrefix(s[start:], t.p.mask) {
					edits, i = append(edits, t.cover(s, start, end)), end
				}
				i++
				continue
			}
			if !t.sentence(s, i) {
				i++
				continue
			}
			at--
		}
		e, next := t.assignment(s, at, len(edits) > 0 && edits[len(edits)-1].end > at)
		if e.end > e.start {
			edits = append(edits, e)
		}
		i = max(next, i+1)
	}
	if more := append(t.netrc(s), t.told(s)...); len(more) > 0 {
		edits = tidy(append(edits, more...))
	}
	return edits
}

// is and gave stand between a name and its value in a sentence.
const (
	is   = " is "
	gave = ": "
)

// given are the words between a name of several words and gave, as in: invalid API key provided: ….
var given = []string{" provided", " given", " supplied", " received", " sent", " used"}

// leastTold is the length of the shortest value that a sentence gives without a sign before it.
const leastTold = 8

// told returns the edits for values in sentences, as in: your API key is …. A value has letters and digits.
func (t *task) told(s string) (edits []edit) {
	for at := 0; ; {
		i, past := strings.Index(s[at:], is), len(is)
		if j := strings.Index(s[at:], gave); j >= 0 && (i < 0 || j < i) {
			i, past = j, len(gave)
		}
		if i < 0 {
			return edits
		}
		i, at = at+i, at+i+past
		name := s[:i]
		for _, w := range given {
			if past == len(gave) && strings.HasSuffix(name, w) {
				name = strings.TrimSuffix(name, w)
				break
			}
		}
		n := back(name, len(name), maxName, named)
		if n == 0 || t.judge(name[len(name)-n:]) != yes && t.judge(lastWords(name)) != yes {
			continue
		}
		start, end := literal(s, at)
		value := strings.TrimRight(s[start:end], ".!?:")
		if len(value) >= leastTold && span(value, 0, len(value), token|dot|tilde|slash) == len(value) && strings.ContainsAny(value, "0123456789") && strings.IndexFunc(value, func(r rune) bool { return isAlpha(byte(r)) }) >= 0 {
			edits = append(edits, t.cover(s, start, start+len(value)))
			at = end
		}
	}
}

// lastWords returns the last two words of a text, as in API key.
func lastWords(s string) string {
	last := strings.LastIndexByte(s, ' ')
	if last < 0 {
		return s
	}
	return s[strings.LastIndexAny(s[:last], " .,:;\n\"'(")+1:]
}

// netrc returns the edits for passwords of curl and ftp: machine HOST login USER password VALUE.
func (t *task) netrc(s string) (edits []edit) {
	const login, password = "login ", "password "
	for at := 0; t.passwords(); {
		i := strings.Index(s[at:], login)
		if i < 0 {
			break
		}
		at += i + len(login)
		at += len(s[at:]) - len(strings.TrimLeft(s[at:], " \t"))
		for at < len(s) && !isBlank(s[at]) { // the user
			at++
		}
		for at < len(s) && isBlank(s[at]) {
			at++
		}
		if !strings.HasPrefix(s[at:], password) {
			continue
		}
		if start, end := literal(s, at+len(password)); end > start && !strings.HasPrefix(s[start:], t.p.mask) {
			edits = append(edits, t.cover(s, start, end))
			at = end
		}
	}
	return edits
}

// sentence reports whether the quote at i follows a secret name and a blank, as in password "…".
func (t *task) sentence(s string, i int) bool {
	if before(s, i) != ' ' {
		return false
	}
	n := back(s, i-1, maxName, word)
	return n > 0 && t.judge(s[i-1-n:i-1]) == yes
}

// maxIdentified is the length of a text that ends as in IDENTIFIED WITH plugin AS.
const maxIdentified = 100

// identified reports whether a text before i begins a statement about a login: IDENTIFIED BY, or IDENTIFIED WITH or VIA
// a plugin BY, AS or USING, and perhaps the function PASSWORD.
func (t *task) identified(s string, i int) bool {
	head := strings.TrimRight(s[max(0, i-maxIdentified):i], " \t\r\n(")
	if cut := len(head) - len("password"); cut > 0 && strings.EqualFold(head[cut:], "password") {
		head = strings.TrimRight(head[:cut], " \t\r\n")
	}
	last := head[len(head)-back(head, len(head), maxName, word):]
	if !strings.EqualFold(last, "by") && !strings.EqualFold(last, "as") && !strings.EqualFold(last, "using") {
		return false
	}
	f := strings.Fields(head)
	n := len(f)
	if n >= 2 && strings.EqualFold(f[n-2], "identified") {
		return t.passwords()
	}
	return n >= 4 && strings.EqualFold(f[n-4], "identified") && (strings.EqualFold(f[n-3], "with") || strings.EqualFold(f[n-3], "via")) && t.passwords()
}

// assignment returns the edit for the value after the equals sign or colon at i if its name is
// secret, and where to continue.
func (t *task) assignment(s string, i int, inside bool) (edit, int) {
	if inside || s[i] == ':' && (after(s, i+1) == '/' || after(s, i+1) == ':' || before(s, i) == ':') {
		return edit{}, i + 1
	}
	if s[i] == '=' && before(s, i) == ')' && after(s, i+1) == '(' {
		return t.tuple(s, i)
	}
	j := i // end of the name
	for j > 0 && i-j < 4 && (isQuote(s[j-1]) || s[j-1] == ']' || s[j-1] == ' ') {
		j--
	}
	n := back(s, j, maxName, named)
	if n == 2 && s[j-2:j] == "is" && isBlank(before(s, j-2)) { // password is: …
		j -= 3
		n = back(s, j, maxName, named)
	}
	if n == 0 {
		return edit{}, i + 1
	}
	user := s[i] == ':' && (strings.HasSuffix(s[:j-n], " -u ") || strings.HasSuffix(s[:j-n], "--user ")) && t.passwords() // of curl
	whole := s[j-n : j]
	if whole[0] == '.' || whole[0] == '-' || whole[n-1] == '.' || whole[n-1] == '-' {
		whole = strings.Trim(whole, ".-")
	}
	name := whole[strings.LastIndexByte(whole, '.')+1:]
	header := s[i] == ':' && strings.IndexByte(name, '-') > 0 && isAlpha(name[0]) && t.p.SecretHeader(name)
	if !header && !user && (t.judge(name) == no || !t.secretPath(strings.Split(whole, "."))) {
		return edit{}, i + 1
	}
	v := i + 1
	for v < len(s) && (s[v] == '=' || s[v] == '>') && v-i < 3 { // ==, =>
		v++
	}
	for v < len(s) && (s[v] == ' ' || s[v] == '\t') {
		v++
	}
	if c := after(s, v); t.code && !isQuote(c) && c != '\\' && !(isQuote(before(s, i)) && (isDigit(c) || c == '-')) { // JSONP has numbers
		return edit{}, i + 1
	}
	start, end := literal(s, v)
	if block, to := blockText(s, j-n, v); to > block {
		start, end = block, to
	}
	if word := strings.ToLower(s[start:end]); end > start && end-start <= 12 && after(s, end) == ' ' && isScheme(word) {
		start, end = literal(s, end+1)
	}
	if header || normal(name) == "cookie" || normal(name) == "setcookie" {
		if nl := strings.IndexAny(s[start:], "\r\n\""); nl >= 0 {
			end = max(end, start+nl)
		} else {
			end = len(s)
		}
	}
	if end <= start || strings.HasPrefix(s[start:], t.p.mask) {
		return edit{}, i + 1
	}
	return t.cover(s, start, end), end
}

// tuple returns the edit for the values in (name, …)=(value, …), with the equals sign at i, as in errors of
// PostgreSQL, if a name is secret. A value may contain any sign, so all values of the line are masked.
func (t *task) tuple(s string, i int) (edit, int) {
	from := max(0, i-4*maxName)
	open := strings.LastIndexByte(s[from:i], '(')
	end, _, _ := strings.Cut(s[i+2:], "\n")
	last := strings.LastIndexByte(end, ')')
	if open < 0 || last <= 0 || !slices.ContainsFunc(strings.Split(s[from+open+1:i-1], ","), func(name string) bool {
		return t.secret(nil, strings.Trim(name, ` "`))
	}) {
		return edit{}, i + 1
	}
	return t.cover(s, i+2, i+2+last), i + 2 + last
}

// blockText returns the lines of a text of YAML, whose | or > is at i and whose name begins at start:
// those below that are indented more.
func blockText(s string, start, i int) (from, to int) {
	if c := after(s, i); c != '|' && c != '>' {
		return 0, 0
	}
	head, rest, _ := strings.Cut(s[i+1:], "\n")
	if strings.Trim(head, "+-0123456789 \r") != "" {
		return 0, 0
	}
	margin := start - 1 - strings.LastIndexByte(s[:start], '\n')
	at := i + 1 + len(head) + 1
	for line := range strings.SplitSeq(rest, "\n") {
		text := strings.TrimLeft(line, " ")
		if text != "" && len(line)-len(text) <= margin {
			break
		}
		if text = strings.TrimRight(text, " \r"); text != "" {
			if from == 0 {
				from = at + len(line) - len(strings.TrimLeft(line, " "))
			}
			to = at + len(strings.TrimRight(line, " \r"))
		}
		at += len(line) + 1
	}
	return from, to
}

func isScheme(word string) bool {
	switch word {
	case "bearer", "basic", "digest", "negotiate", "token", "apikey", "hmac":
		return true
	}
	return false
}

// literal returns a value in quotes, or up to a blank or a bracket.
func literal(s string, i int) (start, end int) {
	for i < len(s) && s[i] == '\\' {
		i++
	}
	if q := after(s, i); q == '"' || q == '\'' || q == '`' {
		if quotes := strings.Repeat(string(q), 3); strings.HasPrefix(s[i:], quotes) { // of TOML and Python
			return i + 3, max(i+3, pastAny(s, i+3, quotes)-3)
		}
		if after(s, i+1) == q && isToken(after(s, i+2)) { // inside other quotes, which double them, as in SQL and CSV
			if n := strings.IndexAny(s[i+2:], "\n"+string(q)); n >= 0 && after(s, i+2+n) == q && after(s, i+3+n) == q {
				return i + 2, i + 2 + n
			}
		}
		for j := i + 1; j < len(s); j++ {
			switch {
			case s[j] == '\\' && after(s, j+1) == q && j > i+1 && before(s, i) == '\\': // \"value\"
				return i + 1, j
			case s[j] == '\\':
				j++
			case s[j] == q:
				return i + 1, j
			case s[j] == '\n':
				return i + 1, j
			}
		}
		return i + 1, len(s)
	}
	end = i
	for end < len(s) && strings.IndexByte(" \t\r\n,;&)}]\"'<>|", s[end]) < 0 {
		end++
	}
	if end > i && s[end-1] == '(' && isQuote(after(s, end)) { // the arguments of a function
		if close := strings.IndexAny(s[end:], ")\n"); close >= 0 {
			end += close
		} else {
			end = len(s)
		}
	}
	return i, end
}

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
	for i := 0; i <= len(s); i++ {
		c := byte('&')
		if i < len(s) {
			if c = s[i]; !formSigns[c] {
				continue
			}
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
			if name := s[start:i]; odd && t.secretParameter(name) || !odd && t.judge(name) != no && t.secret(nil, name) {
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
		if t.secretParameter(head) {
			return t.encoded(part[:eq+1]) + t.value(part[eq+1:])
		}
		// A value may contain further names: a URL in a URL, or fields with semicolons.
		next := strings.IndexAny(part[eq+1:], "?#;")
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
		if t.secretParameter(name) {
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
