package mcp

import (
	"errors"
	"sync"

	"github.com/pcapsule/pcapsule/forensics"
)

// cases holds the case that is open. It may be replaced while answers about the one
// before are being made: that one is closed after the last of them.
type cases struct {
	mu  sync.Mutex
	now *held
}

// held is a case and how many answers are being made about it.
type held struct {
	c     *forensics.Case
	users int
	old   bool // closed when nobody uses it
}

func newCases(c *forensics.Case) *cases { return &cases{now: &held{c: c}} }

// errClosed says that the server ends.
var errClosed = errors.New("the case is closed")

// take gives the case that is open; give says that it is no longer used.
func (k *cases) take() (c *forensics.Case, give func(), err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	h := k.now
	if h == nil {
		return nil, nil, errClosed
	}
	h.users++
	return h.c, sync.OnceFunc(func() { k.give(h) }), nil
}

func (k *cases) give(h *held) {
	k.mu.Lock()
	h.users--
	last := h.old && h.users == 0
	k.mu.Unlock()
	if last {
		_ = h.c.Close() // only read; nothing can be lost
	}
}

// replace opens c in the place of was; it reports whether was is still the one.
func (k *cases) replace(was, c *forensics.Case) bool {
	k.mu.Lock()
	h := k.now
	if h == nil || h.c != was {
		k.mu.Unlock()
		return false
	}
	k.now = &held{c: c}
	h.old = true
	idle := h.users == 0
	k.mu.Unlock()
	if idle {
		_ = h.c.Close() // only read; nothing can be lost
	}
	return true
}

func (k *cases) close() error {
	k.mu.Lock()
	h := k.now
	k.now = nil
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
