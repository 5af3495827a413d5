package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"gocloud.dev/gcerrors"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/recorder/transfer"
)

// Fetch copies a bundle from the store to the folder dir, which gets its name when everything in it was
// verified. Calling it again resumes an interrupted copy. progress may be nil. The report is
// that of bundle.Verify; it has problems if the store's copy was altered, and then there is no folder.
func (s *Store) Fetch(ctx context.Context, name, dir string, progress func(done, total int64)) (*bundle.Report, error) {
	if _, err := os.Lstat(dir); err == nil {
		return nil, fmt.Errorf("fetching %s/%s: %s: %w", s.Address, name, dir, bundle.ErrExists)
	}
	b, err := s.Find(ctx, name)
	if err != nil {
		return nil, err
	}
	r, err := Receive(ctx, source{s, name}, b.files, dir, progress)
	if err != nil {
		return nil, fmt.Errorf("fetching %s/%s: %w", s.Address, name, err)
	}
	return r, nil
}

// Remote is a bundle in a store, as it was listed once.
type Remote struct {
	Name string

	store *Store
	there map[string]object
	files []transfer.File
}

// Find lists a bundle. It returns an error that wraps ErrNone if the store has none of this name, or
// *bundle.DamagedError if its files are not those of its manifests.
func (s *Store) Find(ctx context.Context, name string) (*Remote, error) {
	there, err := s.objects(ctx, name)
	if err != nil {
		return nil, err
	}
	files, err := s.files(ctx, name, there)
	return &Remote{name, s, there, files}, err
}

// Fingerprint is the SHA-256 of the bundle's tag manifest, which identifies it.
func (b *Remote) Fingerprint() string {
	f, _ := transfer.Find(b.files, tagManifest) // Find requires it
	return f.SHA256
}

// receive copies some of the bundle's files to a folder.
func (b *Remote) receive(ctx context.Context, list []transfer.File, dir string, progress func(done, total int64)) error {
	if err := receive(ctx, source{b.store, b.Name}, list, dir, progress); err != nil {
		return fmt.Errorf("fetching %s/%s: %w", b.store.Address, b.Name, err)
	}
	return nil
}

// files gives a bundle's objects their hashes: those of the manifests, and for the custody log, whose
// files are small, those of their bytes.
func (s *Store) files(ctx context.Context, name string, there map[string]object) ([]transfer.File, error) {
	if _, ok := there[tagManifest]; !ok {
		return nil, fmt.Errorf("%s/%s: %w", s.Address, name, ErrNone)
	}
	sums := map[string]string{}
	for _, rel := range []string{tagManifest, manifest} {
		data, err := s.read(ctx, name+"/"+rel)
		if err != nil {
			return nil, err
		}
		if rel == tagManifest {
			sums[rel] = sumOf(data)
		}
		list, err := bundle.ParseList(rel, data)
		if err != nil {
			return nil, err
		}
		for _, f := range list {
			sums[f.Path] = f.SHA256.String()
		}
	}
	var out []transfer.File
	for rel, o := range there {
		f := transfer.File{Name: rel, Size: o.size, SHA256: sums[rel]}
		if f.SHA256 == "" && strings.HasPrefix(rel, custody) {
			data, err := s.read(ctx, name+"/"+rel)
			if err != nil {
				return nil, err
			}
			f.Size, f.SHA256 = int64(len(data)), sumOf(data)
		}
		if f.SHA256 == "" {
			return nil, &bundle.DamagedError{File: rel, What: "in the store, but not listed in " + manifest}
		}
		out = append(out, f)
		delete(sums, rel)
	}
	for rel := range sums {
		return nil, &bundle.DamagedError{File: rel, What: "listed, but missing in the store"}
	}
	slices.SortFunc(out, func(a, b transfer.File) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

func sumOf(data []byte) string { return fmt.Sprintf("%x", sha256.Sum256(data)) }

// source provides the objects of a bundle to a Fetcher.
type source struct {
	*Store
	name string
}

// Open implements transfer.Source.
func (s source) Open(ctx context.Context, f transfer.File, at int64) (io.ReadCloser, error) {
	r, err := s.bucket.NewRangeReader(ctx, s.name+"/"+f.Name, at, -1, nil)
	return r, s.final(f.Name, err)
}

// final marks errors that come again.
func (s source) final(rel string, err error) error {
	if err == nil {
		return nil
	}
	err2 := s.failed("reading", s.name+"/"+rel, err)
	code := gcerrors.Code(err)
	if code == gcerrors.InvalidArgument || code == gcerrors.FailedPrecondition || errors.Is(err2, fs.ErrNotExist) || errors.Is(err2, fs.ErrPermission) {
		return fmt.Errorf("%w: %w", transfer.ErrFinal, err2)
	}
	return err2
}

// Check reads a bundle in the store and verifies it, as bundle.Verify does. progress may be nil.
func (s *Store) Check(ctx context.Context, name string, progress func(done, total int64)) (*bundle.Report, error) {
	return bundle.VerifyFiles(ctx, all{ctx, s, name}, s.Address+"/"+name, progress)
}

// CheckCustody reads the hashes and the folder custody/ of a bundle in the store, as bundle.VerifyCustody does.
func (s *Store) CheckCustody(ctx context.Context, name string) (*bundle.Report, error) {
	return bundle.VerifyCustodyFiles(ctx, all{ctx, s, name}, s.Address+"/"+name)
}

// all are the objects of a bundle.
type all struct {
	ctx   context.Context
	store *Store
	name  string
}

// Sizes implements bundle.Files.
func (a all) Sizes() (map[string]int64, error) {
	there, err := a.store.objects(a.ctx, a.name)
	if err != nil {
		return nil, err
	}
	if _, ok := there[tagManifest]; !ok {
		return nil, ErrNone
	}
	sizes := map[string]int64{}
	for rel, o := range there {
		sizes[rel] = o.size
	}
	return sizes, nil
}

// Open implements bundle.Files.
func (a all) Open(rel string) (io.ReadCloser, error) {
	r, err := a.store.bucket.NewReader(a.ctx, a.name+"/"+rel, nil)
	if err != nil {
		return nil, a.store.failed("reading", a.name+"/"+rel, err)
	}
	return r, nil
}
