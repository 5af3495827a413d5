package render

import (
	"fmt"
	"io"
	"strings"

	"github.com/pcapsule/pcapsule/internal/pdf"
	"github.com/pcapsule/pcapsule/report/value"
)

// Lengths of pages in millimetres, on A4, and sizes of text in points.
const (
	pdfMargin = 15.0
	pdfTop    = 15.0
	pdfEnd    = 280.0 // of the text; the footer is below
	pdfWidth  = 210 - 2*pdfMargin
	pdfText   = 9.0
	pdfSmall  = 7.0
	pdfTiny   = 6.0
	leastText = 20.0 // least height of text and tables after a title
)

// dataName is the name of the data in a PDF.
const dataName = "report.json"

// PDF writes a report as an archive (PDF/A-3a) that carries its data and can be read aloud (PDF/UA-1).
func PDF(w io.Writer, r *value.Report) error {
	data, err := carried(r)
	if err != nil {
		return err
	}
	d, err := pdf.New(pdfMargin)
	if err != nil {
		return fmt.Errorf("writing PDF: %w", err)
	}
	d.SetAutoPageBreak(false, 0)
	d.SetTagged()
	d.AddPage()
	p := &paper{Doc: d, styles: pdf.ParseStyles(pageStyle), many: len(r.Bundles) > 1, y: pdfTop, turned: map[int]bool{}}
	p.front(r)
	sections := shown(r, mostPaperRows).Sections
	for i := range sections {
		p.section(&sections[i])
	}
	p.queries(r)
	p.footers(r)
	if p.err != nil {
		return p.err
	}
	return d.Archive(w, pdf.Meta{Title: r.Title + " – " + r.Kind, Creator: strings.TrimSpace("pcapsule " + r.Basis.Release)},
		pdf.File{Name: dataName, About: "The report as JSON. pcapsule report verify checks it.", MIME: "application/json", Data: data})
}

// paper is a document with the place where its next line goes.
type paper struct {
	*pdf.Doc
	styles *pdf.Styles
	many   bool // several bundles
	y      float64
	wide   bool         // the page is in landscape format
	turned map[int]bool // pages in landscape format
	bar    bool         // a bar beside the lines marks what a reader must not miss
	err    error
}

// look is how text looks.
type look struct {
	family, style string
	size          float64
	colour        string // in page.css
}

var (
	plainLook  = look{pdf.Sans, "", pdfText, "fg"}
	faintLook  = look{pdf.Sans, "", pdfSmall + 0.5, "faint"}
	strongLook = look{pdf.Sans, "B", pdfText, "fg"}
	citeLook   = look{pdf.Mono, "", pdfTiny, "faint"}
)

func (p *paper) use(l look) {
	c := p.styles.Colour(l.colour)
	p.SetFont(l.family, l.style, l.size)
	p.SetTextColor(c.R, c.G, c.B)
}

// height is the height of a line of text. Products are converted here and below, so that no machine
// joins a product and a sum in one rounding: a report has the same bytes everywhere.
func (l look) height() float64 { return float64(l.size * 1.32 * 25.4 / 72) }

// ascent is the distance from the top of a line to the feet of its letters.
func (l look) ascent() float64 { return float64(l.height() * 0.76) }

// need begins a page unless this one has room for a height.
func (p *paper) need(height float64) bool {
	if p.y+height <= p.end() {
		return false
	}
	p.page()
	return true
}

// page begins a page.
func (p *paper) page() {
	if p.wide {
		p.AddPageFormat("L", p.GetPageSizeStr("A4"))
		p.turned[p.PageNo()] = true
	} else {
		p.AddPageFormat("P", p.GetPageSizeStr("A4"))
	}
	p.y = pdfTop
}

// orient begins a page in the other format, if this one has another.
func (p *paper) orient(wide bool) {
	if p.wide != wide {
		p.wide = wide
		p.page()
	}
}

// across is the width of the text of a page, and end is where it ends.
func (p *paper) across() float64 {
	if p.wide {
		return 297 - 2*pdfMargin
	}
	return pdfWidth
}

func (p *paper) end() float64 { return pdfEnd - 297 + p.high() }

// high is the height of the page.
func (p *paper) high() float64 {
	if p.wide {
		return 210
	}
	return 297
}

// lines writes a paragraph in lines of at most a width, from x on.
func (p *paper) lines(l look, x, width float64, s string) {
	p.Tag(pdf.Paragraph, func() { p.write(l, x, width, s) })
}

// titled writes a title of some kind across the page.
func (p *paper) titled(kind string, l look, s string) {
	p.Tag(kind, func() { p.write(l, pdfMargin, p.across(), s) })
}

