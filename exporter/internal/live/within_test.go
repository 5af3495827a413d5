package live

import (
	"slices"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/table"
)

// TestEveryTableHasARule: a new table needs a decision about what of it is within namespaces.
func TestEveryTableHasARule(t *testing.T) {
	none := []string{"workloads", "k8s_events", "os_events"} // they are about a cluster or a node, not about connections
	seen := 0
	for _, s := range table.All() {
		by, ok := keys[s.Name]
		if ok == slices.Contains(none, s.Name) || by != "" && !slices.ContainsFunc(s.Columns, func(c table.Column) bool { return c.Name == by }) {
			t.Errorf("table %s has column %q as its rule", s.Name, by)
		}
		if ok {
			seen++
		}
	}
	if seen != len(keys) {
		t.Errorf("%d of %d rules are about tables", seen, len(keys))
	}
}
