package flow

import (
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/http1"
)

// playPackets runs packets through one shard and answers the row of its first flow.
func playPackets(t *testing.T, packets []Packet) (*Batch, FlowRow) {
	t.Helper()
	s := NewShard(0, Options{Protocols: func() []*dissect.Protocol { return []*dissect.Protocol{http1.Protocol()} }, Repanic: true})
	out := &Batch{}
	var mine []int32
	for i := range packets {
		packets[i].No = int64(i)
		mine = append(mine, int32(i))
	}
	s.Run(packets, mine, out)
	for s.Open() > 0 {
		s.Close(dissect.Packet{No: int64(len(packets))}, out)
	}
	if s.Held() != 0 || s.count != 0 {
		t.Errorf("%d bytes and %d connections held after the end", s.Held(), s.count)
	}
	of, left := map[ID]ID{}, map[ID]int64{} // payload bytes of a connection that are not accounted for
	for _, f := range out.Started {
		of[f.Flow] = f.Conn
	}
	for _, f := range out.Flows {
		r := f.Row
		left[of[f.Flow]] += r.SrcPayloadBytes + r.DstPayloadBytes - r.CutBytes - r.RowBytes - r.AnomalyBytes - r.DuplicateBytes
	}
	for _, n := range left {
		if n != 0 {
			t.Errorf("%d payload bytes of a connection are not accounted for", n)
		}
	}
	return out, out.Flows[0]
}

func packetsOf(steps ...step) (list []Packet) {
	for i, s := range steps {
		list = append(list, s.packet(i))
	}
	return list
}

func TestHandshakeEndsWithTheACKThatCarriesData(t *testing.T) {
	_, f := playPackets(t, packetsOf(
		step{0, cl, sv, syn, 100, 0, "", 0, 1}, step{10_000, sv, cl, syn | ack, 500, 101, "", 0, 2},
		step{30_000, cl, sv, ack, 101, 501, "GET / HT", 0, 3},
		step{90_000, cl, sv, ack, 109, 501, "TP/1.1\r\n\r\n", 0, 4}, step{95_000, cl, sv, ack, 119, 501, "", 0, 5}))
	if f.Row.HandshakeServerUs.V != 20 || f.Row.HandshakeUs.OK {
		// The SYN stands at time 0, which counts as not seen.
		t.Errorf("server %v us, whole %v us; want 20 and none", f.Row.HandshakeServerUs, f.Row.HandshakeUs)
	}
}

func TestDuplicateACKsWhereOneSideDoesNotScale(t *testing.T) {
	for _, other := range []int8{-1, 7} {
		p := packetsOf(
			step{1000, cl, sv, syn, 100, 0, "", 0, 1}, step{2000, sv, cl, syn | ack, 500, 101, "", 0, 2}, step{3000, cl, sv, ack, 101, 501, "", 0, 3},
			step{4000, sv, cl, ack, 501, 101, "HTTP/1.1 200", 0, 4}, step{5000, sv, cl, ack, 520, 101, "xx", 0, 5},
			step{6000, cl, sv, ack, 101, 513, "", 0, 6}, step{7000, cl, sv, ack, 101, 513, "", 0, 7}, step{8000, cl, sv, ack, 101, 513, "", 0, 8},
			step{9000, sv, cl, ack, 513, 101, " OK\r\n\r\n", 0, 9})
		p[0].WScale, p[1].WScale = 7, other
		if _, f := playPackets(t, p); f.Row.DuplicateAcks != 2 || f.Row.FastRetransmissions != 1 {
			t.Errorf("window scale %d: %d duplicate ACKs and %d fast retransmissions, want 2 and 1", other, f.Row.DuplicateAcks, f.Row.FastRetransmissions)
		}
	}
}

