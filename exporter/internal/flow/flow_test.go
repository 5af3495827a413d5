package flow

import (
	"net/netip"
	"runtime"
	"slices"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dns"
	"github.com/pcapsule/pcapsule/exporter/dissect/http1"
	"github.com/pcapsule/pcapsule/exporter/dissect/icmp"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// step is one TCP segment or, with flags 0, a datagram.
type step struct {
	at       int64 // ns
	src, dst string
	flags    uint16
	seq, ack uint32
	text     string
	link     int32
	ipid     uint32
}

func addr(s string) (decode.Addr, uint16) {
	a := netip.MustParseAddrPort(s)
	return decode.Addr(a.Addr().As16()), a.Port()
}

func (s step) packet(no int) Packet {
	p := Packet{
		Capture: Capture{No: int64(no), Time: s.at, Interface: s.link},
		IP:      IP{Kind: decode.KindIP, Version: 4, VLAN: -1, IPID: s.ipid, Proto: protoTCP},
		Segment: Segment{L4: true, WScale: -1, TCPFlags: s.flags, Seq: s.seq, Ack: s.ack, Window: 8192, PayloadLen: int32(len(s.text))},
		Payload: []byte(s.text),
	}
	if s.flags == 0 {
		p.Proto = protoUDP
	}
	p.Src, p.SrcPort = addr(s.src)
	p.Dst, p.DstPort = addr(s.dst)
	return p
}

// play runs packets through one shard and closes it.
func play(t *testing.T, steps ...step) *Batch {
	t.Helper()
	s := NewShard(0, Options{Protocols: func() []*dissect.Protocol { return []*dissect.Protocol{http1.Protocol()} }, Repanic: true})
	out := &Batch{}
	var packets []Packet
	var mine []int32
	for i, st := range steps {
		packets = append(packets, st.packet(i))
		mine = append(mine, int32(i))
	}
	s.Run(packets, mine, out)
	for s.Open() > 0 {
		s.Close(dissect.Packet{No: int64(len(steps))}, out)
	}
	if s.Held() != 0 || s.count != 0 {
		t.Errorf("%d bytes and %d connections held after the end", s.Held(), s.count)
	}
	return out
}

const (
	cl, sv = "10.0.0.1:40000", "10.0.0.2:80"
	syn    = decode.SYN
	ack    = decode.ACK
	fin    = decode.FIN | decode.ACK
	rst    = decode.RST | decode.ACK
	get    = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	ok     = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
)

// exchange is a connection with one call, from SYN to FIN.
func exchange(at int64, link int32, id uint32) []step {
	return []step{
		{at, cl, sv, syn, 100, 0, "", link, id}, {at + 10, sv, cl, syn | ack, 500, 101, "", link, id + 50},
		{at + 20, cl, sv, ack, 101, 501, "", link, id + 1}, {at + 30, cl, sv, ack, 101, 501, get, link, id + 2},
		{at + 40, sv, cl, ack, 501, 101 + uint32(len(get)), ok, link, id + 51},
		{at + 50, cl, sv, fin, 101 + uint32(len(get)), 501 + uint32(len(ok)), "", link, id + 3},
		{at + 60, sv, cl, fin, 501 + uint32(len(ok)), 102 + uint32(len(get)), "", link, id + 52},
	}
}

func TestOneTimeFarAheadDoesNotCutLaterConversations(t *testing.T) {
	steps := []step{{at: 1e9, src: "10.9.9.9:1", dst: "10.9.9.8:2", text: "x"}, {at: 2e18, src: "10.9.9.9:1", dst: "10.9.9.8:2", text: "clock gone mad"}}
	steps = append(steps, exchange(2e9, 0, 1)...)
	out := play(t, steps...)
	tcp := 0
	for _, c := range out.Conns {
		if c.Row.Transport == "tcp" {
			tcp++
		}
	}
	if tcp != 1 {
		t.Errorf("%d TCP connections, want 1", tcp)
	}
}

func TestConnectionSeenTwiceIsDissectedOnce(t *testing.T) {
	a, b := exchange(1000, 0, 1), exchange(1003, 1, 1)
	var both []step
	for i := range a {
		both = append(both, a[i], b[i])
	}
	out := play(t, both...)
	if len(out.Conns) != 1 || len(out.Flows) != 2 || len(out.Calls) != 1 {
		t.Fatalf("%d connections, %d flows, %d calls; want 1, 2, 1", len(out.Conns), len(out.Flows), len(out.Calls))
	}
	for _, f := range out.Flows {
		if f.Row.Retransmissions != 0 || f.Row.State.V != "closed" {
			t.Errorf("flow %+v", f.Row)
		}
	}
	x, y := out.Flows[0].Row, out.Flows[1].Row
	in := x.SrcPayloadBytes + x.DstPayloadBytes + y.SrcPayloadBytes + y.DstPayloadBytes
	if n := x.RowBytes + x.DuplicateBytes + y.DuplicateBytes; n != in {
		t.Errorf("%d of %d bytes accounted for", n, in)
	}
}

// TestInterfacesBeyondTheLimitShareAFlow: a connection has at most 16 flows. What other interfaces show is counted in the last.
func TestInterfacesBeyondTheLimitShareAFlow(t *testing.T) {
	const links = 21
	var all []step
	for _, x := range exchange(1000, 0, 1) {
		for link := range int32(links) {
			x.link, x.at = link, x.at+1
			all = append(all, x)
		}
	}
	out := play(t, all...)
	packets := int64(0)
	for _, f := range out.Flows {
		packets += f.Row.SrcPackets + f.Row.DstPackets
	}
	if len(out.Conns) != 1 || len(out.Calls) != 1 || len(out.Flows) != 16 || packets != int64(len(all)) {
		t.Errorf("%d connections, %d calls, %d flows with %d packets; want 1, 1, 16 with %d", len(out.Conns), len(out.Calls), len(out.Flows), packets, len(all))
	}
}

func TestCopiesOnOneInterfaceAreSightings(t *testing.T) {
	var twice []step
	for _, s := range exchange(1000, 0, 7) {
		twice = append(twice, s, s)
	}
	f := play(t, twice...).Flows[0].Row
	if f.Sightings != 7 || f.Retransmissions != 0 {
		t.Errorf("%d sightings and %d retransmissions, want 7 and 0", f.Sightings, f.Retransmissions)
	}
}

// TestCopiesWithoutMarks has packets again that have neither an IP identification nor a time stamp.
func TestCopiesWithoutMarks(t *testing.T) {
	for _, tt := range []struct {
		later     int64
		sightings int64
		sentAgain int64
		udp       []string
	}{{5e3, 6, 0, []string{"equal_datagrams"}}, {5e6, 0, 6, nil}} {
		var twice []step
		for i, s := range exchange(1000, 0, 0) {
			s.at, s.ipid = int64(i+1)*10e6, 0
			copy := s
			copy.at += tt.later
			twice = append(twice, s, copy)
		}
		f := play(t, twice...).Flows[0].Row
		if f.Sightings != tt.sightings || f.Retransmissions != tt.sentAgain {
			t.Errorf("%d ns later: %d sightings and %d retransmissions, want %d and %d", tt.later, f.Sightings, f.Retransmissions, tt.sightings, tt.sentAgain)
		}
		q := lookup(1, "a", 0, 0, 0, 1000)[0]
		q.IPID = 0
		again := q
		again.Packet.Time, again.at = q.Time+tt.later, q.at+tt.later
		if got := kinds(shown(t, []placed{q, again})); !slices.Equal(got, tt.udp) {
			t.Errorf("equal datagrams %d ns apart: anomalies %q, want %q", tt.later, got, tt.udp)
		}
		q.TTL, again.TTL = 64, 63 // behind a router
		if b := shown(t, []placed{q, again}); len(kinds(b)) > 0 || b.Flows[0].Row.Sightings != 1 {
			t.Errorf("equal datagrams %d ns apart, before and after a router: anomalies %q, %d sightings, want none and 1", tt.later, kinds(b), b.Flows[0].Row.Sightings)
		}
	}
}

// TestAnswerToARepetition has a question again, and its equal answer from another distance.
func TestAnswerToARepetition(t *testing.T) {
	first, second := lookup(1, "a", 0, 0, 0, 1000), lookup(1, "a", 0, 0, 0, 1_001_000)
	for _, list := range [][]placed{first, second} {
		for i := range list {
			list[i].IPID, list[i].TTL = 0, 64
		}
	}
	second[1].TTL = 255
	if b := shown(t, first, second); len(b.Calls) != 2 || !slices.Equal(kinds(b), []string{"equal_datagrams"}) {
		t.Errorf("%d calls, anomalies %q", len(b.Calls), kinds(b))
	}
	second[0].TTL = 255 // now a copy
	if b := shown(t, first, second); len(b.Calls) != 1 || len(kinds(b)) > 0 {
		t.Errorf("both are copies: %d calls, anomalies %q", len(b.Calls), kinds(b))
	}
}

// TestCopiesThatAreCut has a lookup on two interfaces, one of which has a smaller snap length.
func TestCopiesThatAreCut(t *testing.T) {
	for _, tt := range []struct {
		name     string
		cut, all int64 // when each shows it
		calls    int
		kinds    []string
	}{
		{"cut later", 2000, 1000, 1, []string{"cut_copy", "cut_copy"}},
		{"cut before", 1000, 2000, 2, []string{"cut_copy", "cut_copy"}},
	} {
		cut := lookup(1, "a", 0, 0, 0, tt.cut)
		for i := range cut {
			cut[i].Payload = cut[i].Payload[:8]
		}
		out := shown(t, cut, lookup(1, "a", 0, 0, 1, tt.all))
		if got := kinds(out); len(out.Calls) != tt.calls || !slices.Equal(got, tt.kinds) {
			t.Errorf("%s: %d calls, want %d; anomalies %q, want %q", tt.name, len(out.Calls), tt.calls, got, tt.kinds)
		}
	}
}

// A clock that goes back leaves no time from question to answer.
func TestTimesThatGoBackGiveNoDuration(t *testing.T) {
	steps := exchange(1000, 0, 7)
	for i := range steps {
		steps[i].at = int64(len(steps)-i) * 1e6
	}
	if c := play(t, steps...).Calls[0].Row.Base(); !c.Complete || c.ElapsedUs.OK || c.TTFBUs.OK || c.WaitUs.OK {
		t.Errorf("complete %t, elapsed_us %v, ttfb_us %v, wait_us %v", c.Complete, c.ElapsedUs, c.TTFBUs, c.WaitUs)
	}
}

// The rest of a request whose start was lost is not a request, even after a handshake.
func TestRestOfARequestIsNoRequest(t *testing.T) {
	steps := exchange(1000, 0, 7)
	for i := range steps {
		if s := &steps[i]; s.text == get {
			s.seq, s.text = s.seq+6, get[6:]
		}
	}
	if c := play(t, steps...).Calls[0].Row.Base(); c.Complete || c.Error.V != "no_request" {
		t.Errorf("complete %t, error %q: %s", c.Complete, c.Error.V, c.Summary)
	}
}

// TestOneNumberForAllConnections plays conversations with the same ports and sequence numbers.
func TestOneNumberForAllConnections(t *testing.T) {
	var steps []step
	for i := range 3 {
		steps = append(steps, exchange(int64(i+1)*1e9, 0, uint32(100*i+1))...)
	}
	if out := play(t, steps...); len(out.Conns) != 3 || len(out.Calls) != 3 || len(out.Anomalies) != 0 {
		t.Errorf("%d connections, %d calls, %d anomalies; want 3, 3 and none", len(out.Conns), len(out.Calls), len(out.Anomalies))
	}
}

func TestSegmentSentAgainIsARetransmission(t *testing.T) {
	s := exchange(1000, 0, 7)
	again := s[3]
	again.ipid, again.at = 99, s[3].at+300e6
	steps := append(append([]step{}, s[:4]...), again)
	f := play(t, steps...).Flows[0].Row
	if f.Sightings != 0 || f.Retransmissions != 1 || f.DuplicateBytes != int64(len(get)) {
		t.Errorf("%d sightings, %d retransmissions, %d duplicate bytes; want 0, 1, %d", f.Sightings, f.Retransmissions, f.DuplicateBytes, len(get))
	}
}

func TestResetPayloadIsAnAnomaly(t *testing.T) {
	s := append(exchange(1000, 0, 7)[:3], step{1040, sv, cl, rst, 501, 101, "go away", 0, 90})
	out := play(t, s...)
	if f := out.Flows[0].Row; f.AnomalyBytes != 7 || f.CloseReason != "reset" {
		t.Errorf("%d anomaly bytes, closed by %s; want 7, reset", f.AnomalyBytes, f.CloseReason)
	}
	if len(out.Anomalies) != 1 || out.Anomalies[0].Row.Kind != "reset_payload" {
		t.Errorf("anomalies %v", out.Anomalies)
	}
}

// TestOneDirection captures only what the client sends: its acknowledgement shows that the server accepted it.
func TestOneDirection(t *testing.T) {
	whole := exchange(1000, 0, 7)
	for _, tt := range []struct {
		want  string
		steps []step
	}{
		{"syn_sent", whole[:1]},
		{"established", []step{whole[0], whole[2]}},
		{"established", []step{whole[0], whole[3]}}, // the request acknowledges
	} {
		if f := play(t, tt.steps...).Flows[0].Row; f.State.V != tt.want || !f.OneSided {
			t.Errorf("%d packets: state %s, one-sided %t; want %s", len(tt.steps), f.State.V, f.OneSided, tt.want)
		}
	}
}

// TestCallsOfOneDirection has a request whose answer was not captured: no end of the connection shows that there was none.
func TestCallsOfOneDirection(t *testing.T) {
	whole := exchange(1000, 0, 7)
	request, later := whole[3], step{at: 3 * int64(tcpIdle), src: "10.9.9.9:1", dst: "10.9.9.8:2", text: "x"}
	reset := step{request.at + 10, cl, sv, rst, request.seq + uint32(len(get)), request.ack, "", 0, 9}
	again := step{request.at + 20, cl, sv, syn, 99_000, 0, "", 0, 10}
	for name, steps := range map[string][]step{
		"end of the capture": {request},
		"silence":            {request, later},
		"silence after SYN":  {whole[0], request, later},
		"FIN":                {request, whole[5], later},
		"RST":                {request, reset},
		"another connection": {whole[0], request, again},
	} {
		out := play(t, steps...)
		if len(out.Calls) == 0 || out.Calls[0].Row.Base().Outcome != table.Cut || out.Calls[0].Row.Base().Failed {
			t.Errorf("%s: %+v", name, out.Calls)
		}
	}
	answered := []step{whole[0], whole[1], request, {request.at + 10, sv, cl, ack, 501, 101 + uint32(len(get)), "", 0, 60}, later}
	if out := play(t, answered...); out.Calls[0].Row.Base().Outcome != table.NoAnswer {
		t.Errorf("a request that the server acknowledged, without an answer: %+v", out.Calls[0].Row)
	}
}

func TestCompleteness(t *testing.T) {
	whole := exchange(1000, 0, 7)
	for _, tt := range []struct {
		name  string
		steps []step
		want  int32
	}{
		{"whole", whole, 31},
		{"a handshake alone", whole[:3], 7},
		{"no SYN", whole[2:], 28},
		{"refused", []step{whole[0], {1010, sv, cl, rst, 0, 101, "", 0, 60}}, 37},
		{"nothing but data with ACK", whole[3:5], 8},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := play(t, tt.steps...).Flows[0].Row.Completeness.V; got != tt.want {
				t.Errorf("completeness %d, want %d", got, tt.want)
			}
		})
	}
}

