package bundle

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/bundle/internal/disk"
)

// Limits of a transport ZIP.
const (
	maxDirectory = 32 << 20 // bytes of its directory, at least 46 for each member
	maxRatio     = 100      // unpacked bytes divided by packed bytes, in total
	freeBytes    = 64 << 20 // unpacked bytes that are allowed for any ratio
)

// zipSource is a bundle in a ZIP. All members are checked before any is read.
type zipSource struct {
	f      *os.File
	prefix string // top folder with slash, or empty
	files  map[string]*zip.File
	order  []string
	dirs   []*zip.File
}

// newZipSource opens a ZIP and rejects one that is not safe to unpack.
func newZipSource(path string) (*zipSource, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	z, err := readZip(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	z.f = f
	return z, nil
}

// Close closes the ZIP.
func (z *zipSource) Close() error { return z.f.Close() }

func readZip(f *os.File) (*zipSource, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return readZipAt(f, info.Size())
}

func readZipAt(r io.ReaderAt, size int64) (*zipSource, error) {
	guard := &tail{r: r, from: size - maxDirectory}
	zr, err := zip.NewReader(guard, size)
	guard.from = 0
	switch {
	case errors.Is(err, errDirectory):
		return nil, &DamagedError{File: "ZIP directory", What: err.Error(), Err: err}
	case errors.Is(err, zip.ErrFormat):
		return nil, fmt.Errorf("neither a folder nor a ZIP: %w", ErrNotBundle)
	case err != nil && !errors.Is(err, zip.ErrInsecurePath):
		return nil, fmt.Errorf("reading ZIP: %w", err)
	}
	z := &zipSource{files: map[string]*zip.File{}}
	if err := z.findPrefix(zr.File); err != nil {
		return nil, err
	}
	if err := z.list(zr.File, size); err != nil {
		return nil, err
	}
	if err := checkLayout(r, size, zr.File); err != nil {
		return nil, err
	}
	return z, nil
}

var errDirectory = fmt.Errorf("directory larger than %d bytes", maxDirectory)

// tail restricts reading to the end of a file while from is set. The ZIP reader keeps every
// directory entry in memory, so the directory's size must be limited first.
type tail struct {
	r    io.ReaderAt
	from int64
}

func (t *tail) ReadAt(p []byte, off int64) (int, error) {
	if off < t.from {
		return 0, errDirectory
	}
	return t.r.ReadAt(p, off)
}

// findPrefix finds the folder of the bag: its base name, as required by RFC 8493 section 4, or
// none.
func (z *zipSource) findPrefix(files []*zip.File) error {
	found := false
	for _, f := range files {
		prefix, ok := strings.CutSuffix(f.Name, bagitName)
		if !ok || strings.Count(prefix, "/") > 1 || prefix != "" && !strings.HasSuffix(prefix, "/") {
			continue
		}
		if found {
			return &DamagedError{File: f.Name, What: "a second bag in the ZIP"}
		}
		found, z.prefix = true, prefix
	}
	if !found {
		return fmt.Errorf("a ZIP without %s: %w", bagitName, ErrNotBundle)
	}
	return nil
}

// list checks every member: its kind, its destination and its size.
func (z *zipSource) list(files []*zip.File, size int64) error {
	var packed, unpacked uint64
	folded := map[string]bool{}
	limit := uint64(size)*maxRatio + freeBytes
	for _, f := range files {
		bad := func(format string, args ...any) error {
			return &DamagedError{File: f.Name, What: fmt.Sprintf(format, args...)}
		}
		if f.Name == z.prefix && f.UncompressedSize64 == 0 {
			continue // the bundle's own folder
		}
		name, inside := strings.CutPrefix(f.Name, z.prefix)
		name, isDir := strings.CutSuffix(name, "/")
		if !inside || !validRel(name) {
			return bad("leads out of the bundle or cannot be one of its files")
		}
		if isDir && f.UncompressedSize64 == 0 {
			z.dirs = append(z.dirs, f) // they are created when files need them
			continue
		}
		switch mode := f.Mode(); {
		case isDir || !mode.IsRegular():
			return bad("%s, not a plain file", kindOf(mode))
		case f.Flags&1 != 0:
			return bad("encrypted; unpack it with its password first")
		case f.Method != zip.Store && f.Method != zip.Deflate:
			return bad("compression method %d is neither 0 nor 8", f.Method)
		case f.Method == zip.Store && f.CompressedSize64 != f.UncompressedSize64:
			return bad("stored %d bytes as %d", f.UncompressedSize64, f.CompressedSize64)
		case folded[strings.ToLower(name)]:
			return bad("twice in the ZIP, or the same where case does not count")
		case len(z.order) == maxFiles:
			return bad("more than %d files", maxFiles)
		case f.CompressedSize64 > uint64(size)-packed:
			return bad("members overlap: more packed bytes than the ZIP has")
		}
		packed += f.CompressedSize64
		if f.UncompressedSize64 > limit-unpacked {
			return bad("unpacks to more than %d bytes from a ZIP of %d", limit, size)
		}
		unpacked += f.UncompressedSize64
		folded[strings.ToLower(name)] = true
		z.files[name] = f
		z.order = append(z.order, name)
	}
	return nil
}

func (z *zipSource) stat(rel string) (fs.FileInfo, error) {
	f, ok := z.files[rel]
	if !ok {
		return nil, &fs.PathError{Op: "stat", Path: rel, Err: fs.ErrNotExist}
	}
	return f.FileInfo(), nil
}

func (z *zipSource) open(rel string) (io.ReadCloser, error) {
	f, ok := z.files[rel]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: rel, Err: fs.ErrNotExist}
	}
	r, err := f.Open()
	if err != nil {
		return nil, &DamagedError{File: rel, What: err.Error(), Err: err}
	}
	return &member{ReadCloser: r, left: int64(f.UncompressedSize64), rel: rel}, nil
}

