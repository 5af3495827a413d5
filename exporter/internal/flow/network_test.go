package flow

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dns"
	"github.com/pcapsule/pcapsule/exporter/dissect/http1"
	"github.com/pcapsule/pcapsule/exporter/dissect/icmp"
)

// placed is a packet and where it was seen: its network, and on which interface.
type placed struct {
	Packet
	at int64
}

// tenant makes the packets of HTTP calls on one connection; up and down are the networks of
// the two directions.
func tenant(name string, calls int, isn, ipid uint32, up, down uint64, link int32, start int64) (all []placed) {
	now, mine, theirs := start, isn, isn+5000
	add := func(fromClient bool, flags uint16, seq, ack uint32, text string) {
		st := step{now, cl, sv, flags, seq, ack, text, link, ipid}
		id := up
		if !fromClient {
			st.src, st.dst, id = sv, cl, down
		}
		if flags&decode.SYN != 0 && !fromClient {
			st.ack = ack
		}
		p := st.packet(0)
		p.Network = id
		all = append(all, placed{p, now})
		now += 100
		if ipid != 0 {
			ipid++
		}
	}
	add(true, syn, mine, 0, "")
	add(false, syn|ack, theirs, mine+1, "")
	mine, theirs = mine+1, theirs+1
	add(true, ack, mine, theirs, "")
	for i := range calls {
		ask := fmt.Sprintf("GET /%s%d HTTP/1.1\r\nHost: a\r\n\r\n", name, i)
		answer := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n%s%d", name[:1], i)
		add(true, ack, mine, theirs, ask)
		mine += uint32(len(ask))
		add(false, ack, theirs, mine, answer)
		theirs += uint32(len(answer))
	}
	return all
}

// also is the same packets as another place shows them.
func also(list []placed, up, down uint64, link int32, later int64) (all []placed) {
	for _, p := range list {
		p.at += later
		p.Time, p.Interface, p.Network = p.at, link, down
		if p.SrcPort == 40000 {
			p.Network = up
		}
		all = append(all, p)
	}
	return all
}

// shown plays packets of several places in the order of time.
func shown(t *testing.T, lists ...[]placed) *Batch {
	t.Helper()
	s := NewShard(0, Options{Protocols: func() []*dissect.Protocol {
		return []*dissect.Protocol{http1.Protocol(), dns.Protocol(), icmp.Protocol()}
	}, Repanic: true})
	var packets []Packet
	var mine []int32
	for at := make([]int, len(lists)); ; {
		best := -1
		for i, l := range lists {
			if at[i] < len(l) && (best < 0 || l[at[i]].at < lists[best][at[best]].at) {
				best = i
			}
		}
		if best < 0 {
			break
		}
		p := lists[best][at[best]].Packet
		p.No = int64(len(packets))
		packets, mine = append(packets, p), append(mine, int32(len(packets)))
		at[best]++
	}
	out := &Batch{}
	s.Run(packets, mine, out)
	for s.Open() > 0 {
		s.Close(dissect.Packet{No: int64(len(packets))}, out)
	}
	if s.Held() != 0 || s.count != 0 || len(s.conns) != 0 {
		t.Errorf("%d bytes, %d connections and %d pairs of ends held after the end", s.Held(), s.count, len(s.conns))
	}
	return out
}

