package mcp

import (
	"context"
	"fmt"
	"sync"
)

// stage is the state of one question. Its methods are safe for several goroutines, and do nothing
// on nil.
type stage struct {
	mu   sync.Mutex
	f    *fairQueue // the queue it waits in, or nil
	w    *waiter
	kept bool // the answer was in the cache
}

type stageKey struct{}

func withStage(ctx context.Context) (context.Context, *stage) {
	s := &stage{}
	return context.WithValue(ctx, stageKey{}, s), s
}

func stageOf(ctx context.Context) *stage {
	s, _ := ctx.Value(stageKey{}).(*stage)
	return s
}

func (s *stage) waits(f *fairQueue, w *waiter) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.f, s.w = f, w
}

func (s *stage) setKept() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = true
}

func (s *stage) wasKept() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept
}

// text describes the state for a client.
func (s *stage) text() string {
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
