package render

import (
	"github.com/pcapsule/pcapsule/internal/pdf"
	"github.com/pcapsule/pcapsule/report/value"
)

// Lengths of tables in millimetres.
const (
	cellGap   = 2.0 // between columns
	cellPad   = 0.7 // above and below text
	nameWidth = 30.0
	shortWord = 18.0 // a word of at most this width is not broken, such as contradicted
	barHeight = 0.6
	cellSize  = pdfSmall
)

// sheet is a table on paper.
type sheet struct {
	*paper
	t      *value.Table
	widths []float64
	looks  []look
	tag    *pdf.Tag
}

// cell is a cell on paper.
type cell struct {
	lines  []string
	look   look
	right  bool
	share  *int
	doc    []string // second text, below
	bottom bool     // at the bottom of its row
	tag    *pdf.Tag // nil for a head that is repeated
}

// sheet chooses the widths of the columns of a table, and the format of its page.
func (p *paper) sheet(t *value.Table) *sheet {
	s := &sheet{paper: p, t: t}
	s.measure()
	return s
}

// table writes a table. Its head is repeated on every page.
func (p *paper) table(s *sheet) {
	t := s.t
	p.need(max(leastText, s.begins()) + 6)
	p.title(t.Title, t.Queries)
	s.tag = p.NewTag(pdf.Table, nil, "")
	s.head(true)
	for _, row := range t.Rows {
		s.row(s.cells(row), row.Bad)
	}
	p.note(t.Note)
	p.orient(false)
}

var (
	headLook = look{pdf.Sans, "B", cellSize, "fg"}
	docLook  = look{pdf.Sans, "", pdfTiny, "faint"}
)

// warning is the look of cells that a reader must not miss.
func (l look) warning(bad bool) look {
	if bad {
		l.colour = "bad"
		if l.family == pdf.Sans {
			l.style = "B"
		}
	}
	return l
}

// lookOf is how the cells of a column look.
func lookOf(kind string) look {
	if kind == "code" {
		return look{pdf.Mono, "", 6.3, "fg"}
	}
	return look{pdf.Sans, "", cellSize, "fg"}
}

// measure chooses the widths of columns.
func (s *sheet) measure() {
	var list []columnWidths
	add := func(c value.Column, l look, texts func(row value.Row) (text string, bad bool)) {
		s.use(docLook)
		m := columnWidths{least: s.Longest(c.Doc)}
		s.use(headLook)
		m.least = max(m.least, s.Longest(c.Name))
		m.most = min(max(s.Width(s.Glyphs(c.Name)), m.least), nameWidth)
		for _, row := range s.t.Rows {
			text, bad := texts(row)
			s.use(l.warning(bad))
			w := textWidths{s.Width(s.Glyphs(text)), s.Longest(text)}
			switch {
			case c.Kind == "number" || c.Kind == "moment":
				m.least = max(m.least, w.all) // not broken
			case w.word <= shortWord:
				m.least = max(m.least, w.word)
			}
			m.most = max(m.most, w.all)
			m.rows = append(m.rows, w)
		}
		list, s.looks = append(list, m), append(s.looks, l)
	}
	for i, c := range s.t.Columns {
		add(c, lookOf(c.Kind), func(row value.Row) (string, bool) { return row.Cells[i].Text, row.Cells[i].Bad })
	}
	if s.t.Cited() {
		add(value.Column{Name: "Evidence"}, citeLook, func(row value.Row) (string, bool) { return evidenceText(shortened(row.Cite), s.many), false })
	}
	least := cellGap * float64(len(list)-1)
	for _, c := range list {
		least += max(c.least, min(c.most, shortWord))
	}
	s.orient(least > pdfWidth)
	s.widths = divide(list, s.across()-cellGap*float64(len(list)-1))
}

// tagged gives the cells of a row their tags.
func (s *sheet) tagged(kind string, cells []cell) {
	row := s.NewTag(pdf.Row, s.tag, "")
	for i := range cells {
		cells[i].tag = s.NewTag(kind, row, "")
	}
}

