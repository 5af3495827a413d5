// Package bundletest reads bundles in tests as DuckDB reads them. The test imports the driver.
package bundletest

import (
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/internal/duckdbtest"
)

// Ask runs SQL queries on the views of a bundle. Each returns one text.
func Ask(t *testing.T, path string, queries ...string) (out []string) {
	t.Helper()
	db := duckdbtest.Open(t)
	views, err := os.ReadFile(filepath.Join(path, "data", "open.sql"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(strings.ReplaceAll(string(views), "'tables/", "'"+filepath.Join(path, "data", "tables")+"/")); err != nil {
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
