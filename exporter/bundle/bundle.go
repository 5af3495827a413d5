// Package bundle creates, opens, verifies and packs bundles: the portable evidence
// that the exporter writes and forensics reads (docs/format/bundle.md).
//
// A bundle is a BagIt bag (RFC 8493). It appears under its name only once every byte is on disk.
// Opening only reads and hashes nothing; Verify reads everything. The contents of a bundle are
// treated as hostile: paths that lead out of it, links, and unlisted files are rejected.
package bundle

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync/atomic"
)

// Names inside a bundle.
const (
	manifestName    = "manifest-sha256.txt"
	tagManifestName = "tagmanifest-sha256.txt"
	bagitName       = "bagit.txt"
	bagInfoName     = "bag-info.txt"
	readmeName      = "README.html"
	jsonName        = "data/bundle.json"
	openSQLName     = "data/open.sql"
	tablesDir       = "data/tables/"
	custodyDir      = "custody/"
	custodyName     = "custody/log.jsonl"
)

// State is the known integrity of an opened bundle.
type State int32

// The states of a bundle.
const (
	NotVerified State = iota // not hashed since it was opened
	Verified                 // every file matches the manifests
	Broken                   // Verify found problems
)

// String is the state as shown in answers.
func (s State) String() string {
	switch s {
	case Verified:
		return "verified"
	case Broken:
		return "broken"
	}
	return "not verified"
}

// Bundle is an opened bundle. Its methods are safe for concurrent use.
type Bundle struct {
	Dir      string    // absolute path of the directory
	Manifest *Manifest // the content of data/bundle.json
	Unpacked string    // directory to which a transport ZIP was unpacked; empty if a directory was opened
	Reused   bool      // Unpacked existed already, from the same bundle

	zip     string  // the ZIP that was opened, empty for a directory
	files   []line  // payload as listed in manifest-sha256.txt
	packets Packets // has the packet files; nil: they are in Dir
	state   atomic.Int32
}

// OpenOptions control how a bundle is opened.
type OpenOptions struct {
	// CacheDir is where a transport ZIP is unpacked, in a folder named after its content. If it
	// is empty, the ZIP is unpacked next to itself or, if that is not writable, in the user's
	// cache.
	CacheDir string
}

// Open opens the bundle at path, a directory or a transport ZIP, with the zero options.
func Open(path string) (*Bundle, error) { return OpenWith(path, OpenOptions{}) }

// OpenWith opens the bundle at path, a directory or a transport ZIP. A directory is only read.
// It returns
//   - an error that wraps ErrNotBundle: there is no bundle at path
//   - *NewerSchemaError, which wraps ErrNewerSchema: a later release made it
//   - *DamagedError: it is a bundle, but it cannot be used
//   - any other error: the file system returned it
func OpenWith(path string, o OpenOptions) (*Bundle, error) {
	info, err := stat(path)
	if err != nil {
		return nil, fmt.Errorf("opening bundle: %w", err)
	}
	switch {
	case info.IsDir():
		return openDir(path)
	case info.Mode().IsRegular():
		return openZip(path, o)
	}
	return nil, fmt.Errorf("opening bundle %s: %s is neither a folder nor a ZIP: %w", path, info.Mode().Type(), ErrNotBundle)
}

// AddressError means that a path is an address, such as that of a store, and not a folder or file.
type AddressError struct{ Address string }

func (e *AddressError) Error() string { return e.Address + " is an address, not a folder or file" }

// Is reports whether target is ErrNotBundle.
func (e *AddressError) Is(target error) bool { return target == ErrNotBundle }

// stat is os.Stat with a better error for an address.
func stat(path string) (fs.FileInfo, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) && strings.Contains(path, "://") {
		return nil, &AddressError{path}
	}
	return info, err
}

func openDir(dir string) (*Bundle, error) {
	return openAs(dir, func(d dirSource) source { return d }, nil)
}

// openAs opens a directory, whose files are those of the source that as makes of it.
func openAs(dir string, as func(dirSource) source, packets Packets) (*Bundle, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("opening bundle: %w", err)
	}
	root, err := os.OpenRoot(abs)
	if err != nil {
		return nil, fmt.Errorf("opening bundle: %w", err)
	}
	defer root.Close()
	b, err := read(as(dirSource{root}))
	if err != nil {
		return nil, fmt.Errorf("opening bundle %s: %w", dir, err)
	}
	b.Dir, b.packets = abs, packets
	return b, nil
}

// read reads what opening needs and checks that every listed file exists.
func read(src source) (*Bundle, error) {
	if err := readDeclaration(src); err != nil {
		return nil, err
	}
	listed, err := readLines(src, manifestName)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := src.stat(jsonName); err != nil {
			return nil, fmt.Errorf("no %s and no %s: %w", manifestName, jsonName, ErrNotBundle)
		}
		return nil, &DamagedError{File: manifestName, What: "missing"}
	}
	if err != nil {
		return nil, err
	}
	m, err := readManifest(src)
	if errors.Is(err, fs.ErrNotExist) {
		for _, l := range listed {
			if l.path == jsonName {
				return nil, &DamagedError{File: jsonName, What: "missing"}
			}
		}
		return nil, fmt.Errorf("a BagIt bag without %s: %w", jsonName, ErrNotBundle)
	}
	if err != nil {
		return nil, err
	}
	b := &Bundle{Manifest: m, files: listed}
	return b, b.checkPresent(src)
}

