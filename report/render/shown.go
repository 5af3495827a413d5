package render

import (
	"slices"

	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/report/value"
)

// Rows of a table that pages for readers show. The data in the file has all of them.
const (
	mostPageRows  = 10_000 // HTML, Markdown
	mostPaperRows = 2_000  // PDF
)

// shown is a report as pages for readers show it: without the columns that have no value, and with the
// first rows of long tables. A note below each table says what is not shown.
func shown(r *value.Report, rows int) *value.Report {
	out := *r
	out.Sections = slices.Clone(r.Sections)
	for i := range out.Sections {
		s := &out.Sections[i]
		s.Blocks = slices.Clone(s.Blocks)
		for k := range s.Blocks {
			if t := s.Blocks[k].Table; t != nil {
				s.Blocks[k].Table = shownTable(t, rows)
			}
		}
	}
	return &out
}

func shownTable(t *value.Table, rows int) *value.Table {
	out := *t
	var notes []string
	keep := make([]int, 0, len(t.Columns))
	var blank []string
	for i, c := range t.Columns {
		if slices.ContainsFunc(t.Rows, func(row value.Row) bool { return i < len(row.Cells) && row.Cells[i].Text != "" }) {
			keep = append(keep, i)
		} else {
			blank = append(blank, c.Name)
		}
	}
	if len(blank) > 0 && len(keep) > 0 {
		notes = append(notes, "No row has a value in: "+value.And(blank)+".")
		out.Columns = nil
		for _, i := range keep {
			out.Columns = append(out.Columns, t.Columns[i])
		}
	}
	if len(t.Rows) > rows {
		notes = append(notes, "Shown here: the first "+plural.Count(int64(rows), "row", "rows")+" of "+plural.Thousands(int64(len(t.Rows)))+". The data in this file, and the same report as CSV or JSON, have all.")
	}
	if len(notes) == 0 {
		return t
	}
	out.Rows = slices.Clone(t.Rows[:min(len(t.Rows), rows)])
	for k, row := range out.Rows {
		if len(out.Columns) == len(t.Columns) {
			break
		}
		cells := make([]value.Cell, 0, len(keep))
		for _, i := range keep {
			if i < len(row.Cells) {
				cells = append(cells, row.Cells[i])
			}
		}
		out.Rows[k].Cells = cells
	}
	for _, note := range notes {
		if out.Note != "" {
			out.Note += " "
		}
		out.Note += note
	}
	return &out
}
