package cli

import (
	"bufio"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/internal/cli/console"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// maxCell is how wide a column of a table for people may be.
const maxCell = 80

// tableWriter lines columns up; it holds its rows, of which there are few.
type tableWriter struct {
	w      *bufio.Writer
	e      *env
	cols   []forensics.Column
	rows   [][]string
	styles []string // by row, "" is plain
	num    []bool
}

func (t *tableWriter) begin(cols []forensics.Column) error {
	t.cols, t.num = cols, make([]bool, len(cols))
	return nil
}

func (t *tableWriter) row(cols []forensics.Column, row []any) error {
	line := make([]string, len(cols))
	for i, c := range cols {
		line[i] = cell(c.Name, row[i])
		if _, ok := row[i].(int64); ok && !isTime(c.Name) {
			t.num[i] = true
		}
	}
	t.rows, t.styles = append(t.rows, line), append(t.styles, styleOf(cols, row))
	return nil
}

// styleOf is the colour of a row: how its call ended.
func styleOf(cols []forensics.Column, row []any) string {
	for i, c := range cols {
		if c.Name == "outcome" {
			return outcomeStyle(text(row[i]))
		}
	}
	return ""
}

// outcomeStyle is the colour of an outcome, "" for none.
func outcomeStyle(outcome string) string {
	switch outcome {
	case "server_error", "refused", "no_answer":
		return console.Red
	case "client_error", "cut", "unread":
		return console.Yellow
	}
	return ""
}

// cell is a value for a person: times of day readable, durations with their unit, no
// control characters that could move the cursor.
func cell(col string, v any) string {
	if n, ok := v.(int64); ok {
		switch {
		case isTime(col):
			return time.Unix(0, n).UTC().Format("2006-01-02 15:04:05.000000")
		case strings.HasSuffix(col, "_us"):
			return micros(n)
		}
	}
	if list, ok := v.([]any); ok && col == "cites" {
		return printable(rangesText(list), maxCell)
	}
	return printable(valueText(col, v), maxCell)
}

// rangesText writes citations as 12-15, 20.
func rangesText(list []any) string {
	var parts []string
	for _, v := range list {
		r, _ := v.(forensics.Struct)
		if first, last := number(r.Get("first")), number(r.Get("last")); first == last {
			parts = append(parts, strconv.FormatInt(first, 10))
		} else {
			parts = append(parts, fmt.Sprintf("%d-%d", first, last))
		}
	}
	return strings.Join(parts, ", ")
}

// micros writes microseconds for a person.
func micros(n int64) string {
	switch d := time.Duration(n) * time.Microsecond; {
	case d < time.Millisecond:
		return strconv.FormatInt(n, 10) + " µs"
	case d < 10*time.Second:
		return strconv.FormatFloat(float64(n)/1000, 'f', 1, 64) + " ms"
	default:
		return d.Round(100 * time.Millisecond).String()
	}
}

// printable escapes what a terminal would act on and cuts to n columns.
func printable(s string, n int) string { return console.Printable(s, n) }

// end prints the table. What a screen has no room for is shortened first, then left out,
// which is said behind the table.
func (t *tableWriter) end() error {
	shown := make([]int, 0, len(t.cols))
	for i, c := range t.cols {
		if c.Name != "outcome" || !slices.Contains(t.e.hidden, c.Name) {
			shown = append(shown, i)
		}
	}
	width := t.widths()
	var dropped []string
	day := ""
	if screen := t.e.screen(); screen > 0 {
		if t.over(shown, width, screen) > 0 {
			if day = t.shortTimes(); day != "" {
				width = t.widths()
			}
		}
		for t.over(shown, t.least(width), screen) > 0 && len(shown) > 1 {
			last := t.leastWanted(shown)
			dropped = append(dropped, t.cols[shown[last]].Name)
			shown = slices.Delete(shown, last, last+1)
		}
		t.fit(shown, width, screen)
	}
	coloured := t.e.coloured(t.e.out)
	style := func(s string) {
		if coloured && s != "" {
			t.w.WriteString(s)
		}
	}
	head := make([]string, len(t.cols))
	for i, c := range t.cols {
		head[i] = c.Name
	}
	style(console.Bold)
	t.line(head, shown, width)
	style(console.Plain)
	for i, r := range t.rows {
		style(t.styles[i])
		t.line(r, shown, width)
		if t.styles[i] != "" {
			style(console.Plain)
		}
	}
	if err := t.w.Flush(); err != nil {
		return err
	}
	t.e.endPage()
	if day != "" && slices.ContainsFunc(shown, func(i int) bool { return isTime(t.cols[i].Name) }) {
		fmt.Fprintf(t.e.err, "times are of %s, UTC\n", day)
	}
	if len(dropped) > 0 {
		slices.Reverse(dropped)
		names := strings.Join(dropped[:min(len(dropped), maxDropped)], ", ")
		if n := len(dropped) - maxDropped; n > 0 {
			names += plural.Sprintf(" and %d {more column|more columns}", n)
		}
		fmt.Fprintf(t.e.err, "no room for %s; --wide shows all\n", names)
	}
	return nil
}

const maxDropped = 4 // names of columns in what is said of them

// widths are those of the columns with nothing cut.
func (t *tableWriter) widths() []int {
	width := make([]int, len(t.cols))
	for i, c := range t.cols {
		width[i] = utf8.RuneCountInString(c.Name)
		for _, r := range t.rows {
			width[i] = max(width[i], utf8.RuneCountInString(r[i]))
		}
	}
	return width
}

// minCell is how narrow a column of texts becomes to fit a line on the screen.
const minCell = 10

// least are the widths that columns can be cut to: numbers and times stay whole.
func (t *tableWriter) least(width []int) []int {
	out := slices.Clone(width)
	for i, w := range out {
		if t.mayCut(i) {
			out[i] = min(w, max(minCell, utf8.RuneCountInString(t.cols[i].Name)))
		}
	}
	return out
}

func (t *tableWriter) mayCut(i int) bool { return !t.num[i] && !isTime(t.cols[i].Name) }

// over is by how much the columns are wider than the screen.
func (t *tableWriter) over(shown, width []int, screen int) int {
	n := 2*(len(shown)-1) - screen
	for _, i := range shown {
		n += width[i]
	}
	return n
}

// leastWanted is the place in shown of the column that is left out first: one that others
// say too, or else the last.
func (t *tableWriter) leastWanted(shown []int) int {
	for at, i := range shown {
		if t.cols[i].Name == "protocol" && slices.ContainsFunc(shown, func(i int) bool { return t.cols[i].Name == "summary" }) {
			return at
		}
	}
	return len(shown) - 1
}

// fit cuts the widest texts until a line fits the screen.
func (t *tableWriter) fit(shown, width []int, screen int) {
	least := t.least(width)
	for over := t.over(shown, width, screen); over > 0; over-- {
		widest := -1
		for _, i := range shown {
			if width[i] > least[i] && (widest < 0 || width[i] > width[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			return
		}
		width[widest]--
	}
}

// shortTimes leaves the day out of all times if it is the same, and gives that day.
func (t *tableWriter) shortTimes() (day string) {
	each := func(do func(cell *string)) {
		for i, c := range t.cols {
			for _, r := range t.rows {
				if isTime(c.Name) && len(r[i]) > len(time.DateOnly) {
					do(&r[i])
				}
			}
		}
	}
	one := true
	each(func(cell *string) {
		if d := (*cell)[:len(time.DateOnly)]; day == "" {
			day = d
		} else if d != day {
			one = false
		}
	})
	if !one {
		return ""
	}
	each(func(cell *string) { *cell = (*cell)[len(time.DateOnly)+1:] })
	return day
}

// isTime reports whether a column's numbers are points in time.
func isTime(col string) bool {
	return strings.HasSuffix(col, "ts_ns") || col == "first_ns" || col == "last_ns"
}

func (t *tableWriter) line(cells []string, shown, width []int) {
	var b strings.Builder
	for at, i := range shown {
		s := cells[i]
		if utf8.RuneCountInString(s) > width[i] {
			s = printable(s, width[i]-1)
		}
		pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(s))
		if at > 0 {
			b.WriteString("  ")
		}
		if t.num[i] {
			b.WriteString(pad + s)
		} else {
			b.WriteString(s + pad)
		}
	}
	fmt.Fprintln(t.w, strings.TrimRight(b.String(), " "))
}
