package duck

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/pcapsule/pcapsule/internal/duckdbtest"
	"github.com/pcapsule/pcapsule/internal/quote"
)

// openAndHang is the first argument of this test as a program that opens a database, prints
// its worker, and asks what does not end.
const openAndHang = "open-and-hang"

func TestMain(m *testing.M) {
	_, _ = duckdbtest.Prepare() // opening a database repeats the error
	SetProgram(duckdbtest.Program)
	if len(os.Args) > 1 && os.Args[1] == openAndHang {
		hang()
	}
	os.Exit(m.Run())
}

func hang() {
	d, err := Open(context.Background(), Options{MemoryLimit: 64 << 20, Threads: 1})
	if err == nil {
		fmt.Println(d.pool.list[0].cmd.Process.Pid)
		_, err = first(d, "select levenshtein(repeat('a', 300000), repeat('b', 300000))")
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// writeParquet writes a query's rows, which no worker may.
func writeParquet(t testing.TB, query, file string) {
	t.Helper()
	db := duckdbtest.Open(t)
	if _, err := db.Exec("COPY (" + query + ") TO " + quote.SQL(file) + " (FORMAT parquet)"); err != nil {
		t.Fatal(err)
	}
}
