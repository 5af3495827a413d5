package foreign

import (
	_ "embed"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

//go:embed wireshark.tsv
var wiresharkFile string

// foreignField is the equivalent of a field of Wireshark or Zeek.
type foreignField struct {
	scope   string            // the calls that have the field, if other calls have a field named to
	to      string            // names in KFL with blanks between, or a condition after =
	values  map[string]string // Wireshark's number for a value of to, which is text
	unit    string            // of Wireshark's number, if to is a duration
	says    string            // the hint, if there is no equivalent
	packets bool              // no field of calls: to is an SQL expression over table packets, or empty
}

// wireshark has the fields of Wireshark's display filters and Zeek's logs by name.
var wireshark = sync.OnceValue(func() map[string]foreignField {
	m := map[string]foreignField{}
	for line := range strings.Lines(wiresharkFile) {
		row := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if len(row) < 2 {
			continue
		}
		f := foreignField{to: row[1], values: map[string]string{}}
		if sql, is := strings.CutPrefix(f.to, "packets"); is {
			f.packets, f.to = true, strings.TrimSpace(sql)
		} else if says, is := strings.CutPrefix(f.to, "says "); is {
			f.says, f.to = says, ""
		} else if scope, to, is := strings.Cut(f.to, " && "); is && f.to[0] != '=' {
			f.scope, f.to = scope, to
		}
		for _, pair := range strings.Fields(strings.Join(row[2:], " ")) {
			if number, text, is := strings.Cut(pair, "="); is {
				f.values[number] = strconv.Quote(text)
			} else {
				f.unit = pair
			}
		}
		m[row[0]] = f
	}
	return m
})

// constants are words that are values.
var constants = []string{"true", "false", "nil", "null"}

// quotedText is a pattern for text in quotes.
const quotedText = `"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'`

// wiresharkOps are Wireshark's operators that are words.
var wiresharkOps = map[string]string{"eq": "==", "ne": "!=", "gt": ">", "lt": "<", "ge": ">=", "le": "<=", "~": "matches"}

var (
	// Keep quoted text; a dotted name may be followed by a comparison.
	wiresharkTerm = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(quotedText + `|` +
			`([A-Za-z_][\w.]*)(?:\s*(==|!=|<=|>=|=~|<|>|~|\b(?:eq|ne|gt|lt|ge|le|contains|matches|in)\b)\s*(` + quotedText + `|\{[^{}]*\}|[\w.:/*-]+))?`)
	})
	setElement = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(quotedText + `|[^\s,]+`) })
	plainWord  = regexp.MustCompile(`^[A-Za-z_][\w-]*$`)
	// alternative matches what && binds more tightly than, or what it must not be split from.
	alternative = regexp.MustCompile(`\|\||!|\b(?i:or|not)\b|\?`)
)

// fromWireshark translates the Wireshark fields and operators in src to KFL. quote: also put words that
// fields are compared with in quotes.
func (k *Language) fromWireshark(src string, quote bool) string {
	var b strings.Builder
	last, together, scoped := 0, !alternative.MatchString(src), map[string]bool{}
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
		cond := k.comparison(part(1), part(2), part(3), src[m[0]:m[1]], quote)
		switch _, scope := k.meant(part(1)); {
		case scope == "" || cond == src[m[0]:m[1]] || together && scoped[scope]:
		case together:
			cond, scoped[scope] = scope+" && "+cond, true
		default:
			cond = "(" + scope + " && " + cond + ")"
		}
		b.WriteString(src[last:m[0]] + cond)
		last = m[1]
	}
	return b.String() + src[last:]
}

// meant returns the fields that a name means which KFL does not have, with blanks between: those of Wireshark's field,
// of both ends for the name of one (service), or without its protocol (http.method); and the scope of the name.
func (k *Language) meant(name string) (to, scope string) {
	for was, is := range map[string]string{"ssl.": "tls.", "bootp.": "dhcp."} { // names before Wireshark 3.0
		if rest, ok := strings.CutPrefix(name, was); ok {
			name = is + rest
		}
	}
	if f, ok := wireshark()[name]; ok {
		if f.packets {
			return "", ""
		}
		return f.to, f.scope
	}
	if k.IsField("src."+name) && k.IsField("dst."+name) {
		return "src." + name + " dst." + name, ""
	}
	protocol, rest, dotted := strings.Cut(name, ".")
	if own := protocol + "_" + rest; dotted && k.IsField(own) {
		return own, ""
	}
	if dotted && k.IsField(protocol) && k.IsField(rest) {
		return rest, protocol
	}
	return "", ""
}

// comparison translates a comparison to KFL; op and value are empty for a name without a
// comparison. It returns whole if name is not a field of Wireshark.
func (k *Language) comparison(name, op, value, whole string, quote bool) string {
	to, _ := k.meant(name)
	ok := to != "" && !k.IsField(name)
	quoted := k.Address(value)
	isSet := op == "in" && strings.HasPrefix(value, "{")
	switch text, is := wireshark()[name].values[value]; {
	case isSet:
	case ok && is:
		quoted = text
	case ok && wireshark()[name].unit != "":
		quoted = inUnit(value, wireshark()[name].unit)
	case ok && to == "timestamp":
		quoted = moment(value)
	case ok && to == "protocol":
		quoted = strings.ToLower(value)
	case quote && quoted == value && plainWord.MatchString(strings.ReplaceAll(value, ".", "_")) && !k.IsField(value) && !slices.Contains(constants, value):
		quoted = strconv.Quote(value)
	}
	if !ok && quoted == value && !isSet {
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
	if strings.Contains(value, "/") && quoted != value && op != "in" { // a prefix
		op = map[string]string{"==": "in", "!=": "not in"}[op]
	}
	var parts []string
	for field := range strings.FieldsSeq(to) {
		switch op {
		case "in":
			if isSet {
				parts = append(parts, k.member(field, value)...)
				continue
			}
			parts = append(parts, field+" in "+quoted)
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

// member returns conditions of which one is true if field is in a set of Wireshark, {80 443 8000..8010}: a list, and
// one comparison for each range.
func (k *Language) member(field, set string) (conds []string) {
	var list []string
	for _, e := range setElement().FindAllString(set[1:len(set)-1], -1) {
		low, high, isRange := strings.Cut(e, "..")
		if isRange && e[0] != '"' && e[0] != '\'' {
			conds = append(conds, "("+field+" >= "+low+" && "+field+" <= "+high+")")
			continue
		}
		list = append(list, k.Address(e))
	}
	if len(list) > 0 || len(conds) == 0 {
		conds = append([]string{field + " in [" + strings.Join(list, ", ") + "]"}, conds...)
	}
	return conds
}

// inUnit is a number as a duration in KFL, and other text as it is.
func inUnit(value, unit string) string {
	n, err := strconv.ParseFloat(value, 64)
	if err != nil {
		return value
	}
	return strconv.FormatFloat(n, 'f', -1, 64) + unit
}

// moment translates a time, in quotes or in seconds since 1970, to KFL.
func moment(value string) string {
	if strings.HasPrefix(value, `"`) || strings.HasPrefix(value, "'") {
		return "timestamp(" + value + ")"
	}
	whole, part, _ := strings.Cut(value, ".")
	s, err := strconv.ParseInt(whole, 10, 64)
	ns, bad := strconv.ParseInt((part + "000000000")[:9], 10, 64)
	if err != nil || bad != nil {
		return value
	}
	return `timestamp("` + time.Unix(s, ns).UTC().Format(time.RFC3339Nano) + `")`
}