func TestNetworksSeparateConversations(t *testing.T) {
	one := tenant("a", 3, 100, 1, 10, 10, 0, 1000)
	for _, tt := range []struct {
		name         string
		lists        [][]placed
		conns, flows int
		calls        int
	}{
		{"two tenants at the same time", [][]placed{one, tenant("b", 3, 7_000_000, 900, 20, 20, 0, 1050)}, 2, 2, 6},
		{"two tenants one after the other", [][]placed{one, tenant("b", 3, 7_000_000, 900, 20, 20, 0, 50_000)}, 2, 2, 6},
		{"two tenants whose stacks count from the same number", [][]placed{one, tenant("b", 3, 100, 900, 20, 20, 0, 1050)}, 2, 2, 6},
		{"two tenants with equal SYNs at the same time", [][]placed{one, tenant("b", 3, 100, 1, 20, 20, 0, 1050)}, 2, 3, 6},
		{"two tenants with equal SYNs one after the other", [][]placed{one, tenant("b", 3, 100, 1, 20, 20, 0, 50_000)}, 2, 3, 6},
		{"two tenants with equal SYNs, the second one faster", [][]placed{tenant("a", 3, 100, 1, 10, 10, 0, 1000), tenant("b", 3, 100, 1, 20, 20, 0, 1001)}, 2, 3, 6},
		{"a tenant without tag and one with", [][]placed{tenant("a", 3, 100, 1, 0, 0, 0, 1000), tenant("b", 3, 7_000_000, 900, 20, 20, 0, 1050)}, 2, 2, 6},
		{"two tenants, each direction in a network of its own", [][]placed{tenant("a", 3, 100, 1, 1, 2, 0, 1000), tenant("b", 3, 7_000_000, 900, 3, 4, 0, 1050)}, 2, 2, 6},
		{"the same with equal SYNs", [][]placed{tenant("a", 3, 100, 1, 1, 2, 0, 1000), tenant("b", 3, 100, 1, 3, 4, 0, 1050)}, 2, 4, 6},
		{"one connection, each direction in a network of its own", [][]placed{tenant("a", 3, 100, 1, 1, 2, 0, 1000)}, 1, 1, 3},
		{"a packet with and without tag on one interface", [][]placed{one, also(one, 0, 0, 0, 3)}, 1, 2, 3},
		{"before and after encapsulation on two interfaces", [][]placed{one, also(one, 77, 77, 1, 3)}, 1, 2, 3},
		{"the same without IP identification", [][]placed{tenant("a", 3, 100, 0, 10, 10, 0, 1000), also(tenant("a", 3, 100, 0, 10, 10, 0, 1000), 77, 77, 1, 3)}, 1, 2, 3},
		{"before and after encapsulation, half a second apart", [][]placed{one, also(one, 77, 77, 1, 5e8)}, 1, 2, 3},
		{"encapsulated with an id for each direction", [][]placed{one, also(one, 77, 78, 1, 3)}, 1, 3, 3},
		{"from the middle, before and after encapsulation", [][]placed{one[3:], also(one, 77, 77, 1, 3)[3:]}, 1, 2, 3},
		{"two tenants from the middle", [][]placed{one[3:], tenant("b", 3, 7_000_000, 900, 20, 20, 0, 1050)[3:]}, 2, 2, 6},
		{"three places of one, and another tenant", [][]placed{one, also(one, 77, 77, 1, 3), also(one, 0, 0, 2, 5), tenant("b", 3, 7_000_000, 900, 20, 20, 0, 1050)}, 2, 4, 6},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out := shown(t, tt.lists...)
			complete := 0
			for _, c := range out.Calls {
				if c.Row.Base().Complete {
					complete++
				}
			}
			if len(out.Conns) != tt.conns || len(out.Flows) != tt.flows || complete != tt.calls || len(out.Calls) != tt.calls {
				t.Errorf("%d connections, %d flows, %d calls of which %d complete; want %d, %d, %d", len(out.Conns), len(out.Flows), len(out.Calls), complete,
					tt.conns, tt.flows, tt.calls)
			}
			for _, a := range out.Anomalies {
				t.Errorf("anomaly %s: %s", a.Row.Kind, a.Row.Detail)
			}
			var in, told int64
			for _, f := range out.Flows {
				r := f.Row
				in += r.SrcPayloadBytes + r.DstPayloadBytes
				told += r.RowBytes + r.DuplicateBytes + r.GapBytes + r.AnomalyBytes
				if r.OverlapConflicts != 0 || r.Retransmissions != 0 {
					t.Errorf("flow %d: %d overlap conflicts, %d retransmissions", f.Row.FirstPacket, r.OverlapConflicts, r.Retransmissions)
				}
			}
			if in != told {
				t.Errorf("%d of %d bytes accounted for", told, in)
			}
		})
	}
}

