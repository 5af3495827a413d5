package seal_test

import (
	"testing"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/seal"
)

// TestWhatIsALoss: packets that were recorded are no loss, whatever they are.
func TestWhatIsALoss(t *testing.T) {
	counted := bundle.Input{Interfaces: []bundle.Interface{{Received: 5}}}
	for _, tt := range []struct {
		name string
		m    bundle.Manifest
		want string
	}{
		{"nothing was lost", bundle.Manifest{Inputs: []bundle.Input{counted}}, "none"},
		{"ARP is no loss", bundle.Manifest{Inputs: []bundle.Input{counted}, Accounts: bundle.Accounts{Counters: map[string]map[string]int64{bundle.NotIP: {"arp": 52}}}}, "none"},
		{"nothing is known to be lost", bundle.Manifest{Inputs: []bundle.Input{counted, {}}}, "none; 1 capture file does not count lost packets"},
		{"files without counters", bundle.Manifest{Inputs: []bundle.Input{{}, {Segment: &bundle.Segment{}}}}, "none; 2 capture files do not count lost packets"},
		{"every kind of loss", bundle.Manifest{Accounts: bundle.Accounts{GapBytes: 1, CutBytes: 3}, Inputs: []bundle.Input{
			{Drops: 2, Damage: []bundle.Damage{{}}, DamageMore: 4, Segment: &bundle.Segment{Seal: "broken"}}, {Segment: &bundle.Segment{Seal: "sealed"}}}},
			"2 packets dropped, 5 places damaged, 1 byte missing in gaps, 3 bytes cut by the snap length, 1 segment with the seal broken; 1 capture file does not count lost packets"},
		{"a seal with a format in its name", bundle.Manifest{Inputs: []bundle.Input{{Segment: &bundle.Segment{Seal: "%d{a|b}"}}}}, "1 segment with the seal %d{a|b}; 1 capture file does not count lost packets"},
	} {
		losses := seal.LossesOf(&tt.m)
		if got := losses.String(); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
