package mcp

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/mcp/store"
)

const (
	maxOpen     = 4                // dissections that are open as cases at the same time
	defaultLive = 30 * time.Second // of "live"
)

// dbs are the dissections of the store that are open as cases, the most recently used last.
type dbs struct {
	mu   sync.Mutex
	list []*db
}

type db struct {
	path  string
	cases *cases
}

// caseOf acquires the case that a question is about: the one that db names or, if db is empty,
// the server's bundles, or else the newest dissection of the store.
func (s *Server) caseOf(ctx context.Context, name string) (c *forensics.Case, release func(), err error) {
	if name == "" {
		c, release, err := s.cases.acquire()
		if s.o.Store == nil || err == nil {
			return c, release, err
		}
	}
	path, err := s.pathOf(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	if s.o.Store == nil {
		if c, release, err := s.cases.acquire(); err != nil || len(c.Bundles()) == 1 {
			return c, release, err
		}
	}
	return s.dbs.acquire(ctx, path, s.o.Open)
}

// pathOf returns the path of the bundle that a db names.
func (s *Server) pathOf(ctx context.Context, name string) (string, error) {
	if rest, ok := strings.CutPrefix(name, "live"); ok && !strings.Contains(name, "/") {
		last := defaultLive
		if rest != "" {
			d, err := time.ParseDuration(strings.TrimPrefix(rest, ":"))
			if err != nil {
				return "", badRequest("db %q: want live, or a duration such as live:10s", clip(name, 100))
			}
			last = d
		}
		return s.store().Live(ctx, last)
	}
	snapshot, _, _ := strings.Cut(name, "/")
	list, err := s.store().Dissections(ctx, snapshot)
	if err != nil {
		return "", err
	}
	for _, d := range list {
		switch {
		case name != "" && d.DB != name && d.Snapshot != name:
		case d.Status == "completed":
			return d.Path, nil
		case name != "":
			return "", fmt.Errorf("db %s is %s, %.0f %%: %w", d.DB, d.Status, d.Progress, store.ErrNotReady)
		}
	}
	if name == "" {
		return "", fmt.Errorf("there is no dissection yet: %w: call create_snapshot and start_snapshot_dissection, poll get_snapshot_dissection_status until it is completed, then pass its db; or pass db \"live\" for the last seconds", store.ErrNotReady)
	}
	return "", fmt.Errorf("db %q: %w of that name with a dissection; list_snapshots lists them", clip(name, 100), store.ErrNoSnapshot)
}

// acquire returns the case of a bundle, and opens it if necessary.
func (k *dbs) acquire(ctx context.Context, path string, open func(context.Context, []string) (*forensics.Case, error)) (*forensics.Case, func(), error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i, d := range k.list {
		if d.path == path {
			k.list = append(append(k.list[:i:i], k.list[i+1:]...), d)
			return d.cases.acquire()
		}
	}
	c, err := open(ctx, []string{path})
	if err != nil {
		return nil, nil, err
	}
	d := &db{path, newCases(c)}
	k.list = append(k.list, d)
	var old error
	for len(k.list) > maxOpen {
		old = errors.Join(old, k.list[0].cases.close())
		k.list = k.list[1:]
	}
	c, release, err := d.cases.acquire()
	return c, release, errors.Join(err, old)
}

// forget closes the cases below the folder of a snapshot that is being deleted.
func (k *dbs) forget(part string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	left := k.list[:0]
	for _, d := range k.list {
		if part == "" || strings.Contains(d.path, part) {
			_ = d.cases.close() // read-only: nothing can be lost
		} else {
			left = append(left, d)
		}
	}
	k.list = left
}
