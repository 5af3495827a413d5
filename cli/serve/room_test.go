package serve

import (
	"os"
	"path/filepath"
	"testing"
)

func TestCasesShareTheRoom(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var warned []string
	warn := func(format string, _ ...any) { warned = append(warned, format) }
	r := (&answerFlags{memory: 1 << 30, temp: 100 << 20}).room(warn)
	a, b := r.options(), r.options()
	if a.MemoryLimit != 1<<30 || a.MaxTemp != 100<<20 || a.Ceiling != 2<<30 || a.TempDir == "" || a.TempDir == b.TempDir || filepath.Dir(a.TempDir) != r.dir {
		t.Errorf("%+v, %+v", a, b)
	}
	info, err := os.Stat(r.dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v; want a private folder", info, err)
	}
	if err := os.Mkdir(a.TempDir, 0o700); err != nil {
		t.Fatal(err)
	}
	r.close()
	if _, err := os.Stat(r.dir); !os.IsNotExist(err) {
		t.Errorf("the folder is left behind: %v", err)
	}
	if o := (&answerFlags{memory: 1 << 30, temp: 0}).room(warn).options(); o.TempDir != "" || len(warned) > 0 {
		t.Errorf("%+v, %q; want no folder", o, warned)
	}
	if o := (&answerFlags{memory: 1 << 30, temp: 100 << 20, ring: "ring"}).room(warn).options(); o.MemoryLimit != 512<<20 || o.MaxTemp != 50<<20 {
		t.Errorf("%+v; want half for each dissection", o)
	}
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "nosuch"))
	if o := (&answerFlags{memory: 1 << 30, temp: 100 << 20}).room(warn).options(); o.TempDir != "" || len(warned) != 1 {
		t.Errorf("%+v, %q; want a warning", o, warned)
	}
}
