package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the stubs for macOS")

// TestStubsHaveWhatGoImports compares the stubs with the Go that is used.
func TestStubsHaveWhatGoImports(t *testing.T) {
	all, err := importsOf(filepath.Join(runtime.GOROOT(), "src"))
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
