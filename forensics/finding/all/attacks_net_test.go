package all_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/pcapsule/pcapsule/samples/traffic"
)

// plainHello is a record with a ClientHello of TLS 1.2.
const plainHello = "\x16\x03\x01\x00\x2d\x01\x00\x00\x29\x03\x03" + "0123456789abcdef0123456789abcdef" + "\x00\x00\x02\x00\x2f\x01\x00"

// plainAnswer is its answer.
const plainAnswer = "\x16\x03\x03\x00\x2a\x02\x00\x00\x26\x03\x03" + "0123456789abcdef0123456789abcdef" + "\x00\x00\x2f\x00"

// TestHeartbleed has heartbeats with answers and without.
func TestHeartbleed(t *testing.T) {
	beat := func(kind byte, claims, size int) string {
		return string([]byte{24, 3, 3, byte(size >> 8), byte(size), kind, byte(claims >> 8), byte(claims)}) + strings.Repeat("x", size-3)
	}
	for _, tt := range []struct{ name, request, response, want string }{
		{"an attempt", beat(1, 0x4000, 3), "", "medium: 1 heartbeat has a wrong length in 1 connection of 10.0.0.1 to 10.0.0.2, as in Heartbleed (CVE-2014-0160); no such answer was seen"},
		{"an answer", beat(1, 0x1000, 3), beat(2, 0x1000, 0x1013), "high: 1 heartbeat has a wrong length in 1 connection of 10.0.0.1 to 10.0.0.2, as in Heartbleed (CVE-2014-0160); 1 answer is longer than what was sent, or to what must be discarded"},
		{"a proper heartbeat", beat(1, 16, 35), beat(2, 16, 35), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var w traffic.Capture
			w.Exchange(0, ms, "a", "10.0.0.1", "10.0.0.2:443", plainHello, plainAnswer)
			w.Exchange(10*ms, ms, "a", "10.0.0.1", "10.0.0.2:443", tt.request, tt.response)
			w.Close(time.Second, "a")
			holdOne(t, &w, "heartbleed", tt.want)
		})
	}
}

func holdOne(t *testing.T, w *traffic.Capture, name, want string) {
	t.Helper()
	if got := of(t, openTraffic(t, w), name); want == "" {
		hold(t, got)
	} else {
		hold(t, got, want)
	}
}

// TestFloodsOfFrames has connections of HTTP/2 with many SETTINGS or PING.
func TestFloodsOfFrames(t *testing.T) {
	const preface, settings, ping = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\x00\x00\x00\x04\x00\x00\x00\x00\x00", "\x00\x00\x08\x06\x00\x00\x00\x00\x0012345678"
	for _, tt := range []struct{ name, client, frames, want string }{
		{"SETTINGS", "10.0.0.1", strings.Repeat(settings, 101), "medium: 1 flood of frames in 1 connection of 10.0.0.1 to 10.0.0.2: the client sent 100 SETTINGS frames within a second (CVE-2019-9515)"},
		{"SETTINGS from outside", "203.0.113.9", strings.Repeat(settings, 101), "high: 1 flood"},
		{"PING", "10.0.0.1", strings.Repeat(ping, 2000), "the client sent 2000 PING frames within a second (CVE-2019-9512)"},
		{"some PING", "10.0.0.1", strings.Repeat(ping, 500), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var w traffic.Capture
			w.Exchange(0, ms, "a", tt.client, "10.0.0.2:80", preface+settings+tt.frames, settings)
			w.Close(time.Second, "a")
			holdOne(t, &w, "http2-flood", tt.want)
		})
	}
}

// frame is an Ethernet frame with layers above.
func frame(t *testing.T, above ...gopacket.SerializableLayer) []byte {
	t.Helper()
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, above...); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// pinged is an ICMP echo message.
func pinged(t *testing.T, from, to string, kind uint8, seq uint16, data string) []byte {
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolICMPv4, SrcIP: netip.MustParseAddr(from).AsSlice(), DstIP: netip.MustParseAddr(to).AsSlice()}
	return frame(t, &layers.Ethernet{SrcMAC: []byte{2, 0, 0, 0, 0, 1}, DstMAC: []byte{2, 0, 0, 0, 0, 2}, EthernetType: layers.EthernetTypeIPv4}, ip,
		&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(kind, 0), Id: 7, Seq: seq}, gopacket.Payload(data))
}

