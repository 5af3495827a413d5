package redact

import (
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
	if more := slices.Concat(t.netrc(s), t.told(s), t.yaml(s)); len(more) > 0 {
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
	if classes[before(s, j-n)]&high != 0 { // a name such as пароль; but not a sign before a name
		if whole := back(s, j, maxName, named|high); n == 0 || t.judge(s[j-whole:j]) != no && t.judge(s[j-n:j]) == no {
			n = whole
		}
	}
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
		if t.code {
			return edit{}, i + 1
		}
		if start, end := t.guessAfter(s, whole, i); end > start {
			return t.cover(s, start, end), end
		}
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
	schemed := false
	if word := strings.ToLower(s[start:end]); end > start && end-start <= 12 && after(s, end) == ' ' && isScheme(word) {
		start, end = literal(s, end+1)
		schemed = true
	}
	if (header || normal(name) == "cookie" || normal(name) == "setcookie") && (schemed || !t.harmless(name, s[start:end])) {
		if nl := strings.IndexAny(s[start:], "\r\n\""); nl >= 0 {
			end = max(end, start+nl)
		} else {
			end = len(s)
		}
	}
	if end <= start || strings.HasPrefix(s[start:], t.p.mask) {
		return edit{}, i + 1
	}
	if !schemed && t.harmless(name, s[start:end]) {
		return edit{}, end
	}
	if s[start] == '[' && s[i] == ':' && !t.code { // a list of YAML in one line
		if close := strings.IndexAny(s[start+1:], "]\n"); close > 0 && s[start+1+close] == ']' {
			start, end = start+1, start+1+close
			if strings.HasPrefix(s[start:], t.p.mask) {
				return edit{}, end
			}
		}
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
