package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
)

// made makes a bundle of a sample in a folder.
func made(t *testing.T, sample string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "shop.pcapsule")
	if _, err := exporter.Run(t.Context(), []string{filepath.Join("..", "samples", sample)}, out, exporter.Options{}); err != nil {
		t.Fatal(err)
	}
	return out
}

// places are stores to test with, by name.
func places(t *testing.T) map[string]string {
	list := map[string]string{"folder": "file://" + t.TempDir()}
	if s3 := gateway(t); s3 != "" {
		list["s3"] = s3 + "/" + strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-"))
	}
	return list
}

func each(t *testing.T, test func(t *testing.T, s *Store)) {
	for name, address := range places(t) {
		t.Run(name, func(t *testing.T) { test(t, opened(t, address)) })
	}
}

func opened(t *testing.T, address string) *Store {
	t.Helper()
	s, err := Open(context.Background(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func pushed(t *testing.T, s *Store, dir string) *Pushed {
	t.Helper()
	p, err := s.Push(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestThereAndBack(t *testing.T) {
	dir := made(t, "shop.pcapng")
	each(t, func(t *testing.T, s *Store) {
		first := pushed(t, s, dir)
		again := pushed(t, s, dir)
		if first.Files < 20 || first.Kept != 0 || again.Files != 0 {
			t.Errorf("%+v, then %+v", first, again)
		}
		list, err := s.List(t.Context())
		if err != nil || len(list) != 1 || list[0].Name != "shop.pcapsule" || !list[0].Whole || list[0].Files != first.Files || list[0].Bytes != first.Bytes {
			t.Errorf("%+v, %v", list, err)
		}
		if r, err := s.Check(t.Context(), "shop.pcapsule", nil); err != nil || !r.OK() {
			t.Errorf("%+v, %v", r, err)
		}
		back := filepath.Join(t.TempDir(), "back.pcapsule")
		if r, err := s.Fetch(t.Context(), "shop.pcapsule", back, nil); err != nil || !r.OK() {
			t.Fatalf("%+v, %v", r, err)
		}
		if err := os.CopyFS(t.TempDir(), os.DirFS(back)); err != nil {
			t.Error(err)
		}
		if _, err := s.Fetch(t.Context(), "shop.pcapsule", back, nil); !errors.Is(err, bundle.ErrExists) {
			t.Errorf("fetching over a folder: %v", err)
		}
		if _, err := s.Fetch(t.Context(), "other.pcapsule", back+"x", nil); !errors.Is(err, ErrNone) {
			t.Errorf("fetching nothing: %v", err)
		}
	})
}
