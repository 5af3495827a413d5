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

	_ "github.com/duckdb/duckdb-go/v2"
)

// testRow is a call in memory. A missing column is absent.
type testRow struct {
	columns map[string]Value
	bodies  map[Side][]BodyPart
}

func (r *testRow) Column(name string) Value  { return r.columns[name] }
func (r *testRow) Body(side Side) []BodyPart { return r.bodies[side] }
func (r *testRow) set(name string, v Value)  { r.columns[name] = v }
func row(columns map[string]Value) *testRow {
	return &testRow{columns: columns, bodies: map[Side][]BodyPart{}}
}
func (r *testRow) text(name, v string)      { r.set(name, Text(v)) }
func (r *testRow) body(side Side, b string) { r.parts(side, b, len(b)+1, 0) }
func literalOf(s string) string             { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
func blobOf(s string) string                { return "unhex('" + hex.EncodeToString([]byte(s)) + "')" }

// parts sets a body in overlapping parts of at most size bytes.
func (r *testRow) parts(side Side, b string, size, overlap int) {
	sum := sha256.Sum256([]byte(b))
	name := map[Side]string{Request: "request", Response: "response"}[side]
	r.set(name+"_body_sha256", Bytes(sum[:]))
	r.set(name+"_body_size", Int(int64(len(b))))
	r.bodies[side] = nil
	for at, part := 0, int32(0); ; part++ {
		end := min(at+size, len(b))
		p := BodyPart{Part: part, Offset: int64(at), Size: int64(len(b))}
		if piece := b[at:end]; strings.ToValidUTF8(piece, "\x00") == piece && !strings.ContainsAny(piece, "\x00\x01\x02") {
			p.Text, p.IsText = piece, true
		} else {
			p.Bytes = []byte(piece)
		}
		r.bodies[side] = append(r.bodies[side], p)
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
	out := map[string]map[string]string{"flows": {"flow_id": "BIGINT"}, "connections": {"conn_id": "BIGINT"}, "tls": {"call_no": "BIGINT"}}
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

// fill inserts rows into the tables that are looked up for calls, and sets their values in each
// call under names such as flow.rtt_avg_us. value generates a value.
func fill(t testing.TB, db *sql.DB, rows []*testRow, value func(column string, f *field) Value) {
	t.Helper()
	insert := func(table, key string, id int64) map[string]Value {
		cols, vals := []string{quoteName(key)}, []string{strconv.FormatInt(id, 10)}
		got := map[string]Value{}
		for _, f := range names().fields {
			if j, ok := joins[f.kind]; !ok || j.table != table || got[f.arg].kind != 0 {
				continue
			}
			v := value(f.arg, f)
			got[f.arg] = v
			cols, vals = append(cols, quoteName(f.arg)), append(vals, duckOf(v))
		}
		if _, err := db.Exec("INSERT INTO " + table + " (" + strings.Join(cols, ", ") + ") VALUES (" + strings.Join(vals, ", ") + ")"); err != nil {
			t.Fatal(err)
		}
		return got
	}
	flows, conns, first := map[int64]map[string]Value{}, map[int64]map[string]Value{}, map[int64]map[string]Value{}
	for i, r := range rows {
		flow, conn := r.columns["flow_id"], r.columns["conn_id"]
		if flow.there && flow.num%3 > 0 && flows[flow.num] == nil { // leave some out
			flows[flow.num] = insert("flows", "flow_id", flow.num)
		}
		if conn.there && conn.num%4 > 0 && conns[conn.num] == nil {
			conns[conn.num] = insert("connections", "conn_id", conn.num)
		}
		if r.columns["protocol"].str == "tls" && conn.there {
			if first[conn.num] == nil {
				first[conn.num] = map[string]Value{}
			}
			keep := func(name string, v Value) {
				if old := first[conn.num][name]; !old.there && v.there {
					first[conn.num][name] = v
				}
			}
			for _, f := range names().fields {
				if f.kind == srcHello {
					keep("hello."+f.arg, r.columns[f.arg])
				}
			}
			for n, v := range insert("tls", "call_no", int64(i)) {
				keep("tls."+n, v)
			}
		}
	}
	for _, r := range rows {
		for n, v := range flows[r.columns["flow_id"].num] {
			r.set("flow."+n, v)
		}
		for n, v := range conns[r.columns["conn_id"].num] {
			r.set("connection."+n, v)
		}
		for n, v := range first[r.columns["conn_id"].num] {
			r.set(n, v)
		}
	}
}

// testFindings maps findings to the numbers of their calls.
type testFindings map[string][]int64

func (f testFindings) Names() []string {
	return slices.Sorted(maps.Keys(f))
}

func (f testFindings) Calls(name string) ([]int64, error) { return f[name], nil }

// duckOf returns a value as a DuckDB literal.
func duckOf(v Value) string {
	if !v.there {
		return "NULL"
	}
	list := func(n int, at func(i int) string) string {
		var all []string
		for i := range n {
			all = append(all, at(i))
		}
		return "[" + strings.Join(all, ", ") + "]"
	}
	switch {
	case v.kind == kBool:
		return strconv.FormatBool(v.num != 0)
	case v.kind == kText:
		return literalOf(v.str)
	case v.kind == kBytes:
		return blobOf(v.str)
	case v.kind == kList:
		return list(len(v.texts), func(i int) string { return literalOf(v.texts[i]) })
	case v.heads != nil:
		return list(len(v.heads), func(i int) string {
			h := v.heads[i]
			return fmt.Sprintf("{'name': %s, 'value': %s, 'kind': %s}", literalOf(h.Name), literalOf(h.Value), literalOf(h.Kind))
		})
	case v.kind == kMap:
		return list(len(v.pairs), func(i int) string {
			return fmt.Sprintf("{'name': %s, 'value': %s}", literalOf(v.pairs[i].Name), literalOf(v.pairs[i].Value))
		})
	}
	return strconv.FormatInt(v.num, 10)
}

// duck makes a database with the rows in table calls, numbered from 0 in column row_no.
func duck(t testing.TB, rows []*testRow) *sql.DB {
	t.Helper()
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
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
			sha := r.columns[map[Side]string{Request: "request", Response: "response"}[side]+"_body_sha256"].str
			if len(parts) == 0 || seen[sha] {
				continue
			}
			seen[sha] = true
			for _, p := range parts {
				text, blob := "NULL", "NULL"
				if p.IsText {
					text = literalOf(p.Text)
				} else {
					blob = blobOf(string(p.Bytes))
				}
				run(fmt.Sprintf("INSERT INTO bodies VALUES (%s, %d, %d, %d, %s, %s)", blobOf(sha), p.Part, p.Offset, p.Size, text, blob))
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

// agree checks that both back ends return the same result for every row, and returns it.
func agree(t testing.TB, db *sql.DB, rows []*testRow, q *Query) []bool {
	t.Helper()
	return agreeAll(t, db, rows, q)[0]
}

// agreeAll is agree for several queries. One SELECT has them all, because most of its time is spent on
// the columns of the table.
func agreeAll(t testing.TB, db *sql.DB, rows []*testRow, queries ...*Query) [][]bool {
	t.Helper()
	got, err := answers(db, len(rows), queries...)
	for _, q := range queries {
		if err != nil && len(queries) > 1 {
			agree(t, db, rows, q) // names the query
		}
	}
	if err != nil {
		t.Fatalf("%s\n%v", queries[0].src, err)
	}
	for k, q := range queries {
		for i, r := range rows {
			if m := q.Match(r); m != got[k][i] {
				where, args := q.SQL()
				t.Fatalf("%s\nrow %d: SQL says %v, the matcher %v\nrow %s\nSQL %.3000s\nwith %q", q.src, i, got[k][i], m, describe(r, q), where, args)
			}
		}
	}
	return got
}

// describe returns the part of a row that the query can read.
func describe(r *testRow, q *Query) string {
	var b strings.Builder
	for _, c := range q.Columns() {
		fmt.Fprintf(&b, "%s=%s ", c, duckOf(r.columns[c]))
	}
	for side, parts := range r.bodies {
		fmt.Fprintf(&b, "body %d %+v ", side, parts)
	}
	return b.String()
}

func quoteName(column string) string { return (&writer{d: &duckDB}).quote(column).sql }
