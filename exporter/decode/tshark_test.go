package decode

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// linked is a packet with the link type of its interface.
type linked struct {
	link uint16
	data []byte
}

// asTshark returns the innermost addresses and ports that tshark finds in each packet. Fields of
// several layers are listed from the outside in, so the last one counts.
func asTshark(t *testing.T, packets []linked) []string {
	t.Helper()
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skip("needs tshark")
	}
	le := binary.LittleEndian
	block := func(b []byte, kind uint32, body []byte) []byte {
		body = append(body, make([]byte, -len(body)&3)...)
		b = le.AppendUint32(le.AppendUint32(b, kind), uint32(12+len(body)))
		return le.AppendUint32(append(b, body...), uint32(12+len(body)))
	}
	b := block(nil, 0x0a0d0d0a, join("4d 3c 2b 1a 01 00 00 00 ff ff ff ff ff ff ff ff"))
	for _, p := range packets {
		b = block(b, 1, join(int(p.link&0xff), int(p.link>>8), "00 00 00 00 04 00"))
	}
	for i, p := range packets {
		head := make([]byte, 20)
		le.PutUint32(head, uint32(i))
		le.PutUint32(head[12:], uint32(len(p.data)))
		le.PutUint32(head[16:], uint32(len(p.data)))
		b = block(b, 6, append(head, p.data...))
	}
	path := filepath.Join(t.TempDir(), "a.pcapng")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"-r", path, "-T", "fields", "-E", "occurrence=l"}
	for _, f := range []string{"ip.src", "ip.dst", "ipv6.src", "ipv6.dst", "udp.srcport", "udp.dstport", "tcp.srcport", "tcp.dstport"} {
		args = append(args, "-e", f)
	}
	out, err := exec.Command("tshark", args...).Output()
	if err != nil {
		t.Fatalf("running tshark: %v", err)
	}
	var lines []string
	for line := range strings.Lines(string(out)) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	if len(lines) != len(packets) {
		t.Fatalf("tshark says %d lines of %d packets", len(lines), len(packets))
	}
	return lines
}

// ours is the result of asTshark for a frame.
func ours(f *Frame) string {
	if f.Kind != KindIP {
		return ""
	}
	return fmt.Sprintf("%s %s %d %d", f.Src, f.Dst, f.SrcPort, f.DstPort)
}

// wlanData is an 802.11 data frame to an access point with LLC and an IP packet.
func wlanData(ip []byte) []byte {
	return join("08 01 00 00", make([]byte, 18), "10 00 aa aa 03 00 00 00 08 00", ip)
}

func gre(flags, proto uint16, rest ...any) []byte {
	return ipv4(protoGRE, 1, 0, join(int(flags>>8), int(flags&0xff), int(proto>>8), int(proto&0xff), join(rest...)))
}

func erfRecord(kind byte, extensions int, inner []byte) []byte {
	if extensions > 0 {
		kind |= 0x80
	}
	n := 16 + 8*extensions + len(inner)
	b := join(make([]byte, 8), kind, "04", int(n>>8), int(n&0xff), "00 00", int(len(inner)>>8), int(len(inner)&0xff))
	for i := range extensions {
		more := byte(0x80)
		if i == extensions-1 {
			more = 0
		}
		b = join(b, more|3, make([]byte, 7))
	}
	return append(b, inner...)
}

