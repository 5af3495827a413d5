package round

import (
	"testing"

	"github.com/pcapsule/pcapsule/exporter/internal/memory"
)

// TestMemoryDependsOnPackets: which round the pool returns depends on the speed of the stages, and the
// memory of rounds decides which connections are given up, so it must not depend on former packets.
func TestMemoryDependsOnPackets(t *testing.T) {
	for _, limit := range []memory.Limit{0, 1 << 20, memory.Default} {
		pool := NewPool(limit)
		fresh, used := pool.Get(), pool.Get()
		most := limit.Scale(maxPackets)
		for range 3 * most {
			used.Add(100)
		}
		if full, empty := used.Memory(), fresh.Memory(); full <= empty {
			t.Errorf("limit %d: a round of %d packets takes %d bytes, an empty one %d", limit, 3*most, full, empty)
		}
		used.Reset()
		for _, n := range []int{0, 1, min(firstPackets, most), most/2 + 1, most} {
			for range n {
				used.Add(100)
				fresh.Add(100)
			}
			if a, b := used.Memory(), fresh.Memory(); a != b {
				t.Errorf("limit %d: a used round of %d packets takes %d bytes, a new one %d", limit, n, a, b)
			}
			if c := cap(fresh.Packets); c > max(most, firstPackets)+most/8 {
				t.Errorf("limit %d: a new round has room for %d packets, want about %d", limit, c, most)
			}
			used.Reset()
			fresh.Reset()
		}
	}
}
