package section

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/report/templates"
	"github.com/pcapsule/pcapsule/report/value"
)

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
	some := *b.found
	some.Findings = slices.DeleteFunc(slices.Clone(some.Findings), func(f finding.Finding) bool { return !slices.Contains(only, f.Finding) })
	return &some, b.foundQuery
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
	if len(found.Findings) == 0 {
		s.Statements = []value.Statement{{ID: p.ID + "-none", Text: b.absent("finding of these analyzers"), Queries: query}}
	} else {
		s.Blocks = append(s.Blocks, value.TableBlock(b.findingTable(p, found.Findings, query)))
	}
	if b.r.Blank {
		return s, "" // nothing was searched
	}
	t := &value.Table{ID: p.ID + "-analyzers", Title: "What was searched for", Queries: query, Columns: []value.Column{value.CodeColumn("Analyzer"), value.WideColumn("Searches for"), value.NumberColumn("Found", ""), value.TextColumn("Worst, or why none")}}
	for _, a := range found.Summary {
		if len(p.Analyzers) > 0 && !slices.Contains(p.Analyzers, a.Finding) {
			continue
		}
		worst := a.Worst
		if a.Cut {
			worst = strings.TrimSpace(worst + " (incomplete: out of time or memory)")
		}
		if a.Lacks != "" {
			worst = "nothing to examine: no " + a.Lacks
		}
		t.Add(nil, value.WordCell(a.Finding), value.WordCell(a.Title), value.CountCell(int64(a.Found)), value.WordCell(worst))
	}
	s.Blocks = append(s.Blocks, value.TableBlock(t))
	if list := b.in.Basis.Allow; len(list) > 0 {
		const most = 50
		text := "Allowed outside destinations and pairs of namespaces, as given: " + value.Clean(strings.Join(list[:min(len(list), most)], ", "), most*value.MaxText)
		if len(list) > most {
			text += plural.Sprintf(", and %d more {entry|entries}", len(list)-most)
		}
		s.Text = append(s.Text, text+".")
	}
	for _, n := range found.Notes {
		s.Text = append(s.Text, strings.TrimSuffix(value.Clean(n, 400), ".")+".") // it begins with the name of an analyzer
	}
	return s, ""
}

// findingTable has one row per finding.
func (b *builder) findingTable(p *templates.Section, list []finding.Finding, query []int) *value.Table {
	t := &value.Table{ID: p.ID + "-table", Title: "Findings, worst first", Queries: query,
		Columns: []value.Column{value.TextColumn("Severity"), value.WideColumn("What"), value.NumberColumn("Count", ""), value.MomentColumn("First (UTC)"), value.MomentColumn("Last (UTC)"), value.TextColumn("Confidence"), value.CodeColumn("Id"), value.TextColumn("State")}}
	most := p.Limit
	if most == 0 {
		most = mostFindings
	}
	for i := range list {
		if i == most {
			t.Note = plural.Count(int64(len(list)-most), "more finding is", "more findings are") + " not listed: run the query to see all."
			break
		}
		f := &list[i]
		state := "open"
		if reason := accepted(f); reason != "" {
			state = "accepted: " + reason
		}
		what := value.Clean(f.What, 3*value.MaxText)
		if len(f.Evidence) > 0 {
			what += ". Seen: " + value.Clean(strings.Join(f.Evidence[:min(len(f.Evidence), 2)], "; "), value.MaxText)
		}
		t.Add(b.findingCite(f), value.Cell{Text: f.Severity, Bad: f.Severity == finding.High && state == "open"}, value.WordCell(what),
			value.CountCell(f.Count), value.WordCell(b.moment(f.First)), value.WordCell(b.moment(f.Last)), value.WordCell(f.Confidence), value.WordCell(f.ID), value.WordCell(state))
	}
	return t
}
