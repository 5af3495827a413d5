// Package page writes the answer to a question, which is JSON, as text for people: headings, tables
// and lines that fit the width, with units from the fields' names. It escapes control characters in
// captured text.
package page

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/cli/console"
)

// member is one member of a JSON object.
type member struct {
	name  string
	value any // nil, bool, json.Number, string, []any or object
}

// object is a JSON object with its members in their original order.
type object []member

// get returns the value of a member, or nil.
func (o object) get(name string) any {
	for _, m := range o {
		if m.name == name {
			return m.value
		}
	}
	return nil
}

// Text writes a JSON answer as a page of at most width columns. Headings are bold if coloured
// is true.
func Text(answer []byte, width int, coloured bool) (string, error) {
	d := json.NewDecoder(bytes.NewReader(answer))
	d.UseNumber()
	tree, err := ordered(d)
	if err != nil {
		return "", err
	}
	p := &page{width: width}
	if coloured {
		p.bold, p.plain = console.Bold, console.Plain
	}
	if top, ok := tree.(object); ok {
		p.answer(top)
	} else {
		p.line(valueOf("", tree))
	}
	return p.text(), nil
}

// ordered reads one JSON value and keeps the order of its members.
func ordered(d *json.Decoder) (any, error) {
	tok, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch tok {
	case json.Delim('{'):
		out := object{}
		for d.More() {
			name, err := d.Token()
			if err != nil {
				return nil, err
			}
			v, err := ordered(d)
			if err != nil {
				return nil, err
			}
			out = append(out, member{fmt.Sprint(name), v})
		}
		_, err = d.Token()
		return out, err
	case json.Delim('['):
		out := []any{}
		for d.More() {
			v, err := ordered(d)
			if err != nil {
				return nil, err
			}
			out = append(out, v)
		}
		_, err = d.Token()
		return out, err
	}
	return tok, nil
}

// framing reports whether a member is one that every answer has. These are printed last, in a
// few lines.
func framing(name string) bool {
	switch name {
	case "answer", "coverage", "searched", "happened", "matched", "truncated", "next_cursor", "now", "verified", "notes":
		return true
	}
	return false
}

// callID reports whether s is a call_id.
func callID(s string) bool {
	return len(s) == 32 && strings.Trim(s, "0123456789abcdef") == ""
}

// first prints the sentence with which an answer begins, and returns the answer without this text.
func (p *page) first(top object) object {
	said, _ := top.get("answer").(string)
	if said == "" {
		return top
	}
	if begins, _, cut := strings.Cut(said, "… ("); cut { // for programs; the text that it is from is whole
		for _, m := range top {
			if text, ok := m.value.(string); ok && m.name != "answer" && strings.HasPrefix(text, begins) {
				said = strings.TrimSuffix(text, ".") + "."
			}
		}
	}
	p.wrap(p.value("answer", said), 0, 2)
	p.space()
	rest, _ := without(top, strings.TrimSuffix(said, ".")).(object)
	return rest
}

// without returns a value without the texts that are a sentence, with a full stop or not.
func without(v any, sentence string) any {
	is := func(x any) bool {
		text, ok := x.(string)
		return ok && strings.TrimSuffix(text, ".") == sentence
	}
	switch v := v.(type) {
	case object:
		out := object{}
		for _, m := range v {
			list, _ := m.value.([]any)
			rest := without(m.value, sentence)
			if left, _ := rest.([]any); !is(m.value) && (len(list) == 0 || len(left) > 0) {
				out = append(out, member{m.name, rest})
			}
		}
		return out
	case []any:
		out := []any{}
		for _, x := range v {
			if !is(x) {
				out = append(out, without(x, sentence))
			}
		}
		return out
	}
	return v
}

// verdict says what was searched, or reports that nothing matches, which the first sentence says; then the notes follow.
func (p *page) verdict(top object) bool {
	searched, _ := top.get("searched").(string)
	switch {
	case searched != "": // it says whether something was found
		p.wrap(p.value("searched", searched), 0, 2)
		p.space()
		return false
	case top.get("matched") != "not_recorded" && top.get("matched") != "nothing_matched":
		return false
	}
	p.notes(top)
	p.space()
	return true
}

// withoutNothing returns a value of an answer about nothing without its zeros, which are not facts,
// without a summary of them, and without rows that have no more than their name and zeros.
func withoutNothing(v any) any {
	switch v := v.(type) {
	case object:
		var out object
		for _, m := range v {
			if framing(m.name) {
				if m.name != "notes" {
					out = append(out, m)
				}
				continue
			}
			if m.value = withoutNothing(m.value); m.value != nil && m.name != "summary" {
				out = append(out, m)
			}
		}
		if len(out) == 0 {
			return nil
		}
		return out
	case []any:
		var out []any
		for _, x := range v {
			row, isRow := x.(object)
			kept, _ := withoutNothing(x).(object)
			if !isRow || len(kept) == len(row) || len(kept) > 1 {
				out = append(out, x)
			}
		}
		if len(out) == 0 {
			return nil
		}
		return out
	case json.Number:
		if n, err := v.Float64(); err == nil && n == 0 {
			return nil
		}
	}
	return v
}

// frame prints the members that every answer has.
func (p *page) frame(top object) {
	for _, m := range top {
		switch m.name {
		case "truncated":
			if m.value == true {
				p.space()
				p.line("Lists are shortened: narrow the question or raise --limit.")
			}
		case "next_cursor":
			p.line("For the next rows ask the same question with")
			p.line("--cursor " + valueOf("", m.value))
		case "coverage":
			o, _ := m.value.(object)
			p.space()
			for _, c := range o {
				if list, ok := c.value.([]any); ok && c.name == "holes" {
					p.list("coverage gaps", list, 0)
				} else if ok && c.name == "quiet" {
					p.list("without a packet: nothing was sent, or nothing was recorded", list, 0)
				} else if c.name == "state" {
					text := "recorded: " + valueOf("", c.value)
					if c.value == "complete" && o.get("unread") == true {
						text = "recorded: partly read"
					}
					if p.day != "" {
						text += "; times are on " + p.day + ", UTC"
					}
					p.line(text)
				}
			}
		}
	}
	p.notes(top)
}

// notes prints the notes of an answer.
func (p *page) notes(top object) {
	for _, m := range top {
		if list, ok := m.value.([]any); ok && m.name == "notes" {
			for _, n := range list {
				p.wrap("note: "+p.value("notes", n), 0, 6)
			}
		}
	}
}
