package bundle

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/table"
)

func TestOpenSQLHasAViewForEveryTable(t *testing.T) {
	sql := OpenSQL(table.All())
	for _, s := range table.All() {
		if !strings.Contains(sql, "VIEW "+s.Name+" AS") {
			t.Errorf("no view %s", s.Name)
		}
	}
	for _, want := range []string{
		"VIEW calls_raw AS SELECT * FROM read_parquet('tables/calls/**/*.parquet', hive_partitioning=false, union_by_name=true)",
		`s."pod" AS "src_pod"`, `d."external" AS "dst_external"`, "make_timestamp_ns(t.ts_ns) AS ts_exact", "read_parquet('tables/flows/*.parquet')",
	} {
		if !strings.Contains(sql, want) {
			t.Errorf("no %s", want)
		}
	}
	if strings.Contains(sql, `AS "src_ip"`) {
		t.Error("a column of the table is named twice")
	}
}

func TestViewsQuoteTheirArguments(t *testing.T) {
	sql := Views(table.All()[1:2], func(string) string { return "/it's/*.parquet" })
	if !strings.Contains(sql, "read_parquet('/it''s/*.parquet')") {
		t.Error(sql)
	}
}

func TestFinishKeepsTheCallersOpenSQL(t *testing.T) {
	p := filepath.Join(t.TempDir(), "a.pcapsule")
	b, err := Create(p, testOptions())
	must(t, err)
	m := fill(t, b)
	f, err := b.Create(openSQLName)
	must(t, err)
	_, err = f.Write([]byte("-- mine\n"))
	must(t, err)
	must(t, f.Close())
	must(t, b.Finish(m))
	got, err := os.ReadFile(filepath.Join(p, openSQLName))
	must(t, err)
	if string(got) != "-- mine\n" {
		t.Errorf("open.sql is %s", got)
	}
}

func TestOpenSQLNamesOnlyTablesThatAreThere(t *testing.T) {
	got, err := os.ReadFile(filepath.Join(build(t, testOptions()), openSQLName))
	must(t, err)
	if !strings.Contains(string(got), "VIEW flows AS") || strings.Contains(string(got), "VIEW tls AS") {
		t.Error(string(got))
	}
}
