package snapshots

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// TestDissectionsAreUpToDate replaces, adds and removes dissections that are cached.
func TestDissectionsAreUpToDate(t *testing.T) {
	s := opened(t, ringOf(t, "http1.pcapng"), filepath.Join(t.TempDir(), "store"))
	put := func(name string, calls int) string {
		t.Helper()
		file := filepath.Join(s.dir, "s", name+bundled, "data", "bundle.json")
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file+".new", fmt.Appendf(nil, `{"calls": {"http1": %d}}`, calls), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
		return file
	}
	sees := func(what string, want string) {
		t.Helper()
		for range 2 {
			list, err := s.Dissections(ctx, "s")
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, d := range list {
				got += fmt.Sprintf("%s %s %d;", d.Name, d.Status, d.Protocols["http1"])
				d.Protocols["http1"] = 99 // the caller may change it
			}
			if got != want {
				t.Errorf("%s: %s, want %s", what, got, want)
			}
		}
	}
	file := put("a", 3)
	sees("one", "a completed 3;")
	put("a", 4)
	sees("replaced by one of the same size", "a completed 4;")
	put("b", 5)
	sees("another", "a completed 4;b completed 5;")
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	sees("one that was cut", "a failed 0;b completed 5;")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	sees("one without its file", "a failed 0;b completed 5;")
	if err := os.RemoveAll(filepath.Join(s.dir, "s", "a"+bundled)); err != nil {
		t.Fatal(err)
	}
	sees("removed", "b completed 5;")
	for i := range maxKnown + 10 {
		s.known[fmt.Sprint(i)] = known{}
	}
	put("c", 6)
	sees("after very many", "b completed 5;c completed 6;")
	if len(s.known) > 2 {
		t.Errorf("%d are cached", len(s.known))
	}
}
