package report

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/forensics/finding/all"
	"github.com/pcapsule/pcapsule/report/render"
	"github.com/pcapsule/pcapsule/report/value"
)

// open opens bundles as a case until the test ends.
func open(t *testing.T, bundles ...string) *forensics.Case {
	t.Helper()
	c, err := forensics.Open(context.Background(), bundles, forensics.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	finding.Bind(c, all.Analyzers())
	return c
}

// forms renders a report in some forms, or in every form.
func forms(t *testing.T, r *value.Report, names ...string) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	for _, f := range render.Forms() {
		if len(names) > 0 && !slices.Contains(names, f.Name) {
			continue
		}
		var b bytes.Buffer
		if err := f.Write(&b, r); err != nil {
			t.Fatal(f.Name, err)
		}
		out[f.Name] = b.Bytes()
	}
	return out
}

func check(t *testing.T, form string, file []byte, c *forensics.Case) *Check {
	t.Helper()
	f, err := render.FormOf("x." + form)
	if err != nil {
		t.Fatal(err)
	}
	k, err := Verify(context.Background(), f, file, c, known(Options{}))
	if err != nil {
		return &Check{Differences: []string{err.Error()}}
	}
	return k
}

// compared is check with the report that the bundles give, which takes long to build.
func compared(t *testing.T, form string, file []byte, again *value.Report) *Check {
	t.Helper()
	f, err := render.FormOf("x." + form)
	if err != nil {
		t.Fatal(err)
	}
	k := &Check{}
	r, err := f.Read(file)
	if err == nil {
		err = k.compare(f, file, r, again)
	}
	if err != nil {
		k.Differences = []string{err.Error()}
	}
	return k
}

// edit changes a value in place and says what a difference must name.
type edit struct {
	name, want string
	change     func(r *value.Report)
}

// edits are changes that somebody could make to a report.
func edits() []edit {
	table := func(r *value.Report, id string) *value.Table { return findTable(r, id) }
	figure := func(r *value.Report, id string) *value.Figure {
		for _, s := range r.Sections {
			for _, b := range s.Blocks {
				if b.Figure != nil && b.Figure.ID == id {
					return b.Figure
				}
			}
		}
		return nil
	}
	n := func(v int64) *int64 { return &v }
	return []edit{
		{"a figure of the head", `"calls"`, func(r *value.Report) { r.Facts[3].Text = "12" }},
		{"its exact number", `"calls"`, func(r *value.Report) { r.Facts[3].Value = n(12) }},
		{"a sentence of the first page", `statement "happened"`, func(r *value.Report) { r.Statements[0].Text += " Nobody was hurt." }},
		{"a figure of a sentence", `"requests that failed this way"`, func(r *value.Report) { r.Statements[0].Figures[0].Value = n(8) }},
		{"a name in a sentence", "frontend", func(r *value.Report) {
			for i := range r.Statements {
				r.Statements[i].Text = strings.ReplaceAll(r.Statements[i].Text, "frontend", "backend")
			}
		}},
		{"the call that a sentence cites", "call id", func(r *value.Report) { r.Statements[0].Cite[0].Call = strings.Repeat("0", 32) }},
		{"the packets that a sentence cites", "packets", func(r *value.Report) { r.Statements[0].Cite[0].Packets = "1-2" }},
		{"a removed citation", "missing in the file", func(r *value.Report) { r.Statements[0].Cite = r.Statements[0].Cite[1:] }},
		{"a removed sentence", "missing in the file", func(r *value.Report) { r.Statements = r.Statements[:len(r.Statements)-1] }},
		{"the begin of the window", "from", func(r *value.Report) { r.From = "2026-11-20T09:00:00.000000000Z" }},
		{"a time in a table", `column "First (UTC)"`, func(r *value.Report) { table(r, "failures-table").Rows[0].Cells[7].Text = "09:24:00.000" }},
		{"a count in a table", `column "Failed"`, func(r *value.Report) { table(r, "failures-table").Rows[0].Cells[5] = value.CountCell(1) }},
		{"a name in a table", `column "Server"`, func(r *value.Report) { table(r, "failures-table").Rows[0].Cells[3].Text = "backend" }},
		{"a citation in a table", "citation 1", func(r *value.Report) { table(r, "failures-table").Rows[0].Cite[0].Packets = "7" }},
		{"a removed finding", "missing in the file", func(r *value.Report) {
			f := table(r, "findings-table")
			f.Rows = f.Rows[1:]
		}},
		{"a severity", `column "Severity"`, func(r *value.Report) { table(r, "findings-table").Rows[0].Cells[0].Text = "low" }},
		{"a finding called accepted", `column "State"`, func(r *value.Report) { table(r, "findings-table").Rows[0].Cells[7].Text = "accepted" }},
		{"a bucket of a chart", "values", func(r *value.Report) { figure(r, "bytes-over-time").Time.Series[0].Values[0]++ }},
		{"the total of a series", "total", func(r *value.Report) { figure(r, "bytes-over-time").Time.Series[0].Total++ }},
		{"an edge of the map", "edges", func(r *value.Report) { figure(r, "service-map").Map.Edges[0].Calls++ }},
		{"a node of the map", "nodes", func(r *value.Report) { figure(r, "service-map").Map.Nodes[0].Name = "backend" }},
		{"a message of the sequence", "messages", func(r *value.Report) { figure(r, "sequence").Sequence.Messages[0].AtUs += 5 }},
		{"a removed section", "missing in the file", func(r *value.Report) { r.Sections = r.Sections[:len(r.Sections)-1] }},
		{"a query", "query Q1", func(r *value.Report) { r.Queries[0].Command += " --limit 1" }},
		{"the state of the bundle", "verified", func(r *value.Report) { r.Bundles[0].Verified = "verified" }},
		{"an explanation", "number 1", func(r *value.Report) {
			i := slices.IndexFunc(r.Sections, func(s value.Section) bool { return len(s.Text) > 0 })
			r.Sections[i].Text[0] += " Nothing failed."
		}},
		{"an invented absence", "absent", func(r *value.Report) { r.Absent = append(r.Absent, "credentials") }},
	}
}

