package duck

import (
	"database/sql"
	"os"
	"testing"

	_ "github.com/duckdb/duckdb-go/v2"

	"github.com/pcapsule/pcapsule/forensics/worker"
)

func TestMain(m *testing.M) {
	worker.Main()
	os.Exit(m.Run())
}

// writeParquet writes a query's rows, which no worker may.
func writeParquet(t testing.TB, query, file string) {
	t.Helper()
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("COPY (" + query + ") TO " + Quote(file) + " (FORMAT parquet)"); err != nil {
		t.Fatal(err)
	}
}
