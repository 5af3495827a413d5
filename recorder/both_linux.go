package recorder

import (
	"context"
	"errors"
	"sync"

	"github.com/pcapsule/pcapsule/recorder/ring"
)

// runBoth records sockets and interfaces into one ring, each into its own series: a
// socket's packet is in both, because it was seen in two places. The recording of sockets opens
// the ring, because it may continue what the kernel kept for it.
func runBoth(ctx context.Context, o Options) (Stats, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex // serializes the caller's callbacks
	var stats [2]Stats
	var errs [3]error
	opened := make(chan *ring.Writer, 1)
	var w *ring.Writer
	var both sync.WaitGroup
	for i, run := range []func(context.Context, Options) (Stats, error){runSockets, runInterfaces} {
		one := o
		if i == 0 {
			one.opened = func(w *ring.Writer) { opened <- w }
		} else {
			one.Keys = nil
		}
		one.OnStart = func(s Started) { mu.Lock(); defer mu.Unlock(); o.OnStart(s) }
		one.OnError = func(err error) { mu.Lock(); defer mu.Unlock(); o.OnError(err) }
		one.OnStats = func(s Stats) {
			mu.Lock()
			defer mu.Unlock()
			stats[i] = s
			o.OnStats(sum(stats[0], stats[1]))
		}
		both.Go(func() {
			defer cancel() // if one ends, the other must too
			if i == 1 {
				select {
				case w = <-opened:
					one.writer = w
				case <-ctx.Done():
					return
				}
			}
			s, err := run(ctx, one)
			mu.Lock()
			defer mu.Unlock()
			stats[i], errs[i] = s, err
		})
	}
	both.Wait()
	if w == nil && len(opened) > 0 { // the recording of sockets failed after it
		w = <-opened
	}
	if w != nil {
		errs[2] = closeRing(w)
	}
	return sum(stats[0], stats[1]), errors.Join(errs[:]...)
}

// sum adds up two recordings.
func sum(a, b Stats) Stats {
	a.Seen += b.Seen
	a.Filtered += b.Filtered
	a.Policy += b.Policy
	a.Delivered += b.Delivered
	a.Dropped += b.Dropped
	a.Truncated += b.Truncated
	a.Bytes += b.Bytes
	a.InKernel += b.InKernel
	a.Late += b.Late
	a.Interfaces += b.Interfaces
	drops := append([]ring.Drop{}, a.Drops...)
	for _, d := range b.Drops {
		at := 0
		for at < len(drops) && drops[at].Reason != d.Reason {
			at++
		}
		if at == len(drops) {
			drops = append(drops, ring.Drop{Reason: d.Reason})
		}
		drops[at].Packets += d.Packets
	}
	a.Drops = drops
	a.Parts = append(append([]Part{}, a.Parts...), b.Parts...)
	if a.Clock == (ring.Clock{}) {
		a.Clock = b.Clock
	}
	return a
}
