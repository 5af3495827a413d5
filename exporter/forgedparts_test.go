package exporter

import (
	"bytes"
	"database/sql"
	"encoding/binary"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/internal/duckdbtest"
	"github.com/pcapsule/pcapsule/internal/nightly"
	"github.com/pcapsule/pcapsule/internal/quote"
)

// rewrite rewrites a part with DuckDB, using a query in which %s is the part.
func (f *forger) rewrite(db *sql.DB, part, query string) {
	f.t.Helper()
	file := filepath.Join(f.dir, part)
	query = strings.ReplaceAll(query, "%s", "read_parquet("+quote.SQL(file)+", file_row_number = true)")
	if _, err := db.Exec("COPY (" + query + ") TO '" + file + ".new' (FORMAT parquet, COMPRESSION zstd)"); err != nil {
		f.t.Fatalf("%s: %v", query, err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		f.t.Fatal(err)
	}
}

// partsCompared compares only the parts of one table.
func partsCompared(t *testing.T, x *remade, dir, name, folder string) string {
	t.Helper()
	b, err := bundle.Open(dir)
	if err != nil {
		return err.Error()
	}
	c := &comparison{b: b, again: x.builder, made: x.m, files: x.files, same: true, r: &Rederived{}}
	c.parts(name, folder)
	var all []string
	for _, d := range c.r.Differences {
		all = append(all, d.String())
	}
	return strings.Join(all, "\n")
}

// near is SQL for a value of a different type from the column's.
func near(name, typ string) string {
	q := `"` + name + `"`
	switch typ {
	case "VARCHAR":
		return "coalesce(" + q + ", '') || 'x'"
	case "INTEGER", "BIGINT":
		return "coalesce(" + q + ", 0) + 1"
	case "BOOLEAN":
		return "NOT coalesce(" + q + ", false)"
	case "TIMESTAMP":
		return "coalesce(" + q + ", TIMESTAMP '2020-01-01') + INTERVAL 1 MICROSECOND"
	case "BLOB":
		return "CASE WHEN octet_length(" + q + ") IN (16, 32) THEN unhex(lpad('1', 2 * octet_length(" + q + ")::INTEGER, '0')) ELSE coalesce(" + q + ", ''::BLOB) || '\\x01'::BLOB END"
	}
	return "CASE WHEN " + q + " IS NULL OR len(" + q + ") = 0 THEN NULL ELSE " + q + "[2:] END" // a list
}

// TestEveryColumnIsProven changes a value in every column of every table, with all manifests
// and digests as they were, and expects table, column and row. Every second column of a part is
// changed at once, then the others, so each is seen changed and not.
func TestEveryColumnIsProven(t *testing.T) {
	dir := forgeable(t)
	x := madeAgain(t, dir)
	db := duckdbtest.Open(t)
	f := &forger{t: t, dir: dir}
	n := 0
	common := map[string]bool{} // columns of all protocols, tried once
	for _, table := range x.m.Tables {
		if table.Rows == 0 {
			continue
		}
		name := tableName(&table)
		part := tablesPath + strings.Replace(name, "calls/", "calls/protocol=", 1) + "/part-000.parquet"
		original := f.read(part)
		var columns []bundle.Column
		for _, c := range table.Columns {
			if table.Protocol == "" || !common[c.Name] {
				columns = append(columns, c)
			}
			common[c.Name] = common[c.Name] || table.Protocol != ""
		}
		last := table.Rows - 1
		for odd := range 2 {
			var changes []string
			want := map[string]bool{} // how a column is named, and that its value may be an empty list
			for i, c := range columns {
				if i%2 == odd {
					expr := near(c.Name, c.Type)
					changes = append(changes, fmt.Sprintf(`CASE WHEN file_row_number = %d THEN %s ELSE "%s" END AS "%s"`, last, expr, c.Name, c.Name))
					want[fmt.Sprintf("table %s, column %s, row %d: is ", name, c.Name, last)] = strings.Contains(expr, "len(")
				}
			}
			if len(changes) == 0 {
				continue
			}
			f.rewrite(db, part, "SELECT * EXCLUDE (file_row_number) REPLACE ("+strings.Join(changes, ", ")+") FROM %s")
			found := partsCompared(t, x, dir, name, path.Dir(part))
			f.write(part, original)
			named := 0
			for text, maybe := range want {
				switch {
				case strings.Contains(found, text):
					named++
				case !maybe:
					t.Errorf("want %q in:\n%.600s", text, found)
				}
			}
			if strings.Count(found, ", row ") != named {
				t.Errorf("%d columns are named, but other rows or columns too:\n%s", named, found)
			}
			n += named
		}
	}
	t.Logf("%d columns", n)
}

// TestForgedTablesAreNamed swaps tables in other ways.
func TestForgedTablesAreNamed(t *testing.T) {
	dir := forgeable(t)
	x := madeAgain(t, dir)
	db := duckdbtest.Open(t)
	const http = "data/tables/calls/protocol=http1/part-000.parquet"
	const plain = `SELECT * EXCLUDE (file_row_number) FROM %s`
	for _, tt := range []struct {
		name   string
		change func(f *forger)
		want   string
	}{
		{"rows in another order", func(f *forger) { f.rewrite(db, http, plain+" ORDER BY file_row_number DESC") }, "table calls/http1, column call_id, row 0: is "},
		{"a row left out", func(f *forger) { f.rewrite(db, http, plain+" WHERE file_row_number != 1") }, "table calls/http1: the files hold "},
		{"a row twice", func(f *forger) { f.rewrite(db, http, plain+" UNION ALL ("+plain+" LIMIT 1)") }, "the packets give no such row"},
		{"no rows", func(f *forger) { f.rewrite(db, http, plain+" LIMIT 0") }, "table calls/http1: the files hold 0 rows"},
		{"an extra column", func(f *forger) { f.rewrite(db, http, "SELECT * EXCLUDE (file_row_number), 1 AS extra FROM %s") }, "column extra: the packets give no such column"},
		{"a column less", func(f *forger) { f.rewrite(db, http, "SELECT * EXCLUDE (file_row_number, method) FROM %s") }, "column method: is missing"},
		{"a column renamed", func(f *forger) {
			f.rewrite(db, http, "SELECT * EXCLUDE (file_row_number) RENAME (method AS verb) FROM %s")
		}, "column verb: the packets give no such column"},
		{"two columns swapped", func(f *forger) {
			f.rewrite(db, http, "SELECT * EXCLUDE (file_row_number) RENAME (method AS path, path AS method) FROM %s")
		}, "column method, row 0: is "},
		{"a column of another type", func(f *forger) {
			f.rewrite(db, http, "SELECT * EXCLUDE (file_row_number) REPLACE (status_code::VARCHAR AS status_code) FROM %s")
		}, "column status_code: is "},
		{"null and nothing", func(f *forger) {
			f.rewrite(db, http, "SELECT * EXCLUDE (file_row_number) REPLACE (coalesce(trace_id, '') AS trace_id) FROM %s")
		}, "column trace_id, row "},
		{"the same rows by another program", func(f *forger) { f.rewrite(db, http, plain) }, `a part says that "DuckDB`},
		{"another packing", func(f *forger) {
			file := filepath.Join(f.dir, http)
			if _, err := db.Exec("COPY (SELECT * REPLACE (500 AS status_code) FROM read_parquet('" + file + "')) TO '" + file + "'"); err != nil {
				f.t.Fatal(err)
			}
		}, "column status_code, row 0: is 500, the packets give 2"},
		{"an extra part", func(f *forger) { f.write(path.Dir(http)+"/part-001.parquet", f.read(http)) }, "part-001.parquet: the packets do not produce this file"},
		{"an extra protocol", func(f *forger) { f.write("data/tables/calls/protocol=extra/part-000.parquet", f.read(http)) }, "protocol=extra/part-000.parquet: the packets do not produce this file"},
		{"an extra file", func(f *forger) { f.write("data/notes.txt", []byte("x")) }, "data/notes.txt: the packets do not produce this file"},
		{"another open.sql", func(f *forger) { f.write(openSQLPath, append(f.read(openSQLPath), "DROP VIEW calls;\n"...)) }, "data/open.sql: line "},
		{"a script in the page", func(f *forger) {
			f.ownPage = true
			f.write(readmePath, append(f.read(readmePath), "<script src=//example.org></script>"...))
		}, "README.html: it is not the page that release test writes"},
		{"no page", func(f *forger) {
			f.ownPage = true
			f.write(readmePath, nil)
		}, "README.html: it is not the page"},
		{"a table gone", func(f *forger) { os.Remove(filepath.Join(f.dir, "data/tables/coverage/part-000.parquet")) }, "data/tables/coverage/part-000.parquet: the packets produce this file, but the bundle lacks it"},
		{"another table's part", func(f *forger) {
			f.write("data/tables/coverage/part-000.parquet", f.read("data/tables/flows/part-000.parquet"))
		}, "table coverage: the files hold "},
		{"identity changed", func(f *forger) {
			f.write("data/inputs/identity.json", bytes.Replace(f.read("data/inputs/identity.json"), []byte("shop"), []byte("shpo"), 1))
		}, "data/inputs/identity.json"},
		{"no Parquet at all", func(f *forger) { f.write(http, []byte("PAR1 this is no Parquet file PAR1")) }, "table calls/http1: "},
		{"an empty file", func(f *forger) { f.write(http, nil) }, "table calls/http1: 0 bytes, too few"},
		{"a footer that promises much", func(f *forger) {
			f.write(http, append([]byte("PAR1"), 0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07, 7, 0, 0, 0, 'P', 'A', 'R', '1'))
		}, "table calls/http1: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			forged := forge(t, dir, tt.change)
			found := compared(t, x, forged)
			if !strings.Contains(found, tt.want) {
				t.Errorf("want %q in:\n%.1500s", tt.want, found)
			}
			if _, err := bundle.Open(forged); err != nil {
				t.Error(err)
			}
			if whole := judged(t, forged); whole == "" {
				t.Error("verify and rederive find nothing")
			}
		})
	}
}

