package search

import (
	"bytes"
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/pcapsule/pcapsule/forensics/ask"
)

// Limits of what is looked for.
const (
	minText    = 2    // bytes; less is everywhere
	maxText    = 1000 // bytes
	maxPattern = 1000 // bytes
)

// Needle is what is looked for.
type Needle struct {
	forms []string // the text, and how it stands where it is escaped; empty for a pattern
	fold  bool     // letters' case does not count
	re    *regexp.Regexp
	test  string // RE2 that a hit must have besides; empty where forms are enough

	lower   []string // forms, without case where fold
	pattern string   // as it was given, where it was one
}

// NewNeedle reads what is to be found: text, at word's edges where whole, or a pattern.
func NewNeedle(text, pattern string, whole, fold bool) (*Needle, error) {
	n := &Needle{fold: fold}
	flags := "(?s)"
	if fold {
		flags = "(?si)"
	}
	switch {
	case text != "" && pattern != "":
		return nil, ask.Wrong("pattern", "not together with text")
	case pattern != "":
		if len(pattern) > maxPattern {
			return nil, ask.Wrong("pattern", "%d bytes, want at most %d", len(pattern), maxPattern)
		}
		re, err := regexp.Compile(flags + "(?:" + pattern + ")")
		if err != nil {
			return nil, ask.Wrong("pattern", "%v", err)
		}
		if re.MatchString("") {
			return nil, ask.Wrong("pattern", "it is found in every text")
		}
		n.re, n.test, n.pattern = re, re.String(), pattern
	case len(text) < minText || len(text) > maxText || !utf8.ValidString(text):
		return nil, ask.Wrong("text", "%d bytes, want %d to %d of UTF-8", len(text), minText, maxText)
	default:
		n.forms = forms(text)
		var list []string
		for _, f := range n.forms {
			list = append(list, regexp.QuoteMeta(f))
		}
		expr := "(?:" + strings.Join(list, "|") + ")"
		if whole {
			before, after := "", ""
			if first, _ := utf8.DecodeRuneInString(text); wordRune(first) {
				before = `(?:^|[^0-9A-Za-z_])`
			}
			if last, _ := utf8.DecodeLastRuneInString(text); wordRune(last) {
				after = `(?:$|[^0-9A-Za-z_])`
			}
			expr = before + expr + after
			n.test = flags + expr
		}
		n.re = regexp.MustCompile(flags + expr)
		for _, f := range n.forms {
			if fold {
				f = strings.ToLower(f)
			}
			n.lower = append(n.lower, f)
		}
	}
	return n, nil
}

func wordRune(r rune) bool {
	return r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}

// forms are the ways in which a text stands in traffic: as it is, in URLs and forms, and
// within JSON.
func forms(text string) []string {
	out := []string{text}
	add := func(s string) {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	add(url.QueryEscape(text))
	add(url.PathEscape(text))
	if q, err := json.Marshal(text); err == nil {
		add(string(q[1 : len(q)-1]))
	}
	return out
}

// in is the condition that a column holds the needle.
func (n *Needle) in(column string) (string, []any) {
	var cond []string
	var args []any
	if n.fold && n.re != nil && len(n.forms) > 0 {
		for _, f := range n.forms {
			cond, args = append(cond, "contains(lower("+column+"), ?)"), append(args, strings.ToLower(f))
		}
	} else {
		for _, f := range n.forms {
			cond, args = append(cond, "contains("+column+", ?)"), append(args, f)
		}
	}
	sql := strings.Join(cond, " OR ")
	switch {
	case n.test != "" && sql != "": // CASE looks at the pattern only where the text is there; AND would everywhere
		sql, args = "CASE WHEN "+sql+" THEN regexp_matches("+column+", ?) ELSE false END", append(args, "("+n.test+")")
	case n.test != "":
		sql, args = "regexp_matches("+column+", ?)", append(args, "("+n.test+")") // the group: else DuckDB makes LIKE of anchors
	}
	return "(" + sql + ")", args
}

// find is where a text holds the needle, or nil.
func (n *Needle) find(s string) []int { return n.re.FindStringIndex(s) }

// holds says that a text has the needle: what the condition of in says in SQL.
func (n *Needle) holds(text []byte) bool {
	if len(n.forms) > 0 {
		plain := text
		if n.fold {
			plain = bytes.ToLower(text)
		}
		if !slices.ContainsFunc(n.lower, func(f string) bool { return bytes.Contains(plain, []byte(f)) }) {
			return false
		}
	}
	return n.test == "" || n.re.Match(text)
}
