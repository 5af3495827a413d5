package section

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/report/templates"
	"github.com/pcapsule/pcapsule/report/value"
)

const maxSearched = 2000 // characters of the text about a search

// whatFound returns the answer of list_findings for the analyzers of all sections of the template,
// or nil if no section wants findings. It asks once.
func (b *builder) whatFound(only []string) (*finding.Out, []int) {
	if b.found == nil && b.err == nil {
		names, wanted := b.analyzers()
		if !wanted {
			return nil, nil
		}
		in := map[string]any{}
		if len(names) > 0 {
			in["names"] = names
		}
		var answer any
		if answer, b.foundQuery = b.answer("list_findings", in); b.err != nil {
			return nil, nil
		}
		b.found = answer.(*finding.Out)
		for i := range b.found.Findings {
			f := &b.found.Findings[i]
			b.r.Findings = append(b.r.Findings, value.Finding{ID: f.ID, Severity: f.Severity, What: value.Clean(f.What, 2*value.MaxText), Src: b.nodeName(f.Src), Dst: b.nodeName(f.Dst), Accepted: accepted(f)})
		}
	}
	if b.found == nil || len(only) == 0 {
		return b.found, b.foundQuery
	}
	return b.found.Only(only), b.foundQuery
}

// listed is the analyzer that needs lists of indicators. If there are some, the first section with findings has its findings.
const listed = "indicator"

// withAnalyzer adds an analyzer of what a user gave to a template whose findings name their analyzers. It returns nil if there
// are no findings in the template.
func withAnalyzer(t *templates.Template, analyzer string) *templates.Template {
	at := slices.IndexFunc(t.Sections, func(s templates.Section) bool { return s.Kind == "findings" })
	if at < 0 {
		return nil
	}
	if len(t.Sections[at].Analyzers) == 0 || slices.Contains(t.Sections[at].Analyzers, analyzer) {
		return t
	}
	more := *t
	more.Sections = slices.Clone(t.Sections)
	more.Sections[at].Analyzers = append(slices.Clone(t.Sections[at].Analyzers), analyzer)
	return &more
}

// analyzers are the analyzers that the sections of the template want, in one list; empty: all.
func (b *builder) analyzers() (names []string, wanted bool) {
	all := false
	for _, s := range b.in.Template.Sections {
		if s.Kind != "findings" {
			continue
		}
		wanted = true
		all = all || len(s.Analyzers) == 0
		names = append(names, s.Analyzers...)
	}
	if all {
		return nil, wanted
	}
	slices.Sort(names)
	return slices.Compact(names), wanted
}

// accepted is the reason for which a finding was accepted, or "".
func accepted(f *finding.Finding) string {
	if !f.Accepted.Valid() {
		return ""
	}
	return value.Clean(fmt.Sprintf("%s (%s, until %s)", f.Accepted.Reason, f.Accepted.By, f.Accepted.Until), 2*value.MaxText)
}

// findingCite cites the calls or flows behind a finding.
func (b *builder) findingCite(f *finding.Finding) []*value.Citation {
	if len(f.CallIDs) > 0 {
		return b.cite(f.CallIDs...)
	}
	return b.citeFlows(f.FlowIDs)
}

