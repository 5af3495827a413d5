package collect

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// Turns limits how many nodes are asked at once. Others wait in the order in which they came. If they do and nothing was
// done for a time slice, turns that are longer end, so that slow nodes do not stop the rest. While something is done, all
// continue: on a busy hub every node is slow, and to begin again would not help. The zero value and nil limit nothing.
type Turns struct {
	slots   chan struct{}
	slice   time.Duration
	waiting atomic.Int64
	done    atomic.Int64 // works
}

// NewTurns lets n nodes be asked at once.
func NewTurns(n int, slice time.Duration) *Turns {
	return &Turns{slots: make(chan struct{}, n), slice: slice}
}

// errTurn ends a turn.
var errTurn = errors.New("other nodes are waiting")

// maxTurn limits by how many doublings a turn is longer than the first.
const maxTurn = 4

// do calls work when it is its turn. It reports whether the turn ended before the work: then call it again. Each of a
// node's turns, of which it had some, is twice as long as the one before, so that what needs a longer one gets it.
func (t *Turns) do(ctx context.Context, had int, work func(context.Context) error) (ended bool, err error) {
	if t == nil || t.slots == nil {
		return false, work(ctx)
	}
	t.waiting.Add(1)
	select {
	case t.slots <- struct{}{}:
		t.waiting.Add(-1)
	case <-ctx.Done():
		t.waiting.Add(-1)
		return false, context.Cause(ctx)
	}
	defer func() { <-t.slots }()
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	over := time.NewTicker(t.slice << min(had, maxTurn))
	defer over.Stop()
	done := make(chan error, 1)
	go func() { done <- work(inner) }()
	for before := t.done.Load(); ; {
		select {
		case err := <-done:
			if ended = err != nil && ctx.Err() == nil && errors.Is(context.Cause(inner), errTurn); !ended {
				t.done.Add(1)
			}
			return ended, err
		case <-over.C:
			now := t.done.Load()
			if t.waiting.Load() > 0 && now == before {
				cancel(errTurn)
			}
			before = now
		}
	}
}
