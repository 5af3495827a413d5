package read

import (
	"context"
	"slices"
)

// maxAhead is how many finished rounds may wait because their packets may belong to a view of a
// conversation, or have wrong checksums that later ones explain: about 8,000 packets.
const maxAhead = 4

// send finishes the round and begins a new one.
func (r *Reader) send(ctx context.Context) {
	c := r.cur
	c.Now, c.Last, c.Facts.ReadBytes = r.now, r.numbered-1, r.readBytes
	c.Kept = r.kept()
	r.ahead = append(r.ahead, c)
	r.forward(ctx, maxAhead)
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
	n := r.decoder.Held() + r.pairs.memory() + r.channels.memory() + r.quicViews.memory() + r.socketViews.memory() + r.sums.memory()
	for _, c := range r.ahead {
		n += c.Memory()
	}
	return n + n/2 // the garbage collector's share
}

// forward passes finished rounds to the next stage, in order, and leaves at most wait of them.
func (r *Reader) forward(ctx context.Context, wait int) {
	for len(r.ahead) > 0 {
		c := r.ahead[0]
		for pairs, sums := r.pairs.awaits(c), r.sums.awaits(c); pairs || sums; pairs, sums = r.pairs.awaits(c), r.sums.awaits(c) {
			if len(r.ahead) <= wait {
				return
			}
			if pairs {
				r.pairs.pop()
			}
			if sums {
				r.sums.pop()
			}
		}
		r.ahead = slices.Delete(r.ahead, 0, 1)
		select {
		case r.out <- c:
		case <-ctx.Done():
		}
	}
}
