package forensics

import "testing"

// TestMillisecondAtTheEdges: whoever names times by the millisecond cannot name the first packet's nanosecond.
func TestMillisecondAtTheEdges(t *testing.T) {
	r := Recording{Stretches: []Stretch{{Hole: Hole{From: 5_300_000, To: 9_700_000}, Recorded: true}}, First: 5_300_000, Last: 9_700_000, Any: true}
	for _, x := range []struct {
		from, to int64
		want     CoverageState
	}{{5_000_000, 10_000_000, Complete}, {5_300_000, 9_700_000, Complete}, {4_300_000, 9_700_000, Partial}, {5_300_000, 10_800_000, Partial}, {0, 0, Complete}} {
		if c := Cover(r, x.from, x.to); c.State != x.want {
			t.Errorf("%d to %d: %s, want %s: %+v", x.from, x.to, c.State, x.want, c.Holes)
		}
	}
}
