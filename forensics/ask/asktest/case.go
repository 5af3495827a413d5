// Package asktest is what the tests of questions share: cases of samples, scenarios whose truth is
// known, and cases of made traffic.
package asktest

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/finding/all"
	"github.com/pcapsule/pcapsule/forensics/worker/workertest"
	"github.com/pcapsule/pcapsule/internal/captures"
	"github.com/pcapsule/pcapsule/samples/traffic"
)

var ctx = context.Background()

// Whole requests complete lists.
var Whole = ask.Scope{Limit: 1000}

// shared are the cases that tests only ask, each opened once.
var shared struct {
	dir   string
	cases map[string]*forensics.Case
}

// Main is TestMain of a package that opens cases.
func Main(m *testing.M) {
	workertest.Main()
	dir, err := os.MkdirTemp("", "pcapsule-ask-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	shared.dir, shared.cases = dir, map[string]*forensics.Case{}
	code := m.Run()
	for _, c := range shared.cases {
		c.Close()
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

// Sample is the path of a sample.
func Sample(elem ...string) string {
	return filepath.Join(append([]string{captures.Project(), "samples"}, elem...)...)
}

// Export makes a bundle of captures in a folder of the test.
func Export(t testing.TB, captures []string, o exporter.Options) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "x.pcapsule")
	export(t, dir, captures, o)
	return dir
}

func export(t testing.TB, dir string, captures []string, o exporter.Options) {
	t.Helper()
	o.Release, o.Repanic = "test", true
	if _, err := exporter.Run(ctx, captures, dir, o); err != nil {
		t.Fatal(err)
	}
}

// Bundles opens bundles as one case.
func Bundles(t testing.TB, o forensics.Options, dirs ...string) *forensics.Case {
	t.Helper()
	c := open(t, o, dirs...)
	t.Cleanup(func() { c.Close() })
	return c
}

func open(t testing.TB, o forensics.Options, dirs ...string) *forensics.Case {
	t.Helper()
	o.Threads = 2
	c, err := forensics.Open(ctx, dirs, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Share opens a bundle of captures as one case, once for all tests of a package.
func Share(t testing.TB, name string, captures []string, o exporter.Options) *forensics.Case {
	t.Helper()
	if c := shared.cases[name]; c != nil {
		return c
	}
	dir := filepath.Join(shared.dir, name+".pcapsule")
	export(t, dir, captures, o)
	c := open(t, forensics.Options{}, dir)
	shared.cases[name] = c
	return c
}

// Open opens a bundle of samples as one case, once for all tests of a package.
func Open(t testing.TB, names ...string) *forensics.Case {
	t.Helper()
	var o exporter.Options
	var paths []string
	for _, name := range names {
		paths = append(paths, Sample(name))
		if name == "shop.pcapng" {
			o.Kube = []string{Sample("shop.kube.json")}
		}
	}
	return Share(t, strings.Join(names, "+"), paths, o)
}

// Twice opens two bundles of the shop as one case, with every call in both.
func Twice(t testing.TB, o forensics.Options) *forensics.Case {
	t.Helper()
	var dirs []string
	for range 2 {
		dirs = append(dirs, Export(t, []string{Sample("shop.pcapng")}, exporter.Options{Kube: []string{Sample("shop.kube.json")}}))
	}
	return Bundles(t, o, dirs...)
}

// ExportMade makes a bundle of made traffic, with the owners of addresses that files name.
func ExportMade(t testing.TB, w *traffic.Capture, kube ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "made.pcap")
	if err := w.Write(file); err != nil {
		t.Fatal(err)
	}
	return Export(t, []string{file}, exporter.Options{Kube: kube})
}

// OpenMade opens a bundle of made traffic.
func OpenMade(t testing.TB, w *traffic.Capture, kube ...string) *forensics.Case {
	t.Helper()
	return Bundles(t, forensics.Options{}, ExportMade(t, w, kube...))
}

// Questions are all questions.
func Questions() []ask.Question { return all.Questions() }

// Find returns a question by name.
func Find(name string) (ask.Question, bool) {
	for _, q := range all.Questions() {
		if q.Name == strings.ReplaceAll(name, "-", "_") {
			return q, true
		}
	}
	return ask.Question{}, false
}

// Put runs a question by name and checks the answer against its schema.
func Put(t testing.TB, c *forensics.Case, name, in string) map[string]any {
	t.Helper()
	q, ok := Find(name)
	if !ok {
		t.Fatalf("no question %s", name)
	}
	answer, err := q.Ask(ctx, c, json.RawMessage(in))
	if err != nil {
		t.Fatalf("%s %s: %v", name, in, err)
	}
	text, err := json.Marshal(answer)
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	schema, err := q.Out().Resolve(&jsonschema.ResolveOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(out); err != nil {
		t.Errorf("%s: the answer does not match its schema: %v", name, err)
	}
	return out
}

// Matching counts the calls that match a KFL filter.
func Matching(t testing.TB, c *forensics.Case, kfl string) int64 {
	t.Helper()
	r, err := c.Query(ctx, forensics.Query{KFL: kfl, Count: true})
	if err != nil {
		t.Fatalf("%s: %v", kfl, err)
	}
	return r.Rows[0][0].(int64)
}

// Must returns a function that ends the test if there is an error.
func Must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// Bare removes the namespace from a name.
func Bare(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }
