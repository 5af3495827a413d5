package duck

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/internal/quote"
)

// locked is a database with a table in Parquet behind a view calls, and the folder it
// may read.
func locked(t testing.TB) (*DB, string) {
	t.Helper()
	return lockedWith(t, Options{MemoryLimit: 256 << 20, Threads: 2})
}

func lockedWith(t testing.TB, o Options) (*DB, string) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "calls.parquet")
	writeParquet(t, "SELECT range AS call_no, 'x' || range AS host FROM range(1000)", file)
	o.Dirs = append(o.Dirs, dir)
	ctx := context.Background()
	d, err := Open(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	if err := d.Exec(ctx, "CREATE VIEW calls AS SELECT * FROM read_parquet("+quote.SQL(file)+")"); err != nil {
		t.Fatal(err)
	}
	if err := d.Lock(ctx); err != nil {
		t.Fatal(err)
	}
	return d, dir
}

func isCalls(name string) bool { return name == "calls" }

// ask runs a text as a person's: through the gate.
func ask(d *DB, sql string) ([][]any, error) {
	ctx := context.Background()
	if _, err := d.Gate(ctx, sql, isCalls); err != nil {
		return nil, err
	}
	rows, err := d.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out [][]any
	for rows.Next() && len(out) < 100 {
		row := make([]any, len(rows.Columns))
		if err := rows.Row(row); err != nil {
			return nil, err
		}
		out = append(out, row)
	}
	return out, rows.Err()
}