func TestFloodOfSYNsLeavesBusyConnections(t *testing.T) {
	steps := exchange(1000, 0, 7)[:4]
	for i := range 5 * defaultRoom / connCost {
		src := netip.AddrPortFrom(netip.AddrFrom4([4]byte{11, 0, byte(i >> 8), byte(i)}), 1000).String()
		steps = append(steps, step{2000 + int64(i), src, sv, syn, uint32(i), 0, "", 0, 1})
	}
	steps = append(steps, exchange(1e6, 0, 7)[4:]...)
	out := play(t, steps...)
	if len(out.Calls) != 1 || !out.Calls[0].Row.Base().Complete {
		t.Errorf("%d calls, want 1 that is whole", len(out.Calls))
	}
}

// TestConnectionsThatHaveEndedWaitInAQuarter ends many connections within the time for which they wait for late packets.
func TestConnectionsThatHaveEndedWaitInAQuarter(t *testing.T) {
	s := NewShard(0, Options{Protocols: func() []*dissect.Protocol { return []*dissect.Protocol{http1.Protocol()} }, Repanic: true})
	out, mine, n := &Batch{}, []int32{0}, defaultRoom/connCost
	for i := range n {
		for k, p := range exchange(int64(1000+i), 0, 7) {
			if p.src != sv {
				p.src = netip.AddrPortFrom(netip.AddrFrom4([4]byte{11, 0, byte(i >> 8), byte(i)}), 1000).String()
			} else {
				p.dst = netip.AddrPortFrom(netip.AddrFrom4([4]byte{11, 0, byte(i >> 8), byte(i)}), 1000).String()
			}
			s.Run([]Packet{p.packet(10*i + k)}, mine, out)
		}
		if held := s.Held(); held > defaultRoom/2 { // with the history of streams
			t.Fatalf("connection %d of %d: %d bytes in use, want about a quarter of %d", i, n, held, defaultRoom)
		}
	}
	for _, f := range out.Flows {
		if f.Row.CloseReason != "fin" {
			t.Fatalf("a connection ended by %q", f.Row.CloseReason)
		}
	}
	if len(out.Calls) != n {
		t.Errorf("%d calls, want %d", len(out.Calls), n)
	}
}

