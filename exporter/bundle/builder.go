package bundle

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/pcapsule/pcapsule/exporter/table"
)

// CreateOptions are what bag-info.txt and the first custody entry say. Nothing of it
// reaches data/.
type CreateOptions struct {
	Time         time.Time // when the bundle is made; zero means now
	User         string    // who made it, may be empty
	Host         string    // on which machine, may be empty
	Organization string    // whose bundle it is, may be empty
	Description  string    // one line for archives, may be empty
	Note         string    // goes into the first custody entry, may be empty
}

// Builder makes a bundle under a hidden name beside its final one. Its methods may be
// called from several goroutines. Call Abort when it is no longer wanted; after a
// successful Finish it does nothing, so it may be deferred.
type Builder struct {
	final string
	dir   string
	opts  CreateOptions

	private atomic.Bool
	mu      sync.Mutex
	known   map[string]known // registered files by path
	open    map[*File]bool
	err     error // first misuse or failed directory, told by Finish
	aborted bool
	done    bool
}

type known struct {
	size      int64
	sha256    Digest
	discarded bool // hashed, not kept
}

// Create begins a bundle that will stand at path, and makes its hidden folder. Where
// something is at path already, the error wraps ErrExists.
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
	dir := hiddenName(final)
	if err := os.Mkdir(dir, 0o777); err != nil {
		return nil, fmt.Errorf("creating bundle %s: %w", path, err)
	}
	b := &Builder{final: final, dir: dir, opts: o, known: map[string]known{}, open: map[*File]bool{}}
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o777); err != nil {
		b.Abort()
		return nil, fmt.Errorf("creating bundle %s: %w", path, err)
	}
	return b, nil
}

// Private lets only the owner read the bundle, from now on: it holds keys, or what they
// opened.
func (b *Builder) Private() error {
	b.private.Store(true)
	if err := os.Chmod(b.dir, 0o700); err != nil {
		return fmt.Errorf("making the bundle private: %w", err)
	}
	return nil
}

// Mode is the mode that files of the bundle are made with, before the umask.
func (b *Builder) Mode() fs.FileMode {
	if b.private.Load() {
		return 0o600
	}
	return 0o666
}

// hiddenName is a name beside final for what is not yet whole.
func hiddenName(final string) string {
	var r [6]byte
	rand.Read(r[:])
	name := filepath.Base(final)
	for len(name) > 220 { // the whole name must fit in 255 bytes
		_, n := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-n]
	}
	return filepath.Join(filepath.Dir(final), "."+name+".partial-"+hex.EncodeToString(r[:]))
}

// Path is the absolute path for a file of the bundle that others will write, such as
// data/tables/flows/part-000.parquet; its parent folders are made. A path that cannot be
// in a bundle gives the empty string, and Finish tells why.
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
		return fmt.Errorf("adding %q: want a path below data/ with plain names, which every system allows", rel)
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

// Create makes the file rel, such as data/packets/import/000-a.pcapng. Its SHA-256 is
// taken while it is written, so that nothing is read twice.
func (b *Builder) Create(rel string) (*File, error) {
	p, err := b.place(rel)
	if err != nil {
		return nil, err
	}
	// Under the lock, so that Abort either closes the file or comes first, when
	// its folder is gone.
	b.mu.Lock()
	defer b.mu.Unlock()
	f, err := os.OpenFile(p, os.O_WRONLY|os.O_CREATE|os.O_EXCL, b.Mode())
	if err != nil {
		return nil, fmt.Errorf("adding %s: %w", rel, err)
	}
	file := &File{b: b, f: f, rel: rel, hash: sha256.New()}
	b.open[file] = true
	return file, nil
}

// Discard hashes what is written to the file rel and keeps none of it. Such a bundle can only be
// a Draft.
func (b *Builder) Discard(rel string) (*File, error) {
	if err := b.allowed(rel); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	file := &File{b: b, rel: rel, hash: sha256.New()}
	b.open[file] = true
	return file, nil
}

