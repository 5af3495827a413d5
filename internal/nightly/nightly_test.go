package nightly

import (
	"slices"
	"testing"
)

func TestSome(t *testing.T) {
	cases := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}
	for n, want := range map[int][]int{1: {0}, 2: {0, 9}, 4: {0, 3, 6, 9}, 10: cases, 20: cases} {
		t.Setenv("PCAPSULE_NIGHTLY", "")
		if got := Some(cases, n); !slices.Equal(got, want) || Of(1, 2) != 1 {
			t.Errorf("%d: %v, %d", n, got, Of(1, 2))
		}
		t.Setenv("PCAPSULE_NIGHTLY", "1")
		if got := Some(cases, n); !slices.Equal(got, cases) || Of(1, 2) != 2 {
			t.Errorf("%d as a whole: %v, %d", n, got, Of(1, 2))
		}
	}
}