func readDeclaration(src source) error {
	data, err := readAll(src, bagitName, maxTagFile)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("no %s: %w", bagitName, ErrNotBundle)
	}
	if err != nil {
		return err
	}
	if !strings.HasPrefix(string(data), "BagIt-Version: ") {
		return fmt.Errorf("%s does not begin with BagIt-Version: %w", bagitName, ErrNotBundle)
	}
	return nil
}

func readManifest(src source) (*Manifest, error) {
	data, err := readAll(src, jsonName, MaxManifest)
	if err != nil {
		return nil, err
	}
	m, err := ParseManifest(data)
	if err != nil && !errors.Is(err, ErrNewerSchema) {
		return nil, &DamagedError{File: jsonName, What: err.Error(), Err: err}
	}
	return m, err
}

// checkPresent finds files that are missing, are not plain files, or have another size than in
// bundle.json, without reading them.
func (b *Bundle) checkPresent(src source) error {
	sizes := map[string]int64{}
	for i := range b.Manifest.Inputs {
		sizes[b.Manifest.Inputs[i].Path] = b.Manifest.Inputs[i].Size
	}
	for _, l := range b.files {
		info, err := src.stat(l.path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return &DamagedError{File: l.path, What: "missing"}
		case errors.Is(err, fs.ErrPermission):
			return fmt.Errorf("looking for %s: %w", l.path, err)
		case err != nil: // such as a folder that is a link
			return &DamagedError{File: l.path, What: err.Error(), Err: err}
		case !info.Mode().IsRegular():
			return &DamagedError{File: l.path, What: kindOf(info.Mode()) + ", not a plain file"}
		}
		if want, ok := sizes[l.path]; ok {
			if info.Size() != want {
				return &DamagedError{File: l.path, What: fmt.Sprintf("%d bytes instead of %d", info.Size(), want)}
			}
			delete(sizes, l.path)
		}
	}
	for i := range b.Manifest.Inputs {
		if p := b.Manifest.Inputs[i].Path; p != "" {
			if _, left := sizes[p]; left {
				return &DamagedError{File: p, What: "named in bundle.json, not listed in " + manifestName}
			}
		}
	}
	return nil
}

// Path is the absolute path of a file of the bundle, named as in bundle.json.
func (b *Bundle) Path(rel string) string { return filepath.Join(b.Dir, filepath.FromSlash(rel)) }

// TableParts are the absolute paths of a table's parts that the bundle lists, sorted. Files
// added to the folder later are not included.
func (b *Bundle) TableParts(name string) []string {
	var parts []string
	for _, l := range b.files {
		if strings.HasPrefix(l.path, tablesDir+name+"/") && path.Ext(l.path) == ".parquet" {
			parts = append(parts, b.Path(l.path))
		}
	}
	return parts
}

// Payload is a file below data/ and its SHA-256.
type Payload struct {
	Path   string
	SHA256 Digest
}

func exported(lines []line) []Payload {
	list := make([]Payload, len(lines))
	for i, l := range lines {
		list[i] = Payload{l.path, l.sha256}
	}
	return list
}

// Payload lists the files below data/ in the manifest's order, which is sorted.
func (b *Bundle) Payload() []Payload { return exported(b.files) }

// JSON is the unchanged content of bundle.json.
func (b *Bundle) JSON() ([]byte, error) {
	root, err := os.OpenRoot(b.Dir)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", jsonName, err)
	}
	defer root.Close()
	return readAll(dirSource{root}, jsonName, MaxManifest)
}

// Verified is the known integrity of the bundle since it was opened.
func (b *Bundle) Verified() State { return State(b.state.Load()) }

// source is a directory or ZIP with a bundle's files.
type source interface {
	stat(rel string) (fs.FileInfo, error) // does not follow links
	open(rel string) (io.ReadCloser, error)
	// walk visits everything except non-empty directories, in any order.
	walk(each func(rel string, info fs.FileInfo) error) error
}

type dirSource struct{ root *os.Root }

func (d dirSource) stat(rel string) (fs.FileInfo, error) {
	return d.root.Lstat(filepath.FromSlash(rel))
}

func (d dirSource) open(rel string) (io.ReadCloser, error) {
	// Lstat first: opening a named pipe would block forever, and a link may point to a file
	// other than the hashed one.
	info, err := d.stat(rel)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &DamagedError{File: rel, What: kindOf(info.Mode()) + ", not a plain file"}
	}
	return d.root.Open(filepath.FromSlash(rel))
}

func (d dirSource) walk(each func(string, fs.FileInfo) error) error {
	empty := map[string]fs.DirEntry{}
	err := fs.WalkDir(d.root.FS(), ".", func(rel string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		delete(empty, path.Dir(rel))
		if e.IsDir() {
			if len(empty) < maxFiles {
				empty[rel] = e
			}
			return nil
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		return each(rel, info)
	})
	for rel, e := range empty {
		info, infoErr := e.Info()
		if err == nil {
			err = infoErr
		}
		if err == nil {
			err = each(rel, info)
		}
	}
	return err
}

// readAll reads a whole small file, and rejects one above limit.
func readAll(src source, rel string, limit int64) ([]byte, error) {
	tooLarge := &DamagedError{File: rel, What: fmt.Sprintf("larger than %d bytes", limit)}
	if info, err := src.stat(rel); err != nil {
		return nil, err
	} else if info.Size() > limit {
		return nil, tooLarge
	}
	f, err := src.open(rel)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1)) // it may have grown
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", rel, err)
	}
	if int64(len(data)) > limit {
		return nil, tooLarge
	}
	return data, nil
}