// TestTunnelsInPings has pings with other data in replies, of many sizes, and a search for the MTU.
func TestTunnelsInPings(t *testing.T) {
	for _, tt := range []struct {
		name   string
		size   func(i int) int
		times  int
		answer func(s string) string
		want   string
	}{
		{"other replies", func(int) int { return 100 }, 10, func(s string) string { return "b" + s }, "high: 10.0.0.1 and 10.0.0.2 exchanged 2170 bytes in 10 echo requests of 1 different size; 10 replies have other data than their requests, as a tunnel"},
		{"nine other replies", func(int) int { return 100 }, 9, func(s string) string { return "b" + s }, ""},
		{"many sizes", func(i int) int { return 300 + i%20 }, 60, func(s string) string { return s }, "medium: 10.0.0.1 and 10.0.0.2 exchanged 38100 bytes in 60 echo requests of 20 different sizes"},
		{"a search for the MTU", func(i int) int { return 1000 + i }, 40, func(s string) string { return s }, ""},
		{"ping", func(int) int { return 1400 }, 100, func(s string) string { return s }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var w traffic.Capture
			for i := range tt.times {
				data := strings.Repeat("a", tt.size(i))
				w.Frame(time.Duration(i)*ms, pinged(t, "10.0.0.1", "10.0.0.2", 8, uint16(i), data))
				w.Frame(time.Duration(i)*ms+ms/2, pinged(t, "10.0.0.2", "10.0.0.1", 0, uint16(i), tt.answer(data)))
			}
			holdOne(t, &w, "icmp-tunnel", tt.want)
		})
	}
}

// dhcpMessage is a message of DHCP with its type and other options.
func dhcpMessage(op, kind byte, hardware uint32, yours string, options ...string) string {
	b := make([]byte, 236)
	b[0], b[1], b[2] = op, 1, 6
	binary.BigEndian.PutUint32(b[4:], hardware)
	copy(b[16:], netip.MustParseAddr(yours).AsSlice())
	b[28] = 2
	binary.BigEndian.PutUint32(b[30:], hardware)
	return string(b) + "\x63\x82\x53\x63\x35\x01" + string([]byte{kind}) + strings.Join(options, "") + "\xff"
}

func dhcpOption(code byte, address string) string {
	return string([]byte{code, 4}) + string(netip.MustParseAddr(address).AsSlice())
}

// TestRogueServersOfDHCP has two servers that agree or do not, and many clients.
func TestRogueServersOfDHCP(t *testing.T) {
	for _, tt := range []struct{ name, network, router, dns, want string }{
		{"another router", "10.0.0", "10.0.0.66", "10.0.0.2", "high: two DHCP servers assign addresses of 10.0.0.0/24 and name different routers or DNS servers: 10.0.0.2 and 10.0.0.66"},
		{"another DNS server", "10.0.0", "10.0.0.1", "10.0.0.66", "high: two DHCP servers"},
		{"the same", "10.0.0", "10.0.0.1", "10.0.0.2", ""},
		{"another network", "10.0.1", "10.0.1.1", "10.0.1.2", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var w traffic.Capture
			offer := func(at time.Duration, server, yours, router, dns string) {
				w.Reply(at, "10.0.0.100", server+":67", dhcpMessage(2, 2, 5, yours, dhcpOption(54, server), dhcpOption(1, "255.255.255.0"), dhcpOption(3, router), dhcpOption(6, dns)))
			}
			offer(0, "10.0.0.2", "10.0.0.100", "10.0.0.1", "10.0.0.2")
			offer(ms, "10.0.0.66", tt.network+".101", tt.router, tt.dns)
			holdOne(t, &w, "rogue-dhcp", tt.want)
		})
	}
	for clients, want := range map[int]string{200: "medium: up to 200 hardware addresses asked for an address within a minute", 199: ""} {
		var w traffic.Capture
		for i := range clients {
			w.Datagram(time.Duration(i)*ms, "0.0.0.0", "255.255.255.255:67", dhcpMessage(1, 1, uint32(i+1), "0.0.0.0"))
		}
		holdOne(t, &w, "rogue-dhcp", want)
	}
}

