package decode

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/internal/captures"
)

// truth is tshark's counts of a capture that can be compared with ours.
type truth struct {
	Capinfos map[string]string `json:"capinfos"`
	Packets  int               `json:"packets"` // custom blocks counted too
	TCP      struct {
		SYN     int `json:"syn"`
		FIN     int `json:"fin"`
		RST     int `json:"rst"`
		Payload int `json:"payload_bytes"`
	} `json:"tcp"`
	FramesWith  map[string]int `json:"frames_with"`
	VLANs       map[string]int `json:"vlan_ids"`
	VXLAN       map[string]int `json:"vxlan_vnis"`
	Geneve      map[string]int `json:"geneve_vnis"`
	MPLS        map[string]int `json:"mpls_labels"`
	ARP         map[string]int `json:"arp_opcodes"`
	ICMP        map[string]int `json:"icmp_types"`
	ICMPv6      map[string]int `json:"icmpv6_types"`
	Fragments   int            `json:"ip_fragments"`
	Reassembled int            `json:"ip_reassembled"`
}

var comparedProtocols = []string{
	"ip", "ipv6", "tcp", "udp", "icmp", "icmpv6", "igmp", "sctp", "arp", "vlan", "gre", "vxlan", "geneve",
	"mpls", "pppoes", "erspan", "esp", "teredo", "ayiya",
}

// facts are counts by name, such as "frames ip" or "vlan 12".
type facts map[string]int

func (t *truth) facts() facts {
	m := facts{
		"tcp syn": t.TCP.SYN, "tcp fin": t.TCP.FIN, "tcp rst": t.TCP.RST, "tcp payload_bytes": t.TCP.Payload,
		"ip fragments": t.Fragments, "ip reassembled": t.Reassembled,
	}
	for _, p := range comparedProtocols {
		m["frames "+p] = t.FramesWith[p]
	}
	for name, values := range map[string]map[string]int{
		"vlan": t.VLANs, "vxlan_vni": t.VXLAN, "geneve_vni": t.Geneve, "mpls_label": t.MPLS,
		"arp_opcode": t.ARP, "icmp_type": t.ICMP, "icmpv6_type": t.ICMPv6,
	} {
		for v, n := range values {
			v = decimal(v)
			if !strings.HasPrefix(v, "_") {
				m[name+" "+v] = n
			}
		}
	}
	return m
}

// cut reports whether the truth file lists only the most frequent values of a fact.
func (t *truth) cut(name string) bool {
	values := map[string]map[string]int{"vlan": t.VLANs, "mpls_label": t.MPLS, "icmp_type": t.ICMP, "icmpv6_type": t.ICMPv6}
	_, ok := values[strings.Fields(name)[0]]["__other_distinct"]
	return ok
}

// count adds the contents of a frame and of the packet quoted in an ICMP error, because tshark
// reads those too.
func (m facts) count(f *Frame) {
	seen := map[string]bool{}
	m.frame(f, seen)
	for s := range seen {
		m["frames "+s]++
	}
	v4mf := f.IPVersion == 4 && (f.Kind == KindFragment || f.FragNos != nil)
	if v4mf {
		m["ip fragments"]++
	}
	if f.FragNos != nil {
		m["ip reassembled"]++
	}
}

func (m facts) frame(f *Frame, seen map[string]bool) {
	for _, v := range f.VLANs[:f.NVLANs] {
		seen["vlan"] = true
		m[key("vlan", int(v))]++
	}
	for _, l := range f.Labels[:f.NLabels] {
		seen["mpls"] = true
		m[key("mpls_label", int(l))]++
	}
	for _, t := range f.Tunnels[:f.NTunnels] {
		if t.Kind != TunnelMPLS && t.Kind != TunnelPPPoE && t.Src != (Addr{}) {
			seen[version(t.Src.Is4())] = true
		}
		if t.SrcPort != 0 || t.DstPort != 0 {
			seen["udp"] = true
		}
		switch t.Kind {
		case TunnelVXLAN:
			m[key("vxlan_vni", int(t.ID))]++
			seen["vxlan"] = true
		case TunnelGeneve:
			m[key("geneve_vni", int(t.ID))]++
			seen["geneve"] = true
		case TunnelGRE, TunnelNVGRE:
			seen["gre"] = true
		case TunnelERSPAN:
			seen["gre"], seen["erspan"] = true, true
		case TunnelTeredo:
			seen["teredo"] = true
		case TunnelAYIYA:
			seen["ayiya"] = true
		}
	}
	if f.HasPPPoE {
		seen["pppoes"] = true
	}
	m.network(f, seen)
}

