package report

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/control"
	"github.com/pcapsule/pcapsule/forensics/finding/all"
	"github.com/pcapsule/pcapsule/internal/browsertest"
	"github.com/pcapsule/pcapsule/report/render"
	"github.com/pcapsule/pcapsule/report/value"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// makeBundle makes a bundle from captures.
func makeBundle(t testing.TB, o exporter.Options, name string, inputs ...string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), name+".pcapsule")
	o.Release, o.Repanic = "test", true
	if _, err := exporter.Run(context.Background(), inputs, out, o); err != nil {
		t.Fatal(err)
	}
	return out
}

// sample makes a bundle from a capture in samples/.
func sample(t testing.TB, name string) string {
	t.Helper()
	return makeBundle(t, bundleOptions(name), strings.TrimSuffix(filepath.Base(name), filepath.Ext(name)), filepath.Join("..", "samples", name))
}

// bundleOptions are the options for a capture in samples/.
func bundleOptions(name string) (o exporter.Options) {
	if name == "shop.pcapng" {
		o.Kube = []string{filepath.Join("..", "samples", "shop.kube.json")}
	}
	return o
}

// known adds the questions and analyzers of the program to options.
func known(o Options) Options {
	o.Questions, o.Frameworks = all.Questions(), control.Frameworks()
	for _, a := range all.Analyzers() {
		o.Analyzers = append(o.Analyzers, a.Name)
	}
	return o
}

// build makes the report of bundles and its page.
func build(t testing.TB, o Options, bundles ...string) (*value.Report, string) {
	t.Helper()
	c, err := forensics.Open(context.Background(), bundles, forensics.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r, err := Build(context.Background(), c, known(o))
	if err != nil {
		t.Fatal(err)
	}
	var page bytes.Buffer
	if err := render.HTML(&page, r); err != nil {
		t.Fatal(err)
	}
	return r, page.String()
}

// golden compares with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; run with -update and read the diff", path)
	}
}

func TestReportOfACaptureWithDrops(t *testing.T) {
	r, _ := build(t, Options{Release: "test"}, sample(t, "hard/drops.pcapng"))
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	// The bundle's fingerprint covers the descriptions of all columns.
	text = regexp.MustCompile(`("tagmanifest_sha256": ")[0-9a-f]{64}"`).ReplaceAll(text, []byte(`${1}…"`))
	golden(t, "drops.json", string(text)+"\n")
}

func TestReportOfTheShopSaysWhatWentWrong(t *testing.T) {
	r, page := build(t, Options{}, sample(t, "shop.pcapng"))
	checkPage(t, page)
	for _, tt := range []struct{ name, table, want string }{
		{"the call whose token had expired", "failures-table", "POST /introspect|payment|auth|401 Unauthorized"},
		{"the card gateway that did not answer", "failures-table", "POST /v1/charge|payment|api.cards.example.net|closed by the client, which gave up, delivered and not answered"},
		{"an id in a path is folded", "slow-total", "/v1/reviews/{id}"},
		{"a name that search domains made wrong", "dns-failures", "api.cards.example.net.svc.cluster.local"},
		{"the readiness probe that failed", "k8s-events", "Unhealthy"},
		{"the version of TLS", "tls-versions", "TLS 1.3"},
		{"who calls payment", "edges", "frontend|payment"},
		{"an address outside", "outside", "198.51.100.7"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			table := findTable(r, tt.table)
			if table == nil {
				t.Fatalf("no table %s", tt.table)
			}
			var all strings.Builder
			for _, row := range table.Rows {
				for _, c := range row.Cells {
					all.WriteString(c.Text + "|")
				}
				for _, c := range row.Cite {
					if c.Call == "" && c.Packets == "" {
						t.Errorf("a citation of %s is empty", tt.table)
					}
				}
				all.WriteString("\n")
			}
			if !strings.Contains(all.String(), tt.want) {
				t.Errorf("no %q in\n%s", tt.want, &all)
			}
		})
	}
	if s := front(r); !strings.Contains(s, "http1") || !strings.Contains(s, "failed") {
		t.Errorf("first page: %s", s)
	}
}

// front is the text of the first page.
func front(r *value.Report) string {
	var b strings.Builder
	for _, s := range r.Statements {
		b.WriteString(s.Head + ": " + s.Text + "\n")
	}
	return b.String()
}

func findTable(r *value.Report, id string) *value.Table {
	for _, s := range r.Sections {
		for _, b := range s.Blocks {
			if b.Table != nil && b.Table.ID == id {
				return b.Table
			}
		}
	}
	return nil
}

// The report has no SQL of its own: it shows the answers of questions.
func TestReportHasNoSQL(t *testing.T) {
	n := 0
	err := filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		if n++; strings.Contains(string(text), "SELECT ") {
			t.Errorf("%s has SQL", path)
		}
		return err
	})
	if err != nil || n < 20 {
		t.Fatal(n, err)
	}
}

