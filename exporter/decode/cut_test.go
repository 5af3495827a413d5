package decode

import (
	"encoding/binary"
	"strings"
	"testing"
)

// mirrored are tunnels around one packet, an IP packet or a frame with it.
func mirrored(ip []byte) map[string][]byte {
	kind := uint16(etherIPv4)
	if ip[0]>>4 == 6 {
		kind = etherIPv6
	}
	two := []byte{byte(kind >> 8), byte(kind)}
	frame := ethernet(kind, ip)
	inUDP := func(port uint16, rest ...any) []byte {
		return ipv4(protoUDP, 1, 0, udpDatagram(4000, port, join(rest...)))
	}
	ppp := "00 21"
	number, next := byte(protoIPv4), "01"
	if kind == etherIPv6 {
		ppp, number, next = "00 57", protoIPv6, "02"
	}
	all := map[string][]byte{
		"VXLAN":                        inUDP(portVXLAN, "08 00 00 00 00 00 07 00", frame),
		"VXLAN with a VLAN tag":        inUDP(portVXLAN, "08 00 00 00 00 00 07 00", ethernet(etherVLAN, join("00 05", two, ip))),
		"VXLAN at another port":        inUDP(58678, "08 00 00 00 00 00 07 00", frame),
		"VXLAN-GPE with IP":            inUDP(portVXLANGPE, "0c 00 00", next, "00 00 07 00", ip),
		"VXLAN-GPE with Ethernet":      inUDP(portVXLANGPE, "0c 00 00 03 00 00 07 00", frame),
		"VXLAN-GPE with NSH":           inUDP(portVXLANGPE, "0c 00 00 04 00 00 07 00 0f c2 02 03 00 00 05 ff", frame),
		"GENEVE with Ethernet":         inUDP(portGeneve, "01 00 65 58 00 00 09 00 01 02 80 00", frame),
		"GENEVE with IP":               inUDP(portGeneve, "00 00", two, "00 00 09 00", ip),
		"GTP-U":                        inUDP(portGTPU, "30 ff", len(ip)>>8, len(ip)&0xff, "00 00 00 77", ip),
		"L2TP":                         inUDP(portL2TP, "00 02 00 03 00 04 ff 03", ppp, ip),
		"L2TP with a length":           inUDP(portL2TP, "40 02", (len(ip)+12)>>8, (len(ip)+12)&0xff, "00 03 00 04 ff 03", ppp, ip),
		"L2TP version 3":               inUDP(portL2TP, "00 03 00 00 00 00 00 4d", frame),
		"L2TP version 3 in IP":         ipv4(protoL2TP, 1, 0, join("00 00 00 4d", frame)),
		"MPLS in UDP":                  inUDP(portMPLS, "00 02 01 40", ip),
		"MPLS in UDP with Ethernet":    inUDP(portMPLS, "00 02 01 40", frame),
		"GUE":                          inUDP(portGUE, "00", number, "00 00", ip),
		"GUE of version 1":             inUDP(portGUE, ip),
		"GRE":                          gre(0, kind, ip),
		"GRE in UDP":                   inUDP(portGRE, "00 00", two, ip),
		"NVGRE":                        gre(greKey, etherTEB, "00 20 00 07", frame),
		"ERSPAN":                       gre(greSequence, 0x88be, "00 00 00 01", "10 64 00 05 00 00 00 00", frame),
		"IP in IP":                     ipv4(number, 1, 0, ip),
		"IP in IPv6":                   ipv6(number, ip),
		"NSH in GRE":                   gre(0, etherNSH, "0f c2 02", next, "00 00 05 ff", ip),
		"EtherIP":                      ipv4(protoEtherIP, 1, 0, join("30 00", frame)),
		"EoIP":                         gre(eoipFlags, etherEoIP, len(frame)>>8, len(frame)&0xff, "07 00", frame),
		"LISP":                         inUDP(portLISP, "88 00 00 01 00 00 09 00", ip),
		"TZSP":                         inUDP(portTZSP, "01 00 00 01 01", frame),
		"TZSP with tags and 802.11":    inUDP(portTZSP, "01 00 00 12 0a 01 d0 00 12 01 06 01", wlanFrame(kind, ip)),
		"PPPoE in VXLAN":               inUDP(portVXLAN, "08 00 00 00 00 00 07 00", ethernet(etherPPPoE, join("11 00 00 09", (2+len(ip))>>8, (2+len(ip))&0xff, ppp, ip))),
		"GTP-U in VXLAN":               inUDP(portVXLAN, "08 00 00 00 00 00 07 00", ethernet(etherIPv4, header4(inUDP(portGTPU, "30 ff", len(ip)>>8, len(ip)&0xff, "00 00 00 77", ip)))),
		"CAPWAP":                       inUDP(portCAPWAP, "00 10 00 00 00 00 00 00", frame),
		"Ethernet, by a packet slicer": ip,
	}
	if kind == etherIPv6 {
		all["Teredo"] = inUDP(portTeredo, ip)
		all["AYIYA"] = inUDP(portAYIYA, "40 00 01 29 00 00 00 00", make([]byte, 16), ip)
	}
	return all
}

