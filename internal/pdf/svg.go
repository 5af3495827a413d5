package pdf

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"codeberg.org/go-pdf/fpdf"
)

// Picture is an SVG picture of a report: rectangles, lines, paths of straight lines and cubic curves,
// text, hatched fills and arrow heads. It draws nothing else.
type Picture struct {
	Width, Height float64                   // in units of the picture
	Spoken        string                    // its title and description
	Room          func(text string) float64 // width that the picture leaves for a text of 12 units
	svg           string
	styles        *Styles
	heads         map[string]head
}

// head is an arrow head at the end of a path.
type head struct {
	class  string
	size   float64
	scaled bool // by the width of the line
}

// ParsePicture reads the size and the arrow heads of a picture.
func ParsePicture(svg string, styles *Styles) (*Picture, error) {
	p := &Picture{svg: svg, styles: styles, heads: map[string]head{}}
	last := ""
	err := p.each(func(e *element) {
		switch e.name {
		case "svg":
			var x, y float64
			_, _ = fmt.Sscan(e.attrs["viewBox"], &x, &y, &p.Width, &p.Height)
		case "title":
			p.Spoken = e.text
		case "desc":
			p.Spoken += ". " + e.text
		case "marker":
			last = e.attrs["id"]
			p.heads[last] = head{size: number(e.attrs["markerWidth"], 3), scaled: e.attrs["markerUnits"] != "userSpaceOnUse"}
		case "path":
			if e.inside == "marker" {
				h := p.heads[last]
				h.class = e.attrs["class"]
				p.heads[last] = h
			}
		}
	})
	if err == nil && (p.Width <= 0 || p.Height <= 0) {
		err = errors.New("it has no size")
	}
	if err != nil {
		return nil, fmt.Errorf("reading a picture: %w", err)
	}
	return p, nil
}

// element is an element of a picture with its text.
type element struct {
	name, inside string // inside is the nearest marker, pattern or defs
	attrs        map[string]string
	text         string
}

// each calls do for every element, after its text was read.
func (p *Picture) each(do func(*element)) error {
	d := xml.NewDecoder(strings.NewReader(p.svg))
	var open []string
	var text *element
	for {
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch t := t.(type) {
		case xml.StartElement:
			e := &element{name: t.Name.Local, attrs: map[string]string{}}
			for _, name := range open {
				if name == "marker" || name == "pattern" || name == "defs" {
					e.inside = name
				}
			}
			for _, a := range t.Attr {
				e.attrs[a.Name.Local] = a.Value
			}
			open = append(open, e.name)
			if e.name == "text" || e.name == "title" || e.name == "desc" {
				text = e
				continue
			}
			do(e)
		case xml.CharData:
			if text != nil {
				text.text += string(t)
			}
		case xml.EndElement:
			open = open[:len(open)-1]
			if text != nil && t.Name.Local == text.name {
				do(text)
				text = nil
			}
		}
	}
}

// drawing is a picture on a page.
type drawing struct {
	*Picture
	d           *Doc
	x, y, scale float64
	from, to    float64 // the part that is drawn
	err         error
}

// Draw draws a part of a picture, from one height to another in its units, with its upper left corner
// at x, y and a scale in millimetres for each unit.
func (d *Doc) Draw(p *Picture, x, y, scale, from, to float64) error {
	var err error
	d.marked(func() { err = d.draw(p, x, y, scale, from, to) })
	return err
}

func (d *Doc) draw(p *Picture, x, y, scale, from, to float64) error {
	w := &drawing{Picture: p, d: d, x: x, y: y - float64(from*scale), scale: scale, from: from, to: to}
	d.ClipRect(x, y, float64(p.Width*scale), float64((to-from)*scale), false)
	err := p.each(func(e *element) {
		if e.inside == "" {
			w.element(e)
		}
	})
	d.ClipEnd()
	d.SetDashPattern(nil, 0)
	if err = errors.Join(err, w.err); err != nil {
		return fmt.Errorf("drawing a picture: %w", err)
	}
	return nil
}

// at converts a position.
func (w *drawing) at(x, y float64) (float64, float64) {
	return w.x + float64(x*w.scale), w.y + float64(y*w.scale)
}

func (w *drawing) element(e *element) {
	look := w.styles.of(e.name, e.attrs["class"])
	n := func(key string) float64 { return number(e.attrs[key], 0) }
	switch e.name {
	case "rect":
		x, y := w.at(n("x"), n("y"))
		width, height := float64(n("width")*w.scale), float64(n("height")*w.scale)
		if strings.HasPrefix(e.attrs["fill"], "url(") {
			w.hatch(x, y, width, height)
			look["fill"] = "none"
		}
		if style := w.look(look, e); style != "" {
			w.d.Rect(x, y, width, height, style)
		}
	case "line":
		w.look(look, e)
		x0, y0 := w.at(n("x1"), n("y1"))
		x1, y1 := w.at(n("x2"), n("y2"))
		w.d.Line(x0, y0, x1, y1)
	case "path":
		w.path(e, look)
	case "text":
		w.text(e, look)
	case "svg", "g", "title", "desc", "defs":
	default:
		w.err = fmt.Errorf("unknown element %s", e.name)
	}
}

