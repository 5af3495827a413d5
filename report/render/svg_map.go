package render

import (
	"fmt"
	"math"

	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/report/value"
)

// Measures of a map.
const (
	boxHeight = 40
	boxGap    = 16
	bendGap   = 14
	mapMargin = 20
	headSize  = 9

	boldFactor = 1.2 // width of bold text relative to normal text
)

// mapSVG draws a graph of calls.
func mapSVG(f *value.Figure) string {
	d := newMapDrawing(f.Map)
	s := newSVG(f.ID, f.Title, f.Alt, int(d.height))
	s.f(`<defs>`)
	for _, kind := range []string{"edge", "bad"} {
		s.f(`<marker id="%s-%s" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="%[3]d" markerHeight="%[3]d" markerUnits="userSpaceOnUse" orient="auto-start-reverse"><path d="M0 0L8 4L0 8z" class="%[2]s-head"/></marker>`, f.ID, kind, headSize)
	}
	s.f(`</defs>`)
	for e := range d.c.Edges {
		d.edge(s, f.ID, e)
	}
	for i := range d.c.Nodes {
		d.node(s, i)
	}
	for e := range d.c.Edges {
		d.label(s, e)
	}
	return s.end()
}

type point struct{ x, y float64 }

type box struct{ x0, y0, x1, y1 float64 }

func (a box) touches(b box) bool { return a.x0 < b.x1 && b.x0 < a.x1 && a.y0 < b.y1 && b.y0 < a.y1 }

// mapDrawing is a map with coordinates.
type mapDrawing struct {
	c        *value.MapChart
	l        *layout
	height   float64
	boxWidth float64
	x        []float64 // left edge of each layer
	taken    []box     // space used by nodes, arrowheads and labels
	paths    [][]point // for each edge: control points of cubic curves, 1 + 3n
	self     []int64   // calls from a node to itself
}

func newMapDrawing(c *value.MapChart) *mapDrawing {
	d := &mapDrawing{c: c, l: arrange(c), paths: make([][]point, len(c.Edges)), self: make([]int64, len(c.Nodes))}
	n := len(d.l.layers)
	d.boxWidth = min(172, (pictureWidth-2*mapMargin)/(float64(n)+0.7*float64(n-1)))
	for k := range d.l.layers {
		x := float64(mapMargin)
		if n > 1 {
			x += float64(k) * (pictureWidth - 2*mapMargin - d.boxWidth) / float64(n-1)
		} else {
			x = (pictureWidth - d.boxWidth) / 2
		}
		d.x = append(d.x, x)
	}
	tallest := 0.0
	heights := make([]float64, n)
	for k, layer := range d.l.layers {
		for _, p := range layer {
			heights[k] += d.room(p)
		}
		tallest = max(tallest, heights[k])
	}
	d.height = math.Ceil(tallest + 2*mapMargin)
	for k, layer := range d.l.layers {
		// Spread a layer with few nodes a little, to separate its edges.
		spread := min((tallest-heights[k])/float64(len(layer)+1), 26)
		y := mapMargin + (tallest-heights[k]-spread*float64(len(layer)-1))/2
		for _, p := range layer {
			d.l.places[p].y = y + d.room(p)/2
			y += d.room(p) + spread
		}
	}
	for i := range c.Nodes {
		b := d.box(i)
		d.taken = append(d.taken, box{b.x0 - 2, b.y0 - 2, b.x1 + 2, b.y1 + 2})
	}
	d.lay()
	for e := range d.paths {
		if head, ok := d.head(e); ok {
			d.taken = append(d.taken, head)
		}
	}
	return d
}

// head is the space of an edge's arrowhead.
func (d *mapDrawing) head(e int) (box, bool) {
	path := d.paths[e]
	if len(path) == 0 {
		return box{}, false
	}
	tip := path[len(path)-1]
	if d.l.back[e] {
		tip = path[0]
	}
	return box{tip.x - headSize, tip.y - headSize/2, tip.x + headSize, tip.y + headSize/2}, true
}

func (d *mapDrawing) room(p int) float64 {
	if d.l.places[p].node < 0 {
		return bendGap
	}
	return boxHeight + boxGap
}

func (d *mapDrawing) box(i int) box {
	p := d.l.places[i]
	x := d.x[p.layer]
	return box{x, p.y - boxHeight/2, x + d.boxWidth, p.y + boxHeight/2}
}

// lay computes the curves of all edges.
func (d *mapDrawing) lay() {
	for e, route := range d.l.routes {
		edge := d.c.Edges[e]
		if edge.From == edge.To {
			d.self[edge.From] += edge.Calls
			continue
		}
		first, last := route[0], route[len(route)-1]
		a, b := d.l.places[first], d.l.places[last]
		if a.layer == b.layer { // an arc on the right side
			from, to := point{d.box(first).x1, a.y + 8}, point{d.box(last).x1, b.y - 8}
			out := min(22+math.Abs(from.y-to.y)/10, (pictureWidth-2-max(from.x, to.x))/0.75) // the arc goes out by 3/4 of it
			d.paths[e] = []point{from, {from.x + out, from.y}, {to.x + out, to.y}, to}
			continue
		}
		points := []point{{d.box(first).x1, a.y + d.port(first, route[1], true)}}
		for _, p := range route[1 : len(route)-1] {
			x, y := d.x[d.l.places[p].layer], d.l.places[p].y
			points = append(points, point{x, y}, point{x + d.boxWidth, y})
		}
		points = append(points, point{d.box(last).x0, b.y + d.port(last, route[len(route)-2], false)})
		path := points[:1:1]
		for i := 1; i < len(points); i++ {
			p, q := points[i-1], points[i]
			bend := (q.x - p.x) / 2
			path = append(path, point{p.x + bend, p.y}, point{q.x - bend, q.y}, q)
		}
		d.paths[e] = path
	}
}

