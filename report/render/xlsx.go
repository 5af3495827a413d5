package render

import (
	"archive/zip"
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf16"

	"github.com/xuri/excelize/v2"

	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/report/value"
)

// Limits of a workbook (ECMA-376, and Microsoft's specifications of Excel).
const (
	maxCellText  = 32_767 // UTF-16 units
	maxSheetRows = 1_048_576
	maxSheetName = 31
	maxExact     = 1 << 53 // larger numbers lose digits
)

// dataSheet is the hidden sheet with the data.
const dataSheet = "data"

// grid is a sheet: a row of names, and rows of texts (string) and numbers (int64).
type grid struct {
	name    string
	columns []string
	rows    [][]any
}

func (g *grid) add(row ...any) { g.rows = append(g.rows, row) }

// XLSX writes a report as a workbook: a sheet for each table and chart, sheets of statements, figures
// and queries, and the data in a hidden sheet. Every text is a cell of type string, so none becomes a
// formula. Times are text, as in the other forms, because a date of a spreadsheet has no zone and
// milliseconds at best. The dates of the file are the end of the window.
func XLSX(w io.Writer, r *value.Report) error {
	data, err := carried(r)
	if err != nil {
		return err
	}
	list := append(grids(r), dataGrid(string(data)))
	f := excelize.NewFile()
	defer f.Close()
	b := &book{f: f}
	b.styles()
	for i, g := range list {
		b.sheet(i, g)
	}
	b.keep(f.SetSheetVisible(list[len(list)-1].name, false))
	at := cmp.Or(r.To, "1970-01-01T00:00:00Z") // the library would write a date of its own
	b.keep(f.SetDocProps(&excelize.DocProperties{Title: r.Title, Subject: r.Kind, Creator: "pcapsule", Description: "pcapsule report verify checks this file.", Created: at, Modified: at}))
	var file bytes.Buffer
	if b.err == nil {
		b.err = f.Write(&file)
	}
	if b.err == nil {
		b.err = readable(file.Bytes(), b.cells, maxBook)
	}
	if b.err == nil {
		b.err = ordered(w, file.Bytes())
	}
	if b.err != nil {
		return fmt.Errorf("writing XLSX: %w", b.err)
	}
	return nil
}

// ordered writes the parts of a workbook by their names: the library writes them in the order of a map.
func ordered(w io.Writer, file []byte) error {
	in, err := zip.NewReader(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		return err
	}
	slices.SortFunc(in.File, func(a, b *zip.File) int { return strings.Compare(a.Name, b.Name) })
	out := zip.NewWriter(w)
	for _, f := range in.File {
		if err := out.Copy(f); err != nil {
			return err
		}
	}
	return out.Close()
}

// grids lists the sheets that a reader sees.
func grids(r *value.Report) []grid {
	many := len(r.Bundles) > 1
	var blocks []grid
	contents := grid{name: "Contents", columns: []string{"Sheet", "Section", "Title", "Rows", "Queries", "Note"}}
	names := newSheetNames("Report", "Contents", "Statements", "Figures", "Queries", dataSheet)
	for _, s := range r.Sections {
		for _, b := range s.Blocks {
			var g grid
			if b.Table != nil {
				g = tableGrid(b.Table, many)
				g.name = names.unique(b.Table.Title)
				contents.add(g.name, s.Title, b.Table.Title, int64(len(g.rows)), queriesText(b.Table.Queries), b.Table.Note)
			} else {
				g = figureGrid(b.Figure)
				g.name = names.unique(b.Figure.Title)
				contents.add(g.name, s.Title, b.Figure.Title, int64(len(g.rows)), queriesText(b.Figure.Queries), b.Figure.Note)
			}
			blocks = append(blocks, g)
		}
	}
	queries := grid{name: "Queries", columns: []string{"Query", "Command"}}
	for i, q := range r.Queries {
		queries.add(fmt.Sprintf("Q%d", i+1), q.Command)
	}
	statements, figures := statementGrids(r, many)
	list := append([]grid{headGrid(r), statements, figures, contents}, blocks...)
	return append(list, queries)
}

// headGrid is the sheet with the subject of the report.
func headGrid(r *value.Report) grid {
	g := grid{name: "Report", columns: []string{"Part", "Name", "Text", "Value"}}
	g.add("report", "title", r.Title, nil)
	g.add("report", "template", r.Kind, nil)
	if r.About != "" {
		g.add("report", "about", r.About, nil)
	}
	g.add("report", "from", r.From, nil)
	g.add("report", "to", r.To, nil)
	if r.Basis.KFL != "" {
		g.add("report", "filter of calls", r.Basis.KFL, nil)
	}
	for _, b := range r.Bundles {
		g.add("bundle", b.Name, b.Verified+"; "+b.Detail, nil)
	}
	for _, f := range r.Facts {
		g.add("fact", f.Label, f.Text, exact(f.Value))
	}
	for _, x := range r.Absent {
		g.add("looked for and not found", "", x, nil)
	}
	for _, x := range r.Unmade {
		g.add("not in this report, because it needs more memory than a question may use", "", x, nil)
	}
	for _, s := range r.Sections {
		for _, label := range s.Sign {
			g.add("sign-off", label, "", nil)
		}
	}
	g.add("check", "every figure of this file", r.Checking(), nil)
	g.add("check", "data of the report", "in the hidden sheet "+dataSheet, nil)
	return g
}

