package recorder

import "testing"

func TestPartsBeyondTheLimitAreOne(t *testing.T) {
	for _, row := range []struct{ n, want int }{{0, 0}, {3, 3}, {maxParts, maxParts}, {maxParts + 5, maxParts}} {
		list := gather(row.n, func(i int) Part { return Part{"x", 2, 1} })
		var sum Part
		for _, p := range list {
			sum.Delivered, sum.Lost = sum.Delivered+p.Delivered, sum.Lost+p.Lost
		}
		if len(list) != row.want || sum.Delivered != uint64(2*row.n) || sum.Lost != uint64(row.n) {
			t.Errorf("%d interfaces: %d parts, %+v", row.n, len(list), sum)
		}
		if named := row.n > 0 && list[len(list)-1].Name == restName; named != (row.n > maxParts) {
			t.Errorf("%d interfaces: the last is the sum of the rest: %t", row.n, named)
		}
	}
}
