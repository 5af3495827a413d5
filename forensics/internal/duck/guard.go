package duck

import (
	"fmt"
	"slices"
	"time"

	"github.com/pcapsule/pcapsule/forensics/internal/wire"
)

const (
	guardEvery = 20 * time.Millisecond
	// mostAbove is how far above the ceiling a query may be while it is ending.
	mostAbove = 128 << 20
	waitsFor  = 5 // checks above the ceiling, until freed memory has been returned
)

// data is the kernel's limit for a worker. The kernel counts reserved memory, the guard counts resident
// memory: a worker with 105 MB resident has reserved up to 833 MB for a query of all columns, and more
// after several. So the limit is twice the ceiling plus 1 GiB; it stops queries that grow faster than
// the guard checks.
func (o *Options) data() int64 { return 2*o.Ceiling + 1<<30 + int64(o.Threads)*(16<<20) }

// guard ends the oldest query of the largest worker when all workers together exceed the ceiling. A
// worker that does not shrink is killed.
//
// DuckDB's memory limit does not count the states of quantiles, which store every value and are not
// spilled to disk.
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
		case above == 1 && sum <= p.o.Ceiling+mostAbove: // freed memory may not have been returned
			go func() { _ = largest.send(wire.Trim, 0, nil) }() // a worker that is gone has no memory
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
