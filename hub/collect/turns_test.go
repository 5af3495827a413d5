package collect

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestTurns: two slow workers have the only turns, and a hundred others are served nevertheless.
func TestTurns(t *testing.T) {
	turns, done := NewTurns(2, time.Millisecond), atomic.Int64{}
	ctx, stop := context.WithCancel(t.Context())
	var slow, quick sync.WaitGroup
	most, now := atomic.Int64{}, atomic.Int64{}
	for range 2 {
		slow.Go(func() {
			for ctx.Err() == nil {
				ended, err := turns.do(ctx, 0, func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) })
				if ctx.Err() == nil && (!ended || !errors.Is(err, errTurn)) {
					t.Errorf("%v, %v: the turn of a slow worker must end for others", ended, err)
				}
			}
		})
	}
	for range 100 {
		quick.Go(func() {
			if ended, err := turns.do(ctx, 0, func(context.Context) error {
				most.Store(max(most.Load(), now.Add(1)))
				defer now.Add(-1)
				done.Add(1)
				return nil
			}); ended || err != nil {
				t.Errorf("%v, %v", ended, err)
			}
		})
	}
	quick.Wait()
	stop()
	slow.Wait()
	if done.Load() != 100 || most.Load() > 2 {
		t.Errorf("%d were served, %d at once", done.Load(), most.Load())
	}
}

// TestTurnWithoutOthers: nobody is interrupted for nobody, and an own error is no end of a turn.
func TestTurnWithoutOthers(t *testing.T) {
	own := errors.New("own")
	ended, err := NewTurns(1, time.Millisecond).do(t.Context(), 0, func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(30 * time.Millisecond):
			return own
		}
	})
	if ended || !errors.Is(err, own) {
		t.Errorf("%v, %v", ended, err)
	}
	if ended, err := (*Turns)(nil).do(t.Context(), 0, func(context.Context) error { return own }); ended || !errors.Is(err, own) {
		t.Errorf("without turns: %v, %v", ended, err)
	}
}