// lookup is a DNS query and its answer.
func lookup(id byte, name string, up, down uint64, link int32, at int64) []placed {
	label := string(rune(len(name))) + name + "\x00"
	ask := "\x12" + string(rune(id)) + "\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + label + "\x00\x01\x00\x01"
	answer := "\x12" + string(rune(id)) + "\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00" + label + "\x00\x01\x00\x01\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x0a\x00\x00" + string(rune(id))
	q := step{at: at, src: "10.0.0.1:40000", dst: "10.0.0.53:53", text: ask, link: link}.packet(0)
	r := step{at: at + 100, src: "10.0.0.53:53", dst: "10.0.0.1:40000", text: answer, link: link}.packet(0)
	q.Network, r.Network = up, down
	return []placed{{q, at}, {r, at + 100}}
}

func TestNetworksSeparateLookups(t *testing.T) {
	three := func(name string, id byte, up, down uint64, at int64) (all []placed) {
		for i := range 3 {
			all = append(all, lookup(id+byte(i), name+string(rune('0'+i)), up, down, 0, at+int64(i)*1000)...)
		}
		return all
	}
	a, b := three("a", 1, 10, 10, 1000), three("b", 9, 20, 20, 1020)
	for _, tt := range []struct {
		name                string
		lists               [][]placed
		conns, flows, calls int
		guessed             int
	}{
		{"two tenants", [][]placed{a, b}, 2, 2, 6, 0},
		{"before and after encapsulation", [][]placed{a, also(a, 77, 77, 1, 3)}, 1, 2, 3, 0},
		{"with and without tag on one interface", [][]placed{a, also(a, 0, 0, 0, 3)}, 1, 2, 3, 0},
		{"before and after encapsulation, with an id for each direction", [][]placed{a, also(a, 77, 78, 1, 3)}, 1, 3, 3, 0},
		{"each direction in a network of its own", [][]placed{three("a", 1, 1, 2, 1000)}, 1, 1, 3, 0},
		{"two tenants, each direction in a network of its own", [][]placed{three("a", 1, 1, 2, 1000), three("b", 9, 3, 4, 1020)}, 2, 2, 6, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out := shown(t, tt.lists...)
			complete := 0
			for _, c := range out.Calls {
				if c.Row.Base().Complete {
					complete++
				}
			}
			if len(out.Conns) != tt.conns || len(out.Flows) != tt.flows || complete != tt.calls || len(out.Calls) != tt.calls {
				t.Errorf("%d connections, %d flows, %d calls of which %d complete; want %d, %d, %d", len(out.Conns), len(out.Flows), len(out.Calls), complete,
					tt.conns, tt.flows, tt.calls)
			}
			guessed := 0
			for _, a := range out.Anomalies {
				if a.Row.Kind == "network_guessed" {
					guessed++
				}
			}
			if guessed != tt.guessed || len(out.Anomalies) != tt.guessed {
				t.Errorf("%d guesses in %d anomalies, want %d", guessed, len(out.Anomalies), tt.guessed)
			}
		})
	}
}

// Thousands of networks with the same addresses cost no more than thousands of connections.
func TestManyNetworksStayLinear(t *testing.T) {
	var list []placed
	for i := range 20_000 {
		p := step{at: int64(i) * 10, src: cl, dst: sv, text: strings.Repeat("x", i%7+1)}.packet(0)
		p.Network = uint64(i%5000 + 1)
		p.Payload = append(p.Payload, byte(i), byte(i>>8))
		p.PayloadLen += 2
		list = append(list, placed{p, p.Time})
	}
	out := shown(t, list)
	if len(out.Conns) < 5000 {
		t.Errorf("%d connections", len(out.Conns))
	}
}