func (m facts) network(f *Frame, seen map[string]bool) {
	switch f.Kind {
	case KindARP:
		seen["arp"] = true
		m[key("arp_opcode", int(f.ARPOp))]++
		return
	case KindNone:
		return
	}
	seen[version(f.IPVersion == 4)] = true
	if f.Kind == KindFragment {
		return
	}
	switch f.Proto {
	case protoTCP:
		seen["tcp"] = true
		m["tcp payload_bytes"] += f.PayloadLen
		m["tcp syn"] += b2i(f.Flags&(SYN|ACK) == SYN)
		m["tcp fin"] += b2i(f.Flags&FIN != 0)
		m["tcp rst"] += b2i(f.Flags&RST != 0)
	case protoUDP:
		seen["udp"] = true
	case protoICMP:
		seen["icmp"] = true
		m[key("icmp_type", int(f.Type))] += b2i(len(f.Payload) > 0)
		if t := f.Type; (t == 3 || t == 4 || t == 5 || t == 11 || t == 12) && len(f.Payload) > 8 {
			m.quoted(f.Payload[8:], seen)
		}
	case protoICMPv6:
		seen["icmpv6"] = true
		m[key("icmpv6_type", int(f.Type))] += b2i(len(f.Payload) > 0)
		if f.Type >= 1 && f.Type <= 4 && len(f.Payload) > 8 {
			m.quoted(f.Payload[8:], seen)
		}
	case protoIGMP:
		seen["igmp"] = true
	case protoSCTP:
		seen["sctp"] = true
	case protoGRE:
		seen["gre"] = true
	case 50:
		seen["esp"] = true
	}
}

func (m facts) quoted(b []byte, seen map[string]bool) {
	var f Frame
	New(Options{}).Decode(Input{LinkType: LinkRaw, Data: b, OrigLen: uint32(len(b))}, &f)
	before := m["tcp payload_bytes"]
	m.frame(&f, seen)
	m["tcp payload_bytes"] = before
}

func key(name string, v int) string { return fmt.Sprintf("%s %d", name, v) }

func version(four bool) string {
	if four {
		return "ip"
	}
	return "ipv6"
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TestTruth compares every capture with tshark's counts. A disagreement that is not in
// testdata/disagreements.tsv with its reason fails, and so does a listed one that no longer
// occurs.
func TestTruth(t *testing.T) {
	dir := captures.Dir(t)
	known := readDisagreements(t)
	agreed, disagreed := map[string]int{}, map[string]int{}
	var report []string
	read := 0
	for _, rel := range captureFiles(t, dir) {
		raw, err := os.ReadFile(filepath.Join(dir, "truth", rel+".json"))
		if err != nil {
			t.Fatal(err)
		}
		var want truth
		if err := json.Unmarshal(raw, &want); err != nil {
			t.Fatalf("reading truth of %s: %v", rel, err)
		}
		packets, _ := readCapture(filepath.Join(dir, rel)) // damage is reported by the reader
		if n, err := strconv.Atoi(want.Capinfos["Number of packets"]); err == nil {
			want.Packets = n
		}
		if len(packets) != want.Packets {
			disagreed["packets read"]++
			report = append(report, disagreement(rel, "packets", len(packets), want.Packets))
			continue
		}
		agreed["packets read"]++
		read++
		d, got := New(Options{}), facts{}
		var f Frame
		for _, p := range packets {
			d.Decode(p, &f)
			got.count(&f)
		}
		expect := want.facts()
		for name := range got {
			if _, ok := expect[name]; !ok && !want.cut(name) {
				expect[name] = 0
			}
		}
		for name, n := range expect {
			group := strings.Fields(name)[0]
			if group == "frames" || group == "tcp" || group == "ip" {
				group = name
			}
			if got[name] == n {
				agreed[group]++
				continue
			}
			disagreed[group]++
			report = append(report, disagreement(rel, name, got[name], n))
		}
	}
	groups := make([]string, 0, len(agreed))
	for g := range agreed {
		groups = append(groups, g)
	}
	for g := range disagreed {
		if _, ok := agreed[g]; !ok {
			groups = append(groups, g)
		}
	}
	slices.Sort(groups)
	t.Logf("%d captures", read)
	t.Logf("%-24s %8s %8s", "fact", "agreed", "not")
	for _, g := range groups {
		t.Logf("%-24s %8d %8d", g, agreed[g], disagreed[g])
	}
	slices.Sort(report)
	for _, line := range report {
		if _, ok := known[line]; !ok {
			t.Errorf("new disagreement: %s", line)
		}
		delete(known, line)
	}
	for line := range known {
		t.Errorf("listed disagreement is gone: %s", line)
	}
}

func disagreement(capture, fact string, got, want int) string {
	return fmt.Sprintf("%s\t%s\t%d\t%d", capture, strings.TrimSpace(fact), got, want)
}

// readDisagreements reads capture, fact, our value, tshark's value and the reason,
// tab-separated.
func readDisagreements(t *testing.T) map[string]string {
	raw, err := os.ReadFile("testdata/disagreements.tsv")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]string{}
	for n, line := range strings.Split(string(raw), "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		col := strings.Split(line, "\t")
		if len(col) != 5 || col[4] == "" {
			t.Fatalf("testdata/disagreements.tsv line %d: %d columns, want 5 with a reason", n+1, len(col))
		}
		known[strings.Join(col[:4], "\t")] = col[4]
	}
	return known
}

// decimal converts tshark's hexadecimal values.
func decimal(v string) string {
	if n, err := strconv.ParseUint(v, 0, 32); err == nil {
		return strconv.FormatUint(n, 10)
	}
	return v
}
