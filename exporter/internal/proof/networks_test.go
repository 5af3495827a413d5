package proof_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/bundle/bundletest"
	"github.com/pcapsule/pcapsule/exporter/exportertest"
	"github.com/pcapsule/pcapsule/samples/frames"
)

// threeCalls are the packets of one connection with three HTTP calls.
func threeCalls(name string, isn uint32, id uint16) (list [][]byte) {
	seq, ack := isn, isn+9000
	add := func(up bool, flags byte, payload string) {
		src, dst, sport, dport, s, a := byte(1), byte(2), uint16(40000), uint16(80), seq, ack
		if !up {
			src, dst, sport, dport, s, a = 2, 1, 80, 40000, ack, seq
		}
		t := binary.BigEndian.AppendUint16(nil, sport)
		t = binary.BigEndian.AppendUint16(t, dport)
		t = binary.BigEndian.AppendUint32(t, s)
		t = binary.BigEndian.AppendUint32(t, a)
		t = append(t, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0)
		list = append(list, frames.IPv4(6, id, 0, src, dst, append(t, payload...)))
		id++
		if up {
			seq += uint32(len(payload))
		} else {
			ack += uint32(len(payload))
		}
	}
	add(true, 2, "")
	seq++
	add(false, 0x12, "")
	ack++
	add(true, 0x10, "")
	for i := range 3 {
		add(true, 0x18, fmt.Sprintf("GET /%s%d HTTP/1.1\r\nHost: svc\r\n\r\n", name, i))
		add(false, 0x18, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n%s%d", name[:1], i))
	}
	return list
}

const aboutNetworks = "select (select count(*) from calls where complete) || ' calls, ' || (select count(*) from connections) || ' connections, ' || (select count(*) from flows) || ' flows'"

func TestNetworksSeparateCalls(t *testing.T) {
	a, b, c := threeCalls("a", 100, 1), threeCalls("b", 7_000_000, 500), threeCalls("c", 100, 1)
	vlan := func(ids ...uint16) func([]byte) []byte {
		return func(ip []byte) []byte { return frames.Ethernet(0x0800, ids, ip) }
	}
	mpls := func(label uint32) func([]byte) []byte {
		return func(ip []byte) []byte {
			return frames.Ethernet(0x8847, nil, append(binary.BigEndian.AppendUint32(nil, label<<12|0x1ff), ip...))
		}
	}
	vxlan := func(vni byte) func([]byte) []byte {
		return func(ip []byte) []byte {
			inner := append([]byte{8, 0, 0, 0, 0, 0, vni, 0}, frames.Ethernet(0x0800, nil, ip)...)
			return frames.Ethernet(0x0800, nil, frames.UDP(9, 101, 102, 5555, 4789, inner))
		}
	}
	gtp := func(up, down byte) func([]byte) []byte {
		return func(ip []byte) []byte {
			teid, src, dst := up, byte(101), byte(102)
			if ip[15] == 2 { // from the server
				teid, src, dst = down, 102, 101
			}
			head := []byte{0x30, 0xff, byte(len(ip) >> 8), byte(len(ip)), 0, 0, 0, teid}
			return frames.Ethernet(0x0800, nil, frames.UDP(9, src, dst, 2152, 2152, append(head, ip...)))
		}
	}
	type place struct {
		list  [][]byte
		in    func([]byte) []byte
		link  int
		later int64
	}
	for _, tt := range []struct {
		name   string
		places []place
		want   string
	}{
		{"two VLANs", []place{{a, vlan(10), 0, 0}, {b, vlan(20), 0, 30}}, "6 calls, 2 connections, 2 flows"},
		{"two VLANs inside one", []place{{a, vlan(5, 10), 0, 0}, {b, vlan(5, 20), 0, 30}}, "6 calls, 2 connections, 2 flows"},
		{"two MPLS labels", []place{{a, mpls(100), 0, 0}, {b, mpls(200), 0, 30}}, "6 calls, 2 connections, 2 flows"},
		{"two VNIs", []place{{a, vxlan(10), 0, 0}, {b, vxlan(20), 0, 30}}, "6 calls, 2 connections, 2 flows"},
		{"two pairs of TEIDs", []place{{a, gtp(1, 2), 0, 0}, {b, gtp(3, 4), 0, 30}}, "6 calls, 2 connections, 2 flows"},
		{"a VLAN and none", []place{{a, vlan(10), 0, 0}, {b, vlan(), 0, 30}}, "6 calls, 2 connections, 2 flows"},
		// A handshake that is equal in both networks counts for the first connection; payload separates them.
		{"two VLANs with equal sequence numbers", []place{{a, vlan(10), 0, 0}, {c, vlan(20), 0, 30}}, "6 calls, 2 connections, 3 flows"},
		{"two VLANs, each at two places whose clocks differ by 0.9 s", []place{{a, vlan(10), 0, 0}, {b, vlan(20), 0, 30}, {a, vlan(10), 1, 900_000}, {b, vlan(20), 1, 900_030}}, "6 calls, 2 connections, 4 flows"},
		{"two VNIs with equal sequence numbers at two places", []place{{a, vxlan(10), 0, 0}, {c, vxlan(20), 0, 30}, {a, vxlan(10), 1, 40}, {c, vxlan(20), 1, 70}}, "6 calls, 2 connections, 6 flows"},
		{"one packet with and without VLAN", []place{{a, vlan(10), 0, 0}, {a, vlan(), 0, 3}}, "3 calls, 1 connections, 2 flows"},
		{"one packet with and without VXLAN", []place{{a, vlan(), 0, 0}, {a, vxlan(10), 1, 3}}, "3 calls, 1 connections, 2 flows"},
		{"one packet with and without GTP", []place{{a, vlan(), 0, 0}, {a, gtp(1, 2), 0, 3}}, "3 calls, 1 connections, 3 flows"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := frames.NewFile(1, 1)
			for i := range a {
				for _, p := range tt.places {
					w.Add(p.link, int64(i)*100+p.later, p.in(p.list[i]), 0)
				}
			}
			got := exportertest.Answers(t, &w.Buf, aboutNetworks)
			if got[0] != tt.want {
				t.Errorf("%s, want %s", got[0], tt.want)
			}
		})
	}
}

