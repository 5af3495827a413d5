// Package bundletest reads bundles in tests as DuckDB reads them. The test imports the driver.
package bundletest

import (
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/duckdbtest"
)

// calls is how open.sql reads table calls.
const calls = "read_parquet(['tables/calls/part-000.parquet', 'tables/calls/**/*.parquet'], hive_partitioning=false)"

// Views is SQL for the views of a bundle's open.sql, for queries that on calls may also name the columns of any protocol.
func Views(t testing.TB, path string, queries ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path, "data", "open.sql"))
	if err != nil {
		t.Fatal(err)
	}
	wide := "(FROM " + strings.Replace(calls, "=false)", "=false, union_by_name=true)", 1) + " UNION ALL BY NAME SELECT "
	wide += "CAST(NULL AS BLOB) AS call_id"
	named := strings.Join(queries, " ")
	for _, c := range table.ProtocolColumns() { // there are over 1,000, and each takes time to plan
		if strings.Contains(named, c.Name) {
			wide += ", CAST(NULL AS " + c.Kind.String() + ") AS " + c.Name
		}
	}
	views := strings.ReplaceAll(string(text), calls, wide+" WHERE false)")
	if !strings.Contains(views, "union_by_name") {
		t.Fatal("open.sql reads table calls in another way")
	}
	return strings.ReplaceAll(views, "'tables/", "'"+filepath.Join(path, "data", "tables")+"/")
}

// Ask runs SQL queries on the views of a bundle. Each returns one text.
func Ask(t *testing.T, path string, queries ...string) (out []string) {
	t.Helper()
	db := duckdbtest.Open(t)
	if _, err := db.Exec(Views(t, path, queries...)); err != nil {
		t.Fatal(err)
	}
	for _, q := range queries {
		var s sql.NullString
		if err := db.QueryRow(q).Scan(&s); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
		out = append(out, s.String)
	}
	return out
}
