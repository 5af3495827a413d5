package read

import (
	"testing"

	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/internal/flow"
	"github.com/pcapsule/pcapsule/exporter/internal/round"
)

// TestClaimsOfARP has machines that claim one address at some seconds.
func TestClaimsOfARP(t *testing.T) {
	type at struct {
		second int64
		mac    byte
	}
	for _, tt := range []struct {
		name   string
		claims []at
		want   string
	}{
		{"one machine", []at{{0, 1}, {1, 1}, {2, 1}}, ""},
		{"another one takes over", []at{{0, 1}, {10, 2}, {11, 2}}, "arp_moved "},
		{"long after", []at{{0, 1}, {61, 2}}, ""},
		{"in turn", []at{{0, 1}, {1, 2}, {2, 1}, {3, 2}}, "arp_moved arp_conflict arp_conflict "},
		{"a third one", []at{{0, 1}, {1, 2}, {2, 3}}, "arp_moved arp_moved "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := &Reader{rounds: rounds{cur: &round.Round{}}, decoding: decoding{claims: map[place]claim{}},
				inputFiles: inputFiles{shared: map[string]*shared{}}, told: told{capped: map[string]int64{}}}
			for i, c := range tt.claims {
				b := []byte{0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0, 0, c.mac, 10, 0, 0, 1, 2, 0, 0, 0, 0, 9, 10, 0, 0, 9}
				r.arp(&decode.Frame{Kind: decode.KindARP, Payload: b}, &flow.Packet{Capture: flow.Capture{No: int64(i), Time: c.second * 1e9}})
			}
			got := ""
			for _, a := range r.cur.Facts.Anomalies {
				got += a.Kind + " "
			}
			if got != tt.want {
				t.Errorf("anomalies %q, want %q", got, tt.want)
			}
		})
	}
	r := &Reader{rounds: rounds{cur: &round.Round{}}, decoding: decoding{claims: map[place]claim{}}}
	probe := []byte{0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 9}
	router := []byte{0, 1, 8, 0, 6, 4, 0, 2, 0, 0, 0x5e, 0, 1, 7, 10, 0, 0, 1, 2, 0, 0, 0, 0, 9, 10, 0, 0, 9}
	for _, b := range [][]byte{probe, router, probe[:20]} {
		if r.arp(&decode.Frame{Kind: decode.KindARP, Payload: b}, &flow.Packet{}); len(r.claims) > 0 {
			t.Errorf("% x claims an address", b)
		}
	}
}