func TestGatePasses(t *testing.T) {
	d, _ := locked(t)
	for _, sql := range []string{
		"select count(*) from calls",
		"SELECT * FROM Calls LIMIT 3;",
		"from calls select host -- a remark",
		"with c as (select * from calls) select count(*) from c, c as d",
		"with recursive n(i) as (select 1 union all select i+1 from n where i < 5) select * from n",
		"values (1), (2)",
		"describe calls",
		"summarize calls",
		"show tables",
		"describe select host from calls",
		"select * from range(3), generate_series(1, 2), unnest([1, 2])",
		"select host from main.calls where call_no in (select max(call_no) from memory.main.calls)",
		"select list_transform([1, 2], lambda x: x + 1), {'a': 1}.a, 'a''b'",
		"select call_no, row_number() over (order by host) from calls qualify row_number() over (order by host) < 3",
		"from calls pivot (count(*) for host in ('x1', 'x2'))",
		"select column_name from information_schema.columns where table_name = 'calls'",
		"select 'copy calls to ''/tmp/x''', ';drop table calls'",
		"(select 1) union all (select 2) order by 1",
		"select regexp_extract(host, '([0-9]+)', 1) from calls using sample 3",
	} {
		if _, err := ask(d, sql); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

func TestGateRefuses(t *testing.T) {
	d, dir := locked(t)
	secret := filepath.Join(t.TempDir(), "secret.csv")
	if err := os.WriteFile(secret, []byte("a,b\n1,2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"link.csv", "linkdir"} {
		to := secret
		if name == "linkdir" {
			to = filepath.Dir(secret)
		}
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Skip("needs symbolic links")
		}
	}
	out := filepath.Join(t.TempDir(), "out")
	before := snapshot(t, dir)
	for _, sql := range []string{
		"copy calls to " + quote.SQL(out),
		"copy calls to " + quote.SQL(filepath.Join(dir, "calls.parquet")) + " (format parquet, use_tmp_file false)",
		"copy (select 1) to " + quote.SQL(filepath.Join(dir, "new.csv")),
		"export database " + quote.SQL(out),
		"import database " + quote.SQL(dir),
		"install httpfs", "load httpfs", "force install httpfs from 'http://127.0.0.1/'",
		"attach " + quote.SQL(out), "attach ':memory:' as other", "detach memory", "use memory",
		"create table t (a int)", "create view v as select 1", "create secret (type s3)", "create macro m() as 1",
		"insert into calls values (1, 'x')", "delete from calls", "update calls set host = 'x'", "drop view calls", "alter view calls rename to x",
		"pragma database_list", "pragma table_info('calls')", "call pragma_version()", "checkpoint", "vacuum", "analyze",
		"select 1e400", "set memory_limit = '100GB'", "reset memory_limit", "set enable_external_access = true", "set variable x = 1",
		"prepare p as select 1", "execute p", "explain select 1", "explain analyze select * from calls", "begin", "commit",
		"select 1; select 2", "select 1; drop view calls", "", ";", "-- nothing",
		"from read_text('/etc/passwd')", "from read_blob('/etc/passwd')", "from read_csv(" + quote.SQL(secret) + ")", "select * from glob('/etc/*')",
		"from read_parquet(" + quote.SQL(filepath.Join(dir, "calls.parquet")) + ")", "from parquet_metadata('x')", "from sniff_csv('x')",
		"from " + quote.SQL(secret), "from " + quote.SQL(filepath.Join(dir, "link.csv")), "from " + quote.SQL(filepath.Join(dir, "linkdir", "secret.csv")),
		`from "/etc/passwd"`, "from 'http://127.0.0.1/x.parquet'", "select (select * from '/etc/passwd')",
		"with calls as (select 1) from '/etc/passwd'", `with "/etc/passwd" as (select 1) from "/etc/passwd"`,
		"select * from calls where exists (from read_text('/etc/passwd'))", "select [x for x in (from glob('*'))]",
		"from query('copy calls to ''/tmp/x''')", "from query_table('calls')", "from json_execute_serialized_sql('x')",
		"from duckdb_settings()", "from duckdb_views()", "from duckdb_views", "from duckdb_secrets()", "from duckdb_databases()", "from pragma_table_info('calls')",
		"from sqlite_master", "from pg_catalog.pg_views", "from information_schema.schemata", "from other.main.calls", "from system.main.duckdb_views",
		"select current_setting('temp_directory')", "select getenv('HOME')", "select current_query()", "select nextval('s')", "select pg_get_viewdef(1)", "select sleep_ms(1000)",
		"select write_log('x')", "from enable_logging()", "from enable_profiling()", "from checkpoint()", "from test_all_types()", "from which_secret('a', 'b')",
		"show databases", "show all tables", "describe '/etc/passwd'", "summarize 'http://127.0.0.1/x'", "from (describe '/etc/passwd')",
		"select * from calls at (version => 1)",
		"with q as (insert into calls values (1, 'x') returning *) from q",
		"select \x00 1",
		"select " + strings.Repeat("(", 5000) + "1" + strings.Repeat(")", 5000),
		"select " + strings.Repeat("[", 300) + strings.Repeat("]", 300),
		strings.Repeat("select * from (", 3000) + "select 1" + strings.Repeat(")", 3000),
		"select host" + strings.Repeat("->'a'", 200) + " from calls",
		"select '" + strings.Repeat("x", MaxSQL) + "'",
	} {
		rows, err := ask(d, sql)
		var syntax *SyntaxError
		if !errors.Is(err, ErrRefused) && !errors.As(err, &syntax) {
			t.Errorf("%.100s: %v, %v; want a refusal", sql, rows, err)
		}
	}
	if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
		t.Error("something was written outside")
	}
	if after := snapshot(t, dir); after != before {
		t.Errorf("the folder changed: %s, was %s", after, before)
	}
}

// TestDeepSQLIsRefused: chains that are deep for DuckDB get a way out, and not its advice to change a setting.
func TestDeepSQLIsRefused(t *testing.T) {
	d, _ := locked(t)
	for _, sql := range []string{"select 1" + strings.Repeat(" + 1", 3000), "select " + strings.Repeat("not ", 3000) + "true", "select " + strings.Repeat("not ", 20_000) + "true", "select 'a'" + strings.Repeat(" || 'a'", 3000)} {
		if _, err := ask(d, sql); !errors.Is(err, ErrRefused) || strings.Contains(err.Error(), "SET ") {
			t.Errorf("%.40s: %v; want a refusal", sql, err)
		}
	}
}

func snapshot(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, e := range entries {
		data, _ := os.ReadFile(filepath.Join(dir, e.Name()))
		fmt.Fprintf(&b, "%s %d %x;", e.Name(), len(data), data[:min(16, len(data))])
	}
	return b.String()
}

// TestLockHoldsBehindTheGate runs what the gate would refuse without it.
func TestLockHoldsBehindTheGate(t *testing.T) {
	d, dir := locked(t)
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link.csv")); err != nil {
		t.Skip("needs symbolic links")
	}
	for _, sql := range []string{
		"from read_text('/etc/passwd')", "from read_text(" + quote.SQL(filepath.Join(dir, "..", "x")) + ")", "from read_text(" + quote.SQL(filepath.Join(dir, "link.csv")) + ")",
		"copy calls to '/tmp/pcapsule-should-not-be'", "set memory_limit='1GB'", "attach '/tmp/pcapsule-should-not-be'", "install httpfs",
		"copy calls to " + quote.SQL(filepath.Join(dir, "new.csv")), "create table t(a int)", "select 1; select 2",
	} {
		rows, err := d.Query(context.Background(), sql)
		if err == nil {
			for rows.Next() {
			}
			err = rows.Err()
			rows.Close()
		}
		if !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v, want a refusal", sql, err)
		}
	}
	if err := d.Exec(context.Background(), "select 1"); err == nil {
		t.Error("Exec runs after Lock")
	}
}

