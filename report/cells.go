package report

import "github.com/pcapsule/pcapsule/internal/plural"

// The cells of tables.

func textCell(v string) Cell { return Cell{Text: str(v)} }

func wordCell(s string) Cell { return Cell{Text: s} }

func countCell(n int64) Cell { return numberCell(n, plural.Thousands) }

func bytesCell(n int64) Cell { return numberCell(n, bytesText) }

func microsCell(us int64) Cell { return numberCell(us, micros) }

// failedCell is a count that is marked as bad unless it is zero.
func failedCell(n int64) Cell {
	c := countCell(n)
	c.Bad = n > 0
	return c
}

func numberCell(n int64, write func(int64) string) Cell { return Cell{Text: write(n), Value: &n} }

// shares draws the numbers of a column as bars.
func (t *Table) shares(column int) {
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

// add appends a row.
func (t *Table) add(cite *Citation, cells ...Cell) *Row {
	t.Rows = append(t.Rows, Row{Cells: cells, Cite: cite})
	t.Cited = t.Cited || cite != nil
	return &t.Rows[len(t.Rows)-1]
}

func column(title string) Column      { return Column{Name: title} }
func number(title, doc string) Column { return Column{Name: title, Kind: "number", Doc: doc} }
func code(title string) Column        { return Column{Name: title, Kind: "code"} }
func name(title string) Column        { return Column{Name: title, Kind: "name"} }
func moment(title string) Column      { return Column{Name: title, Kind: "moment"} }
func tableBlock(t *Table) Block       { return Block{Table: t} }
func figureBlock(f *Figure) Block     { return Block{Figure: f} }
