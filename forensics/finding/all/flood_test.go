package all_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/pcapsule/pcapsule/samples/traffic"
)

// TestDenialOfService has floods just at and just below what counts, and much traffic that is harmless.
func TestDenialOfService(t *testing.T) {
	sources := func(n int) func(i int) string {
		return func(i int) string { return fmt.Sprintf("198.51.%d.%d", i%n/200, 1+i%n%200) }
	}
	opens := func(n int, each time.Duration, from func(i int) string, refused bool) func(w *traffic.Capture) {
		return func(w *traffic.Capture) {
			for i := range n {
				w.Attempt(time.Duration(i)*each, from(i), "10.0.0.2:443", refused)
			}
		}
	}
	ntp := "\x17\x00\x03\x2a" + strings.Repeat("\x00", 4)
	list := "\xd7\x00\x03\x2a\x00\x06\x00\x48" + strings.Repeat("A", 432)
	question := "\x10\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03isc\x03org\x00\x00\xff\x00\x01"
	long := "\x10\x01\x81\x80\x00\x01\x00\x03\x00\x00\x00\x00" + question[12:] + strings.Repeat("\xc0\x0c\x00\x10\x00\x01\x00\x00\x0e\x10\x00\xfb\xfa"+strings.Repeat("x", 250), 3)
	for _, tt := range []struct {
		name string
		make func(w *traffic.Capture)
		want string
	}{
		{"connections of many", opens(500, 10*ms, sources(100), false), "high: 500 connections to port 443 of 10.0.0.2 were begun by 100 addresses and not completed, 500 or more within 10 s (SYN flood); none was answered"},
		{"connections of one", opens(500, 10*ms, sources(1), false), "medium: 500 connections to port 443 of 10.0.0.2 were begun by 1 address"},
		{"fewer", opens(499, 10*ms, sources(100), false), ""},
		{"slower", opens(600, 100*ms, sources(100), false), ""},
		{"refused, as by a server that is down", opens(1000, 10*ms, sources(100), true), ""},
		{"beside as many that succeed", func(w *traffic.Capture) {
			opens(500, 10*ms, sources(100), false)(w)
			for i := range 505 {
				name := fmt.Sprint("ok ", i)
				w.Exchange(time.Duration(i)*10*ms, ms, name, "10.0.0.1", "10.0.0.2:443", "a", "b")
				w.Close(time.Duration(i)*10*ms+2*ms, name)
			}
		}, ""},
		{"datagrams to many ports", func(w *traffic.Capture) {
			for i := range 1000 {
				w.Datagram(time.Duration(i)*ms, "198.51.100.7", fmt.Sprintf("10.0.0.2:%d", 20000+i), "x")
			}
		}, "medium: 1 address sent 1000 datagrams to 1000 ports of 10.0.0.2 without an answer, in 1000 conversations"},
		{"datagrams to one port, one direction", func(w *traffic.Capture) {
			for i := range 1500 {
				w.Datagram(time.Duration(i)*ms, "198.51.100.7", "10.0.0.2:53", "x")
			}
		}, ""},
		{"datagrams that are answered", func(w *traffic.Capture) {
			for i := range 1200 {
				w.Datagram(time.Duration(i)*ms, "10.0.0.1", fmt.Sprintf("10.0.0.2:%d", 20000+i), "x", "y")
			}
		}, ""},
		{"pings", func(w *traffic.Capture) {
			for i := range 1000 {
				w.Ping(time.Duration(i)*5*ms, "198.51.100.7", "10.0.0.2", i%2 == 0)
			}
		}, "medium: 1 address sent 1000 ICMP messages to 10.0.0.2"},
		{"a monitor", func(w *traffic.Capture) {
			for i := range 3000 {
				w.Ping(time.Duration(i)*5*ms, "10.0.0.1", fmt.Sprintf("10.0.1.%d", 1+i%250), true)
			}
		}, ""},
		{"lists of NTP", func(w *traffic.Capture) {
			for i := range 50 {
				w.Datagram(time.Duration(i)*10*ms, "10.0.0.2", fmt.Sprintf("203.0.113.%d:123", 1+i%20), ntp, list, list, list, list)
			}
		}, "high: 20 servers sent 10.0.0.2 200 answers from UDP port 123 with 93600 bytes; the questions in its name had 1800 bytes (amplification by reflection)"},
		{"clocks", func(w *traffic.Capture) {
			for i := range 300 {
				w.Datagram(time.Duration(i)*10*ms, "10.0.0.2", fmt.Sprintf("203.0.113.%d:123", 1+i%20), "\x23"+strings.Repeat("\x00", 47), "\x24\x01"+strings.Repeat("\x00", 46))
			}
		}, ""},
		{"answers of DNS", func(w *traffic.Capture) {
			for i := range 200 {
				w.Reply(time.Duration(i)*10*ms, "10.0.0.2", fmt.Sprintf("203.0.113.%d:53", 1+i%20), long)
			}
		}, "high: 20 servers sent 10.0.0.2 200 answers from DNS about isc.org with"},
		{"a resolver that asks for many names", func(w *traffic.Capture) {
			for i := range 300 {
				answer := strings.ReplaceAll(long, "\x03isc", fmt.Sprintf("\x03%03d", i))
				w.Reply(time.Duration(i)*10*ms, "10.0.0.2", fmt.Sprintf("203.0.113.%d:53", 1+i%20), answer)
			}
		}, ""},
		{"requests that trickle", func(w *traffic.Capture) { trickle(w, 50, 11*time.Second) }, "high: 10.0.0.9 sent 50 HTTP requests to port 80 of 10.0.0.2 for 10 s or more each, at less than 1000 bytes a second"},
		{"fewer that trickle", func(w *traffic.Capture) { trickle(w, 49, 11*time.Second) }, ""},
		{"requests that are slow to send", func(w *traffic.Capture) { trickle(w, 60, 9*time.Second) }, ""},
		{"a loop", func(w *traffic.Capture) {
			w.Frame(0, ipv4(t, "10.0.0.2", "10.0.0.2", layers.IPProtocolTCP, 0, 0, "\x00\x8b\x00\x8b"+strings.Repeat("\x00", 8)+"\x50\x02"+strings.Repeat("\x00", 6)))
		}, "high: 1 packet to port 139 of 10.0.0.2 has its own address and port as sender (LAND)"},
		{"fragments that contradict", func(w *traffic.Capture) {
			w.Frame(0, ipv4(t, "10.0.0.9", "10.0.0.2", layers.IPProtocolUDP, layers.IPv4MoreFragments, 0, strings.Repeat("A", 40)))
			w.Frame(ms, ipv4(t, "10.0.0.9", "10.0.0.2", layers.IPProtocolUDP, 0, 3, strings.Repeat("B", 8)))
		}, "medium: 1 fragment contradicts others of the same datagram"},
		{"a fragment that is too far", func(w *traffic.Capture) {
			w.Frame(0, ipv4(t, "10.0.0.9", "10.0.0.2", layers.IPProtocolICMPv4, 0, 8189, strings.Repeat("P", 400)))
		}, "medium: 1 fragment ends behind the longest datagram, which crashes old systems (Ping of Death)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var w traffic.Capture
			tt.make(&w)
			holdOne(t, &w, "flood", tt.want)
		})
	}
}

