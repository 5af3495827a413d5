package page

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// list lays out objects.
func (p *page) list(name string, list []any, indent int) {
	if len(list) == 0 {
		p.line(strings.Repeat(" ", indent) + label(name) + ": none")
		return
	}
	if !objects(list) {
		p.member(member{name, list}, indent)
		return
	}
	if pairs, ok := namedValues(list); ok {
		p.wrap(label(name)+": "+pairs, indent, indent+2)
		return
	}
	if o := list[0].(object); indent > 0 && len(list) == 1 && flat(o) {
		p.wrap(label(name)+": "+p.oneLine(o), indent, indent+2)
		return
	}
	margin := strings.Repeat(" ", indent)
	if indent == 0 {
		p.space()
	}
	p.line(margin + p.bold + strings.ToUpper(label(name)) + " (" + strconv.Itoa(len(list)) + ")" + p.plain)
	if name == "rate" {
		list = withBars(list, p.width)
	}
	if !p.table(list, indent) {
		for i, v := range list {
			o, _ := v.(object)
			p.card(i+1, len(list), o, indent)
		}
	}
	if indent == 0 {
		p.space()
	}
}

// leadNames are the members that identify a row, in the order in which a card prints them.
var leadNames = []string{"time", "at", "hour", "severity", "kind", "finding", "direction", "name", "service", "server", "client", "workload", "pod", "peer", "src", "dst", "endpoint", "summary", "request", "status", "elapsed_ms"}

// lead splits an object into one line that identifies it, and the rest.
func (p *page) lead(o object) (string, object) {
	at := map[string]int{}
	for i, m := range o {
		at[m.name] = i
	}
	used := map[int]bool{}
	var parts []string
	who := false
	for _, name := range leadNames {
		i, ok := at[name]
		if !ok && name == "endpoint" && !who { // without a name, use its description
			for _, name := range []string{"what", "words"} {
				if i, ok := at[name]; ok && !used[i] && len(used) < 3 {
					parts, used[i] = append(parts, p.value(name, o[i].value)), true
				}
			}
			continue
		}
		if !ok || len(used) > 0 && (name == "request" || name == "summary") && strings.Contains(strings.ReplaceAll(strings.Join(parts, " "), nbsp, " "), p.value(name, o[i].value)) {
			continue
		}
		switch o[i].value.(type) {
		case object, []any, nil:
			continue
		}
		text := p.value(name, o[i].value)
		if text == "" || utf8.RuneCountInString(text) > 100 {
			continue
		}
		if utf8.RuneCountInString(text) <= 32 {
			text = strings.ReplaceAll(text, " ", nbsp)
		}
		if _, both := at["src"]; name == "dst" && both {
			parts[len(parts)-1] += " → " + text
		} else {
			parts = append(parts, text)
		}
		used[i] = true
		switch name {
		case "time", "at", "hour", "severity":
		default:
			who = true
		}
	}
	var rest object
	for i, m := range o {
		if len(parts) == 0 {
			text, short := p.fact(m)
			if own, ok := m.value.(string); ok && short {
				text = p.value(m.name, own)
			}
			if short && text != "" && !isEvidence(m.name) {
				parts = append(parts, text)
				continue
			}
		}
		if !used[i] {
			rest = append(rest, m)
		}
	}
	return strings.Join(parts, nbsp+" "), rest
}

// card shows one row in several lines.
func (p *page) card(n, of int, o object, indent int) {
	digits := len(strconv.Itoa(of))
	number := strconv.Itoa(n)
	for i, m := range o {
		if m.name == "step" || m.name == "number" && number64(m.value) { // a number that others refer to
			number, o = valueOf("", m.value), slices.Delete(slices.Clone(o), i, i+1)
			digits = max(digits, len(number))
			break
		}
	}
	number = strings.Repeat(" ", digits-len(number)) + number + "  "
	head, rest := p.lead(o)
	margin := indent + digits + 2
	text := strings.TrimLeft(p.folded(head, margin, margin), " ")
	p.line(strings.Repeat(" ", indent) + number + p.bold + text + p.plain)
	p.body(rest, margin)
}

// oneLine writes a small object on one line.
func (p *page) oneLine(o object) string {
	head, rest := p.lead(o)
	parts := []string{head}
	var evidence object
	for _, m := range rest {
		if isEvidence(m.name) {
			evidence = append(evidence, m)
		} else if text, _ := p.fact(m); text != "" {
			parts = append(parts, text)
		}
	}
	if text := p.evidence(evidence); text != "" {
		parts = append(parts, text)
	}
	return strings.Join(parts, dot)
}

// isEvidence reports whether a member is evidence: it leads to calls, packets, or all rows.
func isEvidence(name string) bool {
	switch name {
	case "call_id", "call_ids", "packets", "kfl", "flow_id", "flow_ids":
		return true
	}
	return false
}

// evidence writes the evidence on one line.
func (p *page) evidence(o object) string {
	var parts []string
	for _, name := range []string{"call_id", "call_ids", "flow_id", "flow_ids", "packets"} {
		for _, m := range o {
			if text := p.value(name, m.value); m.name == name && text != "" {
				parts = append(parts, map[string]string{"call_id": "call ", "call_ids": "calls ", "flow_id": "flow_id ", "flow_ids": "flow_id "}[name]+text)
			}
		}
	}
	return strings.Join(parts, dot)
}

// objects reports whether a list contains objects.
func objects(list []any) bool {
	if len(list) == 0 {
		return false
	}
	_, ok := list[0].(object)
	return ok
}

// Signs of a bar, and its header.
const (
	failedSign, otherSign = "█", "▒"
	barHeader             = "█ failed, ▒ other"
)

// withBars returns rows of rates with a bar for their calls, of which a part failed.
func withBars(list []any, screen int) []any {
	width := 16
	if screen >= 100 {
		width = 30
	}
	count := func(o object, name string) float64 {
		n, _ := o.get(name).(json.Number)
		f, _ := n.Float64()
		return max(0, f)
	}
	most := 0.0
	for _, v := range list {
		o, _ := v.(object)
		most = max(most, count(o, "in")+count(o, "out"))
	}
	if most == 0 {
		return list
	}
	var out []any
	for _, v := range list {
		o, _ := v.(object)
		calls := count(o, "in") + count(o, "out")
		length := int(math.Ceil(calls / most * float64(width))) // any call shows
		failed := 0
		if calls > 0 {
			part := count(o, "failed") / calls
			failed = int(math.Round(part * float64(length)))
			if part > 0 && failed == 0 {
				failed = 1
			}
			if part < 1 && failed == length && length > 1 { // neither part is hidden
				failed--
			}
		}
		out = append(out, append(slices.Clone(o), member{barHeader, strings.Repeat(failedSign, failed) + strings.Repeat(otherSign, length-failed)}))
	}
	return out
}