// TestWhatMemoryEndsIsAnAnomaly opens more conversations than there is room for: each that ends for it has
// an anomaly.
func TestWhatMemoryEndsIsAnAnomaly(t *testing.T) {
	for _, tt := range []struct {
		name  string
		proto uint8
		flags uint16
		text  string
	}{
		{"a SYN", protoTCP, syn, ""},
		{"a request", protoTCP, ack, get},
		{"a question", protoUDP, 0, "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01"},
		{"a datagram that nobody reads", protoUDP, 0, "\x01"},
		{"a ping", 1, 0, "\x08\x00\xf7\xff\x00\x00\x00\x00"},
		{"another protocol", 99, 0, "\x01"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := NewShard(0, Options{Protocols: func() []*dissect.Protocol {
				return []*dissect.Protocol{http1.Protocol(), dns.Protocol(), icmp.Protocol()}
			}, Repanic: true})
			out, mine := &Batch{}, []int32{0}
			for i := range 2 * defaultRoom / connCost {
				src := netip.AddrPortFrom(netip.AddrFrom4([4]byte{11, 0, byte(i >> 8), byte(i)}), 1000).String()
				p := step{2000 + int64(i), src, sv, tt.flags, 100, 100, tt.text, 0, 1}.packet(i)
				p.Proto = tt.proto
				s.Run([]Packet{p}, mine, out)
			}
			type end struct{ flow, at int64 }
			ended := map[end]int{}
			for _, f := range out.Flows {
				if f.Row.CloseReason == "evicted" {
					ended[end{int64(f.Flow), f.At}]++
				}
			}
			if len(ended) == 0 {
				t.Error("memory ended no conversation")
			}
			for _, a := range out.Anomalies {
				if a.Row.Kind == "evicted" && a.Row.Detail[:24] == "the memory limit closed " {
					ended[end{int64(a.Flow), a.At}]--
				}
			}
			for e, n := range ended {
				if n != 0 {
					t.Fatalf("flow %d, ended at packet %d: %d rows more than anomalies, of %d", e.flow, e.at, n, len(ended))
				}
			}
		})
	}
}

