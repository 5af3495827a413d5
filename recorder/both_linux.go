package recorder

import (
	"context"
	"errors"
	"sync"

	"github.com/pcapsule/pcapsule/recorder/internal/machine"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

// runBoth records sockets and interfaces into one ring, each into its own series: a
// socket's packet is in both, because it was seen in two places.
func runBoth(ctx context.Context, o Options) (Stats, error) {
	here := machine.This()
	if o.Node != "" {
		here.Node = o.Node
	}
	w, err := openRing(&o, here)
	if err != nil {
		return Stats{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex // serializes the caller's callbacks
	var stats [2]Stats
	var errs [3]error
	var both sync.WaitGroup
	for i, run := range []func(context.Context, Options) (Stats, error){runSockets, runInterfaces} {
		one := o
		one.writer = w
		if i == 1 {
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
			s, err := run(ctx, one)
			mu.Lock()
			defer mu.Unlock()
			stats[i], errs[i] = s, err
		})
	}
	both.Wait()
	errs[2] = closeRing(w)
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
