//go:build linux

package mapped

import (
	"math/rand/v2"
	"testing"
)

// TestQueueIsInOrder adds records nearly in order, as processors do, and removes them.
func TestQueueIsInOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var q queue
	var in, out int
	last := uint64(0)
	for step := range uint64(20000) {
		for range rng.IntN(4) {
			q.push(record{time: 1000 + step*10 + uint64(rng.IntN(500)), seq: uint64(in)})
			in++
		}
		for {
			r, ok := q.pop(step * 10)
			if !ok {
				break
			}
			if r.time < last || r.time > step*10 {
				t.Fatalf("time %d after %d at %d", r.time, last, step*10)
			}
			last = r.time
			out++
		}
	}
	for {
		r, ok := q.pop(1 << 62)
		if !ok {
			break
		}
		if r.time < last {
			t.Fatalf("time %d after %d", r.time, last)
		}
		last = r.time
		out++
	}
	if in != out || q.n != 0 {
		t.Errorf("%d in, %d out, %d left", in, out, q.n)
	}
}

// TestEqualTimesKeepTheirOrder checks that records with equal times stay in the order of writing.
func TestEqualTimesKeepTheirOrder(t *testing.T) {
	var q queue
	for i := range uint64(100) {
		q.push(record{time: 5, seq: i})
	}
	for i := range uint64(100) {
		if r, ok := q.pop(5); !ok || r.seq != i {
			t.Fatalf("record %d returned as number %d", r.seq, i)
		}
	}
}

// TestInFlightFreesInOrder releases records in any order; only a contiguous range from the
// start is free.
func TestInFlightFreesInOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var f inFlight
	open := map[uint64]uint64{}
	end := uint64(0)
	for range 50000 {
		if len(open) < 3000 && rng.IntN(2) == 0 {
			end += 8 + uint64(rng.IntN(100))*8
			open[f.add(end, end%16 == 0)] = end
			continue
		}
		for seq := range open {
			f.done(seq)
			delete(open, seq)
			break
		}
		want := end
		for _, e := range open {
			want = min(want, e-1)
		}
		if f.end > want {
			t.Fatalf("free up to %d while one that ends at %d is in use", f.end, want+1)
		}
	}
	for seq := range open {
		f.done(seq)
	}
	if f.end != end {
		t.Errorf("free up to %d, want %d", f.end, end)
	}
}
