package read

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/internal/round"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// Limits of following a ring.
const (
	followedWindow = 256 << 10             // bytes read at once
	heldMost       = time.Second           // that a round may wait for a proof, see lookahead
	moreSoon       = 5 * time.Millisecond  // to wait for another series that has more
	looksEvery     = 128                   // packets between looks at the clock
	defaultMost    = 1 << 16               // interfaces of all segments
	sidesFor       = 2 * time.Minute       // that the key log of an ended segment is read on
	sidesEvery     = 50 * time.Millisecond // between looks for side files that did not exist
	defaultEvery   = time.Second           // between cuts
)

// FullError means that a live run has seen as many interfaces as it can remember. A new run that
// begins at From sees about half as many.
type FullError struct{ From int64 }

func (e *FullError) Error() string {
	return "the segments have more interfaces than a live run remembers; make a bundle of the ring instead"
}

// Followed is a ring that is read while it is written.
type Followed struct {
	Dir    string
	From   int64                    // segments that end before are not read, ns since 1970 UTC
	Every  time.Duration            // between cuts; 0 means 1 s
	Took   func() time.Duration     // how long the last cut took to be shown; may be nil
	Settle time.Duration            // how long bytes wait for what side files say of them
	Keep   time.Duration            // of capture time that ended inputs are listed
	Once   bool                     // end with what the ring has
	CutAt  func(packets int64) bool // cuts also after this number of packets, for tests; may be nil
	Shown  int64                    // what earlier runs have shown: a cut parts what is newer from it; 0: nothing
	Most   int                      // interfaces of all segments; 0 means 65,536. Each is remembered while its flows may last
}

// live is the state of a run that follows a ring. Each series has a goroutine while it waits for
// bytes; it owns the series meanwhile.
type live struct {
	o       Followed
	ctx     context.Context // of the goroutines
	stop    context.CancelFunc
	running sync.WaitGroup
	keys    *secrets.Store
	series  map[string]*series
	filled  chan *series
	cutAt   time.Time
	looks   int
	since   []time.Time // when the rounds of Reader.ahead began to wait
	sides   sideTails
	seals   sealTail
	half    int64 // first packet of the segment with which half of the interfaces were met, ns
}

// Follow prepares to read a ring while it is written. Keys in the ring go to store.
func Follow(o Followed, store *secrets.Store, pool round.Pool, opt Options) (*Reader, error) {
	r, err := New(&Inputs{}, nil, pool, opt)
	if err != nil {
		return nil, err
	}
	o.Every, o.Most = cmp.Or(o.Every, defaultEvery), cmp.Or(o.Most, defaultMost)
	r.live = &live{o: o, keys: store, series: map[string]*series{}, filled: make(chan *series), cutAt: time.Now()}
	r.live.sides = sideTails{live: r.live, list: map[string]*sideTail{}}
	return r, nil
}

// next finds the next packet, or waits for one. Series are merged by time as far as they can be
// read; a series that waits for the recorder delays no other.
func (l *live) next(ctx context.Context, r *Reader) (*opened, *pcapng.Packet, error) {
	if l.ctx == nil {
		l.ctx, l.stop = context.WithCancel(ctx)
		if err := l.find(); err != nil {
			return nil, nil, err
		}
	}
	for {
		if err := l.look(ctx, r); err != nil {
			return nil, nil, err
		}
		best, behind, over := l.best(r)
		if best != nil && !behind {
			if l.o.Shown != 0 && best.o.now > l.o.Shown {
				l.o.Shown = 0
				if err := l.cut(ctx, r); err != nil {
					return nil, nil, err
				}
			}
			return best.o, &best.o.win.Packets[best.o.at], nil
		}
		if over {
			return nil, nil, nil
		}
		wait := time.Until(l.cutAt.Add(l.every()))
		if best != nil {
			wait = moreSoon
		}
		timer := time.NewTimer(max(wait, 0))
		select {
		case s := <-l.filled:
			if err := l.took(r, s); err != nil {
				return nil, nil, err
			}
		case <-timer.C:
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		}
		timer.Stop()
	}
}

// look makes a cut when it is time.
func (l *live) look(ctx context.Context, r *Reader) error {
	if l.o.CutAt != nil && l.o.CutAt(r.numbered) {
		return l.cut(ctx, r)
	}
	if l.looks++; l.looks%looksEvery != 1 && l.anyReady() {
		return nil
	}
	if time.Since(l.cutAt) >= l.every() {
		return l.cut(ctx, r)
	}
	return nil
}