// clone copies a report.
func clone(t *testing.T, r *value.Report) *value.Report {
	t.Helper()
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var out value.Report
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return &out
}

// TestVerifyFindsEdits edits the value of a report and renders it again, and edits what a reader of
// each form sees without its data. Each edit must be found and named; intact files never are.
func TestVerifyFindsEdits(t *testing.T) {
	shop := sample(t, "shop.pcapng")
	r, _ := build(t, Options{Name: "incident"}, shop)
	c := open(t, shop)
	found := 0
	if k := check(t, "html", forms(t, r, "html")["html"], c); len(k.Differences) > 0 || k.Tables < 10 {
		t.Fatalf("an intact file is blamed: %q", k.Differences)
	}
	for form, file := range forms(t, r) {
		if k := compared(t, form, file, r); len(k.Differences) > 0 || k.Tables < 10 {
			t.Fatalf("%s: an intact file is blamed: %q", form, k.Differences)
		}
	}
	for i, e := range edits() {
		bad := clone(t, r)
		e.change(bad)
		list := render.Forms()
		form := list[i%len(list)] // the comparison of values is the same for all
		k := compared(t, form.Name, forms(t, bad, form.Name)[form.Name], r)
		if all := strings.Join(k.Differences, "\n"); len(k.Differences) == 0 || !strings.Contains(all, e.want) {
			t.Errorf("%s in %s: want a difference with %q, got %q", e.name, form.Name, e.want, all)
			continue
		}
		found++
	}
	for form, file := range forms(t, r) {
		for _, e := range visible(form) {
			edited := e.change(file)
			if bytes.Equal(edited, file) {
				t.Errorf("%s: %s changed nothing", form, e.name)
				continue
			}
			k := compared(t, form, edited, r)
			if all := strings.Join(k.Differences, "\n"); len(k.Differences) == 0 || !strings.Contains(all, e.want) {
				t.Errorf("%s: %s: want a difference with %q, got %.600s", form, e.name, e.want, all)
				continue
			}
			found++
		}
	}
	if found < 100 {
		t.Errorf("%d edits found, want at least 100", found)
	}
	t.Logf("%d edits", found)
}

// fileEdit changes the bytes of a file.
type fileEdit struct {
	name, want string
	change     func(file []byte) []byte
}

