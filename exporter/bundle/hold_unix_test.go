//go:build unix

package bundle

import (
	"os"
	"path/filepath"
	"testing"
)

// TestLeftovers makes a bundle beside what a killed run left and what a running one makes.
func TestLeftovers(t *testing.T) {
	dir := t.TempDir()
	running, err := Create(filepath.Join(dir, "running.pcapsule"), CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer running.Abort()
	killed := filepath.Join(dir, ".killed.pcapsule.partial-0123456789ab")
	others := []string{filepath.Join(dir, ".killed.pcapsule.partial-0123"), filepath.Join(dir, "a.partial-0123456789ab")}
	for _, p := range append(others, filepath.Join(killed, "data")) {
		if err := os.MkdirAll(p, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	b, err := Create(filepath.Join(dir, "new.pcapsule"), CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Abort()
	if _, err := os.Stat(killed); err == nil {
		t.Error("the unfinished bundle of the killed run is still there")
	}
	for _, p := range append(others, running.dir) {
		if _, err := os.Stat(p); err != nil {
			t.Errorf("removed %s: %v", p, err)
		}
	}
}

func TestHold(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "x")
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	first, err := Hold(dir)
	if err != nil {
		t.Fatal(err)
	}
	second, err := Hold(dir)
	if err != nil {
		t.Fatal(err)
	}
	first.Release()
	if RemoveUnheld(dir) {
		t.Error("removed a folder that is held")
	}
	second.Release()
	if !RemoveUnheld(dir) {
		t.Error("did not remove a folder that nobody holds")
	}
	if _, err := Hold(dir); err == nil {
		t.Error("held a folder that is gone")
	}
}
