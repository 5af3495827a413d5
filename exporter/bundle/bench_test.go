package bundle

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// BenchmarkCreate writes 256 MiB to a File and finishes the bundle.
func BenchmarkCreate(b *testing.B) {
	piece := make([]byte, 1<<20)
	b.SetBytes(256 << 20)
	for b.Loop() {
		large(b, b.TempDir(), piece)
	}
}

func large(b *testing.B, dir string, piece []byte) string {
	p := filepath.Join(dir, "a.pcapsule")
	w, err := Create(p, testOptions())
	must(b, err)
	f, err := w.Create("data/packets/import/000-a")
	must(b, err)
	for range 256 {
		_, err := f.Write(piece)
		must(b, err)
	}
	must(b, f.Close())
	must(b, w.Finish(&Manifest{}))
	return p
}

func BenchmarkVerify(b *testing.B) {
	p := large(b, b.TempDir(), make([]byte, 1<<20))
	b.SetBytes(256 << 20)
	for b.Loop() {
		r, err := Verify(context.Background(), p, nil)
		must(b, err)
		must(b, r.Err())
	}
}

// BenchmarkOpen opens a bundle of 5,000 files.
func BenchmarkOpen(b *testing.B) {
	p := filepath.Join(b.TempDir(), "a.pcapsule")
	w, err := Create(p, testOptions())
	must(b, err)
	for i := range 5000 {
		must(b, os.WriteFile(w.Path(fmt.Sprintf("data/tables/calls/protocol=p%d/part-000.parquet", i)), []byte("PAR1"), 0o666))
	}
	must(b, w.Finish(&Manifest{}))
	for b.Loop() {
		_, err := Open(p)
		must(b, err)
	}
}
