package proof

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/internal/flow"
	"github.com/pcapsule/pcapsule/exporter/internal/memory"
	"github.com/pcapsule/pcapsule/exporter/internal/round"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// TestViewsInNetworks has SYN-ACKs in other networks than their SYNs, and those of other tenants with
// the same addresses.
func TestViewsInNetworks(t *testing.T) {
	const syn, synAck, data = decode.SYN, decode.SYN | decode.ACK, decode.ACK | 8 // PSH
	const client, service, pod = "10.0.0.1:50000", "10.96.0.1:80", "10.244.0.7:8080"
	const second = int64(1e9)
	type step struct {
		at       int64
		src, dst string
		network  uint64
		flags    uint16
		seq, ack uint32
		view     bool
	}
	for _, tt := range []struct {
		name  string
		steps []step
	}{
		{"the answer to a translated SYN comes in another network", []step{
			{0, client, service, 0, syn, 100, 0, false}, {1, client, pod, 5, syn, 100, 0, true},
			{2, pod, client, 6, synAck, 500, 101, true}, {3, service, client, 0, synAck, 500, 101, false},
		}},
		{"a SYN-ACK of another tenant answers another SYN", []step{
			{0, client, service, 0, syn, 100, 0, false}, {1, client, pod, 5, syn, 100, 0, true},
			{2, pod, client, 6, synAck, 500, 777, false}, {3, pod, client, 5, synAck, 500, 101, true},
		}},
		{"ports used again, without a translation: the answer's network is that of the new connection", []step{
			{0, client, service, 0, syn, 100, 0, false}, {1, client, pod, 5, syn, 100, 0, true},
			{2, pod, client, 6, synAck, 500, 101, true}, {3, service, client, 0, synAck, 500, 101, false},
			{2 * second, client, pod, 5, syn, 900, 0, false}, {2*second + 1, pod, client, 6, synAck, 700, 901, false},
		}},
		{"ports used again: after the answer in another network, the client ends the search for the new SYN", []step{
			{0, client, service, 5, syn, 100, 0, false}, {1, service, client, 6, synAck, 500, 101, false},
			{2 * second, client, service, 5, syn, 900, 0, false}, {2*second + 1, service, client, 6, synAck, 700, 901, false},
			{2*second + 2, client, service, 5, decode.ACK, 901, 701, false}, {2*second + 3, client, pod, 7, syn, 900, 0, false},
		}},
		{"a SYN whose client went on has no other view, though another tenant's had the same numbers", []step{
			{0, client, service, 0, syn, 100, 0, false},
			{2 * second, client, service, 6, syn, 100, 0, false}, {2*second + 1, service, client, 6, synAck, 500, 101, false},
			{2*second + 2, client, service, 6, decode.ACK, 101, 501, false}, {2*second + 3, client, pod, 6, syn, 100, 0, false},
		}},
		{"a SYN and its SYN-ACK before the translated SYN", []step{
			{0, client, service, 0, syn, 100, 0, false}, {1, pod, client, 0, synAck, 500, 101, false}, {2, service, client, 0, synAck, 500, 101, false},
			{3, client, pod, 0, syn, 100, 0, true}, {4, client, pod, 0, decode.ACK, 101, 501, true},
		}},
		{"the same numbers, but another answer before the SYN", []step{
			{0, client, service, 0, syn, 100, 0, false}, {1, pod, client, 0, synAck, 600, 101, false}, {2, service, client, 0, synAck, 500, 101, false},
			{3, client, pod, 0, syn, 100, 0, false}, {4, client, pod, 0, decode.ACK, 101, 601, false},
		}},
		{"a forged SYN-ACK after that of the pod", []step{
			{0, client, service, 0, syn, 100, 0, false}, {1, client, pod, 0, syn, 100, 0, true}, {2, pod, client, 0, synAck, 500, 101, true},
			{3, service, client, 0, synAck, 900, 101, false}, {4, service, client, 0, synAck, 500, 101, false},
			{5, client, service, 0, decode.ACK, 101, 501, false}, {6, client, pod, 0, decode.ACK, 101, 501, true}, {7, pod, client, 0, data, 501, 101, true},
		}},
		{"a forged SYN-ACK before that of the pod", []step{
			{0, client, service, 0, syn, 100, 0, false}, {1, client, pod, 0, syn, 100, 0, true}, {2, service, client, 0, synAck, 900, 101, false},
			{3, pod, client, 0, synAck, 500, 101, false}, {4, service, client, 0, synAck, 500, 101, false},
			{5, client, service, 0, decode.ACK, 101, 501, false}, {6, client, pod, 0, decode.ACK, 101, 501, true}, {7, pod, client, 0, data, 501, 101, true},
		}},
		{"a forged SYN-ACK as that of the pod", []step{
			{0, client, service, 0, syn, 100, 0, false}, {1, client, pod, 0, syn, 100, 0, true}, {2, pod, client, 0, synAck, 900, 101, true},
			{3, pod, client, 0, synAck, 500, 101, true}, {4, service, client, 0, synAck, 500, 101, false},
			{5, client, service, 0, decode.ACK, 101, 501, false}, {6, client, pod, 0, decode.ACK, 101, 501, true}, {7, pod, client, 0, data, 501, 101, true},
		}},
		{"a copied SYN, whose answer is forged in the first connection", []step{
			{0, client, service, 0, syn, 100, 0, false}, {1, client, pod, 0, syn, 100, 0, true}, {2, service, client, 0, synAck, 500, 101, false},
			{3, pod, client, 0, synAck, 900, 101, false}, {4, service, client, 0, synAck, 900, 101, false},
			{5, client, service, 0, decode.ACK, 101, 501, false}, {6, client, pod, 0, decode.ACK, 101, 901, false}, {7, pod, client, 0, data, 901, 101, false},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var v views
			for i, s := range tt.steps {
				src, dst := endOf(netip.MustParseAddrPort(s.src)), endOf(netip.MustParseAddrPort(s.dst))
				flags, size := s.flags, int32(0)
				if flags == data {
					flags, size = decode.ACK, 10
				}
				f := &flow.Packet{
					Capture: flow.Capture{Time: s.at},
					IP:      flow.IP{Proto: protoTCP, Network: s.network, Src: src.Addr, Dst: dst.Addr},
					Segment: flow.Segment{PayloadLen: size, SrcPort: src.Port, DstPort: dst.Port, TCPFlags: flags, Seq: s.seq, Ack: s.ack, HasTS: true, TSVal: 9},
				}
				if got := v.find(f, 0, 0, spot{}); (got != nil) != s.view {
					t.Errorf("packet %d: view %v, want one: %v", i, got, s.view)
				}
			}
		})
	}
}