// TestNoNewFunctions fails when another DuckDB brings functions that nobody has looked at.
func TestNoNewFunctions(t *testing.T) {
	d, _ := locked(t)
	seen := []string{ // those that differ from call to call, and what the gate says
		"current_connection_id", "current_query", "current_query_id", "current_transaction_id", "currval", "error", "gen_random_uuid", "nextval", "random",
		"setseed", "sleep_ms", "stats", "uuid", "uuidv4", "uuidv7", "write_log",
	}
	rows, err := d.Query(context.Background(), "SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type = 'scalar' AND stability = 'VOLATILE' ORDER BY 1")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		if name := rows.Text(0); !slices.Contains(seen, name) {
			t.Errorf("function %s has effects or changes its answer: decide in gate.go, then name it here", name)
		}
	}
}

// TestMacrosCallNothingThatIsRefused: the gate sees the name of a macro, and not the functions that it calls.
func TestMacrosCallNothingThatIsRefused(t *testing.T) {
	d, _ := locked(t)
	rows, err := d.Query(context.Background(), "SELECT DISTINCT function_name, macro_definition FROM duckdb_functions() WHERE function_type = 'macro' ORDER BY ALL")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var inside, called []string // macros that the gate refuses for what they call, and those it passes
	for rows.Next() {
		name, body := rows.Text(0), rows.Text(1)
		if _, err := d.Gate(context.Background(), "SELECT ("+body+")", func(string) bool { return false }); err == nil {
			continue
		}
		inside = append(inside, name)
		if _, err := d.Gate(context.Background(), "SELECT "+quote.Ident(name)+"()", nil); err == nil {
			called = append(called, name)
		}
	}
	if len(inside) < 5 || len(called) > 0 {
		t.Errorf("the gate passes %v, which call what it refuses; %d macros do", called, len(inside))
	}
}