// look sets colours and line of a shape, and returns how to paint it: F, D, FD or nothing.
func (w *drawing) look(look map[string]string, e *element) (style string) {
	property := func(key string) string {
		if v, ok := look[key]; ok {
			return v
		}
		return e.attrs[key]
	}
	fill, filled := w.styles.value(property("fill"))
	if property("fill") == "" {
		filled = true
	}
	if filled {
		c := fill.paler(number(property("fill-opacity"), 1))
		w.d.SetFillColor(c.R, c.G, c.B)
		style = "F"
	}
	if c, ok := w.styles.value(property("stroke")); ok {
		w.d.SetDrawColor(c.R, c.G, c.B)
		w.d.SetLineWidth(number(property("stroke-width"), 1) * w.scale)
		var dashes []float64
		for _, part := range strings.Fields(property("stroke-dasharray")) {
			dashes = append(dashes, number(part, 1)*w.scale)
		}
		w.d.SetDashPattern(dashes, 0)
		style += "D"
	}
	return style
}

// hatch fills a rectangle with slanted lines.
func (w *drawing) hatch(x, y, width, height float64) {
	ground, _ := w.styles.value(w.styles.of("rect", "hatch-ground")["fill"])
	w.d.SetFillColor(ground.R, ground.G, ground.B)
	w.d.Rect(x, y, width, height, "F")
	look := w.styles.of("line", "hatch")
	ink, _ := w.styles.value(look["stroke"])
	w.d.SetDrawColor(ink.R, ink.G, ink.B)
	w.d.SetLineWidth(number(look["stroke-width"], 1) * w.scale * 0.5)
	w.d.SetDashPattern(nil, 0)
	w.d.ClipRect(x, y, width, height, false)
	step := 8 * w.scale
	for at := -height; at < width; at += step {
		w.d.Line(x+at, y+height, x+at+height, y)
	}
	w.d.ClipEnd()
}

// Sizes of text in pictures.
const (
	textSize = 12.0 // units, if a style says nothing else
	smallest = 0.6  // part of its size to which text may shrink to fit
)

// text writes text. Text of other parts is left out and not only clipped, so that a search does not find it twice.
func (w *drawing) text(e *element, look map[string]string) {
	if y := number(e.attrs["y"], 0); y <= w.from || y > w.to {
		return
	}
	size := number(look["font-size"], textSize) * w.scale / pointMM
	bold := ""
	if look["font-weight"] == "600" {
		bold = "B"
	}
	ink, _ := w.styles.value(look["fill"])
	w.d.SetFont(Sans, bold, size)
	s := w.d.Glyphs(e.text)
	width := w.d.Width(s)
	if room := w.room(e.text, bold != "") * size * pointMM / textSize; width > room {
		part := max(room/width, smallest)
		w.d.SetFont(Sans, bold, size*part)
		width *= part
	}
	x, y := w.at(number(e.attrs["x"], 0), number(e.attrs["y"], 0))
	switch e.attrs["text-anchor"] {
	case "middle":
		x -= width / 2
	case "end":
		x -= width
	}
	w.d.SetTextColor(ink.R, ink.G, ink.B)
	w.d.Text(x, y, s)
}

// room is the width for a text of 12 units.
func (w *drawing) room(text string, bold bool) float64 {
	const bolder = 1.1
	switch {
	case w.Room == nil:
		return math.MaxFloat32
	case bold:
		return w.Room(text) * bolder
	}
	return w.Room(text)
}

// path draws a path with its arrow heads.
func (w *drawing) path(e *element, look map[string]string) {
	steps, err := parsePath(e.attrs["d"])
	if err != nil {
		w.err = err
		return
	}
	if style := w.look(look, e); style != "" {
		for _, s := range steps {
			var p [6]float64
			for i := 0; i < len(s.at); i++ {
				p[2*i], p[2*i+1] = w.at(s.at[i].X, s.at[i].Y)
			}
			switch s.kind {
			case 'M':
				w.d.MoveTo(p[0], p[1])
			case 'L':
				w.d.LineTo(p[0], p[1])
			case 'C':
				w.d.CurveBezierCubicTo(p[0], p[1], p[2], p[3], p[4], p[5])
			case 'Z':
				w.d.ClosePath()
			}
		}
		w.d.DrawPath(style)
	}
	width := number(look["stroke-width"], number(e.attrs["stroke-width"], 1))
	var points []fpdf.PointType
	for _, s := range steps {
		points = append(points, s.at...)
	}
	if n := len(points); n > 1 {
		w.head(e.attrs["marker-start"], points[1], points[0], width)
		w.head(e.attrs["marker-end"], points[n-2], points[n-1], width)
	}
}

// head draws an arrow head at a point, away from another one.
func (w *drawing) head(ref string, from, to fpdf.PointType, width float64) {
	h, ok := w.heads[strings.TrimSuffix(strings.TrimPrefix(ref, "url(#"), ")")]
	if !ok {
		return
	}
	size := h.size / 8 // the head is drawn in a square of 8 units, with its point at 7, 4
	if h.scaled {
		size *= width
	}
	along := math.Atan2(to.Y-from.Y, to.X-from.X)
	sin, cos := math.Sincos(along)
	var corners []fpdf.PointType
	for _, c := range [...][2]float64{{-7, -4}, {1, 0}, {-7, 4}} {
		x, y := c[0]*size, c[1]*size
		px, py := w.at(to.X+float64(x*cos)-float64(y*sin), to.Y+float64(x*sin)+float64(y*cos))
		corners = append(corners, fpdf.PointType{X: px, Y: py})
	}
	ink, _ := w.styles.value(w.styles.of("path", h.class)["fill"])
	w.d.SetFillColor(ink.R, ink.G, ink.B)
	w.d.Polygon(corners, "F")
}
