package read

import (
	"testing"

	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

func TestFilterCompilesForEachLinkType(t *testing.T) {
	f, err := newFilter("ip and tcp")
	if err != nil {
		t.Fatal(err)
	}
	ip := append([]byte{0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6}, make([]byte, 30)...)
	ethernet := append(append(make([]byte, 12), 8, 0), ip...)
	for range 2 {
		for _, p := range []pcapng.Packet{{LinkType: 1, Data: ethernet}, {LinkType: 101, Data: ip}, {LinkType: 228, Data: ip}} {
			if ok, err := f.match(&p); !ok || err != nil {
				t.Errorf("link type %d: %v, %v", p.LinkType, ok, err)
			}
		}
	}
}
