package bundle

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/table"
)

func TestOpenSQLHasAViewForEveryTable(t *testing.T) {
	sql := OpenSQL(table.All(), []string{"redis"})
	for _, s := range table.All() {
		if !strings.Contains(sql, "VIEW "+s.Name+" AS") {
			t.Errorf("no view %s", s.Name)
		}
	}
	for _, want := range []string{
		"VIEW calls_raw AS SELECT * FROM read_parquet(['tables/calls/part-000.parquet', 'tables/calls/**/*.parquet'], hive_partitioning=false)",
		"VIEW redis_raw AS SELECT * FROM read_parquet('tables/calls/protocol=redis/*.parquet', hive_partitioning=false)", "VIEW redis AS SELECT t.*",
		`s."pod" AS "src_pod"`, `d."external" AS "dst_external"`, "make_timestamp_ns(t.ts_ns) AS ts_exact", "read_parquet('tables/flows/*.parquet', hive_partitioning=false)",
	} {
		if !strings.Contains(sql, want) {
			t.Errorf("no %s", want)
		}
	}
	if strings.Contains(sql, `AS "src_ip"`) {
		t.Error("a column of the table is named twice")
	}
}

func TestOpenSQLHasNoViewOfAnOddName(t *testing.T) {
	for name, want := range map[string]bool{"redis": true, "sctp_payload": true, "it's": false, `a"b`: false, "A": false, "1": false, "": false} {
		if plainName(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
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
	if !strings.Contains(string(got), "VIEW flows AS") || strings.Contains(string(got), "VIEW tls_handshakes AS") {
		t.Error(string(got))
	}
}
