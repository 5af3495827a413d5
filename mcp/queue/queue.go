// Package queue decides when a question is answered: it shares slots between clients in turn,
// and lets clients that ask the same share one answer. The state of a waiting question can be
// read at any time.
package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// Limits of the queues.
const (
	maxWaiting       = 1024 // questions in all
	maxWaitingClient = 64   // of one client
)

// ErrBusy reports that too many questions are waiting.
var ErrBusy = errors.New("the server is busy with other questions; ask again in a few seconds")

// Fair shares slots between clients in turn, so that a client with a hundred questions
// delays only itself. One client never holds all slots, unless there is only one.
type Fair struct {
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

// NewFair returns a queue for a number of slots.
func NewFair(slots int) *Fair {
	return &Fair{free: slots, most: max(1, slots-1), clients: map[string]*line{}}
}

// Acquire waits for a slot; release frees it.
func (f *Fair) Acquire(ctx context.Context, client string) (release func(), err error) {
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
			return nil, fmt.Errorf("%d questions of this client are already waiting: %w", own, ErrBusy)
		}
		return nil, ErrBusy
	}
	w := &waiter{l, make(chan struct{})}
	if len(l.wait) == 0 {
		f.ring = append(f.ring, l)
	}
	l.wait = append(l.wait, w)
	f.waiting++
	f.mu.Unlock()
	st := StageOf(ctx)
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

// Load returns how many slots are free, and how many questions wait.
func (f *Fair) Load() (free, waiting int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.free, f.waiting
}

// before counts the waiting questions that are ahead of w at present.
func (f *Fair) before(w *waiter) (n int) {
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

func (f *Fair) release(l *line) {
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
func (f *Fair) forget(l *line) {
	if l.held == 0 && len(l.wait) == 0 && f.clients[l.key] == l {
		delete(f.clients, l.key)
	}
}