func TestRTTLeavesOutBytesSentAgain(t *testing.T) {
	_, f := playPackets(t, packetsOf(
		step{1e6, cl, sv, syn, 100, 0, "", 0, 1}, step{2e6, sv, cl, syn | ack, 500, 101, "", 0, 2}, step{3e6, cl, sv, ack, 101, 501, "", 0, 3},
		step{4e6, cl, sv, ack, 101, 501, "GET", 0, 4}, step{5e6, sv, cl, ack, 501, 104, "", 0, 5}, // 1 ms
		step{6e6, cl, sv, ack, 104, 501, " / H", 0, 6}, step{300e6, cl, sv, ack, 104, 501, " / HTTP", 0, 7}, // sent again, with more
		step{301e6, sv, cl, ack, 501, 111, "", 0, 8}))
	if f.Row.RTTSamples != 1 || f.Row.RTTMaxUs.V != 1000 {
		t.Errorf("%d samples up to %d us, want 1 of 1000", f.Row.RTTSamples, f.Row.RTTMaxUs.V)
	}
}

// conversation is a handshake, then what the steps say, which stand at 4 ms and later.
func conversation(steps ...step) []Packet {
	return packetsOf(append([]step{{1e6, cl, sv, syn, 100, 0, "", 0, 1}, {2e6, sv, cl, syn | ack, 500, 101, "", 0, 2}, {3e6, cl, sv, ack, 101, 501, "", 0, 3}}, steps...)...)
}

func kinds(out *Batch) (list []string) {
	for _, a := range out.Anomalies {
		list = append(list, a.Row.Kind)
	}
	return list
}

func TestSameNumbersAreNoProofOfSameBytes(t *testing.T) {
	out, f := playPackets(t, conversation(step{4e6, cl, sv, ack, 101, 501, "GET / HTTP/1.1\r\n", 0, 4}, step{4.1e6, cl, sv, ack, 101, 501, "PUT / HTTP/1.1\r\n", 0, 4}))
	if got := kinds(out); len(got) == 0 || got[0] != "overlap_conflict" || f.Row.Sightings != 0 || f.Row.DuplicateBytes != 0 || f.Row.AnomalyBytes != 16 {
		t.Fatalf("anomalies %v, %d sightings, %d duplicate and %d anomalous bytes; want overlap_conflict, 0, 0, 16", got, f.Row.Sightings, f.Row.DuplicateBytes, f.Row.AnomalyBytes)
	}
	if a := out.Anomalies[0].Row; a.PacketNo.V != 4 || a.Detail != "other bytes at a place of the stream that was already captured; the first copy, of packet 3, was kept" {
		t.Errorf("packet %d: %s; want 4, and 3 in the text", a.PacketNo.V, a.Detail)
	}
}

func TestWrongChecksums(t *testing.T) {
	for _, tt := range []struct {
		name    string
		all     bool // packets are wrong
		kind    string
		rows    int64
		problem decode.Problem
		sum     Sum
	}{
		{"one among right ones", false, "bad_checksum", 0, decode.BadSum, SumWrong},
		{"one wrong IP header among right ones", false, "bad_checksum", 0, decode.BadIPSum, SumWrong},
		{"one of fragments that conflict", false, "bad_checksum", 0, decode.BadSum | decode.FragmentConflict, SumWrong},
		{"all of both directions", true, "unproven_checksum", 27, decode.BadSum, SumUnproven},
		{"all of a direction, as in a rewritten capture", false, "rewritten_checksum", 27, decode.BadSum, SumRewritten},
		{"one left to the network adapter among larger right ones", false, "mixed_checksums", 27, decode.UnfinishedSum, SumRight},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := conversation(step{4e6, cl, sv, ack, 101, 501, get[:27], 0, 4})
			if tt.kind == "mixed_checksums" {
				p = conversation(step{4e6, cl, sv, ack, 101, 501, get[:17], 0, 4}, step{5e6, cl, sv, ack, 118, 501, get[17:27], 0, 5})
			}
			for i := range p {
				if tt.all || i == len(p)-1 {
					p[i].Problems, p[i].Sum = tt.problem, tt.sum
				}
			}
			out, f := playPackets(t, p)
			if got := kinds(out); len(got) == 0 || got[0] != tt.kind && (len(got) < 2 || got[1] != tt.kind) {
				t.Errorf("anomalies %v, want %s", got, tt.kind)
			}
			if conflict := strings.Contains(out.Anomalies[len(out.Anomalies)-1].Row.Detail, "conflict"); conflict != (tt.problem&decode.FragmentConflict != 0) {
				t.Errorf("anomaly: %s", out.Anomalies[len(out.Anomalies)-1].Row.Detail)
			}
			if (f.Row.RowBytes > 0) != (tt.rows > 0) {
				t.Errorf("%d bytes in rows, want %d", f.Row.RowBytes, tt.rows)
			}
			if bad := p[len(p)-1].Mark&BadChecksum != 0; bad != (tt.problem != decode.UnfinishedSum) {
				t.Errorf("marked as bad: %v", bad)
			}
		})
	}
}

