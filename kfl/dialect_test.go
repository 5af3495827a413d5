package kfl

import (
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/internal/nightly"
	"github.com/pcapsule/pcapsule/kfl/internal/parse"
)

var dialectCases = flag.String("dialects", "", "write the cases of TestDialects as JSON to this file, for scripts/lake/kfl.py")

// dialectCase is a condition that every engine must find true for the same rows.
type dialectCase struct {
	KFL   string            `json:"kfl"`
	Where map[string]string `json:"where"` // by dialect
	Rows  []int             `json:"rows"`
}

// dialectRun is what the engines get: one relation, and conditions on it.
type dialectRun struct {
	Calls map[string]string `json:"calls"` // by dialect
	Cases []dialectCase     `json:"cases"`
}

// dialectEdges are conditions on which engines differ, if their forms are naive.
var dialectEdges = []string{
	`elapsed_us / -1 > 0`, `elapsed_us % -1 == 0`, `elapsed_us / 0 == 1`, `-(elapsed_us) > 0`, `elapsed_us * elapsed_us > 0`, `elapsed_us + 1 > elapsed_us`, `elapsed_us / 3 == 66`,
	`int(1.0 * elapsed_us) == elapsed_us`, `int(0.5 * elapsed_us) > 0`, `1.0 / elapsed_us > 0.5`, `double(host) > 1.0`, `int(host) == 5`, `string(elapsed_us) == "200"`,
	`host.substring(1, 3) == "ET"`, `host.substring(0) == host`, `host.substring(elapsed_us) == ""`, `host.upperAscii() == "A"`, `host.trim() == ""`, `host.replace("a", "é") contains "é"`,
	`host.split(",")[1] == "b"`, `host.split("|").join("") == host`, `host.split(".")[elapsed_us] == "a"`, `host.split("?").size() > 1`, `host.indexOf("b") == 2`,
	`host.matches("^a$")`, `host.matches("(?m)^b$")`, `host.matches(r"(?i)\bk\b")`, `host.matches(r"[^\w]")`, `host.matches("(?s)a.b")`, `host.matches("a.b")`, `host.matches("$")`, `host.matches(r"^\pL$")`,
	`host == "\\"`, `host contains "'"`, `host contains "$1"`, `host != "${a}"`, `host contains "\t"`, `host < "b"`, `host in ["é", "日本", "\""]`,
	`src.ip in "10.200.0.0/15"`, `src.ip in "192.0.0.0/3"`, `src.ip in "::/0"`, `dst.ip in "fe80::/10"`, `dst.ip in "0.0.0.0/0"`,
	`request.cookies["a"] == "1"`, `response.cookies["a"] == "5"`, `request.headers["x-É"] != nil`, `src.labels["App"] == src.labels["app"]`, `size(request.headers) == 2`,
	`dns_answers[-1] == nil`, `dns_answers[0] == "a"`, `dns_answers[elapsed_us] != nil`, `"a" in dns_answers`, `dns_answers.exists_one(x, x.size() > 1)`, `dns_answers.all(x, x != "")`,
}

// documented returns the examples of docs/kfl.md.
func documented(t *testing.T) (list []string) {
	raw, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range strings.Split(string(raw), "```kfl\n")[1:] {
		src, _, _ := strings.Cut(b, "```")
		list = append(list, strings.TrimSpace(src))
	}
	return list
}