// TestConnectionsAreChargedWhatTheyTake holds what a shard says that idle connections take
// to what the heap grows by.
func TestConnectionsAreChargedWhatTheyTake(t *testing.T) {
	const n = 4000
	for _, tt := range []struct {
		name  string
		steps int // of an exchange
	}{{"a SYN", 1}, {"a handshake", 3}, {"a request without a response", 4}, {"a call", 5}} {
		t.Run(tt.name, func(t *testing.T) {
			s := NewShard(0, Options{Protocols: func() []*dissect.Protocol { return []*dissect.Protocol{http1.Protocol()} }, Repanic: true})
			s.SetBudget(1 << 30)
			before := heap()
			packets, out := make([]Packet, 1), &Batch{}
			for i := range n {
				for _, st := range exchange(int64(i)*1e6, 0, 7)[:tt.steps] {
					packets[0] = st.packet(0)
					end := &packets[0].SrcPort
					if st.src == sv {
						end = &packets[0].DstPort
					}
					*end = uint16(10_000 + i)
					s.Run(packets, []int32{0}, out)
					out.Reset()
				}
			}
			out = nil
			took, charged := (heap()-before)/n, s.Held()/n
			t.Logf("%d bytes a connection, charged %d", took, charged)
			if s.Open() != n || charged < took*9/10 || charged > took*3/2+512 {
				t.Errorf("%d connections take %d bytes each, charged are %d", s.Open(), took, charged)
			}
			runtime.KeepAlive(s)
		})
	}
}