// visible are edits of what a reader sees, or of the data alone.
func visible(form string) []fileEdit {
	once := func(old, now string) func([]byte) []byte {
		return func(file []byte) []byte { return bytes.Replace(file, []byte(old), []byte(now), 1) }
	}
	sub := func(expr, now string) func([]byte) []byte {
		re := regexp.MustCompile(expr)
		return func(file []byte) []byte {
			at := re.FindSubmatchIndex(file)
			if at == nil {
				return file
			}
			return append(append(append([]byte{}, file[:at[0]]...), re.Expand(nil, []byte(now), file, at)...), file[at[1]:]...)
		}
	}
	every := []fileEdit{
		{"a count in the first sentence", "89 of 369", once("89 of 369 calls", "9 of 369 calls")},
		{"a name", "paymenz", once("frontend to payment", "frontend to paymenz")},
		{"a share", "24 %", once("(24 %)", "(2 %)")},
		{"a time", "09:24:48.925", once("09:24:48.925", "09:24:40.925")},
		{"a query", "find-failures", once("pcapsule ask find-failures", "pcapsule ask find-errors")},
		{"a removed byte at the end", "", func(file []byte) []byte { return file[:len(file)-2] }},
	}
	switch form {
	case "html":
		return append(every,
			fileEdit{"a figure of the head", "1,782", once("<dd>1,782</dd>", "<dd>1,700</dd>")},
			fileEdit{"a bar of a chart", "calls-over-time", sub(`(<path class="s0" d="M[0-9.]+ )[0-9.]+`, "${1}7")},
			fileEdit{"a row of a table", "failures", sub(`(?s)(id="failures-table".*?<tbody>\s*)<tr.*?</tr>`, "$1")},
			fileEdit{"the number that a table sorts by", "data-v", sub(`data-v="[0-9]+"`, `data-v="999999"`)},
			fileEdit{"a citation", "call ", sub(`title="call [0-9a-f]{4}`, `title="call 0000`)},
			fileEdit{"the script", "", once(`"use strict";`, `"use strict"; fetch("https://example.org");`)},
			fileEdit{"an added script", "script", once("</body>", "<script>1</script></body>")},
			fileEdit{"the security policy", "default-src *", once("default-src 'none'", "default-src *")},
			fileEdit{"the data alone", "", once(`"schema":2`, `"schema":2 `)},
			fileEdit{"text hidden by a style", "", once("*{box-sizing", ".bad-line{display:none}*{box-sizing")})
	case "md":
		return append(every,
			fileEdit{"a cell", "bad", sub(`\| \*\*high\*\* \|`, "| low bad |")},
			fileEdit{"a sequence", "a1", sub(`a0->>a1: [^\n]+`, "a0->>a1: nothing")},
			fileEdit{"an edge of the map", "n0", sub(`n0 -->\|"[0-9]+`, `n0 -->|"77777`)},
			fileEdit{"a heading", "Causes", once("## Causes", "## Reasons")},
			fileEdit{"the data removed", "no data", sub(`<!-- report-data .*`, "")})
	case "csv":
		return append(every,
			fileEdit{"a severity", "Severity", once(",high,", ",low,")},
			fileEdit{"a point of a chart", "bytes-over-time", sub(`(point,bytes-over-time,[^\n]*?),([0-9]+),`, "$1,7,")},
			fileEdit{"a formula", "=", once(",high,", ",=1+1,")},
			fileEdit{"a removed record", "", sub(`\ncell,failures-table[^\n]*`, "")})
	case "xlsx", "pdf":
		return packedEdits(form, once, sub)
	case "json":
		return append(every,
			fileEdit{"a severity", "severity", once(`"severity": "high"`, `"severity": "low"`)},
			fileEdit{"an added key", "", once(`"schema": 2,`, `"schema": 2, "approved": true,`)},
			fileEdit{"a key twice", "", once(`"schema": 2,`, `"schema": 1, "schema": 2,`)},
			fileEdit{"spaces", "line", once(`"schema": 2,`, `"schema":  2,`)})
	}
	return every
}

