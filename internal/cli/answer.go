package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
)

// member is one member of a JSON object, in the order of the text.
type member struct {
	name  string
	value any // nil, bool, json.Number, string, []any or object
}

// object is a JSON object that keeps its order.
type object []member

// printAnswer prints an answer for a machine, or for a person: what is one value a line,
// lists of objects as tables, texts of several lines as they are.
func (e *env) printAnswer(answer any, asJSON bool) error {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if asJSON {
		enc.SetIndent("", "  ")
	}
	if err := enc.Encode(answer); err != nil {
		return err
	}
	if asJSON {
		_, err := e.out.Write(buf.Bytes())
		return err
	}
	d := json.NewDecoder(&buf)
	d.UseNumber()
	tree, err := ordered(d)
	if err != nil {
		return err
	}
	top, ok := tree.(object)
	if !ok {
		fmt.Fprintln(e.out, plain(tree))
		return nil
	}
	e.printObject(top, "")
	e.printFrame(top)
	return nil
}

// ordered reads one JSON value with the order of its members.
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

// framing are the members that every answer has; they come last, in a few lines.
func framing(name string) bool {
	switch name {
	case "coverage", "matched", "truncated", "now", "verified", "notes":
		return true
	}
	return false
}

func (e *env) printObject(o object, indent string) {
	for _, m := range o {
		if indent == "" && framing(m.name) {
			continue
		}
		switch v := m.value.(type) {
		case object:
			fmt.Fprintf(e.out, "%s%s:\n", indent, m.name)
			e.printObject(v, indent+"  ")
		case []any:
			e.printList(m.name, v, indent)
		case string:
			if strings.Contains(strings.TrimSpace(v), "\n") {
				fmt.Fprintf(e.out, "%s%s:\n", indent, m.name)
				for line := range strings.Lines(strings.TrimRight(v, "\n")) {
					fmt.Fprintf(e.out, "%s  %s\n", indent, printable(strings.TrimRight(line, "\n"), 4096))
				}
				continue
			}
			fmt.Fprintf(e.out, "%s%s: %s\n", indent, m.name, printable(v, 400))
		default:
			fmt.Fprintf(e.out, "%s%s: %s\n", indent, m.name, plain(v))
		}
	}
}

// printList prints objects as a table, one by one where they hold tables themselves, and
// plain values on one line.
func (e *env) printList(name string, list []any, indent string) {
	if len(list) == 0 {
		fmt.Fprintf(e.out, "%s%s: none\n", indent, name)
		return
	}
	if _, ok := list[0].(object); !ok {
		var parts []string
		for _, v := range list {
			parts = append(parts, plain(v))
		}
		fmt.Fprintf(e.out, "%s%s: %s\n", indent, name, printable(strings.Join(parts, ", "), 2000))
		return
	}
	fmt.Fprintf(e.out, "\n%s%s (%d)\n", indent, strings.ToUpper(strings.ReplaceAll(name, "_", " ")), len(list))
	if nested(list) {
		for i, v := range list {
			if i > 0 {
				fmt.Fprintln(e.out)
			}
			o, _ := v.(object)
			e.printObject(o, indent+"  ")
		}
		return
	}
	e.printTable(list)
}

// nested reports whether an object of the list holds objects, so that no table shows it.
func nested(list []any) bool {
	for _, v := range list {
		o, _ := v.(object)
		for _, m := range o {
			switch x := m.value.(type) {
			case object:
				return true
			case []any:
				if len(x) > 0 {
					if _, ok := x[0].(object); ok {
						return true
					}
				}
			}
		}
	}
	return false
}

func (e *env) printTable(list []any) {
	var cols []forensics.Column
	at := map[string]int{}
	for _, v := range list {
		o, _ := v.(object)
		for _, m := range o {
			if _, ok := at[m.name]; !ok {
				at[m.name] = len(cols)
				cols = append(cols, forensics.Column{Name: m.name})
			}
		}
	}
	w, err := newRowWriter("table", e)
	if err != nil {
		return
	}
	w.begin(cols)
	for _, v := range list {
		row := make([]any, len(cols))
		o, _ := v.(object)
		for _, m := range o {
			row[at[m.name]] = plain(m.value)
			if n, ok := m.value.(json.Number); ok {
				if whole, err := n.Int64(); err == nil {
					row[at[m.name]] = whole
				}
			}
		}
		w.row(cols, row)
	}
	w.end()
}

// plain is a value in one line.
func plain(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case []any:
		var parts []string
		for _, x := range v {
			parts = append(parts, plain(x))
		}
		return strings.Join(parts, " ")
	case object:
		var parts []string
		for _, m := range v {
			parts = append(parts, m.name+"="+plain(m.value))
		}
		return strings.Join(parts, " ")
	}
	if text := fmt.Sprint(v); !callID(text) {
		return text
	}
	return fmt.Sprint(v)[:12] // as much of a call_id as names it; --json has all
}

// callID reports whether a text is a call_id.
func callID(s string) bool {
	return len(s) == 32 && strings.Trim(s, "0123456789abcdef") == ""
}

// printFrame tells what stands behind the answer.
func (e *env) printFrame(top object) {
	for _, m := range top {
		switch m.name {
		case "matched":
			if m.value != "some" {
				fmt.Fprintf(e.out, "\n%s\n", map[any]string{"nothing_matched": "nothing matches, and the time was recorded", "not_recorded": "the asked time was not recorded"}[m.value])
			}
		case "truncated":
			if m.value == true {
				fmt.Fprintln(e.out, "\nlists were cut: narrow the question or raise --limit")
			}
		case "coverage":
			o, _ := m.value.(object)
			fmt.Fprintln(e.out)
			for _, c := range o {
				if list, ok := c.value.([]any); ok && c.name == "holes" {
					e.printList("holes in the recording", list, "")
				} else if c.name == "state" {
					fmt.Fprintf(e.out, "recorded: %s\n", plain(c.value))
				}
			}
		case "notes":
			list, _ := m.value.([]any)
			for _, n := range list {
				fmt.Fprintf(e.out, "note: %s\n", printable(plain(n), 1000))
			}
		}
	}
}
