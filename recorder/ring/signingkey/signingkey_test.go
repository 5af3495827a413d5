package signingkey

import (
	"path/filepath"
	"testing"
)

// TestOfRing checks that a ring has a key next to it, always the same, unless one is named.
func TestOfRing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ring")
	first, path, err := OfRing("", dir+"/")
	again, _, errAgain := OfRing("", dir)
	if err != nil || errAgain != nil || path != dir+".key" || !first.Equal(again) {
		t.Errorf("%s: %v, %v", path, err, errAgain)
	}
	if key, path, err := OfRing(None, dir); key != nil || path != "" || err != nil {
		t.Errorf("none: %v %q %v", key, path, err)
	}
	if other, path, err := OfRing(dir+".other", dir); err != nil || path != dir+".other" || other.Equal(first) {
		t.Errorf("%s: %v", path, err)
	}
}
