package render

import (
	"github.com/pcapsule/pcapsule/internal/pdf"
	"github.com/pcapsule/pcapsule/report/value"
)

// figureTitle is the height of a title of a picture, with the space around it.
const figureTitle = 12.0

// figureHeight is the height of a picture with its title, at most that of a page.
func (p *paper) figureHeight(f *value.Figure) float64 {
	picture, err := pdf.ParsePicture(string(figureSVG(f)), p.styles)
	if err != nil {
		p.err = err
		return 0
	}
	return min(float64(picture.Height*(pdfWidth/picture.Width)), pdfEnd-pdfTop-2*figureTitle) + figureTitle
}

// figure draws the picture of the page. A picture that is higher than a page is continued on the next
// one, between two of its rows.
func (p *paper) figure(f *value.Figure) {
	picture, err := pdf.ParsePicture(string(figureSVG(f)), p.styles)
	if err != nil {
		p.err = err
		return
	}
	picture.Room = textWidth
	scale := pdfWidth / picture.Width
	p.need(p.figureHeight(f))
	p.title(f.Title, f.Queries)
	tag := p.NewTag(pdf.Figure, nil, picture.Spoken)
	head, row := rowsOf(f)
	for from := 0.0; from < picture.Height; {
		to := picture.Height
		if most := (pdfEnd - p.y) / scale; to-from > most {
			to = max(from+row, head+float64(row*float64(int((from+most-head)/row))))
		}
		p.In(tag, func() { err = p.Draw(picture, pdfMargin, p.y, scale, from, to) })
		if err != nil {
			p.err = err
			return
		}
		p.y += float64((to - from) * scale)
		if from = to; from < picture.Height {
			p.need(pdfEnd)
		}
	}
	p.legend(f)
	p.note(f.Note)
}

// rowsOf returns the height of the head of a picture and of its rows, which are not cut.
func rowsOf(f *value.Figure) (head, row float64) {
	switch {
	case f.Heat != nil:
		return heatTop, heatCell
	case f.Bars != nil:
		return 4, barsRow
	case f.Sequence != nil:
		return seqTop, seqStep
	}
	return 0, boxHeight + boxGap
}

// legend writes colours and their meaning.
func (p *paper) legend(f *value.Figure) {
	items := legend(f)
	if len(items) == 0 {
		return
	}
	const square, gap = 2.6, 5.0
	l := look{pdf.Sans, "", pdfSmall, "fg"}
	p.y++
	p.need(l.height())
	x := pdfMargin
	for _, item := range items {
		p.use(l)
		text := p.Glyphs(item.Name + " " + item.Total)
		width := square + 1.2 + p.Width(text)
		if x > pdfMargin && x+width > pdfMargin+pdfWidth {
			x = pdfMargin
			p.y += l.height()
			p.need(l.height())
		}
		colour := item.Class
		if colour == "bad-fill" {
			colour = "bad"
		}
		p.fillRect(colour, x, p.y+0.4, square, square)
		p.use(l)
		p.Tag(pdf.Paragraph, func() { p.Text(x+square+1.2, p.y+l.ascent(), text) })
		x += width + gap
	}
	p.y += l.height()
}
