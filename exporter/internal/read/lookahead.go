package read

import (
	"context"
	"slices"
)

// maxAhead is how many finished rounds wait at most, because they have packets of ends that
// may be a view of a conversation: about 8,000 packets.
const maxAhead = 4

// send finishes the round and begins another.
func (r *Reader) send(ctx context.Context) {
	c := r.cur
	c.Now, c.Last, c.Facts.ReadBytes = r.now, r.numbered-1, r.readBytes
	r.ahead = append(r.ahead, c)
	r.forward(ctx, maxAhead)
	r.cur = r.pool.Get()
	for _, o := range r.active {
		if o.win != nil {
			r.cur.Hold(o.win)
		}
	}
}

// forward gives finished rounds to the next stage, in order. At most so many wait.
func (r *Reader) forward(ctx context.Context, wait int) {
	for len(r.ahead) > 0 {
		c := r.ahead[0]
		for r.pairs.awaits(c) {
			if len(r.ahead) <= wait {
				return
			}
			r.pairs.pop()
		}
		r.ahead = slices.Delete(r.ahead, 0, 1)
		select {
		case r.out <- c:
		case <-ctx.Done():
		}
	}
}
