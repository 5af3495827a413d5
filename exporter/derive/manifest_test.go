package derive_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/internal/nightly"
)

// onlyStated is what the maker of a derived bundle alone says: verify prints it, and says so.
var onlyStated = regexp.MustCompile(`^\.derived\.(rules\.\w+|policy\.sha256|reason|from\.tagmanifest_sha256)$`)

// leavesOf calls do for each value in a JSON document: its place, and how to set it.
func leavesOf(v any, path string, do func(path string, old any, set func(any))) {
	switch x := v.(type) {
	case map[string]any:
		for k, e := range x {
			leavesOf(e, path+"."+k, do)
			switch e.(type) {
			case map[string]any, []any:
			default:
				do(path+"."+k, e, func(n any) { x[k] = n })
			}
		}
	case []any:
		for i, e := range x {
			leavesOf(e, fmt.Sprintf("%s[%d]", path, i), do)
		}
	}
}

// another is another value of the same kind.
func another(old any) any {
	switch x := old.(type) {
	case json.Number:
		n, _ := x.Int64()
		return n + 1
	case bool:
		return !x
	case string:
		switch {
		case len(x) == 64:
			return strings.Repeat("1", 64)
		case strings.HasSuffix(x, "Z") && strings.HasPrefix(x, "20"):
			return "2027" + x[4:]
		}
		return x + "q"
	}
	return old
}

// TestManifestsThatWereChanged changes each value in the manifest of a derived bundle, with hashes that fit. All but what
// is only stated is found by verify --rederive.
func TestManifestsThatWereChanged(t *testing.T) {
	f := newFamily(t)
	tried := 0
	for _, from := range []string{f.redacted, f.cut} {
		read := func() (v any) {
			file, err := os.ReadFile(filepath.Join(from, "data/bundle.json"))
			d := json.NewDecoder(strings.NewReader(string(file)))
			d.UseNumber()
			if err != nil || d.Decode(&v) != nil {
				t.Fatal(err)
			}
			return v
		}
		var paths []string
		leavesOf(read(), "", func(p string, _ any, _ func(any)) {
			if !strings.Contains(p, ".columns[") && !onlyStated.MatchString(p) {
				paths = append(paths, p)
			}
		})
		for _, path := range paths {
			if tried++; tried%nightly.Of(9, 1) != 0 {
				continue
			}
			v := read()
			leavesOf(v, "", func(p string, old any, set func(any)) {
				if p == path {
					set(another(old))
				}
			})
			text, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			m, err := bundle.ParseManifest(text)
			if err != nil {
				continue
			}
			if text, err = m.Encode(); err != nil {
				continue
			}
			dir := filepath.Join(t.TempDir(), "b.pcapsule")
			if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "data/bundle.json"), text, 0o600); err != nil {
				t.Fatal(err)
			}
			remake(t, dir)
			if found(t, dir, f.trust) == "" {
				t.Errorf("%s: %s: nothing", filepath.Base(from), path)
			}
		}
	}
	if tried < 150 {
		t.Errorf("%d values", tried)
	}
}
