package queue

import (
	"context"
	"fmt"
	"sync"
)

// Stage is the state of one question. Its methods are safe for concurrent use, and do nothing
// on nil.
type Stage struct {
	mu   sync.Mutex
	f    *Fair // the queue it waits in, or nil
	w    *waiter
	kept bool // the answer was in the cache
}

type stageKey struct{}

// WithStage returns a context in which the state of a question is recorded.
func WithStage(ctx context.Context) (context.Context, *Stage) {
	s := &Stage{}
	return context.WithValue(ctx, stageKey{}, s), s
}

// StageOf returns the state that a context records, or nil.
func StageOf(ctx context.Context) *Stage {
	s, _ := ctx.Value(stageKey{}).(*Stage)
	return s
}

func (s *Stage) waits(f *Fair, w *waiter) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.f, s.w = f, w
}

func (s *Stage) setKept() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = true
}

// WasKept reports whether the answer was in the cache.
func (s *Stage) WasKept() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept
}

// Text describes the state for a client.
func (s *Stage) Text() string {
	if s == nil {
		return "reading"
	}
	s.mu.Lock()
	f, w := s.f, s.w
	s.mu.Unlock()
	if f == nil {
		return "reading"
	}
	return fmt.Sprintf("waiting: %d ahead of this question", f.before(w))
}
