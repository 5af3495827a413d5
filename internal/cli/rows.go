package cli

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/internal/cli/console"
	"github.com/pcapsule/pcapsule/internal/cli/exit"
)

// rowWriter prints rows in one format.
type rowWriter interface {
	begin(cols []forensics.Column) error
	row(cols []forensics.Column, row []any) error
	end() error
}

// rowFormats are the formats of rows; calls can also be har and curl.
var rowFormats = []string{"table", "json", "ndjson", "csv", "parquet"}

func newRowWriter(format string, e *env) (rowWriter, error) {
	w := bufio.NewWriterSize(e.out, 64<<10)
	switch format {
	case "table":
		return &tableWriter{w: w, e: e}, nil
	case "json":
		return &jsonWriter{w: w, array: true}, nil
	case "ndjson":
		return &jsonWriter{w: w}, nil
	case "csv":
		return &csvWriter{w: csv.NewWriter(w), flush: w}, nil
	case "parquet":
		if terminal(e.out) {
			return nil, exit.Usagef("parquet is not for a terminal: redirect it to a file")
		}
		return &parquetWriter{out: e.exact()}, nil
	}
	return nil, fmt.Errorf("format %q is not of rows", format)
}

// stamp writes a time as RFC 3339 with nine digits and Z.
func stamp(ns int64) string { return time.Unix(0, ns).UTC().Format("2006-01-02T15:04:05.000000000Z") }

func appendJSON(b []byte, v any) []byte {
	var buf strings.Builder
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return append(b, "null"...)
	}
	return append(b, strings.TrimSuffix(buf.String(), "\n")...)
}

// jsonWriter prints one object a row: a list, or one a line.
type jsonWriter struct {
	w     *bufio.Writer
	array bool
	n     int
	line  []byte
}

func (j *jsonWriter) begin([]forensics.Column) error {
	if j.array {
		j.w.WriteString("[")
	}
	return nil
}

func (j *jsonWriter) row(cols []forensics.Column, row []any) error {
	if j.array && j.n > 0 {
		j.w.WriteString(",")
	}
	if j.array {
		j.w.WriteString("\n ")
	}
	j.n++
	b := forensics.AppendRow(j.line[:0], cols, row)
	if !j.array {
		b = append(b, '\n')
	}
	j.line = b
	_, err := j.w.Write(b)
	return err
}

func (j *jsonWriter) end() error {
	if j.array {
		if j.n > 0 {
			j.w.WriteString("\n")
		}
		j.w.WriteString("]\n")
	}
	return j.w.Flush()
}

type csvWriter struct {
	w     *csv.Writer
	flush *bufio.Writer
	line  []string
}

func (c *csvWriter) begin(cols []forensics.Column) error {
	c.line = c.line[:0]
	for _, col := range cols {
		c.line = append(c.line, notFormula(col.Name))
	}
	return c.w.Write(c.line)
}

func (c *csvWriter) row(cols []forensics.Column, row []any) error {
	c.line = c.line[:0]
	for i, col := range cols {
		text := valueText(col.Name, row[i])
		switch row[i].(type) {
		case nil, bool, int64, int32, float64: // a negative number is no formula
		default:
			text = notFormula(text)
		}
		c.line = append(c.line, text)
	}
	return c.w.Write(c.line)
}

// notFormula puts ' before a text that a spreadsheet would compute, and before one that
// begins with ' itself: whoever removes one ' from the front of a text has it as it was.
func notFormula(s string) string {
	r, _ := utf8.DecodeRuneInString(s)
	if strings.ContainsRune("=+-@\t\r\n'\uff1d\uff0b\uff0d\uff20", r) {
		return "'" + s
	}
	return s
}

func (c *csvWriter) end() error {
	c.w.Flush()
	if err := c.w.Error(); err != nil {
		return err
	}
	return c.flush.Flush()
}

// valueText is a value as one piece of text; null is empty.
func valueText(col string, v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	}
	b := forensics.AppendJSON(nil, v)
	if len(b) > 1 && b[0] == '"' { // times and bytes
		return string(b[1 : len(b)-1])
	}
	return string(b)
}

// maxCell is how wide a column of a table for people may be.
const maxCell = 80

// tableWriter lines columns up; it holds its rows, of which there are few.
type tableWriter struct {
	w    *bufio.Writer
	e    *env
	cols []forensics.Column
	rows [][]string
	num  []bool
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
	t.rows = append(t.rows, line)
	return nil
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

func (t *tableWriter) end() error {
	width := make([]int, len(t.cols))
	for i, c := range t.cols {
		width[i] = utf8.RuneCountInString(c.Name)
	}
	for _, r := range t.rows {
		for i, s := range r {
			width[i] = max(width[i], utf8.RuneCountInString(s))
		}
	}
	if screen := columnsOf(t.e.out); screen > 0 {
		t.fit(width, screen)
	}
	head := make([]string, len(t.cols))
	for i, c := range t.cols {
		head[i] = c.Name
	}
	bold, plain := "", ""
	if t.e.coloured(t.e.out) {
		bold, plain = console.Bold, console.Plain
	}
	t.w.WriteString(bold)
	t.line(head, width)
	t.w.WriteString(plain)
	for _, r := range t.rows {
		t.line(r, width)
	}
	return t.w.Flush()
}

// minCell is how narrow a column becomes to fit a line on the screen.
const minCell = 12

// fit takes from the widest texts what a line has too much; numbers and times stay
// whole. Where even that is not enough, lines wrap.
func (t *tableWriter) fit(width []int, screen int) {
	over := 2*(len(width)-1) - screen
	for _, w := range width {
		over += w
	}
	for ; over > 0; over-- {
		widest := -1
		for i, w := range width {
			if !t.num[i] && !isTime(t.cols[i].Name) && w > minCell && (widest < 0 || w > width[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			return
		}
		width[widest]--
	}
}

// isTime reports whether a column's numbers are points in time.
func isTime(col string) bool {
	return strings.HasSuffix(col, "ts_ns") || col == "first_ns" || col == "last_ns"
}

func (t *tableWriter) line(cells []string, width []int) {
	var b strings.Builder
	for i, s := range cells {
		if utf8.RuneCountInString(s) > width[i] {
			s = printable(s, width[i]-1)
		}
		pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(s))
		if i > 0 {
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
