package exporter

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/internal/flow"
	"github.com/pcapsule/pcapsule/exporter/internal/read"
	"github.com/pcapsule/pcapsule/exporter/internal/round"
	"github.com/pcapsule/pcapsule/internal/nightly"
)

// shuffles are orders in which a capture shows the packets of one connection: each returns the places of its packets.
var shuffles = []struct {
	name  string
	order func(rnd *rand.Rand, list []aPacket) []float64
}{
	{"neighbours are swapped", func(rnd *rand.Rand, list []aPacket) []float64 {
		at := inOrder(list)
		for i := 0; i+1 < len(at); i++ {
			if rnd.Intn(3) == 0 {
				at[i], at[i+1] = at[i+1], at[i]
				i++
			}
		}
		return at
	}},
	{"a packet is late", func(rnd *rand.Rand, list []aPacket) []float64 { return late(rnd, list, rnd.Intn(len(list))) }},
	{"the third packet is late", func(rnd *rand.Rand, list []aPacket) []float64 { return late(rnd, list, 2) }},
	{"a packet of the handshake is late", func(rnd *rand.Rand, list []aPacket) []float64 { return late(rnd, list, rnd.Intn(2)) }},
	{"one direction is late after the handshake", func(rnd *rand.Rand, list []aPacket) []float64 {
		at, by, client := inOrder(list), float64(1+rnd.Intn(6))+0.5, rnd.Intn(2) == 0
		for i := range at {
			if i > 2 && sameSender(list[0], list[i]) == client {
				at[i] += by
			}
		}
		return at
	}},
	{"an answer comes before its question", func(rnd *rand.Rand, list []aPacket) []float64 {
		at, before := inOrder(list), -1
		for i := range at {
			switch tcp := tcpAt(list[i].data); {
			case len(ipAt(list[i].data)) <= 60 || tcp[13]&7 != 0:
			case before >= 0 && !sameSender(list[before], list[i]) && rnd.Intn(2) == 0:
				at[i], at[before], before = at[before], at[i], -1
			default:
				before = i
			}
		}
		return at
	}},
}

func inOrder(list []aPacket) []float64 {
	at := make([]float64, len(list))
	for i := range at {
		at[i] = float64(i)
	}
	return at
}

// late moves a packet behind up to 12 others that are at most 50 ms later. A FIN or RST stays, because its place says
// what it ended.
func late(rnd *rand.Rand, list []aPacket, i int) []float64 {
	at, by := inOrder(list), 1+rnd.Intn(12)
	if i >= len(list) || tcpAt(list[i].data)[13]&5 != 0 {
		return at
	}
	for ; i < len(at) && by > 0; by-- {
		if j := i + by; j < len(at) && list[j].at-list[i].at < 50e6 {
			at[i] = float64(j) + 0.5
			break
		}
	}
	return at
}

// endsAt returns the source and the destination of a TCP segment, each an address and a port.
func endsAt(p aPacket) [2]string {
	ip, tcp := ipAt(p.data), tcpAt(p.data)
	from, size := 12, 4
	if ip[0]>>4 == 6 {
		from, size = 8, 16
	}
	return [2]string{string(ip[from:from+size]) + string(tcp[:2]), string(ip[from+size:from+2*size]) + string(tcp[2:4])}
}

func sameSender(a, b aPacket) bool { return endsAt(a) == endsAt(b) }

// TestShuffledSamples changes the order of the packets of each TCP connection of the samples, not their times. Each call
// stays as it is, or its connection has a row or an anomaly that says that it could not be read. None loses its answer
// otherwise, and no row is added.
func TestShuffledSamples(t *testing.T) {
	rounds := 2
	if nightly.On() {
		rounds = 20
	}
	everySample(t, func(t *testing.T, list []aPacket) {
		conns := map[[2]string][]int{}
		for i, p := range list {
			if tcpAt(p.data) != nil {
				ends := endsAt(p)
				slices.Sort(ends[:])
				conns[ends] = append(conns[ends], i)
			}
		}
		whole := readConns(t, list)
		for _, s := range shuffles {
			for seed := range rounds {
				rnd, moved := rand.New(rand.NewSource(int64(seed))), slices.Clone(list)
				for _, ends := range slices.SortedFunc(maps.Keys(conns), func(a, b [2]string) int { return slices.Compare(a[:], b[:]) }) {
					places := conns[ends]
					one := make([]aPacket, len(places))
					for i, p := range places {
						one[i] = list[p]
					}
					at, order := s.order(rnd, one), make([]int, len(one))
					for i := range order {
						order[i] = i
					}
					slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(at[a], at[b]) })
					for i, k := range order {
						moved[places[i]] = one[k]
					}
				}
				for ends, got := range readConns(t, moved) {
					if why := whole[ends].silentlyOther(got); why != "" {
						t.Errorf("%s, seed %d: %s: %s", s.name, seed, ends, why)
					}
				}
			}
		}
	})
}

// aConn is what rows say of a connection.
type aConn struct {
	calls     map[string]int
	anomalies int
	lost      bool // some call has no answer because the capture lacks it
	failed    map[string]int
}

// silentlyOther says what b lacks or has in addition, if nothing marks it.
func (a *aConn) silentlyOther(b *aConn) string {
	if a == nil {
		a = &aConn{}
	}
	for call, n := range b.failed {
		if n > a.calls[call] && b.anomalies <= a.anomalies {
			return "no answer: " + call
		}
	}
	if b.lost || b.anomalies > a.anomalies || maps.Equal(a.calls, b.calls) {
		return ""
	}
	maps.DeleteFunc(b.calls, func(call string, n int) bool { return a.calls[call] == n })
	return fmt.Sprint(slices.Sorted(maps.Keys(b.calls)))
}

// readConns reads a capture, by connections of TCP.
func readConns(t *testing.T, list []aPacket) map[string]*aConn {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.pcap")
	if err := os.WriteFile(path, aPcap(binary.LittleEndian, 1, list), 0o600); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(path)
	sources, err := read.Open([]string{path}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer sources.Close()
	found, ends := map[string]*aConn{}, map[flow.ID]string{}
	of := func(name string) *aConn {
		if found[name] == nil {
			found[name] = &aConn{calls: map[string]int{}, failed: map[string]int{}}
		}
		return found[name]
	}
	o := Options{Repanic: true, Jobs: 1}
	_, err = pipe(context.Background(), o.reads(sources, nil, Protocols), false, Protocols, o, func(r *round.Round) error {
		for s := range r.Out {
			for _, f := range r.Out[s].Started {
				ends[f.Flow] = endsText(f.Dialled[0].Addr.String(), int32(f.Dialled[0].Port), f.Dialled[1].Addr.String(), int32(f.Dialled[1].Port))
			}
			for _, a := range r.Out[s].Anomalies {
				of(ends[a.Flow]).anomalies++
			}
			for _, c := range r.Out[s].Calls {
				b := c.Row.Base()
				if b.Transport != "tcp" {
					continue
				}
				conn := of(endsText(b.SrcIP, b.SrcPort, b.DstIP, b.DstPort))
				call := fmt.Sprint(b.Protocol, " ", b.Summary, " ", b.StatusCode.V, " ", b.Outcome, " ", b.Error.V, " ", b.Complete)
				conn.calls[call]++
				switch b.Outcome {
				case "unread":
					conn.lost = true
				case "no_answer":
					conn.failed[call]++
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func endsText(a string, aPort int32, b string, bPort int32) string {
	x, y := fmt.Sprint(a, ":", aPort), fmt.Sprint(b, ":", bPort)
	return min(x, y) + " " + max(x, y)
}
