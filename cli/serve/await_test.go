package serve

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/cli/console"
)

// put makes a folder that looks like a bundle, with a time.
func put(t *testing.T, path string, at time.Time) {
	t.Helper()
	err := os.MkdirAll(path, 0o755)
	if err == nil {
		err = os.WriteFile(filepath.Join(path, "bagit.txt"), nil, 0o644)
	}
	if err == nil {
		err = os.Chtimes(path, at, at)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestNewestBundles(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	put(t, filepath.Join(dir, "snapshots/old/bundles/x.pcapsule"), now.Add(-time.Hour))
	put(t, filepath.Join(dir, "snapshots/new/bundles/b.pcapsule"), now.Add(-2*time.Hour))
	put(t, filepath.Join(dir, "snapshots/new/bundles/a.pcapsule"), now)
	put(t, filepath.Join(dir, "snapshots/half/bundles/.c.pcapsule"), now.Add(time.Hour))
	put(t, filepath.Join(dir, "1/2/3/4/5/6/deep.pcapsule"), now.Add(time.Hour))
	if err := os.MkdirAll(filepath.Join(dir, "snapshots/empty.pcapsule"), 0o755); err != nil {
		t.Fatal(err)
	}
	want := []string{filepath.Join(dir, "snapshots/new/bundles/a.pcapsule"), filepath.Join(dir, "snapshots/new/bundles/b.pcapsule")}
	if got := newest([]string{filepath.Join(dir, "none"), dir}); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestAwaitsTheFirstBundle(t *testing.T) {
	dir := t.TempDir()
	var said bytes.Buffer
	f := serveFlags{answerFlags: answerFlags{allow: []string{dir}, deadline: time.Second, parallel: 1, memory: 1 << 30, liveMost: minLive}}
	with := Options{Streams: &console.Streams{Err: &said}}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.await(ctx, with, time.Hour); !errors.Is(err, context.Canceled) || !strings.Contains(said.String(), "waiting for a bundle in "+dir) {
		t.Errorf("%v, %s", err, &said)
	}
	got := make(chan []string)
	go func() {
		list, err := f.await(t.Context(), with, time.Millisecond)
		if err != nil {
			t.Error(err)
		}
		got <- list
	}()
	put(t, filepath.Join(dir, "x", "a.pcapsule"), time.Now())
	if list := <-got; len(list) != 1 || filepath.Base(list[0]) != "a.pcapsule" {
		t.Errorf("got %v", list)
	}
	f.allow = []string{filepath.Join(dir, "none")}
	if _, err := f.await(t.Context(), with, time.Hour); err == nil || !strings.Contains(err.Error(), "--allow: ") {
		t.Error(err)
	}
}
