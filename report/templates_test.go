package report

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/internal/captures"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/internal/nightly"
	"github.com/pcapsule/pcapsule/report/render"
	"github.com/pcapsule/pcapsule/report/templates"
	"github.com/pcapsule/pcapsule/report/value"
)

// everyTemplate builds a report of one capture, in every form, and checks what it must hold. Each
// capture gets one template in turn, or all of them.
func everyTemplate(t *testing.T, turn int, path string, o exporter.Options) {
	t.Helper()
	names := templates.Names()
	if !nightly.On() {
		names = names[turn%len(names):][:1]
	}
	out := filepath.Join(t.TempDir(), "x.pcapsule")
	o.Release = "test"
	if _, err := exporter.Run(t.Context(), []string{path}, out, o); err != nil {
		t.Logf("%s: %v", path, err) // such as an empty file
		return
	}
	c := open(t, out)
	for _, name := range names {
		r, err := Build(t.Context(), c, known(Options{Name: name}))
		if err != nil {
			t.Errorf("%s of %s: %v", name, path, err)
			continue
		}
		checkValue(t, name+" of "+path, r)
		checkNumbers(t, name+" of "+path, r)
		page := forms(t, r, "html", "csv")
		checkPage(t, string(page["html"]))
		for line, row := range records(t, page["csv"]) {
			for _, cell := range row {
				if cell != "" && strings.ContainsAny(cell[:1], "=+@\t") || strings.HasPrefix(cell, "-") {
					t.Errorf("%s of %s: record %d has a formula: %q", name, path, line, cell)
				}
			}
		}
	}
}

