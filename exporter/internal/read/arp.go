package read

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/internal/flow"
)

const (
	maxClaims  = 65_536      // addresses whose claims are remembered
	claimTimes = int64(60e9) // ns within which two machines claim the same address
)

// place is an address in a network.
type place struct {
	vlan uint16
	ip   netip.Addr
}

// claim is what machine claimed an address last.
type claim struct {
	mac, before [6]byte
	at, since   int64 // time of the last claim, and of the first of before after another
	two         bool  // before is known
}

// arp compares the hardware address with which a machine claims an IPv4 address in ARP with the one of earlier claims.
//
// A move from one machine to another is normal when a standby takes over. If the first one claims the address again, both
// use it. LIMIT: claims are of one VLAN, whatever the capture point.
func (r *Reader) arp(fr *decode.Frame, f *flow.Packet) {
	const mac, ip4 = 6, 4
	b := fr.Payload
	if fr.Kind != decode.KindARP || len(b) < 8+2*(mac+ip4) || b[4] != mac || b[5] != ip4 || binary.BigEndian.Uint16(b[2:]) != 0x0800 {
		return
	}
	var now [6]byte
	copy(now[:], b[8:])
	ip := netip.AddrFrom4([4]byte(b[8+mac:]))
	if ip.IsUnspecified() || now == [6]byte{} || now[0]&1 != 0 || shared4(now) { // a probe, or a group
		return
	}
	at := place{fr.VLANs[0], ip}
	had, known := r.claims[at]
	switch {
	case !known:
		if len(r.claims) < maxClaims {
			r.claims[at] = claim{mac: now, at: f.Time}
		}
		return
	case had.mac == now:
		had.at = f.Time
	case f.Time-had.at > claimTimes:
		had = claim{mac: now, at: f.Time}
	default:
		kind, what := "arp_moved", "is claimed by %s, and %s ago it was claimed by %s"
		if had.two && had.before == now && f.Time-had.since <= claimTimes {
			kind, what = "arp_conflict", "is claimed by %s again, and %s ago it was claimed by %s: both use it"
		}
		ago := fmt.Sprintf("%.3f s", float64(f.Time-had.at)/1e9)
		if r.own(f.Time, "arp", kind) {
			r.anomaly(f.No, f.Time, "arp", kind, fmt.Sprintf("address %s "+what, ip, net.HardwareAddr(now[:]), ago, net.HardwareAddr(had.mac[:])), 0)
		}
		had = claim{mac: now, before: had.mac, at: f.Time, since: f.Time, two: true}
	}
	r.claims[at] = had
}

// shared4 reports whether a hardware address is one that routers share: of VRRP (RFC 9568 section 7.3) or HSRP.
func shared4(mac [6]byte) bool {
	return mac[0] == 0 && mac[1] == 0 && (mac[2] == 0x5e && mac[3] == 0 && mac[4] == 1 || mac[2] == 0x0c && mac[3] == 7 && mac[4] == 0xac)
}
