package all_test

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask/asktest"
)

// TestHalvesHaveTheCausesOfTheWhole follows failures to their causes in two overlapping bundles, of which one lacks the
// DNS answers that name most addresses.
func TestHalvesHaveTheCausesOfTheWhole(t *testing.T) {
	answer := func(windows ...[2]int64) map[string]any {
		var paths []string
		for _, w := range windows {
			paths = append(paths, asktest.Export(t, []string{asktest.Sample("shop.pcapng")}, exporter.Options{FromNs: w[0], ToNs: w[1]}))
		}
		q, _ := asktest.Find("find_failures")
		v, err := q.AskAll(ctx, asktest.Bundles(t, forensics.Options{}, paths...), json.RawMessage(`{}`))
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]any{}
		valuesOf(plain(t, v), "", out)
		return out
	}
	const begin, third = 1795166688891690726, 1_206_000_000 // of the shop
	want, got := answer([2]int64{}), answer([2]int64{0, begin + 2*third}, [2]int64{begin + third, 0})
	if len(want) < 500 {
		t.Fatalf("only %d values", len(want))
	}
	for _, path := range slices.Sorted(maps.Keys(union(want, got))) {
		if want[path] != got[path] {
			t.Errorf("%s is %v, want %v", path, got[path], want[path])
		}
	}
}
