package decode

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

// describe renders a frame in one line for table tests.
func describe(f *Frame) string {
	var b strings.Builder
	b.WriteString(f.Kind.String())
	for _, v := range f.VLANs[:f.NVLANs] {
		fmt.Fprintf(&b, " vlan=%d", v)
	}
	for _, l := range f.Labels[:f.NLabels] {
		fmt.Fprintf(&b, " label=%d", l)
	}
	for _, t := range f.Tunnels[:f.NTunnels] {
		fmt.Fprintf(&b, " %s", t.Kind)
		if t.HasID {
			fmt.Fprintf(&b, "=%d", t.ID)
		}
		if t.Src != (Addr{}) {
			fmt.Fprintf(&b, "(%s>%s)", t.Src, t.Dst)
		}
	}
	if f.Kind == KindARP {
		fmt.Fprintf(&b, " op=%d %s>%s", f.ARPOp, f.Src, f.Dst)
	}
	if f.Kind == KindIP || f.Kind == KindFragment {
		fmt.Fprintf(&b, " %s:%d>%s:%d proto=%d", f.Src, f.SrcPort, f.Dst, f.DstPort, f.Proto)
		fmt.Fprintf(&b, " payload=%d/%d", len(f.Payload), f.PayloadLen)
	}
	if f.LinkDirection != DirUnknown {
		fmt.Fprintf(&b, " %s", f.LinkDirection)
	}
	if codes := f.Problems.String(); codes != "" {
		fmt.Fprintf(&b, " !%s", codes)
	}
	return b.String()
}

func decodeOne(link uint16, data []byte, orig int) Frame {
	var f Frame
	New(Options{}).Decode(Input{LinkType: link, Data: data, OrigLen: uint32(orig), No: 1}, &f)
	return f
}

func join(parts ...any) []byte {
	var b []byte
	for _, p := range parts {
		switch p := p.(type) {
		case []byte:
			b = append(b, p...)
		case int:
			b = append(b, byte(p))
		case uint8:
			b = append(b, p)
		case string:
			for _, h := range strings.Fields(p) {
				var v byte
				fmt.Sscanf(h, "%02x", &v)
				b = append(b, v)
			}
		}
	}
	return b
}

