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
		if !slices.Contains([]string{absence, record, recording, access, material}, r.Shows) {
			t.Errorf("%s: shows %q", r.full, r.Shows)
		}
		if r.Shows == absence && len(r.Exceptions) == 0 || r.Shows == access != (len(r.Data) > 0) || r.Shows == material && len(r.Limits) == 0 {
			t.Errorf("%s: nothing decides it", r.full)
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