// advertisement is a router advertisement of IPv6 with a prefix.
func advertisement(t *testing.T, router, prefix string, hardware byte) []byte {
	ip := &layers.IPv6{Version: 6, HopLimit: 255, NextHeader: layers.IPProtocolICMPv6, SrcIP: netip.MustParseAddr(router).AsSlice(), DstIP: netip.MustParseAddr("ff02::1").AsSlice()}
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(layers.ICMPv6TypeRouterAdvertisement, 0)}
	if err := icmp.SetNetworkLayerForChecksum(ip); err != nil {
		t.Fatal(err)
	}
	info := append([]byte{64, 0xc0, 0, 0, 14, 0x10, 0, 0, 7, 8, 0, 0, 0, 0}, netip.MustParseAddr(prefix).AsSlice()...)
	return frame(t, &layers.Ethernet{SrcMAC: []byte{2, 0, 0, 0, 0, hardware}, DstMAC: []byte{0x33, 0x33, 0, 0, 0, 1}, EthernetType: layers.EthernetTypeIPv6}, ip, icmp,
		&layers.ICMPv6RouterAdvertisement{HopLimit: 64, RouterLifetime: 1800, Options: layers.ICMPv6Options{{Type: layers.ICMPv6OptSourceAddress, Data: []byte{2, 0, 0, 0, 0, hardware}}, {Type: layers.ICMPv6OptPrefixInfo, Data: info}}})
}

// TestRogueRouters has two routers that agree or do not, and many.
func TestRogueRouters(t *testing.T) {
	for _, tt := range []struct {
		name, router, prefix string
		hardware             byte
		times                int
		want                 string
	}{
		{"another prefix", "fe80::66", "2001:db8:66::", 66, 1, "medium: 2 routers of IPv6 advertise different prefixes or DNS servers: fe80::1: prefix=2001:db8::/64"},
		{"a second router of the same network", "fe80::2", "2001:db8::", 2, 1, ""},
		{"the same router with other hardware", "fe80::1", "2001:db8::", 66, 1, "high: router fe80::1 advertised itself from 2 hardware addresses"},
		{"many", "fe80::66:%d", "2001:db8:66::", 66, 20, "high: 21 routers of IPv6 advertised themselves, up to 21 within a minute"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var w traffic.Capture
			w.Frame(0, advertisement(t, "fe80::1", "2001:db8::", 1))
			for i := range tt.times {
				router := tt.router
				if strings.Contains(router, "%d") {
					router = fmt.Sprintf(router, i)
				}
				w.Frame(time.Duration(i+1)*ms, advertisement(t, router, tt.prefix, tt.hardware))
			}
			holdOne(t, &w, "rogue-router", tt.want)
		})
	}
}

// llmnrAnswer is an answer of LLMNR with an address.
func llmnrAnswer(name string) string {
	question := string([]byte{byte(len(name))}) + name + "\x00\x00\x01\x00\x01"
	return "\x00\x07\x80\x00\x00\x01\x00\x01\x00\x00\x00\x00" + question + "\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x1e\x00\x04\x0a\x00\x00\x42"
}

// TestPoisonedNames has a host that answers for several names, or for its own.
func TestPoisonedNames(t *testing.T) {
	for _, tt := range []struct{ name, names, want string }{
		{"three names", "fileserv printer intranett", "high: answers over LLMNR give 3 names the address 10.0.0.66: fileserv, intranett, printer"},
		{"two names", "fileserv printer", ""},
		{"a name that nobody has", "wpad", "medium: answers over LLMNR give 1 name the address 10.0.0.66: wpad"},
		{"one name often", "pc1 pc1 PC1 pc1", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var w traffic.Capture
			for i, name := range strings.Fields(tt.names) {
				w.Reply(time.Duration(i)*ms, "10.0.0.1", "10.0.0.66:5355", llmnrAnswer(name))
			}
			holdOne(t, &w, "name-poisoning", tt.want)
		})
	}
}