// header4 sets the checksum of an IPv4 header.
func header4(b []byte) []byte {
	b[10], b[11] = 0, 0
	binary.BigEndian.PutUint16(b[10:], ^checksum(b[:ipv4Header], 0))
	return b
}

// within changes the addresses of a packet, which are then not those of the tunnel, and finishes its header.
func within(b []byte) []byte {
	b = append([]byte(nil), b...)
	if b[0]>>4 == 6 {
		b[9], b[25] = 0x77, 0x77
		return b
	}
	b[13], b[17] = 9, 9
	return header4(b)
}

func wlanFrame(kind uint16, ip []byte) []byte {
	return join("08 01 00 00", make([]byte, 18), "10 00 aa aa 03 00 00 00", int(kind>>8), int(kind&0xff), ip)
}

// shorten cuts n bytes off a packet, and makes the lengths of the outer headers those of the rest as a mirror that cuts
// first does.
func shorten(b []byte, n int) []byte {
	b = append([]byte(nil), b[:len(b)-n]...)
	udp := ipv4Header
	if b[0]>>4 == 6 {
		binary.BigEndian.PutUint16(b[4:], uint16(len(b)-ipv6Header))
		udp = 0
	} else {
		binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
		header4(b)
	}
	if udp > 0 && b[9] == protoUDP {
		binary.BigEndian.PutUint16(b[udp+4:], uint16(len(b)-udp))
	}
	return b
}

