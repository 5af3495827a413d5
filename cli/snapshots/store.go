// Package snapshots keeps snapshots of a ring in a folder, and makes bundles of them on
// request, so that a server can answer questions about the machine that it runs on.
//
// A snapshot is a folder: held/ with hard links to whole segments, their seals and side
// files, snapshot.json with the request, and a bundle for each dissection. It survives
// restarts. A dissection that a restart interrupts is lost and can be started again. The
// package does not change the ring; it only asks the recorder to seal its segments.
package snapshots

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/internal/whole"
	"github.com/pcapsule/pcapsule/mcp/store"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

// Limits of a store.
const (
	sealWait     = 20 * time.Second // for the recorder to seal its segments
	maxSnapshots = 1000
	maxRunning   = 2 // dissections at once, and recordings at once
	maxCapture   = time.Hour
)

const (
	heldName = "held"
	infoName = "snapshot.json"
	bundled  = ".pcapsule"
)

// Store implements store.Store on one ring.
type Store struct {
	ring    string
	dir     string
	export  Export
	program string
	onError func(error)

	mu       sync.Mutex
	jobs     map[string]*job     // by db
	known    map[string]known    // by bundle.json
	captures map[string]*capture // running, by name
	live     Live                // nil: off
	liveKeep time.Duration
	begun    sync.Once       // the first question about live has waited
	ctx      context.Context // ends with the store
	end      context.CancelFunc
	running  sync.WaitGroup
}

// Export makes a bundle at to of the segments in the folder from, limited to a time range in
// ns since 1970 UTC; 0 means no bound. It reports its progress to done, which may be nil.
type Export func(ctx context.Context, from, to string, fromNs, toNs int64, done func(Progress)) (*bundle.Manifest, error)

// Progress is the progress of an export.
type Progress struct{ ReadBytes, TotalBytes, Packets, Calls int64 }

// Options of a store.
type Options struct {
	Ring    string
	Dir     string // folder of the snapshots; created if it does not exist
	Export  Export
	Program string        // name and version, for recordings
	OnError func(error)   // called for errors that no request returns
	Follow  Follow        // begins the live run; nil: there is none
	Keep    time.Duration // of the live run
}

// Open opens the folder of a store.
func Open(o Options) (*Store, error) {
	ringDir, err := filepath.EvalSymlinks(o.Ring)
	if err != nil {
		return nil, err
	}
	if _, err := ring.Open(ringDir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, err
	}
	s := &Store{ring: ringDir, liveKeep: o.Keep, dir: o.Dir, export: o.Export, program: o.Program, onError: o.OnError, jobs: map[string]*job{}, known: map[string]known{}, captures: map[string]*capture{}}
	if s.onError == nil {
		s.onError = func(error) {}
	}
	s.ctx, s.end = context.WithCancel(context.Background())
	if _, err := ring.SweepHolds(o.Dir, ringDir, filepath.Dir(ringDir)); err != nil {
		s.onError(err)
	}
	if o.Follow != nil {
		if s.live, err = o.Follow(s.ctx, s.ring, s.onError); err != nil {
			s.end()
			return nil, err
		}
	}
	return s, nil
}

// Close ends running recordings and dissections, and waits for them.
func (s *Store) Close() {
	s.end()
	s.running.Wait()
	if s.live == nil {
		return
	}
	if err := s.live.Close(); err != nil {
		s.onError(err)
	}
}

var goodName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)

func badRequest(format string, args ...any) error {
	return &store.RequestError{Text: fmt.Sprintf(format, args...)}
}

// named checks a name that becomes a folder's name.
func named(what, name string) error {
	if !goodName.MatchString(name) || strings.HasSuffix(name, bundled) {
		return badRequest("%s %.120q: must be 1 to 100 letters, digits, dots, dashes and underscores, a letter or digit first", what, name)
	}
	if !strings.EqualFold(bundle.SafeName(name), name) { // the folder may be copied to Windows later
		return badRequest("%s %.120q: Windows reserves this name for a device, or drops the dot at its end; choose another", what, name)
	}
	return nil
}

// Boundaries implements store.Store.
func (s *Store) Boundaries(context.Context) ([]store.Boundary, error) {
	r, err := ring.Open(s.ring)
	if err != nil {
		return nil, err
	}
	nodes := map[string]*store.Boundary{}
	first, last := map[string]ring.Time{}, map[string]ring.Time{}
	for i := range r.Segments {
		x := &r.Segments[i]
		b := nodes[x.ID.Node]
		if b == nil {
			b = &store.Boundary{Node: x.ID.Node, Recording: r.Writing, Holes: len(r.Holes)}
			nodes[x.ID.Node] = b
		}
		if x.Seal == nil || x.Missing {
			b.Bytes += x.Size
			continue
		}
		b.Segments++
		b.Bytes += x.Seal.Size
		b.Packets += int64(x.Seal.Packets)
		if x.Seal.Packets == 0 {
			continue
		}
		if f := first[x.ID.Node]; f == 0 || x.Seal.First < f {
			first[x.ID.Node] = x.Seal.First
		}
		last[x.ID.Node] = max(last[x.ID.Node], x.Seal.Last)
	}
	out := []store.Boundary{}
	for name, b := range nodes {
		if first[name] > 0 {
			b.Oldest, b.OldestMs = first[name].String(), int64(first[name])/1e6
			b.Newest, b.NewestMs = last[name].String(), int64(last[name])/1e6
		}
		out = append(out, *b)
	}
	slices.SortFunc(out, func(a, b store.Boundary) int { return strings.Compare(a.Node, b.Node) })
	return out, nil
}

