package exporter

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/pcapsule/pcapsule/exporter/internal/join"
	"github.com/pcapsule/pcapsule/exporter/internal/live"
	"github.com/pcapsule/pcapsule/exporter/internal/memory"
	"github.com/pcapsule/pcapsule/exporter/internal/read"
	"github.com/pcapsule/pcapsule/exporter/internal/round"
	"github.com/pcapsule/pcapsule/exporter/internal/write"
	"github.com/pcapsule/pcapsule/recorder/secrets"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

// following is one run over a ring, from its first packet until it ends or fails.
type following struct {
	*Live
	joiner *join.Live
	base   *write.Tables // has the schemas
	keys   *secrets.Store

	large, small       *write.Tables
	largeSet, smallSet live.Set
	cuts               int   // whose rows large has
	bytes              int64 // of their small sets
	last               *round.Cut
	lastTook           atomic.Int64 // ns
}

// follow follows the ring from a time on.
func (l *Live) follow(ctx context.Context, from int64) error {
	o := Options{DecodeAs: l.o.DecodeAs, Memory: liveMemory, Repanic: l.o.repanic, Release: l.o.Release}
	f := &following{Live: l, keys: secrets.NewStore()}
	if err := f.keys.Ready(); err != nil {
		return err
	}
	if err := f.begin(o.limit()); err != nil {
		return err
	}
	defer f.abort()
	protocols := o.protocols(f.keys)
	reads := func(pool round.Pool) (*read.Reader, error) {
		return read.Follow(read.Followed{Dir: l.ring, From: from, Every: l.o.Every, Took: f.took, Settle: settleFor, Keep: 2 * l.o.Keep, Once: l.o.Once, Shown: l.store.Shown(), CutAt: l.o.cutAt, Most: l.o.interfaces}, f.keys, pool,
			read.Options{Limit: o.limit(), Content: contentOf(protocols())})
	}
	if _, err := pipe(ctx, reads, false, protocols, o, f.round); err != nil {
		return err
	}
	if f.last == nil {
		return nil
	}
	f.cuts = cutsOfLarge
	return f.show(&round.Round{Cut: f.last})
}

// begin makes the tables.
func (f *following) begin(limit memory.Limit) error {
	empty := f.next("empty")
	base, err := write.Open(f.store.Folder(empty.Dir), f.o.Release, Protocols(), limit)
	if err != nil {
		return err
	}
	f.base = base
	if empty.Parts, err = base.FinishEmpty(); err != nil {
		return err
	}
	if err := f.store.Begin(empty); err != nil {
		return err
	}
	f.joiner = join.NewLive(join.New(base, join.NewIdentity(workload.NewIndex(), false), nil, nil, limit))
	f.nextLarge()
	return nil
}

// next begins a set.
func (f *following) next(kind string) live.Set {
	f.n++
	return live.Set{Dir: fmt.Sprintf("%s%06d", kind, f.n), Calls: map[string]int64{}}
}

func (f *following) tables(s *live.Set) *write.Tables { return f.base.Again(f.store.Folder(s.Dir)) }

func (f *following) nextLarge() {
	f.largeSet, f.cuts, f.bytes = f.next("l"), 0, 0
	f.large = f.tables(&f.largeSet)
	f.nextSmall()
}

func (f *following) nextSmall() {
	f.smallSet = f.next("s")
	f.small = f.tables(&f.smallSet)
	f.large.Tee(f.small)
	f.joiner.Into(f.large)
}

func (f *following) abort() {
	f.large.Abort()
	f.small.Abort()
}

// round joins a round, and shows what exists at a cut.
func (f *following) round(r *round.Round) error {
	for i := range r.Packets {
		p := &r.Packets[i]
		if !p.Captured() {
			continue
		}
		for _, s := range [...]*live.Set{&f.largeSet, &f.smallSet} {
			if s.Packets++; s.First == 0 || p.Time < s.First {
				s.First = p.Time
			}
			s.Last = max(s.Last, p.Time)
		}
	}
	for i := range r.Out {
		for k := range r.Out[i].Calls {
			name := r.Out[i].Calls[k].Row.Base().Protocol
			f.largeSet.Calls[name]++
			f.smallSet.Calls[name]++
		}
	}
	if err := f.joiner.Join(r); err != nil {
		return err
	}
	if r.Cut == nil {
		return nil
	}
	f.last = r.Cut
	return f.show(r)
}

// took is how long the last cut took.
func (f *following) took() time.Duration { return time.Duration(f.lastTook.Load()) }

// show publishes a cut.
func (f *following) show(r *round.Round) error {
	begin := time.Now()
	defer func() { f.lastTook.Store(int64(time.Since(begin))) }()
	openSet := f.next("o")
	open := f.tables(&openSet)
	defer open.Abort()
	for i := range r.Open {
		for k := range r.Open[i].Calls {
			openSet.Calls[r.Open[i].Calls[k].Row.Base().Protocol]++
		}
	}
	_, err := f.joiner.Show(r, open)
	if err != nil {
		return err
	}
	c := live.Cut{No: f.Live.cut + 1, At: time.Now(), Now: r.Cut.Now, Idle: r.Cut.Idle, Inputs: r.Cut.Inputs, Warnings: r.Cut.Warnings, Counters: f.joiner.Counters(r)}
	if n := join.LeftOut(r); n > 0 {
		c.Warnings = append(c.Warnings, fmt.Sprintf("open connections that are not shown, because there are too many: %d", n))
	}
	if n := f.keys.Grown().Keys; n > 0 {
		c.Counters["keys"] = map[string]int64{"secrets": n}
	}
	done := live.Finished{Small: f.smallSet, Open: openSet}
	if done.Small.Parts, err = f.small.FinishRows(); err == nil {
		done.Open.Parts, err = open.FinishRows()
	}
	done.Small.Cut, done.Small.To = c.No, c.Now
	f.bytes += done.Small.Bytes()
	if f.cuts++; err == nil && (f.cuts >= cutsOfLarge || f.bytes > f.o.Most/partOfSmall) {
		err = f.finishLarge(r.Cut, &done, &c)
	}
	if err != nil {
		return err
	}
	if done.Large == nil {
		f.nextSmall()
	} else {
		f.nextLarge()
	}
	f.Live.cut = c.No
	if err := f.store.Publish(c, done); err != nil || f.shared == nil {
		return err
	}
	return f.store.Share(f.shared)
}

// finishLarge ends the large set, with what rows of any set may name.
func (f *following) finishLarge(c *round.Cut, done *live.Finished, at *live.Cut) (err error) {
	f.largeSet.Cut, f.largeSet.To = at.No, at.Now
	if f.largeSet.Parts, err = f.large.FinishRows(); err != nil {
		return err
	}
	large, known := f.largeSet, f.next("k")
	t := f.tables(&known)
	defer t.Abort()
	if err := f.joiner.Remember(t, c); err != nil {
		return err
	}
	if known.Parts, err = t.FinishRows(); err != nil {
		return err
	}
	done.Large, done.Known = &large, &known
	return nil
}
