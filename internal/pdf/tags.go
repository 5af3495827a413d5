package pdf

import (
	"fmt"
	"strings"
)

// Kinds of tags (ISO 32000-1, section 14.8.4).
const (
	Title     = "H1"
	Heading   = "H2"
	Caption   = "H3"
	Paragraph = "P"
	Table     = "Table"
	Row       = "TR"
	Head      = "TH"       // of a column
	RowHead   = "TH (row)" // of a row
	Cell      = "TD"
	Figure    = "Figure"
)

// Tag is an element of the structure of a document, for programs that read aloud.
type Tag struct {
	kind, alt string
	above     *Tag
	inside    []any // *Tag or mark, in the order in which they are read
	number    int   // of its object
}

// name is the kind as a file has it.
func (t *Tag) name() string {
	if t.kind == RowHead {
		return Head
	}
	return t.kind
}

// mark is a piece of the content of a page.
type mark struct{ page, number int }

// structure is the tags of a document.
type structure struct {
	root  Tag
	open  *Tag     // that content belongs to; nil for lines, footers and the like, which are not content
	pages [][]*Tag // for each page, the tag of each mark
	busy  bool     // inside a mark
}

// SetTagged makes the document one with tags. What is written outside of a tag is marked as no content.
func (d *Doc) SetTagged() { d.tags = &structure{root: Tag{kind: "Document"}} }

// NewTag makes a tag inside of another one, or of the document if that is nil. alt is the
// alternative text of a figure.
func (d *Doc) NewTag(kind string, above *Tag, alt string) *Tag {
	if d.tags == nil {
		return nil
	}
	if above == nil {
		above = &d.tags.root
	}
	t := &Tag{kind: kind, alt: alt, above: above}
	above.inside = append(above.inside, t)
	return t
}

// In writes content of a tag. Content of nil is none that is read aloud.
func (d *Doc) In(t *Tag, do func()) {
	if d.tags == nil {
		do()
		return
	}
	was := d.tags.open
	d.tags.open = t
	do()
	d.tags.open = was
}

// Tag writes content of a new tag, unless a tag is open.
func (d *Doc) Tag(kind string, do func()) {
	if d.tags == nil || d.tags.open != nil {
		do()
		return
	}
	d.In(d.NewTag(kind, nil, ""), do)
}

// Text writes a line of text, which belongs to the open tag.
func (d *Doc) Text(x, y float64, s string) { d.marked(func() { d.Fpdf.Text(x, y, s) }) }

// Rect draws a rectangle, which is not content.
func (d *Doc) Rect(x, y, width, height float64, style string) {
	if d.tags == nil || d.tags.busy {
		d.Fpdf.Rect(x, y, width, height, style)
		return
	}
	d.In(nil, func() { d.marked(func() { d.Fpdf.Rect(x, y, width, height, style) }) })
}

// marked writes one mark on the current page.
func (d *Doc) marked(do func()) {
	s := d.tags
	if s == nil || s.busy {
		do()
		return
	}
	begin := "/Artifact BMC"
	if t := s.open; t != nil {
		page := d.PageNo() - 1
		for len(s.pages) <= page {
			s.pages = append(s.pages, nil)
		}
		m := mark{page, len(s.pages[page])}
		s.pages[page] = append(s.pages[page], t)
		t.inside = append(t.inside, m)
		begin = fmt.Sprintf("/%s <</MCID %d>> BDC", t.name(), m.number)
	}
	d.RawWriteStr(begin)
	s.busy = true
	do()
	s.busy = false
	d.RawWriteStr("EMC")
}

// write adds the tree of tags to a file. It returns the number of its root.
func (s *structure) write(a *archive) int {
	root := a.next()
	parents := root + 1
	number := parents
	s.root.each(func(t *Tag) {
		number++
		t.number = number
	})
	var b strings.Builder
	b.WriteString("<</Nums [")
	for i, tags := range s.pages {
		fmt.Fprintf(&b, "%d [", i)
		for _, t := range tags {
			fmt.Fprintf(&b, "%d 0 R ", t.number)
		}
		b.WriteString("]\n")
	}
	b.WriteString("]>>")
	list := []string{fmt.Sprintf("<</Type /StructTreeRoot /K %d 0 R /ParentTree %d 0 R /ParentTreeNextKey %d>>", s.root.number, parents, len(s.pages)), b.String()}
	s.root.each(func(t *Tag) { list = append(list, t.object(root, a.pages)) })
	a.pack(list)
	return root
}

// each calls do for a tag and all below, in the order in which they are read.
func (t *Tag) each(do func(*Tag)) {
	do(t)
	for _, k := range t.inside {
		if below, ok := k.(*Tag); ok {
			below.each(do)
		}
	}
}

// object writes a tag as an object.
func (t *Tag) object(root int, pages []int) string {
	above := root
	if t.above != nil {
		above = t.above.number
	}
	var b strings.Builder
	fmt.Fprintf(&b, "<</S /%s /P %d 0 R", t.name(), above)
	switch t.kind {
	case Head:
		b.WriteString(" /A <</O /Table /Scope /Column>>")
	case RowHead:
		b.WriteString(" /A <</O /Table /Scope /Row>>")
	}
	if t.alt != "" {
		b.WriteString(" /Alt " + text(t.alt))
	}
	b.WriteString(" /K [")
	for _, k := range t.inside {
		switch k := k.(type) {
		case *Tag:
			fmt.Fprintf(&b, "%d 0 R ", k.number)
		case mark:
			fmt.Fprintf(&b, "<</Type /MCR /Pg %d 0 R /MCID %d>>", pages[k.page], k.number)
		}
	}
	b.WriteString("]>>")
	return b.String()
}