// Snapshots implements store.Store.
func (s *Store) Snapshots(context.Context) ([]store.Snapshot, error) {
	list, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, err
	}
	out := []store.Snapshot{}
	for _, e := range list {
		if !e.IsDir() || named("snapshot", e.Name()) != nil {
			continue
		}
		x, err := s.read(e.Name())
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, store.ErrNoSnapshot) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b store.Snapshot) int {
		return cmp.Or(strings.Compare(b.CreatedAt, a.CreatedAt), strings.Compare(a.Name, b.Name))
	})
	return out, nil
}

// read reads the description of a snapshot, with its dissections.
func (s *Store) read(name string) (x store.Snapshot, err error) {
	if err := named("snapshot", name); err != nil {
		return x, err
	}
	s.mu.Lock() // a recording that ends changes both at once
	text, err := os.ReadFile(filepath.Join(s.dir, name, infoName))
	c := s.captures[name]
	s.mu.Unlock()
	if errors.Is(err, fs.ErrNotExist) {
		return x, fmt.Errorf("%s: %w", name, store.ErrNoSnapshot)
	}
	if err != nil {
		return x, err
	}
	if err := json.Unmarshal(text, &x); err != nil {
		return x, fmt.Errorf("snapshot %s: %s: %w", name, infoName, err)
	}
	x.Dissections = []string{}
	list, err := s.Dissections(s.ctx, name)
	for _, d := range list {
		if d.Status == completed {
			x.Dissections = append(x.Dissections, d.DB)
		}
	}
	switch {
	case c != nil && x.Status == recording:
		x.Packets, x.Bytes = c.packets.Load(), c.bytes.Load()
	case x.Status == recording:
		x.Status, x.Error = failed, "the server ended during the recording"
	}
	return x, err
}

func (s *Store) write(x store.Snapshot) error {
	x.Dissections = []string{}
	text, err := json.MarshalIndent(x, "", "  ")
	if err != nil {
		return err
	}
	return whole.Replace(filepath.Join(s.dir, x.Name, infoName), 0o600, whole.Text(append(text, '\n')))
}

// reserve creates a snapshot's folder, which reserves its name.
func (s *Store) reserve(name string) (string, error) {
	if err := named("snapshot", name); err != nil {
		return "", err
	}
	list, err := os.ReadDir(s.dir)
	if err != nil {
		return "", err
	}
	if len(list) >= maxSnapshots {
		return "", errors.New(plural.Sprintf("%d {snapshot is|snapshots are} kept: delete some", len(list)))
	}
	dir := filepath.Join(s.dir, name)
	if err := os.Mkdir(dir, 0o700); errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("%s: %w", name, store.ErrNameTaken)
	} else if err != nil {
		return "", err
	}
	return dir, nil
}

// DeleteSnapshot implements store.Store.
func (s *Store) DeleteSnapshot(ctx context.Context, name string) error {
	if _, err := s.read(name); err != nil && errors.Is(err, store.ErrNoSnapshot) {
		return err
	}
	s.mu.Lock()
	if c := s.captures[name]; c != nil {
		c.stop()
	}
	for db, j := range s.jobs {
		if strings.HasPrefix(db, name+"/") {
			j.stop()
		}
	}
	s.mu.Unlock()
	s.waitFor(ctx, name)
	s.mu.Lock()
	for db := range s.jobs {
		if strings.HasPrefix(db, name+"/") {
			delete(s.jobs, db)
		}
	}
	s.mu.Unlock()
	// Remove the description first, so that a half removed folder is not a snapshot.
	if err := os.Remove(filepath.Join(s.dir, name, infoName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.RemoveAll(filepath.Join(s.dir, name))
}

// waitFor waits until no recording or dissection of a snapshot is running.
func (s *Store) waitFor(ctx context.Context, name string) {
	for ctx.Err() == nil {
		s.mu.Lock()
		busy := s.captures[name] != nil
		for db, j := range s.jobs {
			busy = busy || strings.HasPrefix(db, name+"/") && !j.done()
		}
		s.mu.Unlock()
		if !busy {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}
