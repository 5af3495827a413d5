package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/internal/cli/console"
)

// member is one member of a JSON object, in the order of the text.
type member struct {
	name  string
	value any // nil, bool, json.Number, string, []any or object
}

// object is a JSON object that keeps its order.
type object []member

// printAnswer prints an answer for a machine as JSON, or for a person as a page.
func (e *env) printAnswer(answer any, asJSON bool) error {
	var buf bytes.Buffer
	if err := e.masked(func(w io.Writer) error { return encode(w, answer, asJSON) })(&buf); err != nil {
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
	p := &page{width: e.pageWidth()}
	if e.coloured(e.out) {
		p.bold, p.plain = console.Bold, console.Plain
	}
	if top, ok := tree.(object); ok {
		p.answer(top)
	} else {
		p.line(valueOf("", tree))
	}
	_, err = e.out.Write([]byte(p.text()))
	return err
}

// encode writes a value as JSON.
func encode(w io.Writer, v any, indent bool) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	if indent {
		enc.SetIndent("", "  ")
	}
	return enc.Encode(v)
}

// pageWidth is how many columns an answer may take: those of the screen, what COLUMNS
// says, or so many that a line can be read in a file.
func (e *env) pageWidth() int {
	n := columnsOf(e.out)
	if n == 0 {
		n, _ = strconv.Atoi(os.Getenv("COLUMNS"))
	}
	if n <= 0 {
		n = 120
	}
	return min(max(n, 40), 240)
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

// callID reports whether a text is a call_id.
func callID(s string) bool {
	return len(s) == 32 && strings.Trim(s, "0123456789abcdef") == ""
}

// frame tells what stands behind the answer.
func (p *page) frame(top object) {
	for _, m := range top {
		switch m.name {
		case "matched":
			if m.value != "some" {
				p.space()
				p.line(map[any]string{"nothing_matched": "nothing matches, and the time was recorded", "not_recorded": "the asked time was not recorded"}[m.value])
			}
		case "truncated":
			if m.value == true {
				p.space()
				p.line("lists were cut: narrow the question or raise --limit")
			}
		case "coverage":
			o, _ := m.value.(object)
			p.space()
			for _, c := range o {
				if list, ok := c.value.([]any); ok && c.name == "holes" {
					p.list("holes in the recording", list, 0)
				} else if c.name == "state" {
					text := "recorded: " + valueOf("", c.value)
					if p.day != "" {
						text += "; times are of " + p.day + ", UTC"
					}
					p.line(text)
				}
			}
		}
	}
	for _, m := range top {
		if list, ok := m.value.([]any); ok && m.name == "notes" {
			for _, n := range list {
				p.wrap("note: "+p.value("notes", n), 0, 6)
			}
		}
	}
}
