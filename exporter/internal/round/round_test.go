package round

import (
	"slices"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/table"
)

// TestCutKeepsPacketsAndFacts cuts a round of which shard 3 has the odd packets.
func TestCutKeepsPacketsAndFacts(t *testing.T) {
	pool := NewPool(0)
	r := pool.Get()
	for i := range int32(10) {
		r.Add(100).No = int64(i)
		if i%2 == 1 {
			r.Shards[3] = append(r.Shards[3], i)
		}
	}
	r.Now, r.Last = 50, 9
	r.Facts = Facts{ReadBytes: 7, Coverage: []table.Coverage{{}}}
	c := r.Cut(4, 20, pool)
	for _, tt := range []struct {
		name             string
		r                *Round
		first, last, now int64
		shard            []int32
		coverage         int
	}{
		{"the packets cut off have the facts", c, 0, 3, 20, []int32{1, 3}, 1},
		{"the rest has the time", r, 4, 9, 50, []int32{1, 3, 5}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			last := tt.r.Packets[len(tt.r.Packets)-1].No
			if tt.r.Packets[0].No != tt.first || last != tt.last || tt.r.Last != tt.last || tt.r.Now != tt.now {
				t.Errorf("packets %d to %d, last %d at %d; want %d to %d at %d", tt.r.Packets[0].No, last, tt.r.Last, tt.r.Now, tt.first, tt.last, tt.now)
			}
			if !slices.Equal(tt.r.Shards[3], tt.shard) {
				t.Errorf("the shard has %v, want %v", tt.r.Shards[3], tt.shard)
			}
			if len(tt.r.Facts.Coverage) != tt.coverage || tt.r.Facts.ReadBytes != 7 {
				t.Errorf("facts are %+v", tt.r.Facts)
			}
		})
	}
}