// The queries on a page return what the page shows: a reader who runs one must not get an error.
func TestQueriesOfAReportRun(t *testing.T) {
	for _, several := range []bool{false, true} {
		bundles := []string{sample(t, "shop.pcapng")}
		if several {
			bundles = append(bundles, sample(t, "tls.pcapng"))
		}
		r, _ := build(t, Options{}, bundles...)
		c, err := forensics.Open(context.Background(), bundles, forensics.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for i, q := range r.Queries {
			if q.Command == "" {
				t.Errorf("Q%d: no command", i+1)
			}
			if q.SQL == "" {
				continue
			}
			if _, err := c.Query(context.Background(), forensics.Query{SQL: q.SQL, Limit: 100_000}); err != nil {
				t.Errorf("Q%d: %v", i+1, err)
			}
		}
	}
}

func TestSameBundleSamePage(t *testing.T) {
	one, two := sample(t, "shop.pcapng"), sample(t, "shop.pcapng")
	_, first := build(t, Options{}, one)
	if _, second := build(t, Options{}, two); first != second {
		t.Error("two bundles of the same capture give two pages")
	}
}

func TestReportOfNothing(t *testing.T) {
	for _, name := range []string{"hard/empty.pcap", "hard/zero-length.pcapng", "dns.pcap", "icmp.pcap", "hard/gap.pcap", "hard/one-sided.pcap", "hard/corrupt-block.pcapng"} {
		t.Run(name, func(t *testing.T) {
			if _, err := os.Stat(filepath.Join("..", "samples", name)); err != nil {
				t.Fatal(err)
			}
			out := filepath.Join(t.TempDir(), "x.pcapsule")
			if _, err := exporter.Run(context.Background(), []string{filepath.Join("..", "samples", name)}, out, exporter.Options{Release: "test"}); err != nil {
				t.Fatal(err)
			}
			r, page := build(t, Options{}, out)
			if len(r.Statements) == 0 || findTable(r, "accounts-table") == nil {
				t.Errorf("first page %q, or no accounts", front(r))
			}
			checkPage(t, page)
		})
	}
}

// A question that needs too much memory loses only its part of the page.
func TestReportWithLittleMemory(t *testing.T) {
	path := sample(t, "shop.pcapng")
	least := len(littleMemory(t, path, 0).Sections)
	for _, limit := range []int64{64 << 20, 16 << 20} {
		r := littleMemory(t, path, limit)
		if len(r.Sections)+len(r.Unmade) < least {
			t.Errorf("%d bytes: %d sections, %q not made; want %d in all", limit, len(r.Sections), r.Unmade, least)
		}
	}
}

func littleMemory(t *testing.T, path string, memory int64) *value.Report {
	t.Helper()
	c, err := forensics.Open(context.Background(), []string{path}, forensics.Options{MemoryLimit: memory, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r, err := Build(context.Background(), c, known(Options{}))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestReportOfSeveralBundles(t *testing.T) {
	r, page := build(t, Options{}, sample(t, "shop.pcapng"), sample(t, "dns.pcap"))
	if r.Title != "shop and dns" {
		t.Errorf("title %q", r.Title)
	}
	if f := r.Facts[1]; f.Label != "packets of all bundles" || !strings.Contains(page, "in several bundles counts in each") {
		t.Errorf("%q: the report does not say that overlapping bundles count twice", f.Label)
	}
	seen := map[int]bool{}
	for _, row := range findTable(r, "dns-failures").Rows {
		if row.Cite[0].Call == "" {
			t.Errorf("no call id for %s", row.Cells[0].Text)
		}
		seen[row.Cite[0].Bundle] = true
	}
	if !seen[0] || !seen[1] {
		t.Errorf("bundles cited: %v, want both", seen)
	}
	checkPage(t, page)
}

func TestPageInABrowser(t *testing.T) {
	browser := browsertest.Program(t)
	_, page := build(t, Options{}, sample(t, "hard/drops.pcapng"))
	dir := t.TempDir()
	file := filepath.Join(dir, "page.html")
	if err := os.WriteFile(file, []byte(page), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--enable-logging=stderr", "--user-data-dir="+filepath.Join(dir, "user"), "--window-size=1180,2400",
		"--screenshot="+filepath.Join(dir, "page.png"), "file://"+file)
	said, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("running %s: %v\n%s", browser, err, said)
	}
	for _, complaint := range []string{"Content Security Policy", "Refused to", "CONSOLE"} {
		if strings.Contains(string(said), complaint) {
			t.Errorf("the browser complains: %s", said)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "page.png")); err != nil || info.Size() < 20_000 {
		t.Errorf("picture of the page: %v, %v", info, err)
	}
}