func TestStrayControlSegmentsEndNothing(t *testing.T) {
	for _, tt := range []struct {
		name  string
		stray step
		kind  string
	}{
		{"SYN", step{5e6, cl, sv, syn, 99999, 0, "", 0, 9}, "stray_syn"},
		{"SYN-ACK", step{5e6, sv, cl, syn | ack, 99999, 101, "", 0, 9}, "stray_syn"},
		{"RST behind the window", step{5e6, cl, sv, rst, 50, 501, "", 0, 9}, "reset_out_of_window"},
		{"RST far ahead", step{5e6, cl, sv, rst, 1 << 30, 501, "", 0, 9}, "reset_out_of_window"},
		{"RST inside the window", step{5e6, cl, sv, rst, 200, 501, "", 0, 9}, "reset_in_window"},
		{"data without ACK", step{5e6, cl, sv, decode.PSH, 105, 0, "evil", 0, 9}, "no_ack"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := conversation(step{4e6, cl, sv, ack, 101, 501, get[:4], 0, 4}, tt.stray, step{6e6, cl, sv, ack, 105, 501, get[4:], 0, 5},
				step{7e6, sv, cl, ack, 501, 101 + uint32(len(get)), ok, 0, 6})
			p[4].Proto = protoTCP
			out, f := playPackets(t, p)
			if got := kinds(out); len(got) != 1 || got[0] != tt.kind {
				t.Errorf("anomalies %v, want %s", got, tt.kind)
			}
			if len(out.Conns) != 1 || len(out.Calls) != 1 || !out.Calls[0].Row.Base().Complete || f.Row.State.V != "established" {
				t.Errorf("%d connections, %d calls, state %s; want 1 established with 1 whole call", len(out.Conns), len(out.Calls), f.Row.State.V)
			}
		})
	}
}

func TestPortsUsedAgainNeedTheAnswer(t *testing.T) {
	first := conversation(step{4e6, cl, sv, ack, 101, 501, get, 0, 4}, step{5e6, sv, cl, ack, 501, 101 + uint32(len(get)), ok, 0, 5})
	second := packetsOf(step{6e6, cl, sv, syn, 9_000_000, 0, "", 0, 6}, step{7e6, sv, cl, syn | ack, 8_000_000, 9_000_001, "", 0, 7},
		step{8e6, cl, sv, ack, 9_000_001, 8_000_001, get, 0, 8}, step{9e6, sv, cl, ack, 8_000_001, 9_000_001 + uint32(len(get)), ok, 0, 9})
	for _, tt := range []struct {
		name  string
		drop  int // of the second connection's packets
		conns int
	}{{"whole", -1, 2}, {"no SYN-ACK captured, but what acknowledges the SYN", 1, 2}, {"no answer", 4, 1}} {
		t.Run(tt.name, func(t *testing.T) {
			p := append([]Packet{}, first...)
			for i, q := range second {
				if i != tt.drop && (tt.drop != 4 || i == 0) {
					p = append(p, q)
				}
			}
			out, _ := playPackets(t, p)
			if len(out.Conns) != tt.conns {
				t.Fatalf("%d connections, want %d", len(out.Conns), tt.conns)
			}
			if r := out.Conns[len(out.Conns)-1].Row; tt.conns == 2 && r.SrcPort != 40000 {
				t.Errorf("client's port %d, want 40000", r.SrcPort)
			}
		})
	}
}