// Packets of encapsulations that no shared capture has, built from their specifications; tshark
// must find the same packet inside.
func TestEncapsulationsAsTsharkReadsThem(t *testing.T) {
	inner := ipv4(protoUDP, 7, 0, udpDatagram(1111, 2222, body(20)))
	frame := ethernet(etherIPv4, inner)
	erfFrame := join("00 00", frame)
	mgc := func(flags int, rest ...any) []byte { return join("4d 47 43", flags, join(rest...)) }
	tests := []struct {
		name  string
		link  uint16
		data  []byte
		fact  string // of ours
		alone bool   // tshark 4.0 does not support it
	}{
		{"802.11 in Aruba GRE", LinkRaw, gre(0, 0x8200, wlanData(inner)), "gre(10.0.0.1>10.0.0.2)", false},
		{"802.11 in Aruba GRE of the last type", LinkRaw, gre(0, 0x8370, wlanData(inner)), "gre(10.0.0.1>10.0.0.2)", false},
		{"ERSPAN type II", LinkRaw, gre(greSequence, 0x88be, "00 00 00 01", "10 64 00 05 00 00 00 00", frame), "erspan=5(", false},
		{"ERSPAN type III with a frame", LinkRaw, gre(greSequence, 0x22eb, "00 00 00 01", "20 64 00 07 00 00 00 00 00 00 00 00", frame), "erspan=7(", false},
		{"ERSPAN type III with a platform part", LinkRaw, gre(greSequence, 0x22eb, "00 00 00 01", "20 64 00 07 00 00 00 00 00 00 00 01", "0c 00 00 00 00 00 00 00", frame), "erspan=7(", false},
		{"ERSPAN type III with an IP packet", LinkRaw, gre(greSequence, 0x22eb, "00 00 00 01", "20 64 00 07 00 00 00 00 00 00 08 00", inner), "erspan=7(", true},
		{"ERF with Ethernet", linkERF, erfRecord(erfEthernet, 0, erfFrame), "", false},
		{"ERF with Ethernet and extension headers", linkERF, erfRecord(erfEthernet, 2, erfFrame), "", false},
		{"ERF with IPv4", linkERF, erfRecord(erfIPv4, 0, inner), "", false},
		{"ERF with PPP", linkERF, erfRecord(erfHDLC, 0, join("ff 03 00 21", inner)), "", false},
		{"ERF with Cisco HDLC", linkERF, erfRecord(erfHDLC, 0, join("0f 00 08 00", inner)), "", false},
		{"ERF with HDLC of many channels", linkERF, erfRecord(erfMultiHDLC, 0, join("00 00 00 00 ff 03 00 21", inner)), "", false},
		{"Juniper Ethernet", linkJuniperEther, mgc(0, frame), "out", false},
		{"Juniper Ethernet without magic number", linkJuniperEther, frame, "", false},
		{"Juniper Ethernet with extensions", linkJuniperEther, mgc(0x81, "00 06 01 04 00 00 00 01", frame), "in", false},
		{"Juniper without link header", linkJuniperEther, mgc(2, "02 00 00 00", inner), "out", false},
		{"Juniper PPPoE", linkJuniperPPPoE, mgc(0, frame), "out", false},
		{"Juniper PPP", linkJuniperPPP, mgc(0, "ff 03 00 21", inner), "out", false},
		{"Juniper Frame Relay", linkJuniperFrame, mgc(0, "18 41 03 cc", inner), "out", false},
		{"Juniper Cisco HDLC", linkJuniperCHDLC, mgc(0, "0f 00 08 00", inner), "out", false},
		{"Juniper services", linkJuniperSvcs, mgc(1, make([]byte, 16), inner), "in", false},
		{"Juniper voice", linkJuniperVoice, mgc(1, make([]byte, 18), inner), "in", true},
		{"Juniper GGSN", linkJuniperGGSN, mgc(1, "02 00 05 00", inner), "in", false},
		{"Juniper ATM1 with LLC and SNAP", linkJuniperATM1, mgc(0, "00 00 00 00 aa aa 03 00 00 00 08 00", inner), "out", false},
		{"Juniper ATM2 with LLC and SNAP", linkJuniperATM2, mgc(0, "00 00 00 00 00 00 00 00 aa aa 03 00 00 00 08 00", inner), "out", false},
		{"Juniper ATM2 with IP alone", linkJuniperATM2, mgc(1, "00 00 00 00 00 00 00 00", inner), "in", false},
		{"Juniper ATM2 with PPP", linkJuniperATM2, mgc(1, "00 00 00 00 00 00 00 00 00 21", inner), "in", false},
		{"Juniper multilink PPP, link services", linkJuniperMLPPP, mgc(0, "54 00 00 00 00 21", inner), "out", false},
		{"Juniper multilink PPP, adaptive services", linkJuniperMLPPP, mgc(0, "47 00 00 00 00 00 00 00", inner), "out", false},
		{"Juniper multilink PPP, a cookie of 2 bytes", linkJuniperMLPPP, mgc(0, "00 05 00 21", inner), "out", false},
		{"Juniper multilink Frame Relay, adaptive services", linkJuniperMLFR, mgc(0, "47 00 00 00 00 00 00 00", inner), "out", false},
		{"Linux cooked v2", linkSLL2, join("08 00 00 00 00 00 00 03 00 01 00 06", make([]byte, 8), inner), "in", false},
	}
	var packets []linked
	for _, tt := range tests {
		packets = append(packets, linked{tt.link, tt.data})
	}
	theirs := asTshark(t, packets)
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := decodeOne(tt.link, tt.data, len(tt.data))
			want := "10.0.0.1 10.0.0.2 1111 2222"
			if got := ours(&f); got != want || !strings.Contains(describe(&f), tt.fact) || f.Problems != 0 {
				t.Errorf("got %s", describe(&f))
			}
			if theirs[i] != want && !tt.alone {
				t.Errorf("tshark says %q", theirs[i])
			}
		})
	}
}