// member returns no more bytes than the directory declares.
type member struct {
	io.ReadCloser
	left int64
	rel  string
}

func (m *member) Read(p []byte) (int, error) {
	n, err := m.ReadCloser.Read(p)
	if m.left -= int64(n); m.left < 0 {
		return 0, &DamagedError{File: m.rel, What: "longer than the ZIP declares"}
	}
	if err != nil && err != io.EOF {
		err = &DamagedError{File: m.rel, What: err.Error(), Err: err}
	}
	return n, err
}

func (z *zipSource) walk(each func(string, fs.FileInfo) error) error {
	for _, rel := range z.order {
		if err := each(rel, z.files[rel].FileInfo()); err != nil {
			return err
		}
	}
	used := map[string]bool{}
	for _, rel := range z.order {
		for dir := path.Dir(rel); dir != "." && !used[dir]; dir = path.Dir(dir) {
			used[dir] = true
		}
	}
	for _, f := range z.dirs {
		if rel := strings.TrimSuffix(strings.TrimPrefix(f.Name, z.prefix), "/"); !used[rel] {
			if err := each(rel, f.FileInfo()); err != nil {
				return err
			}
		}
	}
	return nil
}

func openZip(path string, o OpenOptions) (*Bundle, error) {
	b, err := unpackAndOpen(path, o)
	if err != nil {
		return nil, fmt.Errorf("opening bundle %s: %w", path, err)
	}
	return b, nil
}

func unpackAndOpen(path string, o OpenOptions) (*Bundle, error) {
	z, err := newZipSource(path)
	if err != nil {
		return nil, err
	}
	defer z.Close()
	if _, err := read(z); err != nil { // before anything is unpacked
		return nil, err
	}
	list, err := readAll(z, tagManifestName, maxTagFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &DamagedError{File: tagManifestName, What: "missing"}
	}
	if err != nil {
		return nil, err
	}
	id := Digest(sha256.Sum256(list)).String()[:16] + ".pcapsule"
	places := []string{filepath.Join(o.CacheDir, id)}
	if o.CacheDir == "" {
		places = []string{beside(path)}
		if cache, err := os.UserCacheDir(); err == nil {
			places = append(places, filepath.Join(cache, "pcapsule", "bundles", id))
		}
	}
	var first error
	for i, dir := range places {
		if i > 0 || o.CacheDir != "" {
			if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
				return nil, errors.Join(first, err)
			}
		}
		b, err := z.openAt(dir, path, list)
		if err == nil {
			return b, nil
		}
		first = errors.Join(first, err)
		if !errors.Is(err, fs.ErrPermission) && !disk.ReadOnly(err) {
			break
		}
	}
	return nil, first
}

// beside is the default place to unpack a ZIP.
func beside(path string) string {
	if dir, ok := strings.CutSuffix(path, ".zip"); ok && filepath.Base(path) != ".zip" {
		return dir
	}
	return path + ".unpacked"
}

// openAt unpacks to dir, or uses the files that an earlier run unpacked there.
func (z *zipSource) openAt(dir, path string, list []byte) (*Bundle, error) {
	reused := false
	if _, err := os.Lstat(dir); err == nil {
		have, err := os.ReadFile(filepath.Join(dir, tagManifestName))
		if err != nil || !bytes.Equal(have, list) {
			return nil, fmt.Errorf("unpacking: %s is something else: %w", dir, ErrExists)
		}
		reused = true
	} else if err := z.unpack(dir); err != nil {
		return nil, err
	}
	b, err := openDir(dir)
	if err != nil {
		return nil, err
	}
	b.Unpacked, b.Reused = b.Dir, reused
	b.zip, err = filepath.Abs(path)
	return b, err
}
