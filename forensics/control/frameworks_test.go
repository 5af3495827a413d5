package control

import (
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/forensics/finding"
)

// TestFrameworksAreConsistent checks words of the data files that only the code gives a meaning.
func TestFrameworksAreConsistent(t *testing.T) {
	set, err := readRules()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, f := range set.frameworks {
		if f.Name == "" || f.Version == "" || !strings.HasPrefix(f.Source, "https://") || len(f.Mapping) != 10 || !slices.Contains(order, f.ID) {
			t.Errorf("%s: name, version, source or day of the mapping is missing", f.ID)
		}
	}
	for _, r := range set.controls {
		if seen[r.full] || r.Title == "" {
			t.Errorf("%s occurs twice or has no title", r.full)
		}
		seen[r.full] = true
		if populations[r.Population].one == "" {
			t.Errorf("%s: unknown population %q", r.full, r.Population)
		}
		if !slices.Contains([]string{absence, recording, access, outside}, r.Shows) {
			t.Errorf("%s: shows %q", r.full, r.Shows)
		}
		if r.Shows == absence && len(r.Exceptions) == 0 || r.Shows == access != (len(r.Data) > 0) || r.Shows == outside && len(r.Limits)+len(r.Exceptions) != 1 {
			t.Errorf("%s: nothing decides it", r.full)
		}
		if (r.Part == "") != (r.Shows == outside) {
			t.Errorf("%s: evidence is for a part of a control that traffic decides, and for none else", r.full)
		}
		// That packets or seconds were recorded puts no control to the test.
		if r.Shows != outside && slices.Contains([]string{"packets", "seconds"}, r.Population) {
			t.Errorf("%s: its population is the recording itself", r.full)
		}
		for _, b := range r.Baselines {
			if !slices.Contains([]string{"low", "moderate", "high"}, b) {
				t.Errorf("%s: unknown baseline %s", r.full, b)
			}
		}
		for _, n := range r.Needs {
			if !slices.Contains(needs, n) {
				t.Errorf("%s: unknown need %q", r.full, n)
			}
		}
		for _, s := range r.Exceptions {
			if s.Least != "" && finding.Rank(s.Least) < 0 {
				t.Errorf("%s: unknown severity %q", r.full, s.Least)
			}
		}
	}
}

// Selectors returns the findings and kinds that controls name, for tests of other packages.
func Selectors() map[string][]string {
	out := map[string][]string{}
	for _, r := range rules().controls {
		for _, s := range r.Exceptions {
			out[s.Finding] = append(out[s.Finding], s.Kinds...)
		}
	}
	return out
}
