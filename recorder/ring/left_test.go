package ring

import (
	"context"
	"testing"
	"time"
)

// TestLeftOutAfterTheLastSegment checks that the stop record states what a policy or a filter
// excluded after the last segment.
func TestLeftOutAfterTheLastSegment(t *testing.T) {
	for _, c := range []struct {
		name    string
		at      []Counters // at the end of the segment, and at the stop
		segment bool       // there is a segment
		want    map[string]int64
	}{
		{"after a segment", []Counters{{Seen: 11, Filtered: 10, Policy: 4, Delivered: 1}, {Seen: 31, Filtered: 30, Policy: 20, Delivered: 1}}, true, map[string]int64{"policy": 16, "filter": 4}},
		{"without any segment", []Counters{{Seen: 7, Filtered: 7, Policy: 7}}, false, map[string]int64{"policy": 7}},
		{"nothing more", []Counters{{Seen: 8, Filtered: 7, Policy: 7, Delivered: 1}, {Seen: 8, Filtered: 7, Policy: 7, Delivered: 1}}, true, map[string]int64{}},
		{"impossible counters", []Counters{{Seen: 7, Filtered: 3, Policy: 7}}, false, map[string]int64{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			w := create(t, Options{Dir: dir})
			next := 0
			s, err := w.Series(SeriesOptions{Name: "sockets", LinkType: 276, Account: func(Totals) Account { next++; return Account{Counters: &c.at[next-1]} }})
			must(t, err)
			if c.segment {
				must(t, s.Append(&Packet{Interface: declare(t, s, "n/-/x"), Time: time.Now().UnixNano(), Data: []byte("x"), OrigLen: 1}))
				must(t, w.Seal(context.Background()))
			}
			finish(t, w)
			r, err := Open(dir)
			must(t, err)
			got := map[string]int64{}
			for _, h := range r.Holes {
				got[h.Reason] += h.Packets
				if h.From == 0 || h.To < h.From || h.Series != "sockets" {
					t.Errorf("%+v", h)
				}
			}
			if len(got) != len(c.want) || got["policy"] != c.want["policy"] || got["filter"] != c.want["filter"] || next != len(c.at) {
				t.Errorf("%v, want %v; Account called %d times", got, c.want, next)
			}
		})
	}
}
