package duckdbtest

import (
	"maps"
	"math/big"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestValuesArrive compares values with what the driver returns for them: nothing is lost between the processes.
func TestValuesArrive(t *testing.T) {
	db := Open(t)
	for query, want := range map[string]any{
		"NULL":                              nil,
		"true":                              true,
		"5":                                 int32(5),
		"-5::BIGINT":                        int64(-5),
		"200::UTINYINT":                     uint8(200),
		"1.5::DOUBLE":                       1.5,
		"'naïve'":                           "naïve",
		"''":                                "",
		"''::BLOB":                          []byte{},
		`'a\x00'::BLOB`:                     []byte("a\x00"),
		"(1::HUGEINT << 100)":               new(big.Int).Lsh(big.NewInt(1), 100),
		"TIMESTAMP '2026-01-02 03:04:05.6'": time.Date(2026, 1, 2, 3, 4, 5, 6e8, time.UTC),
		"[]::VARCHAR[]":                     []any{},
		"['a', NULL]":                       []any{"a", nil},
		"[{'n': 1, 'l': []::INT[]}]":        []any{map[string]any{"n": int32(1), "l": []any{}}},
	} {
		var got any
		if err := db.QueryRow("SELECT " + query).Scan(&got); err != nil {
			t.Errorf("%s: %v", query, err)
		} else if !cmp.Equal(got, want, cmp.Comparer(func(a, b *big.Int) bool { return a.Cmp(b) == 0 })) {
			t.Errorf("%s: %T %v, want %T %v", query, got, got, want, want)
		}
	}
	for query, want := range map[string]string{
		"SELECT 1.5::DECIMAL(3,1)": "cast it to VARCHAR",
		"SELECT * FROM nowhere":    "nowhere does not exist",
	} {
		var got any
		if err := db.QueryRow(query).Scan(&got); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error with %q", query, err, want)
		}
	}
}

// TestDatabasesAreApart changes a database beside another, and reads with arguments.
func TestDatabasesAreApart(t *testing.T) {
	one, other := Open(t), Open(t)
	for _, sql := range []string{"CREATE TABLE t (n INTEGER, s VARCHAR)", "INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, NULL)"} {
		if _, err := one.Exec(sql); err != nil {
			t.Fatal(err)
		}
	}
	r, err := one.Exec("DELETE FROM t WHERE n = ?", 1)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := r.RowsAffected(); n != 1 || err != nil {
		t.Errorf("%d rows deleted, %v", n, err)
	}
	var n int
	if err := one.QueryRow("SELECT n FROM t WHERE s = ?", "b").Scan(&n); err != nil || n != 2 {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := other.Exec("SELECT * FROM t"); err == nil {
		t.Error("another database has the table")
	}
}

// TestSourceIsKnown checks that go test repeats a test if the program's source has changed.
func TestSourceIsKnown(t *testing.T) {
	seen := map[string]bool{}
	if err := look("internal/duckdbtest/program", seen); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"forensics/internal/engine", "forensics/redact", "internal/duckdbtest/message"} {
		if !seen[name] {
			t.Errorf("%s is not in %q", name, slices.Sorted(maps.Keys(seen)))
		}
	}
	path, err := Program()
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv(Variable) != path {
		t.Errorf("programs that the test starts find %q, want %s", os.Getenv(Variable), path)
	}
}