// Every tunnel shows the same packet if a mirror cut it; only the bytes at its end are missing. tshark finds the same
// ends in those tunnels that it knows at their ports.
func TestPacketsCutByAMirror(t *testing.T) {
	const size, cut = 300, 200
	segment := tcpSegment(1111, 2222, 3, 4, ACK, nil, body(size))
	datagram := udpDatagram(1111, 2222, body(size))
	teredo := ipv6(protoTCP, segment)
	copy(teredo[8:], join("20 01 00 00"))
	unknown := map[string]bool{ // to tshark, or at these ports
		"GRE in UDP": true, "VXLAN at another port": true, "GUE": true, "GUE of version 1": true, "VXLAN-GPE with NSH": true, "CAPWAP": true, "AYIYA": true,
		"L2TP version 3": true, "L2TP version 3 in IP": true, "TZSP with tags and 802.11": true, "MPLS in UDP with Ethernet": true, "NSH in GRE": true,
		"MPLS in UDP": true, // a cut IPv6 packet in it
	}
	for name, ip := range map[string][]byte{
		"TCP in IPv4": within(ipv4(protoTCP, 7, 0, segment)),
		"UDP in IPv4": within(ipv4(protoUDP, 7, 0, datagram)),
		"TCP in IPv6": teredo,
		"UDP in IPv6": within(ipv6(protoUDP, datagram)),
	} {
		var packets []linked
		var names []string
		for tunnel, whole := range mirrored(ip) {
			if tunnel == "Teredo" && name == "UDP in IPv6" {
				continue // its addresses show a Teredo packet
			}
			b := whole[:len(whole)-cut]
			if tunnel != "Ethernet, by a packet slicer" {
				b = shorten(whole, cut)
			}
			full, f := decodeOne(LinkRaw, whole, len(whole)), decodeOne(LinkRaw, b, len(b))
			if full.PayloadLen != size || full.Problems.Codes() != nil {
				t.Errorf("%s in %s, whole: %s", name, tunnel, describe(&full))
			}
			got, want := describe(&f), strings.Replace(describe(&full), "payload=300/300", "payload=100/300", 1)
			if got = strings.TrimSuffix(got, " !truncated"); got != want || f.Problems&(Truncated|BadLength) != Truncated || f.IPLen != full.IPLen {
				t.Errorf("%s in %s\n got %s, IP length %d\nwant %s, %d", name, tunnel, describe(&f), f.IPLen, want, full.IPLen)
			}
			if !unknown[tunnel] {
				packets, names = append(packets, linked{LinkRaw, b}), append(names, tunnel)
			}
		}
		for i, theirs := range asTshark(t, packets) {
			f := decodeOne(LinkRaw, packets[i].data, len(packets[i].data))
			mine := strings.Fields(ours(&f))
			if !strings.Contains(theirs, mine[0]+" "+mine[1]) || !strings.HasSuffix(theirs, mine[2]+" "+mine[3]) {
				t.Errorf("%s in %s: %q, tshark says %q", name, names[i], mine, theirs)
			}
		}
	}
}

// A tunnel's own length field may be that of the whole packet although the mirror cut it.
func TestLengthOfACutTunnelMessage(t *testing.T) {
	ip := header4(ipv4(protoTCP, 7, 0, tcpSegment(1111, 2222, 3, 4, ACK, nil, body(300))))
	message := func(size int) []byte {
		return shorten(ipv4(protoUDP, 1, 0, udpDatagram(4000, portGTPU, join("30 ff", size>>8, size&0xff, "00 00 00 77", ip))), 200)
	}
	for size, want := range map[int]string{
		len(ip):       "ip gtpu=119(10.0.0.1>10.0.0.2) 10.0.0.1:1111>10.0.0.2:2222 proto=6 payload=100/300 !truncated",
		len(ip) - 200: "ip gtpu=119(10.0.0.1>10.0.0.2) 10.0.0.1:1111>10.0.0.2:2222 proto=6 payload=100/300 !truncated",
		len(ip) - 100: "ip 10.0.0.1:4000>10.0.0.2:2152 proto=17 payload=148/148",
	} {
		b := message(size)
		if f := decodeOne(LinkRaw, b, len(b)); describe(&f) != want {
			t.Errorf("length %d\n got %s\nwant %s", size, describe(&f), want)
		}
	}
	// A TZSP tag has the length of the frame before the sniffer cut it.
	frame := ethernet(etherARP, join("00 01 08 00 06 04 00 01", make([]byte, 20)))
	b := ipv4(protoUDP, 1, 0, udpDatagram(4000, portTZSP, join("01 00 00 01 29 02 00 2a 01", frame[:30])))
	if f := decodeOne(LinkRaw, b, len(b)); f.Kind != KindARP || f.Problems != Truncated {
		t.Errorf("got %s", describe(&f))
	}
}