// TestPortsUsedAgainWithoutAHandshake has another call on the ports of a connection, and no SYN. After the end, numbers far
// from those before are another connection's (RFC 9293 section 3.4.1); before, or near, they are not.
func TestPortsUsedAgainWithoutAHandshake(t *testing.T) {
	const far = 1 << 30
	size := uint32(len(get))
	for _, tt := range []struct {
		name         string
		end          []step
		seq, ack     uint32
		conns, calls int
	}{
		{"after FINs", exchange(1000, 0, 1)[5:], far, far, 2, 2},
		{"after a reset", []step{{1050, sv, cl, rst, 501 + uint32(len(ok)), 101 + size, "", 0, 9}}, far, far, 2, 2},
		{"before the end", nil, far, far, 2, 2},
		{"before the end, near for losses", nil, 100 << 20, 100 << 20, 1, 1},
		{"with a number of the server that is near", exchange(1000, 0, 1)[5:], far, 600, 1, 1},
		{"with a number of the client that is near", exchange(1000, 0, 1)[5:], 50, far, 1, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			steps := append(exchange(1000, 0, 1)[:5:5], tt.end...)
			steps = append(steps, step{1100, cl, sv, ack, tt.seq, tt.ack, get, 0, 11}, step{1200, sv, cl, ack, tt.ack, tt.seq + size, ok, 0, 12})
			whole := 0
			out, _ := playPackets(t, packetsOf(steps...))
			for _, c := range out.Calls {
				if c.Row.Base().Complete {
					whole++
				}
			}
			if len(out.Conns) != tt.conns || whole != tt.calls {
				t.Errorf("%d connections, %d whole calls; want %d, %d", len(out.Conns), whole, tt.conns, tt.calls)
			}
		})
	}
}

func TestPayloadOfASYNCountsIfItIsAcknowledged(t *testing.T) {
	for _, tt := range []struct {
		name       string
		ack        uint32
		rows, odds int64
	}{{"acknowledged, as TCP Fast Open does", 101 + uint32(len(get)), int64(len(get)), 0}, {"acknowledged in part", 105, 4, int64(len(get)) - 4}, {"not acknowledged", 101, 0, int64(len(get))}, {"not answered", 0, 0, int64(len(get))}} {
		t.Run(tt.name, func(t *testing.T) {
			p := packetsOf(step{1e6, cl, sv, syn, 100, 0, get, 0, 1}, step{2e6, sv, cl, syn | ack, 500, tt.ack, "", 0, 2})
			if tt.ack == 0 {
				p = p[:1]
			}
			if _, f := playPackets(t, p); f.Row.RowBytes != tt.rows || f.Row.AnomalyBytes != tt.odds {
				t.Errorf("%d bytes in rows and %d odd, want %d and %d", f.Row.RowBytes, f.Row.AnomalyBytes, tt.rows, tt.odds)
			}
		})
	}
}

func TestMultipathIsToldIfBothAgree(t *testing.T) {
	for at, want := range []int{0, 1} {
		p := conversation()
		p[at].Multipath = true
		out, _ := playPackets(t, p)
		if got := kinds(out); len(got) != want || want == 1 && got[0] != "multipath" {
			t.Errorf("option in packet %d: anomalies %q", at, got)
		}
	}
}

// TestMultipathGaps has a request in two segments, and the answer. If other connections carried bytes before the second
// segment, the request has a gap, in whatever order the two were captured, and what follows is skipped.
func TestMultipathGaps(t *testing.T) {
	const answer = "HTTP/1.1 204 No Content\r\n\r\n"
	n := 101 + uint32(len(get))
	for mapped, want := range map[uint32]struct {
		complete bool
		odds     int
	}{7: {true, 1}, 9: {false, 3}, 6: {true, 2}} {
		for _, swapped := range []bool{false, true} {
			p := packetsOf(step{1e6, cl, sv, syn, 100, 0, "", 0, 1}, step{2e6, sv, cl, syn | ack, 500, 101, "", 0, 2}, step{3e6, cl, sv, ack, 101, 501, get[:20], 0, 3},
				step{4e6, cl, sv, ack, 121, 501, get[20:], 0, 4}, step{5e6, sv, cl, ack, 501, n, answer, 0, 5})
			for i := range p[2:4] {
				p[2+i].Multipath, p[2+i].Mapped, p[2+i].Mapping = true, true, 7
			}
			if p[3].Mapping = mapped; swapped {
				p[2], p[3] = p[3], p[2]
			}
			out, f := playPackets(t, p)
			if len(out.Calls) != 1 || out.Calls[0].Row.Base().Complete != want.complete || f.Row.GapBytes != 0 || len(kinds(out)) != want.odds {
				t.Errorf("mappings 7 and %d, swapped %v: %d calls, complete %v, anomalies %q, want %v", mapped, swapped, len(out.Calls), out.Calls[0].Row.Base().Complete, kinds(out), want)
			}
		}
	}
}

func TestPayloadOfASYNACKCounts(t *testing.T) {
	const answer = "HTTP/1.1 204 No Content\r\n\r\n"
	n := 101 + uint32(len(get))
	b, f := playPackets(t, packetsOf(step{1e6, cl, sv, syn, 100, 0, get, 0, 1}, step{2e6, sv, cl, syn | ack, 500, n, answer, 0, 2}, step{3e6, cl, sv, ack, n, 501 + uint32(len(answer)), "", 0, 3}))
	if len(b.Calls) != 1 || !b.Calls[0].Row.Base().Complete || f.Row.AnomalyBytes != 0 {
		t.Errorf("%d calls, %d odd bytes", len(b.Calls), f.Row.AnomalyBytes)
	}
}

// TestRequestsInASYNHaveTheirResponses captures requests in a SYN (TCP Fast Open), with a copy of the SYN by another clock:
// the numbers of the server may be in both halves of their range.
func TestRequestsInASYNHaveTheirResponses(t *testing.T) {
	asked := 101 + 2*uint32(len(get))
	for _, isn := range []uint32{500, 1<<31 - 2, 3 << 30} {
		next := isn + 1 + uint32(len(ok))
		p := packetsOf(step{1e6, cl, sv, syn, 100, 0, get + get, 0, 1}, step{1.1e6, cl, sv, syn, 100, 0, get + get, 1, 1}, step{2e6, sv, cl, syn | ack, isn, asked, "", 1, 2},
			step{3e6, cl, sv, ack, asked, isn + 1, "", 1, 3}, step{4e6, sv, cl, ack, isn + 1, asked, ok, 1, 4}, step{5e6, cl, sv, ack, asked, next, "", 1, 5}, step{6e6, sv, cl, ack, next, asked, ok, 1, 6})
		for i := range p {
			p[i].Clock = p[i].Interface
		}
		out, _ := playPackets(t, p)
		waited := []int64{}
		for _, c := range out.Calls {
			if b := c.Row.Base(); b.Complete && b.WaitedUs.OK {
				waited = append(waited, b.WaitedUs.V)
			}
		}
		if len(out.Calls) != 2 || !slices.Equal(waited, []int64{2900, 4900}) {
			t.Errorf("server's number %d: %d calls waited %v us, want 2 that waited 2900 and 4900", isn, len(out.Calls), waited)
		}
	}
}

