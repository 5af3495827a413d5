package parts

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	schema "github.com/pcapsule/pcapsule/exporter/table"
)

type checkedRow struct {
	Name string   `parquet:"name" col:"name" doc:"a text"`
	No   int64    `parquet:"no" col:"no" doc:"a number"`
	More []string `parquet:"more,list" col:"more" doc:"texts"`
}

// TestCheck: a part of another machine must have the columns of this release, and nothing that a query fails on.
func TestCheck(t *testing.T) {
	want := schema.SchemaOf("checked", "for a test", checkedRow{})
	written := func(rows any) string {
		path := filepath.Join(t.TempDir(), "part-000.parquet")
		var err error
		switch rows := rows.(type) {
		case []checkedRow:
			err = parquet.WriteFile(path, rows, parquet.DataPageVersion(1))
		case []struct{ Name string }:
			err = parquet.WriteFile(path, rows, parquet.DataPageVersion(1))
		case []byte:
			err = os.WriteFile(path, rows, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, tt := range []struct {
		name string
		rows any
		n    int64
		want string // empty: it is right
	}{
		{"rows", []checkedRow{{"a", 1, []string{"x", "ü"}}, {"", 2, nil}}, 2, ""},
		{"fewer rows", []checkedRow{{"a", 1, nil}}, 2, "it does not have 2 rows"},
		{"more rows", []checkedRow{{"a", 1, nil}, {"b", 2, nil}}, 1, "it does not have 1 rows"},
		{"a text that is not UTF-8", []checkedRow{{"a", 1, nil}, {"\xff", 2, nil}}, 2, "column name: row 1 has text that is not UTF-8"},
		{"texts that are UTF-8 only together", []checkedRow{{"a\xc3", 1, nil}, {"\xa9", 2, nil}}, 2, "row 0 has text"},
		{"a list with such a text", []checkedRow{{"a", 1, []string{"x", "\xc3"}}}, 1, "column more: row 0 has text"},
		{"other columns", []struct{ Name string }{{"a"}}, 1, "in this release"},
		{"no Parquet", []byte("PAR1 and nothing else PAR1"), 1, "Parquet"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := Check(t.Context(), written(tt.rows), want, tt.n)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}
