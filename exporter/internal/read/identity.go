package read

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

// Identity holds the owners of addresses according to files.
type Identity struct {
	Index    *workload.Index
	Known    bool // Index is not empty
	sides    []bundle.SideInput
	warnings []string
}

// LoadIdentity reads kubectl output and hosts files, and stores the used part in the bundle. Its
// error is *InputError, or an error of writing.
func LoadIdentity(b *bundle.Builder, kube, hosts []string) (*Identity, error) {
	w := &Identity{Index: workload.NewIndex()}
	for _, f := range []struct {
		kind  string
		paths []string
		add   func(string, io.Reader) (workload.Stats, error)
	}{{"kube", kube, w.Index.AddKube}, {"hosts", hosts, w.Index.AddHosts}} {
		for _, p := range f.paths {
			if err := w.load(f.kind, p, f.add); err != nil {
				return nil, err
			}
		}
	}
	if !w.Known {
		return w, nil
	}
	file, err := b.Create(usedPath)
	if err != nil {
		return nil, err
	}
	h := sha256.New()
	used := &counted{w: io.MultiWriter(file, h)}
	if err := w.Index.WriteUsed(used); err != nil {
		return nil, fmt.Errorf("storing the used part of the identity files: %w", err)
	}
	if err := file.Close(); err != nil {
		return nil, err
	}
	var sum bundle.Digest
	h.Sum(sum[:0])
	slices.SortFunc(w.sides, func(a, b bundle.SideInput) int { return bytes.Compare(a.SHA256Original[:], b.SHA256Original[:]) })
	for i := range w.sides {
		w.sides[i].Path, w.sides[i].SHA256, w.sides[i].Size = usedPath, &sum, used.n
	}
	return w, nil
}

// counted counts the bytes that are written.
type counted struct {
	w io.Writer
	n int64
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// usedPath is where a bundle stores the used part of kube and hosts files.
const usedPath = "data/inputs/identity.json"

func (w *Identity) load(kind, path string, add func(string, io.Reader) (workload.Stats, error)) error {
	f, err := os.Open(path)
	if err != nil {
		return &InputError{path, err}
	}
	defer f.Close()
	h := sha256.New()
	name := filepath.Base(path)
	stats, err := add(name, io.TeeReader(f, h))
	var bad *workload.SyntaxError
	switch {
	case errors.As(err, &bad) && stats.Kept > 0:
		w.warnings = append(w.warnings, fmt.Sprintf("%s: %v; the part before this is used", name, err))
	case err != nil:
		return &InputError{path, err}
	case stats.Kept == 0:
		w.warnings = append(w.warnings, name+": it contains no addresses")
	}
	for _, left := range [...]struct {
		n   int64
		why string
	}{{stats.Malformed, "cannot be read"}, {stats.Oversize, "are larger than 4 MiB"}, {stats.Limited, "exceed the memory for names"}} {
		if left.n > 0 {
			w.warnings = append(w.warnings, fmt.Sprintf("%s: entries left out because they %s: %d; some addresses may lack their names", name, left.why, left.n))
		}
	}
	if _, err := io.Copy(h, f); err != nil {
		return &InputError{path, err}
	}
	side := bundle.SideInput{Kind: kind, Name: name, SizeOriginal: stats.Bytes}
	h.Sum(side.SHA256Original[:0])
	if info, err := f.Stat(); err == nil {
		side.SizeOriginal = info.Size()
	}
	w.sides = append(w.sides, side)
	w.Known = w.Known || stats.Kept > 0
	return nil
}

// Describe records the files and their use in the manifest.
func (w *Identity) Describe(m *bundle.Manifest) {
	m.SideInputs = append(m.SideInputs, w.sides...)
	m.Warnings = append(m.Warnings, w.warnings...)
}