// findings lists findings, worst first.
func (b *builder) findings(p *templates.Section) (value.Section, string) {
	s := value.Section{Title: "Findings"}
	found, query := b.whatFound(p.Analyzers)
	if b.err != nil {
		return s, ""
	}
	searched := value.Clean(found.Searched, maxSearched)
	if b.unmatchedFilter() {
		searched = b.absent("finding") + " " + searched
	}
	s.Statements = []value.Statement{{ID: p.ID + "-searched", Text: searched, Queries: query}}
	if b.r.Blank {
		return s, "" // nothing was searched
	}
	if len(found.Findings) > 0 {
		s.Blocks = append(s.Blocks, value.TableBlock(b.findingTable(p, found, query)))
	}
	t := &value.Table{ID: p.ID + "-analyzers", Title: "What was found, by analyzer", Queries: query, Columns: []value.Column{value.CodeColumn("Analyzer"), value.WideColumn("Searches for"), value.NumberColumn("Found", ""), value.TextColumn("Worst")}}
	for _, a := range found.Summary {
		if a.Found == 0 && !a.Cut {
			continue
		}
		worst := a.Worst
		if a.Cut {
			worst = strings.TrimSpace(worst + " (incomplete: out of time or memory)")
		}
		t.Add(nil, value.WordCell(a.Finding), value.WordCell(a.Title), value.CountCell(int64(a.Found)), value.WordCell(worst))
	}
	if len(t.Rows) > 0 {
		s.Blocks = append(s.Blocks, value.TableBlock(t))
	}
	if list := b.in.Basis.Allow; len(list) > 0 {
		const most = 50
		text := "Allowed outside destinations and pairs of namespaces, as given: " + value.Clean(strings.Join(list[:min(len(list), most)], ", "), most*value.MaxText)
		if len(list) > most {
			text += plural.Sprintf(", and %d more {entry|entries}", len(list)-most)
		}
		s.Text = append(s.Text, text+".")
	}
	var notes []string
	for _, n := range found.Notes {
		notes = append(notes, strings.TrimSuffix(value.Clean(n, 400), ".")+".") // it begins with the name of an analyzer
	}
	if n := len(s.Blocks); n > 0 { // what was found comes before the limits of the search
		last := s.Blocks[n-1].Table
		last.Note = strings.TrimSpace(last.Note + " " + strings.Join(notes, " "))
	} else {
		s.Text = append(s.Text, notes...)
	}
	return s, ""
}

// findingTable has one row for each cause: findings of one kind are alike, and a reader needs a few of them.
func (b *builder) findingTable(p *templates.Section, found *finding.Out, query []int) *value.Table {
	t := &value.Table{ID: p.ID + "-table", Title: "Findings by cause, worst first", Queries: query,
		Columns: []value.Column{value.TextColumn("Severity"), value.WideColumn("What"), value.NumberColumn("Count", "calls, connections or places"), value.MomentColumn("First (UTC)"), value.MomentColumn("Last (UTC)"), value.TextColumn("Confidence"), value.CodeColumn("Id"), value.TextColumn("State")}}
	most := or0(p.Limit, mostFindings)
	causes := found.Causes()
	for i, c := range causes {
		if i == most {
			t.Note = plural.Count(int64(len(causes)-most), "more cause is", "more causes are") + " not listed: run the query to see all."
			break
		}
		f := &c.Findings[0]
		state := "open"
		if reason := accepted(f); reason != "" {
			state = "accepted: " + reason
		}
		t.Add(b.causeCite(&c), value.Cell{Text: f.Severity, Bad: f.Severity == finding.High && state == "open"}, value.WordCell(causeWords(&c)),
			value.CountCell(c.Count), value.WordCell(b.moment(c.First)), value.WordCell(b.moment(c.Last)), value.WordCell(c.Confidence), value.WordCell(strings.Join(c.IDs(finding.Examples), ", ")), value.WordCell(state))
	}
	return t
}

// causeWords describes a cause by its only finding, or by examples.
func causeWords(c *finding.Cause) string {
	first := &c.Findings[0]
	if len(c.Findings) == 1 {
		what := value.Clean(first.What, 3*value.MaxText)
		if len(first.Evidence) > 0 {
			what += ". Seen: " + value.Clean(strings.Join(first.Evidence[:min(len(first.Evidence), 2)], "; "), value.MaxText)
		}
		return what
	}
	kind := ""
	if first.Kind != "" {
		kind = " (" + ask.Outcome(value.Text(first.Kind)) + ")"
	}
	var some []string
	for _, f := range c.Findings[:min(len(c.Findings), finding.Examples)] {
		some = append(some, value.Clean(f.What, 2*value.MaxText))
	}
	text := fmt.Sprintf("%s: %s%s. ", plural.Count(int64(len(c.Findings)), "finding", "findings"), c.Title, kind)
	if len(some) < len(c.Findings) {
		text += "For example: "
	}
	return text + strings.Join(some, "; ")
}

// causeCite cites the first calls or flows of some findings of a cause.
func (b *builder) causeCite(c *finding.Cause) (list []*value.Citation) {
	if len(c.Findings) == 1 {
		return b.findingCite(&c.Findings[0])
	}
	for _, f := range c.Findings[:min(len(c.Findings), finding.Examples)] {
		f.CallIDs, f.FlowIDs = f.CallIDs[:min(1, len(f.CallIDs))], f.FlowIDs[:min(1, len(f.FlowIDs))]
		list = append(list, b.findingCite(&f)...)
	}
	return list
}
