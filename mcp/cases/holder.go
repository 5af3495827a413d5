package cases

import (
	"errors"
	"sync"

	"github.com/pcapsule/pcapsule/forensics"
)

// holder holds an open case. The case may be replaced while answers about it are being made;
// it is then closed after the last of them.
type holder struct {
	mu     sync.Mutex
	now    *openedCase // nil: none is open
	closed bool        // and none may be opened
}

// openedCase is a case with the number of answers in progress.
type openedCase struct {
	c     *forensics.Case
	users int
	old   bool // replaced: close it when users is 0
}

func newHolder(c *forensics.Case) *holder { return &holder{now: &openedCase{c: c}} }

// ErrClosed reports that the server is shutting down.
var ErrClosed = errors.New("the case is closed")

// acquire returns the open case; the caller must call release when done with it.
func (k *holder) acquire() (c *forensics.Case, release func(), err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	h := k.now
	if h == nil {
		return nil, nil, ErrClosed
	}
	h.users++
	return h.c, sync.OnceFunc(func() { k.release(h) }), nil
}

func (k *holder) release(h *openedCase) {
	k.mu.Lock()
	h.users--
	last := h.old && h.users == 0
	k.mu.Unlock()
	if last {
		_ = h.c.Close() // read-only: nothing can be lost
	}
}

// replace replaces was, nil for none, by c; it returns false if was is no longer open.
func (k *holder) replace(was, c *forensics.Case) bool {
	k.mu.Lock()
	h := k.now
	if h == nil {
		h = &openedCase{}
	}
	if k.closed || h.c != was {
		k.mu.Unlock()
		return false
	}
	k.now = &openedCase{c: c}
	h.old = true
	idle := h.users == 0 && was != nil
	k.mu.Unlock()
	if idle {
		_ = was.Close() // read-only: nothing can be lost
	}
	return true
}

func (k *holder) close() error {
	k.mu.Lock()
	h := k.now
	k.now, k.closed = nil, true
	if h == nil {
		k.mu.Unlock()
		return nil
	}
	h.old = true
	idle := h.users == 0
	k.mu.Unlock()
	if idle {
		return h.c.Close()
	}
	return nil
}
