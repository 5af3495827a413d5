package captures

import (
	"os"
	"path/filepath"
	"testing"
)

func TestFind(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PCAPSULE_CAPTURES", dir)
	if got := Find(); got != "" {
		t.Errorf("a folder without an index: %s", got)
	}
	if err := os.WriteFile(filepath.Join(dir, "INDEX.tsv"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := Find(); got != dir {
		t.Errorf("got %s, want %s", got, dir)
	}
	project := t.TempDir()
	here, beside := filepath.Join(project, "x", "a", "b"), filepath.Join(project, "shared", "captures")
	for _, d := range []string{here, beside} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{"x/go.mod", "x/Makefile", "x/a/go.mod", "shared/captures/INDEX.tsv"} {
		if err := os.WriteFile(filepath.Join(project, f), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PCAPSULE_CAPTURES", "")
	t.Chdir(here)
	if got := Find(); got != beside {
		t.Errorf("beside the project: got %q, want %s", got, beside)
	}
}