func TestFacts(t *testing.T) {
	d, _ := locked(t)
	for _, c := range []struct {
		sql  string
		want Facts
	}{
		{"select host from calls order by 1", Facts{Tables: []string{"calls"}, Columns: []string{"host"}, Ordered: true}},
		{"select c.* from (select call_no from calls order by 1) c", Facts{Tables: []string{"calls"}, Columns: []string{"call_no"}}},
		{"select * from (select host from calls) c join calls r using (call_no)", Facts{Tables: []string{"calls"}, Columns: []string{"call_no", "host"}, Whole: true}},
		{"select columns('ho.*') from calls", Facts{Tables: []string{"calls"}, Columns: []string{}, Whole: true}},
		{"select count(*), max(c.headers.name) from calls c", Facts{Tables: []string{"calls"}, Columns: []string{"c", "headers", "name"}}},
		{"select c from calls c", Facts{Tables: []string{"calls"}, Columns: []string{"c"}, Whole: true}},
		{"select arg_min(Calls, host) from calls", Facts{Tables: []string{"calls"}, Columns: []string{"calls", "host"}, Whole: true}},
		{"select a from calls as c(a)", Facts{Tables: []string{"calls"}, Columns: []string{"a"}, Whole: true}},
		{"select #2 from calls", Facts{Tables: []string{"calls"}, Columns: []string{}, Whole: true}},
		{"select host from calls where (select #1 from calls limit 1) > 0", Facts{Tables: []string{"calls"}, Columns: []string{"host"}, Whole: true}},
		{"select host from calls natural join calls d", Facts{Tables: []string{"calls"}, Columns: []string{"host"}, Whole: true}},
		{"with calls as (select 1 as a) select a from calls", Facts{Tables: []string{"calls"}, Columns: []string{"a"}, Defined: []string{"calls"}, Whole: true}},
		{"from calls", Facts{Tables: []string{"calls"}, Columns: []string{}, Whole: true}},
		{"describe calls", Facts{Tables: []string{"calls"}, Columns: []string{}, Whole: true, Ordered: true}},
		{"summarize select host from calls", Facts{Tables: []string{"calls"}, Columns: []string{"host"}, Whole: true, Ordered: true}},
		{"select count(*)", Facts{Tables: []string{}, Columns: []string{}}},
		{"select 1 from calls c where 'x' = c.Host and host in ('b', 'a') and method = lower('GET') and host = path and status_code = 1 and host is not null",
			Facts{Tables: []string{"calls"}, Columns: []string{"c", "host", "method", "path", "status_code"}, Compared: []Compared{{"host", []string{"b", "a"}}, {"host", []string{"x"}}}}},
	} {
		got, err := d.Gate(context.Background(), c.sql, isCalls)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v; want %+v", c.sql, got, err, c.want)
		}
	}
}

func TestSyntaxErrorsHaveAPlace(t *testing.T) {
	d, _ := locked(t)
	for _, c := range []struct {
		sql       string
		line, col int
	}{
		{"selec 1", 1, 1},
		{"select *\nfrom calls\nwhere where", 3, 7},
		{"select nosuch from calls", 1, 8},
		{"select 1,\n  nosuch from calls", 2, 3},
		{"select count(*) from nosuch", 1, 22},
		{"select " + strings.Repeat("host, ", 60) + "nosuch from calls", 1, 8 + 60*6},
	} {
		_, err := ask(d, c.sql)
		var e *SyntaxError
		if !errors.As(err, &e) || e.Line != c.line || e.Col != c.col {
			t.Errorf("%.60s: %v (%+v), want line %d column %d", c.sql, err, e, c.line, c.col)
		}
	}
}