func (p *paper) write(l look, x, width float64, s string) {
	p.use(l)
	for _, line := range p.Wrap(s, width) {
		if p.need(l.height()) {
			p.use(l)
		}
		p.Text(x, p.y+l.ascent(), line)
		if p.bar {
			p.fillRect("bad", pdfMargin, p.y, 0.8, l.height())
		}
		p.y += l.height()
	}
}

// fillRect fills a rectangle with a colour of page.css.
func (p *paper) fillRect(colour string, x, y, width, height float64) {
	c := p.styles.Colour(colour)
	p.SetFillColor(c.R, c.G, c.B)
	p.Rect(x, y, width, height, "F")
}

// rule draws a line across the page.
func (p *paper) rule(colour string, thick float64) {
	p.fillRect(colour, pdfMargin, p.y, p.across(), thick)
	p.y += thick
}

// front writes the first page: the subject of the report, its figures and its summary.
func (p *paper) front(r *value.Report) {
	p.lines(look{pdf.Sans, "", pdfSmall, "faint"}, pdfMargin, pdfWidth, strings.ToUpper(r.Kind))
	p.titled(pdf.Title, look{pdf.Sans, "B", 18, "fg"}, r.Title)
	p.Bookmark(p.Glyphs(r.Title), 0, 0)
	if r.About != "" {
		p.lines(faintLook, pdfMargin, pdfWidth, r.About)
	}
	span := "No packets."
	if r.From != "" {
		span = r.From + " to " + r.To
	}
	p.y++
	p.lines(plainLook, pdfMargin, pdfWidth, span)
	if r.Basis.KFL != "" {
		p.lines(plainLook, pdfMargin, pdfWidth, "Only calls that match "+r.Basis.KFL)
	}
	for _, b := range r.Bundles {
		p.lines(faintLook, pdfMargin, pdfWidth, fmt.Sprintf("%s: %s; %s", b.Name, b.Verified, b.Detail))
	}
	p.facts(r.Facts)
	p.heading("Summary", leastText)
	for _, g := range groups(r.Statements) {
		p.need(12)
		p.y += 1.4
		p.titled(pdf.Caption, look{pdf.Sans, "B", 8, "faint"}, g.Head)
		p.statements(g.Statements)
	}
	if len(r.Unmade) > 0 {
		p.y += 2
		p.lines(look{pdf.Sans, "B", pdfText, "bad"}, pdfMargin, pdfWidth, "Not in this report, because it needs more memory than a question may use: "+strings.Join(r.Unmade, ", ")+".")
	}
	if len(r.Absent) > 0 {
		p.y += 2
		p.lines(faintLook, pdfMargin, pdfWidth, absentWords(r)+": "+strings.Join(r.Absent, ", ")+".")
	}
}

// facts writes the figures of the head in boxes.
func (p *paper) facts(list []value.Number) {
	const across, gap, height = 6, 2.0, 14.0
	width := (pdfWidth - gap*(across-1)) / across
	p.y += 3
	for i, f := range list {
		column := i % across
		if column == 0 {
			if i > 0 {
				p.y += height + gap
			}
			p.need(height)
		}
		x := pdfMargin + float64(float64(column)*(width+gap))
		p.fillRect("soft", x, p.y, width, height)
		l := look{pdf.Sans, "B", 13, "fg"}
		if f.Bad {
			l.colour = "bad"
		}
		p.use(l)
		text := p.Glyphs(f.Text)
		if w := p.Width(text); w > width-4 {
			l.size *= (width - 4) / w
			p.use(l)
		}
		p.Tag(pdf.Paragraph, func() {
			p.Text(x+2, p.y+6, text)
			p.use(look{pdf.Sans, "", 6.5, "faint"})
			for k, line := range p.Wrap(f.Label, width-4) {
				if k < 2 {
					p.Text(x+2, p.y+9.4+3*float64(k), line)
				}
			}
		})
	}
	if len(list) > 0 {
		p.y += height
	}
}

// heading writes the title of a section, on a page that has room for it and for the next element.
func (p *paper) heading(title string, follows float64) {
	p.y += 6
	p.need(12 + follows)
	p.use(look{pdf.Sans, "B", 13, "fg"})
	p.Bookmark(p.Glyphs(title), 1, p.y)
	p.titled(pdf.Heading, look{pdf.Sans, "B", 13, "fg"}, title)
	p.y += 0.6
	p.rule("rule", 0.5)
	p.y += 1.5
}

