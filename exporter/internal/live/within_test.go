package live

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/pcapsule/pcapsule/exporter/table"
)

// TestEveryTableHasARule: a new table needs a decision about what of it is within namespaces.
func TestEveryTableHasARule(t *testing.T) {
	none := []string{"workloads", "k8s_events", "os_events", "alerts"} // they are about a cluster or a node, not about connections
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

// TestPartKeepsItsRows: rows of a part of more than one batch are kept as they were, each once.
func TestPartKeepsItsRows(t *testing.T) {
	type row struct {
		ConnID int64    `parquet:"conn_id"`
		Note   string   `parquet:"note"`
		List   []string `parquet:"list,list"`
	}
	var all, want []row
	s := &scope{conns: map[int64]bool{}}
	for i := range int64(2000) {
		r := row{i, fmt.Sprint("row ", i), []string{"a", fmt.Sprint(i), "c"}[:i%4%3+1]}
		all = append(all, r)
		if i%3 == 1 || i > 1500 {
			s.conns[i] = true
			want = append(want, r)
		}
	}
	from, to := filepath.Join(t.TempDir(), "from"), filepath.Join(t.TempDir(), "to")
	if err := parquet.WriteFile(from, all); err != nil {
		t.Fatal(err)
	}
	n, err := s.part(from, to, "connections")
	if err != nil {
		t.Fatal(err)
	}
	got, err := parquet.ReadFile[row](to)
	if err != nil {
		t.Fatal(err)
	}
	if n.rows != int64(len(want)) || !slices.EqualFunc(got, want, func(a, b row) bool {
		return a.ConnID == b.ConnID && a.Note == b.Note && slices.Equal(a.List, b.List)
	}) {
		t.Errorf("%d rows, %d counted, not the %d of the namespaces", len(got), n.rows, len(want))
	}
}