func TestValues(t *testing.T) {
	d, _ := locked(t)
	for _, c := range []struct {
		sql  string
		want any
		typ  string
	}{
		{"null::integer", nil, "INTEGER"},
		{"null", nil, "INTEGER"},
		{"true", true, "BOOLEAN"},
		{"(-5)::tinyint", int64(-5), "TINYINT"},
		{"(-300)::smallint", int64(-300), "SMALLINT"},
		{"200::utinyint", int64(200), "UTINYINT"},
		{"60000::usmallint", int64(60000), "USMALLINT"},
		{"4000000000::uinteger", int64(4000000000), "UINTEGER"},
		{"18446744073709551615::ubigint", new(big.Int).SetUint64(1<<64 - 1), "UBIGINT"},
		{"sum(call_no)", int64(499500), "HUGEINT"},
		{"(-170141183460469231731687303715884105728)::hugeint", new(big.Int).Neg(new(big.Int).Lsh(big.NewInt(1), 127)), "HUGEINT"},
		{"1.5::double", 1.5, "DOUBLE"},
		{"1.5::float", 1.5, "FLOAT"},
		{"1.50", Decimal("1.50"), "DECIMAL(3,2)"},
		{"(-0.05)::decimal(30,2)", Decimal("-0.05"), "DECIMAL(30,2)"},
		{"7::decimal(4,0)", Decimal("7"), "DECIMAL(4,0)"},
		{"'short'", "short", "VARCHAR"},
		{"'longer than twelve bytes'", "longer than twelve bytes", "VARCHAR"},
		{"'a\\x00b'::blob", []byte("a\x00b"), "BLOB"},
		{"''::blob", []byte{}, "BLOB"},
		{"timestamp '2026-01-02 03:04:05.678901'", time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC), "TIMESTAMP"},
		{"timestamp_ns '2026-01-02 03:04:05.678901234'", time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.UTC), "TIMESTAMP_NS"},
		{"timestamp_s '2026-01-02 03:04:05'", time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), "TIMESTAMP_S"},
		{"timestamp_ms '1969-12-31 23:59:59.5'", time.Date(1969, 12, 31, 23, 59, 59, 5e8, time.UTC), "TIMESTAMP_MS"},
		{"'infinity'::timestamp", "infinity", "TIMESTAMP"},
		{"date '1969-12-31'", "1969-12-31", "DATE"},
		{"time '01:02:03.5'", "01:02:03.500000", "TIME"},
		{"interval '1 month 2 days 3.5 seconds'", "P1M2DT3.500000S", "INTERVAL"},
		{"'00112233-4455-6677-8899-aabbccddeeff'::uuid", "00112233-4455-6677-8899-aabbccddeeff", "UUID"},
		{"'ffffffff-4455-6677-8899-aabbccddeeff'::uuid", "ffffffff-4455-6677-8899-aabbccddeeff", "UUID"},
		{"'b'::enum('a', 'b')", "b", "ENUM"},
		{"[1, null, 3]", []any{int64(1), nil, int64(3)}, "INTEGER[]"},
		{"[[]::integer[], [1]]", []any{[]any{}, []any{int64(1)}}, "INTEGER[][]"},
		{"array_value(1, 2)", []any{int64(1), int64(2)}, "INTEGER[2]"},
		{"{'a': 1, 'b': ['x']}", Struct{{Name: "a", Value: int64(1)}, {Name: "b", Value: []any{"x"}}}, `STRUCT("a" INTEGER, "b" VARCHAR[])`},
		{"map {'k': 1}", Map{{Key: "k", Value: int64(1)}}, "MAP(VARCHAR, INTEGER)"},
		{"union_value(n := 5)", int64(5), `UNION("n" INTEGER)`},
		{"'{\"a\": 1}'::json", `{"a": 1}`, "JSON"},
	} {
		rows, err := d.Query(context.Background(), "SELECT "+c.sql+" FROM calls LIMIT 1")
		if err != nil {
			t.Errorf("%s: %v", c.sql, err)
			continue
		}
		row := make([]any, 1)
		if !rows.Next() || rows.Row(row) != nil || !reflect.DeepEqual(row[0], c.want) || rows.Columns[0].Type != c.typ {
			t.Errorf("%s: %#v of %s, %v; want %#v of %s", c.sql, row[0], rows.Columns[0].Type, rows.Err(), c.want, c.typ)
		}
		rows.Close()
	}
	if _, err := ask(d, "select '101'::bit"); err == nil || !strings.Contains(err.Error(), "cast it to VARCHAR") {
		t.Errorf("BIT: %v, want a hint to cast", err)
	}
}

func TestParameters(t *testing.T) {
	d, _ := locked(t)
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	rows, err := d.Query(context.Background(), "SELECT $1, $2, $3, $4, $5, $6, len($7), $8, $9", nil, true, int64(-1), 2.5, "a'b\x00c", []byte{0, 255}, []int64{4, 5}, []string{"x"}, at)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	row := make([]any, 9)
	want := []any{nil, true, int64(-1), 2.5, "a'b\x00c", []byte{0, 255}, int64(2), []any{"x"}, at}
	if !rows.Next() || rows.Row(row) != nil || !reflect.DeepEqual(row, want) {
		t.Errorf("%#v, want %#v", row, want)
	}
	for _, args := range [][]any{nil, {1, 2}, {struct{}{}}, {"\xff"}, {[]string{"\xff"}}} {
		if _, err := d.Query(context.Background(), "SELECT ?", args...); err == nil {
			t.Errorf("arguments %v pass", args)
		}
	}
}