// netBIOS is a message of the name service with a name, a type and what follows.
func netBIOS(head, name string, service byte, rest string) string {
	coded := " "
	for _, b := range []byte(fmt.Sprintf("%-15s", name) + string([]byte{service})) {
		coded += string([]byte{'A' + b>>4, 'A' + b&15})
	}
	return head + coded + "\x00\x00\x20\x00\x01" + rest
}

// TestPoisonedNetBIOS has a host that answers questions to all for several names, one for its own names, and a name server.
func TestPoisonedNetBIOS(t *testing.T) {
	const ask, all, answer = "\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00", "\x00\x07\x01\x10\x00\x01\x00\x00\x00\x00\x00\x00", "\x00\x07\x85\x00\x00\x00\x00\x01\x00\x00\x00\x00"
	const address = "\x00\x00\x00\xa5\x00\x06\x00\x00\x0a\x00\x00\x42"
	for _, tt := range []struct {
		name, names string
		service     byte
		server      bool
		want        string
	}{
		{"three names", "FILESERV PRINTER INTRANETT", 0x20, false, "high: answers over NetBIOS give 3 names the address 10.0.0.66: fileserv, intranett, printer"},
		{"two names", "FILESERV PRINTER", 0x20, false, ""},
		{"a name that nobody has", "WPAD", 0, false, "medium: answers over NetBIOS give 1 name the address 10.0.0.66: wpad"},
		{"names of domains", "SHOP OFFICE LAB", 0x1b, false, ""},
		{"a name server with aliases", "FILESERV PRINTER INTRANETT", 0x20, true, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var w traffic.Capture
			for i, name := range strings.Fields(tt.names) {
				at := time.Duration(i) * time.Second
				if tt.server {
					w.Datagram(at, "10.0.0.1", "10.0.0.66:137", netBIOS(ask, name, tt.service, ""), netBIOS(answer, name, tt.service, address))
					continue
				}
				w.Datagram(at, "10.0.0.1", "10.0.0.255:137", netBIOS(all, name, tt.service, ""))
				w.Reply(at+ms, "10.0.0.1", "10.0.0.66:137", netBIOS(answer, name, tt.service, address))
			}
			holdOne(t, &w, "name-poisoning", tt.want)
		})
	}
}

// TestARPOfIntruders has a victim that gets two claims, a bridge that repeats what it hears, and a scan.
func TestARPOfIntruders(t *testing.T) {
	arp := func(operation uint16, hardware, by, target, to byte) []byte {
		mac, other := []byte{2, 0, 0, 0, 0, hardware}, []byte{2, 0, 0, 0, 0, target}
		if target == 0 {
			other = make([]byte, 6)
		}
		return frame(t, &layers.Ethernet{SrcMAC: mac, DstMAC: []byte{2, 0, 0, 0, 0, 9}, EthernetType: layers.EthernetTypeARP},
			&layers.ARP{AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4, Operation: operation, SourceHwAddress: mac, SourceProtAddress: []byte{10, 0, 0, by}, DstHwAddress: other, DstProtAddress: []byte{10, 0, 0, to}})
	}
	var victim, bridge, scan traffic.Capture
	victim.Ping(0, "10.0.0.7", "10.0.0.8", true)
	victim.Frame(5*time.Second, arp(2, 66, 1, 2, 2))
	victim.Frame(6*time.Second, arp(1, 66, 66, 0, 1))
	holdOne(t, &victim, "address-spoofing", "medium: 10.0.0.1 is claimed over ARP in 1 reply to one that had not asked, by a hardware address that claims another address, too")
	bridge.Ping(0, "10.0.0.7", "10.0.0.8", true)
	for i := range 3 {
		at := time.Duration(i+1) * time.Second
		bridge.Frame(at, arp(1, 2, 2, 0, 1))
		bridge.Frame(at+10*time.Microsecond, arp(1, 8, 2, 0, 1))
	}
	holdOne(t, &bridge, "address-spoofing", "medium: two hardware addresses claim 10.0.0.2 within a minute over ARP; 3 claims repeat what the other said at once, as a bridge of Wi-Fi does")
	scan.Ping(0, "10.0.0.7", "10.0.0.8", true)
	for i := range 60 {
		scan.Frame(time.Second+time.Duration(i)*ms, arp(1, 9, 9, 0, byte(100+i)))
	}
	holdOne(t, &scan, "scan", "medium: 10.0.0.9 asked for 50 addresses of its network or more within a minute over ARP, for which no reply was captured, in 1 minute")
}

