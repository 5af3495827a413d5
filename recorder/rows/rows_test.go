package rows

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/recorder/transfer"
)

func file(name string) transfer.File {
	return transfer.File{Name: name, SHA256: strings.Repeat("0", 64)}
}

// TestCutIsReadAsWritten also reads folders that have none, and a listing that is too large.
func TestCutIsReadAsWritten(t *testing.T) {
	dir := t.TempDir()
	if _, err := Read(dir); !errors.Is(err, ErrNone) {
		t.Errorf("an empty folder: %v", err)
	}
	want := &Cut{Run: "r", No: 3, At: 5, Files: []transfer.File{file("s000001.tar")}, Earlier: []transfer.File{file("o000001.tar")}, State: []byte(`{"a":1}`)}
	if err := Write(dir, want); err != nil {
		t.Fatal(err)
	}
	got, err := Read(dir)
	if err != nil || got.Run != "r" || got.No != 3 || got.At != 5 || string(got.State) != `{"a":1}` {
		t.Fatalf("%+v, %v", got, err)
	}
	for name, there := range map[string]bool{"s000001.tar": true, "o000001.tar": true, "x.tar": false} {
		if _, ok := got.Find(name); ok != there {
			t.Errorf("%s: %v", name, ok)
		}
	}
	if err := os.Truncate(filepath.Join(dir, listing), MaxCut+1); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(dir); err == nil || !strings.Contains(err.Error(), "the limit is") {
		t.Errorf("a large listing: %v", err)
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]bool{
		"s000001.tar": true, "i000001-0a1b.json": true, "rows.json": false, "rows.json.new": false, "wanted": false, "": false, ".tar": false, "../s1.tar": false,
		"a/b.tar": false, "S1.tar": false, "s1.parquet": false, ".part": false, "s1.tar\n": false, strings.Repeat("a", 90) + ".tar": false,
	} {
		if Named(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}

// TestClearLeavesOtherFiles: a folder may also have that of the run.
func TestClearLeavesOtherFiles(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"s000001.tar", "pcapsule-live-1.txt", "wanted"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(Write(dir, &Cut{Run: "r", No: 1}), Clear(dir), Clear(dir)); err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadDir(dir)
	if err != nil || len(list) != 2 || list[0].Name() != "pcapsule-live-1.txt" || list[1].Name() != "wanted" {
		t.Errorf("%v, %v", list, err)
	}
}

func TestWanted(t *testing.T) {
	dir := t.TempDir()
	if Wanted(dir) {
		t.Error("wanted before anybody asked")
	}
	for range 2 {
		if err := Want(dir); err != nil || !Wanted(dir) {
			t.Fatalf("not wanted after a request: %v", err)
		}
		old := time.Now().Add(-2 * wantedFor)
		if err := os.Chtimes(filepath.Join(dir, wanted), old, old); err != nil {
			t.Fatal(err)
		}
		if Wanted(dir) {
			t.Error("wanted long after the last request")
		}
	}
}
