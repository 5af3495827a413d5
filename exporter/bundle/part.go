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

// Packets reads the packet files of a bundle of which only the other files are at hand.
type Packets interface {
	// Size is the size of a file in bytes, or an error that wraps fs.ErrNotExist.
	Size(rel string) (int64, error)
	// ReadAt is io.ReaderAt for a file.
	ReadAt(rel string, p []byte, off int64) (n int, err error)
}

// OpenPart opens the bundle in the directory dir, which lacks packet files; they are read from
// packets, without being hashed. Its errors are those of OpenWith.
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

// VerifyFS is Verify for the bundle at the root of a file system, such as in an object store.
func VerifyFS(ctx context.Context, fsys fs.FS, name string, progress func(done, total int64)) (*Report, error) {
	return verifySource(ctx, fsSource{fsys}, name, progress, (*verifier).run)
}

// fsSource is a bundle in a file system that has neither links nor special files.
type fsSource struct{ fs.FS }

func (f fsSource) stat(rel string) (fs.FileInfo, error)   { return fs.Stat(f.FS, rel) }
func (f fsSource) open(rel string) (io.ReadCloser, error) { return f.Open(rel) }
func (f fsSource) walk(each func(string, fs.FileInfo) error) error {
	return fs.WalkDir(f.FS, ".", func(rel string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		return each(rel, info)
	})
}
