package duck

import (
	"fmt"
	"slices"
	"time"
)

const (
	guardEvery = 50 * time.Millisecond
	guardWaits = 5 * time.Second // for a query that was ended, before the next is
)

// guard ends the oldest query when the process holds more than ceiling, and then the next.
//
// The memory limit does not count what quantiles collect, which is every value, and these
// do not go to disk: one query of a person could have the kernel end the program.
func (d *DB) guard(ceiling int64) {
	tick := time.NewTicker(guardEvery)
	defer tick.Stop()
	var last *Rows
	var since time.Time
	for {
		select {
		case <-d.ended:
			return
		case <-tick.C:
		}
		oldest := d.oldest()
		if oldest == nil || resident() <= ceiling || oldest == last && time.Since(since) < guardWaits {
			continue
		}
		if trim(); resident() <= ceiling {
			continue
		}
		last, since = oldest, time.Now()
		oldest.cut(&limitError{ErrMemory, fmt.Sprintf("the process holds more than %d MiB", ceiling>>20)})
	}
}

func (d *database) runs(r *Rows) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now = append(d.now, r)
}

func (d *database) ran(r *Rows) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now = slices.DeleteFunc(d.now, func(o *Rows) bool { return o == r })
}

func (d *database) oldest() *Rows {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.now) == 0 {
		return nil
	}
	return d.now[0]
}