// Frames that are neither IP nor ARP have a name, shown next to tshark's last protocol.
func TestFramesAreNamed(t *testing.T) {
	wlan := func(control string) []byte { return join(control, "00 00 00", make([]byte, 18), "10 00", body(20)) }
	for _, tt := range []struct {
		name string
		link uint16
		data []byte
		want string
	}{
		{"ARP", linkEthernet, ethernet(etherARP, join("00 01 08 00 06 04 00 01", make([]byte, 20))), "arp"},
		{"RARP", linkEthernet, ethernet(etherRARP, join("00 01 08 00 06 04 00 03", make([]byte, 20))), "rarp"},
		{"LLDP", linkEthernet, ethernet(0x88cc, body(40)), "lldp"},
		{"LACP", linkEthernet, ethernet(0x8809, join("01", body(40))), "lacp"},
		{"Ethernet OAM", linkEthernet, ethernet(0x8809, join("03", body(40))), "ethernet_oam"},
		{"a slow protocol without a name", linkEthernet, ethernet(0x8809, join("63", body(40))), "slow_protocols"},
		{"EAPOL", linkEthernet, ethernet(0x888e, body(40)), "eapol"},
		{"PPPoE discovery", linkEthernet, ethernet(0x8863, body(40)), "pppoe_discovery"},
		{"PPP's LCP in PPPoE", linkEthernet, ethernet(etherPPPoE, join("11 00 00 01 00 06 c0 21 09 00 00 04")), "ppp_lcp"},
		{"STP", linkEthernet, ethernet(38, join("42 42 03", body(35))), "stp"},
		{"STP behind a VLAN tag", linkEthernet, ethernet(etherVLAN, join("00 05 00 26 42 42 03", body(35))), "stp"},
		{"CDP", linkEthernet, ethernet(30, join("aa aa 03 00 00 0c 20 00", body(22))), "cdp"},
		{"PVST", linkEthernet, ethernet(30, join("aa aa 03 00 00 0c 01 0b", body(22))), "pvst"},
		{"SNAP of an unknown organization", linkEthernet, ethernet(30, join("aa aa 03 12 34 56 01 0b", body(22))), "snap"},
		{"IS-IS", linkEthernet, ethernet(30, join("fe fe 03 83", body(26))), "isis"},
		{"LLC of an unknown access point", linkEthernet, ethernet(30, join("12 12 03", body(27))), "llc"},
		{"an EtherType without a name", linkEthernet, ethernet(0x1234, body(40)), "ethertype_1234"},
		{"a frame too short for its header", linkEthernet, body(5), "unreadable"},
		{"an IPv4 header of another version", linkEthernet, ethernet(etherIPv4, body(40)), "ipv4_unreadable"},
		{"an 802.11 beacon", linkWLAN, wlan("80"), "wlan_beacon"},
		{"an 802.11 probe request", linkWLAN, wlan("40"), "wlan_probe_request"},
		{"an 802.11 acknowledgement", linkWLAN, join("d4 00 00 00", body(6)), "wlan_control"},
		{"an 802.11 frame with encrypted data", linkWLAN, join("08 41", make([]byte, 22), body(40)), "wlan_encrypted"},
		{"CAN in a cooked capture", linkSLL, join("00 01 01 18 00 00", make([]byte, 8), "00 0c", body(16)), "can"},
		{"CAN", 227, body(16), "can_socketcan"},
		{"USB of Linux", 220, body(64), "usb_linux_mmapped"},
		{"USB of Windows", 249, body(64), "usbpcap"},
		{"Bluetooth", 201, body(16), "bluetooth_hci_h4_with_phdr"},
		{"a user's link type", 160, body(16), "user13"},
		{"a link type without a name", 9999, body(16), "linktype_9999"},
		{"metadata in ERF", linkERF, erfRecord(erfMeta, 0, body(16)), "erf_metadata"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := decodeOne(tt.link, tt.data, len(tt.data))
			if got := f.Name(); got != tt.want || f.Kind == KindIP {
				t.Errorf("named %q, want %q; %s", got, tt.want, describe(&f))
			}
		})
	}
}