// begins is the height of the head and the first row, or as much of it as row wants on a page: a head alone says nothing.
func (s *sheet) begins() float64 {
	line := look{size: cellSize}.height()
	_, lines := s.headCells()
	if len(s.t.Rows) > 0 {
		most := 0
		for _, c := range s.cells(s.t.Rows[0]) {
			most = max(most, len(c.lines))
		}
		lines += min(most, int((s.end()-pdfTop)/line)/2)
	}
	return float64(float64(lines)*line) + 4*cellPad + barHeight
}

// headCells are the names of the columns, and their most lines.
func (s *sheet) headCells() (cells []cell, most int) {
	for i, w := range s.widths {
		name, doc, right := "Evidence", "", false
		if i < len(s.t.Columns) {
			c := s.t.Columns[i]
			name, doc, right = c.Name, c.Doc, c.Kind == "number"
		}
		s.use(headLook)
		c := cell{lines: s.Wrap(name, w), look: headLook, right: right, bottom: true}
		if doc != "" {
			s.use(docLook)
			c.doc = s.Wrap(doc, w)
		}
		cells = append(cells, c)
		most = max(most, len(c.lines)+len(c.doc))
	}
	return cells, most
}

// head writes the names of the columns.
func (s *sheet) head(first bool) {
	cells, most := s.headCells()
	if first {
		s.tagged(pdf.Head, cells)
	}
	s.draw(cells, 0, most)
	s.rule("faint", 0.3)
}

// cells wraps the cells of a row.
func (s *sheet) cells(row value.Row) (out []cell) {
	for i, c := range row.Cells {
		if i >= len(s.t.Columns) {
			break
		}
		l := s.looks[i].warning(c.Bad)
		s.use(l)
		out = append(out, cell{lines: s.Wrap(c.Text, s.widths[i]), look: l, right: s.t.Columns[i].Kind == "number", share: c.Share})
	}
	if len(s.widths) > len(s.t.Columns) {
		s.use(citeLook)
		out = append(out, cell{lines: s.Wrap(evidenceText(shortened(row.Cite), s.many), s.widths[len(s.t.Columns)]), look: citeLook})
	}
	return out
}

// row writes a row, on the next page if this one has no room. A row that is higher than a page is
// continued.
func (s *sheet) row(cells []cell, bad bool) {
	line := look{size: cellSize}.height()
	most := 0
	s.tagged(pdf.Cell, cells)
	for _, c := range cells {
		most = max(most, len(c.lines))
	}
	for from := 0; from < most; {
		room := int((s.end() - s.y - 2*cellPad - barHeight) / line)
		if room < most-from && room < int((s.end()-pdfTop)/line)/2 {
			s.need(s.end())
			s.head(false)
			continue
		}
		to := min(from+max(room, 1), most)
		if bad {
			s.fillRect("bad-soft", pdfMargin, s.y, s.across(), float64(float64(to-from)*line)+2*cellPad)
		}
		s.draw(cells, from, to)
		from = to
	}
	s.rule("rule", 0.15)
}

// draw writes some lines of cells.
func (s *sheet) draw(cells []cell, from, to int) {
	line := look{size: cellSize}.height()
	ascent := look{size: cellSize}.ascent()
	x, bar := pdfMargin, 0.0
	for i, c := range cells {
		first := s.y + cellPad
		if c.bottom {
			first += float64(float64(to-from-len(c.lines)-len(c.doc)) * line)
		}
		s.use(c.look)
		put := func(n int, text string) {
			at := x
			if c.right {
				at += s.widths[i] - s.Width(text)
			}
			s.In(c.tag, func() { s.Text(at, first+float64(float64(n)*line)+ascent, text) })
		}
		for n := from; n < min(to, len(c.lines)); n++ {
			put(n-from, c.lines[n])
		}
		if len(c.doc) > 0 {
			s.use(docLook)
		}
		for n, text := range c.doc {
			put(len(c.lines)+n, text)
		}
		if c.share != nil && from == 0 {
			bar = barHeight
			width := max(s.widths[i]*float64(*c.share)/1000, 0.3)
			y := s.y + cellPad + float64(line*float64(min(to, len(c.lines))))
			s.fillRect("soft", x, y, s.widths[i], barHeight)
			s.fillRect("s0", x+s.widths[i]-width, y, width, barHeight)
		}
		x += s.widths[i] + cellGap
	}
	s.y += float64(float64(to-from)*line) + 2*cellPad + bar
}
