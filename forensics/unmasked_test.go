package forensics_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pcapsule/pcapsule/forensics"
)

// masking opens a case with masking, and the same case without.
func masking(t *testing.T, paths ...string) (c, whole *forensics.Case) {
	t.Helper()
	c, err := forensics.Open(ctx, paths, forensics.Options{MaskSecrets: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, c.Unmasked()
}

func TestUnmaskedIsForComparing(t *testing.T) {
	c, whole := masking(t, sample(t, "shop.pcapng"))
	const tokens = "select count(distinct h.value) from (select unnest(headers) as h from calls) where lower(h.name) = 'authorization'"
	if n := number(t, c, tokens); n != 1 {
		t.Errorf("masked: %d values", n)
	}
	if n := number(t, whole, tokens); n < 2 {
		t.Errorf("unmasked: %d values", n)
	}
	if c.Unmasked() != whole {
		t.Error("it is opened twice")
	}
	if whole.Unmasked() != whole {
		t.Error("the whole of the whole is another")
	}
	if err := whole.Close(); err != nil || number(t, c, "select count(*) from calls") == 0 {
		t.Errorf("closing the whole closes the case: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := whole.Query(ctx, forensics.Query{Count: true}); err == nil {
		t.Error("the whole answers after the case was closed")
	}
}

// TestUnmaskedAnswersAsACaseThatNeverMasked compares the two ways to the same rows, with one and with
// several bundles.
func TestUnmaskedAnswersAsACaseThatNeverMasked(t *testing.T) {
	for _, paths := range [][]string{{sample(t, "shop.pcapng")}, {sample(t, "shop.pcapng"), sample(t, "http1.pcapng")}} {
		_, whole := masking(t, paths...)
		plain := open(t, paths...)
		for _, q := range []forensics.Query{{}, {Table: "flows"}, {Table: "endpoints"}, {KFL: "http", Columns: []string{"src_name", "headers", "ts_exact"}},
			{SQL: "select * from calls_raw order by all"}, {SQL: "select * from main.calls order by all"}, {SQL: "describe calls"}} {
			if got, want := query(t, whole, q), query(t, plain, q); fmt.Sprint(got.Columns, got.Rows) != fmt.Sprint(want.Columns, want.Rows) {
				t.Errorf("%+v: other rows", q)
			}
		}
	}
}

// attempts are queries that try to reach unmasked values.
var attempts = []string{
	"select headers from calls", "select headers from main.calls_raw", "select headers from memory.calls", "select headers from memory.main.calls",
	"select headers from temp.calls", "select headers from temp.calls_raw", "select headers from temp.main.calls_raw", `select headers from "temp"."main"."calls_raw"`,
	"select headers from TEMP.Calls", "select headers from ＴＥＭＰ.calls", "select headers from teᵐp.calls", `select headers from "ᴄalls_raw"`, "select headers from calls_raｗ",
	"select headers from pg_temp.calls", "select headers from system.main.calls", "select headers from system.temp.calls", "select headers from main.temp.calls",
	"select headers from whole.calls", "select headers from calls_raw_raw", "select headers from calls_whole", "select temp.calls.headers from calls", `from "temp.calls"`, "from 'temp.calls'",
	"with temp as (select 1) select headers from temp.calls", "with calls as (select * from temp.calls) select headers from calls", `with "temp.calls" as (select 1) from "temp.calls"`,
	"select headers from calls, (select headers as other from temp.calls_raw)", "select (select headers from temp.calls limit 1)", "from (describe temp.calls)",
	"show temp.calls", "describe temp.calls", "summarize temp.calls", "show all tables", "table temp.calls", "pivot temp.calls on protocol", "from temp.calls select headers",
	"select * from duckdb_views()", "select sql from duckdb_views", "from system.main.duckdb_views()", "select sql from sqlite_master", "select sql from temp.sqlite_master",
	"select view_definition from information_schema.views", "from pg_catalog.pg_views", "from duckdb_tables()", "from duckdb_temporary_files()", "from duckdb_prepared_statements()",
	"pragma show('temp.calls')", "pragma table_info('temp.calls')", "from pragma_table_info('temp.calls')", "call pragma_table_info('temp.calls')", "from pragma_storage_info('calls')",
	"use temp", "set schema = 'temp'", "set search_path = 'temp'", "pragma search_path = 'temp'", "drop view main.calls", "create temp view c as from calls",
	"from read_parquet('PARTS')", "from parquet_scan('PARTS')", "from system.main.parquet_scan('PARTS')", "from 'PARTS'", `from "PARTS"`, "from sniff_csv('PARTS')", "from read_text('PARTS')", "from read_blob('PARTS')", "from glob('PARTS')",
	"with t as (from parquet_scan('PARTS')) select headers from t", "from query('from temp.calls')", "from query_table('temp.calls')", "from query_table(['temp.calls'])",
	"select query('from temp.calls')", "execute p", "prepare p as from temp.calls", "explain from temp.calls", "select current_setting('search_path')",
	"select unnest(headers) from calls", "select calls from calls", "select c from calls c", "select columns('head.*') from calls", "select any_value(headers) from calls",
	"select to_json(c) from calls c", "from calls natural join calls_raw", "select x.headers from calls_raw x positional join calls y", "select http1_target, query_string, path, summary from calls",
	"select headers from calls at (version => 1)", "(from calls) union all by name (from temp.calls)", "select * from calls where headers in (select headers from temp.calls)",
}

// TestNoTextReachesWhatIsMasked asks a case that masks, while connections that see all are
// in use and free again.
func TestNoTextReachesWhatIsMasked(t *testing.T) {
	c, whole := masking(t, sample(t, "shop.pcapng"))
	secrets := map[string]bool{}
	r := query(t, whole, forensics.Query{SQL: "select distinct h.value from (select unnest(headers) as h from calls) where lower(h.name) = 'authorization'"})
	for _, row := range r.Rows {
		word := row[0].(string)
		secrets[word[strings.LastIndexByte(word, ' ')+1:]] = true
	}
	if len(secrets) < 2 {
		t.Fatalf("%d secrets in the sample", len(secrets))
	}
	parts := c.Bundles()[0].Dir + "/data/tables/calls/*/*.parquet"
	var busy sync.WaitGroup
	for range 2 {
		busy.Go(func() {
			for range len(attempts) / 2 {
				if _, err := whole.Query(ctx, forensics.Query{SQL: "select headers from calls limit 10"}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for _, sql := range attempts {
		sql = strings.ReplaceAll(sql, "PARTS", parts)
		r, err := c.Query(ctx, forensics.Query{SQL: sql, Limit: 1000})
		var syntax *forensics.SyntaxError
		if err != nil && !errors.Is(err, forensics.ErrRefused) && !errors.As(err, &syntax) {
			t.Errorf("%s: %v", sql, err)
		}
		text := fmt.Sprint(err)
		if err == nil {
			text = fmt.Sprint(r.Rows)
		}
		for s := range secrets {
			if strings.Contains(text, s) {
				t.Errorf("%s: gives %q", sql, s)
			}
		}
	}
	busy.Wait()
	for s := range secrets {
		kfl := fmt.Sprintf("headers.exists(h, h.value.contains(%q)) || header[\"authorization\"].contains(%q)", s, s)
		if n, err := c.Query(ctx, forensics.Query{KFL: kfl, Count: true}); err == nil && n.Rows[0][0] != int64(0) {
			t.Errorf("%s: %v calls", kfl, n.Rows[0][0])
		}
		kfl = fmt.Sprintf("request.headers[\"authorization\"].contains(%q)", s)
		if n, err := c.Query(ctx, forensics.Query{KFL: kfl, Count: true}); err != nil || n.Rows[0][0] != int64(0) {
			t.Errorf("%s: %v, %v", kfl, n, err)
		}
		if n, err := whole.Query(ctx, forensics.Query{KFL: kfl, Count: true}); err != nil || n.Rows[0][0] == int64(0) {
			t.Errorf("%s of the whole: %v, %v", kfl, n, err)
		}
	}
}

// TestWhatDoesNotFitGoesToTemporaryFiles asks for more than the memory limit, of the case
// and of the whole, with and without a folder, which is empty at the end.
func TestWhatDoesNotFitGoesToTemporaryFiles(t *testing.T) {
	const large = "select count(*), min(s), max(s) from (select range, md5(range::varchar) || md5((range + 1)::varchar) || md5((range + 2)::varchar) || md5((range + 3)::varchar) s from range(400000) order by s, range limit 390000)"
	dir := filepath.Join(t.TempDir(), "made-when-needed")
	for _, x := range []struct {
		name string
		o    forensics.Options
		err  error
	}{
		{"with a folder", forensics.Options{MaskSecrets: true, MemoryLimit: 64 << 20, Threads: 2, TempDir: dir}, nil},
		{"without one", forensics.Options{MaskSecrets: true, MemoryLimit: 64 << 20, Threads: 2}, forensics.ErrMemory},
		{"with one that is too small", forensics.Options{MaskSecrets: true, MemoryLimit: 64 << 20, Threads: 2, TempDir: dir, MaxTemp: 1 << 20}, forensics.ErrMemory},
	} {
		c, err := forensics.Open(ctx, []string{sample(t, "http1.pcapng")}, x.o)
		if err != nil {
			t.Fatal(err)
		}
		whole := c.Unmasked()
		for _, one := range []*forensics.Case{c, whole} {
			r, err := one.Query(ctx, forensics.Query{SQL: large})
			if !errors.Is(err, x.err) || err == nil && r.Rows[0][0] != int64(390000) {
				t.Errorf("%s: %v, %v; want %v", x.name, r, err, x.err)
			}
			if _, err := one.Query(ctx, forensics.Query{SQL: "from read_blob('" + dir + "/*')"}); !errors.Is(err, forensics.ErrRefused) {
				t.Errorf("%s: temporary files can be read: %v", x.name, err)
			}
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) > 0 {
			t.Errorf("%s: left over: %v, %v", x.name, left, err)
		}
	}
}