func records(t *testing.T, text []byte) [][]string {
	t.Helper()
	list, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// checkValue checks that evidence and queries of a report are there, and that what was not seen is
// worded as the coverage allows.
func checkValue(t *testing.T, name string, r *value.Report) {
	t.Helper()
	if len(r.Statements) < 2 || r.Statements[len(r.Statements)-1].ID != "not-recorded" {
		t.Errorf("%s: the first page has %d statements and does not end with what was not recorded", name, len(r.Statements))
	}
	statements := slices.Clone(r.Statements)
	for _, s := range r.Sections {
		statements = append(statements, s.Statements...)
		for _, b := range s.Blocks {
			if b.Table != nil && len(b.Table.Queries) == 0 || b.Figure != nil && (len(b.Figure.Queries) == 0 || b.Figure.Alt == "") {
				t.Errorf("%s: section %s has a table or figure without a query", name, s.ID)
			}
		}
	}
	missing := r.Statements[len(r.Statements)-1]
	lossy := missing.Bad || strings.HasPrefix(missing.Text, "Nothing was recorded")
	for _, s := range statements {
		if lossy && strings.Contains(s.Text, "no loss is known") {
			t.Errorf("%s: %s claims an absence in spite of losses: %s", name, s.ID, s.Text)
		}
		for _, q := range s.Queries {
			if q < 1 || q > len(r.Queries) {
				t.Errorf("%s: %s refers to query %d of %d", name, s.ID, q, len(r.Queries))
			}
		}
	}
}

// TestEveryTemplateOfEverySample uses one in 60 of the samples with secrets, which are alike, and one
// in 8 of the damaged ones, or all.
func TestEveryTemplateOfEverySample(t *testing.T) {
	const secrets, hard, others = 120, 16, 4
	n, turn := 0, 0
	err := filepath.WalkDir(filepath.Join("..", "samples"), func(path string, e fs.DirEntry, err error) error {
		if err == nil && (strings.HasSuffix(path, ".pcap") || strings.HasSuffix(path, ".pcapng")) {
			n++
			if nightly.On() || strings.Contains(path, "secrets") && n%secrets == 0 || strings.Contains(path, "hard") && n%hard == 0 || filepath.Base(filepath.Dir(path)) == "samples" && n%others == 0 {
				everyTemplate(t, turn, path, bundleOptions(filepath.Base(path)))
				turn++
			}
		}
		return err
	})
	if err != nil || n < 20 || turn < len(templates.Names()) {
		t.Fatal(n, turn, err)
	}
}

// TestEveryTemplateOfOthersCaptures uses the first small capture of each folder, or one folder in 6.
func TestEveryTemplateOfOthersCaptures(t *testing.T) {
	dir := captures.Dir(t)
	folders, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	turn := 0
	for i, folder := range folders {
		if !nightly.On() && i%6 != 0 {
			continue
		}
		list, err := filepath.Glob(filepath.Join(dir, folder.Name(), "*cap*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range list {
			if info, err := os.Stat(path); err == nil && !info.IsDir() && info.Size() < 100_000 {
				everyTemplate(t, turn, path, exporter.Options{})
				turn++
				break
			}
		}
	}
	if turn < 6 {
		t.Errorf("only %d captures", turn)
	}
}

// The figures of a report are those of the questions.
func TestFiguresAreThoseOfQuestions(t *testing.T) {
	shop := sample(t, "shop.pcapng")
	c := open(t, shop)
	window := Options{Name: "incident", From: "2s", KFL: `http`}
	r, err := Build(t.Context(), c, known(window))
	if err != nil {
		t.Fatal(err)
	}
	var f struct {
		Failed int64 `json:"failed_calls"`
		Calls  int64 `json:"calls"`
		Groups []struct {
			Calls   int64    `json:"calls"`
			CallIDs []string `json:"call_ids"`
		} `json:"groups"`
	}
	asked(t, c, "find_failures", `{"from": "2s", "kfl": "http", "limit": 100}`, &f)
	figures := map[string]int64{}
	for _, s := range r.Statements {
		for _, n := range s.Figures {
			figures[s.ID+" "+n.Label] = *n.Value
		}
	}
	if figures["failed failed calls"] != f.Failed || figures["failed calls"] != f.Calls || f.Failed == 0 {
		t.Errorf("%v, the question says %d of %d", figures, f.Failed, f.Calls)
	}
	rows := findTable(r, "failures-table").Rows
	for i, g := range f.Groups[:min(len(rows), len(f.Groups))] {
		if *rows[i].Cells[5].Value != g.Calls || rows[i].Cite[0].Call != g.CallIDs[0] {
			t.Errorf("row %d: %v, the question says %d by %s", i+1, rows[i], g.Calls, g.CallIDs[0])
		}
	}
	for _, n := range r.Facts {
		if n.Label == "calls" && *n.Value != f.Calls {
			t.Errorf("%d calls in the head, the question says %d", *n.Value, f.Calls)
		}
	}
}

func asked(t *testing.T, c *forensics.Case, name, in string, dst any) {
	t.Helper()
	for _, q := range known(Options{}).Questions {
		if q.Name == name {
			answer, err := q.Ask(context.Background(), c, json.RawMessage(in))
			if err != nil {
				t.Fatal(err)
			}
			text, err := json.Marshal(answer)
			if err == nil {
				err = json.Unmarshal(text, dst)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestTemplatesWithMistakes(t *testing.T) {
	c := open(t, sample(t, "dns.pcap"))
	for _, tt := range []struct{ name, text, want string }{
		{"nothing", "", "x.yaml:1:1: the file is empty"},
		{"a list", "- a", "x.yaml:1:1: must be keys with values"},
		{"a key that does not exist", "titel: a\nsections: [dns]", `x.yaml:1:1: unknown key "titel" (did you mean "title"?)`},
		{"no title", "sections: [dns]", "title is missing"},
		{"no sections", "title: a", "0 sections"},
		{"a section that does not exist", "title: a\nsections:\n  - finding", `x.yaml:3:5: unknown section "finding" (did you mean "findings"?)`},
		{"a parameter of another section", "title: a\nsections:\n  - section: dns\n    limit: 3", `x.yaml:4:5: unknown key "limit"`},
		{"a limit that is not a number", "title: a\nsections:\n  - section: failures\n    limit: many", `x.yaml:4:12: limit "many"`},
		{"a limit too high", "title: a\nsections:\n  - section: failures\n    limit: 5000", "1 to 1000"},
		{"an analyzer that does not exist", "title: a\nsections:\n  - section: findings\n    analyzers: [weak-tsl]", `x.yaml:4:17: unknown analyzer "weak-tsl" (did you mean "weak-tls"?)`},
		{"a framework that does not exist", "title: a\nsections:\n  - section: controls\n    frameworks: [gdpr, pcii]", `x.yaml:4:24: unknown framework "pcii" (did you mean "pci"?)`},
		{"a question that does not exist", "title: a\nsections:\n  - section: question\n    ask: find_failure", `x.yaml:4:10: unknown question "find_failure" (did you mean "find_failures"?)`},
		{"an input that does not exist", "title: a\nsections:\n  - section: question\n    ask: find_failures\n    in: {servise: a}", `x.yaml:5:10: unknown key "servise" (did you mean "service"?)`},
		{"a list that does not exist", "title: a\nsections:\n  - section: question\n    ask: find_failures\n    list: group", `(did you mean "groups"?)`},
		{"a field that does not exist", "title: a\nsections:\n  - section: question\n    ask: find_failures\n    list: groups\n    columns: [dts]", `x.yaml:6:15: unknown field "dts" (did you mean "dst"?)`},
		{"no question", "title: a\nsections:\n  - section: question\n    title: b", "x.yaml:3:5: ask is missing: use one of"},
		{"no list", "title: a\nsections:\n  - section: question\n    ask: find_failures", "list is missing: use one of causes"},
		{"no columns", "title: a\nsections:\n  - section: question\n    ask: find_failures\n    list: groups", "columns are missing: use some of"},
		{"bars of a field that is no column", "title: a\nsections:\n  - section: question\n    ask: find_failures\n    list: groups\n    columns: [dst, calls as Requests]\n    bars: call", `bars "call" (did you mean "calls"?) is not a field in columns`},
		{"a number without end", "title: a\nsections:\n  - section: question\n    ask: find_failures\n    in: {limit: .inf}", `x.yaml:5:17: .inf is not a number`},
		{"a section twice", "title: a\nsections: [dns, dns]", `two sections have the id "dns"`},
		{"a bad id", "title: a\nsections:\n  - {section: dns, id: 'a b'}", "must be lower-case letters"},
		{"a key twice", "title: a\ntitle: b\nsections: [dns]", "x.yaml:2:1:"},
		{"an unknown focus", "title: a\nfocus: calls\nsections: [dns]", "unknown focus"},
		{"a broken file", "title: [a\nsections", "x.yaml:"},
		{"text that is a map", "title: {a: b}\nsections: [dns]", "x.yaml:1:8: must be text"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Build(t.Context(), c, known(Options{Name: "x.yaml", Template: tt.text + "\n"}))
			var bad *templates.Error
			if !errors.As(err, &bad) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// A template of a user may ask any question.
func TestTemplateOfAUser(t *testing.T) {
	c := open(t, sample(t, "shop.pcapng"))
	const text = `title: Names
focus: traffic
sections:
  - section: text
    id: intro
    title: Why
    text: [Because of <b>names</b>.]
  - section: question
    id: slow
    title: Slow endpoints
    ask: get_api_stats
    in: {order: p99}
    kfl: http
    list: endpoints
    columns: [dst, endpoint, calls as Requests, p99_ms]
    limit: 3
    bars: calls
  - section: sign-off
    sign: [Name, Date]
`
	r, err := Build(t.Context(), c, known(Options{Name: "x.yaml", Template: text}))
	if err != nil {
		t.Fatal(err)
	}
	slow := findTable(r, "slow-table")
	if len(r.Sections) != 5 || slow == nil || len(slow.Rows) != 3 || slow.Columns[2].Name != "“Requests”" || slow.Rows[0].Cells[2].Share == nil || len(slow.Rows[0].Cite) == 0 {
		t.Errorf("%+v", r.Sections)
	}
	for _, f := range render.Forms() {
		var b bytes.Buffer
		if err := f.Write(&b, r); err != nil || f.Name != "json" && f.Name != "csv" && f.Name != "xlsx" && f.Name != "pdf" && bytes.Contains(b.Bytes(), []byte("<b>names")) {
			t.Errorf("%s: %v, or the text is markup", f.Name, err)
		}
	}
}

func TestMaskedReport(t *testing.T) {
	c := open(t, sample(t, "shop.pcapng"))
	o := known(Options{Name: "incident", MaskID: "x", Mask: func(s string) string { return strings.ReplaceAll(s, "payment", "***") }})
	r, err := Build(t.Context(), c, o)
	if err != nil {
		t.Fatal(err)
	}
	for form, file := range forms(t, r) {
		if bytes.Contains(file, []byte("payment")) {
			t.Errorf("%s has the secret", form)
		}
	}
	o.KFL = `dst.name == "payment"`
	if _, err := Build(t.Context(), c, o); err == nil {
		t.Error("a filter with a secret was written into the report")
	}
}
