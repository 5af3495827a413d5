package cache

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter/bundle"
)

func entry(t *testing.T, dir, name string, size int, used time.Time) string {
	path := filepath.Join(dir, name)
	if err := os.Mkdir(path, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(path, "f"), make([]byte, size), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, used, used); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestTrim checks that Trim keeps recent bundles, bundles in use, and anything else.
func TestTrim(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	entry(t, dir, "old.pcapsule", 1, now.Add(-MaxAge-time.Hour))
	entry(t, dir, "first.pcapsule", 60, now.Add(-3*time.Hour))
	inUse := entry(t, dir, "second.pcapsule", 60, now.Add(-2*time.Hour))
	entry(t, dir, "third.pcapsule", 60, now.Add(-time.Hour))
	entry(t, dir, "notes", 500, now.Add(-2*MaxAge))
	held, err := bundle.Hold(inUse)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Release()
	Trim(dir, now, 120)
	list, _ := os.ReadDir(dir)
	var names []string
	for _, f := range list {
		names = append(names, f.Name())
	}
	if want := []string{"notes", "second.pcapsule", "third.pcapsule"}; !slices.Equal(names, want) {
		t.Errorf("%q are left, want %q", names, want)
	}
}

func TestGet(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cache", "x.pcapsule")
	failed := errors.New("no capture")
	if _, err := Get(path, func() error { return failed }); !errors.Is(err, failed) {
		t.Errorf("error %v, want that of build", err)
	}
	for _, want := range []bool{true, false} {
		built := false
		held, err := Get(path, func() error { built = true; return os.Mkdir(path, 0o777) })
		if err != nil || built != want {
			t.Fatalf("built %v, error %v; want %v", built, err, want)
		}
		held.Release()
	}
}

func TestKey(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	a, b, other := write("a", "one"), write("b", "one"), write("c", "two")
	key := func(word string, files ...string) string {
		k := NewKey(word)
		for _, f := range files {
			if err := k.Add(f, func() error { return nil }); err != nil {
				t.Fatal(err)
			}
		}
		return k.Name("")
	}
	seen := map[string]bool{}
	for _, name := range []string{key("r1", a), key("r2", a), key("r1", b), key("r1", other), key("r1", a, b), key("r1")} {
		if seen[name] {
			t.Errorf("%s is the key of two contents", name)
		}
		seen[name] = true
	}
	if first, again := key("r1", a), key("r1", a); first != again {
		t.Errorf("the keys of the same content are %s and %s", first, again)
	}
}

func TestForget(t *testing.T) {
	now := time.Now()
	for _, row := range []struct {
		what string
		ages []time.Duration // of a, b, c …
		most int
		want string
	}{
		{"few and young ones stay", []time.Duration{time.Hour, 300 * 24 * time.Hour}, 5, "a b"},
		{"old ones go", []time.Duration{time.Hour, 366 * 24 * time.Hour}, 5, "a"},
		{"the oldest above the limit go", []time.Duration{3 * time.Hour, time.Hour, 2 * time.Hour}, 2, "b c"},
	} {
		dir, left := t.TempDir(), ""
		for i, age := range row.ages {
			path := filepath.Join(dir, string(rune('a'+i)))
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(path, now.Add(-age), now.Add(-age)); err != nil {
				t.Fatal(err)
			}
		}
		forget(dir, now, row.most)
		list, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range list {
			left += " " + f.Name()
		}
		if left != " "+row.want {
			t.Errorf("%s: left are%s, want %s", row.what, left, row.want)
		}
	}
}
