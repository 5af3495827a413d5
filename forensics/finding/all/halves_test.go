package all_test

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/finding/all"
)

// TestHalvesHaveTheCausesOfTheWhole follows failures to their causes in two overlapping bundles, of which one lacks the
// DNS answers that name most addresses.
func TestHalvesHaveTheCausesOfTheWhole(t *testing.T) {
	dir := t.TempDir()
	answer := func(windows ...[2]int64) map[string]any {
		var paths []string
		for i, w := range windows {
			paths = append(paths, filepath.Join(dir, string(rune('a'+i))+string(rune('0'+len(windows)))+".pcapsule"))
			if _, err := exporter.Run(ctx, []string{"../../../samples/shop.pcapng"}, paths[i], exporter.Options{Release: "test", Repanic: true, FromNs: w[0], ToNs: w[1]}); err != nil {
				t.Fatal(err)
			}
		}
		c, err := forensics.Open(ctx, paths, forensics.Options{Threads: 2})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		questions := all.Questions()
		at := slices.IndexFunc(questions, func(q ask.Question) bool { return q.Name == "find_failures" })
		v, err := questions[at].AskAll(ctx, c, json.RawMessage(`{}`))
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
