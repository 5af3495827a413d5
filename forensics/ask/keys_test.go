package ask

import (
	"slices"
	"testing"

	"github.com/pcapsule/pcapsule/forensics"
)

func TestRuns(t *testing.T) {
	if got := Runs([]int64{1, 2, 10, 11, 30}, 3, 5); !slices.Equal(got, [][2]int64{{1, 2}, {10, 11}, {30, 30}}) {
		t.Errorf("runs %v", got)
	}
	if got := Runs([]int64{1, 10, 20}, 1, 2); !slices.Equal(got, [][2]int64{{1, 20}}) {
		t.Errorf("too many runs %v", got)
	}
}

func TestByRunsSelectsItsNumbersOnly(t *testing.T) {
	c, err := forensics.Open(t.Context(), []string{bundleOfShop(t)}, forensics.Options{MaskSecrets: true, Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	all, _, err := Pick(t.Context(), c, "calls_raw", "true", "call_no", MaxLoaded)
	if err != nil || len(all) < 4 {
		t.Fatalf("%d calls, %v", len(all), err)
	}
	var few []Key
	for i := 0; i < len(all); i += 2 {
		few = append(few, all[i])
	}
	more := func(n int64) []Key { // numbers of no calls, too
		list := slices.Clone(few)
		for i := range n {
			list = append(list, Key{No: all[len(all)-1].No + 1 + i})
		}
		return list
	}
	for _, asked := range [][]Key{few, more(maxLiterals), more(4 * maxNumbers)} {
		var got []Key
		err := ByRuns(c, asked, func(where string) error {
			some, _, err := Rows[Key](t.Context(), c, MaxLoaded, "SELECT 0 AS bundle, call_no FROM calls_raw k WHERE "+where+" ORDER BY call_no")
			got = append(got, some...)
			return err
		})
		if err != nil || !slices.Equal(got, few) {
			t.Errorf("%d numbers: calls %v, %v; want %v", len(asked), got, err, few)
		}
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
