package flow

import (
	"fmt"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/decode"
)

func TestTransportHasAName(t *testing.T) {
	for proto, want := range map[uint8]string{1: "icmp", 2: "igmp", 6: "tcp", 17: "udp", 47: "gre", 50: "esp", 58: "icmp", 89: "ospf", 103: "pim", 112: "vrrp",
		132: "sctp", 136: "udplite", 61: "ip_proto_61", 253: "ip_proto_253"} {
		p := step{at: 1, src: "10.0.0.1:0", dst: "10.0.0.2:0", text: "something"}.packet(0)
		p.Proto = proto
		out := shown(t, []placed{{p, 1}})
		if got := out.Flows[0].Row.Transport; got != want {
			t.Errorf("protocol %d: flows.transport %q, want %q", proto, got, want)
		}
		if got := out.Conns[0].Row.Transport; got != want {
			t.Errorf("protocol %d: connections.transport %q, want %q", proto, got, want)
		}
		for _, c := range out.Calls {
			if got := c.Row.Base().Transport; got != want {
				t.Errorf("protocol %d: calls.transport %q, want %q", proto, got, want)
			}
		}
	}
}

// A capture with a snap length of 38 has of each TCP header the ports alone, of a later
// one the numbers too. They belong to the conversation and end or open nothing.
func TestHeaderCutBehindThePortsIsCounted(t *testing.T) {
	steps := exchange(1000, 0, 1)
	cut := step{at: 1055, src: sv, dst: cl, flags: 0, seq: 0, ipid: 9}.packet(0)
	cut.Proto, cut.Problems, cut.IPLen = protoTCP, decode.Truncated|decode.HeaderCut, 1040
	var list []placed
	for _, st := range steps {
		list = append(list, placed{st.packet(0), st.at})
	}
	alone := cut
	alone.Src, alone.SrcPort = addr("10.0.0.9:443")
	out := shown(t, list, []placed{{cut, 1055}}, []placed{{alone, 1100}})
	if len(out.Conns) != 2 || len(out.Flows) != 2 || len(out.Calls) != 1 || !out.Calls[0].Row.Base().Complete {
		t.Fatalf("%d connections, %d flows, %d calls", len(out.Conns), len(out.Flows), len(out.Calls))
	}
	for _, f := range out.Flows {
		r := f.Row
		want := int64(8)
		if r.SrcPort == 443 || r.DstPort == 443 {
			want = 1
		}
		if n := r.SrcPackets + r.DstPackets; n != want || r.SnapCuts != 1 || r.Retransmissions != 0 {
			t.Errorf("%d packets, want %d; %d snap cuts, %d retransmissions", n, want, r.SnapCuts, r.Retransmissions)
		}
	}
}

func TestDatagramCountsItsFragments(t *testing.T) {
	list := lookup(1, "a", 0, 0, 0, 1000)
	list[1].Pieces = decode.Pieces{Packets: 3, Bytes: 3100, First: 1020}
	list[1].FragNos = []int64{7, 8, 9}
	list[0].Pieces = decode.Pieces{Packets: 2, Bytes: 1600, First: 900}
	out := shown(t, list)
	r := out.Flows[0].Row
	if r.SrcPackets != 2 || r.DstPackets != 3 || r.SrcBytes != 1600 || r.DstBytes != 3100 || r.FirstNs != 900 || out.Conns[0].Row.FirstNs != 900 {
		t.Errorf("%d and %d packets, %d and %d bytes, from %d", r.SrcPackets, r.DstPackets, r.SrcBytes, r.DstBytes, r.FirstNs)
	}
}

// An answer of which one fragment is missing is a gap, not a question without an answer.
func TestMissingFragmentIsAGap(t *testing.T) {
	list := lookup(1, "a", 0, 0, 0, 1000)
	list[1].Pieces = decode.Pieces{Packets: 2, Bytes: 1600, First: 1100}
	list[1].Problems = decode.FragmentMissing
	list[1].Payload = list[1].Payload[:len(list[1].Payload)-10]
	out := shown(t, list)
	if len(out.Calls) != 1 {
		t.Fatalf("%d calls", len(out.Calls))
	}
	c, r := out.Calls[0].Row.Base(), out.Flows[0].Row
	if c.Complete || c.Error.V == "no_response" || r.GapBytes != 10 || r.SnapCuts != 0 {
		t.Errorf("complete %t, error %q, %d gap bytes, %d snap cuts", c.Complete, c.Error.V, r.GapBytes, r.SnapCuts)
	}
	if len(out.Anomalies) == 0 || out.Anomalies[0].Row.Kind != "fragments_missing" || out.Anomalies[0].Flow == 0 || out.Anomalies[0].Row.PacketNo.V != 1 {
		t.Errorf("anomalies %+v", out.Anomalies)
	}
}

// TestDatagramsSeenTwiceAreCountedOnce shows 3,000 questions of one conversation on two
// interfaces, the second one half a second later.
func TestDatagramsSeenTwiceAreCountedOnce(t *testing.T) {
	const n = 3000
	var steps []step
	for i := range n {
		steps = append(steps, step{at: int64(i) * 100e3, src: "10.0.0.1:5000", dst: "10.0.0.2:9999", text: fmt.Sprintf("question %d", i), link: 0, ipid: uint32(i)})
	}
	for _, s := range steps[:n:n] {
		s.at, s.link = s.at+500e6, 1
		steps = append(steps, s)
	}
	out := play(t, steps...)
	var sightings int64
	for _, f := range out.Flows {
		sightings += f.Row.Sightings
	}
	if len(out.Conns) != 1 || len(out.Flows) != 2 || sightings != n {
		t.Errorf("%d connections, %d flows, %d sightings; want 1, 2 and %d", len(out.Conns), len(out.Flows), sightings, n)
	}
}
