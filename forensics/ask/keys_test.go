package ask

import (
	"slices"
	"testing"
)

func TestRuns(t *testing.T) {
	if got := Runs([]int64{1, 2, 10, 11, 30}, 3, 5); !slices.Equal(got, [][2]int64{{1, 2}, {10, 11}, {30, 30}}) {
		t.Errorf("runs %v", got)
	}
	if got := Runs([]int64{1, 10, 20}, 1, 2); !slices.Equal(got, [][2]int64{{1, 20}}) {
		t.Errorf("too many runs %v", got)
	}
}

func TestCursor(t *testing.T) {
	p := Cursor{TS: 5, Bundle: 1, No: 7}
	if q, err := ReadCursor(nil, p.String()); err != nil || q != p {
		t.Errorf("cursor %v %v", q, err)
	}
	for _, bad := range []string{"x", "1.2", "1.2.3.4", "1.2.-3", " 1.2.3", "01.2.3"} {
		if _, err := ReadCursor(nil, bad); err == nil {
			t.Errorf("cursor %q is accepted", bad)
		}
	}
}
