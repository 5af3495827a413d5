//go:build cgo

package columnar

import (
	"database/sql"
	"encoding/hex"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pcapsule/pcapsule/internal/duckdbtest"
)

func duck(t *testing.T) *sql.DB {
	t.Helper()
	return duckdbtest.Open(t)
}

func TestDuckDBReadsBackTheRows(t *testing.T) {
	for _, c := range []struct {
		name string
		rows int
		o    Options
	}{
		{"one part, one group", 3000, Options{GroupBytes: 64 << 20}},
		{"parts and groups", 3000, Options{RowsPerPart: 1300, GroupBytes: 200 << 10}},
		{"tiny groups", 300, Options{RowsPerPart: 90, GroupBytes: 1}},
		{"one row", 1, Options{}},
		{"no row", 0, Options{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			rows := rowsOf(c.rows, 11)
			dir, _ := write(t, rows, 100, c.o)
			db := duck(t)
			compareTypes(t, db, dir)
			found, err := db.Query(`SELECT * FROM read_parquet(?) ORDER BY no`, filepath.Join(dir, "*.parquet"))
			if err != nil {
				t.Fatal(err)
			}
			defer found.Close()
			n := 0
			for ; found.Next(); n++ {
				got := make([]any, len(everySchema.Columns))
				at := make([]any, len(got))
				for i := range got {
					at[i] = &got[i]
				}
				if err := found.Scan(at...); err != nil {
					t.Fatal(err)
				}
				for i := range everySchema.Columns {
					col := &everySchema.Columns[i]
					want := inRow(&rows[n], col)
					if !cmp.Equal(got[i], want) {
						t.Fatalf("row %d, column %s: %.200v, want %.200v", n, col.Name, got[i], want)
					}
				}
			}
			if err := found.Err(); err != nil || n != len(rows) {
				t.Fatalf("%d rows (%v), want %d", n, err, len(rows))
			}
		})
	}
}

func compareTypes(t *testing.T, db *sql.DB, dir string) {
	t.Helper()
	found, err := db.Query(`SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM read_parquet(?))`, filepath.Join(dir, "*.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	defer found.Close()
	for i := 0; found.Next(); i++ {
		var name, typ string
		if err := found.Scan(&name, &typ); err != nil {
			t.Fatal(err)
		}
		if c := everySchema.Columns[i]; name != c.Name || strings.ReplaceAll(typ, `"`, "") != strings.ReplaceAll(c.Kind.String(), `"`, "") {
			t.Errorf("column %d: %s %s, want %s %s", i, name, typ, c.Name, c.Kind)
		}
	}
}

// Filters make DuckDB use bounds and bloom filters: a wrong one would hide rows.
func TestDuckDBFindsRowsByFilter(t *testing.T) {
	rows := rowsOf(2000, 5)
	dir, _ := write(t, rows, 64, Options{GroupBytes: 50 << 10})
	db := duck(t)
	files := filepath.Join(dir, "*.parquet")
	count := func(where string, arg any) (n int) {
		t.Helper()
		if err := db.QueryRow(`SELECT count(*) FROM read_parquet(?) WHERE `+where, files, arg).Scan(&n); err != nil {
			t.Fatalf("%s: %v", where, err)
		}
		return n
	}
	want := func(is func(e *everything) bool) (n int) {
		for i := range rows {
			if is(&rows[i]) {
				n++
			}
		}
		return n
	}
	e := &rows[1234]
	for _, c := range []struct {
		where string
		arg   any
		want  int
	}{
		{"no = ?", e.No, 1},
		{"id = unhex(?)", hex.EncodeToString(e.ID[:]), 1},
		{"hash = unhex(?)", hex.EncodeToString(e.Hash[:]), 1},
		{"word = ?", "naïve", want(func(e *everything) bool { return e.Word == "naïve" })},
		{"word = ?", "", want(func(e *everything) bool { return e.Word == "" })},
		{"word > ?", "zz", want(func(e *everything) bool { return e.Word > "zz" })},
		{"opt_text = ?", "bad \\xff\\xc3 byte", want(func(e *everything) bool { return e.OptText.V == "bad \xff\xc3 byte" })},
		{"i64 < ?", int64(-5), want(func(e *everything) bool { return e.I64 < -5 })},
		{"late_int IS NOT NULL AND no >= ?", int64(0), want(func(e *everything) bool { return e.LateInt.OK })},
		{"opt_bool = ?", true, want(func(e *everything) bool { return e.OptBool.V })},
	} {
		if got := count(c.where, c.arg); got != c.want {
			t.Errorf("%s with %.20v: %d rows, want %d", c.where, c.arg, got, c.want)
		}
	}
	var groups, excluded int
	err := db.QueryRow(`SELECT count(*), count(*) FILTER (bloom_filter_excludes) FROM parquet_bloom_probe(?, 'opt_text', 'nowhere')`, files).Scan(&groups, &excluded)
	if err != nil || groups < 5 || excluded < groups-1 {
		t.Errorf("bloom filters of opt_text exclude %d of %d groups (%v)", excluded, groups, err)
	}
}
