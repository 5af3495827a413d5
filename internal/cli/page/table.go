package page

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pcapsule/pcapsule/internal/cli/console"
)

// maxTableText is how wide a column of an answer's table may be.
const maxTableText = 60

// column is one column of an answer's table.
type column struct {
	name    string
	cells   []string
	width   int  // what its widest cell takes
	least   int  // what it may be cut to
	numbers bool // set to the right
}

// table lays rows out as a table and reports whether they fit one. A row that holds
// objects, or needs more than the page has, does not.
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

// columns reads the columns of a list of flat objects: as they come, what leads to
// packets last, without those that are empty and without conditions, which are long.
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
		case c.numbers, leads(c.name), c.width <= 16:
		case naming(c.name):
			c.least = min(c.width, 32)
		default:
			c.least = max(16, c.width*3/5)
		}
		if leads(c.name) {
			back = append(back, c)
		} else {
			front = append(front, c)
		}
	}
	return append(front, back...), true
}

// fitColumns takes from the widest texts what a line has too much, as far as they can
// give it, and reports whether that was enough.
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

// pad cuts or fills a cell to a width.
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

// naming reports whether a column says who or what, which should be read whole.
func naming(column string) bool {
	switch column {
	case "src", "dst", "name", "service", "server", "client", "workload", "pod", "peer", "endpoint", "names", "clients":
		return true
	}
	return false
}
