package duck

import (
	"bytes"
	"sync"
)

// tail stores the first bytes of a worker's output, which have the reason for its end. They may contain
// captured text, so they are never shown.
type tail struct {
	mu   sync.Mutex
	head []byte
}

const maxPrinted = 4 << 10

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.head = append(t.head, p[:min(len(p), maxPrinted-len(t.head))]...)
	return len(p), nil
}

// outOfMemory reports whether the output is an out-of-memory message.
func (t *tail) outOfMemory() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range []string{"out of memory", "bad_alloc", "annot allocate memory", "pthread_create failed"} {
		if bytes.Contains(t.head, []byte(s)) {
			return true
		}
	}
	return false
}
