package proof

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/all"
	"github.com/pcapsule/pcapsule/exporter/internal/flow"
)

// datagram is one of an attack or of its victims.
type datagram struct {
	src, dst flow.End
	data     string
}

// bystanders are conversations of other hosts: none of their packets may be redirected.
func bystanders() map[string][]datagram {
	host, name, peer := endOf(netip.MustParseAddrPort("10.1.0.1:40000")), endOf(netip.MustParseAddrPort("10.1.0.53:53")), endOf(netip.MustParseAddrPort("10.1.0.2:40001"))
	quicClient, quicServer := endOf(netip.MustParseAddrPort("10.1.0.3:40002")), endOf(netip.MustParseAddrPort("10.0.0.9:443")) // the server of the attacked connection
	list := map[string][]datagram{}
	for _, id := range []string{"\x12\x34", "\x41\x42", "\x7f\xff", "\xc0\x00", "\xc3\x00", "\xff\xff"} {
		question := "\x04shop\x07example\x00\x00\x01\x00\x01"
		list[fmt.Sprintf("dns %x", id)] = []datagram{
			{host, name, id + "\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + question},
			{name, host, id + "\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00" + question + "\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x0a\x00\x00\x01"},
		}
	}
	for _, first := range []string{"\x40", "INVITE", "\x7f", "\xc0", "\xc3\x00\x00\x00\x02", "\xff"} {
		list[fmt.Sprintf("a protocol that nobody reads %x", first)] = []datagram{
			{host, peer, first + " of a private protocol, 1"}, {peer, host, first + " of a private protocol, 2"}, {host, peer, first + " of a private protocol, 3"},
		}
	}
	list["another client of the server"] = []datagram{
		{quicClient, quicServer, string(longHeader(0xc0, "random77", "client77"))}, {quicServer, quicClient, string(longHeader(0xc0, "client77", "server77"))},
		{quicClient, quicServer, string(shortHeader("server77"))}, {quicServer, quicClient, string(shortHeader("client77"))},
	}
	list["another client of the server, without ids of its own"] = []datagram{
		{quicClient, quicServer, string(longHeader(0xc0, "random77", ""))}, {quicServer, quicClient, string(longHeader(0xc0, "", "server77"))},
		{quicClient, quicServer, string(shortHeader("server77"))}, {quicServer, quicClient, string(shortHeader(""))},
	}
	list["another client of the server, since before the capture"] = []datagram{
		{quicClient, quicServer, string(shortHeader("server77"))}, {quicServer, quicClient, string(shortHeader("client77"))}, {quicClient, quicServer, string(shortHeader("server77"))},
	}
	return list
}

// claimable reports the limits of quicViews: nothing in the capture tells these attacks from a client that
// moves.
func claimable(cid, attack, victim string, first int) bool {
	before := victim == "another client of the server, since before the capture" && first == 0
	handshake := strings.HasPrefix(attack, "the whole handshake") || attack == "handshake and moving"
	switch {
	case cid == "" && handshake:
		return strings.HasPrefix(victim, "a protocol that nobody reads") || strings.HasPrefix(victim, "another client")
	case before && cid == "" && attack == "a migration":
		return true
	case before:
		return attack == "a Retry whose id is the packet's bytes" || attack == "ids that are the packet's bytes" || attack == "ids of the other client"
	}
	return false
}

// TestNoAttackMovesOtherHosts spoofs packets of a QUIC connection whose ids were observed, at the ends of
// other conversations, before and between their packets. Each packet of these must stay where it is, and
// so must those of the attacked connection.
func TestNoAttackMovesOtherHosts(t *testing.T) {
	client, server := endOf(netip.MustParseAddrPort("10.0.0.1:50000")), endOf(netip.MustParseAddrPort("10.0.0.9:443"))
	mallory, own := endOf(netip.MustParseAddrPort("203.0.113.9:4444")), endOf(netip.MustParseAddrPort("203.0.113.10:443"))
	dns := all.Protocols(nil)[slices.IndexFunc(all.Protocols(nil), func(p *dissect.Protocol) bool { return p.Name == "dns" })]
	explained := func(datagram []byte) Explanation {
		switch max(dns.Detect(dissect.ToServer, datagram), dns.Detect(dissect.ToClient, datagram)) {
		case dissect.Yes:
			return Certain
		case dissect.Likely:
			return Likely
		}
		return Unexplained
	}
	for _, ids := range [][3]string{{"random99", "client01", "server01"}, {"random99", "", "server01"}, {"random99", "client01", ""}, {"", "", ""}} {
		original, cid, sid := ids[0], ids[1], ids[2]
		begin := []datagram{{client, server, string(longHeader(0xc0, original, cid))}, {server, client, string(longHeader(0xc0, cid, sid))}, {client, server, string(shortHeader(sid))}}
		rest := []datagram{{client, server, string(longHeader(0xe0, sid, cid))}, {client, server, string(shortHeader(sid))}, {server, client, string(shortHeader(cid))}}
		both := func(p datagram, data ...string) (list []datagram) {
			for _, d := range data {
				list = append(list, datagram{p.src, p.dst, d}, datagram{p.dst, p.src, d})
			}
			return list
		}
		// connection is one that the attacker answers itself, with ids of its choice.
		connection := func(a, b flow.End, to, from, answer string) []datagram {
			return []datagram{{a, b, string(longHeader(0xc0, to, from))}, {b, a, string(longHeader(0xc0, from, answer))}}
		}
		negotiation := func(to, from string) string {
			b := longHeader(0xca, to, from)
			copy(b[1:5], "\x00\x00\x00\x00")
			return string(b)
		}
		for name, attack := range map[string]func(p datagram) []datagram{
			"nothing":                   func(datagram) []datagram { return nil },
			"the client's first packet": func(p datagram) []datagram { return both(p, string(longHeader(0xc0, original, cid))) },
			"256 guesses": func(p datagram) (list []datagram) {
				for i := range 256 {
					list = append(list, both(p, string(longHeader(0xc0, original, fmt.Sprintf("guess%03d", i))), string(longHeader(0xc0, fmt.Sprintf("guess%03d", i), cid)))...)
				}
				return list
			},
			"long headers with both ids": func(p datagram) []datagram {
				return both(p, string(longHeader(0xe0, sid, cid)), string(longHeader(0xe0, cid, sid)), string(longHeader(0xe0, original, sid)))
			},
			"the whole handshake":            func(p datagram) []datagram { return connection(p.src, p.dst, original, cid, sid) },
			"the whole handshake, backwards": func(p datagram) []datagram { return connection(p.dst, p.src, original, cid, sid) },
			"a handshake with another answer": func(p datagram) []datagram {
				return append(connection(p.src, p.dst, original, cid, "forged01"), both(p, string(shortHeader("forged01")))...)
			},
			"Version Negotiation": func(p datagram) []datagram { return both(p, negotiation(cid, original), negotiation(cid, sid)) },
			"a migration":         func(p datagram) []datagram { return both(p, string(shortHeader(sid)), string(shortHeader(cid))) },
			"handshake and moving": func(p datagram) []datagram {
				return append(connection(p.src, p.dst, original, cid, sid), both(p, string(shortHeader(sid)), string(shortHeader(cid)))...)
			},
			"a Retry whose id is the packet's bytes": func(p datagram) (list []datagram) {
				for n := minID; n <= min(maxIDLen, len(p.data)-1); n++ {
					list = append(list, datagram{server, client, string(longHeader(0xf0, cid, p.data[1:1+n]))})
				}
				return list
			},
			"ids that are the packet's bytes": func(p datagram) (list []datagram) {
				for n := minID; n <= min(maxIDLen, len(p.data)-1); n++ {
					list = append(list, connection(mallory, own, "random66", p.data[1:1+n], p.data[1:1+n])...)
					list = append(list, connection(mallory, server, "random66", "mallory1", p.data[1:1+n])...)
					list = append(list, connection(mallory, server, "random66", p.data[1:1+n], "mallory2")...)
				}
				return list
			},
			"ids without a byte": func(p datagram) []datagram {
				return append(append(connection(p.src, p.dst, "", "", ""), connection(p.src, p.dst, original, "", sid)...), connection(mallory, server, "", "", "")...)
			},
			"ids of the other client": func(p datagram) []datagram {
				return append(connection(mallory, server, "random66", "client77", "server77"), connection(client, server, original, cid, "server77")...)
			},
		} {
			for victim, packets := range bystanders() {
				for first := range packets { // the attack begins before this packet
					if claimable(cid, name, victim, first) {
						continue
					}
					v := &quicViews{foreign: explained}
					see := func(p datagram) *flow.View {
						view, _ := v.find(&flow.Packet{
							IP:      flow.IP{Src: p.src.Addr, Dst: p.dst.Addr},
							Segment: flow.Segment{SrcPort: p.src.Port, DstPort: p.dst.Port},
							Payload: []byte(p.data),
						}, endsHash(p.src, p.dst), 0)
						return view
					}
					where := fmt.Sprintf("ids %q, attack %q at packet %d of %q", ids, name, first, victim)
					for _, p := range begin {
						if see(p) != nil {
							t.Fatalf("%s: the connection's beginning is moved", where)
						}
					}
					for i, p := range packets {
						if i >= first {
							for _, forged := range attack(p) {
								see(forged)
							}
						}
						if view := see(p); view != nil {
							t.Errorf("%s: packet %d is moved to %v", where, i, view.Dialled)
						}
					}
					for i, p := range rest {
						if see(p) != nil {
							t.Errorf("%s: packet %d of the connection is moved", where, i)
						}
					}
				}
			}
		}
	}
}
