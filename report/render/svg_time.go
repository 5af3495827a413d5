package render

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/report/value"
)

// Measures of a chart over time.
const (
	timeHeight = 250
	timeLeft   = 66
	timeRight  = 14
	timeTop    = 14
	timeBottom = 40
	breakWidth = 9
)

// timeSVG draws stacked bars over time, with hatched coverage gaps.
func timeSVG(f *value.Figure) string {
	c := f.Time
	s := newSVG(f.ID, f.Title, f.Alt, timeHeight)
	s.f(`<defs><pattern id="%s-hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="6" height="6" class="hatch-ground"/><line x1="0" y1="0" x2="0" y2="6" class="hatch"/></pattern></defs>`, f.ID)
	p := newTimePlot(c)
	var highest int64 = 1
	for i := range p.x {
		var sum int64
		for _, r := range c.Series {
			sum += valueAt(r.Values, i)
		}
		highest = max(highest, sum)
	}
	top, step := ceiling(highest)
	p.scale = float64(timeHeight-timeTop-timeBottom) / float64(top)
	write := amount(c.Unit)
	for v := int64(0); v <= top; v += step {
		y := p.y(v)
		s.line(timeLeft, y, pictureWidth-timeRight, y, "grid")
		s.text(timeLeft-7, y+4, "end", "tick", tickText(write, v))
	}
	p.holes(s, f.ID)
	base := make([]int64, len(p.x))
	for i, r := range c.Series {
		s.f(`<path class="%s" d="%s"><title>%s</title></path>`, seriesClass(r, i), p.stack(r.Values, base), esc(r.Name+": "+write(r.Total)))
	}
	s.line(timeLeft, p.y(0), pictureWidth-timeRight, p.y(0), "axis")
	p.breaks(s)
	p.ticks(s)
	return s.end()
}

// valueAt is a value of a series; one that was changed may have fewer than the chart has places.
func valueAt(values []int64, i int) int64 {
	if i < len(values) {
		return values[i]
	}
	return 0
}

// noFraction matches a fraction that says nothing, between a number and its unit.
var noFraction = regexp.MustCompile(`\.0+ `)

// tickText writes an amount beside an axis, whose steps are round.
func tickText(write func(int64) string, v int64) string {
	if v == 0 {
		return "0"
	}
	return noFraction.ReplaceAllString(write(v), " ")
}

func seriesClass(r value.Series, i int) string {
	if r.Class == "bad" {
		return "bad-fill"
	}
	return fmt.Sprintf("s%d", i)
}

// timePlot maps times to positions in the picture.
type timePlot struct {
	c     *value.TimeChart
	x     []float64 // left edge of each bucket
	from  []float64 // left edge of each stretch
	width float64   // of a bucket
	scale float64
}

func newTimePlot(c *value.TimeChart) *timePlot {
	n := c.Buckets()
	room := float64(pictureWidth-timeLeft-timeRight) - float64(breakWidth*(len(c.Stretches)-1))
	p := &timePlot{c: c, width: room / float64(max(n, 1))}
	x := float64(timeLeft)
	for _, s := range c.Stretches {
		p.from = append(p.from, x)
		for range s.Count {
			p.x = append(p.x, x)
			x += p.width
		}
		x += breakWidth
	}
	return p
}

func (p *timePlot) y(v int64) float64 { return timeHeight - timeBottom - float64(v)*p.scale }

// stack draws the bars of one series on top of the previous ones.
func (p *timePlot) stack(values, base []int64) string {
	var d strings.Builder
	w := p.width * 0.86
	if p.width < 3 {
		w = p.width
	}
	for i, v := range values {
		if v <= 0 || i >= len(p.x) { // an edited chart may have fewer places
			continue
		}
		y0, y1 := p.y(base[i]), p.y(base[i]+v)
		y1 = min(y1, y0-0.6) // non-zero values are always visible
		fmt.Fprintf(&d, "M%s %sh%sV%sh-%sz", px(p.x[i]), px(y0), px(w), px(y1), px(w))
		base[i] += v
	}
	return d.String()
}

// at is the position of a time; a time in a break is at its start.
func (p *timePlot) at(ns int64) float64 {
	for i, s := range p.c.Stretches {
		begin, end := s.First*p.c.BucketNs, (s.First+int64(s.Count))*p.c.BucketNs
		if ns < begin {
			return p.from[i]
		}
		if ns <= end || i == len(p.c.Stretches)-1 {
			return p.from[i] + min(float64(ns-begin)/float64(p.c.BucketNs), float64(s.Count))*p.width
		}
	}
	return timeLeft
}

