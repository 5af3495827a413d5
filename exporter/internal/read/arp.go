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
	maxClaims  = 65_536      // addresses whose claims are remembered, and questions
	maxSenders = 4096        // machines whose questions are counted
	claimTimes = int64(60e9) // ns within which two machines claim the same address
	relayTime  = int64(1e6)  // ns within which a bridge repeats a question with its own address

	// manySought is how many addresses a machine asks for within a minute without a reply when it scans. A router asks for
	// those that somebody behind it scans.
	manySought = 50
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

	sought  netip.Addr // what the last claim asked for, if it was a question
	relay   [6]byte    // repeats the questions of mac
	relayed int64      // when it did so last; 0: never
}

// asking is who asks for whom.
type asking struct {
	by, sought place
}

// said is an address that a machine claimed.
type said struct {
	ip netip.Addr
	at int64 // 0: none
}

// now reports whether it was said within the last minute.
func (s said) now(ns int64) bool { return s.at != 0 && ns-s.at <= claimTimes }

// machine is what a hardware address said in ARP.
type machine struct {
	last, other said // the last address, and the one before
	unasked     said // an address in a reply that nobody had asked for
	told        int64

	minute  int64
	sought  map[netip.Addr]bool // in this minute, without a reply
	scanned bool                // in this minute, and reported
}

// station is a hardware address in a network.
type station struct {
	vlan uint16
	mac  [6]byte
}

// arpState is what earlier messages of ARP said.
type arpState struct {
	claims   map[place]claim
	asked    map[asking]int64
	machines map[station]*machine
	since    int64 // asked has all questions since then; 0: before the first packet
}

func newARP() arpState {
	return arpState{claims: map[place]claim{}, asked: map[asking]int64{}, machines: map[station]*machine{}}
}

// message is a message of ARP for IPv4 over Ethernet.
type message struct {
	by, to     place
	mac, toMAC [6]byte
	question   bool
	one        bool // a reply to one machine
	no, time   int64
	gratuitous bool // about its own address
}

func readARP(fr *decode.Frame, f *flow.Packet) (m message, ok bool) {
	const mac, ip4 = 6, 4
	b := fr.Payload
	if fr.Kind != decode.KindARP || len(b) < 8+2*(mac+ip4) || b[4] != mac || b[5] != ip4 || binary.BigEndian.Uint16(b[2:]) != 0x0800 {
		return m, false
	}
	vlan := fr.VLANs[0]
	m = message{by: place{vlan, netip.AddrFrom4([4]byte(b[8+mac:]))}, to: place{vlan, netip.AddrFrom4([4]byte(b[8+mac+ip4+mac:]))}, no: f.No, time: f.Time}
	copy(m.mac[:], b[8:])
	operation := binary.BigEndian.Uint16(b[6:])
	copy(m.toMAC[:], b[8+mac+ip4:])
	m.gratuitous = m.by == m.to
	m.question = operation == 1 && !m.gratuitous
	m.one = operation == 2 && !m.gratuitous && m.toMAC != [6]byte{} && m.toMAC[0]&1 == 0 && !m.to.ip.IsUnspecified()
	return m, m.mac != [6]byte{} && m.mac[0]&1 == 0
}

// arp compares what machines say in ARP with what was said before. LIMIT: claims are of one VLAN, whatever the capture point.
func (r *Reader) arp(fr *decode.Frame, f *flow.Packet) {
	m, ok := readARP(fr, f)
	if !ok {
		return
	}
	r.sought(m)
	if m.by.ip.IsUnspecified() || shared4(m.mac) { // a probe, or a group
		return
	}
	r.claimed(m)
	r.unasked(m)
	if m.question {
		if len(r.heard.asked) >= maxClaims {
			clear(r.heard.asked)
			r.heard.since = m.time
		}
		r.heard.asked[asking{m.by, m.to}] = m.time
	}
}

