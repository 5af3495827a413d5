package read

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/internal/round"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

// FuzzSeals reads random bytes as the records of a ring and makes coverage rows from them.
func FuzzSeals(f *testing.F) {
	f.Add([]byte(`{"record":{"n":0,"kind":"ring","ring":"a","origin":{"version":1,"node":"n"}}}` + "\n" +
		`{"record":{"n":1,"kind":"start","ring":"a","start":{"next":{"sockets":3},"holes":[{"reason":"restart","series":"sockets","from":null,"to":"2026-03-02T09:00:00Z","packets":-1,"bytes":0,"sequences":[{"from":1,"to":2}]}]}}}` + "\n" +
		`{"record":{"n":2,"kind":"segment","ring":"a","segment":{"series":"sockets","node":"n","sequence":3,"size":1,"sha256":"00","packets":5,"counters":{"seen":9,"filtered":1,"delivered":5,"dropped":3,"drops":[{"reason":"x","packets":3}]}}}}` + "\n" +
		`{"record":{"n":3,"kind":"segment","ring":"a","segment":{"series":"sockets","node":"n","sequence":18446744073709551615,"cut":true}}}` + "\n" +
		`{"record":{"n":4,"kind":"deletion","ring":"a","deletion":{"series":"sockets","sequences":[{"from":0,"to":18446744073709551615}],"bytes":-1}}}` + "\n" +
		`{"record":{"n":5,"kind":"stop","ring":"a","stop":{"holes":[{"reason":"","packets":9223372036854775807}]}}}` + "\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var kept bytes.Buffer
		folder := &ringFolder{seals: map[ring.ID]*sealed{}, below: map[string]uint64{}}
		if err := folder.records(bytes.NewReader(text), &kept, func() error { return nil }); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(kept.Bytes(), text[:bytes.LastIndexByte(text, '\n')+1]) {
			t.Fatal("the complete lines are not kept unchanged")
		}
		r := &Reader{sources: &Inputs{rings: []*ringFolder{folder}}, told: told{sideCount: map[string]int64{}}, rounds: rounds{cur: &round.Round{}}}
		r.coverRings()
		for _, c := range r.cur.Facts.Coverage {
			if c.ToNs < c.FromNs || c.Packets < 0 || c.Reason == "" || c.Kind != "hole" {
				t.Fatalf("an impossible gap: %+v", c)
			}
		}
	})
}

// TestRingThatNobodyStopped: what the kernel had counted at the last seal and nobody accounts
// for is a row of coverage.
func TestRingThatNobodyStopped(t *testing.T) {
	const start = `{"record":{"n":1,"kind":"start","ring":"a","start":{"next":{}}}}` + "\n"
	const seal = `{"record":{"n":2,"kind":"segment","ring":"a","segment":{"series":"sockets","node":"n","sequence":1,"packets":5,"last":"2026-03-02T09:00:00Z","counters":{"kernel_seen":16,"seen":9,"filtered":4,"delivered":5,"dropped":0}}}}` + "\n"
	const stop = `{"record":{"n":3,"kind":"stop","ring":"a","stop":{}}}` + "\n"
	for _, c := range []struct {
		name, records string
		pin           *ring.Pinned
		want          bool
	}{
		{"a crash", start + seal, nil, true},
		{"a stop", start + seal + stop, nil, false},
		{"a start after it says so itself", start + seal + start, nil, false},
		{"a snapshot of a ring that is written", start + seal, &ring.Pinned{}, false},
		{"nothing was on its way", start + strings.Replace(seal, "16", "9", 1), nil, false},
	} {
		folder := &ringFolder{seals: map[ring.ID]*sealed{}, below: map[string]uint64{}, pin: c.pin}
		if err := folder.records(strings.NewReader(c.records), io.Discard, func() error { return nil }); err != nil {
			t.Fatal(err)
		}
		r := &Reader{sources: &Inputs{rings: []*ringFolder{folder}}, told: told{sideCount: map[string]int64{}}, rounds: rounds{cur: &round.Round{}}}
		r.coverRings()
		got := false
		for _, row := range r.cur.Facts.Coverage {
			got = got || row.Reason == "restart" && strings.Contains(row.Detail, "the kernel had seen 16 packets, of which 7 were not accounted for yet")
		}
		if got != c.want {
			t.Errorf("%s: %+v", c.name, r.cur.Facts.Coverage)
		}
	}
}

// FuzzSideLines cuts any bytes into lines that are short enough.
func FuzzSideLines(f *testing.F) {
	f.Add([]byte("a\r\n\n  b \nc"))
	f.Add(bytes.Repeat([]byte("x"), 3*workload.MaxSideLine))
	f.Fuzz(func(t *testing.T, text []byte) {
		n := int64(0)
		long, err := sideLines(bytes.NewReader(text), func() error { return nil }, func(line []byte) {
			n++
			if len(line) == 0 || len(line) > workload.MaxSideLine || bytes.IndexByte(line, '\n') >= 0 {
				t.Fatalf("a line of %d bytes", len(line))
			}
		})
		if err != nil || n+long > int64(bytes.Count(text, []byte("\n")))+1 {
			t.Fatalf("%d lines, %d too long, %v", n, long, err)
		}
	})
}
