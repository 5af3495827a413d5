package duck

import (
	"errors"
	"testing"
	"time"
)

// TestAQueryThatIsNotCountedIsEnded collects what the memory limit does not count.
func TestAQueryThatIsNotCountedIsEnded(t *testing.T) {
	now := resident()
	if now == 0 {
		t.Skip("needs /proc")
	}
	d, err := Open(Options{MemoryLimit: 256 << 20, Threads: 2, Ceiling: now + 400<<20})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if got, err := first(d, "SELECT median(range) FROM range(1001)"); err != nil || got != 500.0 {
		t.Errorf("a small one: %v, %v", got, err)
	}
	if got, err := first(d, "SELECT median(range) FROM range(1000000000)"); !errors.Is(err, ErrMemory) {
		t.Errorf("a large one: %v, %v; want out of memory", got, err)
	}
	for begin := time.Now(); resident() > now+400<<20 && time.Since(begin) < 20*time.Second; {
		time.Sleep(10 * time.Millisecond)
		trim()
	}
	if got, err := first(d, "SELECT 1"); err != nil || got != int64(1) {
		t.Errorf("the next: %v, %v", got, err)
	}
	if d.oldest() != nil {
		t.Error("a query is left over")
	}
}
