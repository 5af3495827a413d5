package main

import (
	"encoding/xml"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Sizes and colours of a picture.
const (
	charWidth  = 8.4
	lineHeight = 18
	margin     = 14
	background = "#16181d"
	foreground = "#d6dae3"
)

// colours are those of SGR 30 to 37, or 90 to 97.
var colours = []string{"#7f8694", "#ff7b72", "#7ee787", "#f2cc60", "#79c0ff", "#d2a8ff", "#76e3ea", "#ffffff"}

// cell is a character on the screen.
type cell struct {
	r     rune
	style string // attributes in SVG
}

// screen is a terminal of unlimited height. It knows the few control sequences that the program
// writes.
type screen struct {
	rows      [][]cell
	column    int
	bold, dim bool
	colour    string
}

var control = regexp.MustCompile(`^\x1b\[([0-9;]*)([A-Za-z])`)

func (s *screen) write(text string) error {
	for text != "" {
		if m := control.FindStringSubmatch(text); m != nil {
			if err := s.control(m[1], m[2]); err != nil {
				return err
			}
			text = text[len(m[0]):]
			continue
		}
		r, n := utf8.DecodeRuneInString(text)
		text = text[n:]
		switch {
		case r == '\r':
			s.column = 0
		case r == '\n':
			s.rows = append(s.rows, nil)
		case r < ' ' || r == utf8.RuneError:
			return fmt.Errorf("unknown character %q", r)
		default:
			s.put(r)
		}
	}
	return nil
}

func (s *screen) put(r rune) {
	if s.column == columns {
		s.rows, s.column = append(s.rows, nil), 0
	}
	row := &s.rows[len(s.rows)-1]
	for len(*row) <= s.column {
		*row = append(*row, cell{r: ' '})
	}
	style := s.colour
	if s.bold {
		style += ` font-weight="bold"`
	}
	if s.dim {
		style += ` opacity="0.65"`
	}
	(*row)[s.column] = cell{r, style}
	s.column++
}

// control processes a control sequence: K erases the rest of the line, m sets attributes.
func (s *screen) control(numbers, name string) error {
	row := &s.rows[len(s.rows)-1]
	switch {
	case name == "K" && (numbers == "" || numbers == "0"):
		*row = (*row)[:min(s.column, len(*row))]
		return nil
	case name != "m":
		return fmt.Errorf("unknown control sequence %s%s", numbers, name)
	}
	for _, n := range strings.Split(numbers, ";") {
		var code int
		if n != "" {
			if _, err := fmt.Sscan(n, &code); err != nil {
				return err
			}
		}
		switch {
		case code == 0:
			s.bold, s.dim, s.colour = false, false, ""
		case code == 1:
			s.bold = true
		case code == 2:
			s.dim = true
		case code == 22:
			s.bold, s.dim = false, false
		case code == 39:
			s.colour = ""
		case code >= 30 && code <= 37, code >= 90 && code <= 97:
			s.colour = fmt.Sprintf(` fill=%q`, colours[code%10])
		default:
			return fmt.Errorf("unknown attribute %d", code)
		}
	}
	return nil
}

// svg draws everything that appeared. Each piece of text has its exact width, whatever font the
// reader has.
func (c *cast) svg() (string, error) {
	s := &screen{rows: [][]cell{nil}}
	for _, e := range c.events {
		if err := s.write(e.text); err != nil {
			return "", err
		}
	}
	for len(s.rows) > 1 && len(s.rows[len(s.rows)-1]) == 0 {
		s.rows = s.rows[:len(s.rows)-1]
	}
	width, height := 2*margin+int(columns*charWidth), 2*margin+len(s.rows)*lineHeight
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" font-family="ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="14" fill="%s">`+"\n", width, height, foreground)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" rx="8" fill="%s"/>`+"\n", background)
	for y, row := range s.rows {
		for from := 0; from < len(row); {
			to := from + 1
			for to < len(row) && row[to].style == row[from].style {
				to++
			}
			drawRun(&b, row[from:to], from, y)
			from = to
		}
	}
	b.WriteString("</svg>\n")
	return b.String(), nil
}

// drawRun draws characters with one style.
func drawRun(b *strings.Builder, run []cell, column, row int) {
	var text strings.Builder
	for _, c := range run {
		text.WriteRune(c.r)
	}
	trimmed := strings.TrimLeft(text.String(), " ")
	column += len(run) - utf8.RuneCountInString(trimmed)
	trimmed = strings.TrimRight(trimmed, " ")
	if trimmed == "" {
		return
	}
	var escaped strings.Builder
	xml.EscapeText(&escaped, []byte(trimmed))
	fmt.Fprintf(b, `<text x="%.1f" y="%d" textLength="%.1f" xml:space="preserve"%s>%s</text>`+"\n", margin+float64(column)*charWidth, margin+row*lineHeight+13,
		float64(utf8.RuneCountInString(trimmed))*charWidth, run[0].style, escaped.String())
}
