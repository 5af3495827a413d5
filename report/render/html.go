package render

import (
	"crypto/sha256"
	_ "embed" // the page, its style and its script
	"encoding/base64"
	"fmt"
	"html/template"
	"io"

	"github.com/pcapsule/pcapsule/report/value"
)

//go:embed page.html.tmpl
var pageText string

//go:embed page.css
var pageStyle string

// pageScript sorts and filters tables. The page is complete without it.
//
//go:embed page.js
var pageScript string

// scriptHash is the source of the script in the page's content security policy.
func scriptHash() template.HTMLAttr {
	sum := sha256.Sum256([]byte(pageScript))
	return template.HTMLAttr("sha256-" + base64.StdEncoding.EncodeToString(sum[:]))
}

// HTML writes a report as one HTML file that loads nothing: its content security policy allows only
// its own script, which sorts and filters tables.
func HTML(w io.Writer, r *value.Report) error {
	many, listed := len(r.Bundles) > 1, listedCalls(r)
	page, err := template.New("page").Funcs(template.FuncMap{
		"style":      func() template.CSS { return template.CSS(pageStyle) },
		"script":     func() template.JS { return template.JS(pageScript) },
		"scriptHash": scriptHash,
		"data":       func() (template.JS, error) { text, err := compact(r); return template.JS(text), err },
		"absent":     absentWords,
		"wide":       func(t *value.Table) bool { return len(t.Columns) > mostUpright },
		"svg":        figureSVG,
		"legend":     legend,
		"short":      shortID,
		"class":      cellClass,
		"groups":     groups,
		"width":      func(share *int) template.CSS { return template.CSS(fmt.Sprintf("%d.%d%%", *share/10, *share%10)) },
		"with1":      func(_, of any) evidence { return evidence{many, listed, of} },
		"pair":       func(many bool, of any) evidence { return evidence{many, listed, of} },
		"listing":    func(of any) evidence { return evidence{many, nil, of} },
		"lists":      func(t *value.Table) bool { return t.ID == value.Cited+"-table" },
		"add":        func(a, b int) int { return a + b },
	}).Parse(pageText)
	if err != nil {
		return fmt.Errorf("reading the page's template: %w", err)
	}
	if err := page.Execute(w, shown(r, mostPageRows)); err != nil {
		return fmt.Errorf("writing HTML: %w", err)
	}
	return nil
}

// mostUpright is the highest number of columns of a table that is printed on an upright page.
const mostUpright = 10

// absentWords begins the list of what a report has no section about.
func absentWords(r *value.Report) string {
	if r.Blank {
		return "Not in this report, because nothing was recorded in this window"
	}
	return "Looked for and not found in what was recorded"
}

// evidence is something with citations, whether they must name the bundle, and the calls that the page describes.
type evidence struct {
	Many   bool
	Listed map[string]bool
	Of     any
}

// listedCalls are the calls that a section of the report describes. Their citations are links to it.
func listedCalls(r *value.Report) map[string]bool {
	listed := map[string]bool{}
	for _, s := range r.Sections {
		if s.ID != value.Cited {
			continue
		}
		for _, block := range s.Blocks {
			if block.Table == nil {
				continue
			}
			for _, row := range block.Table.Rows {
				for _, c := range row.Cite {
					listed[c.Call] = true
				}
			}
		}
	}
	return listed
}

// answers are the statements about one question.
type answers struct {
	Head       string
	Statements []value.Statement
}

// groups joins statements about the same question.
func groups(list []value.Statement) (out []answers) {
	for _, s := range list {
		if n := len(out); n == 0 || out[n-1].Head != s.Head {
			out = append(out, answers{Head: s.Head})
		}
		out[len(out)-1].Statements = append(out[len(out)-1].Statements, s)
	}
	return out
}

// figureSVG draws a figure. Its text is already escaped.
func figureSVG(f *value.Figure) template.HTML {
	switch {
	case f.Time != nil:
		return template.HTML(timeSVG(f))
	case f.Bars != nil:
		return template.HTML(barsSVG(f))
	case f.Map != nil:
		return template.HTML(mapSVG(f))
	case f.Heat != nil:
		return template.HTML(heatSVG(f))
	case f.Sequence != nil:
		return template.HTML(sequenceSVG(f))
	}
	return ""
}

// legendItem is a colour and its meaning.
type legendItem struct{ Class, Name, Total string }

func legend(f *value.Figure) []legendItem {
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

func cellClass(columns []value.Column, i int, c value.Cell) string {
	class := ""
	if i < len(columns) {
		class = columns[i].Kind
	}
	if c.Bad {
		class += " bad"
	}
	return class
}
