package handover

import (
	"fmt"
	"io"
	"strings"

	"github.com/pcapsule/pcapsule/internal/pdf"
)

// Lengths of the PDF in millimetres, on A4.
const (
	margin     = 18.0
	labelWidth = 42.0
	lineHeight = 4.8
	qrSize     = 38.0
)

// PDF writes the sheet as PDF. Its dates are that of the handover, so the same sheet gives the
// same bytes.
func (c *Cover) PDF(w io.Writer) error {
	d, err := pdf.New(margin)
	if err != nil {
		return err
	}
	p := &paper{d}
	p.SetTitle("Cover sheet: "+clean(c.Name), true)
	p.SetCreationDate(c.Time)
	p.SetModificationDate(c.Time)
	p.SetFooterFunc(func() {
		p.SetY(-12)
		p.SetFont(pdf.Sans, "", 8)
		p.CellFormat(0, 4, p.Glyphs(fmt.Sprintf("%s, page %d of {pages}", clean(c.Name), p.PageNo())), "", 0, "C", false, 0, "")
	})
	p.AliasNbPages("{pages}")
	p.AddPage()
	for i, s := range c.sections() {
		if err := p.section(s, i == 0); err != nil {
			return err
		}
	}
	if err := p.Output(w); err != nil {
		return fmt.Errorf("writing the cover sheet: %w", err)
	}
	return nil
}

// paper is the document.
type paper struct{ *pdf.Doc }

func (p *paper) section(s section, first bool) error {
	if s.NewPage {
		p.AddPage()
	}
	size := 12.0
	if first {
		size = 17
	} else {
		p.Ln(4)
	}
	if _, height := p.GetPageSize(); p.GetY() > height-margin-30 {
		p.AddPage() // no title without a line below it
	}
	p.SetFont(pdf.Sans, "B", size)
	p.MultiCell(0, size*0.5, p.Glyphs(s.Title), "", "L", false)
	p.Ln(1)
	if s.QR != "" {
		if err := p.qr(s.QR); err != nil {
			return err
		}
		p.SetRightMargin(margin + qrSize + 4)
	}
	for _, text := range s.Paragraphs {
		p.SetFont(pdf.Sans, "", 9.5)
		p.MultiCell(0, lineHeight, p.Glyphs(text), "", "L", false)
		p.Ln(1.2)
	}
	for _, r := range s.Rows {
		p.row(r)
	}
	p.SetRightMargin(margin)
	if len(s.Commands) > 0 {
		p.SetFont(pdf.Mono, "", 8.5)
		p.SetFillColor(240, 240, 240)
		p.MultiCell(0, lineHeight, p.Glyphs(strings.Join(s.Commands, "\n")), "", "L", true)
	}
	p.blanks(s.Blanks)
	return nil
}

// row writes a label and the text next to it.
func (p *paper) row(r row) {
	if _, height := p.GetPageSize(); p.GetY() > height-margin-2*lineHeight {
		p.AddPage()
	}
	y := p.GetY()
	page := p.PageNo()
	p.SetFont(pdf.Sans, "B", 9)
	p.MultiCell(labelWidth-2, lineHeight, p.Glyphs(r.Label), "", "L", false)
	bottom := p.GetY()
	p.SetXY(margin+labelWidth, y)
	p.SetFont(pdf.Sans, "", 9)
	if r.Mono {
		p.SetFont(pdf.Mono, "", 8.5)
	}
	p.SetLeftMargin(margin + labelWidth)
	p.MultiCell(0, lineHeight, p.Glyphs(r.Text), "", "L", false)
	p.SetLeftMargin(margin)
	if p.PageNo() == page {
		p.SetXY(margin, max(bottom, p.GetY())+0.6)
	} else {
		p.SetXY(margin, p.GetY()+0.6)
	}
}

// blanks are lines to be filled in by hand.
func (p *paper) blanks(labels []string) {
	p.SetFont(pdf.Sans, "", 9)
	for _, label := range labels {
		if _, height := p.GetPageSize(); p.GetY() > height-margin-14 {
			p.AddPage()
		}
		p.Ln(9)
		width, _ := p.GetPageSize()
		text := p.Glyphs(label)
		p.Text(margin+1, p.GetY(), text)
		p.Line(margin+1+p.GetStringWidth(text)+2, p.GetY()+0.5, width-margin, p.GetY()+0.5)
	}
}

// qr draws a QR code at the right of the current line.
func (p *paper) qr(text string) error {
	code, err := qrCode(text)
	if err != nil {
		return err
	}
	width, height := p.GetPageSize()
	if p.GetY()+qrSize > height-margin {
		p.AddPage()
	}
	x0, y0 := width-margin-qrSize, p.GetY()
	unit := qrSize / float64(code.Bounds().Dx()+2*quiet)
	p.SetFillColor(0, 0, 0)
	dark(code, func(x, y int) {
		p.Rect(x0+unit*float64(x+quiet), y0+unit*float64(y+quiet), unit, unit, "F")
	})
	return nil
}