// every is the time between cuts: at most a third of the time is spent on showing open calls.
func (l *live) every() time.Duration {
	if l.o.Took == nil {
		return l.o.Every
	}
	return l.o.Every + 2*l.o.Took()
}

func (l *live) anyReady() bool {
	for _, s := range l.series {
		if s.ready() {
			return true
		}
	}
	return false
}

// best is the series with the earliest packet. behind says that another one may have an earlier
// packet soon, over that nothing will come.
func (l *live) best(r *Reader) (best *series, behind, over bool) {
	over = l.o.Once
	for _, name := range slices.Sorted(maps.Keys(l.series)) {
		s := l.series[name]
		if !s.busy && !s.over && !s.ready() {
			l.read(r, s)
		}
		switch {
		case s.ready():
			if s.o.order(); best == nil || s.o.now < best.o.now {
				best = s
			}
		case s.busy && !s.f.Idle():
			behind = true
		}
		over = over && s.over
	}
	return best, behind, over
}

// read begins to read the next window of a series.
func (l *live) read(r *Reader, s *series) {
	var w *window
	if s.o != nil {
		if s.o.win != nil {
			s.o.win.Release()
			s.o.win = nil
		}
		s.listed, s.rows = l.soFar(r, s.o)
		select {
		case w = <-r.free:
		default:
			w = &window{home: r.free}
		}
		w.uses.Store(1)
	}
	s.busy, s.win = true, w
	id := r.files
	l.running.Go(func() {
		s.err = s.fill(w, id)
		select {
		case l.filled <- s:
		case <-l.ctx.Done():
		}
	})
}

// soFar describes a segment that is being read, with its coverage rows.
func (l *live) soFar(r *Reader, o *opened) (in bundle.Input, rows []table.Coverage) {
	in = o.describe(false)
	kept := r.cur.Facts.Coverage
	r.cur.Facts.Coverage = nil
	r.cover(o, &in)
	rows, r.cur.Facts.Coverage = r.cur.Facts.Coverage, kept
	return in, rows
}

// FollowedPath is the path of a followed segment inside a live bundle: its own name if a bundle can have it.
func FollowedPath(id ring.ID) string {
	if name := id.Segment(); bundle.SafeName(name) == name {
		return followedDir + name
	}
	node := sha256.Sum256([]byte(id.Node))
	return followedDir + ring.ID{Series: id.Series, Node: hex.EncodeToString(node[:8]), Sequence: id.Sequence}.Segment()
}

// followedDir is the folder of followed segments.
const followedDir = "data/packets/ring/"

// cut sends what was read so far, and a round that says what the inputs are.
func (l *live) cut(ctx context.Context, r *Reader) error {
	l.cutAt = time.Now()
	if err := l.find(); err != nil {
		return err
	}
	l.sides.read(r)
	if err := l.seals.read(l.o.Dir, l.o.From, r); err != nil {
		return err
	}
	r.sendPart(ctx)
	c := &round.Cut{Inputs: slices.Clone(r.closed), Warnings: slices.Clone(r.warnings), Now: r.now, Idle: true}
	for _, name := range slices.Sorted(maps.Keys(l.series)) {
		s := l.series[name]
		c.Idle = c.Idle && (s.over || s.busy && s.f.Idle())
		if s.o == nil {
			continue
		}
		in, rows := s.listed, s.rows
		if !s.busy {
			in, rows = l.soFar(r, s.o)
		}
		c.Inputs, c.Coverage = append(c.Inputs, in), append(c.Coverage, rows...)
	}
	m := r.pool.Get()
	m.Now, m.Last, m.Facts.ReadBytes, m.More, m.Cut, m.Seen = r.now, r.numbered-1, r.readBytes, true, c, r.seen()
	select {
	case r.out <- m:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// find looks for new series.
func (l *live) find() error {
	names, err := ring.SeriesNames(l.o.Dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if l.series[name] != nil {
			continue
		}
		o := ring.FollowOptions{Series: name, From: l.o.From, Settle: l.o.Settle, Once: l.o.Once}
		if l.o.Once {
			o.Settle = 0
		}
		f, err := ring.Follow(l.ctx, l.o.Dir, o)
		if err != nil {
			return err
		}
		l.series[name] = &series{name: name, f: f}
	}
	return nil
}

// end stops the goroutines.
func (l *live) end() {
	if l.stop == nil {
		return
	}
	l.stop()
	l.running.Wait()
	for _, s := range l.series {
		_ = s.f.Close() // read only: nothing can be lost
	}
	l.sides.close()
}
