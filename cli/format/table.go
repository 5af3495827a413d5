package format

import (
	"bufio"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// maxCell is the maximum width of a table's column, in characters.
const maxCell = 80

// table aligns columns. It keeps all rows in memory; a table has few.
type table struct {
	w      *bufio.Writer
	s      *console.Streams
	hidden []string // columns that only set the colour of rows
	cols   []forensics.Column
	rows   [][]string
	styles []string // by row, "" is plain
	num    []bool   // by column: numbers, which are not cut
	times  []bool   // by column: points in time
}

// Begin implements Rows.
func (t *table) Begin(cols []forensics.Column) error {
	t.cols, t.num, t.times = cols, make([]bool, len(cols)), make([]bool, len(cols))
	return nil
}

// Row implements Rows.
func (t *table) Row(cols []forensics.Column, row []any) error {
	line := make([]string, len(cols))
	for i, c := range cols {
		line[i] = cell(c.Name, row[i])
		if _, ok := moment(c.Name, row[i]); ok {
			t.times[i] = true
		} else if _, ok := row[i].(int64); ok {
			t.num[i] = true
		}
	}
	t.rows, t.styles = append(t.rows, line), append(t.styles, styleOf(cols, row))
	return nil
}

// styleOf returns the colour of a row, which shows the outcome of its call.
func styleOf(cols []forensics.Column, row []any) string {
	for i, c := range cols {
		if c.Name == "outcome" {
			return outcomeStyle(Text(row[i]))
		}
	}
	return ""
}

// outcomeStyle returns the colour of an outcome, "" for none.
func outcomeStyle(outcome string) string {
	switch outcome {
	case "server_error", "refused", "no_answer":
		return console.Red
	case "client_error", "cancelled", "skipped", "cut", "unread":
		return console.Yellow
	}
	return ""
}

// cell formats a value for a person: readable times, durations with their unit, and no
// control characters.
func cell(col string, v any) string {
	if at, ok := moment(col, v); ok {
		return at.UTC().Format("2006-01-02 15:04:05.000000")
	}
	if n, ok := v.(int64); ok && strings.HasSuffix(col, "_us") {
		return Micros(n)
	}
	if f, ok := v.(float64); ok && (f == 0 || math.Abs(f) >= 1e-4 && math.Abs(f) < 1e15) {
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	if list, ok := v.([]any); ok && col == "cites" {
		return console.Printable(rangesText(list), maxCell)
	}
	return console.Printable(Value(col, v), maxCell)
}

// rangesText writes citations as 12-15, 20.
func rangesText(list []any) string {
	var parts []string
	for _, v := range list {
		r, _ := v.(forensics.Struct)
		if first, last := Number(r.Get("first")), Number(r.Get("last")); first == last {
			parts = append(parts, strconv.FormatInt(first, 10))
		} else {
			parts = append(parts, fmt.Sprintf("%d-%d", first, last))
		}
	}
	return strings.Join(parts, ", ")
}

// Micros formats microseconds for a person.
func Micros(n int64) string {
	switch d := time.Duration(n) * time.Microsecond; {
	case d < time.Millisecond:
		return strconv.FormatInt(n, 10) + " µs"
	case d < 10*time.Second:
		return strconv.FormatFloat(float64(n)/1000, 'f', 1, 64) + " ms"
	default:
		return d.Round(100 * time.Millisecond).String()
	}
}

// End prints the table. If the screen is too narrow it shortens columns first, then drops
// some and names these below the table. A table without rows is not printed: its head says nothing about
// the capture, and the command says that nothing matches.
func (t *table) End() error {
	if len(t.rows) == 0 {
		return t.w.Flush()
	}
	shown := make([]int, 0, len(t.cols))
	for i, c := range t.cols {
		if !slices.Contains(t.hidden, c.Name) {
			shown = append(shown, i)
		}
	}
	width := t.widths()
	var dropped []string
	day := ""
	if screen := t.s.Screen(); screen > 0 {
		if t.excess(shown, width, screen) > 0 {
			if day = t.shortTimes(); day != "" {
				width = t.widths()
			}
		}
		for t.excess(shown, t.minWidths(width), screen) > 0 && len(shown) > 1 {
			last := t.firstToDrop(shown)
			dropped = append(dropped, t.cols[shown[last]].Name)
			shown = slices.Delete(shown, last, last+1)
		}
		t.fit(shown, width, screen)
	}
	coloured := t.s.Coloured()
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
	t.s.EndPager()
	if day != "" && slices.ContainsFunc(shown, func(i int) bool { return t.times[i] }) {
		fmt.Fprintf(t.s.Err, "Times are on %s, UTC.\n", day)
	}
	if len(dropped) > 0 {
		slices.Reverse(dropped)
		names := strings.Join(dropped[:min(len(dropped), maxDropped)], ", ")
		if n := len(dropped) - maxDropped; n > 0 {
			names += plural.Sprintf(" and %d {more column|more columns}", n)
		}
		_ = console.Row(t.s.Err, "", "Not shown: "+names+"; --wide shows all columns.")
	}
	return nil
}

const maxDropped = 4 // dropped columns that are named below the table

// widths returns the full widths of the columns.
func (t *table) widths() []int {
	width := make([]int, len(t.cols))
	for i, c := range t.cols {
		width[i] = utf8.RuneCountInString(c.Name)
		for _, r := range t.rows {
			width[i] = max(width[i], utf8.RuneCountInString(r[i]))
		}
	}
	return width
}

// Minimum widths of shortened text columns, in characters.
const (
	minCell    = 10
	minSummary = 18 // a part of the request, and the status
)

// minWidths returns the widths to which columns can be cut. Numbers and times are not cut.
func (t *table) minWidths(width []int) []int {
	out := slices.Clone(width)
	for i, w := range out {
		if t.mayCut(i) {
			least := minCell
			if t.cols[i].Name == summary {
				least = minSummary
			}
			out[i] = min(w, max(least, utf8.RuneCountInString(t.cols[i].Name)))
		}
	}
	return out
}

func (t *table) mayCut(i int) bool { return !t.num[i] && !t.times[i] }

// excess is how many characters the columns are too wide for the screen.
func (t *table) excess(shown, width []int, screen int) int {
	n := 2*(len(shown)-1) - screen
	for _, i := range shown {
		n += width[i]
	}
	return n
}

// summary is the most informative column of a call.
const summary = "summary"

// firstToDrop is the position in shown of the column to drop first: one whose content is
// also in another column, or else the last but the summary.
func (t *table) firstToDrop(shown []int) int {
	for at, i := range shown {
		if t.cols[i].Name == "protocol" && slices.ContainsFunc(shown, func(i int) bool { return t.cols[i].Name == summary }) {
			return at
		}
	}
	last := len(shown) - 1
	if t.cols[shown[last]].Name == summary {
		last--
	}
	return last
}

// fit cuts the widest texts until a line fits the screen, and the summary last.
func (t *table) fit(shown, width []int, screen int) {
	least := t.minWidths(width)
	for excess := t.excess(shown, width, screen); excess > 0; excess-- {
		widest := -1
		for _, i := range shown {
			switch {
			case width[i] <= least[i]:
			case widest < 0 || t.cols[widest].Name == summary || width[i] > width[widest] && t.cols[i].Name != summary:
				widest = i
			}
		}
		if widest < 0 {
			return
		}
		width[widest]--
	}
}

// shortTimes removes the day from all times if it is the same in all, and returns that day.
func (t *table) shortTimes() (day string) {
	each := func(do func(cell *string)) {
		for i := range t.cols {
			for _, r := range t.rows {
				if t.times[i] && r[i] != "" {
					do(&r[i])
				}
			}
		}
	}
	one := true
	each(func(cell *string) {
		if d, _, _ := strings.Cut(*cell, " "); day == "" {
			day = d
		} else if d != day {
			one = false
		}
	})
	if !one {
		return ""
	}
	each(func(cell *string) { _, *cell, _ = strings.Cut(*cell, " ") })
	return day
}

// moment is the point in time that a value is: a timestamp of SQL, or nanoseconds in a column of times.
func moment(col string, v any) (at time.Time, ok bool) {
	if n, isInt := v.(int64); isInt && (strings.HasSuffix(col, "ts_ns") || col == "first_ns" || col == "last_ns") {
		return time.Unix(0, n), true
	}
	at, ok = v.(time.Time)
	return at, ok
}

// shortened cuts a text to a width. Of a summary such as "POST /v1/payments → 503 (63 B)" it keeps
// the status, and of an address its end, in which addresses differ.
func shortened(col, s string, width int) string {
	if _, err := netip.ParseAddr(s); err == nil {
		return "…" + s[len(s)-width+1:]
	}
	if at := strings.LastIndex(s, " → "); col == summary && at > 0 {
		end := s[at:]
		if size := strings.LastIndex(end, " ("); size > 0 {
			end = end[:size]
		}
		if room := width - 1 - utf8.RuneCountInString(end); room >= minCell/2 {
			return console.Printable(s[:at], room) + end
		}
	}
	return console.Printable(s, width-1)
}

func (t *table) line(cells []string, shown, width []int) {
	var b strings.Builder
	for at, i := range shown {
		s := cells[i]
		if utf8.RuneCountInString(s) > width[i] {
			s = shortened(t.cols[i].Name, s, width[i])
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
