package mcp

import (
	"context"
	"fmt"
	"sync"
)

// stage is how far the answer to one question is. Its methods may be called from several
// goroutines, and on nil, which notes nothing.
type stage struct {
	mu   sync.Mutex
	f    *fair // where it waits, nil where it does not
	w    *waiter
	kept bool // the answer was made before, for the same question
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

func (s *stage) waits(f *fair, w *waiter) {
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

// text says how far it is.
func (s *stage) text() string {
	if s == nil {
		return "asking"
	}
	s.mu.Lock()
	f, w := s.f, s.w
	s.mu.Unlock()
	if f == nil {
		return "asking"
	}
	return fmt.Sprintf("waiting, %d before this question", f.before(w))
}