// port is the distance from the middle of a box at which an edge meets it, to separate edges.
func (d *mapDrawing) port(at, other int, right bool) float64 {
	list := d.l.places[at].in
	if right {
		list = d.l.places[at].out
	}
	if len(list) < 2 {
		return 0
	}
	above := 0
	for _, p := range list {
		if d.l.places[p].y < d.l.places[other].y {
			above++
		}
	}
	step := min(7, float64(boxHeight-12)/float64(len(list)-1))
	return (float64(above) - float64(len(list)-1)/2) * step
}

func (d *mapDrawing) edge(s *svg, id string, e int) {
	path, edge := d.paths[e], d.c.Edges[e]
	if len(path) == 0 {
		return
	}
	kind := "edge"
	if edge.Failed > 0 {
		kind = "bad"
	}
	markers := fmt.Sprintf(`marker-end="url(#%s-%s)"`, id, kind)
	if d.l.back[e] {
		markers = fmt.Sprintf(`marker-start="url(#%s-%s)"`, id, kind)
	}
	s.f(`<path class="%s-line" stroke-width="%s" %s d="M%s %s`, kind, px(1+0.6*math.Log10(float64(max(edge.Calls, 1)))), markers, px(path[0].x), px(path[0].y))
	for i := 1; i+2 < len(path); i += 3 {
		s.f(`C%s %s %s %s %s %s`, px(path[i].x), px(path[i].y), px(path[i+1].x), px(path[i+1].y), px(path[i+2].x), px(path[i+2].y))
	}
	s.f(`"><title>%s</title></path>`, esc(d.words(e)))
}

// words describes an edge in full.
func (d *mapDrawing) words(e int) string {
	edge := d.c.Edges[e]
	text := fmt.Sprintf("%s to %s: %s, %s failed", d.c.Nodes[edge.From].Name, d.c.Nodes[edge.To].Name, plural.Count(edge.Calls, "call", "calls"), plural.Thousands(edge.Failed))
	if edge.P50 != nil && edge.P99 != nil {
		text += fmt.Sprintf(", p50 %s, p99 %s", value.Micros(*edge.P50), value.Micros(*edge.P99))
	}
	return text
}

func (d *mapDrawing) node(s *svg, i int) {
	n, b := d.c.Nodes[i], d.box(i)
	class := "node"
	if n.Others {
		class = "node others"
	} else if n.Kind == "outside" {
		class = "node outside"
	}
	s.f(`<g><title>%s</title><rect x="%s" y="%s" width="%s" height="%d" rx="5" class="%s"/>`, esc(n.Name+", "+n.Kind+", in "+plural.Count(n.Calls, "call", "calls")), px(b.x0), px(b.y0), px(b.x1-b.x0), boxHeight, class)
	mid := (b.x0 + b.x1) / 2
	s.text(mid, b.y0+17, "middle", "label strong", fitName(n.Name, (d.boxWidth-10)/boldFactor))
	below := n.Kind
	if n.Others {
		below = "all the rest"
	}
	if d.self[i] > 0 {
		below += ", " + plural.Thousands(d.self[i]) + " to itself"
	}
	s.text(mid, b.y0+32, "middle", "tick", fit(below, d.boxWidth-10))
	s.f(`</g>`)
}

// label writes the numbers of an edge if there is space; the table has all of them.
func (d *mapDrawing) label(s *svg, e int) {
	path, edge := d.paths[e], d.c.Edges[e]
	if len(path) == 0 {
		return
	}
	text, class := plural.Thousands(edge.Calls), "tick"
	if edge.Calls == 0 {
		text = "not read"
	}
	if edge.Failed > 0 {
		text += ", " + plural.Thousands(edge.Failed) + " failed"
		class = "tick bad-text"
	} else if edge.P50 != nil {
		text += ", " + value.Micros(*edge.P50)
	}
	w := textWidth(text)/2*0.92 + 2
	for _, at := range [...]float64{0.5, 0.38, 0.62, 0.28, 0.72, 0.2, 0.8} {
		for i := range len(path) / 3 {
			// If the edge passes a layer, its second segment is straight and has the most space.
			seg := (i + 1) % (len(path) / 3)
			p := bezier(path[3*seg:3*seg+4], at)
			want := box{p.x - w, p.y - 8, p.x + w, p.y + 6}
			if want.x0 < 0 || want.x1 > pictureWidth || d.blocked(want) {
				continue
			}
			d.taken = append(d.taken, want)
			s.f(`<rect x="%s" y="%s" width="%s" height="14" class="ground"/>`, px(want.x0+1), px(want.y0), px(2*w-2))
			s.text(p.x, p.y+4, "middle", class, text)
			return
		}
	}
}

func (d *mapDrawing) blocked(want box) bool {
	for _, b := range d.taken {
		if b.touches(want) {
			return true
		}
	}
	return false
}

func bezier(p []point, t float64) point {
	u := 1 - t
	a, b, c, d := u*u*u, 3*u*u*t, 3*u*t*t, t*t*t
	return point{a*p[0].x + b*p[1].x + c*p[2].x + d*p[3].x, a*p[0].y + b*p[1].y + c*p[2].y + d*p[3].y}
}
