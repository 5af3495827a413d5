package handover

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/pcapsule/pcapsule/internal/pdf"
)

// Lengths of the PDF in millimetres, on A4, and sizes of text in points.
const (
	margin     = 18.0
	pageWidth  = 210.0
	textWidth  = pageWidth - 2*margin
	textEnd    = 297 - margin // the footer is below
	labelWidth = 42.0
	qrSize     = 38.0
	gap        = 0.6 // after a row
)

// PDF writes the sheet as an archive (PDF/A-3a) that can be read aloud (PDF/UA-1) and carries its description for
// programs. It has no date of its own, so the same sheet gives the same bytes.
func (c *Cover) PDF(w io.Writer) error {
	var data bytes.Buffer
	if err := c.CASE(&data); err != nil {
		return err
	}
	d, err := pdf.New(margin)
	if err != nil {
		return fmt.Errorf("writing the cover sheet: %w", err)
	}
	d.SetAutoPageBreak(false, 0)
	d.SetTagged()
	p := &paper{Doc: d}
	p.page()
	for i, s := range c.sections() {
		p.section(s, i == 0)
	}
	p.footers(clean(c.Name))
	if p.err != nil {
		return fmt.Errorf("writing the cover sheet: %w", p.err)
	}
	err = d.Archive(w, pdf.Meta{Title: "Cover sheet: " + clean(c.Name), Creator: "pcapsule"},
		pdf.File{Name: coverPrefix + "jsonld", About: "The cover sheet for programs: CASE and UCO.", MIME: "application/ld+json", Data: data.Bytes()})
	if err != nil {
		return fmt.Errorf("writing the cover sheet: %w", err)
	}
	return nil
}

// paper is the document, with the place of its next line.
type paper struct {
	*pdf.Doc
	y   float64
	err error
}

// look is how text looks.
type look struct {
	family, style string
	size          float64
}

var (
	titleLook   = look{pdf.Sans, "B", 17}
	headingLook = look{pdf.Sans, "B", 12}
	textLook    = look{pdf.Sans, "", 9.5}
	labelLook   = look{pdf.Sans, "B", 9}
	valueLook   = look{pdf.Sans, "", 9}
	monoLook    = look{pdf.Mono, "", 8.5}
	footerLook  = look{pdf.Sans, "", 8}
)

// height is the height of a line.
func (l look) height() float64 { return l.size * 0.5 }

// page begins a page.
func (p *paper) page() {
	p.AddPage()
	p.y = margin
}

// need begins a page unless this one has room for a height.
func (p *paper) need(height float64) {
	if p.y+height > textEnd {
		p.page()
	}
}

// write writes text in lines of at most a width, from x on. Each line of the text begins a line.
func (p *paper) write(l look, x, width float64, s string) {
	p.SetFont(l.family, l.style, l.size)
	for _, line := range p.Wrap(s, width) {
		p.need(l.height())
		p.SetFont(l.family, l.style, l.size)
		p.Text(x, p.y+l.height()*0.75, line)
		p.y += l.height()
	}
}

func (p *paper) section(s section, first bool) {
	if s.NewPage {
		p.page()
	}
	kind, l := pdf.Heading, headingLook
	if first {
		kind, l = pdf.Title, titleLook
	} else if p.y > margin {
		p.y += 4
	}
	p.need(30) // no title without a line below it
	if s.QR != "" {
		p.need(qrSize + 10)
	}
	level := 1
	if first {
		level = 0
	}
	p.SetFont(l.family, l.style, l.size)
	p.Bookmark(p.Glyphs(s.Title), level, p.y)
	p.Tag(kind, func() { p.write(l, margin, textWidth, s.Title) })
	p.y++
	width, below := textWidth, p.y
	if s.QR != "" {
		p.qr(s.QR)
		width, below = textWidth-qrSize-4, p.y+qrSize
	}
	for _, text := range s.Paragraphs {
		p.Tag(pdf.Paragraph, func() { p.write(textLook, margin, width, text) })
		p.y += 1.2
	}
	p.rows(s.Rows, width)
	if s.QR != "" {
		p.y = max(p.y, below)
	}
	for _, command := range s.Commands {
		p.Tag(pdf.Paragraph, func() { p.write(monoLook, margin, width, command) })
	}
	p.blanks(s.Blanks)
}

// rows writes a table of labels and the texts next to them.
func (p *paper) rows(list []row, width float64) {
	if len(list) == 0 {
		return
	}
	table := p.NewTag(pdf.Table, nil, "")
	for _, r := range list {
		l := valueLook
		if r.Mono {
			l = monoLook
		}
		p.need(2 * l.height())
		tag := p.NewTag(pdf.Row, table, "")
		page, top := p.PageNo(), p.y
		p.In(p.NewTag(pdf.RowHead, tag, ""), func() { p.write(labelLook, margin, labelWidth-2, r.Label) })
		bottom := p.y
		if p.PageNo() == page {
			p.y = top
		}
		page = p.PageNo()
		p.In(p.NewTag(pdf.Cell, tag, ""), func() { p.write(l, margin+labelWidth, width-labelWidth, r.Text) })
		if p.PageNo() == page {
			p.y = max(p.y, bottom)
		}
		p.y += gap
	}
}

// blanks are lines to be filled in by hand.
func (p *paper) blanks(labels []string) {
	for _, label := range labels {
		p.need(14)
		p.y += 9
		p.SetFont(valueLook.family, valueLook.style, valueLook.size)
		text := p.Glyphs(label)
		p.Tag(pdf.Paragraph, func() { p.Text(margin+1, p.y, text) })
		from := margin + 3 + p.Width(text)
		p.SetFillColor(0, 0, 0)
		p.Rect(from, p.y+0.5, margin+textWidth-from, 0.2, "F")
	}
}

// qr draws a QR code at the right of the current line.
func (p *paper) qr(text string) {
	svg, err := qrSVG(text)
	var picture *pdf.Picture
	if err == nil {
		picture, err = pdf.ParsePicture(string(svg), pdf.ParseStyles(""))
	}
	if err != nil {
		p.err = errors.Join(p.err, err)
		return
	}
	tag := p.NewTag(pdf.Figure, nil, "QR code with the text "+clean(text))
	p.In(tag, func() {
		err = p.Draw(picture, pageWidth-margin-qrSize, p.y, qrSize/picture.Width, 0, picture.Height)
	})
	p.err = errors.Join(p.err, err)
}

// footers writes the name and the number on every page.
func (p *paper) footers(name string) {
	pages := p.PageNo()
	for n := 1; n <= pages; n++ {
		p.SetPage(n)
		p.SetFont(footerLook.family, footerLook.style, footerLook.size)
		text := strings.TrimSpace(p.Wrap(name, textWidth-40)[0] + fmt.Sprintf(", page %d of %d", n, pages))
		p.Text((pageWidth-p.Width(text))/2, 297-8, text)
	}
}