// Add registers a file that was written at Path(rel), with its size and SHA-256. What
// was written there and never added is hashed by Finish.
func (b *Builder) Add(rel string, size int64, sha256 Digest) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.known[rel] = known{size: size, sha256: sha256}
}

// Abort removes everything that was made. It may be called at any time and from
// another goroutine, as on an interrupt; a Finish under way then fails. It does nothing
// once the bundle has its name.
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
	}
	// A writer that has not yet heard of it may make a file behind our back, also
	// after this; the call that follows the last writer finds it.
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

// File is a file of a bundle being made.
type File struct {
	b      *Builder
	f      *os.File
	rel    string
	hash   hash.Hash
	size   int64
	sum    Digest
	err    error
	closed bool
}

// Write appends to the file.
func (f *File) Write(p []byte) (n int, err error) {
	if f.err != nil {
		return 0, f.err
	}
	n = len(p)
	if f.f != nil {
		n, err = f.f.Write(p)
	}
	f.hash.Write(p[:n])
	f.size += int64(n)
	if err != nil {
		f.err = fmt.Errorf("writing %s: %w", f.rel, err)
	}
	return n, f.err
}

// ReadFrom appends all of r in large pieces; io.Copy uses it.
func (f *File) ReadFrom(r io.Reader) (total int64, err error) {
	buf := make([]byte, 256<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if _, err := f.Write(buf[:n]); err != nil {
				return total, err
			}
			total += int64(n)
		}
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// Rel is the file's path in the bundle.
func (f *File) Rel() string { return f.rel }

// Size is the number of bytes written so far.
func (f *File) Size() int64 { return f.size }

// Sum is the SHA-256 of the file, once Close has returned nil.
func (f *File) Sum() Digest { return f.sum }

// Close ends the file and registers it. A file whose writing failed is not registered,
// and Finish will refuse.
func (f *File) Close() error {
	if f.closed {
		return f.err
	}
	f.closed = true
	if f.f != nil {
		if err := f.f.Close(); err != nil && f.err == nil {
			f.err = fmt.Errorf("closing %s: %w", f.rel, err)
		}
	}
	f.hash.Sum(f.sum[:0])
	f.b.mu.Lock()
	defer f.b.mu.Unlock()
	delete(f.b.open, f)
	if f.err == nil {
		f.b.known[f.rel] = known{size: f.size, sha256: f.sum, discarded: f.f == nil}
	} else if f.b.err == nil {
		f.b.err = f.err
	}
	return f.err
}

// Finish writes bundle.json, open.sql (unless the caller created one), the tag files
// and the custody log, puts everything on the disk, and gives the bundle its name. On
// any error it aborts; a full disk gives an error that wraps syscall.ENOSPC.
func (b *Builder) Finish(m *Manifest) error {
	if err := b.finish(m); err != nil {
		b.Abort()
		return fmt.Errorf("finishing bundle %s: %w", b.final, err)
	}
	return nil
}

func (b *Builder) finish(m *Manifest) error {
	if err := b.whole(); err != nil {
		return err
	}
	if err := b.writeOpenSQL(); err != nil {
		return err
	}
	data, err := m.Encode()
	if err != nil {
		return err
	}
	if err := b.writeTag(jsonName, data); err != nil {
		return err
	}
	payload, size, err := b.payload()
	if err != nil {
		return err
	}
	if err := agree(m, payload); err != nil {
		return err
	}
	if err := b.writeTags(m, payload, size); err != nil {
		return err
	}
	if err := b.sync(); err != nil {
		return err
	}
	return b.publish()
}

// whole reports why the files that were written cannot be a bundle.
func (b *Builder) whole() error {
	b.mu.Lock()
	err := b.err
	for f := range b.open {
		if err == nil {
			err = fmt.Errorf("%s was not closed", f.rel)
		}
	}
	b.mu.Unlock()
	if err != nil {
		return err
	}
	return b.stopped()
}

// Draft writes open.sql as Finish would and lists every file below data/ but bundle.json,
// with its SHA-256. The files stay where Path says until Abort.
func (b *Builder) Draft() ([]Payload, error) {
	err := b.whole()
	if err == nil {
		err = b.writeOpenSQL()
	}
	if err != nil {
		return nil, fmt.Errorf("drafting bundle: %w", err)
	}
	lines, _, err := b.payload()
	return exported(lines), err
}

// agree refuses a manifest whose inputs are not the files that were written.
func agree(m *Manifest, payload []line) error {
	sums := make(map[string]Digest, len(payload))
	for _, l := range payload {
		sums[l.path] = l.sha256
	}
	for i := range m.Inputs {
		in := &m.Inputs[i]
		sum, ok := sums[in.Path]
		if !ok {
			return fmt.Errorf("input %d: %s was not written", in.FileID, in.Path)
		}
		if sum != in.SHA256 {
			return fmt.Errorf("input %d: %s has SHA-256 %s, want %s", in.FileID, in.Path, sum, in.SHA256)
		}
	}
	return nil
}

func (b *Builder) writeOpenSQL() error {
	have := map[string]bool{}
	if err := fs.WalkDir(os.DirFS(b.dir), "data", func(rel string, e fs.DirEntry, err error) error {
		if err == nil && strings.HasPrefix(rel, tablesDir) && path.Ext(rel) == ".parquet" {
			name, _, _ := strings.Cut(rel[len(tablesDir):], "/")
			have[name] = true
		}
		if rel == openSQLName {
			have[openSQLName] = true
		}
		return err
	}); err != nil {
		return err
	}
	if have[openSQLName] {
		return nil
	}
	// A view over a table without files would stop the script.
	var there []*table.Schema
	for _, s := range table.All() {
		if have[s.Name] {
			there = append(there, s)
		}
	}
	return b.writeTag(openSQLName, []byte(OpenSQL(there)))
}

func (b *Builder) writeTags(m *Manifest, payload []line, size int64) error {
	agent := strings.TrimSpace(m.Tool.Name + " " + m.Tool.Release)
	files := map[string][]byte{
		bagitName:    []byte(bagitText),
		bagInfoName:  bagInfo(b.opts, agent, size, len(payload)),
		manifestName: writeLines(payload),
	}
	var tags []line
	for _, name := range tagFiles {
		if err := b.writeTag(name, files[name]); err != nil {
			return err
		}
		tags = append(tags, line{name, sha256.Sum256(files[name])})
	}
	list := writeLines(tags)
	if err := b.writeTag(tagManifestName, list); err != nil {
		return err
	}
	sum := Digest(sha256.Sum256(list))
	first, err := encodeEntry(Entry{
		Time: Time(b.opts.Time.UnixNano()), Event: EventMade, Tool: agent, User: b.opts.User, Host: b.opts.Host,
		Note: b.opts.Note, Details: map[string]string{"platform": runtime.GOOS + "/" + runtime.GOARCH}, TagManifest: &sum,
	})
	if err != nil {
		return err
	}
	return b.writeTag(custodyName, first)
}

func (b *Builder) writeTag(rel string, data []byte) error {
	p := filepath.Join(b.dir, filepath.FromSlash(rel))
	if err := os.MkdirAll(filepath.Dir(p), 0o777); err != nil {
		return fmt.Errorf("writing %s: %w", rel, err)
	}
	f, err := os.OpenFile(p, os.O_WRONLY|os.O_CREATE|os.O_EXCL, b.Mode())
	if err != nil {
		return fmt.Errorf("writing %s: %w", rel, err)
	}
	_, err = f.Write(data)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", rel, err)
	}
	if strings.HasPrefix(rel, "data/") {
		b.Add(rel, int64(len(data)), sha256.Sum256(data))
	}
	return nil
}
