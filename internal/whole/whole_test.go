package whole

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWhole(t *testing.T) {
	failed := errors.New("the disk is gone")
	half := func(w io.Writer) error {
		_, err := io.WriteString(w, "ha")
		return errors.Join(err, failed)
	}
	for name, put := range map[string]func(string, fs.FileMode, func(io.Writer) error) error{"Replace": Replace, "ReplaceDurably": ReplaceDurably, "Create": Create, "CreateDurably": CreateDurably} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "x.json")
			if err := put(path, 0o600, half); !errors.Is(err, failed) {
				t.Fatalf("a writer failed: %v", err)
			}
			if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("half a file: %v", err)
			}
			if err := put(path, 0o640, Text([]byte("one"))); err != nil {
				t.Fatal(err)
			}
			err := put(path, 0o600, Text([]byte("two")))
			want := "two"
			if strings.HasPrefix(name, "Create") {
				if want = "one"; !errors.Is(err, fs.ErrExist) {
					t.Errorf("a file that exists: %v", err)
				}
			} else if err != nil {
				t.Error(err)
			}
			if got, err := os.ReadFile(path); err != nil || string(got) != want {
				t.Errorf("read %q, %v, want %q", got, err, want)
			}
			if info, err := os.Stat(path); err != nil || name == "Create" && info.Mode().Perm() != 0o640 {
				t.Error(info.Mode(), err)
			}
			if list, err := os.ReadDir(dir); err != nil || len(list) != 1 {
				t.Errorf("%d files are left, %v", len(list), err)
			}
			err = put(filepath.Join(dir, "none", "x"), 0o600, Text(nil))
			if !errors.Is(err, fs.ErrNotExist) || strings.Count(err.Error(), ".x.") > 0 {
				t.Errorf("a folder that does not exist: %v", err)
			}
		})
	}
}

func TestFileHasItsNameOnlyWhenComplete(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out.pcapng")
	f, err := CreateFile(path)
	must(t, err)
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Error("it has its name before it is complete")
	}
	_, err = io.WriteString(f, "bytes")
	must(t, err, f.Commit())
	if b, err := os.ReadFile(path); err != nil || string(b) != "bytes" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := CreateFile(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("an output that exists: %v", err)
	}
	g, err := CreateFile(filepath.Join(dir, "other"))
	must(t, err, g.Abort(), g.Abort())

	late, err := CreateFile(filepath.Join(dir, "late"))
	must(t, err, os.WriteFile(filepath.Join(dir, "late"), []byte("theirs"), 0o600))
	if err := late.Commit(); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a name created in the meantime: %v", err)
	}
	if b, _ := os.ReadFile(filepath.Join(dir, "late")); string(b) != "theirs" {
		t.Error("the file created in the meantime was replaced")
	}
	if list, _ := os.ReadDir(dir); len(list) != 2 {
		t.Errorf("left behind: %v", list)
	}
	if _, err := CreateFile(filepath.Join(dir, "no", "such")); err == nil {
		t.Error("a missing folder is accepted")
	}
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}