// TestStraySYNsKeepViews has SYNs and SYN-ACKs at the ends of a view, which change nothing until they
// are answered (RFC 5961 section 4).
func TestStraySYNsKeepViews(t *testing.T) {
	const syn, synAck, ack, fin = decode.SYN, decode.SYN | decode.ACK, decode.ACK, decode.FIN | decode.ACK
	const client, service, pod = "10.0.0.1:50000", "10.96.0.1:80", "10.244.0.7:8080"
	type step struct {
		src, dst string
		flags    uint16
		seq, ack uint32
		view     bool
	}
	open := []step{{client, service, syn, 100, 0, false}, {client, pod, syn, 100, 0, true}, {pod, client, synAck, 500, 101, true},
		{service, client, synAck, 500, 101, false}, {client, service, ack, 101, 501, false}, {client, pod, ack, 101, 501, true}}
	for _, tt := range []struct {
		name  string
		steps []step
	}{
		{"a SYN of the client", []step{{client, pod, syn, 9000, 0, false}, {client, pod, ack, 101, 501, true}}},
		{"a SYN of the server, at both places", []step{{pod, client, syn, 9000, 0, false}, {service, client, syn, 9000, 0, false}, {pod, client, ack, 501, 101, true},
			{service, client, ack, 501, 101, false}}},
		{"a SYN of the client, at both places", []step{{client, service, syn, 9000, 0, false}, {client, pod, syn, 9000, 0, true}, {client, pod, ack, 101, 501, true}}},
		{"a SYN-ACK", []step{{pod, client, synAck, 500, 102, true}, {client, pod, ack, 101, 501, true}}},
		{"its own SYN, shown again", []step{{client, pod, syn, 100, 0, true}, {pod, client, synAck, 500, 101, true}, {client, pod, ack, 101, 501, true}}},
		{"a SYN that is answered", []step{{client, pod, syn, 9000, 0, false}, {pod, client, synAck, 700, 9001, false}, {client, pod, ack, 9001, 701, false}}},
		{"a SYN whose client continues, in a capture of one side", []step{{client, pod, syn, 9000, 0, false}, {client, pod, ack, 9001, 701, false}}},
		{"a SYN that is answered at both places", []step{{client, service, syn, 9000, 0, false}, {client, pod, syn, 9000, 0, true}, {pod, client, synAck, 700, 9001, true},
			{service, client, synAck, 700, 9001, false}, {client, pod, ack, 9001, 701, true}}},
		{"a SYN after the end", []step{{client, pod, fin, 101, 501, true}, {pod, client, fin, 501, 102, true}, {client, pod, syn, 9_000_000, 0, false},
			{client, pod, ack, 101, 501, true}, {client, pod, ack, 9_000_100, 701, false}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var v views
			for i, s := range slices.Concat(open, tt.steps) {
				src, dst := endOf(netip.MustParseAddrPort(s.src)), endOf(netip.MustParseAddrPort(s.dst))
				f := &flow.Packet{
					Capture: flow.Capture{Time: int64(i)},
					IP:      flow.IP{Proto: protoTCP, Src: src.Addr, Dst: dst.Addr},
					Segment: flow.Segment{SrcPort: src.Port, DstPort: dst.Port, TCPFlags: s.flags, Seq: s.seq, Ack: s.ack, HasTS: true, TSVal: 9},
				}
				if got := v.find(f, 0, 0, spot{}); (got != nil) != s.view {
					t.Errorf("packet %d: view %v, want one: %v", i, got, s.view)
				}
			}
		})
	}
}

