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
	maxOpen     = 4                // cases of dissections that are open at once
	defaultLive = 30 * time.Second // of "live"
)

// dbs are the dissections of the store that are open as cases, the last used last.
type dbs struct {
	mu   sync.Mutex
	list []*db
}

type db struct {
	path  string
	cases *cases
}

// caseOf takes the case that a question is about: what db names, or where it names nothing
// the bundles that the server was given, else the newest dissection of the store.
func (s *Server) caseOf(ctx context.Context, name string) (c *forensics.Case, give func(), err error) {
	if name == "" {
		c, give, err := s.cases.take()
		if s.o.Store == nil || err == nil {
			return c, give, err
		}
	}
	path, err := s.pathOf(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	if s.o.Store == nil {
		if c, give, err := s.cases.take(); err != nil || len(c.Bundles()) == 1 {
			return c, give, err
		}
	}
	return s.dbs.take(ctx, path, s.o.Open)
}

// pathOf is the bundle that a db names.
func (s *Server) pathOf(ctx context.Context, name string) (string, error) {
	if rest, ok := strings.CutPrefix(name, "live"); ok && !strings.Contains(name, "/") {
		last := defaultLive
		if rest != "" {
			d, err := time.ParseDuration(strings.TrimPrefix(rest, ":"))
			if err != nil {
				return "", wrong("db %q: want live, or live:10s", clip(name, 100))
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
		return "", fmt.Errorf("nothing is dissected, %w: create_snapshot, start_snapshot_dissection, get_snapshot_dissection_status until it is completed, then ask with its db; or ask with db \"live\" for the last seconds", store.ErrNotReady)
	}
	return "", fmt.Errorf("db %q: %w of that name is dissected; list_snapshots names those that are", clip(name, 100), store.ErrNoSnapshot)
}

// take gives the case of a bundle, opened where it is not.
func (k *dbs) take(ctx context.Context, path string, open func(context.Context, []string) (*forensics.Case, error)) (*forensics.Case, func(), error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i, d := range k.list {
		if d.path == path {
			k.list = append(append(k.list[:i:i], k.list[i+1:]...), d)
			return d.cases.take()
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
	c, give, err := d.cases.take()
	return c, give, errors.Join(err, old)
}

// forget closes what is open below a folder of a snapshot that goes.
func (k *dbs) forget(part string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	left := k.list[:0]
	for _, d := range k.list {
		if part == "" || strings.Contains(d.path, part) {
			_ = d.cases.close() // only read; nothing can be lost
		} else {
			left = append(left, d)
		}
	}
	k.list = left
}