// TestSpoofedAddresses has machines that claim one address by ARP or neighbor discovery.
func TestSpoofedAddresses(t *testing.T) {
	arp := func(hardware byte) []byte {
		mac := []byte{2, 0, 0, 0, 0, hardware}
		return frame(t, &layers.Ethernet{SrcMAC: mac, DstMAC: []byte{2, 0, 0, 0, 0, 9}, EthernetType: layers.EthernetTypeARP},
			&layers.ARP{AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4, Operation: layers.ARPReply, SourceHwAddress: mac, SourceProtAddress: []byte{10, 0, 0, 1}, DstHwAddress: []byte{2, 0, 0, 0, 0, 9}, DstProtAddress: []byte{10, 0, 0, 9}})
	}
	neighbor := func(hardware byte) []byte {
		ip := &layers.IPv6{Version: 6, HopLimit: 255, NextHeader: layers.IPProtocolICMPv6, SrcIP: netip.MustParseAddr("fe80::9").AsSlice(), DstIP: netip.MustParseAddr("ff02::1").AsSlice()}
		icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(layers.ICMPv6TypeNeighborAdvertisement, 0)}
		if err := icmp.SetNetworkLayerForChecksum(ip); err != nil {
			t.Fatal(err)
		}
		return frame(t, &layers.Ethernet{SrcMAC: []byte{2, 0, 0, 0, 0, hardware}, DstMAC: []byte{0x33, 0x33, 0, 0, 0, 1}, EthernetType: layers.EthernetTypeIPv6}, ip, icmp,
			&layers.ICMPv6NeighborAdvertisement{Flags: 0x20, TargetAddress: netip.MustParseAddr("2001:db8::1").AsSlice(), Options: layers.ICMPv6Options{{Type: layers.ICMPv6OptTargetAddress, Data: []byte{2, 0, 0, 0, 0, hardware}}}})
	}
	for _, tt := range []struct {
		name     string
		claim    func(byte) []byte
		hardware string
		want     string
	}{
		{"two in turn", arp, "1212", "high: two hardware addresses claim 10.0.0.1 within a minute over ARP, and both do so in turn made.pcap frame 2: address 10.0.0.1 is claimed by 02:00:00:00:00:32"},
		{"one after the other", arp, "1122", "medium: two hardware addresses claim 10.0.0.1 within a minute over ARP"},
		{"one", arp, "1111", ""},
		{"two neighbors in turn", neighbor, "1212", "high: two hardware addresses claim 2001:db8::1 within a minute over neighbor discovery, and both do so in turn"},
		{"one neighbor after the other", neighbor, "1122", "medium: two hardware addresses claim 2001:db8::1 within a minute over neighbor discovery"},
		{"one neighbor", neighbor, "1111", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var w traffic.Capture
			for i, c := range tt.hardware {
				w.Frame(time.Duration(i)*time.Second, tt.claim(byte(c)))
			}
			w.Ping(10*time.Second, "10.0.0.7", "10.0.0.8", true)
			holdOne(t, &w, "address-spoofing", tt.want)
		})
	}
}
