package kfl

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the generated part of docs/kfl.md")

const page = "../docs/kfl.md"

// fieldTable returns the part of the page that is generated from names.tsv.
func fieldTable() string {
	var b strings.Builder
	for _, line := range strings.Split(strings.TrimSpace(namesFile), "\n") {
		if head, ok := strings.CutPrefix(line, "# "); ok {
			if !strings.Contains(head, "Source:") && !strings.Contains(head, "Columns:") && !strings.Contains(head, "bundle has") {
				b.WriteString("\n### " + strings.ToUpper(head[:1]) + head[1:] + "\n\n| name | type | other names | is | meaning |\n|---|---|---|---|---|\n")
			}
			continue
		}
		name, _, _ := strings.Cut(line, "\t")
		var f Field
		for _, f = range Fields() {
			if f.Name == name {
				break
			}
		}
		code := func(words []string) string {
			if len(words) == 0 {
				return ""
			}
			return "`" + strings.Join(words, "` `") + "`"
		}
		source := ""
		if f.Source != "" && f.Source != f.Name {
			source = code([]string{strings.ReplaceAll(f.Source, "|", `\|`)})
		}
		typ := f.Type
		if f.Unit != "" {
			typ += ", " + f.Unit
		}
		b.WriteString("| " + code([]string{f.Name}) + " | " + typ + " | " + code(f.Aliases) + " | " + source + " | " + f.Doc + " |\n")
	}
	return b.String()
}

func TestDocumentHasEveryName(t *testing.T) {
	raw, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(raw), "do not edit -->\n")
	_, tail, ok2 := strings.Cut(rest, "<!-- end -->")
	if !ok || !ok2 {
		t.Fatal("the page has no generated part")
	}
	want := head + "do not edit -->\n" + fieldTable() + "<!-- end -->" + tail
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(raw) != want {
		t.Error("docs/kfl.md differs from names.tsv: update it with go test ./kfl -run TestDocument -update")
	}
}

// TestDocumentExamplesRun runs each example with DuckDB and the matcher.
func TestDocumentExamplesRun(t *testing.T) {
	raw, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(raw), "```kfl\n")[1:]
	if len(blocks) < 10 {
		t.Fatalf("%d examples", len(blocks))
	}
	var rows []*testRow
	for _, n := range sampleOrder {
		rows = append(rows, sample()[n])
	}
	db := duck(t, rows)
	for _, b := range blocks {
		src, _, _ := strings.Cut(b, "```")
		q, err := Compile(src, Env{Now: noon, Findings: testFindings{"plaintext-credentials": {1}}, Bodies: &testBodies{rows: rows}})
		if err != nil {
			t.Errorf("%s%v", src, err)
			continue
		}
		agree(t, db, rows, q)
	}
}

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
		row(map[string]Value{}),
		row(map[string]Value{"host": Text("v"), "method": Text("GET"), "headers": Headers([]Header{})}),
		row(map[string]Value{"host": Text("w"), "method": Text("GET"), "headers": Headers([]Header{{"k", "1", "request"}})}),
	}
	db := duck(t, rows)
	lines := 0
	for _, line := range strings.Split(table, "\n") {
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
		for i, got := range agree(t, db, rows, q) {
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
