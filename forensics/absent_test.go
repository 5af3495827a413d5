package forensics_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/internal/nightly"
	"github.com/pcapsule/pcapsule/kfl"
)

// later is a copy of a bundle as a release with a protocol with n columns would make it.
func later(t testing.TB, from string, n int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), fmt.Sprint(n, ".pcapsule"))
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	var columns []string
	for i := range n {
		columns = append(columns, fmt.Sprintf(`{"name": "later_%03d", "type": "VARCHAR", "sha256": "%064d"}`, i, 0))
	}
	path := filepath.Join(dir, "data", "bundle.json")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const list = `"tables": [`
	if !strings.Contains(string(text), list) {
		t.Fatal("bundle.json has no tables")
	}
	text = []byte(strings.Replace(string(text), list, list+`{"name": "calls", "protocol": "later", "rows": 0, "parts": 0, "columns": [`+strings.Join(columns, ", ")+`]}, `, 1))
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// manyAbsent are queries of each kind.
var manyAbsent = []forensics.Query{
	{SQL: "SELECT * FROM calls ORDER BY ts_ns, call_no"},
	{SQL: "SELECT count(*) FROM main.calls"},
	{SQL: "DESCRIBE calls"},
	{SQL: "SELECT * FROM calls_raw WHERE redis_key IS NOT NULL ORDER BY call_no"},
	{SQL: "SELECT kafka_topics, mysql_query, count(*) FROM calls GROUP BY ALL ORDER BY ALL"},
	{SQL: "SELECT table_name, count(*) FROM information_schema.columns GROUP BY 1 ORDER BY 1"},
	{KFL: "redis"},
	{KFL: "redis && kafka_client_id == nil && elapsed_us >= 0", Table: "flows"},
	{KFL: "protocol == 'redis'", GroupBy: []string{"method", "kafka_api_key"}},
}

// TestAbsentColumnsCostNothing asks a bundle with 1,000 more columns without a value.
func TestAbsentColumnsCostNothing(t *testing.T) {
	few := sample(t, "redis.pcap")
	many := later(t, few, 1000)
	timed := func(least *time.Duration, do func()) {
		begin := time.Now()
		do()
		if took := time.Since(begin); *least == 0 || took < *least {
			*least = took
		}
	}
	a, b := open(t, few), open(t, many)
	for _, q := range manyAbsent {
		var want, got *forensics.Result
		var base, took time.Duration
		for run := 0; run < 5 || run < 40 && took > 2*base+5*time.Millisecond; run++ { // other programs interfere
			timed(&base, func() { want = query(t, a, q) })
			timed(&took, func() { got = query(t, b, q) })
		}
		t.Logf("%v and %v: %s%s", base, took, q.SQL, q.KFL)
		if !reflect.DeepEqual(got.Columns, want.Columns) || !reflect.DeepEqual(got.Rows, want.Rows) {
			t.Errorf("%s%s: %d columns and %d rows; want %d and %d", q.SQL, q.KFL, len(got.Columns), len(got.Rows), len(want.Columns), len(want.Rows))
		}
		if took > 2*base+5*time.Millisecond {
			t.Errorf("%s%s: %v, and %v without the columns", q.SQL, q.KFL, took, base)
		}
	}
	for _, q := range []forensics.Query{{SQL: "SELECT later_007 FROM calls LIMIT 1"}, {KFL: "later_007 == nil", Columns: []string{"later_999"}, Limit: 1}} {
		if r := query(t, b, q); len(r.Rows) != 1 || r.Rows[0][0] != nil || r.Columns[0].Type != "VARCHAR" {
			t.Errorf("%s%s: %v, %v", q.SQL, q.KFL, r.Columns, r.Rows)
		}
	}
}

