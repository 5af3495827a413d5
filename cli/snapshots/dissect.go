package snapshots

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/mcp/store"
)

// job is a running or finished dissection.
type job struct {
	stop context.CancelFunc
	mu   sync.Mutex
	d    store.Dissection
}

func (j *job) state() store.Dissection {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.d
}

func (j *job) done() bool {
	switch j.state().Status {
	case completed, failed, cancelled:
		return true
	}
	return false
}

func (j *job) set(f func(*store.Dissection)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	f(&j.d)
}

// StartDissection implements store.Store.
func (s *Store) StartDissection(_ context.Context, snapshot, name string) (store.Dissection, error) {
	var none store.Dissection
	if err := named("dissection", name); err != nil {
		return none, err
	}
	x, err := s.read(snapshot)
	if err != nil {
		return none, err
	}
	if x.Status != completed {
		return none, fmt.Errorf("snapshot %s is %s: %w", snapshot, x.Status, store.ErrNotReady)
	}
	db := snapshot + "/" + name
	path := filepath.Join(s.dir, snapshot, name+bundled)
	s.mu.Lock()
	defer s.mu.Unlock()
	if j := s.jobs[db]; j != nil && !j.done() {
		return j.state(), nil
	}
	if _, err := os.Stat(path); err == nil {
		return s.finished(snapshot, name)
	}
	ctx, stop := context.WithCancel(s.ctx)
	j := &job{stop: stop, d: store.Dissection{DB: db, Snapshot: snapshot, Name: name, Status: pending, Protocols: map[string]int64{}}}
	s.jobs[db] = j
	s.running.Add(1)
	go func() {
		defer s.running.Done()
		defer stop()
		s.dissect(ctx, j, x, path)
	}()
	return j.state(), nil
}

// dissect makes the bundle.
func (s *Store) dissect(ctx context.Context, j *job, x store.Snapshot, path string) {
	for s.busy() >= maxRunning && ctx.Err() == nil {
		time.Sleep(50 * time.Millisecond)
	}
	j.set(func(d *store.Dissection) { d.Status, d.Stats.Files = running, int64(x.Segments) })
	from, to := window(x)
	m, err := s.export(ctx, filepath.Join(s.dir, x.Name, heldName), path, from, to, func(p Progress) {
		j.set(func(d *store.Dissection) {
			d.Stats.Bytes, d.Stats.Packets, d.Stats.Calls = p.ReadBytes, p.Packets, p.Calls
			if p.TotalBytes > 0 {
				d.Progress = min(99, float64(p.ReadBytes*1000/p.TotalBytes)/10)
			}
		})
	})
	j.set(func(d *store.Dissection) {
		switch {
		case err == nil:
			*d = describe(d.Snapshot, d.Name, m)
			d.Paths = []string{path}
		case ctx.Err() != nil:
			d.Status, d.Error = cancelled, "the snapshot was deleted, or the server ended"
		default:
			d.Status, d.Error = failed, err.Error()
		}
	})
}

// window is the requested time range of a snapshot in ns since 1970 UTC. 0 means no bound,
// as in a separate recording.
func window(x store.Snapshot) (from, to int64) {
	if t, err := time.Parse(time.RFC3339Nano, x.From); err == nil {
		from = t.UnixNano()
	}
	if t, err := time.Parse(time.RFC3339Nano, x.To); err == nil {
		to = t.UnixNano()
	}
	return from, to
}

// busy is the number of running dissections.
func (s *Store) busy() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, j := range s.jobs {
		if j.state().Status == running {
			n++
		}
	}
	return n
}

func describe(snapshot, name string, m *bundle.Manifest) store.Dissection {
	d := store.Dissection{DB: snapshot + "/" + name, Snapshot: snapshot, Name: name, Status: completed, Progress: 100, Protocols: m.Calls, Warnings: m.Warnings,
		Stats: store.DissectionStats{Files: int64(len(m.Inputs)), Bytes: m.Accounts.Bytes, Packets: m.Accounts.Packets}}
	for _, n := range m.Calls {
		d.Stats.Calls += n
	}
	if d.Protocols == nil {
		d.Protocols = map[string]int64{}
	}
	return d
}

// maxKnown is the maximum number of cached dissections.
const maxKnown = 4096

// known is a cached dissection with the bundle.json that it was read from.
type known struct {
	file os.FileInfo
	d    store.Dissection
}

// finished describes an existing bundle. Every question without a db calls it for all
// bundles, so bundle.json is read again only if the file has changed.
func (s *Store) finished(snapshot, name string) (store.Dissection, error) {
	file := filepath.Join(s.dir, snapshot, name+bundled, "data", "bundle.json")
	info, err := os.Stat(file)
	if err != nil {
		return store.Dissection{}, err
	}
	s.mu.Lock()
	k, ok := s.known[file]
	s.mu.Unlock()
	if !ok || !os.SameFile(k.file, info) || !k.file.ModTime().Equal(info.ModTime()) || k.file.Size() != info.Size() {
		if k.d, err = s.readFinished(snapshot, name); err != nil {
			return store.Dissection{}, err
		}
		k.file = info
		s.mu.Lock()
		if len(s.known) >= maxKnown {
			clear(s.known)
		}
		s.known[file] = k
		s.mu.Unlock()
	}
	d := k.d
	d.Protocols, d.Warnings = maps.Clone(d.Protocols), slices.Clone(d.Warnings)
	return d, nil
}

func (s *Store) readFinished(snapshot, name string) (store.Dissection, error) {
	path := filepath.Join(s.dir, snapshot, name+bundled)
	text, err := os.ReadFile(filepath.Join(path, "data", "bundle.json"))
	if err != nil {
		return store.Dissection{}, err
	}
	var m bundle.Manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return store.Dissection{}, fmt.Errorf("dissection %s of %s: %w", name, snapshot, err)
	}
	d := describe(snapshot, name, &m)
	d.Paths = []string{path}
	return d, nil
}

// Dissections implements store.Store.
func (s *Store) Dissections(ctx context.Context, snapshot string) ([]store.Dissection, error) {
	if snapshot == "" {
		all, err := s.Snapshots(ctx)
		out := []store.Dissection{}
		for _, x := range all {
			list, some := s.Dissections(ctx, x.Name)
			out, err = append(out, list...), errors.Join(err, some)
		}
		return out, err
	}
	if err := named("snapshot", snapshot); err != nil {
		return nil, err
	}
	list, err := os.ReadDir(filepath.Join(s.dir, snapshot))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", snapshot, store.ErrNoSnapshot)
	}
	out := []store.Dissection{}
	for _, e := range list {
		name, ok := strings.CutSuffix(e.Name(), bundled)
		if !ok || strings.HasPrefix(name, ".") {
			continue
		}
		d, err := s.finished(snapshot, name)
		if err != nil {
			d = store.Dissection{DB: snapshot + "/" + name, Snapshot: snapshot, Name: name, Status: failed, Error: err.Error(), Protocols: map[string]int64{}}
		}
		out = append(out, d)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for db, j := range s.jobs {
		if !strings.HasPrefix(db, snapshot+"/") || slices.ContainsFunc(out, func(d store.Dissection) bool { return d.DB == db }) {
			continue
		}
		out = append(out, j.state())
	}
	slices.SortFunc(out, func(a, b store.Dissection) int { return strings.Compare(a.DB, b.DB) })
	return out, nil
}