// statementGrids are the sheets of statements and of their figures.
func statementGrids(r *value.Report, many bool) (statements, figures grid) {
	statements = grid{name: "Statements", columns: []string{"Section", "Id", "About", "Text", "Evidence", "Queries"}}
	figures = grid{name: "Figures", columns: []string{"Statement", "Figure", "Text", "Value"}}
	add := func(section string, list []value.Statement) {
		for _, s := range list {
			statements.add(section, s.ID, s.Head, s.Text, evidenceText(s.Cite, many), queriesText(s.Queries))
			for _, f := range s.Figures {
				figures.add(s.ID, f.Label, f.Text, exact(f.Value))
			}
		}
	}
	add("Summary", r.Statements)
	for _, s := range r.Sections {
		for _, text := range s.Text {
			statements.add(s.Title, "", "how to read it", text, "", "")
		}
		add(s.Title, s.Statements)
	}
	return statements, figures
}

// exact is a number as a cell, or nil for none. A number that a spreadsheet would round is text.
func exact(n *int64) any {
	switch {
	case n == nil:
		return nil
	case *n > maxExact || *n < -maxExact:
		return number(n)
	}
	return *n
}

// tableGrid is a table. Counts are numbers. For other numbers a second column has the number itself,
// with its unit.
func tableGrid(t *value.Table, many bool) (g grid) {
	units := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		name := c.Name
		if c.Doc != "" {
			name += " (" + c.Doc + ")"
		}
		g.columns = append(g.columns, name)
		if units[i] = unitOf(t, i); units[i] != "" && units[i] != unitCount {
			g.columns = append(g.columns, name+", "+units[i])
		}
	}
	cited := t.Cited()
	if cited {
		g.columns = append(g.columns, "Evidence")
	}
	for _, row := range t.Rows {
		var out []any
		for i, c := range row.Cells {
			switch {
			case units[i] == unitCount && c.Value != nil:
				out = append(out, exact(c.Value))
			case units[i] == "" || units[i] == unitCount:
				out = append(out, c.Text)
			default:
				out = append(out, c.Text, exact(c.Value))
			}
		}
		if cited {
			out = append(out, evidenceText(row.Cite, many))
		}
		g.add(out...)
	}
	return g
}

// unitCount is the unit of a column whose text is its numbers.
const unitCount = "count"

// unitOf returns the unit of the numbers in a column of a table, or nothing if it has none.
func unitOf(t *value.Table, column int) string {
	units := []struct {
		name  string
		write func(int64) string
	}{{unitCount, plural.Thousands}, {"bytes", value.Bytes}, {"µs", value.Micros}}
	any := false
	for _, row := range t.Rows {
		c := row.Cells[column]
		if c.Value == nil {
			continue
		}
		any = true
		for len(units) > 0 && units[0].write(*c.Value) != c.Text {
			units = units[1:]
		}
	}
	switch {
	case !any:
		return ""
	case len(units) == 0:
		return "exact"
	}
	return units[0].name
}

// figureGrid is the amounts of a chart.
func figureGrid(f *value.Figure) grid {
	g := grid{columns: []string{"Series", "At", "Amount"}}
	for _, p := range points(f) {
		g.add(p.series, p.at, exact(&p.n))
	}
	return g
}

// dataGrid is the data in pieces, without text that programs would read as an escaped character.
func dataGrid(text string) grid {
	text = escapeForm.ReplaceAllString(text, `\u005f$1`)
	g := grid{name: dataSheet, columns: []string{"Data of the report, for pcapsule report verify"}}
	for piece := range pieces(text) {
		g.add(dataPrefix + piece)
	}
	return g
}

// sheetNames makes names of sheets.
type sheetNames map[string]bool

func newSheetNames(taken ...string) sheetNames {
	n := sheetNames{"history": true} // Excel keeps this one for itself
	for _, name := range taken {
		n[strings.ToLower(name)] = true
	}
	return n
}

// unique makes a name from a title: without forbidden characters, short enough, and different from all
// others, without regard to case.
func (n sheetNames) unique(title string) string {
	base := strings.Map(func(r rune) rune {
		if strings.ContainsRune(`:\/?*[]`, r) {
			return ' '
		}
		return r
	}, title)
	base = cmp.Or(strings.Trim(strings.Join(strings.Fields(base), " "), "'"), "sheet")
	for i := 1; ; i++ {
		suffix := ""
		if i > 1 {
			suffix = fmt.Sprintf(" (%d)", i)
		}
		name := base
		if most := maxSheetName - len(suffix); firstUnits(base, most) != base {
			name = strings.TrimRight(firstUnits(base, most-1), " ',") + "…"
		}
		name += suffix
		if key := strings.ToLower(name); !n[key] {
			n[key] = true
			return name
		}
	}
}

// firstUnits is the beginning of a text with at most a number of UTF-16 units.
func firstUnits(s string, most int) string {
	n := 0
	for i, r := range s {
		if n += utf16.RuneLen(r); n > most {
			return s[:i]
		}
	}
	return s
}
