package render

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/internal/quote"
	"github.com/pcapsule/pcapsule/report/value"
)

// Limits of charts in Markdown.
const (
	mostPoints = 60 // of a chart that has no table of its own
	mostPairs  = 60 // edges of a map
)

// markdownBegin and markdownEnd enclose the data.
const (
	markdownBegin = "<!-- report-data "
	markdownEnd   = " -->"
)

// escaper makes text of a capture text in Markdown: no markup, no links, no HTML.
var escaper = strings.NewReplacer(`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`, "|", `\|`, "~", `\~`, "<", "&lt;", ">", "&gt;", "&", "&amp;", "#", `\#`, "$", `\$`, "\n", " ")

func md(s string) string { return escaper.Replace(s) }

// Markdown writes a report for wikis and tickets: tables, and maps and sequences as Mermaid.
func Markdown(w io.Writer, r *value.Report) error {
	m := &markdown{many: len(r.Bundles) > 1}
	m.f("# %s\n\n%s", md(r.Title), md(r.Kind))
	if r.About != "" {
		m.f(": %s", md(r.About))
	}
	m.f("\n\n")
	if r.From != "" {
		m.f("From %s to %s.", r.From, r.To)
	} else {
		m.f("No packets.")
	}
	if r.Basis.KFL != "" {
		m.f(" Only calls that match `%s`.", strings.ReplaceAll(r.Basis.KFL, "`", "'"))
	}
	m.f("\n\n")
	for _, b := range r.Bundles {
		m.f("* **%s**: %s; %s\n", md(b.Name), md(b.Verified), md(b.Detail))
	}
	m.f("\n")
	for _, f := range r.Facts {
		m.f("* %s: **%s**\n", md(f.Label), md(f.Text))
	}
	m.f("\n## Summary\n")
	for _, g := range groups(r.Statements) {
		m.f("\n### %s\n", md(g.Head))
		m.statements(g.Statements)
	}
	if len(r.Unmade) > 0 {
		m.f("\n**Not in this report, because it needs more memory than a question may use:** %s.\n", md(strings.Join(r.Unmade, ", ")))
	}
	if len(r.Absent) > 0 {
		m.f("\n%s: %s.\n", absentWords(r), md(strings.Join(r.Absent, ", ")))
	}
	for _, s := range shown(r, mostPageRows).Sections {
		m.section(s)
	}
	if len(r.Queries) > 0 {
		m.f("\n## Queries\n\n")
	}
	for i, q := range r.Queries {
		fence := fence(q.Command)
		m.f("%d. %s %s %s\n", i+1, fence, strings.ReplaceAll(q.Command, "\n", " "), fence)
	}
	m.f("\n%s", md(r.Title))
	if r.Basis.Release != "" {
		m.f("; pcapsule %s", md(r.Basis.Release))
	}
	m.f(". To check every figure of this file: %s\n\n", r.Checking())
	text, err := compact(r)
	if err != nil {
		return err
	}
	m.f("%s%s%s\n", markdownBegin, text, markdownEnd)
	if _, err := io.WriteString(w, m.b.String()); err != nil {
		return fmt.Errorf("writing Markdown: %w", err)
	}
	return nil
}

// fence is enough backticks to enclose a text.
func fence(s string) string {
	f := "``"
	for strings.Contains(s, f) {
		f += "`"
	}
	return f
}

type markdown struct {
	b    strings.Builder
	many bool
}

func (m *markdown) f(format string, args ...any) { fmt.Fprintf(&m.b, format, args...) }

func (m *markdown) statements(list []value.Statement) {
	for _, s := range list {
		m.f("\n%s", md(s.Text))
		if e := evidenceText(s.Cite, m.many); e != "" {
			m.f(" (%s)", md(e))
		}
		if q := queriesText(s.Queries); q != "" {
			m.f(" %s", q)
		}
		m.f("\n")
	}
}

func (m *markdown) section(s value.Section) {
	m.f("\n## %s\n", md(s.Title))
	for _, text := range s.Text {
		m.f("\n%s\n", md(text))
	}
	m.statements(s.Statements)
	for _, b := range s.Blocks {
		if b.Table != nil {
			m.table(b.Table)
		} else {
			m.figure(b.Figure)
		}
	}
	for _, label := range s.Sign {
		m.f("\n%s: ______________________________\n", md(label))
	}
}

