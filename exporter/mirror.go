package exporter

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/internal/live"
	"github.com/pcapsule/pcapsule/exporter/internal/write"
	"github.com/pcapsule/pcapsule/recorder/rows"
)

// mirrorEvery is how often a mirror looks for a new cut.
const mirrorEvery = 100 * time.Millisecond

// Mirror begins to show the rows that another machine shares (FollowOptions.Share), from a copy of its folder. It
// dissects nothing and has no packets. Rows that are damaged, or of a release with other tables, are not shown: they
// are a coverage gap of each view. Of the options it uses Temp, Release, OnError and Gaps.
func Mirror(ctx context.Context, dir string, o FollowOptions) (*Live, error) {
	l := &Live{ring: dir, o: o, packets: noPackets{}}
	if err := l.begin(ctx, (&mirror{Live: l, cuts: rows.NewReader(dir)}).run); err != nil {
		return nil, err
	}
	return l, nil
}

// mirror is a run that takes over what another one shares.
type mirror struct {
	*Live
	adopted *live.Adopted
	cuts    *rows.Reader
	err     error // why the newest cut was refused
}

// run takes over cuts until ctx ends.
func (m *mirror) run(ctx context.Context) {
	if err := m.empty(); err != nil {
		m.o.OnError(fmt.Errorf("making the tables of the live bundle: %w", err))
		return
	}
	t := time.NewTicker(mirrorEvery)
	defer t.Stop()
	for {
		err := m.next(ctx)
		if ctx.Err() != nil {
			return
		}
		m.say(err)
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// empty begins the store with the tables of this release.
func (m *mirror) empty() error {
	set := live.Set{Dir: "empty"}
	t, err := write.Open(m.store.Folder(set.Dir), m.o.Release, Protocols(), liveMemory)
	if err != nil {
		return err
	}
	if set.Parts, err = t.FinishEmpty(); err != nil {
		return err
	}
	m.adopted = m.store.Adopt(m.ring, t.Schema)
	return m.store.Begin(set)
}

// next takes over a new cut, if there is one.
func (m *mirror) next(ctx context.Context) error {
	c, err := m.cuts.Next()
	switch {
	case errors.Is(err, rows.ErrNone):
		return nil
	case err == nil && c == nil:
		return m.err
	case err == nil:
		err = m.adopted.Cut(ctx, c)
		if errors.Is(err, fs.ErrNotExist) && m.replaced(c) {
			return nil
		}
	}
	m.err = err
	return err
}

// replaced reports whether there is another cut now.
func (m *mirror) replaced(c *rows.Cut) bool {
	now, err := rows.Read(m.ring)
	return err == nil && now.No != c.No
}

// say states in views that there are no new rows, and why.
func (m *mirror) say(err error) {
	if err == nil {
		m.refused.Store(nil)
		return
	}
	last, _ := m.store.Last()
	begins := last.No == 0
	if begins {
		last = live.Cut{No: 1, At: time.Now(), Now: time.Now().UnixNano(), Idle: true, Counters: map[string]map[string]int64{}}
	}
	g := &bundle.LiveGap{From: last.At.UnixNano(), Reason: "not_read", Detail: "rows of the node are refused: " + err.Error()}
	if old := m.refused.Swap(g); old == nil || old.Detail != g.Detail {
		m.o.OnError(fmt.Errorf("rows in %s are refused: %w", filepath.Base(m.ring), err))
	}
	if !begins {
		return
	}
	if err := m.store.Publish(last, live.Finished{}); err != nil { // so that there are views, which state it
		m.o.OnError(err)
	}
}

// noPackets are the packets of a node that sends rows only.
type noPackets struct{}

var errNoPackets = fmt.Errorf("the node sends only rows: make a snapshot to get its packets: %w", fs.ErrNotExist)

// Size implements bundle.Packets.
func (noPackets) Size(string) (int64, error) { return 0, errNoPackets }

// ReadAt implements bundle.Packets.
func (noPackets) ReadAt(string, []byte, int64) (int, error) { return 0, errNoPackets }
