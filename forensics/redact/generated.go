package redact

import (
	"net/url"
	"strings"
)

// random reports whether a text looks generated: at least 16 letters and digits that change between digits, capitals and
// small letters more than once in four. Words with a number do not.
func random(text string) bool {
	of := token
	if strings.HasSuffix(text, "=") {
		of = base64s
	}
	if len(text) < leastStepToken || len(text) > 512 || span(text, 0, len(text), of) != len(text) {
		return false
	}
	const sorts = digit | upper | lower
	changes, have := 0, class(0)
	for i := range len(text) {
		c := classes[text[i]] & sorts
		if i > 0 && c != 0 && classes[text[i-1]]&sorts != 0 && c != classes[text[i-1]]&sorts {
			changes++
		}
		have |= c
	}
	if have&digit == 0 || have&alpha == 0 || changes*4 <= len(text) {
		return false
	}
	_, end, _ := nextRun(text, 0, len(text)) // base64 of a text, such as a key of etcd
	return end == 0
}

// guess reports whether the value at a path must be masked because both its name and its form speak for a secret.
func (t *task) guess(path []string, name, value string) bool {
	return random(value) && t.weak(path, name)
}

// weak reports whether a name at a path is one whose value is masked if it is random.
func (t *task) weak(path []string, name string) bool {
	if len(name) > maxName {
		return false
	}
	return t.p.generated.secret(path, name) || t.p.generated.last.has(normal(name)) && t.p.except.judge(name) != yes && !t.p.except.secret(path, name)
}

// guessParameter is guess for a parameter of a URL or a form, both of which may be escaped.
func (t *task) guessParameter(name, value string) bool {
	if len(value) < leastStepToken || len(value) > 3*512 {
		return false
	}
	if strings.IndexByte(value, '%') >= 0 {
		plain, err := url.PathUnescape(value)
		if err != nil {
			return false
		}
		value = plain
	}
	if !random(value) {
		return false
	}
	path := parameterPath(name)
	last := len(path) - 1
	return last >= 0 && t.weak(path[:last], path[last])
}

// guessAfter returns the value of a name with dots after the sign at i, perhaps in quotes, if guess masks it.
func (t *task) guessAfter(s, whole string, i int) (start, end int) {
	for start = i + 1; start < len(s) && start-i < 5 && isQuote(s[start]); start++ {
	}
	end = start + span(s, start, 513, base64s|token)
	if !random(s[start:end]) {
		return 0, 0
	}
	path := strings.Split(whole, ".")
	if last := len(path) - 1; !t.weak(path[:last], path[last]) {
		return 0, 0
	}
	return start, end
}
