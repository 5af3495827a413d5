package read

import (
	"context"
	"slices"
	"time"

	"github.com/pcapsule/pcapsule/exporter/internal/flow"
)

// maxAhead is how many finished rounds may wait because their packets may belong to a view of a
// conversation, or have wrong checksums that later ones explain: about 8,000 packets, at most 2 MiB.
const maxAhead = 4

// send finishes the round and begins a new one.
func (r *Reader) send(ctx context.Context) {
	r.finish()
	r.forward(ctx, maxAhead)
	r.begin()
}

// sendPart sends what the round has so far; the new round continues it.
func (r *Reader) sendPart(ctx context.Context) {
	c := r.cur
	r.finish()
	r.begin()
	r.cur.Continue(c)
	r.forward(ctx, maxAhead)
}

// seen is what was seen of the capture so far.
func (r *Reader) seen() flow.Seen {
	seen := r.recordings.Seen()
	seen.OneWay = r.oneWay.interfaces(r.links)
	return seen
}

// finish adds the round to those that wait.
func (r *Reader) finish() {
	c := r.cur
	c.Now, c.Last, c.Facts.ReadBytes = r.now, r.numbered-1, r.readBytes
	c.Kept, c.Seen = r.kept(), r.seen()
	r.ahead = append(r.ahead, c)
	if r.live != nil {
		r.live.since = append(r.live.since, time.Now())
	}
}

// mayWait reports whether the oldest round may wait for a proof: only a limited number of whole
// ones do, and in a live run none for long.
func (r *Reader) mayWait(most int) bool {
	if r.live != nil && time.Since(r.live.since[0]) > heldMost {
		return false
	}
	whole := 0
	for _, c := range r.ahead {
		if !c.More {
			whole++
		}
	}
	return whole <= most
}

// begin begins an empty round.
func (r *Reader) begin() {
	r.cur = r.pool.Get()
	for _, o := range r.active {
		if o.win != nil {
			r.cur.Hold(o.win)
		}
	}
}

// kept is the memory in bytes of the search for conversations under other ends, of the rounds that
// wait for it, and of incomplete datagrams. It depends only on the packets. The memory for views of handshakes is
// part of what Run reserves.
func (r *Reader) kept() int {
	n := r.decoder.Held() + r.judge.Memory()
	for _, c := range r.ahead {
		n += c.Memory()
	}
	return n + n/2 // the garbage collector's share
}

// forward passes finished rounds to the next stage, in order, and leaves at most wait of them.
func (r *Reader) forward(ctx context.Context, wait int) {
	for len(r.ahead) > 0 {
		c := r.ahead[0]
		for r.judge.Awaits(c) {
			if wait > 0 && r.mayWait(wait) {
				return
			}
			r.judge.GiveUp(c)
		}
		r.ahead = slices.Delete(r.ahead, 0, 1)
		if r.live != nil {
			r.live.since = slices.Delete(r.live.since, 0, 1)
		}
		select {
		case r.out <- c:
		case <-ctx.Done():
		}
	}
}
