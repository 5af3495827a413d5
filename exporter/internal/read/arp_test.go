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
			r := &Reader{rounds: rounds{cur: &round.Round{}}, decoding: decoding{heard: newARP()},
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
	r := &Reader{rounds: rounds{cur: &round.Round{}}, decoding: decoding{heard: newARP()}}
	probe := []byte{0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 9}
	router := []byte{0, 1, 8, 0, 6, 4, 0, 2, 0, 0, 0x5e, 0, 1, 7, 10, 0, 0, 1, 2, 0, 0, 0, 0, 9, 10, 0, 0, 9}
	for _, b := range [][]byte{probe, router, probe[:20]} {
		if r.arp(&decode.Frame{Kind: decode.KindARP, Payload: b}, &flow.Packet{}); len(r.heard.claims) > 0 {
			t.Errorf("% x claims an address", b)
		}
	}
}

// TestARPOfIntruders has messages of ARP at some milliseconds: who says it, for which address, and to whom.
func TestARPOfIntruders(t *testing.T) {
	type said struct {
		ms         int64
		operation  byte
		mac, by    byte // of the sender; its address is 10.0.0.by
		target, to byte
	}
	scan := func(from, n int, answered bool) (list []said) {
		for i := range n {
			list = append(list, said{int64(from + i), 1, 9, 9, 0, byte(100 + i)})
			if answered {
				list = append(list, said{int64(from + i), 2, byte(100 + i), byte(100 + i), 9, 9})
			}
		}
		return list
	}
	asks := said{0, 1, 2, 2, 0, 1}
	for _, tt := range []struct {
		name string
		said []said
		want string
	}{
		{"replies for two to one that did not ask", []said{asks, {1, 2, 1, 1, 2, 2}, {5000, 2, 7, 30, 2, 2}, {5001, 2, 7, 31, 2, 2}}, "arp_unasked "},
		{"the same, and a question of its own", []said{asks, {5000, 1, 7, 7, 0, 2}, {5001, 2, 7, 30, 2, 2}, {6000, 2, 7, 30, 2, 2}}, "arp_unasked "},
		{"replies that were asked for", []said{asks, {5000, 1, 2, 2, 0, 30}, {5001, 2, 7, 30, 2, 2}, {5002, 1, 2, 2, 0, 31}, {5003, 2, 7, 31, 2, 2}}, ""},
		{"one address", []said{asks, {5000, 2, 7, 30, 2, 2}, {6000, 2, 7, 30, 2, 2}}, ""},
		{"two addresses, long after", []said{asks, {5000, 2, 7, 30, 2, 2}, {70000, 1, 7, 31, 0, 5}}, ""},
		{"a reply whose question may have been before", []said{asks, {500, 2, 7, 30, 2, 2}, {600, 2, 7, 31, 2, 2}}, ""},
		{"to everybody", []said{asks, {5000, 2, 7, 30, 0, 30}, {5001, 2, 7, 31, 0, 31}}, ""},
		{"a bridge that repeats questions and replies", []said{asks, {0, 1, 8, 2, 0, 1}, {10, 2, 2, 2, 1, 1}, {10, 2, 8, 2, 1, 1}}, "arp_relayed arp_relayed "},
		{"another machine that asks for the same", []said{asks, {5, 1, 8, 2, 0, 1}}, "arp_moved "},
		{"another one that answers the same", []said{{0, 2, 2, 2, 1, 1}, {0, 2, 8, 2, 1, 1}}, "arp_moved "},
		{"a scan", scan(0, manySought+9, false), "arp_scan "},
		{"nearly a scan", scan(0, manySought-1, false), ""},
		{"questions that were answered", scan(0, manySought+9, true), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := &Reader{rounds: rounds{cur: &round.Round{}}, decoding: decoding{heard: newARP()},
				inputFiles: inputFiles{shared: map[string]*shared{}}, told: told{capped: map[string]int64{}}}
			r.heard.since = 1e15
			for i, c := range tt.said {
				target := []byte{2, 0, 0, 0, 0, c.target}
				if c.target == 0 {
					target = make([]byte, 6)
				}
				b := append(append([]byte{0, 1, 8, 0, 6, 4, 0, c.operation, 2, 0, 0, 0, 0, c.mac, 10, 0, 0, c.by}, target...), 10, 0, 0, c.to)
				r.arp(&decode.Frame{Kind: decode.KindARP, Payload: b}, &flow.Packet{Capture: flow.Capture{No: int64(i), Time: 1e15 + c.ms*1e6 + int64(i)*1000}})
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
}