// heap is how many bytes are in use.
func heap() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// TestCopiesAfterTheEnd has a connection whose copies on another interface come after its end, with SYNs and SYN-ACKs
// between.
func TestCopiesAfterTheEnd(t *testing.T) {
	const far = 1 << 30
	one, end := exchange(1000, 0, 1), uint32(102+len(get))
	for _, tt := range []struct {
		name         string
		stray        []step // after the end
		early        []step // before the request, and again among the copies
		conns, calls int
	}{
		{"nothing", nil, nil, 1, 1},
		{"a SYN with a higher number begins another connection", []step{{1100, cl, sv, syn, far, 0, "", 0, 7}}, nil, 2, 1},
		{"a SYN of the server", []step{{1100, sv, cl, syn, far, 0, "", 0, 7}}, nil, 2, 1},
		{"a SYN with a number of the connection", []step{{1100, cl, sv, syn, 110, 0, "", 0, 7}}, nil, 1, 1},
		{"a SYN-ACK for a number of the connection", []step{{1100, sv, cl, syn | ack, far, 110, "", 0, 7}}, nil, 1, 1},
		{"a SYN-ACK for the end of the connection", []step{{1100, sv, cl, syn | ack, far, end, "", 0, 7}}, nil, 1, 1},
		{"another connection that its client resets, and one more", []step{{1100, sv, cl, syn | ack, far, end + 1, "", 0, 7},
			{1200, cl, sv, decode.RST, end + 1, 0, "", 0, 8}, {1300, sv, cl, syn | ack, 400, end + 1, "", 0, 9}}, nil, 3, 1},
		{"a stray SYN shown again", nil, []step{{1025, cl, sv, syn, far, 0, "", 0, 7}}, 1, 1},
		{"a stray SYN with a number near", nil, []step{{1025, cl, sv, syn, 90, 0, "", 0, 7}}, 1, 1},
		{"a stray SYN-ACK shown again", nil, []step{{1025, sv, cl, syn | ack, 502, far, "", 0, 7}}, 1, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			with := slices.Concat(one[:3], tt.early, one[3:])
			steps := append(slices.Clone(with), tt.stray...)
			for _, s := range with {
				s.at, s.link = s.at+10_000, 1
				steps = append(steps, s)
			}
			out := play(t, steps...)
			if len(out.Conns) != tt.conns || len(out.Calls) != tt.calls {
				t.Errorf("%d connections, %d calls; want %d, %d", len(out.Conns), len(out.Calls), tt.conns, tt.calls)
			}
		})
	}
}

