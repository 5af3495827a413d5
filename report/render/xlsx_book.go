package render

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/xuri/excelize/v2"

	"github.com/pcapsule/pcapsule/internal/plural"
)

// book writes sheets. After an error it writes no more.
type book struct {
	f                  *excelize.File
	head, text, amount int // styles
	cells              int // written so far
	err                error
}

func (b *book) keep(err error) {
	if b.err == nil {
		b.err = err
	}
}

func (b *book) styles() {
	for _, s := range []struct {
		id    *int
		style *excelize.Style
	}{
		{&b.head, &excelize.Style{Font: &excelize.Font{Bold: true}, Alignment: &excelize.Alignment{WrapText: true, Vertical: "bottom"}}},
		{&b.text, &excelize.Style{Alignment: &excelize.Alignment{WrapText: true, Vertical: "top"}}},
		{&b.amount, &excelize.Style{Alignment: &excelize.Alignment{Vertical: "top"}, NumFmt: 3}}, // 1,234
	} {
		id, err := b.f.NewStyle(s.style)
		*s.id = id
		b.keep(err)
	}
}

// sheet writes a grid: its names stay on the screen, and can filter its rows. Rows are written one by one, so
// that only one is in memory as a spreadsheet has it.
func (b *book) sheet(i int, g grid) {
	if b.err != nil {
		return
	}
	if i == 0 {
		b.keep(b.f.SetSheetName("Sheet1", g.name))
	} else if _, err := b.f.NewSheet(g.name); err != nil {
		b.keep(err)
	}
	g.fit(maxSheetRows)
	b.keep(b.f.AutoFilter(g.name, fmt.Sprintf("A1:%s%d", letter(len(g.columns)-1), len(g.rows)+1), nil))
	w, err := b.f.NewStreamWriter(g.name)
	if err != nil {
		b.keep(err)
		return
	}
	names := make([]any, len(g.columns))
	for column, name := range slices.Backward(g.columns) { // the library writes the last one first
		b.keep(w.SetColWidth(column+1, column+1, g.width(column)))
		names[column] = excelize.Cell{StyleID: b.head, Value: fitCell(name)}
	}
	b.keep(w.SetPanes(&excelize.Panes{Freeze: true, YSplit: 1, TopLeftCell: "A2", ActivePane: "bottomLeft"}))
	b.keep(w.SetRow("A1", names))
	b.cells += len(names)
	for row, values := range g.rows {
		b.keep(w.SetRow(fmt.Sprintf("A%d", row+2), b.row(values)))
	}
	b.keep(w.Flush())
}

// row makes the cells of a row. An empty text has no cell.
func (b *book) row(values []any) []any {
	out := make([]any, len(values))
	for column, v := range values {
		switch v := v.(type) {
		case string:
			if v == "" {
				continue
			}
			out[column] = excelize.Cell{StyleID: b.text, Value: fitCell(v)}
		case int64:
			out[column] = excelize.Cell{StyleID: b.amount, Value: v}
		default:
			continue
		}
		b.cells++
	}
	return out
}

// escapeForm is how XLSX writes a character that XML lacks (ECMA-376 part 1, 22.9.2.19).
var escapeForm = regexp.MustCompile(`_(x[0-9A-Fa-f]{4})`)

// letter is the name of a column, from 0 on: A, B, …, Z, AA.
func letter(column int) string {
	name := ""
	for column++; column > 0; column = (column - 1) / 26 {
		name = string(rune('A'+(column-1)%26)) + name
	}
	return name
}

// fit cuts a grid to a number of rows with the names, and says so in the last one.
func (g *grid) fit(most int) {
	if len(g.rows)+1 <= most {
		return
	}
	left := len(g.rows) - (most - 2)
	g.rows = append(g.rows[:most-2:most-2], []any{plural.Sprintf("%d more {row does|rows do} not fit in a sheet; the data of the report has {it|them}", left)})
}

// fitCell cuts text to the limit of a cell, and marks the cut. Text that programs would read as an
// escaped character shows its underscore as a code point.
func fitCell(s string) string {
	s = escapeForm.ReplaceAllString(s, `\u{5f}$1`)
	if len(s) <= maxCellText {
		return s
	}
	kept := firstUnits(s, maxCellText-100)
	if firstUnits(s, maxCellText) == s {
		return s
	}
	return kept + plural.Sprintf("… (%d more {character does|characters do} not fit in a cell; the data of the report has {it|them})", utf8.RuneCountInString(s[len(kept):]))
}

// width is a width for a column, in characters.
func (g *grid) width(column int) float64 {
	const least, most = 8, 60
	w := 0
	for _, word := range strings.Fields(g.columns[column]) {
		w = max(w, utf8.RuneCountInString(word)+3) // the button of the filter
	}
	for _, row := range g.rows {
		if column >= len(row) {
			continue
		}
		switch v := row[column].(type) {
		case string:
			w = max(w, utf8.RuneCountInString(v))
		case int64:
			w = max(w, len(plural.Thousands(v))+1)
		}
	}
	return float64(min(max(w, least), most))
}
