// Package coveragegap finds gaps in the recording itself, as evidence for controls about logging
// and monitoring: gaps by reason, and clocks that were not synchronized.
//
// Requested gaps, such as filters and policies, are info; losses are medium. Gaps have no packets
// to cite, so evidence has their times and sources. The id depends on the reason only, because
// sources have other names in the next recording.
package coveragegap

import (
	"context"
	"slices"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/internal/when"
)

const clock = "clock"

// severities of the reasons for a gap. Others are low.
var severities = map[string]string{
	"drop": finding.Medium, "disk": finding.Medium, "missing": finding.Medium, "damaged": finding.Medium,
	"filter": finding.Info, "policy": finding.Info, "redaction": finding.Info, "not_scheduled": finding.Info,
}

// Analyzer returns the analyzer coverage-gap.
func Analyzer() finding.Analyzer {
	return finding.Analyzer{Name: "coverage-gap", Title: "gaps and clocks of the recording", Kinds: []string{"drop", "disk", "missing", "damaged", "restart", "retention", "not_recorded", "filter", "policy", "redaction", "not_scheduled", clock},
		Doc:   "Coverage gaps by reason with lost packets and their times, and clocks of nodes that were not synchronized; losses are medium, what was excluded on request is info.",
		Steps: []finding.Step{{Find: gaps}, {Needs: []finding.Need{{Table: "clocks", Have: finding.Any("NOT synchronized")}}, Find: clocks}}}
}

// gaps reports gaps by their reasons.
func gaps(_ context.Context, l *finding.Look) error {
	cov, err := l.Case.Coverage(l.From, l.To)
	if err != nil {
		return err
	}
	sums := map[string]*finding.Row{}
	var order []string
	for _, h := range cov.Holes {
		r := sums[h.Reason]
		if r == nil {
			r = &finding.Row{Detail: h.Reason, FirstNs: h.From, LastNs: h.To}
			sums[h.Reason] = r
			order = append(order, h.Reason)
		}
		add(r, &h)
	}
	slices.Sort(order)
	for _, reason := range order {
		r := sums[reason]
		f := finding.Finding{Kind: reason, Severity: finding.Low, Confidence: finding.Exact, Key: reason,
			What: plural.Sprintf("%d coverage {gap|gaps} with the reason %s, with %.0f packets known to be lost or left out", r.Count, reason, r.Number)}
		if s := severities[reason]; s != "" {
			f.Severity = s
		}
		l.Add(*r, f)
	}
	if cov.More > 0 {
		l.Note("%d further coverage {gap is|gaps are} not listed", cov.More)
	}
	return nil
}

// add adds a gap to the sum of its reason.
func add(r *finding.Row, h *forensics.Hole) {
	r.Count++
	r.Number += float64(h.Packets)
	r.FirstNs, r.LastNs = min(r.FirstNs, h.From), max(r.LastNs, h.To)
	if len(r.Evidence) < 5 {
		span := ""
		if h.To != 0 {
			span = when.Stamp(h.From) + " to " + when.Stamp(h.To) + ", "
		}
		r.Evidence = append(r.Evidence, span+h.Source+": "+h.Detail)
	}
}

// clocks reports nodes whose clock was not synchronized.
func clocks(ctx context.Context, l *finding.Look) error {
	rows, err := l.Rows(ctx, `SELECT coalesce(node, '') AS detail, count(*) AS count, list_sort(list(source))[1:5] AS evidence FROM clocks WHERE NOT synchronized GROUP BY 1 ORDER BY 1`)
	for _, r := range rows {
		r.FirstNs, r.LastNs = l.From, l.To
		node := "a node without a name"
		if r.Detail != "" {
			node = "node " + r.Detail
		}
		l.Add(r, finding.Finding{Kind: clock, Severity: finding.Low, Confidence: finding.Exact, Key: clock + "\x00" + r.Detail,
			What: plural.Sprintf("the clock of %s was not synchronized while recording: %d {interface of a file|interfaces of files}", node, r.Count)})
	}
	return err
}
