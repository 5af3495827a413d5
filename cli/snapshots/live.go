package snapshots

import (
	"context"
	"errors"
	"time"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/mcp/store"
)

// catchUp is how long a question about live waits for a run that has just begun.
const catchUp = 10 * time.Second

// Live is a run that follows a ring. A view covers the last time, or the rows after a cut; within limits it to
// connections within namespaces, nil does not.
type Live interface {
	Last() bundle.LiveCut
	Wait(ctx context.Context, after int64) (bundle.LiveCut, error)
	View(ctx context.Context, last time.Duration, within *bundle.Within) (*bundle.LiveView, error)
	Since(ctx context.Context, cut int64, within *bundle.Within) (*bundle.LiveView, error)
	Open(path string) (b *bundle.Bundle, ok bool)
	Close() error
}

// Follow begins a live run.
type Follow func(ctx context.Context, ring string, onError func(error)) (Live, error)

var errNotLive = &store.RequestError{Text: "db live is off: this server was started with --live-keep 0"}

// Live implements store.Live. The bundle is a view of the live run: it is never sealed.
func (s *Store) Live(ctx context.Context, last time.Duration) ([]string, error) {
	switch {
	case s.live == nil:
		return nil, errNotLive
	case last <= 0 || last > s.liveKeep:
		return nil, badRequest("the last %s: live has at most %s (serve --live-keep); make a snapshot for more", last, s.liveKeep)
	}
	if err := s.caughtUp(ctx); err != nil {
		return nil, err
	}
	v, err := s.live.View(ctx, last, nil)
	if errors.Is(err, bundle.ErrNothingLive) {
		return nil, badRequest("nothing was recorded in the last %s", last)
	}
	if err != nil {
		return nil, err
	}
	return []string{v.Path}, nil
}

// caughtUp waits until a run that has just begun has read the ring. Later a run that is behind says so
// in its answers.
func (s *Store) caughtUp(ctx context.Context) error {
	s.begun.Do(func() {
		ctx, cancel := context.WithTimeout(ctx, catchUp)
		defer cancel()
		for c := s.live.Last(); !c.Idle; {
			var err error
			if c, err = s.live.Wait(ctx, c.No); err != nil {
				return
			}
		}
	})
	if s.live.Last().No > 0 {
		return nil
	}
	_, err := s.live.Wait(ctx, 0)
	return err
}

// LiveAfter implements store.Live.
func (s *Store) LiveAfter(ctx context.Context, after int64) (paths []string, cut int64, err error) {
	if s.live == nil {
		return nil, 0, errNotLive
	}
	first := after <= 0
	if first {
		if err := s.caughtUp(ctx); err != nil {
			return nil, 0, err
		}
		after = s.live.Last().No
	} else if _, err := s.live.Wait(ctx, after); err != nil {
		return nil, 0, err
	}
	v, err := s.live.Since(ctx, after, nil)
	if err != nil {
		return nil, 0, err
	}
	if v.Empty && !first {
		return nil, v.Cut, nil
	}
	return []string{v.Path}, v.Cut, nil
}

// OpenBundle opens a bundle, or a view of the live run.
func (s *Store) OpenBundle(path string, o bundle.OpenOptions) (*bundle.Bundle, error) {
	if s.live != nil {
		if b, ok := s.live.Open(path); ok {
			return b, nil
		}
	}
	return bundle.OpenWith(path, o)
}
