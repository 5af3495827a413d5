package render

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/pcapsule/pcapsule/report/value"
)

// Measures of a sequence diagram.
const (
	seqTop    = 46
	seqStep   = 34
	seqMargin = 70
	seqBox    = 200 // width of the box of an actor, at most
	seqRow    = 32  // height of a row of boxes
	seqLabel  = 260 // width of a label; a longer one is shortened, and has its whole text as a title
)

// arrow is one line of a sequence diagram: a call, or its response.
type arrow struct {
	m     *value.Message
	at    int64
	reply bool
}

// arrows are the calls and responses by time.
func arrows(c *value.SequenceChart) []arrow {
	var list []arrow
	for i := range c.Messages {
		m := &c.Messages[i]
		list = append(list, arrow{m, m.AtUs, false})
		if m.DoneUs != nil {
			list = append(list, arrow{m, *m.DoneUs, true})
		}
	}
	slices.SortStableFunc(list, func(a, b arrow) int { return cmp.Compare(a.at, b.at) })
	return list
}

// sequenceSVG draws calls between actors; time runs down.
func sequenceSVG(f *value.Figure) string {
	c := f.Sequence
	list := arrows(c)
	between := float64(pictureWidth-2*seqMargin-60) / float64(max(len(c.Actors)-1, 1))
	// Names that do not fit side by side are in two rows.
	low, box := 0, min(between-10, seqBox)
	if slices.ContainsFunc(c.Actors, func(name string) bool { return textWidth(name)*boldFactor > box-8 }) {
		low, box = seqRow, min(2*between-10, seqBox)
	}
	height := seqTop + low + seqStep*len(list) + 24
	s := newSVG(f.ID, f.Title, f.Alt, height)
	s.f(`<defs><marker id="%s-call" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" class="arrow"/></marker>`, f.ID)
	s.f(`<marker id="%s-reply" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" class="reply-head"/></marker>`, f.ID)
	s.f(`<marker id="%s-bad" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" class="bad-head"/></marker></defs>`, f.ID)
	x := func(i int) float64 {
		if len(c.Actors) == 1 {
			return pictureWidth / 2
		}
		return seqMargin + 50 + between*float64(i)
	}
	for i, name := range c.Actors {
		top := float64(low * (i % 2))
		left := min(max(x(i)-box/2, 2), pictureWidth-2-box)
		s.line(x(i), 30+top, x(i), float64(height-8), "life")
		s.f(`<g><title>%s</title><rect x="%s" y="%s" width="%s" height="26" rx="4" class="actor"/>`, esc(name), px(left), px(4+top), px(box))
		s.text(left+box/2, 21+top, "middle", "label strong", fitName(name, (box-8)/boldFactor))
		s.f(`</g>`)
	}
	for n, a := range list {
		y := float64(seqTop + low + seqStep*n + 14)
		drawArrow(s, f.ID, a, x(a.m.From), x(a.m.To), y)
		s.text(2, y+4, "start", "tick", value.Micros(a.at))
	}
	return s.end()
}

// drawArrow draws one call or response, with its text above it.
func drawArrow(s *svg, id string, a arrow, from, to, y float64) {
	text, line, head := a.m.Text, "call", "call"
	if a.reply {
		from, to, line, head, text = to, from, "reply", "reply", a.m.Answer
	}
	if a.m.Bad {
		head = "bad"
		if !a.reply {
			line = "bad-call"
		}
	}
	if !a.reply && a.m.Sure == "guess" {
		text += " (guess)"
	}
	full := esc(fmt.Sprintf("%s at %s", text, value.Micros(a.at)))
	if from == to {
		s.f(`<path d="M%s %sh26v12h-24" class="%s" marker-end="url(#%s-%s)"/>`, px(from), px(y-6), line, id, head)
		s.f(`<g><title>%s</title>`, full)
		s.text(from+32, y+4, "start", "tick", fit(text, seqLabel))
		s.f(`</g>`)
		return
	}
	width := max(from-to, to-from)
	mid := (from + to) / 2
	class := "tick"
	if a.m.Bad {
		class = "tick bad-text"
	}
	label := fit(text, max(width-10, seqLabel)) // wider than a short arrow: no other label is at this height
	half := textWidth(label)/2*0.95 + 2
	mid = min(max(mid, half+64), pictureWidth-half)
	s.f(`<g><title>%s</title><rect x="%s" y="%s" width="%s" height="13" class="ground"/>`, full, px(mid-half), px(y-15), px(2*half))
	s.text(mid, y-5, "middle", class, label)
	s.f(`</g>`)
	s.f(`<path d="M%s %sL%s %s" class="%s" marker-end="url(#%s-%s)"><title>%s</title></path>`, px(from), px(y), px(to), px(y), line, id, head, full)
	if !a.reply && a.m.DoneUs == nil { // a cross: no response
		s.f(`<path d="M%s %sl8 8m0 -8l-8 8" class="bad-call"/>`, px(to-4+10*sign(from-to)), px(y-4))
	}
}

func sign(v float64) float64 {
	if v < 0 {
		return -1
	}
	return 1
}
