package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
	"golang.org/x/sync/errgroup"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/recorder/transfer"
)

// pushers is the number of objects that are written at the same time.
const pushers = 4

// Pushed is the result of a push.
type Pushed struct {
	Name  string `json:"name"`
	Files int64  `json:"files"` // written now
	Bytes int64  `json:"bytes"` // of these
	Kept  int64  `json:"kept"`  // files that were there already, with the same hash
}

// Push copies a bundle to the store, under the name of its folder. Each file is hashed on its way
// and compared with the manifest, so a damaged bundle is not pushed. Pushing again resumes an
// interrupted push, repairs files that were altered in the store, and adds new entries of the custody
// log. progress may be nil.
//
// It returns an error that wraps ErrTaken or ErrBusy if another bundle has or will have the name,
// *bundle.DamagedError if a file is not as listed, or the errors of OpenWith and of the store.
func (s *Store) Push(ctx context.Context, dir string, progress func(done, total int64)) (*Pushed, error) {
	b, err := bundle.Open(dir)
	if err != nil {
		return nil, err
	}
	name := filepath.Base(b.Dir)
	if !plainName(name) {
		return nil, fmt.Errorf("pushing %s: in a store the name of a bundle ends with %s and has no special characters: %w", dir, Extension, ErrAddress)
	}
	p := &push{Store: s, dir: b.Dir, name: name, out: &Pushed{Name: name}, progress: progress}
	if err := p.run(ctx, b); err != nil {
		return nil, fmt.Errorf("pushing %s: %w", dir, err)
	}
	return p.out, nil
}

type push struct {
	*Store
	dir, name string
	tag       []byte // the tag manifest
	out       *Pushed
	progress  func(done, total int64)

	mu          sync.Mutex
	done, total int64
}

func (p *push) run(ctx context.Context, b *bundle.Bundle) error {
	known := map[string]string{}
	for _, f := range b.Payload() {
		known[f.Path] = f.SHA256.String()
	}
	list, err := transfer.List(p.dir, func(name string) (string, bool) { sum, ok := known[name]; return sum, ok })
	if err != nil {
		return err
	}
	if p.tag, err = os.ReadFile(filepath.Join(p.dir, tagManifest)); err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(f transfer.File) bool { return f.Name == tagManifest })
	p.total = transfer.Total(list)
	there, whole, err := p.claim(ctx)
	if err != nil {
		return err
	}
	if err := p.each(ctx, list, there); err != nil {
		return err
	}
	if whole {
		p.out.Kept++
		return p.release(ctx)
	}
	if err := p.compare(ctx, list); err != nil {
		return err
	}
	if err := p.put(ctx, tagManifest, bytes.NewReader(p.tag), sha256.Sum256(p.tag), true); err != nil {
		// Another push of the same bundle may have been faster.
		if !errors.Is(err, ErrTaken) || p.same(ctx) != nil {
			return err
		}
	}
	p.out.Files++
	p.out.Bytes += int64(len(p.tag))
	return p.release(ctx)
}

// claim makes sure that nobody else writes a bundle of this name. It returns what the store has of it, and
// whether that is the whole bundle.
func (p *push) claim(ctx context.Context) (there map[string]object, whole bool, err error) {
	for _, claimed := range []bool{false, true} {
		if claimed {
			if err := p.mark(ctx); err != nil {
				return nil, false, err
			}
		}
		// After the marker was written too: a push of another bundle may have ended just before.
		if there, err = p.objects(ctx, p.name); err != nil {
			return nil, false, err
		}
		if _, whole = there[tagManifest]; !whole {
			continue
		}
		if err := p.same(ctx); err != nil {
			if claimed {
				err = errors.Join(err, p.release(ctx))
			}
			return nil, false, err
		}
		break
	}
	return there, whole, nil
}

// same returns ErrTaken if the store's bundle is another one.
func (p *push) same(ctx context.Context) error {
	tag, err := p.read(ctx, p.name+"/"+tagManifest)
	if err == nil && !bytes.Equal(tag, p.tag) {
		err = ErrTaken
	}
	return err
}

// mark writes the marker of this bundle, if there is none.
func (p *push) mark(ctx context.Context) error {
	sum := fmt.Sprintf("%x", sha256.Sum256(p.tag))
	err := p.bucket.WriteAll(ctx, p.name+marker, []byte(sum), &blob.WriterOptions{IfNotExist: true, ContentType: "text/plain"})
	if code := gcerrors.Code(err); code != gcerrors.FailedPrecondition && code != gcerrors.AlreadyExists {
		if err != nil {
			return p.failed("writing", p.name+marker, err)
		}
		return nil
	}
	other, err := p.read(ctx, p.name+marker)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // that push has ended since: its bundle is whole
	}
	if err == nil && string(other) != sum {
		err = fmt.Errorf("%w: push that one again, or delete %s/%s", ErrBusy, p.Address, p.name+marker)
	}
	return err
}

// release removes the marker.
func (p *push) release(ctx context.Context) error {
	if err := p.bucket.Delete(ctx, p.name+marker); err != nil && gcerrors.Code(err) != gcerrors.NotFound {
		return p.failed("deleting", p.name+marker, err)
	}
	return nil
}