// TestAbsentColumnsCanBeNamed names columns of Kafka in a bundle without Kafka, in each form of SQL.
func TestAbsentColumnsCanBeNamed(t *testing.T) {
	redis, kafka := sample(t, "redis.pcap"), sample(t, "kafka.pcapng")
	for _, mask := range []bool{false, true} {
		for _, paths := range [][]string{{redis}, {redis, sample(t, "dns.pcap")}} {
			c, err := forensics.Open(ctx, paths, forensics.Options{MaskSecrets: mask})
			if err != nil {
				t.Fatal(err)
			}
			for _, sql := range []string{
				"SELECT kafka_topics, kafka_records FROM calls LIMIT 1",
				"-- a remark\nSELECT kafka_topics, kafka_records FROM calls_raw LIMIT 1",
				"/* a remark */ WITH x AS (SELECT * FROM calls) SELECT kafka_topics, x.kafka_records FROM x LIMIT 1",
				"FROM calls SELECT kafka_topics, kafka_records LIMIT 1",
				"(SELECT kafka_topics, kafka_records FROM calls) LIMIT 1",
				"SELECT c.kafka_topics, r.kafka_records FROM calls c JOIN calls_raw r USING (call_id) LIMIT 1",
				"WITH calls AS (SELECT * FROM calls WHERE kafka_topics IS NULL) SELECT kafka_topics, kafka_records FROM calls LIMIT 1",
				"SELECT kafka_topics, kafka_records FROM main.calls LIMIT 1",
				"SELECT any_value(kafka_topics), max(kafka_records) FROM main.calls_raw GROUP BY kafka_group HAVING max(kafka_client_id) IS NULL ORDER BY min(kafka_api_key)",
				"VALUES ((SELECT kafka_topics FROM calls LIMIT 1), (SELECT kafka_records FROM calls LIMIT 1))",
			} {
				r := query(t, c, forensics.Query{SQL: sql, Alone: true})
				if len(r.Rows) != 1 || r.Rows[0][0] != nil || r.Rows[0][1] != nil || r.Columns[0].Type != "VARCHAR[]" || r.Columns[1].Type != "BIGINT" {
					t.Errorf("%s (masked %v, %d bundles): %v, %v", sql, mask, len(paths), r.Columns, r.Rows)
				}
			}
			if r := query(t, c, forensics.Query{SQL: "DESCRIBE SELECT kafka_topics FROM calls"}); r.Rows[0][1] != "VARCHAR[]" {
				t.Errorf("DESCRIBE: %v", r.Rows)
			}
			base, named := query(t, c, forensics.Query{SQL: "SELECT * FROM calls"}), query(t, c, forensics.Query{SQL: "SELECT * FROM calls WHERE kafka_group IS NULL"})
			if has := func(r *forensics.Result, name string) bool {
				return slices.ContainsFunc(r.Columns, func(col forensics.Column) bool { return col.Name == name })
			}; len(named.Columns) != len(base.Columns)+1 || len(named.Rows) != len(base.Rows) || has(base, "kafka_group") || !has(named, "kafka_group") || has(base, "redis_key") {
				t.Errorf("%d and %d columns, %d and %d rows", len(base.Columns), len(named.Columns), len(base.Rows), len(named.Rows))
			}
			bad := (*forensics.SyntaxError)(nil)
			if _, err := c.Query(ctx, forensics.Query{SQL: "SELECT kafka_group,\n  nosuch FROM calls"}); !errors.As(err, &bad) || bad.Line != 2 || bad.Col != 3 {
				t.Errorf("%v, want an error in line 2, column 3", err)
			}
			c.Close()
		}
	}
	// A column that only the second bundle has a value of is not absent.
	c := open(t, redis, kafka)
	if n := number(t, c, "SELECT count(kafka_topics) FROM calls"); n == 0 {
		t.Error("two bundles: no topics")
	}
}

// TestAbsentProtocolsAnswerTheSame compiles each word of KFL and each column for a bundle alone and
// together with bundles of other protocols. For the calls of the bundle the conditions are equal.
func TestAbsentProtocolsAnswerTheSame(t *testing.T) {
	redis := sample(t, "redis.pcap")
	alone, with := open(t, redis), open(t, redis, sample(t, "kafka.pcapng"), sample(t, "mysql.pcapng"))
	var names []string
	for _, f := range kfl.Fields() {
		names = append(names, f.Name)
	}
	for _, col := range table.ProtocolColumns() {
		names = append(names, col.Name)
	}
	slices.Sort(names)
	var conditions []string
	for _, name := range slices.Compact(names) {
		if name == "bundle" || name == "finding" || name == "findings" {
			continue
		}
		for _, form := range []string{"%s", "!%s", "%s == nil", "%s != nil", "%s == 0", `%s == "a"`, `%s != "a"`, "size(%s) >= 0", `"a" in %s`, `%s.exists(x, x != "a")`, `!(%s > 1) || redis`} {
			conditions = append(conditions, fmt.Sprintf(form, name))
		}
	}
	asked := 0
	for some := range slices.Chunk(nightly.Some(conditions, 800), 100) {
		counts := [2]forensics.Query{{SQL: "SELECT 0"}, {SQL: "SELECT 0"}}
		var these []string
		for _, src := range some {
			a, errA := alone.Condition(ctx, src)
			b, errB := with.Condition(ctx, src)
			if (errA == nil) != (errB == nil) {
				t.Errorf("%s: %v, and with the protocols %v", src, errA, errB)
			}
			if errA != nil || errB != nil {
				continue
			}
			these = append(these, src)
			for i, cond := range []forensics.Condition{a, b} {
				counts[i].SQL += ", count(*) FILTER (" + cond.SQL + ")"
				counts[i].Args = append(counts[i].Args, cond.Args...)
			}
		}
		counts[0].SQL += " FROM calls"
		counts[1].SQL += " FROM calls WHERE bundle = 0"
		got, want := query(t, alone, counts[0]), query(t, with, counts[1])
		for i, src := range these {
			if asked++; got.Rows[0][i+1] != want.Rows[0][i+1] {
				t.Errorf("%s: %v calls, and with the protocols %v", src, got.Rows[0][i+1], want.Rows[0][i+1])
			}
		}
	}
	if asked < nightly.Of(300, 3000) {
		t.Errorf("%d filters", asked)
	}
}
