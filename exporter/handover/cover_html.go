package handover

import (
	_ "embed"
	"fmt"
	"html/template"
	"image/color"
	"io"
	"strings"

	"github.com/boombuler/barcode"
	"github.com/boombuler/barcode/qr"
)

//go:embed cover.html.tmpl
var pageText string

var page = template.Must(template.New("").Funcs(template.FuncMap{"qr": qrSVG}).Parse(pageText))

// HTML writes the sheet as a page that loads nothing and runs nothing.
func (c *Cover) HTML(w io.Writer) error {
	if err := page.Execute(w, struct {
		Name     string
		Sections []section
	}{clean(c.Name), c.sections()}); err != nil {
		return fmt.Errorf("writing the cover sheet: %w", err)
	}
	return nil
}

// qrCode encodes a text with error correction for 15 % of the symbol.
func qrCode(text string) (barcode.Barcode, error) {
	code, err := qr.Encode(text, qr.M, qr.Auto)
	if err != nil {
		return nil, fmt.Errorf("QR code: %w", err)
	}
	return code, nil
}

// dark calls do for each dark module of a QR code. side is the number of modules of a side.
func dark(code barcode.Barcode, do func(x, y int)) (side int) {
	side = code.Bounds().Dx()
	for y := range side {
		for x := range side {
			if code.At(x, y) == color.Black {
				do(x, y)
			}
		}
	}
	return side
}

// quiet is the white border of a QR code, in modules (ISO/IEC 18004 section 5.3.8).
const quiet = 4

// qrSVG draws a QR code.
func qrSVG(text string) (template.HTML, error) {
	code, err := qrCode(text)
	if err != nil {
		return "", err
	}
	var path strings.Builder
	side := dark(code, func(x, y int) { fmt.Fprintf(&path, "M%d %dh1v1h-1z", x+quiet, y+quiet) })
	size := side + 2*quiet
	return template.HTML(fmt.Sprintf(`<svg class="qr" role="img" aria-label="QR code of the fingerprint" viewBox="0 0 %d %d" width="180" height="180">`+
		`<rect width="%d" height="%d" fill="#fff"/><path fill="#000" d="%s"/></svg>`, size, size, size, size, path.String())), nil
}