// each writes files that are not there yet.
func (p *push) each(ctx context.Context, list []transfer.File, there map[string]object) error {
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(pushers)
	for _, f := range list {
		group.Go(func() error { return p.file(inner, f, there) })
	}
	err := group.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (p *push) file(ctx context.Context, f transfer.File, there map[string]object) error {
	if ctx.Err() != nil {
		return nil
	}
	key := p.name + "/" + f.Name
	if o, ok := there[f.Name]; ok && o.size == f.Size {
		sum, err := p.sum(ctx, key)
		if err != nil {
			return err
		}
		if sum == f.SHA256 {
			p.count(0, 0, 1)
			p.moved(f.Size)
			return nil
		}
	}
	if strings.HasPrefix(f.Name, custody) && there[f.Name] != (object{}) {
		if err := p.grows(ctx, key, f); err != nil {
			return err
		}
	}
	sum, err := hex.DecodeString(f.SHA256)
	if err != nil {
		return err
	}
	file, err := os.Open(filepath.Join(p.dir, filepath.FromSlash(f.Name)))
	if err != nil {
		return err
	}
	defer file.Close()
	if err := p.put(ctx, f.Name, &moving{file, p.moved}, [32]byte(sum), false); err != nil {
		return err
	}
	p.count(1, f.Size, 0)
	return nil
}

// sum is the hash of an object, from its metadata or, if it has none, of its bytes.
func (p *push) sum(ctx context.Context, key string) (string, error) {
	a, err := p.bucket.Attributes(ctx, key)
	if err != nil {
		return "", p.failed("looking for", key, err)
	}
	if sum := a.Metadata[hashKey]; sum != "" {
		return sum, nil
	}
	h := sha256.New()
	if err := p.bucket.Download(ctx, key, h, nil); err != nil {
		return "", p.failed("reading", key, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// grows checks that a file of custody is what the store has, with more at its end.
func (p *push) grows(ctx context.Context, key string, f transfer.File) error {
	old, err := p.read(ctx, key)
	if err != nil {
		return err
	}
	now, err := os.ReadFile(filepath.Join(p.dir, filepath.FromSlash(f.Name)))
	if err == nil && !bytes.HasPrefix(now, old) {
		err = fmt.Errorf("%w, or its custody was continued elsewhere: %s is not the beginning of the local one", ErrTaken, path.Join(p.Address, key))
	}
	return err
}

// put writes an object whose bytes must have a hash. If they do not, nothing is written.
func (p *push) put(ctx context.Context, rel string, r io.Reader, sum [32]byte, onlyNew bool) error {
	key := p.name + "/" + rel
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // before Close, it prevents the object
	w, err := p.bucket.NewWriter(ctx, key, &blob.WriterOptions{Metadata: map[string]string{hashKey: hex.EncodeToString(sum[:])}, IfNotExist: onlyNew, ContentType: "application/octet-stream", BufferSize: 8 << 20})
	if err != nil {
		return p.failed("writing", key, err)
	}
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(w, h), r); err != nil {
		cancel()
		return errors.Join(p.failed("writing", key, err), ignored(w.Close()))
	}
	if got := h.Sum(nil); !bytes.Equal(got, sum[:]) {
		cancel()
		return errors.Join(&bundle.DamagedError{File: rel, What: fmt.Sprintf("its SHA-256 is %x, not %x as listed", got, sum)}, ignored(w.Close()))
	}
	if err := w.Close(); err != nil {
		if code := gcerrors.Code(err); onlyNew && (code == gcerrors.FailedPrecondition || code == gcerrors.AlreadyExists) {
			return ErrTaken
		}
		return p.failed("writing", key, err)
	}
	return nil
}

// ignored is for the error of what was cancelled.
func ignored(error) error { return nil }

// compare checks that the store has all files with their sizes, and no other.
func (p *push) compare(ctx context.Context, list []transfer.File) error {
	there, err := p.objects(ctx, p.name)
	if err != nil {
		return err
	}
	if _, ok := there[tagManifest]; ok { // another push of the same bundle was faster
		if err := p.same(ctx); err != nil {
			return err
		}
		delete(there, tagManifest)
	}
	for _, f := range list {
		o, ok := there[f.Name]
		if !ok || o.size != f.Size {
			return fmt.Errorf("the store says that %s/%s/%s has %d bytes, not the %d that were written", p.Address, p.name, f.Name, o.size, f.Size)
		}
		delete(there, f.Name)
	}
	if len(there) > 0 {
		return fmt.Errorf("the store has %s/%s/%s, which does not belong to this bundle: %w", p.Address, p.name, slices.Min(slices.Collect(maps.Keys(there))), ErrTaken)
	}
	return nil
}

func (p *push) count(files, bytes, kept int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.out.Files += files
	p.out.Bytes += bytes
	p.out.Kept += kept
}

func (p *push) moved(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done += n; p.progress != nil {
		p.progress(p.done, p.total)
	}
}

// moving reports how many bytes were read.
type moving struct {
	io.Reader
	moved func(n int64)
}

func (m *moving) Read(b []byte) (int, error) {
	n, err := m.Reader.Read(b)
	m.moved(int64(n))
	return n, err
}