// trickle adds requests whose headers are sent a line at a time.
func trickle(w *traffic.Capture, n int, long time.Duration) {
	for i := range n {
		at, name := time.Duration(i)*ms, fmt.Sprint("slow ", i)
		w.Exchange(at, 0, name, "10.0.0.9", "10.0.0.2:80", "GET / HTTP/1.1\r\nHost: a\r\n", "")
		w.Exchange(at+long/2, 0, name, "10.0.0.9", "10.0.0.2:80", "X-A: b\r\n", "")
		w.Exchange(at+long, 0, name, "10.0.0.9", "10.0.0.2:80", "X-A: b\r\n", "")
	}
}

// ipv4 is a packet, or a fragment of one that has its offset in units of 8 bytes, without the checksum of what it carries.
func ipv4(t *testing.T, from, to string, protocol layers.IPProtocol, flags layers.IPv4Flag, offset uint16, payload string) []byte {
	return frame(t, &layers.Ethernet{SrcMAC: []byte{2, 0, 0, 0, 0, 1}, DstMAC: []byte{2, 0, 0, 0, 0, 2}, EthernetType: layers.EthernetTypeIPv4},
		&layers.IPv4{Version: 4, IHL: 5, TTL: 64, Id: 7, Protocol: protocol, SrcIP: netip.MustParseAddr(from).AsSlice(), DstIP: netip.MustParseAddr(to).AsSlice(), Flags: flags, FragOffset: offset}, gopacket.Payload(payload))
}
