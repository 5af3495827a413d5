package duck

import (
	"fmt"
	"slices"
	"sync"
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
// memory: a worker with 150 MB resident reserves 1 GB for a query of all columns and 1.5 GB after several,
// of which the last is not yet returned. So the limit is twice the ceiling plus 3 GiB; it stops queries that
// grow faster than the guard checks.
func (o *Options) data() int64 { return 2*o.Ceiling + 3<<30 + int64(o.Threads)*(16<<20) }

// Guard bounds the memory of the workers of all databases that share it. When they exceed the ceiling
// together, it ends the oldest query of the largest worker; a worker that does not shrink is killed.
//
// DuckDB's memory limit does not count the states of quantiles, which store every value and are not
// spilled to disk.
type Guard struct {
	ceiling int64 // bytes

	mu    sync.Mutex
	pools []*pool
	ended chan struct{} // closed when the last pool is closed
}

// NewGuard makes a guard for databases whose workers together may use ceiling bytes.
func NewGuard(ceiling int64) *Guard { return &Guard{ceiling: ceiling} }

// add begins to watch a pool.
func (g *Guard) add(p *pool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pools = append(g.pools, p); len(g.pools) == 1 {
		g.ended = make(chan struct{})
		go g.watch(g.ended)
	}
}

// remove ends watching a pool.
func (g *Guard) remove(p *pool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pools = slices.DeleteFunc(g.pools, func(o *pool) bool { return o == p }); len(g.pools) == 0 {
		close(g.ended)
	}
}

func (g *Guard) watch(ended chan struct{}) {
	tick := time.NewTicker(guardEvery)
	defer tick.Stop()
	above := 0 // times in a row
	for {
		select {
		case <-ended:
			return
		case <-tick.C:
		}
		sum, largest := g.held()
		if largest == nil || sum <= g.ceiling {
			above = 0
			continue
		}
		why := &limitError{ErrMemory, fmt.Sprintf("the database processes hold more than %d MiB", g.ceiling>>20)}
		switch above++; {
		case above == 1 && sum <= g.ceiling+mostAbove: // freed memory may not have been returned
			go func() { _ = largest.send(wire.Trim, 0, nil) }() // a worker that is gone has no memory
		case above == waitsFor && sum <= g.ceiling+mostAbove:
			if a := largest.oldest(); a != nil {
				a.cut(why)
			}
		case sum > g.ceiling+mostAbove, above > waitsFor+int(graceTime/guardEvery):
			largest.kill(why)
			above = 0
		}
	}
}

// held is the memory of all workers, and the one with the most: first of those that met the limit and are still
// ending their questions, so that no other question pays for these, then of those at a question that is alone, then
// of those at work. Nobody is named while no worker is at work.
func (g *Guard) held() (sum int64, largest *process) {
	g.mu.Lock()
	pools := slices.Clone(g.pools)
	g.mu.Unlock()
	type rated struct{ spent, alone, busy bool }
	all := map[*process]rated{}
	busy := false
	for _, p := range pools {
		p.mu.Lock()
		for _, w := range p.list {
			all[w] = rated{w.spent, w.alone, w.users > 0}
			busy = busy || w.users > 0
		}
		p.mu.Unlock()
	}
	if !busy {
		return 0, nil
	}
	rank := func(w *process) (n int) {
		if all[w].spent {
			n = 4
		}
		if all[w].alone {
			n += 2
		}
		if all[w].busy {
			n++
		}
		return n
	}
	var most int64
	for w := range all {
		n := resident(w.cmd.Process.Pid)
		sum += n
		if largest == nil || rank(w) > rank(largest) || rank(w) == rank(largest) && n > most {
			largest, most = w, n
		}
	}
	return sum, largest
}