// TestCopiesOfManyOnTheSamePorts has many connections on the same ports, which another interface shows a second later, so
// all wait for their copies. Beyond the limit an anomaly says that copies count again.
func TestCopiesOfManyOnTheSamePorts(t *testing.T) {
	for _, tt := range []struct{ n, conns, limits int }{{100, 100, 0}, {maxDisplaced + 44, 0, 1}} {
		var steps []step
		for i := range tt.n {
			one := exchange(int64(1e9+1e6*i), 0, uint32(100*i+1))
			for j := range one {
				by, other := uint32(5_000_000*i), uint32(7_000_000*i)
				if one[j].src == sv {
					by, other = other, by
				}
				one[j].seq += by
				if one[j].flags&ack != 0 {
					one[j].ack += other
				}
			}
			steps = append(steps, one...)
		}
		for _, s := range steps {
			s.at, s.link = s.at+1e9, 1
			steps = append(steps, s)
		}
		out, limits := play(t, steps...), 0
		for _, a := range out.Anomalies {
			if a.Row.Kind == "limit" {
				limits++
			}
		}
		if tt.conns > 0 && (len(out.Conns) != tt.conns || len(out.Calls) != tt.conns) || limits != tt.limits {
			t.Errorf("%d connections: %d connections, %d calls, %d anomalies; want %d and %d", tt.n, len(out.Conns), len(out.Calls), limits, tt.conns, tt.limits)
		}
	}
}