func TestOuterFrameIsNotNamedByInnerFrame(t *testing.T) {
	f := decodeOne(LinkRaw, gre(0, 0x8200, join("80 00 00 00", make([]byte, 20), body(20))), 68)
	if f.Kind != KindIP || f.Proto != protoGRE || f.Named != "" {
		t.Errorf("got %s, named %q", describe(&f), f.Named)
	}
}

func TestNetwork(t *testing.T) {
	in := udpDatagram(1111, 2222, body(20))
	ip := ipv4(protoUDP, 7, 0, in)
	eth := func(tags []byte) []byte { return join(make([]byte, 12), tags) }
	plain := eth(join("08 00"))
	vlan := func(id int) []byte { return eth(join("81 00", id>>8, id&0xff, "08 00", ip)) }
	qinq := func(a, b int) []byte { return eth(join("88 a8", a>>8, a&0xff, "81 00", b>>8, b&0xff, "08 00", ip)) }
	mpls := func(id int) []byte { return eth(join("88 47 00", id>>4, id<<4&0xf0|1, "ff", ip)) }
	vxlan := func(vni int, outward bool) []byte {
		u := udpDatagram(5555, portVXLAN, join("08 00 00 00 00 00", vni, "00", ethernet(etherIPv4, ip)))
		p := ipv4(protoUDP, 9, 0, u)
		if !outward {
			a := append([]byte(nil), p[12:16]...)
			copy(p[12:], p[16:20])
			copy(p[16:], a)
		}
		return eth(join("08 00", p))
	}
	erspan := func(vlan, en int) []byte {
		return eth(join("08 00", gre(greSequence, 0x88be, "00 00 00 01", 0x10|vlan>>8, vlan&0xff, en<<3, "05 00 00 00 00", ethernet(etherIPv4, ip))))
	}
	of := func(b []byte) uint64 {
		f := decodeOne(linkEthernet, b, len(b))
		if f.Kind != KindIP || f.SrcPort != 1111 {
			t.Fatalf("got %s", describe(&f))
		}
		return f.Network(9)
	}
	if n := of(join(plain, ip)); n != 0 {
		t.Errorf("a packet without anything around it is in network %x", n)
	}
	if of(vlan(0)) != 0 {
		t.Error("a priority tag is a network")
	}
	all := map[uint64]string{0: "none"}
	for name, b := range map[string][]byte{
		"VLAN 5": vlan(5), "VLAN 6": vlan(6), "VLAN 5 in 6": qinq(6, 5), "VLAN 6 in 5": qinq(5, 6), "VLAN 7 in 5": qinq(5, 7),
		"label 17": mpls(17), "label 18": mpls(18), "VNI 5": vxlan(5, true), "VNI 6": vxlan(6, true), "mirrored VLAN 5": erspan(5, 2), "mirrored VLAN 6": erspan(6, 2), "mirrored with its tag": erspan(6, 3),
	} {
		n := of(b)
		if all[n] != "" {
			t.Errorf("%s and %s are one network", name, all[n])
		}
		all[n] = name
	}
	if of(vxlan(5, true)) != of(vxlan(5, false)) {
		t.Error("the two directions of a VXLAN are two networks")
	}
	f := decodeOne(LinkRaw, ip, len(ip))
	if f.Network(1) != f.Network(2) {
		t.Error("a namespace separates addresses that mean the same everywhere")
	}
	copy(ip[12:], []byte{127, 0, 0, 1})
	if f = decodeOne(LinkRaw, ip, len(ip)); f.Network(1) == f.Network(2) || f.Network(0) != 0 {
		t.Error("a namespace does not separate loopback addresses")
	}
}

