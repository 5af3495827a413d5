package exporter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/internal/live"
	"github.com/pcapsule/pcapsule/exporter/internal/read"
	"github.com/pcapsule/pcapsule/exporter/internal/write"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

// Limits and defaults of a live run.
const (
	DefaultLiveKeep  = 10 * time.Minute
	DefaultLiveBytes = 2 << 30
	MaxLiveKeep      = 24 * time.Hour
	liveMemory       = 192 << 20 // bytes, of the stages
	settleFor        = 300 * time.Millisecond
	againAfter       = time.Second // until a run that failed begins again
	cutsOfLarge      = 30          // small sets whose rows are also in one large set, at most
	partOfSmall      = 8           // of the bytes that are kept: a large set also ends when its small sets have this part
	livePrefix       = "pcapsule-live-"
)

// FollowOptions of Follow. The zero value keeps 10 minutes.
type FollowOptions struct {
	Keep  time.Duration // of rows; 0 means DefaultLiveKeep
	Most  int64         // bytes of parts; 0 means DefaultLiveBytes
	Every time.Duration // between cuts; 0 means 1 s
	From  int64         // begin with the segments that reach this time, ns; 0 begins Keep before now
	Once  bool          // end with what the ring has
	Temp  string        // folder for the temporary folder; empty: the system's
	Share string        // folder in which the rows of each cut are left for other machines (Mirror); empty: none

	DecodeAs []dissect.DecodeAs
	Release  string
	OnError  func(error) // gets errors after which the run continues; may be nil

	// Gaps returns what the ring lacks without stating it, such as a copy that is behind; nil: nothing.
	Gaps func() []bundle.LiveGap

	repanic    bool
	cutAt      func(packets int64) bool
	interfaces int
}

// Live is a run that follows a ring and keeps the last minutes as a bundle that grows.
type Live struct {
	ring    string
	o       FollowOptions
	packets bundle.Packets
	store   *live.Store
	shared  *live.Shared                   // nil: they are left for nobody
	refused atomic.Pointer[bundle.LiveGap] // up to now; nil: nothing is
	held    *bundle.Held
	dir     string
	stop    context.CancelFunc
	ended   chan struct{}
	err     error // of a run with Once, after ended

	cut int64 // of the run's goroutine
	n   int64 // sets begun
}

// ErrLiveEnded is the error of waiting for a cut of a run that has ended.
var ErrLiveEnded = errors.New("the live run has ended")

// Follow begins to follow a ring. The run ends with ctx or Close, and keeps its parts in a private
// temporary folder, which Close removes; the next program removes the folder of a killed one.
func Follow(ctx context.Context, dir string, o FollowOptions) (*Live, error) {
	if _, err := ring.Open(dir); err != nil {
		return nil, err
	}
	l := &Live{ring: dir, o: o, packets: ringPackets{dir}}
	if err := l.begin(ctx, l.run); err != nil {
		return nil, err
	}
	return l, nil
}

// begin makes the store, and begins the run.
func (l *Live) begin(ctx context.Context, run func(context.Context)) (err error) {
	o := &l.o
	o.Keep, o.Most, o.Every = cmp.Or(o.Keep, DefaultLiveKeep), cmp.Or(o.Most, DefaultLiveBytes), cmp.Or(o.Every, time.Second)
	o.Temp = cmp.Or(o.Temp, os.TempDir())
	if o.OnError == nil {
		o.OnError = func(error) {}
	}
	l.ended = make(chan struct{})
	if err := l.makeFolder(); err != nil {
		return fmt.Errorf("making the folder of the live bundle: %w", err)
	}
	if l.store, err = live.NewStore(l.dir, o.Keep, o.Most); err == nil && o.Share != "" {
		l.shared, err = live.NewShared(o.Share)
	}
	if err != nil {
		l.held.Release()
		return errors.Join(err, os.RemoveAll(l.dir))
	}
	ctx, l.stop = context.WithCancel(ctx)
	go func() {
		defer close(l.ended)
		run(ctx)
	}()
	return nil
}

// makeFolder makes the temporary folder, and removes those that killed programs left.
func (l *Live) makeFolder() (err error) {
	left, _ := filepath.Glob(filepath.Join(l.o.Temp, livePrefix+"*")) // the pattern is valid
	for _, dir := range left {
		bundle.RemoveUnheld(dir)
	}
	for range 3 { // another program may take a folder for a leftover before it is held
		if l.dir, err = os.MkdirTemp(l.o.Temp, livePrefix); err != nil {
			return err
		}
		if l.held, err = bundle.Hold(l.dir); err == nil {
			return nil
		}
	}
	return err
}