func TestRowsStream(t *testing.T) {
	d, _ := locked(t)
	begin := time.Now()
	rows, err := d.Query(context.Background(), "SELECT range FROM range(10000000000)")
	if err != nil {
		t.Fatal(err)
	}
	for i := range int64(105_000) {
		if !rows.Next() || rows.Int(0) != i {
			t.Fatalf("row %d is %d, %v", i, rows.Int(0), rows.Err())
		}
	}
	rows.Close()
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("the first rows of 10^10 took %v", took)
	}
}

func TestDeadlineEndsAQuery(t *testing.T) {
	d, _ := locked(t)
	for _, sql := range []string{
		"select count(*) from calls a, calls b, calls c, calls d",
		"select sum(range) from range(1000000000000)",
		"with recursive n(i) as (select 1 union all select i+1 from n) select count(*) from n",
	} {
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		begin := time.Now()
		rows, err := d.Query(ctx, sql)
		if err == nil {
			for rows.Next() {
			}
			err = rows.Err()
			rows.Close()
		}
		cancel()
		if !errors.Is(err, ErrDeadline) {
			t.Errorf("%s: %v, want the deadline", sql, err)
		}
		if took := time.Since(begin); took > 3*time.Second {
			t.Errorf("%s: ended after %v", sql, took)
		}
	}
	if rows, err := ask(d, "select count(*) from calls"); err != nil || rows[0][0] != int64(1000) {
		t.Errorf("the next query: %v, %v", rows, err)
	}
}

func TestCancelEndsAQuery(t *testing.T) {
	d, _ := locked(t)
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(100*time.Millisecond, cancel)
	_, err := d.Query(ctx, "select count(*) from calls a, calls b, calls c, calls d")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want context.Canceled", err)
	}
}

func TestMemoryLimit(t *testing.T) {
	d, _ := locked(t)
	_, err := ask(d, "select count(*) from (select range, range::varchar || repeat('x', 100) s from range(100000000) order by s desc, range) where range > 5")
	if !errors.Is(err, ErrMemory) {
		t.Errorf("%v, want out of memory", err)
	}
	if _, err := ask(d, "select 1"); err != nil {
		t.Errorf("the next query: %v", err)
	}
}

func TestCloseWhileReading(t *testing.T) {
	d, _ := locked(t)
	rows, err := d.Query(context.Background(), "SELECT * FROM calls")
	if err != nil {
		t.Fatal(err)
	}
	d.Close()
	if !rows.Next() {
		t.Error(rows.Err())
	}
	rows.Close()
	rows.Close()
	if _, err := d.Query(context.Background(), "SELECT 1"); err == nil {
		t.Error("a closed database answers")
	}
}

func TestManyAtOnce(t *testing.T) {
	d, _ := locked(t)
	errs := make(chan error)
	for i := range 40 {
		go func() {
			got, err := ask(d, fmt.Sprintf("select count(*) + %d from calls", i))
			if err == nil && got[0][0] != int64(1000+i) {
				err = fmt.Errorf("%v", got)
			}
			errs <- err
		}()
	}
	for range 40 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

// FuzzGate asks that any text is passed or refused, and that what passes is one query.
func FuzzGate(f *testing.F) {
	for _, s := range []string{"select 1", "from calls", "with a as (from b) from a", "copy calls to 'x'", "select 'a''b' -- c", "select $$x$$; pragma x", "\xff", "select {'a': [1]}.a[1]",
		"describe calls", "/* ; */ values (1)", "select e'\\x27; drop view calls'", "select U&'\\0027'"} {
		f.Add(s)
	}
	d, _ := locked(f)
	f.Fuzz(func(t *testing.T, sql string) {
		if _, err := d.Gate(context.Background(), sql, isCalls); err != nil {
			return
		}
		// Preparing is enough: it says what kind of statement DuckDB takes it for.
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		rows, err := d.Query(ctx, sql)
		if err == nil {
			rows.Close()
		}
		if errors.Is(err, ErrRefused) {
			t.Errorf("%q passes the gate, then: %v", sql, err)
		}
	})
}
