package report

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/pcapsule/pcapsule/report/value"
)

// Limits of a list of accepted findings.
const (
	maxAccepted      = 10_000
	maxAcceptedBytes = 4 << 20
)

// ReadAccepted reads a list of accepted findings: YAML with the key accepted, and for each finding its
// id, the reason, by whom, and optionally the last day (until: 2006-01-02).
func ReadAccepted(text []byte) ([]value.Accepted, error) {
	if len(text) > maxAcceptedBytes {
		return nil, fmt.Errorf("%d bytes are too many; at most %d are allowed", len(text), maxAcceptedBytes)
	}
	var f struct {
		Accepted []value.Accepted `yaml:"accepted"`
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&f); err != nil && err != io.EOF {
		return nil, fmt.Errorf("reading YAML: %w", err)
	}
	if len(f.Accepted) > maxAccepted {
		return nil, fmt.Errorf("%d findings are too many; at most %d are allowed", len(f.Accepted), maxAccepted)
	}
	seen := map[string]bool{}
	for i, a := range f.Accepted {
		switch _, err := time.Parse(time.DateOnly, a.Until); {
		case !strings.Contains(a.ID, "/"):
			return nil, fmt.Errorf("accepted finding %d: id %q, want one such as weak-tls/0123456789ab, from column Id of a report", i+1, a.ID)
		case seen[a.ID]:
			return nil, fmt.Errorf("accepted finding %d: %s is listed twice", i+1, a.ID)
		case strings.TrimSpace(a.Reason) == "" || strings.TrimSpace(a.By) == "":
			return nil, fmt.Errorf("accepted finding %d: %s needs a reason and a name after by", i+1, a.ID)
		case a.Until != "" && err != nil:
			return nil, fmt.Errorf("accepted finding %d: until %q, want a day such as 2026-12-31", i+1, a.Until)
		}
		seen[a.ID] = true
	}
	return f.Accepted, nil
}

// Diff compares the findings of two reports.
type Diff struct {
	New       []value.Finding `json:"new"`       // only in the new report
	Fixed     []value.Finding `json:"fixed"`     // only in the old report
	Accepted  []value.Finding `json:"accepted"`  // in the new report, accepted
	Unchanged []value.Finding `json:"unchanged"` // in both
	Notes     []string        `json:"notes,omitempty"`
}

// Compare compares the findings of two reports.
func Compare(old, now *value.Report) *Diff {
	d := &Diff{New: []value.Finding{}, Fixed: []value.Finding{}, Accepted: []value.Finding{}, Unchanged: []value.Finding{}}
	before, after := map[string]bool{}, map[string]bool{}
	for _, f := range old.Findings {
		before[f.ID] = true
	}
	for _, f := range now.Findings {
		after[f.ID] = true
		switch {
		case f.Accepted != "":
			d.Accepted = append(d.Accepted, f)
		case before[f.ID]:
			d.Unchanged = append(d.Unchanged, f)
		default:
			d.New = append(d.New, f)
		}
	}
	for _, f := range old.Findings {
		if !after[f.ID] {
			d.Fixed = append(d.Fixed, f)
		}
	}
	if old.Basis.Template != now.Basis.Template {
		d.Notes = append(d.Notes, "The reports have different templates, so they may not have searched for the same findings.")
	}
	if old.Basis.KFL != now.Basis.KFL {
		d.Notes = append(d.Notes, "The reports have different filters.")
	}
	if len(d.Fixed) > 0 {
		for _, s := range now.Statements {
			if s.ID == "not-recorded" && s.Bad {
				d.Notes = append(d.Notes, "Whether the findings under fixed are fixed cannot be told: "+s.Text)
			}
		}
	}
	return d
}