func TestPacketsThatAreNotIPAreCountedByKind(t *testing.T) {
	w := frames.NewFile(1, 227, 220, 105)
	w.Add(0, 0, frames.Ethernet(0x88cc, nil, make([]byte, 40)), 0)
	w.Add(0, 1, frames.Ethernet(0x88cc, nil, make([]byte, 40)), 0)
	w.Add(0, 2, frames.Ethernet(0x0806, nil, append([]byte{0, 1, 8, 0, 6, 4, 0, 1}, make([]byte, 20)...)), 0)
	w.Add(0, 3, frames.Ethernet(38, nil, append([]byte{0x42, 0x42, 3}, make([]byte, 35)...)), 0)
	w.Add(1, 4, make([]byte, 16), 0)
	w.Add(2, 5, make([]byte, 64), 0)
	w.Add(3, 6, append([]byte{0x80}, make([]byte, 40)...), 0)
	m, _ := exportertest.Run(t, exporter.Options{Stdin: &w.Buf}, "-")
	got := fmt.Sprint(bundle.Counted(bundle.NotIP, &m.Accounts))
	if want := "[{lldp 2} {arp 1} {can_socketcan 1} {stp 1} {usb_linux_mmapped 1} {wlan_beacon 1}]"; got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

// With a snap length of 38, each TCP header has 4 bytes: Ethernet 14, IPv4 20.
func TestFourBytesOfTCPHavePorts(t *testing.T) {
	w := frames.NewFile(1)
	for i, ip := range threeCalls("a", 100, 1) {
		f := frames.Ethernet(0x0800, nil, ip)
		w.Add(0, int64(i), f, len(f)-38)
	}
	m, path := exportertest.Run(t, exporter.Options{Stdin: &w.Buf}, "-")
	got := bundletest.Ask(t, path, "select string_agg(src_port || '>' || dst_port || ' ' || (src_packets + dst_packets) || ' ' || snap_cuts, ', ') from flows",
		"select count(*) || ' ' || count(flow_id) from packets", "select sum(count)::varchar from anomalies where kind = 'header_cut'")
	if want := "[40000>80 9 9 9 9 9]"; fmt.Sprint(got) != want || m.Accounts.Counters["packet"]["header_cut"] != 9 {
		t.Errorf("got %v, want %s; %v", got, want, m.Accounts.Counters["packet"])
	}
}

// lookupParts is a DNS answer of more than 1,500 bytes in three fragments.
func lookupParts() (query []byte, parts [3][]byte) {
	question := []byte{3, 'b', 'i', 'g', 0, 0, 16, 0, 1}
	query = frames.UDP(7, 1, 53, 40000, 53, append([]byte{0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}, question...))
	answer := append([]byte{0x12, 0x34, 0x81, 0x80, 0, 1, 0, 12, 0, 0, 0, 0}, question...)
	for range 12 {
		text := bytes.Repeat([]byte("x"), 200)
		answer = append(answer, 0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 60, 0, 201, 200)
		answer = append(answer, text...)
	}
	udp := frames.UDP(9, 53, 1, 53, 40000, answer)[20:]
	for i := range parts {
		from, to, flags := i*1000, min((i+1)*1000, len(udp)), uint16(0x2000)
		if i == 2 {
			flags = 0
		}
		parts[i] = frames.IPv4(17, 77, uint16(from/8)|flags, 53, 1, udp[from:to])
	}
	return query, parts
}

func TestFragmentsAreCountedInTheirConversation(t *testing.T) {
	query, parts := lookupParts()
	w := frames.NewFile(101)
	w.Add(0, 0, query, 0)
	for i, p := range parts {
		w.Add(0, int64(i+1)*100, p, 0)
	}
	got := exportertest.Answers(t, &w.Buf, "select string_agg(src_packets || ' ' || dst_packets || ' ' || dst_bytes || ' ' || (last_ns - first_ns), ', ') from flows",
		"select string_agg(complete || ' ' || coalesce(error, ''), ', ') from calls")
	size := len(parts[0]) + len(parts[1]) + len(parts[2])
	if want := fmt.Sprintf("[1 3 %d 300000 true ]", size); fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
	w = frames.NewFile(101) // the number of a datagram in fragments is that of its first fragment
	for i, p := range parts {
		w.Add(0, int64(i)*100, p, 0)
	}
	got = exportertest.Answers(t, &w.Buf, "select string_agg((last_ns - first_ns)::varchar, ', ') from flows")
	if got[0] != "200000" {
		t.Errorf("a flow of %s ns, want 200000", got[0])
	}
}

// TestCutDatagramContradictsNothing has a question of which only the first fragment was captured, which is
// shorter than a message of its protocol, and the answer.
func TestCutDatagramContradictsNothing(t *testing.T) {
	w := frames.NewFile(101)
	ask := frames.Query(0, "a.example")
	w.Add(0, 0, frames.IPv4(17, 77, 0x2000, 1, 53, frames.UDP(7, 1, 53, 40000, 53, []byte(ask))[20:36]), 0)
	w.Add(0, 100, frames.UDP(9, 53, 1, 53, 40000, []byte(frames.Reply(ask, 1))), 0)
	got := exportertest.Answers(t, &w.Buf, "select string_agg(protocol || ' ' || host || ' ' || coalesce(error, ''), ', ') from calls")
	if want := "dns a.example no_request"; got[0] != want {
		t.Errorf("got %q, want %q", got[0], want)
	}
}

func TestMissingFragmentIsAGapOfItsConversation(t *testing.T) {
	query, parts := lookupParts()
	w := frames.NewFile(101)
	w.Add(0, 0, query, 0)
	w.Add(0, 100, parts[0], 0)
	w.Add(0, 300, parts[2], 0)
	m, path := exportertest.Run(t, exporter.Options{Stdin: &w.Buf}, "-")
	got := bundletest.Ask(t, path, "select count(*)::varchar from flows", "select (gap_bytes > 1000) || ' ' || src_packets || ' ' || dst_packets from flows",
		"select string_agg(complete || ' ' || coalesce(error, ''), ', ') from calls", "select string_agg(kind || ' ' || (flow_id is not null), ', ') from anomalies where kind = 'fragments_missing'",
		"select count(*)::varchar from packets")
	if got[0] != "1" || got[1] != "true 1 2" || strings.Contains(got[2], "no_response") || strings.Contains(got[2], "true") || got[3] != "fragments_missing true" || got[4] != "3" || m.Accounts.Packets != 3 {
		t.Errorf("got %q, %d packets", got, m.Accounts.Packets)
	}
}

// TestFirstFragmentMissing has an answer whose first fragment was not captured. Its ports are unknown, so the anomaly says
// what the call that it seems to answer may lack. Only a call that waits for it may.
func TestFirstFragmentMissing(t *testing.T) {
	query, parts := lookupParts()
	const s = int64(1e6) // µs
	for name, c := range map[string]struct {
		from    byte // of the fragments
		at, end int64
		want    string
	}{
		"an answer":                        {53, 200, 0, "gap false true"},
		"a late one":                       {53, 40 * s, 200 * s, "gap false true"},
		"fragments of another host":        {54, 200, 0, "no_response true false"},
		"fragments before the question":    {53, -200, 0, "no_response true false"},
		"fragments a long time afterwards": {53, 90 * s, 200 * s, "no_response true false"},
	} {
		w := frames.NewFile(101)
		lost := func() {
			for _, p := range parts[1:] {
				p = bytes.Clone(p)
				p[15] = c.from
				w.Add(0, c.at, p, 0)
			}
		}
		if c.at < 0 {
			lost()
		}
		w.Add(0, 0, query, 0)
		if c.at > 0 {
			lost()
		}
		if c.end > 0 {
			w.Add(0, c.end, frames.UDP(8, 1, 99, 40001, 99, []byte("x")), 0)
		} else {
			w.Add(0, 10*s, frames.UDP(8, 1, 99, 40001, 99, []byte("x")), 0)
		}
		got := exportertest.Answers(t, &w.Buf, "select kind || ' ' || packet_no || ' ' || detail from anomalies where flow_id is null",
			"select error || ' ' || failed || ' ' || (select count(*) > 0 from anomalies where kind = 'fragments_missing' and flow_id is not null) from calls where protocol = 'dns'")
		for _, want := range []string{"fragments_missing ", "the first fragment of datagram", "(IP protocol 17)", "may be the one it answers"} {
			if !strings.Contains(got[0], want) {
				t.Errorf("%s: %q lacks %q", name, got[0], want)
			}
		}
		if got[1] != c.want {
			t.Errorf("%s: %s, want %s", name, got[1], c.want)
		}
	}
}

// TestCopiedQuestionAtTheEnd has a question shortly before the end of the capture, whose answer may follow. A copy of it
// from another interface changes nothing.
func TestCopiedQuestionAtTheEnd(t *testing.T) {
	query, _ := lookupParts()
	for _, copies := range []int{0, 1, 2} {
		w := frames.NewFile(101, 101, 101)
		for i := range copies + 1 {
			w.Add(i, int64(i)*20, query, 0)
		}
		got := exportertest.Answers(t, &w.Buf, "select count(*) || ' ' || any_value(outcome) || ' ' || any_value(failed) from calls")
		if want := "1 cut false"; got[0] != want {
			t.Errorf("%d copies: %s, want %s", copies, got[0], want)
		}
	}
}

// TestAnswerWithoutItsLastFragment: the call, not the next one, has the anomaly.
func TestAnswerWithoutItsLastFragment(t *testing.T) {
	query, parts := lookupParts()
	w := frames.NewFile(101)
	for i, p := range [][]byte{query, parts[0], parts[1]} {
		w.Add(0, int64(i)*100, p, 0)
	}
	got := exportertest.Answers(t, &w.Buf, "select string_agg(anomalies || ' ' || complete, ', ') from calls")
	if want := "1 false"; got[0] != want {
		t.Errorf("%s, want %s", got[0], want)
	}
}

// TestManyFirstFragmentsMissing has more such datagrams than get a row each: the others share one.
func TestManyFirstFragmentsMissing(t *testing.T) {
	_, parts := lookupParts()
	w := frames.NewFile(101)
	for i := range 1000 {
		p := bytes.Clone(parts[1])
		p[4], p[5] = byte(i>>8), byte(i)
		w.Add(0, int64(i), p, 0)
	}
	got := exportertest.Answers(t, &w.Buf, "select count(*) || ' ' || sum(count) from anomalies where kind = 'fragments_missing'")
	if want := "201 1000"; got[0] != want {
		t.Errorf("%s, want %s", got[0], want)
	}
}
