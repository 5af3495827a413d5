package keys

import "sync"

// Current is a Sink that writes to the file of the current segment. If there is none, keys
// wait for the next one, up to a limit. It is safe for concurrent use.
type Current struct {
	mu      sync.Mutex
	to      Sink
	waiting []Key
	lost    uint64
}

const maxWaitingKeys = 8192

// Set directs keys to another sink, beginning with those that waited, and returns the
// previous sink, which receives no more keys and which the caller must close. Nil means no sink.
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

// Waiting is the number of keys that wait for a sink.
func (c *Current) Waiting() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return uint64(len(c.waiting))
}

// Lost is the number of keys that were discarded because too many waited for a sink.
func (c *Current) Lost() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lost
}
