package kfl

import (
	"sort"
	"strings"

	"github.com/pcapsule/pcapsule/kfl/internal/parse"
)

// Candidate is one completion at a position in a query.
type Candidate struct {
	Text  string `json:"text"`           // replaces the text from Start to End
	Kind  string `json:"kind"`           // field, word, macro, column, function, method, operator or value
	Type  string `json:"type,omitempty"` // of a field
	Doc   string `json:"doc,omitempty"`
	Start int    `json:"start"` // byte offsets in the source
	End   int    `json:"end"`
}

const maxCandidates = 4000 // more than there are names, so that none is missing before the first letter

// Complete returns the completions at byte pos of src. It ignores the text after pos.
func Complete(src string, pos int) []Candidate { return CompleteIn(src, pos, Env{}) }

// CompleteIn is Complete with the macros, columns and findings of env.
func CompleteIn(src string, pos int, env Env) []Candidate {
	pos = min(max(pos, 0), len(src))
	if pos > parse.MaxSource {
		return nil
	}
	toks, open := parse.Tokens(src[:pos])
	if open {
		return completeText(src[:pos], toks, env)
	}
	word, start := lastWord(toks, pos)
	var out []Candidate
	add := func(c Candidate, match string) {
		if strings.HasPrefix(c.Text, match) && len(out) < maxCandidates {
			c.Start, c.End = start, pos
			out = append(out, c)
		}
	}
	before := toks
	for len(before) > 0 && before[len(before)-1].End > start {
		before = before[:len(before)-1]
	}
	if endsOperand(before) {
		for _, op := range []string{"==", "!=", "<", "<=", ">", ">=", "&&", "||", "in", "contains", "startsWith", "endsWith", "matches", "and", "or"} {
			add(Candidate{Text: op, Kind: "operator"}, word)
		}
		return out
	}
	// A word that ends with a dot may be a field before a method.
	if i := strings.LastIndexByte(word, '.'); i >= 0 {
		if f := names().byName[word[:i]]; f != nil {
			for _, m := range sortedKeys(methods) {
				if methodOf(m, f.typ) {
					add(Candidate{Text: word[:i+1] + m, Kind: "method", Doc: methods[m]}, word)
				}
			}
		}
	}
	seen := map[string]bool{}
	for _, m := range sortedKeys(env.Macros) {
		seen[m] = true
		add(Candidate{Text: m, Kind: "macro", Doc: parse.Clip(env.Macros[m])}, word)
	}
	for _, f := range names().fields {
		kind := "field"
		if f.kind == srcExpr && f.typ.kind == kBool && len(f.scope) == 0 {
			kind = "word"
		}
		for i, n := range append([]string{f.name}, f.aliases...) {
			if (i == 0 || word != "") && !seen[n] {
				seen[n] = true
				add(Candidate{Text: n, Kind: kind, Type: f.typ.String(), Doc: f.doc}, word)
			}
		}
	}
	for _, n := range sortedKeys(functions) {
		add(Candidate{Text: n, Kind: "function", Doc: functions[n]}, word)
	}
	if word != "" {
		for _, columns := range []map[string]string{env.Columns, env.Absent} {
			for _, col := range sortedKeys(columns) {
				if t, ok := columnType(columns[col]); ok && !seen[col] {
					add(Candidate{Text: col, Kind: "column", Type: t.String()}, word)
				}
			}
		}
	}
	return out
}

// lastWord returns the dotted name that ends at pos.
func lastWord(toks []parse.Token, pos int) (string, int) {
	start, word := pos, ""
	for i := len(toks) - 1; i >= 0; i-- {
		t := toks[i]
		if t.End != start || t.Kind != parse.TokenIdent && !(t.Kind == parse.TokenOp && t.Text == ".") {
			break
		}
		start, word = t.Pos, t.Text+word
	}
	return word, start
}

// endsOperand reports whether an operator must follow these tokens.
func endsOperand(toks []parse.Token) bool {
	if len(toks) == 0 {
		return false
	}
	switch t := toks[len(toks)-1]; t.Kind {
	case parse.TokenOp:
		return t.Text == ")" || t.Text == "]" || t.Text == "}"
	case parse.TokenIdent:
		for _, w := range parse.InfixWords {
			if strings.EqualFold(w, t.Text) {
				return false
			}
		}
	}
	return true
}

// completeText completes values in unclosed text: protocols after protocol ==, findings after
// finding ==.
func completeText(src string, toks []parse.Token, env Env) []Candidate {
	text := toks[len(toks)-1]
	name, _ := lastWord(toks[:max(len(toks)-2, 0)], tokEndAt(toks, 3))
	f := names().byName[name]
	typed := strings.ToLower(strings.TrimLeft(src[text.Pos:], `"'`))
	var out []Candidate
	if f != nil && f.kind == srcFindings && env.Findings != nil {
		for _, w := range env.Findings.Names() {
			if strings.HasPrefix(w, typed) {
				out = append(out, Candidate{Text: w, Kind: "value", Start: len(src) - len(typed), End: len(src)})
			}
		}
		return out
	}
	if f == nil || f.typ.text != textProtocol {
		return nil
	}
	for _, w := range names().fields {
		if strings.HasPrefix(w.arg, "protocol ") && strings.HasPrefix(w.name, typed) {
			out = append(out, Candidate{Text: w.name, Kind: "value", Doc: w.doc, Start: len(src) - len(typed), End: len(src)})
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Text < out[j].Text })
	return out
}

// tokEndAt returns the end of the token that is back tokens before the last.
func tokEndAt(toks []parse.Token, back int) int {
	if len(toks) < back {
		return -1
	}
	return toks[len(toks)-back].End
}

func methodOf(name string, t typ) bool {
	switch name {
	case "contains", "startsWith", "endsWith":
		return t.kind == kText || t.kind == kBody || t.kind == kBytes
	case "matches":
		return t.kind == kText || t.kind == kBody
	case "all", "exists_one", "filter", "map":
		return t.kind == kList || t.kind == kMap
	case "exists":
		return true
	case "size":
		return t.kind == kText || t.kind == kList || t.kind == kMap || t.kind == kBody || t.kind == kBytes
	case "json":
		return t.kind == kBody || t.kind == kText
	case "text", "xml":
		return t.kind == kBody
	}
	return t.kind == kTime
}
