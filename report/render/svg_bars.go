package render

import (
	"net/netip"
	"strings"

	"github.com/pcapsule/pcapsule/report/value"
)

// Measures of a chart of bars.
const (
	barsName   = 300
	barsNumber = 84
	barsRow    = 24
)

// barsSVG draws named amounts as horizontal bars.
func barsSVG(f *value.Figure) string {
	c := f.Bars
	s := newSVG(f.ID, f.Title, f.Alt, len(c.Bars)*barsRow+8)
	var most int64 = 1
	for _, b := range c.Bars {
		most = max(most, b.Value)
	}
	room := float64(pictureWidth - barsName - barsNumber)
	write := amount(c.Unit)
	for i, b := range c.Bars {
		y := float64(i*barsRow + 4)
		s.text(barsName-8, y+15, "end", "label", fit(b.Name, barsName-16))
		w := max(room*float64(b.Value)/float64(most), 1)
		s.f(`<rect x="%d" y="%s" width="%s" height="%d" class="s0"><title>%s</title></rect>`, barsName, px(y+2), px(w), barsRow-7, esc(b.Name+": "+write(b.Value)))
		if b.Part > 0 {
			s.f(`<rect x="%d" y="%s" width="%s" height="%d" class="bad-fill"/>`, barsName, px(y+2), px(max(w*float64(b.Part)/float64(max(b.Value, 1)), 1)), barsRow-7)
		}
		s.text(barsName+w+6, y+15, "start", "tick", write(b.Value))
	}
	return s.end()
}

// fit shortens text to a width in the middle, because both ends are more informative.
func fit(s string, width float64) string {
	if textWidth(s) <= width {
		return s
	}
	r := []rune(s)
	for n := len(r) - 1; n > 4; n-- {
		tail := n / 3
		cut := string(r[:n-tail]) + "…" + string(r[len(r)-tail:])
		if textWidth(cut) <= width {
			return cut
		}
	}
	return "…"
}

// fitName shortens a name to a width. Host names lose their last labels, which services share, unless
// little would be left.
func fitName(s string, width float64) string {
	if _, err := netip.ParseAddr(s); err == nil || textWidth(s) <= width {
		return fit(s, width)
	}
	for end := strings.LastIndexByte(s, '.'); end > 0; end = strings.LastIndexByte(s[:end], '.') {
		if cut := s[:end] + "…"; textWidth(cut) <= width && textWidth(cut) >= width/2 {
			return cut
		}
	}
	return fit(s, width)
}
