// Package cases finds the case that a question is about: the open bundles, or a dissection of a
// ring's snapshot, which it opens on demand. A case is closed after the last answer about it.
// Without a ring, it presents the open bundles as a store of snapshots.
package cases

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
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

// Open opens the bundles of a case.
type Open func(ctx context.Context, paths []string) (*forensics.Case, error)

// Cases are the open bundles and the dissections of a ring.
type Cases struct {
	bundles holder
	dbs     dbs
	pins    pins
	ring    store.Store // nil: there is none
	live    store.Live  // of other rings, without a ring; nil: there is none
	open    Open
}

// New returns Cases that own c, which may be nil if there is a ring, or live.
func New(c *forensics.Case, ring store.Store, live store.Live, open Open) *Cases {
	k := &Cases{ring: ring, live: live, open: open}
	if c != nil {
		k.bundles.now = &openedCase{c: c}
	}
	return k
}

// Acquire returns the case of the open bundles; the caller must call release when done with it.
func (k *Cases) Acquire() (c *forensics.Case, release func(), err error) { return k.bundles.acquire() }

// Replace replaces was, nil for none, by c; it returns false if was is no longer open.
func (k *Cases) Replace(was, c *forensics.Case) bool { return k.bundles.replace(was, c) }

// HasRing reports whether there is a ring.
func (k *Cases) HasRing() bool { return k.ring != nil }

// Forget closes the dissections of a snapshot that is being deleted.
func (k *Cases) Forget(snapshot string) {
	k.dbs.forget(string(filepath.Separator) + snapshot + string(filepath.Separator))
}

// Close closes all cases after the answers in progress.
func (k *Cases) Close() error {
	k.dbs.forget("")
	return k.bundles.close()
}

// OfDB acquires the case that a question is about: the one that db names or, if db is empty, the
// open bundles, or else the newest dissection of the store, or the live calls.
func (k *Cases) OfDB(ctx context.Context, name string) (c *forensics.Case, release func(), err error) {
	if name == "" {
		c, release, err := k.bundles.acquire()
		switch {
		case err == nil || k.ring == nil && k.live == nil:
			return c, release, err
		case k.ring == nil:
			name = "live"
		}
	}
	paths, err := k.pathsOf(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	if k.ring == nil && !isLive(name) {
		if c, release, err := k.bundles.acquire(); err != nil || len(c.Bundles()) == 1 {
			return c, release, err
		}
	}
	return k.dbs.acquire(ctx, paths, k.open)
}

// Follows reports whether there is live traffic, and whether there is a ring of which snapshots can be made.
func (k *Cases) Follows() (live, ring bool) { return k.ring != nil || k.live != nil, k.ring != nil }

// LiveAfter acquires the case of the calls that the live run has finished after a cut, see
// store.Store. The callers that wait for the same cut share one case. c is nil if there is nothing new.
func (k *Cases) LiveAfter(ctx context.Context, after int64) (c *forensics.Case, cut int64, release func(), err error) {
	paths, cut, err := k.Store().LiveAfter(ctx, after)
	if err != nil || len(paths) == 0 {
		return nil, cut, func() {}, err
	}
	c, release, err = k.dbs.acquire(ctx, paths, k.open)
	return c, cut, release, err
}

// isLive reports whether a db is the live traffic.
func isLive(name string) bool {
	return strings.HasPrefix(name, "live") && !strings.Contains(name, "/")
}

// pathsOf returns the paths of the bundles that a db names.
func (k *Cases) pathsOf(ctx context.Context, name string) ([]string, error) {
	if cursor, ok := cutPinned(name); ok {
		path, err := k.pathOf(cursor)
		return []string{path}, err
	}
	if isLive(name) {
		last := defaultLive
		if rest := name[len("live"):]; rest != "" {
			d, err := time.ParseDuration(strings.TrimPrefix(rest, ":"))
			if err != nil {
				return nil, store.BadRequest("db %.100q: must be live, or a duration such as live:10s", name)
			}
			last = d
		}
		return k.Store().Live(ctx, last)
	}
	snapshot, _, _ := strings.Cut(name, "/")
	list, err := k.Store().Dissections(ctx, snapshot)
	if err != nil {
		return nil, err
	}
	for _, d := range list {
		switch {
		case name != "" && d.DB != name && d.Snapshot != name:
		case d.Status == "completed":
			return d.Paths, nil
		case name != "":
			return nil, fmt.Errorf("db %s is %s, %.0f %%: %w", d.DB, d.Status, d.Progress, store.ErrNotReady)
		}
	}
	if name == "" {
		return nil, fmt.Errorf("there is no dissection yet: %w: call create_snapshot and start_snapshot_dissection, poll get_snapshot_dissection_status until it is completed, then pass its db; or pass db \"live\" for the last seconds", store.ErrNotReady)
	}
	return nil, fmt.Errorf("db %.100q: %w of that name with a dissection; list_snapshots lists them", name, store.ErrNoSnapshot)
}

// dbs are the dissections of the store that are open as cases, the most recently used last.
type dbs struct {
	mu   sync.Mutex
	list []*db
}

type db struct {
	key    string // the paths
	holder *holder
}

// acquire returns the case of bundles, and opens it if necessary.
func (k *dbs) acquire(ctx context.Context, paths []string, open func(context.Context, []string) (*forensics.Case, error)) (*forensics.Case, func(), error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	key := strings.Join(paths, "\x00")
	for i, d := range k.list {
		if d.key == key {
			k.list = append(append(k.list[:i:i], k.list[i+1:]...), d)
			return d.holder.acquire()
		}
	}
	c, err := open(ctx, paths)
	if err != nil {
		return nil, nil, err
	}
	d := &db{key, newHolder(c)}
	k.list = append(k.list, d)
	var old error
	for len(k.list) > maxOpen {
		old = errors.Join(old, k.list[0].holder.close())
		k.list = k.list[1:]
	}
	c, release, err := d.holder.acquire()
	return c, release, errors.Join(err, old)
}

// forget closes the cases below the folder of a snapshot that is being deleted.
func (k *dbs) forget(part string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	left := k.list[:0]
	for _, d := range k.list {
		if part == "" || strings.Contains(d.key, part) {
			_ = d.holder.close() // read-only: nothing can be lost
		} else {
			left = append(left, d)
		}
	}
	k.list = left
}