// TestDialects compiles the documented examples and 500 generated conditions for every dialect. The
// engines run them with make lake, because they take minutes.
func TestDialects(t *testing.T) {
	g := &gen{Rand: rand.New(rand.NewPCG(3, 19))}
	var rows []*testRow
	for range 40 {
		rows = append(rows, g.row())
	}
	db := duck(t, rows)
	var cases []dialectCase
	columns := map[string]bool{}
	add := func(src string) bool {
		q, err := Compile(src, Env{Now: noon})
		if err != nil {
			return false
		}
		c := dialectCase{KFL: src, Where: map[string]string{}, Rows: []int{}}
		for _, d := range dialects {
			where, err := q.SQLIn(d.Name)
			if err != nil {
				return false
			}
			c.Where[d.Name] = where
		}
		for _, name := range q.Columns() {
			columns[name] = true
		}
		for i, yes := range matching(t, db, rows, q) {
			if yes {
				c.Rows = append(c.Rows, i)
			}
		}
		cases = append(cases, c)
		return true
	}
	said, all := 0, documented(t)
	for _, src := range all {
		if add(src) {
			said++
		}
	}
	for _, src := range dialectEdges {
		if !add(src) {
			t.Errorf("%s cannot be said in every dialect", src)
		}
	}
	for tried := 0; len(cases) < said+len(dialectEdges)+nightly.Of(120, 500); tried++ {
		if tried > 5000 {
			t.Fatalf("only %d of %d generated conditions can be said in every dialect", len(cases)-said-len(dialectEdges), tried)
		}
		add(g.expr(kBool, 1+g.IntN(3)))
	}
	t.Logf("%d of %d documented examples can be said in every dialect", said, len(all))
	if said < len(all)/2 {
		t.Errorf("only %d of %d documented examples can be said in every dialect", said, len(all))
	}
	if *dialectCases == "" {
		return
	}
	run := dialectRun{Calls: map[string]string{}, Cases: cases}
	for _, d := range dialects {
		run.Calls[d.Name] = relation(d, rows, slices.Sorted(maps.Keys(columns)))
	}
	raw, err := json.Marshal(run)
	if err == nil {
		err = os.WriteFile(*dialectCases, raw, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// relation is a statement that returns the columns of the rows, and their numbers.
func relation(d *Dialect, rows []*testRow, columns []string) string {
	w := &writer{d: d}
	types := viewColumns()
	var names, lines []string
	for _, c := range append(columns, "kfl_row") {
		names = append(names, w.quote(c).sql)
	}
	for i, r := range rows {
		var cells []string
		for _, c := range columns {
			cells = append(cells, cell(d, r.columns[c], types[c]))
		}
		lines = append(lines, "("+strings.Join(append(cells, fmt.Sprint(i)), ", ")+")")
	}
	return "SELECT * FROM (VALUES " + strings.Join(lines, ", ") + ") AS calls(" + strings.Join(names, ", ") + ")"
}

// cell writes a value of a column whose type in DuckDB is given.
func cell(d *Dialect, v any, duckType string) string {
	if d.Name == duckDB.Name {
		return "CAST(" + duckOf(v) + " AS " + duckType + ")"
	}
	kinds := map[string]string{"BOOLEAN": d.types[kBool], "BIGINT": d.types[kInt], "INTEGER": "INTEGER", "VARCHAR": d.types[kText], "BLOB": d.types[kBytes]}
	form := strings.TrimSuffix(duckType, "[]")
	of, fields := kinds[form], []string{"name", "value"}
	if inner, ok := strings.CutPrefix(form, "STRUCT("); ok {
		if strings.Contains(inner, "kind") {
			fields = append(fields, "kind")
		}
		of = "STRUCT<" + strings.Join(fields, ": STRING, ") + ": STRING>"
		if d.Name == trino.Name {
			of = "ROW(" + strings.Join(fields, " VARCHAR, ") + " VARCHAR)"
		}
	}
	if form != duckType {
		of = put(d.listOf, of)
	}
	return "CAST(" + plainCell(d, v) + " AS " + of + ")"
}

func plainCell(d *Dialect, v any) string {
	var list []string
	record := func(values ...string) {
		for i, s := range values {
			values[i] = d.literal(s)
		}
		list = append(list, map[string]string{"spark": "struct", "trino": "ROW"}[d.Name]+"("+strings.Join(values, ", ")+")")
	}
	switch v := v.(type) {
	case nil:
		return "NULL"
	case bool:
		return fmt.Sprint(v)
	case string:
		return d.literal(v)
	case []byte:
		return "X'" + hex.EncodeToString(v) + "'"
	case []string:
		for _, s := range v {
			list = append(list, d.literal(s))
		}
	case []header:
		for _, h := range v {
			record(h.Name, h.Value, h.Kind)
		}
	case []pair:
		for _, p := range v {
			record(p.Name, p.Value)
		}
	default:
		return "'" + fmt.Sprint(v) + "'"
	}
	return put(d.list, strings.Join(list, ", "))
}

// TestDialectsOfDocument compares the SQL of the documented examples with a golden file.
func TestDialectsOfDocument(t *testing.T) {
	const golden = "testdata/dialects.txt"
	var b strings.Builder
	for _, src := range documented(t) {
		q, err := Compile(src, Env{Now: noon, Findings: testFindings{"plaintext-credentials": {1}}, Bodies: &testBodies{}})
		if err != nil {
			t.Fatalf("%s: %v", src, err)
		}
		fmt.Fprintf(&b, "%s\n", src)
		for _, name := range Dialects() {
			where, err := q.SQLIn(name)
			if err != nil {
				where = "cannot: " + err.Error()
			}
			fmt.Fprintf(&b, "  %-6s  %s\n", name, where)
		}
	}
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(golden); err != nil || string(want) != b.String() {
		t.Errorf("the SQL differs from %s: compare after go test ./kfl -run TestDialects -update (%v)", golden, err)
	}
}

// TestDialectLiterals compares DuckDB's answers with texts as literals and as arguments.
func TestDialectLiterals(t *testing.T) {
	texts := []string{"", "'", `\`, `\'`, "a\nb", "a\x00b", "${spark.home}", "?", "@", "$", "日本", `\u0041`, "''", "--", ";"}
	for _, s := range texts {
		q, err := Compile("host == "+parse.Quote(s), Env{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := q.SQLIn("duckdb")
		if err != nil {
			t.Fatal(err)
		}
		db := duck(t, []*testRow{row(map[string]any{"host": "x"})})
		if strings.Contains(s, "\x00") {
			continue
		}
		if _, err := db.Exec(`UPDATE calls SET host = ` + literalOf(s)); err != nil {
			t.Fatal(err)
		}
		var n int
		if err := db.QueryRow("SELECT count(*) FROM calls WHERE " + got).Scan(&n); err != nil || n != 1 {
			t.Errorf("%q: %d rows match %s: %v", s, n, got, err)
		}
	}
	for in, want := range map[string]string{"a'b": `'a\'b'`, `\d`: `'\\d'`, "${x}": `'\u0024{x}'`, "$x": "'$x'", "a\x00": `'a\0'`} {
		if got := sparkLiteral(in); got != want {
			t.Errorf("Spark's literal of %q is %s, want %s", in, got, want)
		}
	}
}

func TestDialectPatterns(t *testing.T) {
	rows := []struct{ about, pattern, want string }{
		{"ends are those of the text", "^a$", `(?:\A(?:a)\z)`},
		{"lines end only at a line feed", "(?m)^a$", `(?:(?<![^\n])(?:a)(?![^\n]))`},
		{"a dot is all but a line feed", "a.b", `(?:(?:a)[^\n](?:b))`},
		{"case has all of Unicode's forms", "(?i)k", "(?:[Kk\u212a])"},
		{"a digit is ASCII", `\d`, "[0-9]"},
		{"a complement", `[^\w]`, "[^0-9A-Z_a-z]"},
		{"repetition, also reluctant", `a{2,3}?b{2,}c{4}`, "(?:(?:(?:a)){2,3}?(?:(?:b)){2,}(?:(?:c)){4})"},
		{"special characters", `\$\.\[`, `(?:\$\.\[)`},
	}
	for _, r := range rows {
		if got, ok := backtracking(r.pattern); !ok || got != r.want {
			t.Errorf("%s: %s is %s, want %s", r.about, r.pattern, got, r.want)
		}
	}
	if got, ok := backtracking("("); ok {
		t.Errorf("( is %s, want an error", got)
	}
}

// TestDialectsRefuse: what a dialect lacks is an error with its place, the function and the dialect.
func TestDialectsRefuse(t *testing.T) {
	rows := []struct{ src, part, what string }{
		{`http && request.body.json().a == 1`, "request.body.json().a == 1", "json()"},
		{`response.body contains "x"`, `response.body contains "x"`, "a message body"},
		{`tcp.rtt > 5ms`, "tcp.rtt", "a column of another table"},
		{`query_string["a"] == "b"`, `query_string["a"]`, "the parameters of query_string"},
		{`src.ip in "fd00:1::/32"`, `src.ip in "fd00:1::/32"`, "an IPv6 range"},
	}
	for _, r := range rows {
		q, err := Compile(r.src, Env{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := q.SQLIn("duckdb"); err != nil {
			t.Errorf("%s in DuckDB: %v", r.src, err)
		}
		for _, name := range []string{"spark", "trino"} {
			_, err := q.SQLIn(name)
			fault, ok := err.(*Error)
			if !ok || !strings.Contains(fault.Msg, r.what) || !strings.Contains(fault.Msg, name) || fault.Hint == "" {
				t.Errorf("%s in %s: %v, want an error about %s", r.src, name, err, r.what)
				continue
			}
			if got := r.src[fault.Offset : fault.Offset+fault.Len]; !strings.Contains(r.part, got) || got == "" {
				t.Errorf("%s in %s: the error is at %q, want %q", r.src, name, got, r.part)
			}
		}
	}
	if _, err := (&Query{}).SQLIn("oracle"); err == nil || !strings.Contains(err.Error(), "duckdb, spark, trino") {
		t.Errorf("unknown dialect: %v", err)
	}
	if got := Dialects(); !slices.Equal(got, []string{"duckdb", "spark", "trino"}) {
		t.Error(got)
	}
}
