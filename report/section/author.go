package section

import (
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/report/templates"
	"github.com/pcapsule/pcapsule/report/value"
)

// authored returns a template whose free text is marked as the words of its author, and whether it has an author: nothing
// in a bundle supports these words. The templates of this program have none.
func authored(t *templates.Template) (*templates.Template, bool) {
	if t.Builtin() {
		return t, false
	}
	out := *t
	out.Title, out.About, out.Sections = quoted(t.Title), remark(t.About), nil
	for _, s := range t.Sections {
		s.Title = quoted(s.Title)
		if s.Empty != "" {
			s.Empty = "row of this list (in the author's words: " + quoted(s.Empty) + ")"
		}
		s.Text, s.Sign, s.Columns = each(s.Text, remark), each(s.Sign, quoted), each(s.Columns, func(c string) string {
			if field, title, ok := strings.Cut(c, " as "); ok {
				return field + " as " + quoted(title)
			}
			return c
		})
		out.Sections = append(out.Sections, s)
	}
	return &out, true
}

// byAuthor says which words of a report are those of the template's author.
func (b *builder) byAuthor() {
	if !b.authored {
		return
	}
	b.state(value.Statement{ID: "author", Head: headSure, Text: fmt.Sprintf("The template %s is its author's own. Titles in quotation marks “…” and paragraphs that begin with “Author:” are the author's words, which no bundle supports, and the author chose what the sections show.", value.Text(b.in.Basis.Name))})
}

func quoted(s string) string {
	if s == "" {
		return ""
	}
	return "“" + s + "”"
}

func remark(s string) string {
	if s == "" {
		return ""
	}
	return "Author: " + s
}

func each(list []string, mark func(string) string) (out []string) {
	for _, s := range list {
		out = append(out, mark(s))
	}
	return out
}
