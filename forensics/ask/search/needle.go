package search

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode/utf8"
	"unsafe"

	"github.com/pcapsule/pcapsule/forensics/ask"
)

// Limits of a needle.
const (
	minText    = 2    // bytes; shorter texts are everywhere
	maxText    = 1000 // bytes
	maxPattern = 1000 // bytes
)

// maxSteps is the work, in instructions for each byte of a text, after which matching stops to see
// whether anyone still waits: a short pattern such as .{900}x|.{901}y has thousands of instructions.
const maxSteps = 1 << 26

// Needle is the text or pattern to find.
type Needle struct {
	ctx   context.Context // its end ends every search for the needle
	steps int             // instructions of re
	forms []string        // the text and its escaped forms; empty for a pattern
	fold  bool            // ignore case
	re    *regexp.Regexp
	test  string // RE2 that a match must also satisfy; empty if forms suffice

	lower   []string // forms, in lower case if fold
	pattern string   // the pattern of the input, if any
}

// NewNeedle makes a needle from a text or a pattern. With whole, a text must begin and end at
// word boundaries; fold ignores case. When ctx ends, nothing contains the needle: whoever searches
// must check ctx.
func NewNeedle(ctx context.Context, text, pattern string, whole, fold bool) (*Needle, error) {
	n := &Needle{ctx: ctx, fold: fold}
	flags := "(?s)"
	if fold {
		flags = "(?si)"
	}
	switch {
	case text == "" && pattern == "":
		return nil, ask.WrongOf("missing input: give text or pattern", "text", "pattern")
	case text != "" && pattern != "":
		return nil, ask.WrongOf("give text or pattern, not both", "text", "pattern")
	case pattern != "":
		if len(pattern) > maxPattern {
			return nil, ask.Wrong("pattern", "must be at most %d bytes, not %d", maxPattern, len(pattern))
		}
		re, err := regexp.Compile(flags + "(?:" + pattern + ")")
		var bad *syntax.Error
		if errors.As(err, &bad) { // its text has the flags before the pattern
			return nil, ask.Wrong("pattern", "%s in %q", bad.Code, ask.Clip(pattern, 60))
		} else if err != nil {
			return nil, ask.Wrong("pattern", "%v", err)
		}
		if re.MatchString("") {
			return nil, ask.Wrong("pattern", "matches every text")
		}
		n.re, n.test, n.pattern = re, re.String(), pattern
	case len(text) < minText || len(text) > maxText || !utf8.ValidString(text):
		return nil, ask.Wrong("text", "must be %d to %d bytes of UTF-8, not %d", minText, maxText, len(text))
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
	parsed, err := syntax.Parse(n.re.String(), syntax.Perl)
	if err != nil {
		return nil, err
	}
	prog, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return nil, err
	}
	n.steps = len(prog.Inst)
	return n, nil
}

func wordRune(r rune) bool {
	return r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}

// forms returns the forms of a text in traffic: as it is, escaped for URLs and HTML forms, and
// escaped for JSON.
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

// in returns the SQL condition that a column contains the needle.
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
	case n.test != "" && sql != "": // CASE evaluates the pattern only if the text is there; AND would always do so
		sql, args = "CASE WHEN "+sql+" THEN regexp_matches("+column+", ?) ELSE false END", append(args, "("+n.test+")")
	case n.test != "":
		sql, args = "regexp_matches("+column+", ?)", append(args, "("+n.test+")") // the group keeps DuckDB from turning anchors into LIKE
	}
	return "(" + sql + ")", args
}

// find returns the place of the needle in a text, or nil.
func (n *Needle) find(s string) []int {
	switch {
	case n.ctx.Err() != nil:
		return nil
	case len(s)*n.steps > maxSteps:
		return n.re.FindReaderIndex(&patient{ctx: n.ctx, text: s})
	}
	return n.re.FindStringIndex(s)
}

// patient reads a text until ctx ends.
type patient struct {
	ctx  context.Context
	text string
	at   int
}

func (p *patient) ReadRune() (rune, int, error) {
	if p.at == len(p.text) || p.ctx.Err() != nil {
		return 0, 0, io.EOF
	}
	r, size := utf8.DecodeRuneInString(p.text[p.at:])
	p.at += size
	return r, size, nil
}

// contains reports whether a text contains the needle, as the SQL condition of in does.
func (n *Needle) contains(text []byte) bool {
	if len(n.forms) > 0 {
		plain := text
		if n.fold {
			plain = bytes.ToLower(text)
		}
		if !slices.ContainsFunc(n.lower, func(f string) bool { return bytes.Contains(plain, []byte(f)) }) {
			return false
		}
	}
	switch {
	case n.test == "":
		return true
	case n.ctx.Err() != nil:
		return false
	case len(text)*n.steps > maxSteps:
		return n.re.MatchReader(&patient{ctx: n.ctx, text: unsafe.String(unsafe.SliceData(text), len(text))})
	}
	return n.re.Match(text)
}
