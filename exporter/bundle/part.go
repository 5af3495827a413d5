package bundle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Packets reads the packet files of a bundle of which only the other files are here.
type Packets interface {
	// Size is the size of a file in bytes, or an error that wraps fs.ErrNotExist.
	Size(rel string) (int64, error)
	// ReadAt is io.ReaderAt for a file.
	ReadAt(rel string, p []byte, off int64) (n int, err error)
}

// OpenPart opens the bundle in the directory dir, which lacks packet files; they are read from
// packets, which can compare them with Blocks. Its errors are those of OpenWith.
func OpenPart(dir string, packets Packets) (*Bundle, error) {
	return openAs(dir, func(d dirSource) source { return partSource{d, packets} }, packets)
}

// partSource is a directory without packet files.
type partSource struct {
	dirSource
	packets Packets
}

func (p partSource) stat(rel string) (fs.FileInfo, error) {
	info, err := p.dirSource.stat(rel)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return info, err
	}
	size, err := p.packets.Size(rel)
	return away{rel, size}, err
}

// away is the information about a file that is elsewhere.
type away struct {
	name string
	size int64
}

func (a away) Name() string     { return filepath.Base(a.name) }
func (a away) Size() int64      { return a.size }
func (away) Mode() fs.FileMode  { return 0o400 }
func (away) ModTime() time.Time { return time.Time{} }
func (away) IsDir() bool        { return false }
func (away) Sys() any           { return nil }

// InputFile is an open packet file.
type InputFile interface {
	io.ReaderAt
	io.Closer
}

// OpenInput opens a packet file. It opens the file through the bundle's directory handle, so a link
// that was created since the bundle was opened is not followed.
func (b *Bundle) OpenInput(in *Input) (InputFile, error) {
	if b.packets != nil {
		return &awayFile{b.packets, in.Path}, nil
	}
	root, err := os.OpenRoot(b.Dir)
	if err != nil {
		return nil, fmt.Errorf("opening packets: %w", err)
	}
	defer root.Close()
	info, err := root.Lstat(in.Path)
	if err != nil {
		return nil, fmt.Errorf("opening packets: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() != in.Size {
		return nil, &DamagedError{File: in.Path, What: "changed since the bundle was opened"}
	}
	f, err := root.Open(in.Path)
	if err != nil {
		return nil, fmt.Errorf("opening packets: %w", err)
	}
	return f, nil
}

type awayFile struct {
	packets Packets
	rel     string
}

func (a *awayFile) ReadAt(p []byte, off int64) (int, error) { return a.packets.ReadAt(a.rel, p, off) }
func (a *awayFile) Close() error                            { return nil }

// Files are the files of a bundle that is not in a folder, such as the objects of a store.
type Files interface {
	// Sizes lists all files with their sizes in bytes.
	Sizes() (map[string]int64, error)
	// Open opens a file.
	Open(rel string) (io.ReadCloser, error)
}

// VerifyFiles is Verify for a bundle that is not in a folder. name is its name in the report.
func VerifyFiles(ctx context.Context, files Files, name string, progress func(done, total int64)) (*Report, error) {
	return verifyFiles(ctx, files, name, progress, (*verifier).run)
}

// VerifyCustodyFiles is VerifyCustody for files that are not on a disk.
func VerifyCustodyFiles(ctx context.Context, files Files, name string) (*Report, error) {
	return verifyFiles(ctx, files, name, nil, (*verifier).custodyOnly)
}

func verifyFiles(ctx context.Context, files Files, name string, progress func(done, total int64), check func(*verifier) error) (*Report, error) {
	sizes, err := files.Sizes()
	if err != nil {
		return nil, fmt.Errorf("verifying %s: %w", name, err)
	}
	return verifySource(ctx, filesSource{files, sizes}, name, progress, check)
}

// filesSource has neither folders nor links.
type filesSource struct {
	Files
	sizes map[string]int64
}

func (f filesSource) stat(rel string) (fs.FileInfo, error) {
	size, ok := f.sizes[rel]
	if !ok {
		return nil, fmt.Errorf("%s: %w", rel, fs.ErrNotExist)
	}
	return away{rel, size}, nil
}

func (f filesSource) open(rel string) (io.ReadCloser, error) { return f.Open(rel) }

func (f filesSource) walk(each func(string, fs.FileInfo) error) error {
	for rel, size := range f.sizes {
		if err := each(rel, away{rel, size}); err != nil {
			return err
		}
	}
	return nil
}
