package lake

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/pcapsule/pcapsule/exporter/bundle"
)

// TestNewerBundle: a bundle of a newer release, with valid hashes, is refused before anything is listed.
func TestNewerBundle(t *testing.T) {
	p := newPlace(t)
	l := p.open()
	dir := filepath.Join(p.dir, "store", "redis.pcapsule")
	address := p.push("redis")
	old := ""
	for _, step := range []struct{ file, find, put string }{
		{"data/bundle.json", `"schema_version": 1`, `"schema_version": 99`}, {"manifest-sha256.txt", "data/bundle.json", ""}, {"tagmanifest-sha256.txt", "manifest-sha256.txt", ""},
	} {
		name := filepath.Join(dir, step.file)
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		was := fmt.Sprintf("%x", sha256.Sum256(data))
		text := strings.Replace(string(data), step.find, step.put, 1)
		if step.put == "" {
			text = regexp.MustCompile("(?m)^[0-9a-f]{64}  "+regexp.QuoteMeta(step.find)+"$").ReplaceAllString(string(data), old+"  "+step.find)
		}
		if text == string(data) {
			t.Fatalf("%s has no %s", step.file, step.find)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		old = fmt.Sprintf("%x", sha256.Sum256([]byte(text)))
		if was == old {
			t.Fatal(step.file)
		}
	}
	if _, _, err := l.Add(t.Context(), address, "", nil); !errors.Is(err, bundle.ErrNewerSchema) {
		t.Errorf("a newer schema: %v", err)
	}
	if have, _, err := l.listed(t.Context()); err != nil || len(have) > 0 {
		t.Errorf("it is listed: %v %v", have, err)
	}
}

// TestForeignDeletes deletes rows of a bundle's file as another engine does, with a delete file: questions
// and removals are refused, check names it, and expire still takes the bundle out.
func TestForeignDeletes(t *testing.T) {
	p := newPlace(t)
	l := p.open()
	b := add(t, l, p.pushed(shopInKube(t)))
	tab, err := l.load(t.Context(), "endpoints")
	if err != nil {
		t.Fatal(err)
	}
	tx := tab.NewTransaction()
	if err := tx.SetProperties(iceberg.Properties{table.WriteDeleteModeKey: table.WriteModeMergeOnRead}); err != nil {
		t.Fatal(err)
	}
	if err := tx.Delete(t.Context(), iceberg.EqualTo(iceberg.Reference("kind"), "pod"), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := l.Files(t.Context(), "endpoints", Selection{}); err == nil || !strings.Contains(err.Error(), "another program deleted rows") {
		t.Errorf("files: %v", err)
	}
	if _, _, err := l.RemoveNamespace(t.Context(), "shop", "ann", "x", removalDay); err == nil || !strings.Contains(err.Error(), "another program deleted rows") {
		t.Errorf("a removal: %v", err)
	}
	found, err := l.Check(t.Context(), Options{Orphans: time.Hour})
	if err != nil || len(found) != 1 || found[0].Table != "endpoints" {
		t.Errorf("check: %+v %v", found, err)
	}
	if gone, _, err := l.Expire(t.Context(), removalDay, func(x Bundle) bool { return x.ID == b.ID }); err != nil || len(gone) != 1 {
		t.Errorf("expire: %v %v", gone, err)
	}
}
