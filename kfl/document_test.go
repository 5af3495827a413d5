package kfl

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the conditions of dialects in testdata")

const page = "../docs/kfl.md"

// TestNamesAreDescribed checks that pcapsule kfl fields has a meaning for each name.
func TestNamesAreDescribed(t *testing.T) {
	for _, f := range Fields() {
		if f.Doc == "" || f.Type == "" {
			t.Errorf("%s has no type or no meaning: add them to names.tsv", f.Name)
		}
	}
}

// TestDocumentExamplesRun runs each example.
func TestDocumentExamplesRun(t *testing.T) {
	raw, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(raw), "```kfl\n")[1:]
	if len(blocks) < 10 {
		t.Fatalf("%d examples", len(blocks))
	}
	rows := samples()
	db := duck(t, rows)
	for _, b := range blocks {
		src, _, _ := strings.Cut(b, "```")
		q, err := Compile(src, Env{Now: noon, Findings: testFindings{"plaintext-credentials": {1}}, Bodies: &testBodies{rows: rows}})
		if err != nil {
			t.Errorf("%s%v", src, err)
			continue
		}
		matching(t, db, rows, q)
	}
}

// moreTruths are lines of the same form that the page leaves out.
const moreTruths = "| `has(host)` | false | true | true |\n" +
	"| `host in [\"v\"]` | false | true | false |\n" +
	"| `host not in [\"v\"]` | false | false | true |\n" +
	"| `!(host in [\"v\"])` | true | false | true |\n" +
	"| `!(host contains \"v\")` | true | false | true |\n" +
	"| `size(host) != 2` | false | true | true |\n" +
	"| `request.headers[\"k\"] == \"\"` | false | true | false |\n" +
	"| `request.headers[\"k\"] != \"\"` | false | false | true |\n" +
	"| `request.headers.exists(k, true)` | false | false | true |\n" +
	"| `complete == false` | false | false | false |\n" +
	"| `!host` | true | false | false |\n" +
	"| `host contains \"v\"` | false | true | false |\n" +
	"| `size(host) == 1` | false | true | true |\n" +
	"| `host < \"w\"` | false | true | false |\n" +
	"| `request.headers` | false | false | true |\n" +
	"| `\"k\" in request.headers` | false | false | true |\n" +
	"| `request.headers[\"k\"] == \"1\"` | false | false | true |\n" +
	"| `size(request.headers) == 0` | false | true | false |\n" +
	"| `status_code / 0 == 0` | false | false | false |\n" +
	"| `complete` | false | false | false |\n"

func TestDocumentTruthTable(t *testing.T) {
	raw, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(raw), "| query | absent | \"v\", empty | \"w\", k: 1 |\n|---|---|---|---|\n")
	if !ok {
		t.Fatal("the page has no truth table")
	}
	rows := []*testRow{
		row(map[string]any{}),
		row(map[string]any{"host": "v", "method": "GET", "headers": []header{}}),
		row(map[string]any{"host": "w", "method": "GET", "headers": []header{{"k", "1", "request"}}}),
	}
	db := duck(t, rows)
	lines := 0
	for _, line := range strings.Split(moreTruths+table, "\n") {
		if !strings.HasPrefix(line, "| `") {
			break
		}
		lines++
		cells := strings.Split(strings.ReplaceAll(line, `\|`, "\x00"), "|")
		src := strings.ReplaceAll(strings.Trim(cells[1], " `"), "\x00", "|")
		q, err := Compile(src, Env{})
		if err != nil {
			t.Errorf("%s: %v", src, err)
			continue
		}
		for i, got := range matching(t, db, rows, q) {
			if want := strings.TrimSpace(cells[2+i]) == "true"; got != want {
				t.Errorf("%s: column %d is %v, the page says %v", src, i+1, got, want)
			}
		}
	}
	if lines < 30 {
		t.Errorf("%d lines in the truth table", lines)
	}
}

// TestEveryNameCompiles compiles a query for each name.
func TestEveryNameCompiles(t *testing.T) {
	for _, f := range Fields() {
		for _, n := range append([]string{f.Name}, f.Aliases...) {
			q, err := Compile("has("+n+") || "+n, Env{Findings: testFindings{"x": {1}}})
			if err != nil {
				t.Errorf("%s: %v", n, err)
				continue
			}
			if want := names().byName[n]; want.kind != srcExpr && want.kind != srcLater && len(q.Columns()) == 0 {
				t.Errorf("%s reads no column", n)
			}
		}
	}
}