// TestPayloadOfASYNOnPortsUsedAgain has a request in a SYN (TCP Fast Open) on the ports of a connection that never closed.
func TestPayloadOfASYNOnPortsUsedAgain(t *testing.T) {
	const isn, other = 9_000_000, 8_000_000
	n := uint32(len(get))
	first := conversation(step{4e6, cl, sv, ack, 101, 501, get, 0, 4}, step{5e6, sv, cl, ack, 501, 101 + n, ok, 0, 5})
	stray := step{5.5e6, cl, sv, syn, 7_000_000, 0, "stray", 0, 20}
	for _, tt := range []struct {
		name         string
		answer       step
		rest         []step
		calls, whole int
		odd          int64 // bytes
	}{
		{"accepted", step{7e6, sv, cl, syn | ack, other, isn + 1 + n, "", 0, 7}, nil, 2, 2, 5},
		{"accepted, without the SYN-ACK", step{7e6, sv, cl, ack, other + 1, isn + 1 + n, "", 0, 7}, nil, 2, 2, 5},
		{"sent again", step{7e6, sv, cl, syn | ack, other, isn + 1, "", 0, 7}, []step{{7.5e6, cl, sv, ack, isn + 1, other + 1, get, 0, 8}}, 2, 2, 5 + int64(n)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			steps := append([]step{stray, {6e6, cl, sv, syn, isn, 0, get, 0, 6}, tt.answer}, tt.rest...)
			steps = append(steps, step{8e6, sv, cl, ack, other + 1, isn + 1 + n, ok, 0, 9})
			out, _ := playPackets(t, append(slices.Clone(first), packetsOf(steps...)...))
			whole, odd := 0, int64(0)
			for _, c := range out.Calls {
				if c.Row.Base().Complete {
					whole++
				}
			}
			for i := range out.Flows {
				odd += out.Flows[i].Row.AnomalyBytes
			}
			if len(out.Calls) != tt.calls || whole != tt.whole || odd != tt.odd+int64(n) {
				t.Errorf("%d calls, %d whole, %d odd bytes; anomalies %q", len(out.Calls), whole, odd, kinds(out))
			}
		})
	}
}

// TestSYNACKBeforeItsSYN captures the handshake of a connection on the ports of an open one in another order, as
// two queues of a network adapter do.
func TestSYNACKBeforeItsSYN(t *testing.T) {
	const isn, other = 10_000_000, 20_000_000
	asked := uint32(len(get))
	for _, tt := range []struct {
		name         string
		ack          uint32 // of the SYN-ACK
		calls, whole int
	}{{"its own SYN", isn + 1, 2, 2}, {"another SYN", isn + 5, 3, 1}} {
		t.Run(tt.name, func(t *testing.T) {
			steps := []step{{4e6, cl, sv, ack, 101, 501, get, 0, 4}, {5e6, sv, cl, ack, 501, 101 + asked, ok, 0, 5},
				{6e6, sv, cl, syn | ack, other, tt.ack, "", 0, 6}, {6.01e6, cl, sv, syn, isn, 0, "", 0, 7}, {6.02e6, cl, sv, ack, isn + 1, other + 1, "", 0, 8},
				{7e6, cl, sv, ack, isn + 1, other + 1, get, 0, 9}, {8e6, sv, cl, ack, other + 1, isn + 1 + asked, ok, 0, 10}}
			out, _ := playPackets(t, conversation(steps...))
			whole := 0
			for _, c := range out.Calls {
				if c.Row.Base().Complete {
					whole++
				}
			}
			if len(out.Conns) != 2 || len(out.Calls) != tt.calls || whole != tt.whole {
				t.Errorf("%d connections, %d calls, %d whole; anomalies %q", len(out.Conns), len(out.Calls), whole, kinds(out))
			}
		})
	}
}

