package redact

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"
)

// maxName is the longest name that is compared with the policy, in bytes.
const maxName = 256

// glob is a name with * for any text.
type glob string

func (g glob) match(s string) bool {
	head, rest, star := strings.Cut(string(g), "*")
	if !star {
		return s == head
	}
	if !strings.HasPrefix(s, head) {
		return false
	}
	s = s[len(head):]
	for {
		part, next, more := strings.Cut(rest, "*")
		if !more {
			return strings.HasSuffix(s, part)
		}
		at := strings.Index(s, part)
		if at < 0 {
			return false
		}
		s, rest = s[at+len(part):], next
	}
}

// names is a set of globs.
type names struct {
	exact map[string]bool
	globs []glob
}

func (n *names) add(pattern string) {
	if strings.Contains(pattern, "*") {
		n.globs = append(n.globs, glob(pattern))
		return
	}
	if n.exact == nil {
		n.exact = map[string]bool{}
	}
	n.exact[pattern] = true
}

func (n *names) has(name string) bool {
	if n.exact[name] {
		return true
	}
	for _, g := range n.globs {
		if g.match(name) {
			return true
		}
	}
	return false
}

// normal removes case, underscores, dashes and blanks from a key, so that api_key, apiKey and Api-Key
// are equal. Outside ASCII it also makes forms equal that Unicode calls compatible (NFKC).
func normal(key string) string {
	if len(key) > maxName {
		key = key[:maxName]
	}
	plain := true
	for i := range len(key) {
		if c := key[i]; c >= 0x80 {
			key, plain = strings.ToLower(norm.NFKC.String(key)), false
			break
		} else if isUpper(c) || c == '_' || c == '-' || c == ' ' {
			plain = false
		}
	}
	if plain {
		return key
	}
	b := make([]byte, 0, len(key))
	for i := range len(key) {
		switch c := key[i]; {
		case c == '_' || c == '-' || c == ' ':
		case isUpper(c):
			b = append(b, c|0x20)
		default:
			b = append(b, c)
		}
	}
	return string(b)
}

// keyPath is a pattern of several names that is matched against the end of a path.
type keyPath struct {
	parts  []glob
	rooted bool // it began with $: it must match the whole path
}

// keys are the patterns of a policy for the names of values.
type keys struct {
	last  names // patterns of one name
	paths []keyPath
}

// add adds a pattern: names separated by dots, with * inside names. A prefix "*." or "**." means
// anywhere, which is the default; a prefix "$." means that the path begins there.
func (k *keys) add(pattern string) error {
	text := strings.TrimSpace(pattern)
	for strings.HasPrefix(text, "*.") || strings.HasPrefix(text, "**.") {
		_, text, _ = strings.Cut(text, ".")
	}
	rooted := strings.HasPrefix(text, "$.")
	if rooted {
		text = text[2:]
	}
	var parts []glob
	for _, part := range strings.Split(text, ".") {
		n := normal(part)
		if n == "" {
			return fmt.Errorf("key %q: empty name", pattern)
		}
		parts = append(parts, glob(n))
	}
	switch {
	case len(parts) > 16 || len(text) > maxName:
		return fmt.Errorf("key %q: must have at most 16 names and %d bytes", pattern, maxName)
	case len(parts) == 1 && strings.Trim(string(parts[0]), "*") == "":
		return fmt.Errorf("key %q would mask everything", pattern)
	case len(parts) == 1 && !rooted:
		k.last.add(string(parts[0]))
	default:
		k.paths = append(k.paths, keyPath{parts: parts, rooted: rooted})
	}
	return nil
}

// least returns a necessary condition for every matching name in ASCII: a minimum length, and all letters of
// one of the sets.
func (k *keys) least() (size int, letters []uint32) {
	size = maxName + 1
	add := func(pattern string) {
		if !ascii(pattern) {
			return // it matches no name in ASCII, and the others are not checked
		}
		literal := strings.ReplaceAll(pattern, "*", "")
		size = min(size, len(literal))
		letters = append(letters, lettersOf(literal))
	}
	for name := range k.last.exact {
		add(name)
	}
	for _, g := range k.last.globs {
		add(string(g))
	}
	for i := range k.paths {
		add(string(k.paths[i].parts[len(k.paths[i].parts)-1]))
	}
	// A set that contains another says nothing more.
	slices.Sort(letters)
	letters = slices.Compact(letters)
	all := slices.Clone(letters)
	letters = slices.DeleteFunc(letters, func(set uint32) bool {
		return slices.ContainsFunc(all, func(less uint32) bool { return less != set && less&^set == 0 })
	})
	return max(size, 1), letters
}

// ascii reports whether a text has only ASCII.
func ascii(s string) bool { return first(s, 0, high) == len(s) }

// lettersOf returns the set of the letters of a text, ignoring case.
func lettersOf(s string) (set uint32) {
	for i := range len(s) {
		if c := s[i]; isAlpha(c) {
			set |= 1 << (c & 31)
		}
	}
	return set
}

// verdict is the decision for a name alone.
type verdict uint8

const (
	no verdict = iota
	yes
	depends // decided by the names before it
)

func (k *keys) judge(name string) verdict {
	n := normal(name)
	if k.last.has(n) {
		return yes
	}
	for i := range k.paths {
		p := &k.paths[i]
		if p.parts[len(p.parts)-1].match(n) {
			return depends
		}
	}
	return no
}

// secret reports whether the value at a path must be masked; name is the last element.
func (k *keys) secret(path []string, name string) bool {
	for i := range k.paths {
		p := &k.paths[i]
		before := len(p.parts) - 1
		if len(path) < before || p.rooted && len(path) != before || !p.parts[before].match(normal(name)) {
			continue
		}
		ok := true
		for j := range before {
			if !p.parts[j].match(normal(path[len(path)-before+j])) {
				ok = false
				break
			}
		}
		if ok {
			return true
		}
	}
	return false
}
