package render

import (
	"fmt"

	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/report/value"
)

// Measures of a heat map.
const (
	heatLeft = 84
	heatTop  = 22
	heatCell = 22
)

// heatSVG draws amounts by day and hour.
func heatSVG(f *value.Figure) string {
	days := f.Heat.Days
	s := newSVG(f.ID, f.Title, f.Alt, heatTop+heatCell*len(days)+6)
	var most int64 = 1
	for _, d := range days {
		for _, n := range d.Hours {
			most = max(most, n)
		}
	}
	width := float64(pictureWidth-heatLeft-6) / 24
	for h := 0; h < 24; h += 3 {
		s.text(heatLeft+width*(float64(h)+0.5), heatTop-7, "middle", "tick", fmt.Sprintf("%02d", h))
	}
	for i, d := range days {
		y := float64(heatTop + heatCell*i)
		s.text(heatLeft-8, y+heatCell*0.68, "end", "tick", d.Day)
		for h, n := range d.Hours {
			x := heatLeft + width*float64(h)
			if n < 0 {
				s.f(`<rect x="%s" y="%s" width="%s" height="%d" class="blank"/>`, px(x+1), px(y+1), px(width-2), heatCell-2)
				continue
			}
			opacity := 0.04
			if n > 0 {
				opacity = 0.15 + 0.85*float64(n)/float64(most)
			}
			s.f(`<rect x="%s" y="%s" width="%s" height="%d" class="cell" fill-opacity="%.2f"><title>%s</title></rect>`, px(x+1), px(y+1), px(width-2), heatCell-2, opacity,
				esc(fmt.Sprintf("%s %02d:00, %s", d.Day, h, plural.Count(n, "call", "calls"))))
		}
	}
	return s.end()
}
