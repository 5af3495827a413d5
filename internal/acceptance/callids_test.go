package acceptance

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pcapsule/pcapsule/internal/captures"

	"github.com/pcapsule/pcapsule/exporter"
)

// TestCallIDsAreUnique makes a bundle of every public capture: no two calls in it have the same id.
func TestCallIDsAreUnique(t *testing.T) {
	dir := captures.Dir(t)
	var files []string
	for _, line := range lines(t, filepath.Join(dir, "INDEX.tsv"))[1:] {
		name, _, _ := strings.Cut(line, "\t")
		files = append(files, name)
	}
	next := make(chan string)
	var wg sync.WaitGroup
	for range 2 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			db, err := sql.Open("duckdb", "")
			if err != nil {
				t.Error(err)
				return
			}
			defer db.Close()
			for name := range next {
				if n, err := equalIDs(db, filepath.Join(dir, name), filepath.Join(t.TempDir(), "x.pcapsule")); err != nil || n > 0 {
					t.Errorf("%s: %d calls have the id of another, %v", name, n, err)
				}
			}
		}()
	}
	for _, name := range files {
		next <- name
	}
	close(next)
	wg.Wait()
}

// equalIDs counts the calls of a capture with a duplicate id; 0 for a file that is not a capture.
func equalIDs(db *sql.DB, capture, out string) (n int, err error) {
	defer os.RemoveAll(out)
	if _, err := exporter.Run(context.Background(), []string{capture}, out, exporter.Options{Release: "test", Jobs: 1}); err != nil {
		return 0, nil
	}
	err = db.QueryRow(fmt.Sprintf("SELECT count(*) - count(DISTINCT call_id) FROM read_parquet('%s/data/tables/calls/**/*.parquet', union_by_name=true, hive_partitioning=false)", out)).Scan(&n)
	return n, err
}
