package kfl

import (
	_ "embed"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/pcapsule/pcapsule/kfl/internal/parse"
)

//go:embed wireshark.tsv
var wiresharkFile string

// wireshark maps the fields of Wireshark's display filters to KFL.
var wireshark = sync.OnceValue(func() map[string]string {
	m := map[string]string{}
	for line := range strings.Lines(wiresharkFile) {
		if name, to, ok := strings.Cut(strings.TrimRight(line, "\n"), "\t"); ok {
			m[name] = to
		}
	}
	return m
})

// constants are words that are values.
var constants = []string{"true", "false", "nil", "null"}

// wiresharkOps are Wireshark's operators that are words.
var wiresharkOps = map[string]string{"eq": "==", "ne": "!=", "gt": ">", "lt": "<", "ge": ">=", "le": "<=", "~": "matches"}

var (
	// Keep quoted text; a dotted name may be followed by a comparison.
	wiresharkTerm = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|` +
			`([A-Za-z][\w.]*)(?:\s*(==|!=|<=|>=|=~|<|>|~|\b(?:eq|ne|gt|lt|ge|le|contains|matches|in)\b)\s*("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[\w.:/*-]+))?`)
	})
	plainWord = regexp.MustCompile(`^[A-Za-z_][\w-]*$`)
)

// suggest adds the likely intention to an error: the same condition with Wireshark's fields
// replaced by KFL's and with addresses in quotes, and with words in quotes if they are unknown names. It
// suggests only queries that compile.
func suggest(src string, env Env, err *Error) *Error {
	if err.Macro != "" || err.Limit {
		return err
	}
	for bad, quote := err, false; ; quote = true {
		text := fromWireshark(src, quote)
		if text != src {
			_, bad = compile(text, env)
		}
		if bad == nil {
			out := *err
			out.Hint = "write " + text
			return &out
		}
		if quote || !strings.HasPrefix(bad.Msg, "unknown name") {
			return err
		}
	}
}

// fromWireshark translates the Wireshark fields and operators in src to KFL. quote: also put words that
// fields are compared with in quotes.
func fromWireshark(src string, quote bool) string {
	var b strings.Builder
	last := 0
	for _, m := range wiresharkTerm().FindAllStringSubmatchIndex(src, -1) {
		if m[2] < 0 { // quoted text
			continue
		}
		part := func(i int) string {
			if m[2*i] < 0 {
				return ""
			}
			return src[m[2*i]:m[2*i+1]]
		}
		b.WriteString(src[last:m[0]] + comparison(part(1), part(2), part(3), src[m[0]:m[1]], quote))
		last = m[1]
	}
	return b.String() + src[last:]
}

// meant returns the fields that a name means which KFL does not have, with blanks between: those of
// Wireshark's field, of both ends for the name of one (service), or without its protocol (http.method).
func meant(name string) string {
	for was, is := range map[string]string{"ssl.": "tls.", "bootp.": "dhcp."} { // names before Wireshark 3.0
		if rest, ok := strings.CutPrefix(name, was); ok {
			name = is + rest
		}
	}
	if to, ok := wireshark()[name]; ok {
		return to
	}
	known := names().byName
	if known["src."+name] != nil && known["dst."+name] != nil {
		return "src." + name + " dst." + name
	}
	protocol, rest, dotted := strings.Cut(name, ".")
	if own := protocol + "_" + rest; dotted && known[own] != nil {
		return own
	}
	if dotted && known[protocol] != nil && known[rest] != nil {
		return rest
	}
	return ""
}

// comparison translates a comparison to KFL; op and value are empty for a name without a
// comparison. It returns whole if name is not a field of Wireshark.
func comparison(name, op, value, whole string, quote bool) string {
	to := meant(name)
	ok := to != "" && names().byName[name] == nil
	quoted := parse.QuotedAddress(value)
	if quote && quoted == value && plainWord.MatchString(value) && names().byName[value] == nil && !slices.Contains(constants, value) {
		quoted = parse.Quote(value)
	}
	if !ok && quoted == value {
		return whole
	}
	if !ok {
		to = name
	}
	if cond, is := strings.CutPrefix(to, "="); is {
		if op == "==" && (value == "0" || value == "false") {
			return "!(" + cond + ")"
		}
		if strings.ContainsAny(cond, "&|") {
			return "(" + cond + ")"
		}
		return cond
	}
	if word, is := wiresharkOps[op]; is {
		op = word
	}
	joint := " || "
	if op == "!=" { // in Wireshark: no field is equal
		joint = " && "
	}
	if strings.Contains(quoted, "/") && quoted != value { // a prefix
		op = map[string]string{"==": "in", "!=": "not in"}[op]
	}
	var parts []string
	for field := range strings.FieldsSeq(to) {
		switch op {
		case "":
			parts = append(parts, field)
		case "matches", "=~":
			parts = append(parts, field+".matches("+quoted+")")
		default:
			parts = append(parts, field+" "+op+" "+quoted)
		}
	}
	if len(parts) == 1 {
		return parts[0]
	}
	return "(" + strings.Join(parts, joint) + ")"
}
