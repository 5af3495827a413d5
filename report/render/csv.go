package render

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pcapsule/pcapsule/internal/quote"
	"github.com/pcapsule/pcapsule/report/value"
)

// csvHead are the columns of a report as CSV: one record for each statement and each cell.
var csvHead = []string{"part", "id", "title", "row", "column", "text", "value", "evidence", "queries"}

// chunk is the number of bytes of a piece of the data; programs for spreadsheets cut longer cells.
const chunk = 30_000

// pieces cuts text into pieces of at most chunk bytes, between characters: half a character is not valid
// text in a cell.
func pieces(text string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for len(text) > chunk {
			n := chunk
			for n > chunk-utf8.UTFMax && !utf8.RuneStart(text[n]) {
				n--
			}
			if !yield(text[:n]) {
				return
			}
			text = text[n:]
		}
		if text != "" {
			yield(text)
		}
	}
}

// dataPrefix begins each piece, so that none looks like a formula.
const dataPrefix = "json:"

// CSV writes a report as records of one form, for programs: statements, cells of tables, points of
// charts, queries, and at the end the data in pieces.
func CSV(w io.Writer, r *value.Report) error {
	c := &csvWriter{w: csv.NewWriter(w), many: len(r.Bundles) > 1}
	c.write(csvHead...)
	c.write("report", "title", r.Kind, "", "", quote.Cell(r.Title), "", "", "")
	c.write("report", "from", "", "", "", r.From, "", "", "")
	c.write("report", "to", "", "", "", r.To, "", "", "")
	for _, b := range r.Bundles {
		c.write("bundle", quote.Cell(b.Name), b.Verified, "", "", quote.Cell(b.Detail), "", "", "")
	}
	for _, f := range r.Facts {
		c.write("fact", "", quote.Cell(f.Label), "", "", quote.Cell(f.Text), number(f.Value), "", "")
	}
	c.statements("summary", r.Statements)
	for _, s := range r.Sections {
		for i, text := range s.Text {
			c.write("text", s.ID, quote.Cell(s.Title), strconv.Itoa(i+1), "", quote.Cell(text), "", "", "")
		}
		c.statements(s.ID, s.Statements)
		for _, b := range s.Blocks {
			if b.Table != nil {
				c.table(b.Table)
			} else {
				c.figure(b.Figure)
			}
		}
		for _, label := range s.Sign {
			c.write("sign-off", s.ID, quote.Cell(label), "", "", "", "", "", "")
		}
	}
	for _, x := range r.Absent {
		c.write("not found", "", "", "", "", quote.Cell(x), "", "", "")
	}
	for _, x := range r.Unmade {
		c.write("not made", "", "", "", "", quote.Cell(x), "", "", "")
	}
	for i, q := range r.Queries {
		c.write("query", fmt.Sprintf("Q%d", i+1), "", "", "", quote.Cell(q.Command), "", "", "")
	}
	text, err := compact(r)
	if err != nil {
		return err
	}
	n := 0
	for piece := range pieces(text) {
		n++
		c.write("data", "report", "", strconv.Itoa(n), "", dataPrefix+piece, "", "", "")
	}
	c.w.Flush()
	if err := c.w.Error(); err != nil {
		return fmt.Errorf("writing CSV: %w", err)
	}
	return nil
}

type csvWriter struct {
	w    *csv.Writer
	many bool
}

func (c *csvWriter) write(record ...string) {
	_ = c.w.Write(record) // Error returns it at the end
}

func number(n *int64) string {
	if n == nil {
		return ""
	}
	return strconv.FormatInt(*n, 10)
}

func (c *csvWriter) statements(id string, list []value.Statement) {
	for _, s := range list {
		c.write("statement", s.ID, quote.Cell(s.Head), id, "", quote.Cell(s.Text), "", evidenceText(s.Cite, c.many), queriesText(s.Queries))
		for _, f := range s.Figures {
			c.write("figure", s.ID, quote.Cell(s.Head), "", quote.Cell(f.Label), quote.Cell(f.Text), number(f.Value), "", "")
		}
	}
}

func (c *csvWriter) table(t *value.Table) {
	for i, row := range t.Rows {
		for k, cell := range row.Cells {
			evidence := ""
			if k == 0 {
				evidence = evidenceText(row.Cite, c.many)
			}
			c.write("cell", t.ID, quote.Cell(t.Title), strconv.Itoa(i+1), quote.Cell(t.Columns[k].Name), quote.Cell(cell.Text), number(cell.Value), evidence, queriesText(t.Queries))
		}
	}
	if t.Note != "" {
		c.write("note", t.ID, quote.Cell(t.Title), "", "", quote.Cell(t.Note), "", "", "")
	}
}

func (c *csvWriter) figure(f *value.Figure) {
	for i, p := range points(f) {
		c.write("point", f.ID, quote.Cell(f.Title), strconv.Itoa(i+1), quote.Cell(p.series), quote.Cell(p.at), strconv.FormatInt(p.n, 10), "", queriesText(f.Queries))
	}
	c.write("note", f.ID, quote.Cell(f.Title), "", "", quote.Cell(f.Note), "", "", "")
}

// csvData joins the data in a file.
func csvData(file []byte) ([]byte, error) {
	r := csv.NewReader(bytes.NewReader(file))
	r.FieldsPerRecord = -1
	var out bytes.Buffer
	for {
		row, err := r.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%w (%v)", ErrNoData, err)
		}
		if len(row) == len(csvHead) && row[0] == "data" {
			out.WriteString(strings.TrimPrefix(row[5], dataPrefix))
		}
	}
	if out.Len() == 0 {
		return nil, ErrNoData
	}
	return out.Bytes(), nil
}