func TestIncompleteDatagramKeepsItsFirstPart(t *testing.T) {
	x := newFragments(t, Options{})
	whole := udpDatagram(53, 40000, body(1500))
	x.now = 3
	x.four(1, 0, true, whole[:600])
	x.now = 5
	x.four(1, 1200, false, whole[1200:])
	x.d.Flush()
	in := x.given[0]
	if in.Frame == nil {
		t.Fatal("no frame although the first fragment came")
	}
	f := in.Frame
	if got, want := describe(f), "ip 10.0.0.1:53>10.0.0.2:40000 proto=17 payload=592/1500 !fragment_missing"; got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	if f.Pieces.Packets != 2 || f.Pieces.First != 3 || in.Last != 5 || f.Pieces.Bytes != 20+600+20+308 {
		t.Errorf("pieces %+v, last %d", f.Pieces, in.Last)
	}
	x.four(2, 8, false, whole[8:16])
	x.d.Flush()
	if x.given[1].Frame != nil {
		t.Error("a datagram without its first fragment has ports")
	}
	// The length field of a UDP datagram shows its end even if the last fragment did not arrive.
	x.four(3, 0, true, whole[:600])
	x.d.Flush()
	if f := x.given[2].Frame; f == nil || f.PayloadLen != 1500 {
		t.Errorf("got %v", f)
	}
}

func TestReassembledDatagramListsItsPieces(t *testing.T) {
	x := newFragments(t, Options{})
	whole := udpDatagram(53, 40000, body(1500))
	for i, at := range []int{600, 0, 1200} {
		x.now = 1
		if i > 0 {
			x.now = 7
		}
		x.four(1, at, at != 1200, whole[at:min(at+600, len(whole))])
	}
	if p := x.f.Pieces; x.f.Kind != KindIP || p.Packets != 3 || p.First != 1 || p.Bytes != 60+1508 {
		t.Errorf("%s, pieces %+v", describe(&x.f), p)
	}
	x.d.Decode(Input{LinkType: LinkRaw, Data: ipv4(protoUDP, 1, 0, whole), OrigLen: 1528, No: 9}, &x.f)
	if x.f.Pieces != (Pieces{}) {
		t.Errorf("a whole packet has pieces %+v", x.f.Pieces)
	}
}
