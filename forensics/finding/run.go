package finding

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pcapsule/pcapsule/forensics"
)

// atOnce is the number of analyzers that run in parallel. DuckDB already uses all processors for
// one; a second one uses them while the first one processes its result.
const atOnce = 2

// findAll runs all analyzers, atOnce in parallel. Results stay in the order of the list.
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
	for i, err := range errs { // an analyzer that ran out of memory in parallel may succeed alone
		if l := looks[i]; errors.Is(err, forensics.ErrMemory) && all.Err() == nil {
			l.found, l.notes, l.more = nil, nil, false
			errs[i] = l.find(all, whole || len(looks) == 1)
			if errors.Is(errs[i], forensics.ErrMemory) && !whole && len(looks) > 1 {
				l.cut, errs[i] = true, nil
				l.Note("there is not enough memory for this analyzer: narrow the time or the filter")
			}
		}
	}
	// After an error the other analyzers were canceled: return the error, not the cancellation.
	var first error
	for i, err := range errs {
		if err != nil && (first == nil || errors.Is(first, context.Canceled) && !errors.Is(err, context.Canceled)) {
			first = fmt.Errorf("running analyzer %s: %w", looks[i].name, err)
		}
	}
	if first == nil {
		first = ctx.Err()
	}
	return first
}

// lacks returns what a case lacks for an analyzer, or "".
func (a *Analyzer) lacks(c *forensics.Case) string {
	if a.Lacks == nil {
		return ""
	}
	return a.Lacks(c)
}

// find runs one analyzer. If others wait, it gets half of the remaining time, so that a slow one
// leaves time for them.
func (l *Look) find(ctx context.Context, whole bool) error {
	own := ctx
	if end, ok := ctx.Deadline(); ok && !whole {
		var cancel context.CancelFunc
		own, cancel = context.WithTimeout(ctx, time.Until(end)/2)
		defer cancel()
	}
	err := l.steps(own)
	if late := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, forensics.ErrDeadline); late && own.Err() != nil && ctx.Err() == nil {
		l.cut = true
		l.Note("this analyzer ran out of time, so findings may be missing and counts may be too low: run it alone, or narrow the time or the filter")
		return nil
	}
	return err
}

// steps runs the steps whose needs hold.
func (l *Look) steps(ctx context.Context) error {
	for _, s := range l.of.Steps {
		switch {
		case l.thorough || l.there.any(s.Needs):
			if err := s.Find(ctx, l); err != nil {
				return err
			}
		case s.Else != "":
			l.Note("%s", s.Else)
		}
	}
	return nil
}
