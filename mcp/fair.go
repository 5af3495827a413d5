package mcp

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// Limits of who waits.
const (
	maxWaiting       = 1024 // questions in all
	maxWaitingClient = 64   // of one client
)

// How many answers are made at once beside the long ones, of which Options.Parallel says.
const (
	shortTurns = 2
	asideTurns = 8
)

// kind is for which turn a question waits, so that one that takes milliseconds does not
// wait for those that take seconds.
type kind uint8

const (
	long  kind = iota
	short      // looks little up
	aside      // is about no case: waits for a recorder, copies packets
)

// line is where questions of a kind wait.
func (s *Server) line(k kind) *fair {
	switch k {
	case short:
		return s.short
	case aside:
		return s.aside
	}
	return s.turns
}

// fair gives turns to clients one after the other, so that a client with a hundred
// questions waits for itself and not for others. One client never holds all turns.
type fair struct {
	mu      sync.Mutex
	free    int
	most    int // turns that one client may hold
	clients map[string]*line
	ring    []*line // lines in which somebody waits, the next first
	waiting int
}

// line is one client's.
type line struct {
	key  string
	held int
	wait []*waiter
}

// waiter is one question that waits.
type waiter struct {
	line *line
	turn chan struct{} // closed when it has its turn
}

func newFair(turns int) *fair {
	return &fair{free: turns, most: max(1, turns-1), clients: map[string]*line{}}
}

// take waits for a turn. give ends it.
func (f *fair) take(ctx context.Context, client string) (give func(), err error) {
	f.mu.Lock()
	l := f.clients[client]
	if l == nil {
		l = &line{key: client}
		f.clients[client] = l
	}
	if f.free > 0 && l.held < f.most {
		f.free--
		l.held++
		f.mu.Unlock()
		return func() { f.give(l) }, nil
	}
	if own := len(l.wait); f.waiting >= maxWaiting || own >= maxWaitingClient {
		f.forget(l)
		f.mu.Unlock()
		if own >= maxWaitingClient {
			return nil, fmt.Errorf("%d questions of this client wait already: %w", own, errBusy)
		}
		return nil, errBusy
	}
	mine := &waiter{l, make(chan struct{})}
	if len(l.wait) == 0 {
		f.ring = append(f.ring, l)
	}
	l.wait = append(l.wait, mine)
	f.waiting++
	f.mu.Unlock()
	st := stageOf(ctx)
	st.waits(f, mine)
	defer st.waits(nil, nil)
	select {
	case <-mine.turn:
		return func() { f.give(l) }, nil
	case <-ctx.Done():
	}
	f.mu.Lock()
	i := slices.Index(l.wait, mine)
	if i < 0 { // the turn came at the same moment
		f.mu.Unlock()
		f.give(l)
		return nil, ctx.Err()
	}
	l.wait = slices.Delete(l.wait, i, i+1)
	f.waiting--
	if len(l.wait) == 0 {
		f.ring = slices.DeleteFunc(f.ring, func(o *line) bool { return o == l })
	}
	f.forget(l)
	f.mu.Unlock()
	return nil, ctx.Err()
}

// before is how many questions that wait will have their turn before w, as it looks now.
func (f *fair) before(w *waiter) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	place, at := slices.Index(w.line.wait, w), slices.Index(f.ring, w.line)
	if place < 0 || at < 0 {
		return 0
	}
	for i, l := range f.ring {
		rounds := place // turns that the line has before w
		if i < at {
			rounds++
		}
		n += min(rounds, len(l.wait))
	}
	return n
}

func (f *fair) give(l *line) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.free++
	l.held--
	for f.free > 0 {
		i := slices.IndexFunc(f.ring, func(o *line) bool { return o.held < f.most })
		if i < 0 {
			break
		}
		next := f.ring[i]
		f.ring = slices.Delete(f.ring, i, i+1)
		close(next.wait[0].turn)
		next.wait = next.wait[1:]
		next.held++
		f.free--
		f.waiting--
		if len(next.wait) > 0 {
			f.ring = append(f.ring, next)
		}
	}
	f.forget(l)
}

// forget drops a line that nobody uses.
func (f *fair) forget(l *line) {
	if l.held == 0 && len(l.wait) == 0 && f.clients[l.key] == l {
		delete(f.clients, l.key)
	}
}
