package finding

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pcapsule/pcapsule/forensics"
)

// atOnce is how many analyzers look at a time. Each asks DuckDB, which has all processors
// anyway; a second one uses them while the first makes its findings.
const atOnce = 2

// findAll lets all look, some at once. What each finds stays with it, so that their order
// is that of the list.
func findAll(ctx context.Context, looks []*Look, whole bool) error {
	all, stop := context.WithCancel(ctx)
	defer stop()
	errs := make([]error, len(looks))
	next := make(chan int, len(looks))
	for i := range looks {
		next <- i
	}
	close(next)
	var wait sync.WaitGroup
	for range min(atOnce, len(looks)) {
		wait.Go(func() {
			for i := range next {
				if all.Err() != nil {
					return
				}
				if errs[i] = looks[i].find(all, whole || len(looks) == 1); errs[i] != nil && !errors.Is(errs[i], forensics.ErrMemory) {
					stop()
				}
			}
		})
	}
	wait.Wait()
	for i, err := range errs { // what two of them had no room for one may have
		if l := looks[i]; errors.Is(err, forensics.ErrMemory) && all.Err() == nil {
			l.found, l.notes, l.more = nil, nil, false
			errs[i] = l.find(all, whole || len(looks) == 1)
			if errors.Is(errs[i], forensics.ErrMemory) && !whole && len(looks) > 1 {
				l.cut, errs[i] = true, nil
				l.Note("the memory for questions is too little for it: ask about less time or fewer calls")
			}
		}
	}
	// Where one met an error the others were stopped: the one that counts is not of that.
	var first error
	for i, err := range errs {
		if err != nil && (first == nil || errors.Is(first, context.Canceled) && !errors.Is(err, context.Canceled)) {
			first = fmt.Errorf("looking for %s: %w", looks[i].name, err)
		}
	}
	if first == nil {
		first = ctx.Err()
	}
	return first
}

// find lets one look. Where others wait it has half of the time that is left, so that one
// that is slow does not leave them none.
func (l *Look) find(ctx context.Context, whole bool) error {
	own := ctx
	if end, ok := ctx.Deadline(); ok && !whole {
		var cancel context.CancelFunc
		own, cancel = context.WithTimeout(ctx, time.Until(end)/2)
		defer cancel()
	}
	err := l.of.Find(own, l)
	if late := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, forensics.ErrDeadline); late && own.Err() != nil && ctx.Err() == nil {
		l.cut = true
		l.Note("its time was up before it came to its end, so there may be more, and counts may be too low: name it alone, or ask about less time or fewer calls")
		return nil
	}
	return err
}
