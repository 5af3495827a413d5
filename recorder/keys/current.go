package keys

import "sync"

// Current is a Sink whose file changes with the segment. While there is none, some
// thousand keys wait for the next. It is safe for several goroutines.
type Current struct {
	mu      sync.Mutex
	to      Sink
	waiting []Key
	lost    uint64
}

const maxWaitingKeys = 8192

// Set gives keys to another sink from now on, those that waited first, and returns the one
// before, which gets no more and is the caller's to close. Nil is no sink.
func (c *Current) Set(to Sink) (before Sink, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before, c.to = c.to, to
	for to != nil && len(c.waiting) > 0 {
		if err := to.Key(c.waiting[0]); err != nil {
			return before, err
		}
		c.waiting = c.waiting[1:]
	}
	return before, nil
}

// Key implements Sink.
func (c *Current) Key(k Key) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.to != nil {
		return c.to.Key(k)
	}
	if len(c.waiting) == maxWaitingKeys {
		c.waiting = c.waiting[1:]
		c.lost++
	}
	c.waiting = append(c.waiting, k)
	return nil
}

// Flush implements Sink.
func (c *Current) Flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.to == nil {
		return nil
	}
	return c.to.Flush()
}

// Waiting is how many keys wait for a sink now.
func (c *Current) Waiting() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return uint64(len(c.waiting))
}

// Lost is how many keys waited for a sink until there were too many of them.
func (c *Current) Lost() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lost
}