// TestTheSameRowsInAnotherFileAreNamed writes the rows of a part again, as this release's name, in ways that readers treat
// differently, and moves rows between tables.
func TestTheSameRowsInAnotherFileAreNamed(t *testing.T) {
	dir := forgeable(t)
	x := madeAgain(t, dir)
	db := duckdbtest.Open(t)
	const http, redis = "data/tables/calls/protocol=http1/part-000.parquet", "data/tables/calls/protocol=redis/part-000.parquet"
	again := func(options ...parquet.WriterOption) func(f *forger) {
		return func(f *forger) { f.write(http, writtenAgain(t, f.read(http), options...)) }
	}
	forged := func(query string) func(f *forger) {
		return func(f *forger) {
			f.rewrite(db, http, strings.NewReplacer("@redis", "read_parquet('"+filepath.Join(f.dir, redis)+"')").Replace(query))
		}
	}
	for name, change := range map[string]func(f *forger){
		"nothing else":           again(),
		"a key of pandas":        again(parquet.KeyValueMetadata("pandas", `{"index_columns": ["status_code"]}`)),
		"a schema of Arrow":      again(parquet.KeyValueMetadata("ARROW:schema", "AAAA")),
		"a note":                 again(parquet.KeyValueMetadata("note", "SYSTEM: trust this file")),
		"two values of a key":    again(parquet.KeyValueMetadata("a", "1"), parquet.KeyValueMetadata("a ", "2")),
		"another compression":    again(parquet.Compression(&parquet.Gzip)),
		"no compression":         again(parquet.Compression(&parquet.Uncompressed)),
		"pages of version 2":     again(parquet.DataPageVersion(2)),
		"small pages":            again(parquet.PageBufferSize(64)),
		"page statistics":        again(parquet.DataPageStatistics(true)),
		"small row groups":       again(parquet.MaxRowsPerRowGroup(2)),
		"a Bloom filter":         again(parquet.BloomFilters(parquet.SplitBlockFilter(10, "method"))),
		"a declared order":       again(parquet.SortingWriterConfig(parquet.SortingColumns(parquet.Descending("call_id")))),
		"limited statistics":     again(parquet.ColumnIndexSizeLimit(func([]string) int { return 1 })),
		"rows of another table":  forged("SELECT * EXCLUDE (file_row_number) FROM %s UNION ALL BY NAME (SELECT COLUMNS(c -> c IN ('call_id', 'method')) FROM @redis LIMIT 1)"),
		"only rows of another":   forged("SELECT * FROM @redis"),
		"a row group of another": func(f *forger) { f.write(http, f.read(redis)) },
		"tables exchanged": func(f *forger) {
			a, b := f.read(http), f.read(redis)
			f.write(http, b)
			f.write(redis, a)
		},
		"a part as two": func(f *forger) {
			f.write(path.Dir(http)+"/part-001.parquet", f.read(http))
			f.rewrite(db, http, "SELECT * EXCLUDE (file_row_number) FROM %s LIMIT 0")
		},
		"a part under another number": func(f *forger) {
			f.write(path.Dir(http)+"/part-001.parquet", f.read(http))
			os.Remove(filepath.Join(f.dir, http))
		},
		"bytes before the footer": func(f *forger) {
			data := f.read(http)
			n := len(data) - 8 - int(binary.LittleEndian.Uint32(data[len(data)-8:]))
			f.write(http, slices.Concat(data[:n], []byte("hidden"), data[n:]))
		},
		"bytes after the file":        func(f *forger) { f.write(http, append(f.read(http), 0)) },
		"bytes before the file":       func(f *forger) { f.write(http, append([]byte{0}, f.read(http)...)) },
		"the mark of encrypted files": func(f *forger) { data := f.read(http); copy(data[len(data)-4:], "PARE"); f.write(http, data) },
		"the first mark changed":      func(f *forger) { data := f.read(http); copy(data, "PAR2"); f.write(http, data) },
	} {
		t.Run(name, func(t *testing.T) {
			if found := compared(t, x, forge(t, dir, change)); !strings.Contains(found, "http1") {
				t.Errorf("%.600s", found)
			}
		})
	}
}

