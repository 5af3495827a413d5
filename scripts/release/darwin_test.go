package main

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the stubs for macOS")

// TestStubsHaveWhatGoImports compares the stubs with the Go that is used.
func TestStubsHaveWhatGoImports(t *testing.T) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	all, err := importsOf(filepath.Join(strings.TrimSpace(string(root)), "src"))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range stubs {
		if len(all[s.library]) == 0 {
			t.Fatalf("nothing imports %s", s.library)
		}
		path, want := filepath.Join("darwin", s.path), s.text(all[s.library])
		if *update {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what Go imports; run go test ./scripts/release -update", path)
		}
	}
}

// TestChangedProgramIsFound changes a byte of a program that Go's own linker signed.
func TestChangedProgramIsFound(t *testing.T) {
	dir := t.TempDir()
	exe := filepath.Join(dir, "program")
	must(t, os.WriteFile(filepath.Join(dir, "main.go"), []byte("package main\n\nfunc main() {}\n"), 0o644))
	c := exec.Command("go", "build", "-o", exe, filepath.Join(dir, "main.go"))
	c.Env = append(os.Environ(), "GOOS=darwin", "GOARCH=arm64", "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if n, err := checkSignature(exe); err != nil || n == 0 {
		t.Fatalf("%d pages, %v", n, err)
	}
	data, err := os.ReadFile(exe)
	must(t, err)
	data[5000] ^= 1
	must(t, os.WriteFile(exe, data, 0o755))
	if _, err := checkSignature(exe); err == nil {
		t.Error("a changed program passes")
	}
}

var imported = regexp.MustCompile(`(?m)^//go:cgo_import_dynamic \w+ (\w+) "([^"]+)"`)

// importsOf lists what Go's packages in src import from each library of macOS.
func importsOf(src string) (map[string][]string, error) {
	all := map[string][]string{}
	err := filepath.WalkDir(src, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || filepath.Ext(path) != ".go" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range imported.FindAllSubmatch(text, -1) {
			all[string(m[2])] = append(all[string(m[2])], "_"+string(m[1]))
		}
		return nil
	})
	for lib, symbols := range all {
		slices.Sort(symbols)
		all[lib] = slices.Compact(symbols)
	}
	return all, err
}

// text writes the stub as a file (TBD, version 4).
func (s stub) text(symbols []string) []byte {
	const both = "[ x86_64-macos, arm64-macos ]"
	var b bytes.Buffer
	fmt.Fprintf(&b, "--- !tapi-tbd\ntbd-version: 4\ntargets: %s\ninstall-name: '%s'\ncurrent-version: %s\ncompatibility-version: %s\n", both, s.library, s.compatible, s.compatible)
	fmt.Fprintf(&b, "exports:\n  - targets: %s\n    symbols: [ %s ]\n...\n", both, strings.Join(symbols, ",\n               "))
	return b.Bytes()
}
