package columnar

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

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

func TestParquetGoReadsBackTheRows(t *testing.T) {
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

// inRow is the value of a column in a row.
func inRow(row *everything, c *table.Column) any {
	v, err := reflect.ValueOf(row).Elem().FieldByIndexErr(c.Field)
	if err != nil { // the row does not have the struct
		return nil
	}
	return plainOf(v.Interface())
}

func appendPresent(to []any, row *everything, path []string) []any {
	v := inRow(row, everySchema.Column(path[0]))
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