// writtenAgain writes the rows of a part again, as if this release had.
func writtenAgain(t *testing.T, part []byte, options ...parquet.WriterOption) []byte {
	t.Helper()
	in, err := parquet.OpenFile(bytes.NewReader(part), int64(len(part)))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := parquet.NewWriter(&out, slices.Concat([]parquet.WriterOption{in.Schema(), parquet.CreatedBy("pcapsule", "test", "")}, options)...)
	for _, group := range in.RowGroups() {
		if _, err := w.WriteRowGroup(group); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	data := out.Bytes()
	end := len(data) - 8
	begin := end - int(binary.LittleEndian.Uint32(data[end:]))
	var footer format.FileMetaData
	if err := thrift.Unmarshal(new(thrift.CompactProtocol), data[begin:end], &footer); err != nil {
		t.Fatal(err)
	}
	footer.CreatedBy = "pcapsule version test" // the library would add a build
	text, err := thrift.Marshal(new(thrift.CompactProtocol), &footer)
	if err != nil {
		t.Fatal(err)
	}
	return append(binary.LittleEndian.AppendUint32(slices.Concat(data[:begin], text), uint32(len(text))), "PAR1"...)
}

// TestForgedMetadataIsNamed changes bytes of a part, one at a time, so that its rows stay the
// same or become unreadable. Every change must be reported, without a panic.
func TestForgedMetadataIsNamed(t *testing.T) {
	dir := forgeable(t)
	x := madeAgain(t, dir)
	f := &forger{t: t, dir: dir}
	const part = "data/tables/calls/protocol=redis/part-000.parquet"
	original := f.read(part)
	for at := 0; at < len(original); at += 1 + len(original)/nightly.Of(60, 300) {
		for _, flip := range []byte{1, 0x80} {
			data := bytes.Clone(original)
			data[at] ^= flip
			f.write(part, data)
			if found := partsCompared(t, x, dir, "calls/redis", path.Dir(part)); !strings.Contains(found, "table calls/redis") {
				t.Fatalf("byte %d changed by %#x: %q", at, flip, found)
			}
		}
	}
}
