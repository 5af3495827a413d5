package store

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/recorder/transfer"
)

// Address is the bundle's address, without parameters.
func (b *Remote) Address() string { return b.store.Address + "/" + b.Name }

// Files returns the bundle's files with their sizes and hashes, sorted by name.
func (b *Remote) Files() []transfer.File { return slices.Clone(b.files) }

// Verify reads a file and compares it with its hash. It returns a *bundle.DamagedError if it differs.
func (b *Remote) Verify(ctx context.Context, f transfer.File) error {
	r, err := b.store.bucket.NewReader(ctx, b.Name+"/"+f.Name, nil)
	if err != nil {
		return b.store.failed("reading", b.Name+"/"+f.Name, err)
	}
	defer r.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, r)
	if err != nil {
		return b.store.failed("reading", b.Name+"/"+f.Name, err)
	}
	if got := fmt.Sprintf("%x", sum.Sum(nil)); n != f.Size || got != f.SHA256 {
		return &bundle.DamagedError{File: f.Name, What: fmt.Sprintf("%d bytes with SHA-256 %s in the store, expected %d bytes with %s", n, got, f.Size, f.SHA256)}
	}
	return nil
}

// Manifest reads the bundle's manifest and compares it with its hash.
func (b *Remote) Manifest(ctx context.Context) (*bundle.Manifest, error) {
	data, err := b.small(ctx, bundleJSON)
	if err != nil {
		return nil, err
	}
	m, err := bundle.ParseManifest(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", b.Address(), err)
	}
	return m, nil
}

// Custody reads the bundle's custody log.
func (b *Remote) Custody(ctx context.Context) ([]bundle.Entry, error) {
	data, err := b.small(ctx, custodyLog)
	if err != nil {
		return nil, err
	}
	list, err := bundle.ParseCustody(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", b.Address(), err)
	}
	return list, nil
}

// small reads a listed file and compares it with its hash.
func (b *Remote) small(ctx context.Context, rel string) ([]byte, error) {
	f, ok := transfer.Find(b.files, rel)
	if !ok {
		return nil, &bundle.DamagedError{File: rel, What: "missing"}
	}
	data, err := b.store.read(ctx, b.Name+"/"+rel)
	if err != nil {
		return nil, err
	}
	if sumOf(data) != f.SHA256 {
		return nil, &bundle.DamagedError{File: rel, What: "in the store it does not match " + manifest}
	}
	return data, nil
}