// TestResetAgainstASYNACK has a SYN-ACK whose SYN was not captured. It says which number its receiver continues with, so a
// reset elsewhere changes nothing (RFC 9293 section 3.10.7.4).
func TestResetAgainstASYNACK(t *testing.T) {
	answer := step{1000, sv, cl, syn | ack, 500, 101, "", 0, 1}
	for _, tt := range []struct {
		name string
		seq  uint32
		want string
	}{
		{"at the next byte", 101, ""},
		{"in the window", 102, "reset_in_window"},
		{"elsewhere", 1 << 30, "reset_out_of_window"},
	} {
		out := play(t, answer, step{1100, cl, sv, decode.RST, tt.seq, 0, "", 0, 2})
		kind := ""
		if len(out.Anomalies) > 0 {
			kind = out.Anomalies[0].Row.Kind
		}
		if kind != tt.want {
			t.Errorf("a reset %s: anomaly %q, want %q", tt.name, kind, tt.want)
		}
	}
}

// TestOneServerNumberForAllConnections has a server whose initial sequence number is a constant, on ports used again.
func TestOneServerNumberForAllConnections(t *testing.T) {
	one, two := exchange(1000, 0, 1), exchange(2000, 0, 11)
	for i := range two {
		if two[i].src == cl {
			two[i].seq += 9000
		} else {
			two[i].ack += 9000
		}
	}
	two[1].ack = 9101
	out := play(t, append(one, two...)...)
	if len(out.Conns) != 2 || len(out.Flows) != 2 || len(out.Calls) != 2 || len(out.Anomalies) > 0 {
		t.Errorf("%d connections, %d flows, %d calls, anomalies %v; want 2 of each and none", len(out.Conns), len(out.Flows), len(out.Calls), out.Anomalies)
	}
	if f := out.Flows[1].Row; f.SrcPackets != 4 || f.DstPackets != 3 {
		t.Errorf("the second one has %d and %d packets, want 4 and 3", f.SrcPackets, f.DstPackets)
	}
}

// TestStraySYNOfTheServerMakesItNoClient has a SYN of the server's that nobody answers, before the client's.
func TestStraySYNOfTheServerMakesItNoClient(t *testing.T) {
	steps := append([]step{{900, sv, cl, syn, 77, 0, "", 0, 9}}, exchange(1000, 0, 1)...)
	out := play(t, steps...)
	if len(out.Calls) != 1 || !out.Calls[0].Row.Base().Complete || out.Calls[0].Row.Base().DstPort != 80 {
		t.Errorf("calls %v, want one of the client's", out.Calls)
	}
}

// TestStraySYNsAroundAHandshake sends SYNs with other numbers before and after the one that is answered, on fresh ports
// and on those of an open connection. Each exchange must have its call.
func TestStraySYNsAroundAHandshake(t *testing.T) {
	for _, open := range []bool{false, true} {
		for _, stray := range []uint32{3, 99, 101, 150, 40_000, 1 << 30, 3 << 30} {
			for place := range 2 {
				for _, many := range []int{1, maxPending - 1} {
					second := exchange(100_000, 0, 20)
					var steps []step
					number, want := stray, 1
					if open {
						steps, want = exchange(1000, 0, 1)[:5], 2
						for i := range second {
							if second[i].src == cl {
								second[i].seq, second[i].ack = second[i].seq+70_000, second[i].ack+5_000_000*min(second[i].ack, 1)
							} else {
								second[i].seq, second[i].ack = second[i].seq+5_000_000, second[i].ack+70_000
							}
						}
						number += 70_000
					}
					var strays []step
					for i := range many {
						strays = append(strays, step{99_990 + int64(i), cl, sv, syn, number + uint32(7*i), 0, "", 0, uint32(60 + i)})
					}
					if place == 0 {
						second = append(strays, second...)
					} else {
						second = append(append(slices.Clone(second[:1]), strays...), second[1:]...)
					}
					out := play(t, append(steps, second...)...)
					complete := 0
					for _, c := range out.Calls {
						if c.Row.Base().Complete {
							complete++
						}
					}
					if complete != want || len(out.Calls) != want {
						t.Errorf("open %v, %d SYNs from %d at place %d: %d of %d calls are complete, want %d: %v", open, many, number, place, complete, len(out.Calls), want, out.Anomalies)
					}
				}
			}
		}
	}
}