func TestDecode(t *testing.T) {
	udp := udpDatagram(5000, 53, []byte("question"))
	pkt := ipv4(protoUDP, 7, 0, udp)
	pkt6 := ipv6(protoUDP, udp)
	eth := ethernet(etherIPv4, pkt)
	summed := ethernet(etherIPv4, finish4(bytes.Clone(pkt)))
	const inner = "10.0.0.1:5000>10.0.0.2:53 proto=17 payload=8/8"
	const plain6 = "fd00::1:5000>fd00::2:53 proto=17 payload=8/8"
	const outer = "(10.0.0.1>10.0.0.2)"
	in4 := func(proto uint8, body ...any) []byte { return ethernet(etherIPv4, ipv4(proto, 1, 0, join(body...))) }
	inUDP := func(port uint16, body ...any) []byte { return in4(protoUDP, udpDatagram(4000, port, join(body...))) }
	arp := join("00 01 08 00 06 04 00 01 02 00 00 00 00 01 0a 00 00 01 00 00 00 00 00 00 0a 00 00 02")

	for _, c := range []struct {
		name string
		link uint16
		data []byte
		want string
	}{
		{"plain IPv4 in Ethernet", linkEthernet, eth, "ip " + inner},
		{"Ethernet padding is not payload", linkEthernet, join(eth, make([]byte, 18)), "ip " + inner},
		{"three VLAN tags", linkEthernet, ethernet(etherQinQ, join("00 05 81 00 00 06 91 00 00 07 08 00", pkt)), "ip vlan=5 vlan=6 vlan=7 " + inner},
		{"SNAP in 802.3", linkEthernet, ethernet(uint16(8+len(pkt)), join("aa aa 03 00 00 00 08 00", pkt)), "ip " + inner},
		{"spanning tree is not IP", linkEthernet, ethernet(7, join("42 42 03 00 00 00 00", make([]byte, 40))), "none"},
		{"ARP request", linkEthernet, ethernet(etherARP, join(arp, make([]byte, 18))), "arp op=1 10.0.0.1>10.0.0.2"},
		{"MPLS to IPv4", linkEthernet, ethernet(etherMPLS, join("00 01 00 40 00 02 01 40", pkt)), "ip label=16 label=32 mpls=32 " + inner},
		{"MPLS with a control word to Ethernet", linkEthernet, ethernet(etherMPLS, join("00 02 01 40 00 00 00 00", eth)), "ip label=32 mpls=32 " + inner},
		{"MPLS that never ends", linkEthernet, ethernet(etherMPLS, make([]byte, 400)), "none label=0 label=0 label=0 label=0 !depth_limit"},
		{"PPPoE session", linkEthernet, ethernet(etherPPPoE, join("11 00 00 09 00", 2+len(pkt), "00 21", pkt)), "ip pppoe=9 " + inner},
		{"PPPoE of a wrong version", linkEthernet, ethernet(etherPPPoE, join("21 00 00 09 00", 2+len(pkt), "00 21", pkt)), "none !bad_header"},
		{"Cisco MetaData", linkEthernet, ethernet(etherCMD, join("01 01 00 01 00 65 08 00", pkt)), "ip " + inner},
		{"Cisco MetaData after a VLAN tag", linkEthernet, ethernet(etherVLAN, join("00 05 89 09 01 01 00 01 00 65 08 00", pkt)), "ip vlan=5 " + inner},
		{"Cisco MetaData in GRE", linkEthernet, in4(protoGRE, "00 00 89 09 01 01 00 01 00 65 08 00", pkt), "ip gre" + outer + " " + inner},
		{"Cisco MetaData of another version", linkEthernet, ethernet(etherCMD, join("02 01 00 01 00 65 08 00", pkt)), "none !bad_header"},
		{"Cisco MetaData, cut", linkEthernet, ethernet(etherCMD, join("01 01 00")), "none !bad_length"},
		{"VN-Tag", linkEthernet, ethernet(etherVNTag, join("00 00 00 00 08 00", pkt)), "ip " + inner},
		{"network service header", linkEthernet, ethernet(etherNSH, join("0f c2 02 01 00 00 05 ff", pkt)), "ip nsh=5 " + inner},
		{"backbone bridge", linkEthernet, ethernet(etherPBB, join("00 00 01 00", eth)), "ip pbb=256 " + inner},

		{"cooked, to us", linkSLL, join("00 00 00 01 00 06 02 00 00 00 00 01 00 00 08 00", pkt), "ip " + inner + " in"},
		{"cooked, by us", linkSLL, join("00 04 00 01 00 06 02 00 00 00 00 01 00 00 08 00", pkt), "ip " + inner + " out"},
		{"cooked v2, by us", linkSLL2, join("86 dd 00 00 00 00 00 03 00 01 04 06 02 00 00 00 00 01 00 00", pkt6), "ip " + plain6 + " out"},
		{"cooked, cut in its header", linkSLL, join("00 00 00 01"), "none !bad_length"},
		{"loopback of a little-endian BSD", linkNull, join("02 00 00 00", pkt), "ip " + inner},
		{"loopback of a big-endian Mac, IPv6", linkNull, join("00 00 00 1e", pkt6), "ip " + plain6},
		{"OpenBSD loopback", linkLoop, join("00 00 00 02", pkt), "ip " + inner},
		{"raw IPv4", LinkRaw, pkt, "ip " + inner},
		{"raw IPv6", linkIPv6, pkt6, "ip " + plain6},
		{"raw with version 3", LinkRaw, join("30 00", make([]byte, 30)), "none !bad_header"},
		{"PPP with HDLC framing", linkPPPSerial, join("ff 03 00 21", pkt), "ip " + inner},
		{"PPP without", linkPPP, join("00 57", pkt6), "ip " + plain6},
		{"PPP with a direction", linkPPPDir, join("01 ff 03 21", pkt), "ip " + inner + " out"},
		{"Cisco HDLC", linkCHDLC, join("0f 00 08 00", pkt), "ip " + inner},
		{"Cisco SLARP is not RARP", linkCHDLC, join("8f 00 80 35", make([]byte, 18)), "none"},
		{"Frame Relay, RFC 2427", linkFrameRelay, join("18 41 03 cc", pkt), "ip " + inner},
		{"Frame Relay, Cisco", linkFrameRelay, join("18 41 08 00", pkt), "ip " + inner},
		{"IPsec interface", linkENC, join("02 00 00 00 00 00 00 01 00 00 00 00", pkt), "ip " + inner},
		{"Solaris, to us", linkIPNET, join("01 02 00 01 00 00 00 00 00 00 00 03 00 00 00 00 00 00 00 00 00 00 00 00", pkt), "ip " + inner + " in"},
		{"Solaris, by us, IPv6", linkIPNET, join("01 1a 00 02 00 00 00 00 00 00 00 03 00 00 00 00 00 00 00 00 00 00 00 00", pkt6), "ip " + plain6 + " out"},
		{"Solaris, another family", linkIPNET, join("01 03 00 02", make([]byte, 20), pkt), "none !bad_header"},
		{"packet filter log", linkPFLOG, join("3d 02", make([]byte, 58), "02 00 00 00", pkt), "ip " + inner + " out"},
		{"netfilter log", linkNFLOG, join("02 00 00 00 08 00 01 00 08 00 00 00", 4+len(pkt), "00 09 00", pkt), "ip " + inner},
		{"netfilter log with an empty attribute", linkNFLOG, join("02 00 00 00 00 00 01 00 08 00 00 00"), "none !bad_header"},
		{"Apple's packet tap", linkPKTAP, join("28 00 00 00 01 00 00 00 01 00 00 00", make([]byte, 24), "02 00 00 00", eth), "ip " + inner + " out"},
		{"Ethernet in PPI", linkPPI, join("00 00 10 00 01 00 00 00 08 00 04 00 00 00 00 00", eth), "ip " + inner},
		{"PPI in PPI", linkPPI, join("00 00 08 00 c0 00 00 00", eth), "none !bad_header"},
		{"packet tap in packet tap", linkPKTAP, join("28 00 00 00 01 00 00 00 02 01 00 00", make([]byte, 28), eth), "none !bad_header"},
		{"SLIP", linkSLIP, join("01 40", make([]byte, 14), pkt), "ip " + inner + " out"},
		{"SLIP, compressed header", linkSLIP, join("00 80", make([]byte, 14), pkt), "none in"},
		{"IP over InfiniBand", linkIPoIB, join(make([]byte, 40), "08 00 00 00", pkt), "ip " + inner},
		{"Token Ring with a source route", linkTokenRing, join(make([]byte, 8), 0x80, make([]byte, 5), "06 00 00 00 00 00 aa aa 03 00 00 00 08 00", pkt), "ip " + inner},
		{"ARCNET", linkARCNETLinux, join("01 02 00 00 d4 00 00 01", pkt), "ip " + inner},
		{"an unsupported link type", 9999, pkt, "none !unknown_link"},

		{"802.11 data", linkWLAN, join("08 01", make([]byte, 22), "aa aa 03 00 00 00 08 00", pkt), "ip " + inner},
		{"802.11 QoS data between access points", linkWLAN, join("88 03", make([]byte, 28), "00 00 aa aa 03 00 00 00 08 00", pkt), "ip " + inner},
		{"802.11 protected", linkWLAN, join("08 41", make([]byte, 22), "aa aa 03 00 00 00 08 00", pkt), "none !encrypted"},
		{"802.11 beacon", linkWLAN, join("80 00", make([]byte, 60)), "none"},
		{"802.11 A-MSDU", linkWLAN, join("88 01", make([]byte, 22), "80 00", make([]byte, 12), 0, 8+len(pkt), "aa aa 03 00 00 00 08 00", pkt, make([]byte, 40)), "ip " + inner + " !aggregate"},
		{"radiotap with flags and check sequence", linkRadiotap, join("00 00 09 00 02 00 00 00 10 08 01", make([]byte, 22), "aa aa 03 00 00 00 08 00", pkt, "01 02 03 04"), "ip " + inner},
		{"Prism", linkPrism, join("44 00 00 00 90 00 00 00", make([]byte, 136), "08 01", make([]byte, 22), "aa aa 03 00 00 00 08 00", pkt), "ip " + inner},
		{"AVS", linkAVS, join("80 21 10 01 00 00 00 40", make([]byte, 56), "08 01", make([]byte, 22), "aa aa 03 00 00 00 08 00", pkt), "ip " + inner},

		{"VXLAN", linkEthernet, inUDP(portVXLAN, "08 00 00 00 00 00 2a 00", eth), "ip vxlan=42" + outer + " " + inner},
		{"VXLAN on Linux's port", linkEthernet, inUDP(portOldVXLAN, "08 00 00 00 00 00 2a 00", eth), "ip vxlan=42" + outer + " " + inner},
		{"VXLAN port with something else", linkEthernet, inUDP(portVXLAN, "08 00 00 00 00 00 2a 00", make([]byte, 60)), "ip 10.0.0.1:4000>10.0.0.2:4789 proto=17 payload=68/68"},
		{"VXLAN on a port of the network's own", linkEthernet, inUDP(58678, "08 00 00 00 00 00 2a 00", summed), "ip vxlan=42" + outer + " " + inner},
		{"VXLAN on a port of the network's own, IPv6 and a tag", linkEthernet, inUDP(58678, "08 00 00 00 00 00 2a 00", ethernet(etherVLAN, join("00 05 86 dd", pkt6))), "ip vlan=5 vxlan=42" + outer + " " + plain6},
		{"like VXLAN on another port, a reserved bit set", linkEthernet, inUDP(58678, "08 00 00 01 00 00 2a 00", summed), "ip 10.0.0.1:4000>10.0.0.2:58678 proto=17 payload=58/58"},
		{"like VXLAN on another port, IPv4 with another checksum", linkEthernet, inUDP(58678, "08 00 00 00 00 00 2a 00", flip(summed, 24)), "ip 10.0.0.1:4000>10.0.0.2:58678 proto=17 payload=58/58"},
		{"like VXLAN on another port, IPv6 with bytes behind it", linkEthernet, inUDP(58678, "08 00 00 00 00 00 2a 00", ethernet(etherIPv6, join(pkt6, 0))), "ip 10.0.0.1:4000>10.0.0.2:58678 proto=17 payload=79/79"},
		{"like VXLAN on another port, ARP", linkEthernet, inUDP(58678, "08 00 00 00 00 00 2a 00", ethernet(etherARP, arp)), "ip 10.0.0.1:4000>10.0.0.2:58678 proto=17 payload=50/50"},
		{"Geneve with an option", linkEthernet, inUDP(portGeneve, "01 00 65 58 00 00 07 00 01 02 03 04", eth), "ip geneve=7" + outer + " " + inner},
		{"GTP-U with an extension header", linkEthernet, inUDP(portGTPU, "34 ff 00", 8+len(pkt), "00 00 00 63 00 00 00 85 01 10 09 00", pkt), "ip gtpu=99" + outer + " " + inner},
		{"GTP-U with a false length", linkEthernet, inUDP(portGTPU, "30 ff 01 00 00 00 00 63", pkt), "ip 10.0.0.1:4000>10.0.0.2:2152 proto=17 payload=44/44"},
		{"Teredo with an origin", linkEthernet, inUDP(portTeredo, "00 00 12 34 f5 ff ff fe", pkt6), "ip teredo" + outer + " " + plain6},
		{"AYIYA", linkEthernet, inUDP(portAYIYA, "40 00 01 29 00 00 00 00", make([]byte, 16), pkt6), "ip ayiya" + outer + " " + plain6},
		{"L2TP data", linkEthernet, inUDP(portL2TP, "00 02 00 03 00 04 ff 03 00 21", pkt), "ip l2tp=196612" + outer + " " + inner},
		{"L2TP control", linkEthernet, inUDP(portL2TP, "c8 02 00 0c 00 01 00 00 00 00 00 00"), "ip 10.0.0.1:4000>10.0.0.2:1701 proto=17 payload=12/12"},
		{"L2TPv3 data in UDP", linkEthernet, inUDP(portL2TP, "00 03 00 00 00 00 00 4d", eth), "ip l2tp=77" + outer + " " + inner},
		{"L2TPv3 data in UDP with a sublayer", linkEthernet, inUDP(portL2TP, "00 03 00 00 00 00 00 4d 40 00 00 01", eth), "ip l2tp=77" + outer + " " + inner},
		{"L2TPv3 control in UDP", linkEthernet, inUDP(portL2TP, "c8 03 00 0c 00 00 00 01 00 00 00 00"), "ip 10.0.0.1:4000>10.0.0.2:1701 proto=17 payload=12/12"},
		{"L2TPv3 data in IP", linkEthernet, in4(protoL2TP, "00 00 00 4d", eth), "ip l2tp=77" + outer + " " + inner},
		{"L2TPv3 data in IP with a cookie and a sublayer", linkEthernet, in4(protoL2TP, "00 00 00 4d 11 22 33 44 55 66 77 88 40 00 00 01", eth), "ip l2tp=77" + outer + " " + inner},
		{"L2TPv3 control in IP", linkEthernet, in4(protoL2TP, "00 00 00 00 c8 03 00 0c 00 00 00 01 00 00 00 00"), "ip 10.0.0.1:0>10.0.0.2:0 proto=115 payload=16/16"},
		{"L2TPv3 with something else", linkEthernet, in4(protoL2TP, "00 00 00 4d", make([]byte, 60)), "ip 10.0.0.1:0>10.0.0.2:0 proto=115 payload=64/64"},
		{"GUE", linkEthernet, inUDP(portGUE, "00 04 00 00", pkt), "ip gue" + outer + " " + inner},
		{"GUE with an extension and IPv6", linkEthernet, inUDP(portGUE, "01 29 00 00 01 02 03 04", pkt6), "ip gue" + outer + " " + plain6},
		{"GUE with Ethernet", linkEthernet, inUDP(portGUE, "00 8f 00 00", eth), "ip gue" + outer + " " + inner},
		{"GUE with GRE", linkEthernet, inUDP(portGUE, "00 2f 00 00 00 00 08 00", pkt), "ip gue" + outer + " gre " + inner},
		{"GUE of version 1", linkEthernet, inUDP(portGUE, pkt), "ip gue" + outer + " " + inner},
		{"GUE control", linkEthernet, inUDP(portGUE, "20 04 00 00", pkt), "ip 10.0.0.1:4000>10.0.0.2:6080 proto=17 payload=40/40"},
		{"GUE's port with something else", linkEthernet, inUDP(portGUE, "00 04 00 00", make([]byte, 40)), "ip 10.0.0.1:4000>10.0.0.2:6080 proto=17 payload=44/44"},
		{"CAPWAP with a swapped 802.11 header", linkEthernet, inUDP(portCAPWAP, "00 10 03 00 00 00 00 00 01 08", make([]byte, 22), "aa aa 03 00 00 00 08 00", pkt), "ip capwap" + outer + " " + inner},
		{"GRE in UDP", linkEthernet, inUDP(portGRE, "00 00 08 00", pkt), "ip gre" + outer + " " + inner},
		{"GRE in UDP with checksum, key and sequence", linkEthernet, inUDP(portGRE, "b0 00 86 dd 12 34 00 00 00 00 00 09 00 00 00 01", pkt6), "ip gre=9" + outer + " " + plain6},
		{"GRE in UDP with Ethernet", linkEthernet, inUDP(portGRE, "00 00 65 58", eth), "ip gre" + outer + " " + inner},
		{"GRE in UDP with MPLS", linkEthernet, inUDP(portGRE, "00 00 88 47 00 02 01 40", pkt), "ip label=32 gre" + outer + " mpls=32 " + inner},
		{"GRE's port with something else", linkEthernet, inUDP(portGRE, "00 00 08 00", make([]byte, 40)), "ip 10.0.0.1:4000>10.0.0.2:4754 proto=17 payload=44/44"},
		{"GRE in UDP with source routes", linkEthernet, inUDP(portGRE, "40 00 08 00 00 00 00 00", pkt), "ip 10.0.0.1:4000>10.0.0.2:4754 proto=17 payload=44/44"},
		{"MPLS in UDP", linkEthernet, inUDP(portMPLS, "00 02 01 40", pkt), "ip label=32 mpls=32" + outer + " " + inner},
		{"GRE", linkEthernet, in4(protoGRE, "00 00 08 00", pkt), "ip gre" + outer + " " + inner},
		{"GRE with checksum, key and sequence", linkEthernet, in4(protoGRE, "b0 00 08 00 00 00 00 00 00 00 00 05 00 00 00 01", pkt), "ip gre=5" + outer + " " + inner},
		{"NVGRE", linkEthernet, in4(protoGRE, "20 00 65 58 00 20 00 07", eth), "ip nvgre=8192" + outer + " " + inner},
		{"PPTP", linkEthernet, in4(protoGRE, "30 01 88 0b 00", 2+len(pkt), "00 08 00 00 00 01 00 21", pkt), "ip gre=8" + outer + " " + inner},
		{"GRE of version 5", linkEthernet, in4(protoGRE, "00 05 08 00", pkt), "ip 10.0.0.1:0>10.0.0.2:0 proto=47 payload=40/40 !bad_header"},
		{"GRE with CDP stays outside", linkEthernet, in4(protoGRE, "00 00 20 00", make([]byte, 30)), "ip 10.0.0.1:0>10.0.0.2:0 proto=47 payload=34/34"},
		{"ERSPAN type I", linkEthernet, in4(protoGRE, "00 00 88 be", eth), "ip erspan" + outer + " " + inner},
		{"ERSPAN type II", linkEthernet, in4(protoGRE, "10 00 88 be 00 00 00 01 10 00 00 64 00 00 00 00", eth), "ip erspan=100" + outer + " " + inner},
		{"ERSPAN type III", linkEthernet, in4(protoGRE, "10 00 22 eb 00 00 00 01 20 00 00 64", make([]byte, 8), eth), "ip erspan=100" + outer + " " + inner},
		{"IPv4 in IPv4", LinkRaw, ipv4(protoIPv4, 1, 0, pkt), "ip ipip" + outer + " " + inner},
		{"IPv6 in IPv4", LinkRaw, ipv4(protoIPv6, 1, 0, pkt6), "ip 6in4" + outer + " " + plain6},
		{"IPv4 in IPv6", LinkRaw, ipv6(protoIPv4, pkt), "ip 4in6(fd00::1>fd00::2) " + inner},
		{"IPv6 in IPv6", LinkRaw, ipv6(protoIPv6, pkt6), "ip 6in6(fd00::1>fd00::2) " + plain6},
		{"EtherIP", LinkRaw, ipv4(protoEtherIP, 1, 0, join("30 00", eth)), "ip etherip" + outer + " " + inner},
		{"five tunnels are one too many", LinkRaw, ipv4(4, 1, 0, ipv4(4, 1, 0, ipv4(4, 1, 0, ipv4(4, 1, 0, ipv4(4, 1, 0, pkt))))),
			"ip ipip" + outer + " ipip" + outer + " ipip" + outer + " ipip" + outer + " 10.0.0.1:0>10.0.0.2:0 proto=4 payload=36/36 !depth_limit"},
		{"authentication header", LinkRaw, ipv4(protoAH, 1, 0, join(protoUDP, "04 00 00 00 00 00 01 00 00 00 01", make([]byte, 12), udp)), "ip " + inner},
		{"ESP stops", LinkRaw, ipv4(50, 1, 0, make([]byte, 40)), "ip 10.0.0.1:0>10.0.0.2:0 proto=50 payload=40/40"},

		{"IPv6 hop-by-hop and destination options", LinkRaw, ipv6(0, join(protoDestOpts, 0, make([]byte, 6), protoUDP, 0, make([]byte, 6), udp)), "ip " + plain6},
		{"IPv6 atomic fragment", LinkRaw, ipv6(protoFragment, join(protoUDP, "00 00 00 00 00 00 09", udp)), "ip " + plain6},
		{"IPv6 extension headers without end", LinkRaw, ipv6(protoDestOpts, join(repeat(join(protoDestOpts, 0, make([]byte, 6)), 40))), "ip fd00::1:0>fd00::2:0 proto=60 payload=192/192 !depth_limit"},
		{"IPv6 extension header beyond the packet", LinkRaw, ipv6(protoDestOpts, join(protoUDP, 200, make([]byte, 6))), "ip fd00::1:0>fd00::2:0 proto=60 payload=8/8 !bad_length"},
		{"IPv6 no next header", LinkRaw, ipv6(protoNoNext, nil), "ip fd00::1:0>fd00::2:0 proto=59 payload=0/0"},
		{"IPv4 header length below 20", LinkRaw, join("44 00 00 28", make([]byte, 36)), "ip 0.0.0.0:0>0.0.0.0:0 proto=0 payload=0/0 !bad_header"},
		{"IPv4 total length beyond the frame", LinkRaw, join(pkt[:2], "01 00", pkt[4:]), "ip " + inner + " !bad_length"},
		{"IPv4 total length left to offload", LinkRaw, join(pkt[:2], "00 00", pkt[4:]), "ip " + inner},
		{"UDP length below 8", LinkRaw, ipv4(protoUDP, 1, 0, join("13 88 00 35 00 04 00 00 61 62")), "ip 10.0.0.1:5000>10.0.0.2:53 proto=17 payload=2/2 !bad_length"},
		{"TCP offset below 20", LinkRaw, ipv4(protoTCP, 1, 0, join("00 01 00 02", make([]byte, 8), "40 02", make([]byte, 6))), "ip 10.0.0.1:1>10.0.0.2:2 proto=6 payload=0/0 !bad_header"},
		{"TCP header beyond the packet", LinkRaw, ipv4(protoTCP, 1, 0, join("00 01 00 02", make([]byte, 8), "f0 02", make([]byte, 6))), "ip 10.0.0.1:1>10.0.0.2:2 proto=6 payload=0/0 !bad_length"},
		{"SCTP", LinkRaw, ipv4(protoSCTP, 1, 0, join("00 01 00 02 00 00 00 09 00 00 00 00 01 02 03 04")), "ip 10.0.0.1:1>10.0.0.2:2 proto=132 payload=16/16"},
		{"nothing at all", linkEthernet, nil, "none !bad_length"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := decodeOne(c.link, c.data, len(c.data))
			if got := describe(&f); got != c.want {
				t.Errorf("\n got %s\nwant %s", got, c.want)
			}
		})
	}
}

