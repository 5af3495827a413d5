package all

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	contents "github.com/pcapsule/pcapsule/exporter/dissect/content/all"
)

// TestEveryOutcomeIsExplained compares the table in docs/format/calls.md that says what decides the outcome with the
// protocols.
func TestEveryOutcomeIsExplained(t *testing.T) {
	page, err := os.ReadFile("../../../docs/format/calls.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## What decides the outcome\n")
	section, _, _ = strings.Cut(section, "\n## ")
	lines := regexp.MustCompile(`(?m)^\| ([a-z0-9]+) \| ([^|]+) \| ([^|]+) \|$`).FindAllStringSubmatch(section, -1)
	var listed, names []string
	for _, l := range lines {
		if l[1] != "protocol" {
			listed = append(listed, l[1])
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
		t.Errorf("the table is not sorted: %v", listed)
	}
	for _, name := range names {
		if !slices.Contains(listed, name) {
			t.Errorf("the table has no line for %s", name)
		}
	}
	for i, name := range listed {
		if !slices.Contains(names, name) || slices.Index(listed, name) != i {
			t.Errorf("the table has a line too many, %s", name)
		}
	}
}