// TestPortsUsedAgainWithoutTheHandshake has a connection that ended, and another one on its ports, of which the first
// packets were not captured.
func TestPortsUsedAgainWithoutTheHandshake(t *testing.T) {
	for lost := range 4 {
		second := exchange(100_000, 0, 20)
		for i := range second {
			mine, other := uint32(70_000_000), uint32(90_000_000)
			if second[i].src == sv {
				mine, other = other, mine
			}
			second[i].seq, second[i].ack = second[i].seq+mine, second[i].ack+other*min(second[i].ack, 1)
		}
		out := play(t, append(exchange(1000, 0, 1), second[lost:]...)...)
		if len(out.Conns) != 2 || len(out.Calls) != 2 || !out.Calls[1].Row.Base().Complete || len(out.Anomalies) > 0 {
			t.Errorf("without %d packets: %d connections, calls %v, anomalies %v; want 2 complete calls", lost, len(out.Conns), out.Calls, out.Anomalies)
		}
	}
}

// TestLateSYNBeginsItsConnection has the SYN after other packets, as two queues of a network adapter show it.
func TestLateSYNBeginsItsConnection(t *testing.T) {
	for n := 1; n <= 5; n++ {
		steps := exchange(1000, 0, 1)
		late := append(slices.Clone(steps[1:n+1]), steps[0])
		out := play(t, append(late, steps[n+1:]...)...)
		if len(out.Conns) != 1 || len(out.Calls) != 1 || !out.Calls[0].Row.Base().Complete || len(out.Anomalies) > 0 {
			t.Errorf("%d packets before it: %d connections, calls %v, anomalies %v", n, len(out.Conns), out.Calls, out.Anomalies)
		}
	}
}

// TestSYNAfterAnAnswerToAnother has a stray SYN-ACK that segments of the server seem to continue. The SYN after it has another
// number than it answers, and counts once it is answered.
func TestSYNAfterAnAnswerToAnother(t *testing.T) {
	stray := []step{{800, sv, cl, syn | ack, 7000, 90, "", 0, 8}, {900, sv, cl, fin, 7001, 90, "", 0, 9}}
	out := play(t, append(stray, exchange(1000, 0, 1)...)...)
	if len(out.Conns) != 2 || len(out.Calls) != 1 || !out.Calls[0].Row.Base().Complete {
		t.Errorf("%d connections, calls %v; want 2, and one complete call", len(out.Conns), out.Calls)
	}
}

// TestProbesAreRefused sends segments that are part of no connection, as scanners do: a reset refuses them, and ends
// nothing that was open.
func TestProbesAreRefused(t *testing.T) {
	const push, urgent = uint16(decode.PSH), uint16(decode.URG)
	reset := step{1010, sv, cl, rst | ack, 500, 101, "", 0, 60}
	for _, tt := range []struct {
		name  string
		first step
		want  string
	}{
		{"FIN scan", step{1000, cl, sv, uint16(decode.FIN), 100, 0, "", 0, 1}, "refused"},
		{"segment that acknowledges nothing", step{1000, cl, sv, push, 100, 0, "", 0, 1}, "refused"},
		{"Xmas scan", step{1000, cl, sv, uint16(decode.FIN) | push | urgent, 100, 0, "", 0, 1}, "refused"},
		{"SYN", step{1000, cl, sv, syn, 99, 0, "", 0, 1}, "refused"},
		{"an acknowledgement of an open connection", step{1000, cl, sv, ack, 100, 500, "", 0, 1}, "reset"},
		{"the end of an open connection", step{1000, cl, sv, uint16(decode.FIN) | ack, 100, 500, "", 0, 1}, "reset"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := play(t, tt.first, reset).Flows[0].Row.State.V; got != tt.want {
				t.Errorf("state %s, want %s", got, tt.want)
			}
		})
	}
}
