package report

import (
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/report/value"
)

// TestDiffSaysWhatWasNotExamined holds that a finding that is gone because nothing was examined is not
// called fixed without a word.
func TestDiffSaysWhatWasNotExamined(t *testing.T) {
	found := func(ids ...string) (out []value.Finding) {
		for _, id := range ids {
			out = append(out, value.Finding{ID: id, Severity: "high", What: id})
		}
		return out
	}
	before := &value.Report{Findings: found("network-policy/1", "network-policy/2", "egress/3")}
	section := value.Section{Text: []string{"network-policy: the dumps have no network policies.", "egress: 2 pairs were not checked."}}
	for _, tt := range []struct {
		name  string
		after []value.Finding
		want  string
	}{
		{"nothing left", nil, "no network policies"},
		{"one left", found("network-policy/2"), ""},
	} {
		d := Compare(before, &value.Report{Findings: tt.after, Sections: []value.Section{section}})
		if notes := strings.Join(d.Notes, "\n"); tt.want != "" && strings.Count(notes, tt.want) != 1 || tt.want == "" && strings.Contains(notes, "network-policy") {
			t.Errorf("%s: %q", tt.name, notes)
		}
	}
}
