package join_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/exportertest"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/workload"
	"github.com/pcapsule/pcapsule/samples/frames"
)

// TestPolicyExclusionsAreACoverageGap: packets excluded by a recorder's policy have their own coverage gap,
// separate from those excluded by a filter.
func TestPolicyExclusionsAreACoverageGap(t *testing.T) {
	for _, tt := range []struct {
		name     string
		policy   string
		counters []ring.Counters // at the ends of segments
		holes    string
	}{
		{"nothing is forbidden", "", []ring.Counters{{Seen: 9, Filtered: 4, Delivered: 5}}, "filter 4 only namespace=shop"},
		{"since the segment before", "never port=5432; unknown: drop", []ring.Counters{{Seen: 9, Filtered: 4, Policy: 3, Delivered: 5}, {Seen: 24, Filtered: 12, Policy: 10, Delivered: 12}},
			"filter 1 only namespace=shop; policy 3 recorded under the policy: never port=5432; unknown: drop; filter 1 only namespace=shop; policy 7 recorded under the policy: never port=5432; unknown: drop"},
		{"a policy that met nothing", "never port=1; unknown: drop", []ring.Counters{{Seen: 5, Delivered: 5}}, ""},
		{"counted and not named", "", []ring.Counters{{Seen: 9, Filtered: 4, Policy: 4, Delivered: 5}}, "policy 4 recorded under the policy: none is named"},
		{"more than was filtered", "", []ring.Counters{{Seen: 5, Policy: 4, Delivered: 5}},
			"drop 0 the counters of the seal are inconsistent: seen 5, filtered 0, delivered 5, dropped 0; policy 4 recorded under the policy: none is named"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "ring")
			w, err := ring.Create(ring.Options{Dir: dir, Node: "n", SyncEvery: -1})
			if err != nil {
				t.Fatal(err)
			}
			next := 0
			s, err := w.Series(ring.SeriesOptions{Name: "sockets", LinkType: 276,
				Header: func(h *ring.Header) { h.Policy, h.Only = tt.policy, "namespace=shop" },
				Account: func(ring.Totals) ring.Account {
					next++
					return ring.Account{Counters: &tt.counters[min(next, len(tt.counters))-1]}
				}})
			if err != nil {
				t.Fatal(err)
			}
			id, err := s.Interface(pcapng.Interface{Name: "n/-/x", Comments: []string{workload.FormatInterfaceComment(workload.InterfaceComment{Ring: w.Ring()})}})
			if err != nil {
				t.Fatal(err)
			}
			for i := range tt.counters {
				if err := s.Append(&ring.Packet{Interface: id, Time: frames.SegmentBegin + int64(i), Data: make([]byte, 40), OrigLen: 40}); err != nil {
					t.Fatal(err)
				}
				if err := w.Seal(context.Background()); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Close(context.Background()); err != nil {
				t.Fatal(err)
			}
			_, got := exportertest.Proven(t, exporter.Options{}, []string{dir}, "select string_agg(concat_ws(' ', reason, packets, detail), '; ' order by from_ns, reason) from coverage where kind = 'hole' and reason <> 'restart'")
			if got[0] != tt.holes {
				t.Errorf("%s\nwant %s", got[0], tt.holes)
			}
		})
	}
}

// TestKilledFileHasAGap: a recording in one file that was killed has no counters at its end, so
// nobody knows what it lost.
func TestKilledFileHasAGap(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.pcapng")
	w, err := ring.Create(ring.Options{File: path, Node: "n"})
	if err != nil {
		t.Fatal(err)
	}
	s, err := w.Series(ring.SeriesOptions{Name: "sockets", LinkType: 276, Account: func(k ring.Totals) ring.Account {
		return ring.Account{Counters: &ring.Counters{Seen: k.Kept, Delivered: k.Kept}, Interfaces: []ring.InterfaceAccount{{At: 1}}}
	}})
	if err != nil {
		t.Fatal(err)
	}
	id, err := s.Interface(pcapng.Interface{Name: "n/-/x", Comments: []string{workload.FormatInterfaceComment(workload.InterfaceComment{Ring: w.Ring()})}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Append(&ring.Packet{Interface: id, Time: frames.SegmentBegin, Data: make([]byte, 40), OrigLen: 40}); err != nil {
		t.Fatal(err)
	}
	s.Flush()
	for s.Settled() == 0 {
		time.Sleep(time.Millisecond)
	}
	killed := path + ".killed.pcapng"
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(killed, b, 0o600)
	}
	if err = errors.Join(err, w.Close(context.Background())); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ path, gaps string }{{killed, "1"}, {path, "0"}} {
		if _, got := exportertest.Proven(t, exporter.Options{}, []string{tt.path}, "select count(*)::varchar from coverage where kind = 'hole' and reason = 'missing' and detail like 'the recorder ended without%'"); got[0] != tt.gaps {
			t.Errorf("%s has %s gaps, want %s", filepath.Base(tt.path), got[0], tt.gaps)
		}
	}
}
