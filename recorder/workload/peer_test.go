package workload

import (
	"net/netip"
	"testing"
)

// TestPeersOfAnAddress looks up an address that two pods had within a minute, as reported in
// any order and by several recorders.
func TestPeersOfAnAddress(t *testing.T) {
	a := netip.MustParseAddr("10.0.0.3")
	pod := func(name, uid string, from, to int64) Identity {
		id := Identity{Kind: "pod", Name: name, Pod: name, PodUID: uid, Namespace: "shop", HowKnown: knownAsPeer, Source: "r1"}
		if id.ValidFrom = second + from*1e9; from < 0 {
			id.ValidFrom = 0
		}
		if to != 0 {
			id.ValidTo = second + to*1e9
		}
		return id
	}
	for _, c := range []struct {
		name string
		said []Identity
		want map[int64]string // at seconds
	}{
		{"one after the other", []Identity{pod("a", "1", 0, 20), pod("b", "2", 30, 0)}, map[int64]string{5: "a", 19: "a", 25: "", 29: "b", 31: "b", 500: "b"}},
		{"the end is reported later", []Identity{pod("a", "1", 0, 0), pod("b", "2", 30, 0), pod("a", "1", 0, 20)}, map[int64]string{5: "a", 25: "", 31: "b"}},
		{"the end is never reported", []Identity{pod("a", "1", 0, 0), pod("b", "2", 30, 0)}, map[int64]string{5: "a", 29: "a", 30: "b"}},
		{"two recorders, the later one knows the end", []Identity{pod("a", "1", 5, 20), pod("a", "1", 3, 0), pod("b", "2", 30, 40)}, map[int64]string{4: "a", 19: "a", 25: "", 35: "b", 45: ""}},
		{"known from before the recording", []Identity{pod("a", "1", -1, 10)}, map[int64]string{-1000: "a", 9: "a", 20: ""}},
	} {
		for first := range c.said {
			x := NewIndex()
			for i := range c.said {
				x.AddIdentity(a, c.said[(i+first)%len(c.said)])
			}
			for at, want := range c.want {
				id, ok := x.Lookup(a, 80, 6, second+at*1e9)
				if id.Pod != want || ok != (want != "") || ok && id.HowKnown != "peer" {
					t.Errorf("%s, from %d: at %d got %q (%s), want %q", c.name, first, at, id.Pod, id.HowKnown, want)
				}
			}
		}
	}
}

// TestPeersAndOthers: statements about peers rank below segments and dumps, but end the time
// of a pod.
func TestPeersAndOthers(t *testing.T) {
	a := netip.MustParseAddr("10.0.0.3")
	own := Identity{Kind: "pod", Name: "a", Pod: "a", PodUID: "1", Namespace: "shop", Container: "c", Image: "img", HowKnown: "segment", ValidFrom: second}
	same := Identity{Kind: "pod", Name: "a", Pod: "a", PodUID: "1", Namespace: "shop", Services: []string{"web"}, HowKnown: knownAsPeer, ValidFrom: second + 5e9}
	next := Identity{Kind: "pod", Name: "b", Pod: "b", PodUID: "2", Namespace: "shop", HowKnown: knownAsPeer, ValidFrom: second + 30e9}
	x := NewIndex()
	for _, id := range []Identity{own, same, next} {
		x.AddIdentity(a, id)
	}
	if id, _ := x.Lookup(a, 0, 0, second+10e9); id.Pod != "a" || id.HowKnown != "segment" || id.Image != "img" || len(id.Services) != 1 || id.ValidFrom != second {
		t.Errorf("own pod: %+v", id)
	}
	if id, _ := x.Lookup(a, 0, 0, second+31e9); id.Pod != "b" || id.HowKnown != "peer" {
		t.Errorf("after the next pod has the address: %+v", id)
	}
}
