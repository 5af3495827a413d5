package report

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/report/render"
	"github.com/pcapsule/pcapsule/report/templates"
	"github.com/pcapsule/pcapsule/report/value"
)

// texts are all sentences of a report.
func texts(r *value.Report) (list []string) {
	for _, s := range r.Statements {
		list = append(list, s.Text)
	}
	for _, s := range r.Sections {
		list = append(list, s.Text...)
		for _, st := range s.Statements {
			list = append(list, st.Text)
		}
	}
	return list
}

var (
	noFinding = regexp.MustCompile(`(?i)\bno finding`)
	searched  = regexp.MustCompile(`No finding\. Looked for [0-9]+ kinds of attack, exposure and misuse \([0-9]+ analyzers?\) in [0-9,]+ calls? on [0-9,]+ connections?\. `)
)

func TestNoFindingNeverStandsAlone(t *testing.T) {
	c := open(t, sample(t, "icmp.pcap"))
	for _, name := range templates.Names() {
		r, err := Build(t.Context(), c, known(Options{Name: name}))
		if err != nil {
			t.Fatal(name, err)
		}
		n := 0
		for _, text := range texts(r) {
			if !noFinding.MatchString(text) {
				continue
			}
			if n++; !searched.MatchString(text) || !strings.Contains(text, "1 connection has payload that no dissector read.") {
				t.Errorf("%s: %s", name, text)
			}
			if only := strings.Contains(text, "were not asked"); only != (strings.Contains(r.Basis.Template, "analyzers:")) {
				t.Errorf("%s: states that other analyzers were not asked: %v", name, only)
			}
		}
		if n < 2 {
			t.Errorf("%s: %d statements about findings, want one on the first page and one in its section", name, n)
		}
		for form, file := range forms(t, r, "md", "html") {
			for _, line := range strings.Split(string(file), "\n") {
				if !strings.Contains(line, `"schema":`) && noFinding.MatchString(line) && !strings.Contains(line, "Looked for ") {
					t.Errorf("%s as %s: %s", name, form, line)
				}
			}
		}
	}
	sealed := open(t, makeBundle(t, exporter.Options{}, "x", filepath.Join("..", "samples", "tls.pcapng")))
	r, err := Build(t.Context(), sealed, known(Options{Name: "security", KFL: "false", From: "2026-11-20T00:00:00Z", To: "2026-11-21T00:00:00Z"}))
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(texts(r), "\n")
	for _, want := range []string{"Left out by choice: calls that do not match the filter, other times.", "encrypted and no key opens"} {
		if !strings.Contains(all, want) {
			t.Errorf("want %q in\n%s", want, all)
		}
	}
}

// TestOneFunctionSaysNoFinding reads the sources: a text of our own that says it must come from package finding.
func TestOneFunctionSaysNoFinding(t *testing.T) {
	var places []string
	err := filepath.WalkDir("..", func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := e.Name(); e.IsDir() && (name == "node_modules" || name == "dist" || name == ".git" || name == ".cache") {
			return filepath.SkipDir
		}
		ext := filepath.Ext(path)
		if ext != ".go" && ext != ".tsx" && ext != ".ts" && ext != ".html" || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		for _, line := range strings.Split(string(text), "\n") {
			if code, _, _ := strings.Cut(line, "//"); strings.Contains(code, "No finding") {
				places = append(places, path)
			}
		}
		return err
	})
	if err != nil || len(places) != 1 || places[0] != filepath.Join("..", "forensics", "finding", "searched.go") {
		t.Errorf("%q say \"No finding\", %v", places, err)
	}
}

func TestTextOfATemplatesAuthorIsMarked(t *testing.T) {
	c := open(t, sample(t, "icmp.pcap"))
	text := `title: All is well
about: Nothing was stolen.
sections:
  - section: text
    title: Opinion
    text: [Nobody attacked us.]
  - section: question
    title: Slow
    ask: get_api_stats
    list: endpoints
    kfl: "false"
    columns: [dst as Thief]
    empty: theft
  - section: sign-off
    text: [Signed in good faith.]
    sign: [The innocent]
`
	r, err := Build(t.Context(), c, known(Options{Name: "x.yaml", Template: text}))
	if err != nil {
		t.Fatal(err)
	}
	marked := []string{"Author: Nothing was stolen.", "Author: Nobody attacked us.", "Author: Signed in good faith.", "“All is well”", "“Opinion”", "“theft”", "“The innocent”", "is its author's own"}
	for _, f := range render.Forms() {
		if f.Name == "xlsx" || f.Name == "pdf" { // read through their data
			continue
		}
		file := string(forms(t, r, f.Name)[f.Name])
		for _, want := range marked {
			if f.Name == "csv" && (strings.HasPrefix(want, "Author: N") || want == "“The innocent”") && !strings.Contains(file, want[strings.Index(want, " ")+1:]) {
				continue // this form does not show the text
			}
			if !strings.Contains(file, want) {
				t.Errorf("%s: %s is not marked", f.Name, want)
			}
		}
	}
	var k Check
	k.origin(&r.Basis, "")
	if notes := strings.Join(k.Notes, "\n"); !strings.Contains(notes, "does not make them true") {
		t.Errorf("report verify says %q", notes)
	}
	own, err := Build(t.Context(), c, known(Options{Name: "overview"}))
	if err != nil {
		t.Fatal(err)
	}
	if all := own.Kind + own.About + strings.Join(texts(own), "\n"); strings.Contains(all, "Author:") || strings.Contains(all, "“") {
		t.Errorf("the program's own template is marked: %s", all)
	}
}