// run runs until ctx ends. After an error the run begins again, with the rows that the ring still has, or
// a part of them if the ring has more interfaces than a run remembers.
func (l *Live) run(ctx context.Context) {
	from := cmp.Or(l.o.From, time.Now().Add(-l.o.Keep).UnixNano())
	for {
		err := l.follow(ctx, from)
		if l.o.Once || ctx.Err() != nil {
			l.err = err
			return
		}
		var full *read.FullError
		if from = time.Now().Add(-l.o.Keep).UnixNano(); errors.As(err, &full) {
			if full.From > from {
				from = full.From
				l.store.Forget(from, "a live run remembers no more interfaces")
			}
		} else {
			l.o.OnError(fmt.Errorf("following ring %s: %w; the live bundle is built again", l.ring, err))
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(againAfter):
		}
	}
}

// Close ends the run and removes its folder.
func (l *Live) Close() error {
	l.stop()
	<-l.ended
	err := l.store.Close()
	if l.shared != nil {
		err = errors.Join(err, l.shared.Close())
	}
	l.held.Release()
	return err
}

// Ended is closed when the run has ended.
func (l *Live) Ended() <-chan struct{} { return l.ended }

// Err is the error of a run with Once, after it has ended.
func (l *Live) Err() error {
	<-l.ended
	return l.err
}

// Last returns the newest cut; its number is 0 before the first.
func (l *Live) Last() bundle.LiveCut {
	c, _ := l.store.Last()
	return bundle.LiveCut{No: c.No, At: c.At, Now: c.Now, Idle: c.Idle}
}

// Wait waits for a cut with a number above after. It returns ErrLiveEnded if there will be none.
func (l *Live) Wait(ctx context.Context, after int64) (bundle.LiveCut, error) {
	for {
		c, next := l.store.Last()
		if c.No > after {
			return bundle.LiveCut{No: c.No, At: c.At, Now: c.Now, Idle: c.Idle}, nil
		}
		select {
		case <-next:
		case <-l.ended:
			if c, _ := l.store.Last(); c.No <= after {
				return bundle.LiveCut{}, ErrLiveEnded
			}
		case <-ctx.Done():
			return bundle.LiveCut{}, context.Cause(ctx)
		}
	}
}

// View makes a bundle of the newest rows, with open calls: those of the last period, or all kept
// rows if last is 0. It returns bundle.ErrNothingLive if there are none.
//
// within limits a view to connections within namespaces, by the rule of cuts; nil does not limit it.
func (l *Live) View(ctx context.Context, last time.Duration, within *bundle.Within) (*bundle.LiveView, error) {
	return l.view(ctx, live.Request{Last: last, Within: within})
}

// Since makes a bundle of the rows that were finished after a cut, for callers that have the ones
// before.
func (l *Live) Since(ctx context.Context, cut int64, within *bundle.Within) (*bundle.LiveView, error) {
	return l.view(ctx, live.Request{Finished: true, After: cut, Within: within})
}

func (l *Live) view(ctx context.Context, r live.Request) (*bundle.LiveView, error) {
	if l.o.Gaps != nil {
		r.Gaps = l.o.Gaps()
	}
	if g := l.refused.Load(); g != nil {
		r.Gaps = append(r.Gaps, bundle.LiveGap{From: g.From, To: time.Now().Truncate(time.Second).UnixNano(), Reason: g.Reason, Detail: g.Detail})
	}
	v, err := l.store.View(ctx, r, l.packets, l.coverage)
	if err != nil {
		return nil, err
	}
	return &bundle.LiveView{Path: v.Path, Bundle: v.Bundle, Cut: v.Cut, Empty: v.Empty}, nil
}

// Open returns the bundle of a view by its path; ok is false for another path.
func (l *Live) Open(path string) (b *bundle.Bundle, ok bool) {
	if v := l.store.Opened(path); v != nil {
		return v.Bundle, true
	}
	return nil, false
}

// coverage writes coverage rows of a view.
func (l *Live) coverage(rows []table.Coverage, to write.Folder) ([]write.Part, error) {
	t, err := write.Open(to, l.o.Release, Protocols(), liveMemory)
	if err != nil {
		return nil, err
	}
	if err := write.Append(t, "coverage", rows); err != nil {
		return nil, err
	}
	return t.FinishRows()
}

// ringPackets reads packets from the segments of a ring.
type ringPackets struct{ dir string }

// Size implements bundle.Packets.
func (p ringPackets) Size(rel string) (int64, error) {
	f, err := p.open(rel)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// ReadAt implements bundle.Packets.
func (p ringPackets) ReadAt(rel string, b []byte, off int64) (int, error) {
	f, err := p.open(rel)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return f.ReadAt(b, off)
}

func (p ringPackets) open(rel string) (*os.File, error) {
	f, err := ring.OpenSegment(p.dir, filepath.Base(rel))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("segment %s: the ring has removed it; its packets are gone: %w", filepath.Base(rel), err)
	}
	return f, err
}
