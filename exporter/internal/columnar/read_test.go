package columnar

import (
	"database/sql"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	_ "github.com/duckdb/duckdb-go/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"

	"github.com/pcapsule/pcapsule/exporter/table"
)

// plainOf turns a field into what database/sql gives for its column.
func plainOf(v any) any {
	switch v := v.(type) {
	case string:
		return EscapeText(v)
	case table.Micros:
		return time.UnixMicro(int64(v)).UTC()
	case table.ID:
		return v[:]
	case table.Hash:
		return v[:]
	case []byte:
		if v == nil {
			return nil
		}
		return v
	}
	r := reflect.ValueOf(v)
	switch r.Kind() {
	case reflect.Struct:
		if r.NumField() == 2 && r.Type().Field(1).Name == "OK" {
			if !r.Field(1).Bool() {
				return nil
			}
			return plainOf(r.Field(0).Interface())
		}
		m := map[string]any{}
		for i := range r.NumField() {
			m[map[string]string{"First": "first", "Last": "last", "Name": "name", "Value": "value", "Kind": "kind"}[r.Type().Field(i).Name]] = plainOf(r.Field(i).Interface())
		}
		return m
	case reflect.Slice:
		if r.IsNil() {
			return nil
		}
		list := []any{}
		for i := range r.Len() {
			list = append(list, plainOf(r.Index(i).Interface()))
		}
		return list
	}
	return v
}

func duck(t *testing.T) *sql.DB {
	t.Helper()
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func TestDuckDBReadsBackWhatWasWritten(t *testing.T) {
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
				for i, col := range everySchema.Columns {
					want := plainOf(reflect.ValueOf(rows[n]).Field(i).Interface())
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

func TestParquetGoReadsBackWhatWasWritten(t *testing.T) {
	rows := rowsOf(500, 21)
	dir, res := write(t, rows, 50, Options{GroupBytes: 100 << 10, RowsPerPart: 300, ReleaseName: "pcapsule", ReleaseVersion: "1.2.3"})
	n := 0
	for _, part := range res.Parts {
		f, err := os.Open(filepath.Join(dir, part.Name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		file, err := parquet.OpenFile(f, part.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if by := file.Metadata().CreatedBy; by != "pcapsule version 1.2.3" {
			t.Errorf("created by %q", by)
		}
		if v, _ := file.Lookup("pcapsule.table"); v != "everything" {
			t.Errorf("table %q", v)
		}
		for _, g := range file.RowGroups() {
			n += compareGroup(t, file, g, rows[n:])
		}
	}
	if n != len(rows) {
		t.Errorf("%d rows, want %d", n, len(rows))
	}
}

// compareGroup reads the leaves of a row group and compares their present values.
func compareGroup(t *testing.T, file *parquet.File, g parquet.RowGroup, rows []everything) int {
	t.Helper()
	rows = rows[:g.NumRows()]
	for i, chunk := range g.ColumnChunks() {
		path := file.Schema().Columns()[i]
		var want []any
		for j := range rows {
			want = appendPresent(want, &rows[j], path)
		}
		var got []any
		pages := chunk.Pages()
		for {
			page, err := pages.ReadPage()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("column %v: %v", path, err)
			}
			vs := make([]parquet.Value, page.NumValues())
			if n, err := page.Values().ReadValues(vs); n != len(vs) {
				t.Fatalf("column %v: %d values, want %d: %v", path, n, len(vs), err)
			}
			for _, v := range vs {
				if !v.IsNull() {
					got = append(got, valueOf(v))
				}
			}
		}
		pages.Close()
		if !cmp.Equal(got, want) {
			t.Errorf("column %v: values differ", path)
		}
	}
	return len(rows)
}

func valueOf(v parquet.Value) any {
	switch v.Kind() {
	case parquet.Boolean:
		return v.Boolean()
	case parquet.Int32:
		return v.Int32()
	case parquet.Int64:
		return v.Int64()
	}
	return string(v.ByteArray())
}

func appendPresent(to []any, row *everything, path []string) []any {
	r := reflect.ValueOf(row).Elem()
	v := plainOf(r.FieldByIndex(everySchema.Column(path[0]).Field).Interface())
	add := func(v any) {
		switch v := v.(type) {
		case []byte:
			to = append(to, string(v))
		case time.Time:
			to = append(to, v.UnixMicro())
		default:
			to = append(to, v)
		}
	}
	switch v := v.(type) {
	case nil:
	case []any:
		for _, item := range v {
			if m, ok := item.(map[string]any); ok {
				item = m[path[3]]
			}
			add(item)
		}
	default:
		add(v)
	}
	return to
}
