package read

import (
	"bytes"
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
		r := &Reader{sources: &Inputs{rings: []*ringFolder{folder}}, sideCount: map[string]int64{}, cur: &round.Round{}}
		r.coverRings()
		for _, c := range r.cur.Facts.Coverage {
			if c.ToNs < c.FromNs || c.Packets < 0 || c.Reason == "" || c.Kind != "hole" {
				t.Fatalf("an impossible gap: %+v", c)
			}
		}
	})
}

// FuzzSideLines splits random bytes into lines of limited length.
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
