package compare

import (
	"math/rand/v2"
	"testing"
)

// BenchmarkChange measures the statistics of one endpoint with some thousand calls.
func BenchmarkChange(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	row := changeRow{N0: 2500, N1: 2600, F0: 30, F1: 41}
	for i := range int64(120) {
		row.Bins, row.H0, row.H1 = append(row.Bins, 200+i), append(row.H0, r.Int64N(42)), append(row.H1, r.Int64N(43))
	}
	t := &times{to: [2]int64{60e9, 120e9}, from: [2]int64{0, 60e9 + 1}}
	for b.Loop() {
		list := []Change{row.compared(t)}
		judge(list)
	}
}