func (m *markdown) heading(title string, queries []int) {
	m.f("\n### %s", md(title))
	if q := queriesText(queries); q != "" {
		m.f(" (%s)", q)
	}
	m.f("\n\n")
}

func (m *markdown) table(t *value.Table) {
	m.heading(t.Title, t.Queries)
	cited := t.Cited()
	head, rule := "|", "|"
	for _, c := range t.Columns {
		name := c.Name
		if c.Doc != "" {
			name += " (" + c.Doc + ")"
		}
		head += " " + md(name) + " |"
		if c.Kind == "number" {
			rule += "---:|"
		} else {
			rule += "---|"
		}
	}
	if cited {
		head, rule = head+" Evidence |", rule+"---|"
	}
	m.f("%s\n%s\n", head, rule)
	for _, row := range t.Rows {
		m.f("|")
		for _, c := range row.Cells {
			text := md(c.Text)
			if c.Bad && text != "" {
				text = "**" + text + "**"
			}
			m.f(" %s |", text)
		}
		if cited {
			m.f(" %s |", md(evidenceText(row.Cite, m.many)))
		}
		m.f("\n")
	}
	if t.Note != "" {
		m.f("\n%s\n", md(t.Note))
	}
}

func (m *markdown) figure(f *value.Figure) {
	m.heading(f.Title, f.Queries)
	switch {
	case f.Map != nil:
		m.f("```mermaid\nflowchart LR\n")
		for i, n := range f.Map.Nodes {
			m.f("  n%d[\"%s\"]\n", i, quote.Mermaid(n.Name))
		}
		for i, e := range f.Map.Edges {
			if i == mostPairs {
				break
			}
			text := plural.Thousands(e.Calls)
			if e.Failed > 0 {
				text += ", " + plural.Thousands(e.Failed) + " failed"
			}
			m.f("  n%d -->|\"%s\"| n%d\n", e.From, quote.Mermaid(text), e.To)
		}
		m.f("```\n")
	case f.Sequence != nil:
		m.f("```mermaid\nsequenceDiagram\n")
		for i, a := range f.Sequence.Actors {
			m.f("  participant a%d as %s\n", i, quote.Mermaid(a))
		}
		for _, a := range arrows(f.Sequence) {
			switch {
			case a.reply && a.m.Answer != "":
				m.f("  a%d-->>a%d: %s\n", a.m.To, a.m.From, quote.Mermaid(a.m.Answer))
			case a.reply:
				m.f("  a%d-->>a%d: done\n", a.m.To, a.m.From)
			case a.m.DoneUs == nil:
				m.f("  a%d-xa%d: %s\n", a.m.From, a.m.To, quote.Mermaid(a.m.Text))
			default:
				m.f("  a%d->>a%d: %s\n", a.m.From, a.m.To, quote.Mermaid(a.m.Text))
			}
		}
		m.f("```\n")
	default:
		m.points(f)
	}
	m.f("\n%s %s\n", md(f.Alt), md(f.Note))
}

// points writes a chart as a table of its totals or amounts.
func (m *markdown) points(f *value.Figure) {
	m.f("| | | Amount |\n|---|---|---:|\n")
	if f.Time != nil {
		for _, s := range f.Time.Series {
			m.f("| %s | total | %s |\n", md(s.Name), amount(f.Time.Unit)(s.Total))
		}
		return
	}
	for i, p := range points(f) {
		if i == mostPoints {
			break
		}
		m.f("| %s | %s | %s |\n", md(p.series), md(p.at), plural.Thousands(p.n))
	}
}

// markdownData finds the data in a file.
func markdownData(file []byte) ([]byte, error) {
	_, rest, ok := bytes.Cut(file, []byte(markdownBegin))
	text, _, closed := bytes.Cut(rest, []byte(markdownEnd))
	if !ok || !closed || bytes.Contains(rest, []byte(markdownBegin)) {
		return nil, ErrNoData
	}
	return text, nil
}
