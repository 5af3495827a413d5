package bundle

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// CreateOptions are the contents of bag-info.txt and the first custody entry. None of them
// reaches data/.
type CreateOptions struct {
	Time         time.Time // when the bundle is made; zero means now
	User         string    // who made it, may be empty
	Host         string    // machine, may be empty
	Organization string    // owner of the bundle, may be empty
	Identifier   string    // number of the case or exhibit, may be empty
	Note         string    // goes into the first custody entry, may be empty

	// Program returns the digest of the program that makes the bundle, as ThisProgram does; nil if it must not be stated:
	// reading the program takes 0.1 s. It is called twice, first while the bundle is made.
	Program func() *Digest
}

// Builder makes a bundle under a hidden name next to its final one. Its methods are safe
// for concurrent use. Call Abort when the Builder is no longer needed; after a successful
// Finish it does nothing, so it may be deferred.
type Builder struct {
	final string
	dir   string
	held  *Held // dir, until it has its name or is gone
	opts  CreateOptions

	private atomic.Bool
	mu      sync.Mutex
	known   map[string]known // registered files by path
	open    map[*File]bool
	err     error // first misuse or failed directory, returned by Finish
	aborted bool
	done    bool
}

type known struct {
	size      int64
	sha256    Digest
	blocks    []Digest // of a packet file that was written through a File
	discarded bool     // hashed, not kept
}

// Create begins a bundle at path, and makes its hidden folder. Unfinished bundles that killed runs
// left beside it are removed. If something is at path already, the error wraps ErrExists.
func Create(path string, o CreateOptions) (*Builder, error) {
	final, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("creating bundle: %w", err)
	}
	if _, err := os.Lstat(final); err == nil {
		return nil, fmt.Errorf("creating bundle %s: %w", path, ErrExists)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("creating bundle: %w", err)
	}
	if o.Time.IsZero() {
		o.Time = time.Now()
	}
	dir, held, err := makeHidden(final)
	if err != nil {
		return nil, fmt.Errorf("creating bundle %s: %w", path, err)
	}
	if o.Program != nil {
		go o.Program()
	}
	b := &Builder{final: final, dir: dir, held: held, opts: o, known: map[string]known{}, open: map[*File]bool{}}
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o777); err != nil {
		b.Abort()
		return nil, fmt.Errorf("creating bundle %s: %w", path, err)
	}
	return b, nil
}

// Private restricts reading the bundle to its owner from now on, because it contains keys or
// decrypted data.
func (b *Builder) Private() error {
	b.private.Store(true)
	if err := os.Chmod(b.dir, 0o700); err != nil {
		return fmt.Errorf("making the bundle private: %w", err)
	}
	return nil
}

// Mode is the mode of new files in the bundle, before the umask.
func (b *Builder) Mode() fs.FileMode {
	if b.private.Load() {
		return 0o600
	}
	return 0o666
}

// Path is the absolute path for a file of the bundle that others will write, such as
// data/tables/flows/part-000.parquet; its parent folders are made. For a path that cannot be in a
// bundle it returns the empty string, and Finish returns the error.
func (b *Builder) Path(rel string) string {
	p, err := b.place(rel)
	if err != nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.err == nil {
			b.err = err
		}
		return ""
	}
	return p
}

func (b *Builder) allowed(rel string) error {
	if !validRel(rel) || !portable(rel) || !strings.HasPrefix(rel, "data/") || rel == jsonName {
		return fmt.Errorf("adding %q: the path must be below data/, with names of [a-z0-9._=-], at most %d bytes each", rel, maxElement)
	}
	return nil
}

func (b *Builder) place(rel string) (string, error) {
	if err := b.allowed(rel); err != nil {
		return "", err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.aborted || b.done {
		return "", fmt.Errorf("adding %s: %w", rel, ErrAborted)
	}
	p := filepath.Join(b.dir, filepath.FromSlash(rel))
	if err := os.MkdirAll(filepath.Dir(p), 0o777); err != nil {
		return "", fmt.Errorf("adding %s: %w", rel, err)
	}
	return p, nil
}

// Create makes the file rel, such as data/packets/import/000-a.pcapng. Its SHA-256 is computed
// while it is written, so that nothing is read twice.
func (b *Builder) Create(rel string) (*File, error) {
	p, err := b.place(rel)
	if err != nil {
		return nil, err
	}
	// Hold the lock, so that Abort either closes the file or has already removed its folder.
	b.mu.Lock()
	defer b.mu.Unlock()
	f, err := os.OpenFile(p, os.O_WRONLY|os.O_CREATE|os.O_EXCL, b.Mode())
	if err != nil {
		return nil, fmt.Errorf("adding %s: %w", rel, err)
	}
	return b.newFile(rel, f), nil
}

// Discard hashes the bytes written to file rel and keeps none of them. Such a bundle can only be
// a Draft.
func (b *Builder) Discard(rel string) (*File, error) {
	if err := b.allowed(rel); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	file := b.newFile(rel, nil)
	file.discard = true
	return file, nil
}

// Adopt moves a file of the same file system into the bundle as rel. The bytes written to the
// result must be the file's; they are hashed only.
func (b *Builder) Adopt(rel, from string) (*File, error) {
	p, err := b.place(rel)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(from, b.Mode()); err != nil {
		return nil, fmt.Errorf("adding %s: %w", rel, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := os.Rename(from, p); err != nil {
		return nil, fmt.Errorf("adding %s: %w", rel, err)
	}
	return b.newFile(rel, nil), nil
}

// Add registers a file that was written at Path(rel), with its size and SHA-256. Finish hashes
// files that were written but not added.
func (b *Builder) Add(rel string, size int64, sha256 Digest) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.known[rel] = known{size: size, sha256: sha256}
}

// Abort removes everything. It may be called at any time and from another goroutine, as on an
// interrupt; a concurrent Finish then fails. It does nothing once the bundle has its final name.
func (b *Builder) Abort() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.done {
		return
	}
	if !b.aborted {
		b.aborted = true
		for f := range b.open {
			if f.f != nil {
				f.f.Close()
			}
		}
		defer b.held.Release()
	}
	// A writer that has not noticed the abort may still make a file, even after this; a later
	// call of Abort, after the last writer, removes it.
	for range 5 {
		if os.RemoveAll(b.dir) == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (b *Builder) stopped() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.aborted {
		return ErrAborted
	}
	return nil
}
