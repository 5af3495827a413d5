package report

import (
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/report/value"
)

// Diff is the difference between the findings of two reports.
type Diff struct {
	New       []value.Finding `json:"new"`       // only in the later report
	Fixed     []value.Finding `json:"fixed"`     // only in the earlier report
	Accepted  []value.Finding `json:"accepted"`  // in the later report, and accepted
	Unchanged []value.Finding `json:"unchanged"` // in both
	Notes     []string        `json:"notes,omitempty"`
}

// Compare compares the findings of two reports by their ids.
func Compare(before, after *value.Report) *Diff {
	c := finding.Compare(plain(before.Findings), plain(after.Findings))
	d := &Diff{New: named(c.New), Fixed: named(c.Fixed), Accepted: named(c.Accepted), Unchanged: named(c.Unchanged)}
	if before.Basis.Template != after.Basis.Template {
		d.Notes = append(d.Notes, "The reports have different templates, so they may not have searched for the same findings.")
	}
	if before.Basis.KFL != after.Basis.KFL {
		d.Notes = append(d.Notes, "The reports have different filters.")
	}
	for _, s := range after.Statements {
		if s.ID == "not-recorded" && s.Bad && len(d.Fixed) > 0 {
			d.Notes = append(d.Notes, "It is unknown whether the findings under fixed are fixed: "+s.Text)
		}
	}
	d.Notes = append(d.Notes, unexamined(d.Fixed, after)...)
	return d
}

// unexamined says what the later report states about analyzers that found something earlier and nothing
// now: perhaps they could not examine anything.
func unexamined(fixed []value.Finding, after *value.Report) (out []string) {
	for _, f := range fixed {
		name, _, _ := strings.Cut(f.ID, "/")
		if slices.ContainsFunc(after.Findings, func(g value.Finding) bool { return strings.HasPrefix(g.ID, name+"/") }) {
			continue
		}
		for _, s := range after.Sections {
			for _, text := range s.Text {
				if note := "The later report has no finding of " + name + ", and says: " + text; strings.HasPrefix(text, name+": ") && !slices.Contains(out, note) {
					out = append(out, note)
				}
			}
		}
	}
	return out
}

func plain(list []value.Finding) []finding.Finding {
	out := make([]finding.Finding, len(list))
	for i, f := range list {
		out[i] = finding.Finding{ID: f.ID, Severity: f.Severity, What: f.What, Src: f.Src, Dst: f.Dst}
		if f.Accepted != "" {
			out[i].Accepted = &finding.Acceptance{Reason: f.Accepted}
		}
	}
	return out
}

func named(list []finding.Finding) []value.Finding {
	out := make([]value.Finding, len(list))
	for i, f := range list {
		out[i] = value.Finding{ID: f.ID, Severity: f.Severity, What: f.What, Src: f.Src, Dst: f.Dst}
		if f.Accepted != nil {
			out[i].Accepted = f.Accepted.Reason
		}
	}
	return out
}
