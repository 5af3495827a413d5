package proof

import (
	"math/rand/v2"
	"testing"
)

func TestSettled(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var s settled
	list := make([]uint64, maxSettled-1)
	for i := range list {
		list[i] = rnd.Uint64()
		s.add(list[i])
	}
	for _, h := range list {
		if !s.has(h) {
			t.Fatalf("%x was forgotten", h)
		}
	}
	others := 0
	for range 100_000 {
		if s.has(rnd.Uint64()) {
			others++
		}
	}
	if others > 2000 {
		t.Errorf("%d of 100,000 others count as settled, want at most 2 %%", others)
	}
	for s.n > 1 {
		s.add(rnd.Uint64())
	}
	if s.has(list[0]) {
		t.Error("more than the limit are kept")
	}
}
