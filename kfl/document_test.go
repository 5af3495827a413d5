package kfl

import (
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite docs/reference/kfl.md")

const page, list = "../docs/kfl.md", "../docs/reference/kfl.md"

const intro = "# Names of KFL\n\nGenerated from kfl/names.tsv by `go test ./kfl -run TestDocument -update`. A name is text unless it has another type here.\n" +
	"The first name is the one in SQL and results if it is a column. Names after \"Also\" need no row: a column of [table\n" +
	"calls](tables.md#calls) with the same name, the keyword of a protocol, or a name of KFL2 that says what it is.\n" +
	"[kfl.md](../kfl.md) describes the language.\n"

// plain is the source of a name that needs no row of its own: KFL2's sizes, directions and summaries of
// a protocol.
var plain = regexp.MustCompile(`^\w+ (\? (request_bytes|response_bytes|request_bytes \+ response_bytes|summary) : nil|&& !\(error == "no_(request|response)"\))$`)

// fieldTable returns the names of names.tsv by subject. A name has a row if it has
// another name or a source that the name does not say; the others are listed.
func fieldTable() string {
	var b, rows strings.Builder
	var listed, same []string // same are names without another name, of which only the name differs
	last := ""                // the cells that they have in common
	end := func() {
		if same != nil {
			rows.WriteString("| " + strings.Join(same, ", ") + last)
		}
		same, last = nil, ""
	}
	flush := func() {
		if end(); rows.Len() > 0 {
			b.WriteString("\n| name | other names | is | meaning |\n|---|---|---|---|\n" + rows.String())
		}
		if len(listed) > 0 {
			b.WriteString("\nAlso: " + wrap(listed, 112) + ".\n")
		}
		rows.Reset()
		listed = nil
	}
	code := func(words []string) string {
		if len(words) == 0 {
			return ""
		}
		return "`" + strings.Join(words, "` `") + "`"
	}
	for _, line := range strings.Split(strings.TrimSpace(namesFile), "\n") {
		if head, ok := strings.CutPrefix(line, "# "); ok {
			if !strings.Contains(head, "Source:") && !strings.Contains(head, "Columns:") && !strings.Contains(head, "bundle has") {
				flush()
				b.WriteString("\n## " + strings.ToUpper(head[:1]) + head[1:] + "\n")
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
		column := f.Source == "" && !strings.Contains(f.Name, ".") || f.Source == f.Name
		if keyword := f.Source == `protocol == "`+f.Name+`"`; len(f.Aliases) == 0 && (column || keyword || plain.MatchString(f.Source)) {
			listed = append(listed, "`"+f.Name+"`")
			continue
		}
		source := ""
		if f.Source != "" && f.Source != f.Name {
			source = code([]string{strings.ReplaceAll(f.Source, "|", `\|`)})
		}
		typ := f.Type
		if f.Unit != "" {
			typ += ", " + f.Unit
		}
		if typ == "text" {
			typ = ""
		}
		name = strings.TrimSpace(code([]string{f.Name}) + " " + typ)
		cells := " | " + code(f.Aliases) + " | " + source + " | " + f.Doc + " |\n"
		if cells != last || len(f.Aliases) > 0 {
			end()
		}
		same, last = append(same, name), cells
	}
	flush()
	return b.String()
}

// wrap joins words with commas in lines of at most width bytes.
func wrap(words []string, width int) string {
	var b strings.Builder
	used := len("Also: ")
	for i, w := range words {
		if i > 0 {
			b.WriteString(",")
			if used++; used+1+len(w) > width {
				b.WriteString("\n")
				used = 0
			} else {
				b.WriteString(" ")
				used++
			}
		}
		b.WriteString(w)
		used += len(w)
	}
	return b.String()
}

func TestDocumentHasEveryName(t *testing.T) {
	want := intro + fieldTable()
	if *update {
		if err := os.WriteFile(list, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(list); err != nil || string(got) != want {
		t.Errorf("%s differs from names.tsv: update it with go test ./kfl -run TestDocument -update: %v", list, err)
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
