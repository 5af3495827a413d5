package report

import (
	_ "embed" // the page and its style
	"fmt"
	"html/template"
	"io"
)

//go:embed page.html.tmpl
var pageText string

//go:embed page.css
var pageStyle string

// RenderHTML writes a report as one HTML file that loads nothing: no scripts, fonts or external
// pictures, and its content security policy forbids them.
func RenderHTML(w io.Writer, r *Report) error {
	page, err := template.New("page").Funcs(template.FuncMap{
		"style":  func() template.CSS { return template.CSS(pageStyle) },
		"svg":    figureSVG,
		"legend": legend,
		"short":  shortID,
		"class":  cellClass,
		"width":  func(share *int) template.CSS { return template.CSS(fmt.Sprintf("%d.%d%%", *share/10, *share%10)) },
		"many":   func(r *Report) bool { return len(r.Bundles) > 1 },
		"add":    func(a, b int) int { return a + b },
	}).Parse(pageText)
	if err != nil {
		return fmt.Errorf("reading the page's template: %w", err)
	}
	if err := page.Execute(w, r); err != nil {
		return fmt.Errorf("writing HTML: %w", err)
	}
	return nil
}

// figureSVG draws a figure. Its text is already escaped.
func figureSVG(f *Figure) template.HTML {
	switch {
	case f.Time != nil:
		return template.HTML(timeSVG(f))
	case f.Bars != nil:
		return template.HTML(barsSVG(f))
	case f.Map != nil:
		return template.HTML(mapSVG(f))
	}
	return ""
}

// legendItem is a colour and its meaning.
type legendItem struct{ Class, Name, Total string }

func legend(f *Figure) []legendItem {
	if f.Time == nil {
		return nil
	}
	var out []legendItem
	for i, s := range f.Time.Series {
		out = append(out, legendItem{seriesClass(s, i), s.Name, amount(f.Time.Unit)(s.Total)})
	}
	return out
}

// shortID is a prefix of a call id that identifies the call.
func shortID(id string) string { return id[:min(len(id), 12)] }

func cellClass(columns []Column, i int, c Cell) string {
	class := ""
	if i < len(columns) {
		class = columns[i].Kind
	}
	if c.Bad {
		class += " bad"
	}
	return class
}
