package collection_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/collection"
	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/forensics/control"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/forensics/finding/all"
	"github.com/pcapsule/pcapsule/report/render"
	"github.com/pcapsule/pcapsule/samples/weeks"
)

// made are the bundles of the four weeks, made once.
var made = sync.OnceValue(func() string {
	dir, err := os.MkdirTemp("", "weeks")
	for number := 1; err == nil && number <= 4; number++ {
		var names []string
		names, err = weeks.Write(dir, number)
		for _, name := range names {
			if err == nil {
				_, err = exporter.Run(context.Background(), []string{filepath.Join(dir, name)}, filepath.Join(dir, strings.TrimSuffix(name, ".pcapng")+".pcapsule"), exporter.Options{Release: "test"})
			}
		}
	}
	if err != nil {
		panic(err)
	}
	return dir
})

const shop = `version: 1
title: Shop
period: {from: 2026-10-05, to: 2026-11-01}
bundles: ["week-*.pcapsule"]
nodes: [node-1, node-2]
controls: [nist80053/CM-7, pci/8.3.2]
attest: true
roles: [owner, auditor]
`

// place is a folder with links to bundles of some weeks and a collection file.
func place(t *testing.T, text string, patterns ...string) *collection.File {
	t.Helper()
	dir := t.TempDir()
	for _, p := range patterns {
		list, err := filepath.Glob(filepath.Join(made(), p))
		if err != nil || len(list) == 0 {
			t.Fatal(p, err)
		}
		for _, b := range list {
			if err := os.CopyFS(filepath.Join(dir, filepath.Base(b)), os.DirFS(b)); err != nil {
				t.Fatal(err)
			}
		}
	}
	path := filepath.Join(dir, "shop.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := collection.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// more adds bundles to the folder of a collection.
func more(t *testing.T, f *collection.File, pattern string) {
	t.Helper()
	list, _ := filepath.Glob(filepath.Join(made(), pattern))
	for _, b := range list {
		if err := os.CopyFS(filepath.Join(filepath.Dir(f.Path), filepath.Base(b)), os.DirFS(b)); err != nil {
			t.Fatal(err)
		}
	}
}

func on(day string) collection.Options {
	at, err := collection.Day(day)
	if err != nil {
		panic(err)
	}
	return collection.Options{Access: collection.Local(), At: at, Analyzers: all.Analyzers(), Release: "test", Entries: -1}
}

func read(t *testing.T, f *collection.File, o collection.Options) *collection.State {
	t.Helper()
	s, err := collection.Read(context.Background(), f, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// verdicts are those of a control, by sub-period.
func verdicts(s *collection.State, id string) (list []string) {
	for _, p := range s.Parts {
		for _, c := range p.Controls {
			if c.Control == id {
				list = append(list, string(c.Verdict))
			}
		}
	}
	return list
}

const telnet = "deprecated-protocol/f33a422af7bd"

// TestFourWeeks has a node without a bundle in the third week, and a control that drifts in the second and fourth.
func TestFourWeeks(t *testing.T) {
	f := place(t, shop, "week-*.pcapsule")
	s := read(t, f, on("2026-11-02"))
	want := []string{"evidence", "contradicted", "not_examined", "contradicted"}
	if got := verdicts(s, "nist80053/CM-7"); !slices.Equal(got, want) {
		t.Errorf("verdicts %q, want %q", got, want)
	}
	if why := s.Parts[2].Controls[slices.IndexFunc(s.Parts[2].Controls, func(c control.Control) bool { return c.Control == "nist80053/CM-7" })].Why; !strings.Contains(why, "node-2 was not recorded") {
		t.Errorf("why: %s", why)
	}
	if got, want := s.Coverage(), []string{"node-1: 28 of 28 days", "node-2: 19 of 28 days, missing 7 days 6 h (not recorded)"}; !slices.Equal(got, want) {
		t.Errorf("coverage %q, want %q", got, want)
	}
	if s.Population.Calls != 254 || s.Population.Packets != 2032 || s.Population.Bundles != 7 {
		t.Errorf("%d calls, %d packets, %d bundles", s.Population.Calls, s.Population.Packets, s.Population.Bundles)
	}
	if len(s.Changes) != 6 || s.Changes[1].Control != "nist80053/CM-7" || s.Changes[1].Before != control.Evidence || s.Changes[1].After != control.Contradicted || s.Changes[1].From != "2026-10-12" {
		t.Errorf("changes %+v", s.Changes)
	}
	if len(s.Exceptions) != 1 || s.Exceptions[0].ID != telnet || !slices.Equal(s.Exceptions[0].Parts, []string{"2026-10-12", "2026-10-26"}) || s.Exceptions[0].Accepted != nil {
		t.Errorf("exceptions %+v", s.Exceptions)
	}
	// On a day of the fourth week, that week is not over, and what follows is not missing.
	if s = read(t, f, on("2026-10-28")); s.Parts[3].Over || s.Days[len(s.Days)-1].State != collection.NotOver {
		t.Errorf("%+v", s.Parts[3])
	}
	if s = read(t, f, on("2026-10-20")); len(s.Parts) != 3 {
		t.Errorf("%d sub-periods have begun on 2026-10-20, want 3", len(s.Parts))
	}
}

// TestReadsOnlyWhatIsNew counts the bundles that are opened. One analyzer is enough for this.
func TestReadsOnlyWhatIsNew(t *testing.T) {
	const title = "version: 1\nperiod: {from: 2026-10-05, to: 2026-11-01}\nbundles: [\"week-*.pcapsule\"]\ncontrols: [nist80053/CM-7]\nattest: true\n"
	o := on("2026-11-02")
	o.Analyzers = slices.DeleteFunc(o.Analyzers, func(a finding.Analyzer) bool { return a.Name != "deprecated-protocol" })
	f := place(t, title, "week-[13]-*.pcapsule")
	for _, step := range []struct {
		what string
		do   func()
		want int
	}{
		{"at first each bundle, and again for its week", func() {}, 6},
		{"nothing is new", func() {}, 0},
		{"an acceptance reads no bundle", func() {
			if _, _, err := collection.Accept(f, collection.Acceptance{ID: telnet, Reason: "r", Owner: "o", Until: "2026-12-31"}, bundle.Entry{}); err != nil {
				t.Fatal(err)
			}
		}, 0},
		{"two bundles of a new week", func() { more(t, f, "week-4-*.pcapsule") }, 4},
		{"a summary that somebody damaged is made again", func() {
			list, _ := filepath.Glob(f.Beside(".summaries") + "/from-2026-10-26.json")
			if err := os.WriteFile(list[0], []byte("{"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, 2},
		{"a bundle whose custody log has a new entry is verified again", func() {
			b, err := bundle.Open(filepath.Join(filepath.Dir(f.Path), "week-1-node-1.pcapsule"))
			if err == nil {
				_, _, err = b.AppendCustody(bundle.Entry{Event: "copied"})
			}
			if err != nil {
				t.Fatal(err)
			}
		}, 1},
	} {
		step.do()
		if s := read(t, f, o); s.Opened != step.want {
			t.Errorf("%s: %d bundles were opened, want %d", step.what, s.Opened, step.want)
		}
	}
	o.Fresh = true
	if s := read(t, f, o); s.Opened != 10 {
		t.Errorf("fresh: %d bundles were opened", s.Opened)
	}
}

// TestDamagedBundlesAreRows damages bundles in several ways: each is a row with the reason, and takes evidence away.
func TestDamagedBundlesAreRows(t *testing.T) {
	const noNodes = "version: 1\nperiod: {from: 2026-10-05, to: 2026-10-11}\nbundles: [\"week-*.pcapsule\", gone.pcapsule, text.pcapsule, \"later-*.pcapsule\"]\ncontrols: [nist80053/CM-7]\nattest: true\n"
	f := place(t, noNodes, "week-1-*.pcapsule", "week-2-node-1.pcapsule", "week-2-node-2.pcapsule")
	dir := filepath.Dir(f.Path)
	write := func(rel, text string) {
		if err := os.WriteFile(filepath.Join(dir, rel), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("text.pcapsule", "no bundle")
	table, _ := filepath.Glob(filepath.Join(dir, "week-2-node-1.pcapsule/data/tables/packets/*.parquet"))
	if err := os.WriteFile(table[0], []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	write("week-2-node-2.pcapsule/custody/log.jsonl", "{}\n")
	if err := os.CopyFS(filepath.Join(dir, "week-9.pcapsule"), os.DirFS(filepath.Join(dir, "week-1-node-1.pcapsule"))); err != nil {
		t.Fatal(err)
	}
	s := read(t, f, on("2026-11-02"))
	got := map[string]string{}
	for _, b := range s.Bundles {
		got[b.Name] = b.Problem
	}
	for name, want := range map[string]string{"week-1-node-1.pcapsule": "", "week-2-node-1.pcapsule": "changed", "week-2-node-2.pcapsule": "custody/log.jsonl", "week-9.pcapsule": "the same bundle as week-1-node-1.pcapsule",
		"gone.pcapsule": "not exist", "text.pcapsule": "bundle", "later-*.pcapsule": "no bundle matches"} {
		if problem, ok := got[name]; !ok || !strings.Contains(problem, want) || want == "" && problem != "" {
			t.Errorf("%s: %q, want %q", name, problem, want)
		}
	}
	if verdicts(s, "nist80053/CM-7")[0] != "not_examined" || !strings.Contains(strings.Join(s.Parts[0].Lacks, ""), "4 bundles of the collection could not be read") {
		t.Errorf("%q %q", verdicts(s, "nist80053/CM-7"), s.Parts[0].Lacks)
	}
	if s.Population.Unread != 4 || s.Population.Bundles != 2 {
		t.Errorf("%d of %d were not read", s.Population.Unread, len(s.Bundles))
	}
	for _, form := range render.Forms() {
		var b bytes.Buffer
		if err := form.Write(&b, s.Report(collection.FullReport, "test")); err != nil {
			t.Errorf("%s: %v", form.Name, err)
		}
		if form.Name == "md" && !strings.Contains(b.String(), "gone") {
			t.Errorf("the report does not list gone.pcapsule")
		}
	}
}

// TestBundlesThatCannotBeJudged has a bundle whose hashes match what somebody wrote into a table: the others count, and the
// sub-period says why it has no verdicts.
func TestBundlesThatCannotBeJudged(t *testing.T) {
	f := place(t, shop, "week-1-*.pcapsule", "week-2-*.pcapsule")
	o := on("2026-11-02")
	read(t, f, o)
	for _, name := range []string{"from-2026-10-05.json", "from-2026-10-12.json"} {
		if err := os.Remove(filepath.Join(f.Beside(".summaries"), name)); err != nil {
			t.Fatal(err)
		}
	}
	open := o.Access.Open
	o.Access.Open = func(path string, how bundle.OpenOptions) (*bundle.Bundle, error) {
		if strings.HasSuffix(path, "week-2-node-1.pcapsule") {
			return nil, errors.New("the table is not what it says")
		}
		return open(path, how)
	}
	s := read(t, f, o)
	if v := verdicts(s, "nist80053/CM-7"); !slices.Equal(v, []string{"evidence", "not_examined", "not_examined", "not_examined"}) || !strings.Contains(s.Parts[1].Controls[0].Why, "the table is not what it says") {
		t.Errorf("%q, %s", v, s.Parts[1].Controls[0].Why)
	}
}

// TestAcceptancesExpire follows an acceptance over time.
func TestAcceptancesExpire(t *testing.T) {
	f := place(t, shop, "week-[12]-*.pcapsule")
	add := func(a collection.Acceptance) {
		t.Helper()
		if _, _, err := collection.Accept(f, a, bundle.Entry{User: "A"}); err != nil {
			t.Fatal(err)
		}
	}
	add(collection.Acceptance{ID: telnet, Reason: "old terminal", Owner: "O. Owner", Due: "2026-10-20", Until: "2026-10-25"})
	state := func(day string) (string, bool, *collection.State) {
		s := read(t, f, on(day))
		a := s.Exceptions[0].Accepted
		return a.State, a.Overdue, s
	}
	for _, tt := range []struct {
		day, want string
		overdue   bool
	}{{"2026-10-20", "accepted", false}, {"2026-10-21", "accepted", true}, {"2026-10-25", "accepted", true}, {"2026-10-26", "expired", true}} {
		if got, overdue, _ := state(tt.day); got != tt.want || overdue != tt.overdue {
			t.Errorf("on %s: %s, overdue %v; want %s, %v", tt.day, got, overdue, tt.want, tt.overdue)
		}
	}
	_, _, s := state("2026-10-26")
	if v := verdicts(s, "nist80053/CM-7"); v[1] != "contradicted" {
		t.Errorf("an accepted exception no longer contradicts: %q", v)
	}
	more(t, f, "week-4-*.pcapsule")
	if got, _, s := state("2026-11-02"); got != "expired" || !strings.Contains(s.Exceptions[0].Words(), "was seen on 2026-10-28") {
		t.Errorf("%s: %s", got, s.Exceptions[0].Words())
	}
	add(collection.Acceptance{ID: "nist80053/CM-7", Reason: "all of it", Owner: "O", Until: "2026-12-31"})
	add(collection.Acceptance{ID: telnet, Reason: "again", Owner: "O", Until: "2026-12-31"})
	if got, _, s := state("2026-11-02"); got != "accepted" || s.Accepted[0].State != "replaced" {
		t.Errorf("%s, first %s", got, s.Accepted[0].State)
	}
	for what, a := range map[string]collection.Acceptance{"no id": {ID: "x", Reason: "r", Owner: "o", Until: "2026-12-31"}, "no owner": {ID: telnet, Reason: "r", Until: "2026-12-31"}, "no day": {ID: telnet, Reason: "r", Owner: "o", Until: "soon"},
		"due too late": {ID: telnet, Reason: "r", Owner: "o", Due: "2027-01-01", Until: "2026-12-31"}} {
		if _, _, err := collection.Accept(f, a, bundle.Entry{}); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
	// A changed line breaks the chain.
	log := f.Beside(".log.jsonl")
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(log, bytes.Replace(text, []byte("2026-10-25"), []byte("2027-10-25"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := collection.Read(context.Background(), f, on("2026-11-02")); err == nil || !strings.Contains(err.Error(), "line 2: prev") {
		t.Errorf("a changed log: %v", err)
	}
}

// TestBoardFitsOnePage has more sub-periods, exceptions and bundles than the page shows.
func TestBoardFitsOnePage(t *testing.T) {
	f := place(t, shop, "week-2-node-1.pcapsule")
	s := read(t, f, on("2026-11-02"))
	for range 20 {
		s.Exceptions, s.Parts, s.Bundles = append(s.Exceptions, s.Exceptions[0]), append(s.Parts, s.Parts[1]), append(s.Bundles, s.Bundles[0])
	}
	for i := range s.Exceptions {
		s.Exceptions[i].What = strings.Repeat("a long sentence ", 30)
	}
	var b bytes.Buffer
	pdf, err := render.FormOf("x.pdf")
	if err == nil {
		err = pdf.Write(&b, s.Report(collection.BoardReport, "test"))
	}
	if n := bytes.Count(b.Bytes(), []byte("/Type /Page ")); err != nil || n != 1 {
		t.Errorf("%d pages, %v", n, err)
	}
}

// TestOSCAL checks what is said of a contradicted control and of one with evidence.
func TestOSCAL(t *testing.T) {
	f := place(t, shop, "week-[12]-*.pcapsule")
	if _, _, err := collection.Accept(f, collection.Acceptance{ID: telnet, Reason: "r", Owner: "o", Until: "2026-12-31"}, bundle.Entry{}); err != nil {
		t.Fatal(err)
	}
	s := read(t, f, on("2026-11-02"))
	var b bytes.Buffer
	if err := s.OSCAL(&b, "test"); err != nil {
		t.Fatal(err)
	}
	var out struct {
		AR struct {
			Results []struct {
				Start        time.Time
				Observations []struct{ Title string }
				Findings     []struct {
					Target struct {
						ID     string `json:"target-id"`
						Status struct{ State string }
					}
				}
				Risks []struct{ Status string }
			}
		} `json:"assessment-results"`
	}
	if err := json.Unmarshal(b.Bytes(), &out); err != nil {
		t.Fatal(err)
	}
	first, second := out.AR.Results[0], out.AR.Results[1]
	if len(out.AR.Results) != 4 || len(first.Findings) != 0 || first.Observations[1].Title != "nist80053/CM-7: evidence" || len(second.Findings) != 2 || second.Findings[1].Target.ID != "cm-7" || second.Findings[1].Target.Status.State != "not-satisfied" ||
		len(second.Risks) != 1 || second.Risks[0].Status != "deviation-approved" {
		t.Errorf("%+v", out)
	}
	var again bytes.Buffer
	if err := read(t, f, on("2026-11-02")).OSCAL(&again, "test"); err != nil || !bytes.Equal(b.Bytes(), again.Bytes()) {
		t.Error("the same collection gives other bytes")
	}
}

// TestMistakesInFiles has files with a mistake each.
func TestMistakesInFiles(t *testing.T) {
	for text, want := range map[string]string{
		"":                       "empty",
		"version: 2\n":           "version 2 is not supported",
		"version: 1\nperoid: {}": "peroid",
		"version: 1\nperiod: {from: monday, to: 2026-10-11}\nbundles: [a]":                           "from must be a day such as 2026-10-05",
		"version: 1\nperiod: {from: 2026-10-12, to: 2026-10-10}\nbundles: [a]":                       "after",
		"version: 1\nperiod: {from: 2020-01-01, to: 2026-10-10}\nbundles: [a]":                       "at most 1100 are allowed",
		"version: 1\nperiod: {from: 2026-10-05, to: 2026-10-11}":                                     "bundles is missing",
		"version: 1\nperiod: {from: 2026-10-05, to: 2026-10-11}\nbundles: [a]\nevery: month":         "day or week",
		"version: 1\nperiod: {from: 2026-10-05, to: 2026-10-11}\nbundles: [a]\ncontrols: [pci/99.9]": "pci/99.9",
		"version: 1\nperiod: {from: 2026-10-05, to: 2026-10-11}\nbundles: [a]\nroles: [../x]":        "not a role",
		"version: 1\nperiod: {from: 2026-10-05, to: 2026-10-11}\nbundles: [a]\nsigners: [x]":         "no public key",
		"version: 1\nperiod: {from: 2026-10-05, to: 2026-10-11}\nbundles: [a]\nnodes: [n, n]":        "twice",
	} {
		if _, err := collection.Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(shop))
	f.Fuzz(func(t *testing.T, text []byte) {
		if file, err := collection.Parse(text); (file == nil) == (err == nil) && !reflect.ValueOf(err).IsValid() {
			t.Errorf("neither a file nor an error")
		}
	})
}
