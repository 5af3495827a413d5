package mcp

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// Limits of the queues.
const (
	maxWaiting       = 1024 // questions in all
	maxWaitingClient = 64   // of one client
)

// How many short and aside answers are made at once. Options.Parallel limits the long ones.
const (
	shortSlots = 2
	asideSlots = 8
)

// kind selects the queue of a question, so that one that takes milliseconds does not wait for
// those that take seconds.
type kind uint8

const (
	long  kind = iota
	short      // reads little
	aside      // needs no case: waits for a recorder, copies packets
)

// line returns the queue of a kind.
func (s *Server) line(k kind) *fairQueue {
	switch k {
	case short:
		return s.short
	case aside:
		return s.aside
	}
	return s.long
}

// fairQueue shares slots between clients in turn, so that a client with a hundred questions
// delays only itself. One client never holds all slots, unless there is only one.
type fairQueue struct {
	mu      sync.Mutex
	free    int
	most    int // slots that one client may hold
	clients map[string]*line
	ring    []*line // lines with waiting questions, the next first
	waiting int
}

// line is the queue of one client.
type line struct {
	key  string
	held int
	wait []*waiter
}

// waiter is one waiting question.
type waiter struct {
	line  *line
	ready chan struct{} // closed when it gets its slot
}

func newFairQueue(slots int) *fairQueue {
	return &fairQueue{free: slots, most: max(1, slots-1), clients: map[string]*line{}}
}

// acquire waits for a slot; release frees it.
func (f *fairQueue) acquire(ctx context.Context, client string) (release func(), err error) {
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
		return func() { f.release(l) }, nil
	}
	if own := len(l.wait); f.waiting >= maxWaiting || own >= maxWaitingClient {
		f.forget(l)
		f.mu.Unlock()
		if own >= maxWaitingClient {
			return nil, fmt.Errorf("%d questions of this client are already waiting: %w", own, errBusy)
		}
		return nil, errBusy
	}
	w := &waiter{l, make(chan struct{})}
	if len(l.wait) == 0 {
		f.ring = append(f.ring, l)
	}
	l.wait = append(l.wait, w)
	f.waiting++
	f.mu.Unlock()
	st := stageOf(ctx)
	st.waits(f, w)
	defer st.waits(nil, nil)
	select {
	case <-w.ready:
		return func() { f.release(l) }, nil
	case <-ctx.Done():
	}
	f.mu.Lock()
	i := slices.Index(l.wait, w)
	if i < 0 { // it got its slot at the same moment
		f.mu.Unlock()
		f.release(l)
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

// before counts the waiting questions that are ahead of w at present.
func (f *fairQueue) before(w *waiter) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	place, at := slices.Index(w.line.wait, w), slices.Index(f.ring, w.line)
	if place < 0 || at < 0 {
		return 0
	}
	for i, l := range f.ring {
		rounds := place // questions of this line ahead of w
		if i < at {
			rounds++
		}
		n += min(rounds, len(l.wait))
	}
	return n
}

func (f *fairQueue) release(l *line) {
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
		close(next.wait[0].ready)
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

// forget removes an unused line.
func (f *fairQueue) forget(l *line) {
	if l.held == 0 && len(l.wait) == 0 && f.clients[l.key] == l {
		delete(f.clients, l.key)
	}
}