// TestSYNsOfTranslatorsThatRewriteThem has a SYN whose time stamp or segment size is another one under other ends. Only a
// random number may then show that it is the same SYN, and only in few places: scanners repeat one number on many ports.
func TestSYNsOfTranslatorsThatRewriteThem(t *testing.T) {
	const random, constant = 0x5eed1234, 4711
	type syn struct {
		seq, tsval uint32 // no time stamp if 0
		mss        uint16
		view       bool
	}
	for name, list := range map[string][]syn{
		"another segment size":           {{constant, 9, 1460, false}, {constant, 9, 1380, true}},
		"another time stamp":             {{random, 9, 1460, false}, {random, 900, 1460, true}},
		"no time stamp":                  {{random, 9, 1460, false}, {random, 0, 1380, true}},
		"never a time stamp":             {{random, 0, 1460, false}, {random, 0, 1460, false}},
		"a constant number":              {{constant, 9, 1460, false}, {constant, 900, 1460, false}},
		"a constant one, no time stamp":  {{constant, 9, 1460, false}, {constant, 0, 1460, false}},
		"more ends than translators use": {{random, 9, 1460, false}, {random, 1, 1460, true}, {random, 2, 1460, true}, {random, 3, 1460, true}, {random, 4, 1460, true}, {random, 5, 1460, false}},
	} {
		var v views
		for i, s := range list {
			f := &flow.Packet{
				Capture: flow.Capture{Time: int64(i)},
				IP:      flow.IP{Proto: protoTCP, Src: decode.Addr{1}, Dst: decode.Addr{2, byte(i)}},
				Segment: flow.Segment{SrcPort: 40000, DstPort: uint16(80 + i), TCPFlags: decode.SYN, Seq: s.seq, HasTS: s.tsval != 0, TSVal: s.tsval, MSS: s.mss},
			}
			if got := v.find(f, 0, 0, spot{}); (got != nil) != s.view {
				t.Errorf("%s, SYN %d: view %v, want one: %v", name, i, got, s.view)
			}
		}
	}
}

// TestHeldAnswersExpire has SYN-ACKs from ends that saw no SYN, which nobody acknowledges: they are held for a second, and
// not more of them than the limit.
func TestHeldAnswersExpire(t *testing.T) {
	server, other := endOf(netip.MustParseAddrPort("127.0.0.1:15001")), endOf(netip.MustParseAddrPort("10.96.0.1:80"))
	play := func(j *Judge, r *round.Round, at int64, clients int) {
		for i := range clients {
			client := endOf(netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), uint16(1024+i)))
			for _, p := range []flow.Packet{
				{
					IP:      flow.IP{Src: client.Addr, Dst: server.Addr},
					Segment: flow.Segment{SrcPort: client.Port, DstPort: server.Port, TCPFlags: decode.SYN, Seq: uint32(i) << 12, HasTS: true, TSVal: 7},
				},
				{
					IP:      flow.IP{Src: other.Addr, Dst: client.Addr},
					Segment: flow.Segment{SrcPort: other.Port, DstPort: client.Port, TCPFlags: decode.SYN | decode.ACK, Seq: 900, Ack: uint32(i)<<12 + 1},
				},
			} {
				p.Proto, p.Time = protoTCP, at
				r.Packets = append(r.Packets, p)
				fr := &decode.Frame{Proto: protoTCP, Src: p.Src, Dst: p.Dst, SrcPort: p.SrcPort, DstPort: p.DstPort}
				j.Place(fr, &r.Packets[len(r.Packets)-1], 0, &pcapng.Socket{}, r)
			}
		}
	}
	first, later := &round.Round{}, &round.Round{}
	j := New(memory.Default, Content{})
	play(j, first, 0, 2*maxHalves)
	if n := len(j.views.halves.waiting); n != maxHalves || !j.views.halves.awaits(first) {
		t.Fatalf("%d SYN-ACKs are held, want %d", n, maxHalves)
	}
	play(j, later, synSlack+1, 1)
	if j.views.halves.awaits(first) {
		t.Error("a SYN-ACK is held longer than a second")
	}
}
