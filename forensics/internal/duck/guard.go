package duck

import (
	"fmt"
	"slices"
	"time"

	"github.com/pcapsule/pcapsule/forensics/internal/wire"
)

const (
	guardEvery = 20 * time.Millisecond
	// mostAbove is how far above the ceiling a question may come that was told to end.
	mostAbove = 128 << 20
	waitsFor  = 5 // times above the ceiling, until what was freed has been given back
)

// data is what the kernel lets a worker reserve. The kernel counts reserved memory, the guard
// what is held: a worker that holds 105 MB has reserved up to 833 MB for a query of all
// columns, and more after some of them. So the limit is twice the ceiling and 1 GiB, and stops
// what grows faster than the guard looks.
func (o *Options) data() int64 { return 2*o.Ceiling + 1<<30 + int64(o.Threads)*(16<<20) }

// guard ends the oldest question of the largest worker when all workers together hold more
// than the ceiling. A worker that does not become smaller is killed.
//
// DuckDB's memory limit does not count what quantiles collect, which is every value, and
// these do not go to disk.
func (p *pool) guard() {
	tick := time.NewTicker(guardEvery)
	defer tick.Stop()
	above := 0 // times in a row
	for {
		select {
		case <-p.ended:
			return
		case <-tick.C:
		}
		sum, largest := p.held()
		if largest == nil || sum <= p.o.Ceiling {
			above = 0
			continue
		}
		why := &limitError{ErrMemory, fmt.Sprintf("the database processes hold more than %d MiB", p.o.Ceiling>>20)}
		switch above++; {
		case above == 1 && sum <= p.o.Ceiling+mostAbove: // what is freed may not have been given back
			go func() { _ = largest.send(wire.Trim, 0, nil) }() // a worker that is gone holds nothing
		case above == waitsFor && sum <= p.o.Ceiling+mostAbove:
			if a := largest.oldest(); a != nil {
				a.cut(why)
			}
		case sum > p.o.Ceiling+mostAbove, above > waitsFor+int(graceTime/guardEvery):
			largest.kill(why)
			above = 0
		}
	}
}

// held is the memory of all workers, and the one with the most among those at work, first
// of all those whose question is alone.
func (p *pool) held() (sum int64, largest *process) {
	p.mu.Lock()
	list := slices.Clone(p.list)
	alone := map[*process]bool{}
	for _, w := range list {
		alone[w] = w.alone
	}
	busy := slices.ContainsFunc(list, func(w *process) bool { return w.users > 0 })
	p.mu.Unlock()
	if !busy {
		return 0, nil
	}
	var most int64
	for _, w := range list {
		n := resident(w.cmd.Process.Pid)
		sum += n
		if largest == nil || alone[w] && !alone[largest] || alone[w] == alone[largest] && n > most {
			largest, most = w, n
		}
	}
	return sum, largest
}
