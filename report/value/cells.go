package value

import (
	"strconv"
	"time"

	"github.com/pcapsule/pcapsule/internal/plural"
)

// TextCell is a cell of text from a capture.
func TextCell(v string) Cell { return Cell{Text: Text(v)} }

// WordCell is a cell of the program's own text, or of text that is clean already.
func WordCell(s string) Cell { return Cell{Text: s} }

// CountCell is a cell with a count.
func CountCell(n int64) Cell { return numberCell(n, plural.Thousands) }

// IDCell is a cell with a number that identifies something, such as a port: it has no separators.
func IDCell(n int64) Cell {
	return numberCell(n, func(n int64) string { return strconv.FormatInt(n, 10) })
}

// BytesCell is a cell with a number of bytes.
func BytesCell(n int64) Cell { return numberCell(n, Bytes) }

// MicrosCell is a cell with a length of time in microseconds.
func MicrosCell(us int64) Cell { return numberCell(us, Micros) }

// FailedCell is a count that is marked as bad unless it is zero.
func FailedCell(n int64) Cell {
	c := CountCell(n)
	c.Bad = n > 0
	return c
}

func numberCell(n int64, write func(int64) string) Cell { return Cell{Text: write(n), Value: &n} }

// Shares draws the numbers of a column as bars.
func (t *Table) Shares(column int) {
	var most int64
	for _, r := range t.Rows {
		if v := r.Cells[column].Value; v != nil {
			most = max(most, *v)
		}
	}
	if most == 0 {
		return
	}
	for i := range t.Rows {
		if v := t.Rows[i].Cells[column].Value; v != nil {
			share := int(float64(*v) / float64(most) * 1000)
			t.Rows[i].Cells[column].Share = &share
		}
	}
}

// Add appends a row.
func (t *Table) Add(cite []*Citation, cells ...Cell) *Row {
	t.Rows = append(t.Rows, Row{Cells: cells, Cite: cite})
	return &t.Rows[len(t.Rows)-1]
}

// Count is a figure that is a count.
func Count(label string, n int64) Number {
	return Number{Label: label, Text: plural.Thousands(n), Value: &n}
}

// TextColumn is a column of text.
func TextColumn(title string) Column { return Column{Name: title} }

// NumberColumn is a column of numbers, with the things that they count.
func NumberColumn(title, doc string) Column { return Column{Name: title, Kind: "number", Doc: doc} }

// CodeColumn is a column of text that is shown as written, such as paths.
func CodeColumn(title string) Column { return Column{Name: title, Kind: "code"} }

// NameColumn is a column of names of ends.
func NameColumn(title string) Column { return Column{Name: title, Kind: "name"} }

// MomentColumn is a column of times.
func MomentColumn(title string) Column { return Column{Name: title, Kind: "moment"} }

// WideColumn is a column of sentences.
func WideColumn(title string) Column { return Column{Name: title, Kind: "wide"} }

// TableBlock is a block with a table.
func TableBlock(t *Table) Block { return Block{Table: t} }

// FigureBlock is a block with a figure.
func FigureBlock(f *Figure) Block { return Block{Figure: f} }

// Latency is the unit of charts of times, in microseconds.
const Latency = "µs"

// Nice are round lengths of buckets of time.
var Nice = [...]time.Duration{time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond,
	50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second,
	10 * time.Second, 15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute,
	30 * time.Minute, time.Hour, 2 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour, 48 * time.Hour, 7 * 24 * time.Hour,
	14 * 24 * time.Hour, 28 * 24 * time.Hour, 91 * 24 * time.Hour, 364 * 24 * time.Hour, 3640 * 24 * time.Hour}
