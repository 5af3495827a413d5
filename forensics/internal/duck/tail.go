package duck

import (
	"bytes"
	"sync"
)

// tail keeps the first bytes that a worker prints, which say why it ends. They may hold
// captured text, so they are shown to nobody.
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

// outOfMemory reports whether the process said that it got no memory.
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