// title writes the title of a table or figure, with the numbers of its queries.
func (p *paper) title(text string, queries []int) {
	if q := queriesText(queries); q != "" {
		text += " (" + q + ")"
	}
	p.y += 2.5
	p.titled(pdf.Caption, strongLook, text)
	p.y++
}

// note writes a remark below a table or figure.
func (p *paper) note(text string) {
	if text != "" {
		p.y += 0.8
		p.lines(faintLook, pdfMargin, p.across(), text)
	}
}

// statements writes claims with their evidence.
func (p *paper) statements(list []value.Statement) {
	for _, s := range list {
		p.need(plainLook.height() + citeLook.height())
		x, width := pdfMargin, pdfWidth
		if p.bar = s.Bad; s.Bad {
			x, width = x+3, width-3
		}
		p.lines(plainLook, x, width, s.Text)
		if e := strings.TrimPrefix(evidenceText(shortened(s.Cite), p.many)+"; "+queriesText(s.Queries), "; "); e != "" {
			p.lines(citeLook, x, width, strings.TrimSuffix(e, "; "))
		}
		p.bar = false
		p.y += 1.2
	}
}

// shortened has only the beginning of the ids of calls, as the page has.
func shortened(list []*value.Citation) []*value.Citation {
	out := make([]*value.Citation, len(list))
	for i, c := range list {
		short := *c
		short.Call = shortID(c.Call)
		out[i] = &short
	}
	return out
}

func (p *paper) section(s *value.Section) {
	follows := leastText
	var first *sheet
	if len(s.Text)+len(s.Statements) == 0 && len(s.Blocks) > 0 && s.Blocks[0].Table != nil {
		first = p.sheet(s.Blocks[0].Table) // it may turn the page, which the title must be on
		follows = max(leastText, first.begins()) + 6
	}
	if len(s.Text)+len(s.Statements) == 0 && len(s.Blocks) > 0 && s.Blocks[0].Figure != nil {
		follows = p.figureHeight(s.Blocks[0].Figure)
	}
	p.heading(s.Title, follows)
	for _, text := range s.Text {
		p.lines(look{pdf.Sans, "", 8, "fg"}, pdfMargin, pdfWidth, text)
		p.y += 1.2
	}
	p.statements(s.Statements)
	for i, b := range s.Blocks {
		if i == 0 && first != nil {
			p.table(first)
		} else if b.Table != nil {
			p.table(p.sheet(b.Table))
		} else {
			p.figure(b.Figure)
		}
	}
	for _, label := range s.Sign {
		p.need(14)
		p.y += 10
		p.use(plainLook)
		text := p.Glyphs(label)
		p.Tag(pdf.Paragraph, func() { p.Text(pdfMargin, p.y, text) })
		from := pdfMargin + p.Width(text) + 2
		p.fillRect("fg", from, p.y+0.6, pdfMargin+pdfWidth-from, 0.2)
		p.y += 2
	}
}

// queries writes the appendix.
func (p *paper) queries(r *value.Report) {
	if len(r.Queries) > 0 {
		p.heading("Queries", leastText)
		p.lines(look{pdf.Sans, "", 8, "fg"}, pdfMargin, pdfWidth, "Each figure, table and statement refers to the queries behind it by number. A command returns the same figures from the same bundles.")
		p.y++
	}
	l := look{pdf.Mono, "", 6.5, "fg"}
	for i, q := range r.Queries {
		p.need(l.height())
		p.use(l)
		p.Tag(pdf.Paragraph, func() {
			p.Text(pdfMargin, p.y+l.ascent(), fmt.Sprintf("Q%d", i+1))
			p.write(l, pdfMargin+9, pdfWidth-9, q.Command)
		})
		p.y += 0.6
	}
	p.y += 3
	p.lines(faintLook, pdfMargin, pdfWidth, "This file carries its data ("+dataName+"). To check every figure of it: "+r.Checking())
}

// footers writes title and number on every page.
func (p *paper) footers(r *value.Report) {
	left := r.Title
	if r.Basis.Release != "" {
		left += "; pcapsule " + r.Basis.Release
	}
	pages := p.PageNo()
	last := p.high()
	for n := 1; n <= pages; n++ {
		p.SetPage(n)
		p.wide = p.turned[n]
		y := p.end() + 10 + last - p.high() // the library counts from the end of the last page
		p.use(look{pdf.Sans, "", pdfSmall, "faint"})
		number := fmt.Sprintf("Page %d of %d", n, pages)
		p.Text(pdfMargin+p.across()-p.Width(number), y, number)
		p.Text(pdfMargin, y, p.Wrap(left, p.across()-30)[0])
	}
}
