package render

import (
	"fmt"
	"html"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/report/value"
)

const pictureWidth = 960

// svg builds a picture. Colours come from CSS classes, for light and dark pages and print; everything
// else is written here and deterministic.
type svg struct{ b strings.Builder }

// newSVG begins a picture of pictureWidth by h units with a title and a description for screen readers.
func newSVG(id, title, alt string, h int) *svg {
	s := &svg{}
	s.f(`<svg viewBox="0 0 %d %d" role="img" aria-labelledby="%[3]s-title %[3]s-desc" xmlns="http://www.w3.org/2000/svg">`, pictureWidth, h, id)
	s.f(`<title id="%s-title">%s</title><desc id="%[1]s-desc">%[3]s</desc>`, id, esc(title), esc(alt))
	return s
}

func (s *svg) f(format string, args ...any) { fmt.Fprintf(&s.b, format, args...) }

func (s *svg) end() string {
	s.b.WriteString("</svg>")
	return s.b.String()
}

// text writes a label; anchor is start, middle or end.
func (s *svg) text(x, y float64, anchor, class, text string) {
	s.f(`<text x="%s" y="%s" text-anchor="%s" class="%s">%s</text>`, px(x), px(y), anchor, class, esc(text))
}

func (s *svg) line(x1, y1, x2, y2 float64, class string) {
	s.f(`<line x1="%s" y1="%s" x2="%s" y2="%s" class="%s"/>`, px(x1), px(y1), px(x2), px(y2), class)
}

// esc makes text safe in markup.
func esc(s string) string { return html.EscapeString(s) }

// px writes a length with at most one decimal place.
func px(v float64) string {
	s := strconv.FormatFloat(v, 'f', 1, 64)
	s = strings.TrimSuffix(s, ".0")
	if s == "-0" {
		return "0"
	}
	return s
}

// textWidth is a safe estimate of the width of text of 12 units in common fonts.
func textWidth(s string) float64 {
	w := 0.0
	for _, r := range s {
		switch {
		case r > 0x2E80:
			w += 12.5
		case strings.ContainsRune("iljt.,:;|'!I()[] f", r):
			w += 4
		case r >= 'A' && r <= 'Z', r == 'm', r == 'w', r == '%', r == '…', r == '@':
			w += 9
		default:
			w += 6.9
		}
	}
	return w
}

// amount writes numbers of a unit.
func amount(unit string) func(int64) string {
	switch unit {
	case "bytes":
		return value.Bytes
	case value.Latency:
		return value.Micros
	}
	return plural.Thousands
}

// ceiling returns a round number that is at least n, for the top of an axis, and the axis step.
func ceiling(n int64) (top, step int64) {
	for base := int64(1); ; base *= 10 {
		for _, m := range [...]int64{1, 2, 5} {
			if base > 1<<58 {
				return n, max(n/2, 1)
			}
			step = base * m
			if top = (n + step - 1) / step * step; top <= 4*step {
				return max(top, step), step
			}
		}
	}
}