func repeat(b []byte, n int) []byte {
	var out []byte
	for range n {
		out = append(out, b...)
	}
	return out
}

func TestSnapLengthCutsAnywhere(t *testing.T) {
	whole := ethernetTCP(100)
	for n := range whole {
		f := decodeOne(linkEthernet, whole[:n], len(whole))
		ports := n >= 38 && n < 54 // of a header that is not whole
		want := Truncated
		if ports {
			want |= HeaderCut
		}
		if f.Problems != want {
			t.Fatalf("cut at %d: %v, want %v", n, f.Problems, want)
		}
		if n >= 48 && f.PayloadLen != 100 {
			t.Fatalf("cut at %d: payload length %d, want the 100 of the wire", n, f.PayloadLen)
		}
		if f.L4 != (n >= 38) || f.L4 && (f.SrcPort == 0 || f.DstPort == 0) {
			t.Fatalf("cut at %d: ports %d and %d, which hold: %t", n, f.SrcPort, f.DstPort, f.L4)
		}
		if n < 48 && f.Flags != 0 {
			t.Fatalf("cut at %d: flags %#x", n, f.Flags)
		}
	}
}

func TestTCPOptions(t *testing.T) {
	for _, c := range []struct{ name, options, want string }{
		{"a SYN's", "02 04 05 b4 04 02 08 0a 00 00 00 01 00 00 00 00 01 03 03 07", "mss=1460 ws=7 sackok=true ts=true,1,0 sack=[] "},
		{"window scale 0 is present", "03 03 00 00", "mss=0 ws=0 sackok=false ts=false,0,0 sack=[] "},
		{"two SACK blocks", "01 01 05 12 00 00 00 01 00 00 00 02 00 00 00 03 00 00 00 04", "mss=0 ws=-1 sackok=false ts=false,0,0 sack=[{1 2} {3 4}] "},
		{"length 0", "02 00 05 b4", "mss=0 ws=-1 sackok=false ts=false,0,0 sack=[] bad_options"},
		{"length beyond the header", "08 0a 00 00", "mss=0 ws=-1 sackok=false ts=false,0,0 sack=[] bad_options"},
		{"Multipath TCP", "1e 0c 01 81 00 00 00 00 00 00 00 01", "mss=0 ws=-1 sackok=false ts=false,0,0 sack=[] multipath"},
		{"end hides what follows", "00 02 04 05", "mss=0 ws=-1 sackok=false ts=false,0,0 sack=[] "},
	} {
		t.Run(c.name, func(t *testing.T) {
			pkt := ipv4(protoTCP, 1, 0, tcpSegment(1, 2, 3, 4, SYN, join(c.options), nil))
			f := decodeOne(LinkRaw, pkt, len(pkt))
			got := fmt.Sprintf("mss=%d ws=%d sackok=%v ts=%v,%d,%d sack=%v %v", f.MSS, f.WScale, f.SACKPermitted, f.HasTS, f.TSVal, f.TSEcr, f.SACK[:f.NSACK], f.Problems)
			if f.Multipath {
				got += "multipath"
			}
			if got != c.want {
				t.Errorf("\n got %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestBigPackets(t *testing.T) {
	const n = 100_000
	segment := tcpSegment(1, 2, 3, 4, ACK, nil, make([]byte, n))
	six := ipv6(protoTCP, segment)
	binary.BigEndian.PutUint16(six[4:], 0)
	jumbo := ipv6(protoHopByHop, join(protoTCP, "00 c2 04", binary.BigEndian.AppendUint32(nil, uint32(8+len(segment))), segment))
	binary.BigEndian.PutUint16(jumbo[4:], 0)
	four := ipv4(protoTCP, 1, 0, segment)
	binary.BigEndian.PutUint16(four[2:], 0)
	for name, pkt := range map[string][]byte{"IPv4": four, "IPv6": six, "IPv6 with the jumbo option": jumbo} {
		f := decodeOne(LinkRaw, pkt, len(pkt))
		if f.PayloadLen != n || len(f.Payload) != n || f.Problems.Codes() != nil || f.IPLen != len(pkt) {
			t.Errorf("%s: payload %d of %d, IP length %d, %v", name, len(f.Payload), f.PayloadLen, f.IPLen, f.Problems)
		}
	}
}

func TestRoutingHeaderNamesTheLastHop(t *testing.T) {
	last := join("20 01 0d b8", make([]byte, 11), 9)
	for name, header := range map[string][]byte{
		"type 0":          join(protoUDP, 2, 0, 1, make([]byte, 4), last),
		"segment routing": join(protoUDP, 2, 4, 1, make([]byte, 4), last),
	} {
		pkt := ipv6(protoRouting, join(header, udpDatagram(1, 2, nil)))
		f := decodeOne(LinkRaw, pkt, len(pkt))
		if f.Dst.String() != "2001:db8::9" || f.SrcPort != 1 {
			t.Errorf("%s: destination %s", name, f.Dst)
		}
		pkt[ipv6Header+3] = 0 // no segments left
		f = decodeOne(LinkRaw, pkt, len(pkt))
		if f.Dst.String() != "fd00::2" {
			t.Errorf("%s at its end: destination %s", name, f.Dst)
		}
	}
}

// TestEndsBesideTheHeader decodes packets that come from or go to an address outside the fixed part of their header,
// as Wireshark's columns show them.
func TestEndsBesideTheHeader(t *testing.T) {
	home := join("20 01 0d b8", make([]byte, 11), 9)
	options := func(b ...any) []byte {
		list := join(b...)
		pkt := ipv4(protoUDP, 1, 0, join(list, udpDatagram(1, 2, nil)))
		pkt[0] = 0x40 | byte(5+len(list)/4)
		return pkt
	}
	route := "09 08 07 06 05 04 03 02"
	for _, c := range []struct {
		name, want string
		data       []byte
	}{
		{"home address", "2001:db8::9 fd00::2 1 2", ipv6(protoDestOpts, join(protoUDP, 2, "01 02 00 00 c9 10", home, udpDatagram(1, 2, nil)))},
		{"home address of another length", "fd00::1 fd00::2 1 2", ipv6(protoDestOpts, join(protoUDP, 2, "01 02 00 00 c9 0f", home, udpDatagram(1, 2, nil)))},
		{"loose route", "10.0.0.1 5.4.3.2 1 2", options("83 0b 04", route, 0)},
		{"loose route behind another option", "10.0.0.1 5.4.3.2 1 2", options("01 44 04 05 00 83 0b 08", route)},
		{"strict route", "10.0.0.1 5.4.3.2 1 2", options("89 0b 08", route, 0)},
		{"strict route at its end", "10.0.0.1 10.0.0.2 1 2", options("89 0b 0c", route, 0)},
		{"two routes", "10.0.0.1 5.4.3.2 1 2", options("89 0b 04", route, "83 07 04 01 01 01 01 00 00")},
		{"two routes, the first at its end", "10.0.0.1 10.0.0.2 1 2", options("89 0b 0c", route, "83 07 04 01 01 01 01 00 00")},
		{"record of the route", "10.0.0.1 10.0.0.2 1 2", options("07 0b 04", route, 0)},
	} {
		f := decodeOne(LinkRaw, c.data, len(c.data))
		if got := ours(&f); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestFlowHashForgetsDirection(t *testing.T) {
	a := decodeOne(LinkRaw, ipv4(protoUDP, 1, 0, udpDatagram(1000, 53, nil)), 28)
	b := a
	b.Src, b.Dst, b.SrcPort, b.DstPort = a.Dst, a.Src, a.DstPort, a.SrcPort
	if a.FlowHash() != b.FlowHash() {
		t.Error("the two directions of a flow hash apart")
	}
	if got, want := a.FlowHash(), uint64(0xb8b25c0e39be09c0); got != want {
		t.Errorf("flow hash %#x, want %#x: work would be divided differently than in older releases", got, want)
	}
	b.SrcPort, b.DstPort = a.SrcPort, a.DstPort // ports changed places, addresses did not
	if a.FlowHash() == b.FlowHash() {
		t.Error("another flow has the same hash")
	}
	seen := map[uint64]int{}
	for port := range uint16(4096) {
		b.SrcPort = port
		seen[b.FlowHash()%16]++
	}
	for shard, n := range seen {
		if n < 128 || n > 512 {
			t.Errorf("shard %d of 16 has %d of 4096 flows", shard, n)
		}
	}
}

func TestAddr(t *testing.T) {
	var a Addr
	a.set4([]byte{192, 0, 2, 1})
	if !a.Is4() || a.String() != "192.0.2.1" {
		t.Errorf("IPv4 address: %s, Is4 %v", a, a.Is4())
	}
	a = Addr{0xfe, 0x80, 15: 1}
	if a.Is4() || a.String() != "fe80::1" {
		t.Errorf("IPv6 address: %s, Is4 %v", a, a.Is4())
	}
}

func TestFrameIsSetAnew(t *testing.T) {
	d := New(Options{})
	eth := ethernetTCP(10)
	vx := ethernet(etherIPv4, ipv4(protoUDP, 1, 0, udpDatagram(1, portVXLAN, join("08 00 00 00 00 00 2a 00", eth))))
	var used, fresh Frame
	d.Decode(Input{LinkType: linkEthernet, Data: vx, OrigLen: uint32(len(vx))}, &used)
	arp := ethernet(etherRARP, make([]byte, 28))
	d.Decode(Input{LinkType: linkEthernet, Data: arp, OrigLen: uint32(len(arp))}, &used)
	New(Options{}).Decode(Input{LinkType: linkEthernet, Data: arp, OrigLen: uint32(len(arp))}, &fresh)
	if a, b := fmt.Sprintf("%+v", used), fmt.Sprintf("%+v", fresh); a != b {
		t.Errorf("a reused frame keeps old fields:\n%s\n%s", a, b)
	}
}

// flip is b with the bits of the byte at one offset inverted.
func flip(b []byte, at int) []byte {
	c := bytes.Clone(b)
	c[at] ^= 0xff
	return c
}

func TestMappingOfMultipathTCP(t *testing.T) {
	for option, want := range map[string]uint32{
		"20 04 00 00 00 09 00 00 00 02 00 05":                                     7, // DSN, SSN, length
		"20 05 00 00 00 01 00 00 00 09 00 00 00 02 00 05 00 00":                   7, // with an acknowledgement and a checksum
		"20 0f 00 00 00 00 00 00 00 01 00 00 00 01 00 00 00 09 00 00 00 02 00 05": 7, // both of 8 bytes
		"20 01 00 00 00 01":                   0, // no mapping
		"20 14 00 00 00 09 00 00 00 00 00 01": 0, // of the end of the data alone
		"20 04 00 00 00 09 00 00 00 02 00":    0, // too short
		"10 04 00 00 00 09 00 00 00 02 00 05": 0, // another option
	} {
		b, err := hex.DecodeString(strings.ReplaceAll(option, " ", ""))
		if got, ok := mapping(b); err != nil || got != want || ok != (want != 0) {
			t.Errorf("%s: %d, %v", option, got, ok)
		}
	}
}
