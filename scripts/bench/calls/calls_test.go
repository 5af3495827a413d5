package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestSameSeedSameBytes(t *testing.T) {
	dir := t.TempDir()
	made := func(name string, seed int64) ([]byte, []byte) {
		capture, kube := filepath.Join(dir, name), filepath.Join(dir, name+".json")
		if err := run(500, capture, kube, seed, 1, 0); err != nil {
			t.Fatal(err)
		}
		a, err := os.ReadFile(capture)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(kube)
		if err != nil {
			t.Fatal(err)
		}
		return a, b
	}
	a, ka := made("a", 1)
	b, kb := made("b", 1)
	c, _ := made("c", 2)
	if !bytes.Equal(a, b) || !bytes.Equal(ka, kb) || bytes.Equal(a, c) || len(a) < 50_000 {
		t.Errorf("%d, %d and %d bytes", len(a), len(b), len(c))
	}
	if err := run(1, filepath.Join(dir, "no", "where"), filepath.Join(dir, "k"), 1, 1, 0); err == nil {
		t.Error("a folder that is not there is written to")
	}
}
