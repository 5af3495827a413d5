package read

import (
	"testing"

	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

func TestClock(t *testing.T) {
	const s, far = int64(1e9), int64(4e18)
	const none = int64(-1)
	for _, tt := range []struct {
		name        string
		times, want []int64
		outliers    int
	}{
		{"in order", []int64{1 * s, 2 * s, 3 * s}, []int64{1 * s, 2 * s, 3 * s}, 0},
		{"a little back", []int64{1 * s, 3 * s, 2 * s}, []int64{1 * s, 3 * s, 2 * s}, 0},
		{"one far ahead", []int64{1 * s, far, 2 * s, 3 * s}, []int64{1 * s, 1 * s, 2 * s, 3 * s}, 1},
		{"one far back", []int64{9000 * s, 0, 9001 * s, 9002 * s}, []int64{9000 * s, 9000 * s, 9001 * s, 9002 * s}, 1},
		{"the first far ahead", []int64{far, 2 * s, 3 * s, 4 * s}, []int64{2 * s, 2 * s, 3 * s, 4 * s}, 1},
		{"the first far back", []int64{0, 9000 * s, 9001 * s, 9002 * s}, []int64{9000 * s, 9000 * s, 9001 * s, 9002 * s}, 1},
		{"two wrong ones together", []int64{1 * s, far, far, 2 * s, 3 * s, 4 * s}, []int64{1 * s, 1 * s, 1 * s, 2 * s, 3 * s, 4 * s}, 2},
		{"silence", []int64{1 * s, 2 * s, 9000 * s, 9001 * s}, []int64{1 * s, 2 * s, 9000 * s, 9001 * s}, 0},
		{"long silences", []int64{0, 120 * s, 300 * s, 900 * s, 5000 * s, 9000 * s}, []int64{0, 120 * s, 300 * s, 900 * s, 5000 * s, 9000 * s}, 0},
		{"long silences and one far ahead", []int64{0, 120 * s, far, 300 * s, 900 * s}, []int64{0, 120 * s, 120 * s, 300 * s, 900 * s}, 1},
		{"a step back", []int64{9000 * s, 9001 * s, 5 * s, 6 * s, 7 * s}, []int64{9000 * s, 9001 * s, 5 * s, 6 * s, 7 * s}, 0},
		{"the last far ahead", []int64{1 * s, 2 * s, far}, []int64{1 * s, 2 * s, far}, 0},
		{"one without a time", []int64{9000 * s, none, 9001 * s}, []int64{9000 * s, 9000 * s, 9001 * s}, 0},
		{"none has a time", []int64{none, none}, []int64{0, 0}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var list []pcapng.Packet
			for _, at := range tt.times {
				list = append(list, pcapng.Packet{Time: max(at, 0), TimeOK: at != none})
			}
			var c clock
			outliers := 0
			for i := range list {
				now, outlier := c.at(list, i, make([]pcapng.Interface, 1))
				c = clock{now, true}
				if outlier {
					outliers++
				}
				if now != tt.want[i] {
					t.Errorf("packet %d is ordered at %d, want %d", i, now, tt.want[i])
				}
			}
			if outliers != tt.outliers {
				t.Errorf("%d outliers, want %d", outliers, tt.outliers)
			}
		})
	}
}
