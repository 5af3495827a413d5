package format

import (
	"bytes"
	"database/sql"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/internal/duckdbtest"
)

// TestParquetHasEachType has DuckDB read what is written for a value of each type that a question
// can answer with.
func TestParquetHasEachType(t *testing.T) {
	db := duckdbtest.Open(t)
	if _, err := db.Exec("SET TimeZone = 'UTC'"); err != nil {
		t.Fatal(err)
	}
	wide, _ := new(big.Int).SetString("170141183460469231731687303715884105727", 10)
	at := time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.UTC)
	for _, c := range []struct {
		sql   string
		value any
		want  string // type and text; empty: an error that names the column
	}{
		{"INTEGER", nil, "BIGINT "},
		{"BIGINT", int64(-5), "BIGINT -5"},
		{"UBIGINT", int64(5), "UBIGINT 5"},
		{"UBIGINT", new(big.Int).SetUint64(1<<64 - 1), "UBIGINT 18446744073709551615"},
		{"HUGEINT", int64(-499500), "DECIMAL(38,0) -499500"},
		{"HUGEINT", new(big.Int).Lsh(big.NewInt(-1), 100), "DECIMAL(38,0) -1267650600228229401496703205376"},
		{"HUGEINT", wide, ""},
		{"DECIMAL(30,2)", forensics.Decimal("-0.05"), "DECIMAL(30,2) -0.05"},
		{"DECIMAL(4,0)", forensics.Decimal("7"), "DECIMAL(4,0) 7"},
		{"DOUBLE", 1.5, "DOUBLE 1.5"},
		{"BOOLEAN", true, "BOOLEAN true"},
		{"DATE", "1969-12-30", "DATE 1969-12-30"},
		{"DATE", "infinity", ""},
		{"DATE", "-0043-03-15", ""},
		{"TIME", "01:02:03.500000", "VARCHAR 01:02:03.500000"},
		{"INTERVAL", "P1D", "VARCHAR P1D"},
		{"ENUM", "b", "VARCHAR b"},
		{"UUID", "00112233-4455-6677-8899-aabbccddeeff", "VARCHAR 00112233-4455-6677-8899-aabbccddeeff"},
		{"TIMESTAMP", at.Truncate(time.Microsecond), "TIMESTAMP 2026-01-02 03:04:05.678901"},
		{"TIMESTAMP", time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), "TIMESTAMP 9999-01-01 00:00:00"},
		{"TIMESTAMP", "infinity", ""},
		{"TIMESTAMP_S", at.Truncate(time.Second), "TIMESTAMP 2026-01-02 03:04:05"},
		{"TIMESTAMP_NS", at, "TIMESTAMP_NS 2026-01-02 03:04:05.678901234"},
		{"TIMESTAMP_NS", time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), ""},
		{"TIMESTAMP WITH TIME ZONE", at.Truncate(time.Second), "TIMESTAMP WITH TIME ZONE 2026-01-02 03:04:05+00"},
		{"BLOB", []byte("a\x00b"), `BLOB a\x00b`},
		{"VARCHAR", "text", "VARCHAR text"},
		{"JSON", `{"a": 1}`, `JSON {"a": 1}`},
		{"DATE[]", []any{"2024-01-02", nil}, `JSON ["2024-01-02",null]`},
		{"DECIMAL(3,1)[2]", []any{forensics.Decimal("1.5")}, "JSON [1.5]"},
		{`STRUCT("a" INTEGER)`, forensics.Struct{{Name: "a", Value: int64(1)}}, `JSON {"a":1}`},
		{`UNION("n" INTEGER)`, int64(5), "JSON 5"},
	} {
		name := c.sql + " " + c.want
		var out bytes.Buffer
		cols := []forensics.Column{{Name: "v", Type: c.sql}}
		p := &parquetRows{out: &out}
		if err := p.Begin(cols); err != nil {
			t.Fatal(name, err)
		}
		err := p.Row(cols, []any{c.value})
		if c.want == "" {
			if err == nil || !strings.HasPrefix(err.Error(), "column v: ") || !strings.Contains(err.Error(), "cast it to VARCHAR") {
				t.Errorf("%s: %v, want an error that names the column", name, err)
			}
			continue
		}
		if err == nil {
			err = p.End()
		}
		file := filepath.Join(t.TempDir(), "v.parquet")
		if err != nil || os.WriteFile(file, out.Bytes(), 0o600) != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var kind string
		var text sql.NullString
		if err := db.QueryRow("SELECT typeof(v), v::VARCHAR FROM read_parquet('"+file+"')").Scan(&kind, &text); err != nil {
			t.Errorf("%s: DuckDB: %v", name, err)
		} else if got := kind + " " + text.String; got != c.want {
			t.Errorf("%s: DuckDB reads %s", name, got)
		}
	}
}
