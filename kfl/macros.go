package kfl

import (
	"sort"
	"strings"

	"github.com/pcapsule/pcapsule/kfl/internal/parse"
)

// Limits of a macro file.
const (
	maxMacros    = 1000
	maxMacroFile = 1 << 20 // bytes
	maxMacroName = 64      // bytes
)

// ParseMacros reads macro definitions, one per line:
//
//	slow := elapsed_time > 2s        # KFL to the end of the line
//	https: tls and (http or http2)   as in a chart's customMacros
//
// Indented lines continue the previous line. After a colon, the text may be quoted, or > or |
// may introduce indented lines, as in YAML. # and // at the beginning of a line start comments.
// ParseMacros checks only the syntax of a definition; its meaning is checked when it is used.
// The error is an *Error with a position in the file or in the macro's text.
func ParseMacros(file string) (map[string]string, error) {
	out := map[string]string{}
	if len(file) > maxMacroFile {
		err := parse.ErrorAt(file, maxMacroFile, maxMacroFile, "", "macro file is %d bytes long, the limit is %d", len(file), maxMacroFile)
		err.Limit = true
		return nil, err
	}
	for _, d := range definitions(file) {
		name, err := d.name(file)
		if err != nil {
			return nil, err
		}
		if _, twice := out[name]; twice {
			return nil, parse.ErrorAt(file, d.pos, d.pos+len(name), "", "macro %s is defined twice", name)
		}
		if len(out) == maxMacros {
			err := parse.ErrorAt(file, d.pos, d.end, "", "more than %d macros", maxMacros)
			err.Limit = true
			return nil, err
		}
		e, err := parsed(d.text)
		if err != nil {
			err.Macro = name
			return nil, err
		}
		if e.Root == nil {
			return nil, parse.ErrorAt(file, d.pos, d.end, "write "+name+" := http", "macro %s is empty", name)
		}
		out[name] = d.text
	}
	return out, nil
}

// definition is one macro in a file.
type definition struct {
	pos, end int // of its first line
	head     string
	sign     string // := or :, or empty
	text     string
}

func definitions(file string) (list []definition) {
	pos := 0
	for _, line := range strings.SplitAfter(file, "\n") {
		at := pos
		pos += len(line)
		bare := strings.TrimSpace(line)
		switch {
		case bare == "" || bare == "---":
			continue
		case line[0] == ' ' || line[0] == '\t':
			if n := len(list); n > 0 {
				list[n-1].text += "\n" + strings.TrimRight(line, "\r\n")
				continue
			}
		case strings.HasPrefix(bare, "#") || strings.HasPrefix(bare, "//"):
			continue
		}
		lead := strings.Index(line, bare)
		d := definition{pos: at + lead, end: at + lead + len(bare)}
		d.head, d.text, _ = strings.Cut(bare, ":")
		if strings.Contains(bare, ":") {
			d.sign = ":"
			if rest, ok := strings.CutPrefix(d.text, "="); ok {
				d.sign, d.text = ":=", rest
			}
		}
		list = append(list, d)
	}
	for i := range list {
		if d := &list[i]; d.sign == ":" {
			d.text = scalar(d.text)
		}
		list[i].text = strings.TrimSpace(list[i].text)
	}
	return list
}

// scalar reads a YAML scalar: plain, quoted, or a block after > or |.
func scalar(s string) string {
	head, block, _ := strings.Cut(s, "\n")
	switch strings.TrimSpace(head) {
	case ">", "|", ">-", "|-":
		return block
	}
	s = strings.TrimSpace(s)
	if n := len(s); n >= 2 && s[0] == s[n-1] {
		inner := s[1 : n-1]
		switch {
		case s[0] == '\'' && !strings.Contains(strings.ReplaceAll(inner, "''", ""), "'"):
			return strings.ReplaceAll(inner, "''", "'")
		case s[0] == '"' && !strings.Contains(strings.ReplaceAll(strings.ReplaceAll(inner, `\\`, ""), `\"`, ""), `"`):
			return strings.ReplaceAll(strings.ReplaceAll(inner, `\"`, `"`), `\\`, `\`)
		}
	}
	return s
}

func (d *definition) name(file string) (string, *Error) {
	name := strings.TrimSpace(d.head)
	if d.sign == "" {
		return "", parse.ErrorAt(file, d.pos, d.end, "write name := condition", "missing := after %s", parse.Quote(parse.Clip(name)))
	}
	toks, _ := parse.Tokens(name)
	ok := len(toks)%2 == 1 && len(name) <= maxMacroName
	for i, t := range toks {
		ok = ok && (i%2 == 0 && t.Kind == parse.TokenIdent || i%2 == 1 && t.Kind == parse.TokenOp && t.Text == ".")
	}
	for _, w := range append([]string{"true", "false", "nil", "null", "and", "or", "not", "in"}, parse.InfixWords[:]...) {
		ok = ok && !strings.EqualFold(name, w)
	}
	if !ok || strings.ContainsAny(name, " \t") {
		return "", parse.ErrorAt(file, d.pos, d.pos+len(d.head), "names are letters, digits, _ and dots, such as slow or my.slow", "invalid macro name %s", parse.Quote(parse.Clip(name)))
	}
	return name, nil
}

// CheckMacros compiles each macro of env, even unused ones, and returns the errors in the order
// of the macros' names.
func CheckMacros(env Env) (list []*Error) {
	var all []string
	for name := range env.Macros {
		all = append(all, name)
	}
	sort.Strings(all)
	for _, name := range all {
		c := &checker{work: &work{env: env, columns: map[string]bool{}, absent: map[string]bool{}}, src: name}
		if _, err := c.expand(&parse.Node{End: len(name)}, name, env.Macros[name]); err != nil {
			list = append(list, err)
		}
	}
	return list
}