// TestWhatBundlesCannotShowIsNoted changes what a report says of its own origin.
func TestWhatBundlesCannotShowIsNoted(t *testing.T) {
	dns := sample(t, "dns.pcap")
	c := open(t, dns)
	for _, tt := range []struct {
		name, want string
		change     func(b *value.Basis)
	}{
		{"nothing", "", func(*value.Basis) {}},
		{"a template in a file", "", func(b *value.Basis) { b.Name = "mine.yaml" }},
		{"another release", "9.9.9", func(b *value.Basis) { b.Release = "9.9.9" }},
		{"a template that does not exist", "acme", func(b *value.Basis) { b.Name = "acme" }},
		{"a template under the name of a built-in one", "tls", func(b *value.Basis) { b.Name = "tls" }},
	} {
		r, _ := build(t, Options{}, dns)
		tt.change(&r.Basis)
		for form, file := range forms(t, r, "json") {
			k := check(t, form, file, c)
			if notes := strings.Join(k.Notes, "\n"); len(k.Differences) > 0 || (notes == "") != (tt.want == "") || !strings.Contains(notes, tt.want) {
				t.Errorf("%s: differences %q, notes %q; want a note with %q", tt.name, k.Differences, notes, tt.want)
			}
		}
	}
}

// TestOneRemovedElementIsOneDifference removes a row from the middle of a table, and a finding.
func TestOneRemovedElementIsOneDifference(t *testing.T) {
	again, _ := build(t, Options{Name: "incident"}, sample(t, "shop.pcapng"))
	for name, change := range map[string]func(r *value.Report) string{
		"a row": func(r *value.Report) string {
			rows := findTable(r, "failures-table")
			text := rows.Rows[2].Cells[0].Text
			rows.Rows = slices.Delete(rows.Rows, 2, 3)
			return text
		},
		"a finding": func(r *value.Report) string {
			id := r.Findings[1].ID
			r.Findings = slices.Delete(r.Findings, 1, 2)
			return id
		},
		"a section": func(r *value.Report) string {
			title := r.Sections[3].Title
			r.Sections = slices.Delete(r.Sections, 3, 4)
			return title
		},
	} {
		r := clone(t, again)
		want := change(r)
		list, err := differences(r, again)
		if err != nil || len(list) != 1 || !strings.Contains(list[0], want) || !strings.Contains(list[0], "missing in the file") {
			t.Errorf("%s: %v, %d differences, want one with %q: %.3q", name, err, len(list), want, list)
		}
	}
}

func TestVerifyWithAnotherBundle(t *testing.T) {
	shop := sample(t, "shop.pcapng")
	r, page := build(t, Options{}, shop)
	other := open(t, sample(t, "http1.pcapng"))
	for form, file := range forms(t, r) {
		k := check(t, form, file, other)
		if len(k.Differences) != 1 || !strings.Contains(k.Differences[0], r.Basis.Bundles[0].TagManifest) {
			t.Errorf("%s of another bundle: %q", form, k.Differences)
		}
	}
	if k := check(t, "html", []byte(page), open(t, shop, sample(t, "http1.pcapng"))); len(k.Differences) == 0 {
		t.Error("one bundle too many is not noticed")
	}
	// The receiver may keep the bundle under another name.
	renamed := makeBundle(t, bundleOptions("shop.pcapng"), "evidence-17", "../samples/shop.pcapng")
	if k := check(t, "html", []byte(page), open(t, renamed)); len(k.Differences) > 0 {
		t.Errorf("a renamed bundle: %q", k.Differences)
	}
}

func TestCompareReports(t *testing.T) {
	one := value.Finding{ID: "a/1", Severity: "high", What: "one"}
	two := value.Finding{ID: "b/2", Severity: "low", What: "two"}
	accepted := value.Finding{ID: "c/3", Severity: "low", What: "three", Accepted: "planned"}
	before := &value.Report{Findings: []value.Finding{one, accepted}}
	after := &value.Report{Findings: []value.Finding{two, accepted}, Statements: []value.Statement{{ID: "not-recorded", Bad: true, Text: "Gaps."}}}
	d := Compare(before, after)
	got := fmt.Sprint(len(d.New), len(d.Fixed), len(d.Accepted), len(d.Unchanged), len(d.Notes))
	if got != "1 1 1 0 1" || d.New[0].ID != "b/2" || d.Fixed[0].ID != "a/1" {
		t.Errorf("%s: %+v", got, d)
	}
}
