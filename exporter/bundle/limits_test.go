package bundle

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// found is Verify's report about a file.
func found(t *testing.T, dir, rel string) string {
	t.Helper()
	began := time.Now()
	r, err := Verify(context.Background(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if d := time.Since(began); d > 10*time.Second {
		t.Errorf("verifying took %s", d)
	}
	for _, p := range r.Problems {
		if p.File == rel {
			return p.String()
		}
	}
	return ""
}

// TestSparseTerabytesEndAtOnce makes files claim a terabyte that uses no disk space.
func TestSparseTerabytesEndAtOnce(t *testing.T) {
	const part = "data/tables/flows/part-000.parquet"
	for rel, want := range map[string]string{
		bagitName: "at most", bagInfoName: "at most", manifestName: "at most", tagManifestName: "at most", jsonName: "at most",
		openSQLName: "at most", custodyName: "at most", "custody/anchor.json": "at most", "custody/sig.dsse.json": "at most",
		"data/packets/import/000-first_half.pcapng": "", part: "", "data/extra": "",
	} {
		t.Run(strings.ReplaceAll(rel, "/", "_"), func(t *testing.T) {
			dir := build(t, testOptions())
			path := filepath.Join(dir, rel)
			f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Truncate(1 << 40); err != nil {
				t.Fatal(err)
			}
			f.Close()
			if got := found(t, dir, rel); got == "" || !strings.Contains(got, want) {
				t.Errorf("%q, want %q", got, want)
			}
			began := time.Now()
			Open(dir)
			if d := time.Since(began); d > 5*time.Second {
				t.Errorf("opening took %s", d)
			}
		})
	}
}

func TestLinksAndEmptyFoldersAreReported(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs link counts")
	}
	dir := build(t, testOptions())
	if err := os.Link(filepath.Join(dir, openSQLName), filepath.Join(t.TempDir(), "other")); err != nil {
		t.Fatal(err)
	}
	if got := found(t, dir, openSQLName); !strings.Contains(got, "a hard link: the file has 2 names") {
		t.Errorf("a hard link: %q", got)
	}
	dir = build(t, testOptions())
	if err := os.MkdirAll(filepath.Join(dir, "data", "empty", "in"), 0o755); err != nil {
		t.Fatal(err)
	}
	if got := found(t, dir, "data/empty/in"); !strings.Contains(got, "an empty folder") {
		t.Errorf("an empty folder: %q", got)
	}
	dir = build(t, testOptions())
	if err := os.Symlink(openSQLName, filepath.Join(dir, "data", "link")); err != nil {
		t.Fatal(err)
	}
	if got := found(t, dir, "data/link"); !strings.Contains(got, "a symbolic link") {
		t.Errorf("a symbolic link: %q", got)
	}
}
