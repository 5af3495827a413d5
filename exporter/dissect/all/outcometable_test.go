package all

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	contents "github.com/pcapsule/pcapsule/exporter/dissect/content/all"
)

// TestEveryOutcomeIsExplained compares the protocols with exporter/dissect/outcomes.tsv, which says what decides the
// outcome of each.
func TestEveryOutcomeIsExplained(t *testing.T) {
	text, err := os.ReadFile("../outcomes.tsv")
	if err != nil {
		t.Fatal(err)
	}
	var listed, names []string
	for line := range strings.Lines(string(text)) {
		name, _, _ := strings.Cut(line, "\t")
		listed = append(listed, name)
		if field, section := dissect.DecidedBy(name); field == "" || section == "" {
			t.Errorf("the line of %s is not NAME, FIELD, SECTION, separated by tabs", name)
		}
	}
	for _, p := range Protocols(nil) {
		names = append(names, p.Name)
	}
	for _, p := range contents.Protocols() {
		names = append(names, p.Name)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if !slices.IsSorted(listed) {
		t.Errorf("outcomes.tsv is not sorted: %v", listed)
	}
	for _, name := range names {
		if !slices.Contains(listed, name) {
			t.Errorf("outcomes.tsv has no line for %s", name)
		}
	}
	for i, name := range listed {
		if !slices.Contains(names, name) || slices.Index(listed, name) != i {
			t.Errorf("outcomes.tsv has a line too many, %s", name)
		}
	}
}
