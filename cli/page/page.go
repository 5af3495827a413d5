package page

import (
	"encoding/json"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/pcapsule/pcapsule/cli/console"
)

// page lays an answer out for a person: sentences first, then numbers, then lists. A list
// is a table if its rows fit the width, and cards otherwise; evidence is last in each.
type page struct {
	b           strings.Builder
	width       int
	bold, plain string
	day         string // the day of all times in the answer if it is the same; it is printed once
	pairs       bool   // two numbers are before and after
	none        bool   // every list is empty, which is printed
}

// sentences are members with text of our own, so times in them may be shortened.
var sentences = map[string]bool{"answer": true, "summary": true, "verdict": true, "words": true, "what": true, "searched": true, "when": true, "why": true, "how": true, "notes": true, "at_limit": true, "signs": true}

// maxText is the maximum length of one captured text, in characters.
const maxText = 400

func (p *page) text() string { return strings.TrimRight(p.b.String(), "\n") + "\n" }

// nbsp keeps a number and its unit on one line; it is printed as a space.
const nbsp = "\u00a0"

// dot separates facts, and never begins a line.
const dot = nbsp + "· "

// line writes lines without trailing spaces.
func (p *page) line(s string) {
	for l := range strings.SplitSeq(strings.ReplaceAll(s, nbsp, " "), "\n") {
		p.b.WriteString(strings.TrimRight(l, " ") + "\n")
	}
}

// space writes an empty line, unless the last line is empty.
func (p *page) space() {
	if s := p.b.String(); s != "" && !strings.HasSuffix(s, "\n\n") {
		p.b.WriteString("\n")
	}
}

// ofUnit matches a number and its unit in a sentence.
var ofUnit = regexp.MustCompile(`(\d) (%|(?:[kMG]?B|[mnµ]?s|min|h)\b)`)

// wrap writes a text in lines of the page's width, the first indented by first and the
// others by rest.
func (p *page) wrap(s string, first, rest int) { p.line(p.folded(s, first, rest)) }

func (p *page) folded(s string, first, rest int) string {
	var b strings.Builder
	s = ofUnit.ReplaceAllString(s, "$1"+nbsp+"$2")
	b.WriteString(strings.Repeat(" ", first))
	used, begun := first, false
	for _, word := range strings.Split(s, " ") {
		n := utf8.RuneCountInString(word)
		for room := p.width - rest; n > max(room, 16); n = utf8.RuneCountInString(word) { // a word longer than a line
			if begun {
				b.WriteString("\n" + strings.Repeat(" ", rest))
			}
			part := []rune(word)
			b.WriteString(string(part[:max(room-max(first-rest, 0), 16)]))
			word, used, begun = string(part[max(room-max(first-rest, 0), 16):]), p.width, true
		}
		if begun && used+1+n > p.width {
			b.WriteString("\n" + strings.Repeat(" ", rest))
			used, begun = rest, false
		}
		if begun {
			b.WriteByte(' ')
			used++
		}
		b.WriteString(word)
		used += n
		begun = true
	}
	return b.String()
}

// answer lays out a whole answer.
func (p *page) answer(top object) {
	p.day = oneDay(top)
	top = p.first(top)
	if nothing := p.verdict(top); nothing {
		top, _ = withoutNothing(top).(object)
	}
	for _, m := range top {
		p.pairs = p.pairs || m.name == "baseline"
	}
	for _, m := range top {
		if list, ok := m.value.([]any); ok && (m.name == "summary" || m.name == "verdict") && !objects(list) {
			for _, v := range list {
				p.wrap(p.value(m.name, v), 0, 2)
			}
			p.space()
		}
	}
	var rest object
	for _, m := range top {
		if list, ok := m.value.([]any); ok && (m.name == "summary" || m.name == "verdict") && !objects(list) || framing(m.name) {
			continue
		}
		if m.name == "summary" && top.get("searched") != nil {
			if m.value = found(m.value); m.value == nil {
				continue
			}
		}
		rest = append(rest, m)
	}
	p.none = len(rest) > 0
	for _, m := range rest {
		if list, ok := m.value.([]any); ok && len(list) > 0 {
			p.none = false
		}
	}
	p.body(rest, 0)
	p.frame(top)
}

// found returns the rows of a summary of analyzers that found something: the others are in the text about the search.
func found(summary any) any {
	list, _ := summary.([]any)
	var out []any
	for _, row := range list {
		if o, ok := row.(object); ok && o.get("found") != json.Number("0") {
			out = append(out, row)
		}
	}
	if out == nil {
		return nil
	}
	return out
}

