package report

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/report/templates"
)

// TestWindowWithoutARecordingClaimsNoAbsence makes each report of a time that was not recorded: nothing
// is counted as 0, drawn empty or called searched.
func TestWindowWithoutARecordingClaimsNoAbsence(t *testing.T) {
	c := open(t, sample(t, "hard/drops.pcapng"))
	claim := regexp.MustCompile(`no loss is known|Looked for and not found|no window was given|[Nn]o coverage gap|all were examined|over time: \.`)
	for _, name := range templates.Names() {
		r, err := Build(t.Context(), c, known(Options{Name: name, From: "2020-01-01T00:00:00Z", To: "2020-01-01T01:00:00Z"}))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range r.Facts {
			if f.Value != nil {
				t.Errorf("%s: %s %s in the head", name, f.Text, f.Label)
			}
		}
		for _, s := range r.Sections {
			for _, b := range s.Blocks {
				if b.Table != nil && strings.HasSuffix(b.Table.ID, "-analyzers") || b.Figure != nil && b.Figure.Time != nil && len(b.Figure.Time.Series) == 0 {
					t.Errorf("%s: section %s shows a search or a chart", name, s.ID)
				}
				if b.Table != nil && b.Table.ID == "coverage-table" && b.Table.Rows[len(b.Table.Rows)-1].Cells[1].Text != "everything" {
					t.Errorf("%s: %+v", name, b.Table.Rows[len(b.Table.Rows)-1])
				}
			}
		}
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		texts := string(text)
		for form, file := range forms(t, r, "md", "html") {
			texts += string(file)
			if found := claim.FindString(string(file)); found != "" {
				t.Errorf("%s.%s says %q", name, form, found)
			}
		}
		if !strings.Contains(texts, "othing was recorded in this window") {
			t.Errorf("%s does not say that nothing was recorded", name)
		}
	}
}