// Bytes that are no cut packet stay payload of their port, and a length field that a cut does not explain stays bad.
func TestNoCutPacket(t *testing.T) {
	segment := tcpSegment(1111, 2222, 3, 4, ACK, nil, body(300))
	four := header4(ipv4(protoTCP, 7, 0, segment))[:140]
	six := ipv6(protoTCP, segment)[:160]
	changed := func(b []byte, at int, to ...byte) []byte {
		b = append([]byte(nil), b...)
		copy(b[at:], to)
		return b
	}
	inUDP := func(port uint16, rest ...any) []byte {
		return ipv4(protoUDP, 1, 0, udpDatagram(4000, port, join(rest...)))
	}
	pppoe := ethernet(etherPPPoE, join("11 00 00 09 00 2a 00 21", header4(changed(ipv4(protoTCP, 7, 0, tcpSegment(1111, 2222, 3, 4, ACK, nil, nil)), 3, 46)), make([]byte, 6)))
	const outer = "ip 10.0.0.1:4000>10.0.0.2:"
	for _, tt := range []struct {
		name string
		link uint16
		data []byte
		want string
	}{
		{"IPv4 with a wrong checksum", LinkRaw, inUDP(portGUE, "00 04 00 00", changed(four, 10, 1, 2)), outer + "6080 proto=17 payload=144/144"},
		{"IPv4 without a checksum", LinkRaw, inUDP(portGUE, "00 04 00 00", changed(four, 10, 0, 0)), outer + "6080 proto=17 payload=144/144"},
		{"IPv6 with an unknown next header", LinkRaw, inUDP(portGUE, "00 29 00 00", changed(six, 6, 200)), outer + "6080 proto=17 payload=164/164"},
		{"IPv6 with a TCP header of 8 bytes", LinkRaw, inUDP(portGUE, "00 29 00 00", changed(six, 52, 0x20)), outer + "6080 proto=17 payload=164/164"},
		{"IPv6 with UDP of another length", LinkRaw, inUDP(portGUE, "00 29 00 00", changed(ipv6(protoUDP, udpDatagram(1111, 2222, body(300))), 44, 0, 9)[:160]), outer + "6080 proto=17 payload=164/164"},
		{"IPv6 of other addresses at Teredo's port", LinkRaw, inUDP(portTeredo, six), outer + "3544 proto=17 payload=160/160"},
		{"text at a tunnel's port", LinkRaw, inUDP(portGUE, []byte("`GET / HTTP/1.1 and more text that begins like IPv6, long enough for a header")), outer + "6080 proto=17 payload=77/77"},
		{"a length of PPPoE that leaves padding", linkEthernet, pppoe, "ip pppoe=9 10.0.0.1:1111>10.0.0.2:2222 proto=6 payload=0/0 !bad_length"},
		{"EoIP's keepalive", LinkRaw, gre(eoipFlags, etherEoIP, "00 00 07 00"), "ip 10.0.0.1:0>10.0.0.2:0 proto=47 payload=8/8"},
		{"TZSP's keepalive", LinkRaw, inUDP(portTZSP, "01 04 00 01 01", ethernet(etherIPv4, four)), outer + "37008 proto=17 payload=159/159"},
		{"TZSP of another version", LinkRaw, inUDP(portTZSP, "02 00 00 01 01", ethernet(etherIPv4, four)), outer + "37008 proto=17 payload=159/159"},
		{"TZSP whose tags do not end", LinkRaw, inUDP(portTZSP, "01 00 00 01", make([]byte, 100)), outer + "37008 proto=17 payload=104/104"},
		{"encrypted LISP", LinkRaw, inUDP(portLISP, "89 00 00 01 00 00 09 00", four), outer + "4341 proto=17 payload=148/148"},
		{"LISP with a nonce and a version", LinkRaw, inUDP(portLISP, "98 00 00 01 00 00 09 00", four), outer + "4341 proto=17 payload=148/148"},
		{"LISP's port with something else", LinkRaw, inUDP(portLISP, "88 00 00 01 00 00 09 00", body(60)), outer + "4341 proto=17 payload=68/68"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := decodeOne(tt.link, tt.data, len(tt.data))
			if got := describe(&f); got != tt.want {
				t.Errorf("\n got %s\nwant %s", got, tt.want)
			}
		})
	}
}