// body lays out members: the short ones in a paragraph, then long texts, objects and lists,
// then the evidence.
func (p *page) body(o object, indent int) {
	var facts []string
	var late, evidence object
	for _, m := range o {
		if list, ok := m.value.([]any); ok && len(list) == 0 && indent == 0 && p.none {
			facts = append(facts, strings.ReplaceAll(label(m.name)+" none", " ", nbsp))
			continue
		}
		switch text, short := p.fact(m); {
		case isEvidence(m.name):
			evidence = append(evidence, m)
		case short && text != "":
			facts = append(facts, text)
		case !short:
			late = append(late, m)
		}
	}
	if len(facts) > 0 {
		p.wrap(strings.Join(facts, dot), indent, indent)
	}
	for _, m := range late {
		p.member(m, indent)
	}
	if text := p.evidence(evidence); text != "" {
		p.wrap(text, indent, indent+2)
	}
	for _, m := range evidence {
		// A longer condition is for programs: --json has it.
		if text := p.value(m.name, m.value); m.name == "kfl" && utf8.RuneCountInString(text) < p.width-indent-len("kfl ") {
			p.line(strings.Repeat(" ", indent) + "kfl " + text)
		}
	}
}

// separate are members that are printed on a separate line, so that they are easy to find.
var separate = map[string]bool{"said": true, "how": true, "what": true, "words": true, "why": true, "way": true, "evidence": true, "at_limit": true}

func (p *page) separate(name, text string) bool {
	return separate[name] && (name == "said" || utf8.RuneCountInString(text) > 16)
}

// fact returns a member in a few words. ok is false if it needs more than that.
func (p *page) fact(m member) (text string, ok bool) {
	label := label(m.name)
	switch v := m.value.(type) {
	case object:
		return "", false
	case []any:
		if len(v) == 0 {
			return "", true
		}
		if objects(v) {
			return "", false
		}
		text := p.value(m.name, v)
		if p.pairs && strings.Contains(text, " → ") {
			return strings.ReplaceAll(label+" "+text, " ", nbsp), true
		}
		return label + nbsp + text, utf8.RuneCountInString(text) <= 40 && !p.separate(m.name, text)
	case bool:
		if v {
			return label, true
		}
		if m.name == "problem" {
			return "no " + label, true
		}
		return "not " + label, true
	case nil:
		return "", true
	case string:
		if strings.Contains(strings.TrimSpace(v), "\n") {
			return "", false
		}
		text := p.value(m.name, v)
		if text == "" {
			return "", true
		}
		if m.name == "what" && origins[v] {
			label = "origin:"
		} else if words[m.name] != "" {
			label += ":"
		}
		return label + nbsp + text, utf8.RuneCountInString(text) <= 32 && !p.separate(m.name, text)
	}
	return strings.ReplaceAll(label+" "+p.value(m.name, m.value), " ", nbsp), true
}

// member lays out a member that is longer than a fact.
func (p *page) member(m member, indent int) {
	name := label(m.name) + ": "
	switch v := m.value.(type) {
	case object:
		if flat(v) {
			p.wrap(name+p.oneLine(v), indent, indent+2)
			return
		}
		p.wrap(strings.TrimSpace(name), indent, indent)
		p.body(v, indent+2)
	case []any:
		if objects(v) {
			p.list(m.name, v, indent)
			return
		}
		p.wrap(name+p.value(m.name, v), indent, indent+2)
	case string:
		if text := strings.Trim(v, "\n"); strings.Contains(text, "\n") {
			p.block(name, text, indent)
			return
		}
		p.wrap(name+p.value(m.name, v), indent, indent+2)
	}
}

// block prints a text of several lines unchanged, so that it can be copied.
func (p *page) block(name, text string, indent int) {
	margin := ""
	if indent == 0 {
		p.space()
	} else {
		margin = strings.Repeat(" ", indent+2)
	}
	p.line(strings.Repeat(" ", indent) + strings.TrimSpace(name))
	for l := range strings.Lines(text) {
		p.line(margin + console.Printable(strings.ReplaceAll(strings.TrimRight(l, "\r\n"), "\t", "  "), 4096))
	}
	if indent == 0 {
		p.space()
	}
}

// flat reports whether an object contains only values and lists of values.
func flat(o object) bool {
	for _, m := range o {
		switch v := m.value.(type) {
		case object:
			return false
		case []any:
			if objects(v) {
				return false
			}
		case string:
			if strings.Contains(strings.TrimSpace(v), "\n") {
				return false
			}
		}
	}
	return true
}

// namedValues writes a list of names with values, such as headers and numbers, on one line.
func namedValues(list []any) (string, bool) {
	var parts []string
	for _, v := range list {
		o, _ := v.(object)
		if len(o) != 2 || o[0].name != "name" || o[1].name != "value" {
			return "", false
		}
		name, _ := o[0].value.(string)
		if _, ok := o[1].value.(string); ok {
			parts = append(parts, console.Printable(name, maxText)+": "+valueOf("", o[1].value))
		} else {
			parts = append(parts, label(console.Printable(name, maxText))+" "+valueOf(name, o[1].value))
		}
	}
	return strings.Join(parts, dot), true
}