func (p *timePlot) holes(s *svg, id string) {
	for _, h := range p.c.Holes {
		x0, x1 := p.at(h.FromNs), p.at(h.ToNs)
		if x1-x0 < 4 {
			mid := (x0 + x1) / 2
			x0, x1 = max(mid-2, timeLeft), min(mid+2, pictureWidth-timeRight)
		}
		length := value.Duration(time.Duration(h.ToNs - h.FromNs))
		s.f(`<rect x="%s" y="%d" width="%s" height="%d" fill="url(#%s-hatch)" class="hole"><title>%s</title></rect>`, px(x0), timeTop, px(x1-x0), timeHeight-timeTop-timeBottom, id,
			esc("not recorded, or only in part: "+h.Reason+", "+length))
	}
}

func (p *timePlot) breaks(s *svg) {
	for _, x := range p.from[min(1, len(p.from)):] {
		mid := x - breakWidth/2.0
		for _, dx := range []float64{-2, 2} {
			s.line(mid+dx-2, timeHeight-timeBottom+6, mid+dx+2, timeHeight-timeBottom-6, "axis")
		}
	}
}

// ticks writes times below the axis, as many as fit.
func (p *timePlot) ticks(s *svg) {
	if len(p.c.Stretches) == 0 {
		return
	}
	span := int64(p.c.Buckets()) * p.c.BucketNs
	layout, second := "15:04", "2006-01-02"
	switch {
	case span < int64(10*time.Second):
		layout = "15:04:05.000"
	case span < int64(30*time.Minute):
		layout = "15:04:05"
	case span > int64(4*24*time.Hour):
		layout, second = "2006-01-02", ""
	}
	if n := len(p.c.Stretches); n > 1 {
		first, last := p.c.Stretches[0], p.c.Stretches[n-1]
		a, b := time.Unix(0, first.First*p.c.BucketNs).UTC(), time.Unix(0, (last.First+int64(last.Count))*p.c.BucketNs).UTC()
		if a.Format(time.DateOnly) == b.Format(time.DateOnly) {
			layout, second = "15:04:05", "2006-01-02"
		} else if layout, second = "2006-01-02", "15:04"; p.c.BucketNs < int64(time.Minute) {
			second = "15:04:05"
		}
	}
	w := tickWriter{s: s, layout: layout, second: second, several: len(p.c.Stretches) > 1}
	if !w.several {
		p.ticksWithin(&w, 0)
		return
	}
	// A long stretch has its labels before the short ones beside it.
	order := make([]int, len(p.c.Stretches))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return p.c.Stretches[b].Count - p.c.Stretches[a].Count })
	for _, i := range order {
		w.put(p.from[i], p.c.Stretches[i].First*p.c.BucketNs)
	}
	for _, i := range order {
		p.ticksWithin(&w, i)
	}
}

// ticksWithin writes round times of a stretch.
func (p *timePlot) ticksWithin(w *tickWriter, i int) {
	st := p.c.Stretches[i]
	every := int64(1)
	for _, d := range value.Nice {
		if n := int64(d) / p.c.BucketNs; n >= 1 && int64(st.Count)/n <= 8 {
			every = n
			break
		}
	}
	for k := range int64(st.Count) {
		if (st.First+k)%every == 0 {
			w.put(p.from[i]+float64(k)*p.width, (st.First+k)*p.c.BucketNs)
		}
	}
}

// tickWriter writes times below the axis that do not touch another.
type tickWriter struct {
	s              *svg
	layout, second string
	several        bool         // stretches, so that each time has its date
	lastDate       string       // that was written
	taken          [][2]float64 // places of texts
}

func (w *tickWriter) put(x float64, ns int64) {
	const y = float64(timeHeight - timeBottom)
	t := time.Unix(0, ns).UTC()
	text, date := t.Format(w.layout), ""
	if w.second != "" {
		date = t.Format(w.second)
	}
	half := max(textWidth(text), textWidth(date))/2 + 6
	if !w.several {
		half = textWidth(text)/2 + 6
	}
	touches := func(at [2]float64) bool { return x-half < at[1] && x+half > at[0] }
	if x+half > pictureWidth+8 || slices.ContainsFunc(w.taken, touches) {
		return
	}
	w.s.line(x, y, x, y+5, "axis")
	anchor := "middle"
	if x-half < 0 {
		anchor = "start"
	}
	w.s.text(x, y+18, anchor, "tick", text)
	if date != "" && (date != w.lastDate || w.several) {
		w.s.text(x, y+32, anchor, "tick faint", date)
		w.lastDate = date
	}
	w.taken = append(w.taken, [2]float64{x - half, x + half})
}
