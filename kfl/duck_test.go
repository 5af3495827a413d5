package kfl

import (
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/pcapsule/pcapsule/internal/duckdbtest"
)

// testRow is a call in memory. A missing column is absent.
type testRow struct {
	columns map[string]any
	bodies  map[string][]bodyPart // by side
	joined  map[string]any        // of other tables, see Row
}

type (
	pair     struct{ Name, Value string }
	header   struct{ Name, Value, Kind string }
	bodyPart struct {
		part, offset, size int
		data               string
		isText             bool
	}
)

func (r *testRow) set(name string, v any) { r.columns[name] = v }
func row(columns map[string]any) *testRow {
	return &testRow{columns: columns, bodies: map[string][]bodyPart{}}
}
func (r *testRow) text(name, v string)        { r.set(name, v) }
func (r *testRow) body(side string, b string) { r.parts(side, b, len(b)+1, 0) }
func literalOf(s string) string               { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
func blobOf(s string) string                  { return "unhex('" + hex.EncodeToString([]byte(s)) + "')" }

// parts sets a body in overlapping parts of at most size bytes.
func (r *testRow) parts(side string, b string, size, overlap int) {
	sum := sha256.Sum256([]byte(b))
	r.set(side+"_body_sha256", sum[:])
	r.set(side+"_body_size", len(b))
	r.bodies[side] = nil
	for at, part := 0, 0; ; part++ {
		end := min(at+size, len(b))
		piece := b[at:end]
		r.bodies[side] = append(r.bodies[side], bodyPart{part, at, len(b), piece, utf8.ValidString(piece) && !strings.ContainsAny(piece, "\x00\x01\x02")})
		if end == len(b) {
			return
		}
		at = end - overlap
	}
}

// viewColumns returns the columns of the view calls with their types in names.tsv.
func viewColumns() map[string]string {
	out := map[string]string{"headers": `STRUCT("name" VARCHAR, "value" VARCHAR, "kind" VARCHAR)[]`}
	for _, f := range names().fields {
		if f.kind != srcColumn && f.kind != srcLabels {
			continue
		}
		t := "BIGINT"
		switch {
		case f.typ.text == textHex || f.typ.kind == kBytes:
			t = "BLOB"
		case f.typ.kind == kMap:
			t = `STRUCT("name" VARCHAR, "value" VARCHAR)[]`
		case f.typ.kind == kInt && strings.HasSuffix(f.arg, "_port"), f.arg == "status_code":
			t = "INTEGER"
		case f.typ.kind != kInt && f.typ.kind != kTime:
			t = f.typ.in(&duckDB)
		}
		out[f.arg] = t
	}
	return out
}

// joinedColumns returns the tables that are looked up for calls, with their columns.
func joinedColumns() map[string]map[string]string {
	out := map[string]map[string]string{"flows": {"flow_id": "BIGINT"}, "connections": {"conn_id": "BIGINT"}, "tls_handshakes": {"call_no": "BIGINT"}}
	for _, f := range names().fields {
		if j, ok := joins[f.kind]; ok && j.table != "calls" {
			out[j.table][f.arg] = f.typ.in(&duckDB)
			if f.typ.text == textHex {
				out[j.table][f.arg] = "BLOB"
			}
		}
	}
	return out
}

// fill inserts rows into the tables that are looked up for calls. value generates a value.
func fill(t testing.TB, db *sql.DB, rows []*testRow, value func(column string, f *field) any) {
	t.Helper()
	done := map[string]map[string]any{}
	insert := func(table, key string, id int64) map[string]any {
		if got := done[table+fmt.Sprint(id)]; got != nil {
			return got
		}
		got := map[string]any{}
		done[table+fmt.Sprint(id)] = got
		cols, vals := []string{quoteName(key)}, []string{strconv.FormatInt(id, 10)}
		for _, f := range names().fields {
			if j, ok := joins[f.kind]; ok && j.table == table && !slices.Contains(cols, quoteName(f.arg)) {
				got[f.arg] = value(f.arg, f)
				cols, vals = append(cols, quoteName(f.arg)), append(vals, duckOf(got[f.arg]))
			}
		}
		if _, err := db.Exec("INSERT INTO " + table + " (" + strings.Join(cols, ", ") + ") VALUES (" + strings.Join(vals, ", ") + ")"); err != nil {
			t.Fatal(err)
		}
		return got
	}
	first := map[int64]map[string]any{} // what the handshakes of a connection say
	for i, r := range rows {
		flow, _ := r.columns["flow_id"].(int64)
		conn, _ := r.columns["conn_id"].(int64)
		r.joined = map[string]any{}
		join := func(to map[string]any, word string, values map[string]any) {
			for name, v := range values {
				if to[word+"."+name] == nil {
					to[word+"."+name] = v
				}
			}
		}
		if flow%3 > 0 { // leave some out
			join(r.joined, "flow", insert("flows", "flow_id", flow))
		}
		if conn%4 > 0 {
			join(r.joined, "connection", insert("connections", "conn_id", conn))
		}
		if r.columns["protocol"] == "tls" {
			handshake := insert("tls_handshakes", "call_no", int64(i))
			if r.columns["conn_id"] == nil {
				continue
			}
			if first[conn] == nil {
				first[conn] = map[string]any{}
			}
			join(first[conn], "hello", r.columns)
			join(first[conn], "tls", handshake)
		}
	}
	for _, r := range rows {
		if conn, ok := r.columns["conn_id"].(int64); ok {
			maps.Copy(r.joined, first[conn])
		}
	}
}

// Column implements Row.
func (r *testRow) Column(name string) Value {
	v := r.columns[name]
	if strings.Contains(name, ".") {
		v = r.joined[name]
	}
	switch v := v.(type) {
	case bool:
		return Bool(v)
	case int:
		return Int(int64(v))
	case int64:
		return Int(v)
	case string:
		return Text(v)
	case []byte:
		return Bytes(v)
	case []string:
		return Texts(v)
	case []pair:
		list := make([]Pair, len(v))
		for i, p := range v {
			list[i] = Pair(p)
		}
		return Pairs(list)
	case []header:
		list := make([]Header, len(v))
		for i, h := range v {
			list[i] = Header(h)
		}
		return Headers(list)
	}
	return Value{}
}

// Body implements Row.
func (r *testRow) Body(side Side) (list []BodyPart) {
	for _, p := range r.bodies[sideNames[side]] {
		list = append(list, BodyPart{Part: int32(p.part), Offset: int64(p.offset), Size: int64(p.size), Text: p.data, IsText: p.isText, Bytes: []byte(p.data)})
	}
	return list
}

// testFindings maps findings to the numbers of their calls.
type testFindings map[string][]int64

func (f testFindings) Names() []string {
	return slices.Sorted(maps.Keys(f))
}

func (f testFindings) Calls(name string) ([]int64, error) { return f[name], nil }

// duckOf returns a value as a DuckDB literal.
func duckOf(v any) string {
	var list []string
	switch v := v.(type) {
	case nil:
		return "NULL"
	case string:
		return literalOf(v)
	case []byte:
		return blobOf(string(v))
	case []string:
		for _, s := range v {
			list = append(list, literalOf(s))
		}
	case []header:
		for _, h := range v {
			list = append(list, fmt.Sprintf("{'name': %s, 'value': %s, 'kind': %s}", literalOf(h.Name), literalOf(h.Value), literalOf(h.Kind)))
		}
	case []pair:
		for _, p := range v {
			list = append(list, fmt.Sprintf("{'name': %s, 'value': %s}", literalOf(p.Name), literalOf(p.Value)))
		}
	default:
		return fmt.Sprint(v)
	}
	return "[" + strings.Join(list, ", ") + "]"
}

// duck makes a database with the rows in table calls, numbered from 0 in column row_no.
func duck(t testing.TB, rows []*testRow) *sql.DB {
	t.Helper()
	db := duckdbtest.Open(t)
	run := func(q string) {
		if _, err := db.Exec(q); err != nil {
			t.Fatalf("%v\nin %.2000s", err, q)
		}
	}
	run("SET threads = 1")
	types := viewColumns()
	var names, defs []string
	for n := range types {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		defs = append(defs, quoteName(n)+" "+types[n])
	}
	run("CREATE TABLE calls (row_no BIGINT, " + strings.Join(defs, ", ") + ")")
	for table, cols := range joinedColumns() {
		var defs []string
		for n, t := range cols {
			defs = append(defs, quoteName(n)+" "+t)
		}
		slices.Sort(defs)
		run("CREATE TABLE " + table + " (" + strings.Join(defs, ", ") + ")")
	}
	run(`CREATE TABLE bodies ("sha256" BLOB, "part" INTEGER, "offset" BIGINT, "size" BIGINT, "text" VARCHAR, "bytes" BLOB)`)
	seen := map[string]bool{}
	for i, r := range rows {
		vals := []string{strconv.Itoa(i)}
		for _, n := range names {
			vals = append(vals, duckOf(r.columns[n]))
		}
		run("INSERT INTO calls VALUES (" + strings.Join(vals, ", ") + ")")
		for side, parts := range r.bodies {
			sha := string(r.columns[side+"_body_sha256"].([]byte))
			if seen[sha] {
				continue
			}
			seen[sha] = true
			for _, p := range parts {
				text, blob := "NULL", "NULL"
				if p.isText {
					text = literalOf(p.data)
				} else {
					blob = blobOf(p.data)
				}
				run(fmt.Sprintf("INSERT INTO bodies VALUES (%s, %d, %d, %d, %s, %s)", blobOf(sha), p.part, p.offset, p.size, text, blob))
			}
		}
	}
	return db
}

// answers returns for each of n rows whether the queries match it in SQL.
func answers(db *sql.DB, n int, queries ...*Query) ([][]bool, error) {
	text, all := "SELECT row_no", []any(nil)
	for _, q := range queries {
		where, args := q.SQL()
		text, all = text+",\n"+where, append(all, args...)
	}
	rows, err := db.Query(text+" FROM calls", all...)
	if err != nil {
		return nil, fmt.Errorf("%w\nin %.3000s\nwith %q", err, text, all)
	}
	defer rows.Close()
	out, row := make([][]bool, len(queries)), make([]sql.NullBool, len(queries))
	var at int
	into := []any{&at}
	for k := range queries {
		out[k], into = make([]bool, n), append(into, &row[k])
	}
	count := 0
	for ; rows.Next(); count++ {
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		for k, v := range row {
			if !v.Valid {
				return nil, fmt.Errorf("row %d: %s is NULL\nin %.3000s\nwith %q", at, queries[k].src, text, all)
			}
			out[k][at] = v.Bool
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("%w\nin %.3000s\nwith %q", err, text, all)
	}
	if count != n {
		return nil, fmt.Errorf("%d rows, want %d", count, n)
	}
	return out, nil
}

// matching returns for each row whether the query matches it.
func matching(t testing.TB, db *sql.DB, rows []*testRow, q *Query) []bool {
	t.Helper()
	got, err := answers(db, len(rows), q)
	if err != nil {
		t.Fatalf("%s\n%v", q.src, err)
	}
	for i, r := range rows {
		if m := q.Match(r); m != got[0][i] {
			t.Errorf("%s\nrow %d: SQL says %v, the matcher %v", q.src, i, got[0][i], m)
		}
	}
	return got[0]
}

func quoteName(column string) string { return (&writer{d: &duckDB}).quote(column).sql }
