package all_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/finding"
)

// TestFindingsInKFLEndWithTheQuestion binds an analyzer that never finishes.
func TestFindingsInKFLEndWithTheQuestion(t *testing.T) {
	c := open(t, false, "http1.pcapng")
	begun := make(chan struct{}, 10)
	var quick atomic.Bool
	finding.Bind(c, []finding.Analyzer{{Name: "slow", Steps: []finding.Step{{Find: func(ctx context.Context, _ *finding.Look) error {
		if quick.Load() {
			return nil
		}
		begun <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}}}}})
	ask := func(ctx context.Context, d time.Duration) error {
		_, err := c.Query(ctx, forensics.Query{KFL: `finding == "slow"`, Deadline: d})
		return err
	}
	if err := ask(t.Context(), time.Millisecond); !errors.Is(err, forensics.ErrDeadline) {
		t.Errorf("%v, want the deadline", err)
	}
	select {
	case <-begun:
	default: // the deadline passed before it started
	}
	first, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- ask(first, 0) }()
	<-begun
	if err := ask(t.Context(), time.Millisecond); !errors.Is(err, forensics.ErrDeadline) {
		t.Errorf("while another query waits for the analyzer: %v, want the deadline", err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("after the canceled query: %v", err)
	}
	quick.Store(true)
	if err := ask(t.Context(), 0); err != nil {
		t.Errorf("the interrupted analyzer does not run again: %v", err)
	}
}
