// Package pdf writes PDF files with embedded fonts, and archives (PDF/A-3) that carry data.
//
// The same document gives the same bytes. The fonts have Latin, Greek and Cyrillic letters; other
// characters are written as their code points, so that none is lost. It reads only PDF files that
// it wrote.
package pdf

import (
	"fmt"
	"slices"
	"strings"

	"codeberg.org/go-pdf/fpdf"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/gomono"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/sfnt"
)

// Families of fonts. Sans has the style B.
const (
	Sans = "go"
	Mono = "mono"
)

// Doc is a document on A4 with its fonts. Lengths are in millimetres, sizes of text in points.
type Doc struct {
	*fpdf.Fpdf
	font   *sfnt.Font
	buf    sfnt.Buffer
	widths map[glyph]float64
	tags   *structure // nil for a document without tags
}

// glyph is a character in a font.
type glyph struct {
	font string
	r    rune
}

// New makes an empty document with equal margins.
func New(margin float64) (*Doc, error) {
	font, err := sfnt.Parse(goregular.TTF)
	if err != nil {
		return nil, fmt.Errorf("font: %w", err)
	}
	d := &Doc{Fpdf: fpdf.New("P", "mm", "A4", ""), font: font, widths: map[glyph]float64{}}
	// The library writes into a font of equal widths when it selects its letters: without a copy, the
	// next document would have other bytes.
	d.AddUTF8FontFromBytes(Sans, "", slices.Clone(goregular.TTF))
	d.AddUTF8FontFromBytes(Sans, "B", slices.Clone(gobold.TTF))
	d.AddUTF8FontFromBytes(Mono, "", slices.Clone(gomono.TTF))
	d.SetMargins(margin, margin, margin)
	d.SetAutoPageBreak(true, margin)
	d.SetCatalogSort(true)
	return d, nil
}

// Glyphs writes characters that the fonts lack as their code points: \u{6f22}.
func (d *Doc) Glyphs(s string) string {
	var b strings.Builder
	for _, r := range s {
		if d.has(r) {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, `\u{%x}`, r)
		}
	}
	return b.String()
}

func (d *Doc) has(r rune) bool {
	if r >= ' ' && r < 0x7f {
		return true
	}
	n, err := d.font.GlyphIndex(&d.buf, r)
	return err == nil && n != 0 && r <= 0xffff
}
