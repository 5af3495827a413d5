package page

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pcapsule/pcapsule/cli/console"
)

// maxTableText is the maximum width of a column of an answer's table, in characters.
const maxTableText = 60

// column is one column of an answer's table.
type column struct {
	name    string
	cells   []string
	width   int  // of its widest cell
	least   int  // the width to which it may be cut
	numbers bool // right-aligned
}

// table prints rows as a table. It returns false and prints nothing if a row contains
// objects or is too wide for the page.
func (p *page) table(list []any, indent int) bool {
	cols, ok := p.columns(list)
	if !ok {
		return false
	}
	if !fitColumns(cols, p.width-indent) {
		return false
	}
	margin := strings.Repeat(" ", indent)
	var head []string
	for _, c := range cols {
		head = append(head, pad(label(c.name), c.width, c.numbers))
	}
	p.line(margin + strings.TrimRight(strings.Join(head, "  "), " "))
	for i := range list {
		var cells []string
		for _, c := range cols {
			cells = append(cells, pad(c.cells[i], c.width, c.numbers))
		}
		p.line(margin + strings.Join(cells, "  "))
	}
	return true
}

// columns reads the columns of a list of flat objects in their order, with evidence last. It
// leaves out empty columns, and filters, which are long.
func (p *page) columns(list []any) ([]*column, bool) {
	at := map[string]*column{}
	var cols []*column
	for i, v := range list {
		o, _ := v.(object)
		if !flat(o) {
			return nil, false
		}
		for _, m := range o {
			c := at[m.name]
			if c == nil {
				c = &column{name: m.name, cells: make([]string, len(list)), numbers: true}
				at[m.name] = c
				cols = append(cols, c)
			}
			text := p.value(m.name, m.value)
			if ids, ok := m.value.([]any); ok && m.name == "call_ids" && len(ids) > 1 {
				text = valueOf("", ids[0]) + " +" + strconv.Itoa(len(ids)-1)
			}
			if m.name != "kfl" && utf8.RuneCountInString(text) > maxTableText*3/2 {
				return nil, false // too much would be cut
			}
			c.cells[i] = text
			c.width = max(c.width, utf8.RuneCountInString(text))
			if list, ok := m.value.([]any); ok {
				c.numbers = c.numbers && p.pairs && len(list) == 2
			} else if m.value != nil {
				c.numbers = c.numbers && number64(m.value)
			}
		}
	}
	var front, back []*column
	for _, c := range cols {
		if c.width == 0 || c.name == "kfl" {
			continue
		}
		c.width = max(c.width, utf8.RuneCountInString(label(c.name)))
		c.least = c.width
		switch {
		case c.numbers, isEvidence(c.name), c.width <= 16:
		case naming(c.name):
			c.least = min(c.width, 32)
		default:
			c.least = max(16, c.width*3/5)
		}
		if isEvidence(c.name) {
			back = append(back, c)
		} else {
			front = append(front, c)
		}
	}
	return append(front, back...), true
}

// fitColumns narrows the widest texts until a line fits the screen, and reports whether it
// fits.
func fitColumns(cols []*column, screen int) bool {
	over := 2*(len(cols)-1) - screen
	for _, c := range cols {
		over += c.width
	}
	for ; over > 0; over-- {
		var widest *column
		for _, c := range cols {
			if c.width > c.least && (widest == nil || c.width > widest.width) {
				widest = c
			}
		}
		if widest == nil {
			return false
		}
		widest.width--
	}
	return true
}

// pad cuts or pads a cell to a width.
func pad(s string, width int, right bool) string {
	n := utf8.RuneCountInString(s)
	if n > width {
		return console.Printable(s, width-1)
	}
	if right {
		return strings.Repeat(" ", width-n) + s
	}
	return s + strings.Repeat(" ", width-n)
}

// naming reports whether a column identifies something, so it should be cut as little as
// possible.
func naming(column string) bool {
	switch column {
	case "src", "dst", "name", "service", "server", "client", "workload", "pod", "peer", "endpoint", "names", "clients":
		return true
	}
	return false
}
