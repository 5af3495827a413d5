package all

import (
	"slices"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/guess"
)

// TestPortsNameNoProtocolThatIsRead checks that a port suggests only protocols without a dissector: on
// a connection that nobody reads, the others have been ruled out.
func TestPortsNameNoProtocolThatIsRead(t *testing.T) {
	named := 0
	for transport, datagrams := range map[dissect.Transport]bool{dissect.TCP: false, dissect.UDP: true} {
		for port := range 1 << 16 {
			g := guess.Of(&guess.Start{ServerPort: uint16(port), Datagrams: datagrams, RolesKnown: true})
			if g.By != guess.Port {
				continue
			}
			named++
			for _, p := range Protocols(nil) {
				if p.Name == g.Protocol && slices.Contains(p.Transports, transport) {
					t.Errorf("%s port %d suggests %s, which has a dissector", transport, port, p.Name)
				}
			}
		}
	}
	if named < 35 {
		t.Errorf("%d ports suggest a protocol", named)
	}
}