// TestForgedHandshakesLeaveTheOpenConnection plays whole handshakes with other numbers on the ports of a connection,
// which continues.
func TestForgedHandshakesLeaveTheOpenConnection(t *testing.T) {
	for _, n := range []uint32{1, 6} {
		steps := []step{{4e6, cl, sv, ack, 101, 501, get[:4], 0, 4}}
		for i := range n {
			at, isn := 5e6+int64(i)*1e5, 10_000_000*(i+1)
			steps = append(steps, step{at, cl, sv, syn, isn, 0, "", 0, 10 + 3*i}, step{at + 1e4, sv, cl, syn | ack, isn + 5e6, isn + 1, "", 0, 11 + 3*i},
				step{at + 2e4, cl, sv, ack, isn + 1, isn + 5e6 + 1, "", 0, 12 + 3*i})
		}
		last := 10_000_000 * n
		steps = append(steps, step{6e6, cl, sv, ack, 105, 501, get[4:], 0, 5}, step{6.5e6, cl, sv, ack, last + 1, last + 5e6 + 1, get, 0, 90},
			step{7e6, sv, cl, ack, 501, 101 + uint32(len(get)), ok, 0, 6}, step{8e6, cl, sv, fin, 101 + uint32(len(get)), 501 + uint32(len(ok)), "", 0, 7},
			step{8.1e6, sv, cl, fin, 501 + uint32(len(ok)), 102 + uint32(len(get)), "", 0, 8})
		out, _ := playPackets(t, conversation(steps...))
		whole := 0
		for _, c := range out.Calls {
			if c.Row.Base().Complete {
				whole++
			}
		}
		shared := map[ID]bool{}
		for _, a := range out.Anomalies {
			if a.Row.Kind == "ports_shared" {
				shared[a.Flow] = true
			}
		}
		if len(out.Calls) != 2 || whole != 1 || len(shared) != 2 || len(out.Conns) != int(n)+1 {
			t.Errorf("%d handshakes: %d calls, %d whole, %d connections, %d with an anomaly", n, len(out.Calls), whole, len(out.Conns), len(shared))
		}
	}
}

func TestPayloadOfACopiedResetIsCountedOnce(t *testing.T) {
	reset := step{4e6, sv, cl, 0x4 | ack, 501, 101, "stop", 0, 4}
	again := reset
	again.at += 1000
	_, f := playPackets(t, conversation(reset, again))
	if told := f.Row.CutBytes + f.Row.RowBytes + f.Row.AnomalyBytes + f.Row.DuplicateBytes; told != 8 || f.Row.SrcPayloadBytes+f.Row.DstPayloadBytes != 8 {
		t.Errorf("%d bytes are accounted for, want 8 of 8", told)
	}
}

// TestByteOfAKeepAliveBeginsNoMessage has one byte alone at the beginning of a capture, before a request: it is part of the
// request only if that has a known method with it.
func TestByteOfAKeepAliveBeginsNoMessage(t *testing.T) {
	for _, tt := range []struct{ first, rest, method string }{{"Z", get, "GET"}, {"P", "OST" + get[3:], "POST"}, {"P", "UT" + get[3:], "PUT"}} {
		n := 101 + uint32(len(tt.rest))
		out, _ := playPackets(t, packetsOf(step{1e6, cl, sv, ack, 100, 501, tt.first, 0, 1}, step{2e6, sv, cl, ack, 501, 101, "", 0, 2},
			step{3e6, cl, sv, ack, 101, 501, tt.rest, 0, 3}, step{4e6, sv, cl, ack, 501, n, ok, 0, 4}))
		var methods []string
		for _, c := range out.Calls {
			if b := c.Row.Base(); b.Protocol == "http1" && b.Complete {
				methods = append(methods, b.Method.V)
			}
		}
		if !slices.Equal(methods, []string{tt.method}) {
			t.Errorf("%q before %.6q: methods %q", tt.first, tt.rest, methods)
		}
	}
}
