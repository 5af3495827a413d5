package duck

import (
	"context"
	"strings"
	"testing"
)

// first is the first value of a query that passes no gate.
func first(d *DB, sql string) (any, error) {
	rows, err := d.Query(context.Background(), sql)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	if !rows.Next() {
		return nil, rows.Err()
	}
	return rows.Value(0)
}

func TestConnectionsOfAKindSeeTheirOwnViews(t *testing.T) {
	d, _ := locked(t)
	other := d.With([]View{{"calls", "CREATE TEMP VIEW temp.main.calls AS SELECT call_no, 'other' AS host FROM memory.main.calls"}})
	var open []*Rows
	for range 3 { // several connections of each kind, then those again
		for _, k := range []*DB{d, other} {
			rows, err := k.Query(context.Background(), "SELECT host FROM calls ORDER BY call_no")
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, rows)
		}
	}
	for _, r := range open {
		r.Close()
	}
	for range 4 {
		for _, x := range []struct {
			name string
			d    *DB
			sql  string
			want any
		}{
			{"the database's own view", d, "SELECT host FROM calls ORDER BY call_no", "x0"},
			{"it, by its schema", d, "SELECT host FROM main.calls ORDER BY call_no", "x0"},
			{"the view of the kind", other, "SELECT host FROM calls ORDER BY call_no", "other"},
			{"it, by its schema too", other, "SELECT host FROM main.calls ORDER BY call_no", "other"},
			{"footers are kept", d, "SELECT current_setting('parquet_metadata_cache')", true},
			{"for connections of the kind too", other, "SELECT current_setting('parquet_metadata_cache')", true},
			{"no view of the others is listed", d, "SELECT count(*) FROM duckdb_views() WHERE temporary AND NOT internal", int64(0)},
		} {
			if got, err := first(x.d, x.sql); err != nil || got != x.want {
				t.Errorf("%s: %v, %v; want %v", x.name, got, err, x.want)
			}
		}
		for _, sql := range []string{"FROM temp.calls", "FROM temp.main.calls", "FROM pg_temp.calls"} {
			if got, err := first(d, sql); err == nil {
				t.Errorf("%s: %v on a connection without it", sql, got)
			}
		}
	}
	d.Close()
	if _, err := first(other, "SELECT 1"); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("%v after the database was closed", err)
	}
}

func TestAKindThatCannotBeMade(t *testing.T) {
	d, _ := locked(t)
	bad := d.With([]View{{"a", "CREATE TEMP VIEW a AS SELECT 1"}, {"b", "CREATE TEMP VIEW b AS FROM nosuch"}})
	for range 2 * maxAnswers { // a slot that was not given back would block here
		if _, err := first(bad, "FROM a JOIN b"); err == nil || !strings.Contains(err.Error(), "nosuch") {
			t.Fatalf("%v, want the reason", err)
		}
	}
	if got, err := first(d, "SELECT 1"); err != nil || got != int64(1) {
		t.Errorf("%v, %v", got, err)
	}
}
