package derive

import (
	"testing"

	"github.com/pcapsule/pcapsule/exporter/table"
)

// TestOnlyEqualRowsAreClean: a row with another text, or with the same bytes in other columns, is another row.
func TestOnlyEqualRowsAreClean(t *testing.T) {
	rowOf := func(values ...any) *row {
		return &row{table: "calls", names: []string{"path", "preview", "args", "request_headers", "cookies", "call_no"}, values: values}
	}
	header := func(name, value string) []table.Header { return []table.Header{{Name: name, Value: value}} }
	pair := func(name, value string) []table.Pair { return []table.Pair{{Name: name, Value: value}} }
	c := newCleanRows()
	c.add(c.hash(rowOf("/a", []byte("b"), []string{"c", "d"}, header("e", "f"), pair("g", "h"), int64(1))))
	if !c.has(rowOf("/a", []byte("b"), []string{"c", "d"}, header("e", "f"), pair("g", "h"), int64(2))) {
		t.Error("the row with another number is not known")
	}
	for i, r := range []*row{
		rowOf("/b", []byte("b"), []string{"c", "d"}, header("e", "f"), pair("g", "h"), int64(1)),
		rowOf("/a", []byte("B"), []string{"c", "d"}, header("e", "f"), pair("g", "h"), int64(1)),
		rowOf("/a", []byte("b"), []string{"cd", ""}, header("e", "f"), pair("g", "h"), int64(1)),
		rowOf("/a", []byte("b"), []string{"c", "d"}, header("e", "F"), pair("g", "h"), int64(1)),
		rowOf("/a", []byte("b"), []string{"c", "d"}, header("e", "f"), pair("gh", ""), int64(1)),
		rowOf("/ab", nil, []string{"c", "d"}, header("e", "f"), pair("g", "h"), int64(1)),
		rowOf("/a", []byte("b"), []string{"c"}, header("d", "ef"), pair("g", "h"), int64(1)),
	} {
		if c.has(r) {
			t.Errorf("row %d is another one: %v", i, r.values)
		}
	}
}

// TestKnownValues adds a value with the lines that hold it, and alone.
func TestKnownValues(t *testing.T) {
	s := newSearcher()
	for i, x := range []struct {
		whole string
		fresh bool
	}{{"Bearer 5f0c7c1e9c8b", true}, {"Bearer 5f0c7c1e9c8b", false}, {"token=5f0c7c1e9c8b", true}, {"", false}} {
		if fresh := s.add("5f0c7c1e9c8b", x.whole, 0); fresh != x.fresh {
			t.Errorf("%d: it is new: %v", i, fresh)
		}
	}
	if len(s.values) != 1 {
		t.Errorf("%d values, want 1", len(s.values))
	}
}
