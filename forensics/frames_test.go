package forensics_test

import (
	"context"
	"testing"

	"github.com/pcapsule/pcapsule/forensics"
)

// TestFramesAreThoseOfTheirFiles checks that a printed citation selects the packets that it was printed for.
func TestFramesAreThoseOfTheirFiles(t *testing.T) {
	c := open(t, sample(t, "dns.pcap"))
	x, err := c.Call(context.Background(), "#3", forensics.CallOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, r := slice(t, c, forensics.Selection{Frames: []string{x.Frames}})
	if r.Packets != x.Cites.Count() {
		t.Errorf("%s has %d packets, want %d", x.Frames, r.Packets, x.Cites.Count())
	}
	for _, p := range x.Packets {
		if p.Frame != p.PacketNo+1 {
			t.Errorf("packet %d is frame %d", p.PacketNo, p.Frame)
		}
	}
}