// claimed compares the hardware address with which a machine claims an address with the one of earlier claims.
//
// A move from one machine to another is normal when a standby takes over. If the first one claims the address again, both
// use it. A bridge that cannot send with the addresses of others, as over Wi-Fi, repeats what it hears with its own.
func (r *Reader) claimed(m message) {
	had, known := r.heard.claims[m.by]
	sought := netip.Addr{}
	if m.question {
		sought = m.to.ip
	}
	switch {
	case !known:
		if len(r.heard.claims) < maxClaims {
			r.heard.claims[m.by] = claim{mac: m.mac, at: m.time, sought: sought}
		}
		return
	case had.mac == m.mac:
		had.at, had.sought = m.time, sought
	case m.time-had.at > claimTimes:
		had = claim{mac: m.mac, at: m.time, sought: sought}
	case m.question && had.sought == sought && m.time-had.at <= relayTime, had.relayed != 0 && had.relay == m.mac && m.time-had.relayed <= claimTimes:
		had.relay, had.relayed = m.mac, m.time
		r.oddARP(m, "arp_relayed", fmt.Sprintf("is claimed by %s, which repeats questions of %s at once", net.HardwareAddr(m.mac[:]), net.HardwareAddr(had.mac[:])))
	default:
		kind, what := "arp_moved", "is claimed by %s, and %s ago it was claimed by %s"
		if had.two && had.before == m.mac && m.time-had.since <= claimTimes {
			kind, what = "arp_conflict", "is claimed by %s again, and %s ago it was claimed by %s: both use it"
		}
		r.oddARP(m, kind, fmt.Sprintf(what, net.HardwareAddr(m.mac[:]), fmt.Sprintf("%.3f s", float64(m.time-had.at)/1e9), net.HardwareAddr(had.mac[:])))
		had = claim{mac: m.mac, before: had.mac, at: m.time, since: m.time, two: true, sought: sought}
	}
	r.heard.claims[m.by] = had
}

func (r *Reader) oddARP(m message, kind, what string) {
	if r.own(m.time, "arp", kind) {
		r.anomaly(m.no, m.time, "arp", kind, fmt.Sprintf("address %s %s", m.by.ip, what), 0)
	}
}

// machine returns what a hardware address said, or nil if there are too many.
func (r *Reader) machine(m message) *machine {
	at := station{m.by.vlan, m.mac}
	s := r.heard.machines[at]
	if s == nil && len(r.heard.machines) < maxSenders {
		s = &machine{}
		r.heard.machines[at] = s
	}
	return s
}

// unasked finds a machine that replies to one other which did not ask, and claims another address, too: who redirects
// traffic does so, and a standby that takes over tells everybody. LIMIT: a question that was not captured was not asked.
func (r *Reader) unasked(m message) {
	s := r.machine(m)
	if s == nil {
		return
	}
	if s.last.ip != m.by.ip {
		s.other = s.last
	}
	s.last = said{m.by.ip, max(1, m.time)}
	if asked, known := r.heard.asked[asking{m.to, m.by}]; m.one && m.time-r.heard.since > 1e9 && !(known && m.time-asked <= claimTimes) {
		s.unasked = s.last
	}
	another := s.last.ip != s.unasked.ip || s.other.now(m.time) && s.other.ip != s.unasked.ip
	if s.unasked.now(m.time) && another && (s.told == 0 || m.time-s.told > claimTimes) {
		s.told = m.time
		m.by.ip = s.unasked.ip
		r.oddARP(m, "arp_unasked", fmt.Sprintf("is claimed by %s in a reply to one that had not asked, and the same machine claims another address, too", net.HardwareAddr(m.mac[:])))
	}
}

// sought counts the addresses that a machine asks for without a reply.
func (r *Reader) sought(m message) {
	if s := r.heard.machines[station{m.to.vlan, m.toMAC}]; s != nil && m.one {
		delete(s.sought, m.by.ip)
	}
	s := r.machine(m)
	if s == nil || !m.question {
		return
	}
	if minute := m.time / claimTimes; s.sought == nil || s.minute != minute {
		s.minute, s.sought, s.scanned = minute, map[netip.Addr]bool{}, false
	}
	if s.scanned {
		return
	}
	if s.sought[m.to.ip] = true; len(s.sought) == manySought {
		s.scanned = true
		r.oddARP(m, "arp_scan", fmt.Sprintf("asked for %d addresses within a minute, for which no reply was captured", manySought))
	}
}

// shared4 reports whether a hardware address is one that routers share: of VRRP (RFC 9568 section 7.3) or HSRP.
func shared4(mac [6]byte) bool {
	return mac[0] == 0 && mac[1] == 0 && (mac[2] == 0x5e && mac[3] == 0 && mac[4] == 1 || mac[2] == 0x0c && mac[3] == 7 && mac[4] == 0xac)
}
