package exporter

import (
	"context"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/internal/flow"
	"github.com/pcapsule/pcapsule/exporter/internal/round"
	"github.com/pcapsule/pcapsule/internal/nightly"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// linked is a packet of a capture with any link type, and what thinning looks at.
type linked struct {
	aPacket
	tcp, payload bool
	flags        uint16
	back         bool // from the end of its conversation that has the higher address and port
}

const synAck = decode.SYN | decode.ACK

func (p *linked) syn() bool    { return p.tcp && p.flags&synAck == decode.SYN }
func (p *linked) synAck() bool { return p.tcp && p.flags&synAck == synAck }

// thinnings are what captures lack if a tap, a filter or a full buffer lost a part of the packets, and orders in which
// several queues write them.
var thinnings = []struct {
	name string
	make func(list []linked) []linked
}{
	{"as it is", only(func(int, *linked) bool { return true })},
	{"no SYN", only(func(_ int, p *linked) bool { return !p.syn() })},
	{"no SYN-ACK", only(func(_ int, p *linked) bool { return !p.synAck() })},
	{"no handshake", only(func(_ int, p *linked) bool { return !p.syn() && !p.synAck() })},
	{"SYN-ACKs and one side", only(func(_ int, p *linked) bool { return p.synAck() || p.back && !p.syn() })},
	{"SYN-ACKs and the other side", only(func(_ int, p *linked) bool { return p.synAck() || !p.back && !p.syn() })},
	{"one side", only(func(_ int, p *linked) bool { return p.back })},
	{"the other side", only(func(_ int, p *linked) bool { return !p.back })},
	{"short packets", only(func(_ int, p *linked) bool { return p.size < 70 })},
	{"long packets", only(func(_ int, p *linked) bool { return p.size >= 70 })},
	{"no payload", only(func(_ int, p *linked) bool { return !p.payload })},
	{"payload and SYN-ACKs", only(func(_ int, p *linked) bool { return p.payload || p.synAck() })},
	{"no end", only(func(_ int, p *linked) bool { return !p.tcp || p.flags&(decode.FIN|decode.RST) == 0 })},
	{"from the middle", func(l []linked) []linked { return l[len(l)/2:] }},
	{"the middle", func(l []linked) []linked { return l[len(l)/3 : len(l)-len(l)/3] }},
	{"every 2nd", only(func(i int, _ *linked) bool { return i%2 == 0 })},
	{"every 3rd", only(func(i int, _ *linked) bool { return i%3 == 1 })},
	{"every 7th", only(func(i int, _ *linked) bool { return i%7 == 3 })},
	{"not every 3rd", only(func(i int, _ *linked) bool { return i%3 != 0 })},
	{"not every 7th", only(func(i int, _ *linked) bool { return i%7 != 2 })},
	{"one side first", sorted(func(i int, p *linked) int { return side(p.back) })},
	{"the other side first", sorted(func(i int, p *linked) int { return side(!p.back) })},
	{"one side first in each 16", sorted(func(i int, p *linked) int { return i/16*2 + side(p.back) })},
	{"the other side first in each 16", sorted(func(i int, p *linked) int { return i/16*2 + side(!p.back) })},
	{"backwards", sorted(func(i int, _ *linked) int { return -i })},
	{"backwards in each 8", sorted(func(i int, _ *linked) int { return i/8*8 - i%8 })},
	{"SYNs last in each 40", sorted(func(i int, p *linked) int { return i/40*2 + side(!p.syn()) })},
	{"SYNs last", sorted(func(_ int, p *linked) int { return side(!p.syn()) })},
	{"each packet twice", func(l []linked) (out []linked) {
		for _, p := range l {
			out = append(out, p, p)
		}
		return out
	}},
	{"all packets twice", func(l []linked) []linked { return slices.Concat(l, l) }},
	{"cut to 60 bytes", func(l []linked) []linked {
		l = slices.Clone(l)
		for i := range l {
			l[i].data = l[i].data[:min(60, len(l[i].data))]
		}
		return l
	}},
	{"slowly", func(l []linked) []linked {
		l = slices.Clone(l)
		for i := range l {
			l[i].at += int64(i) * 400e6
		}
		return l
	}},
}

func side(second bool) int {
	if second {
		return 1
	}
	return 0
}

// only keeps packets.
func only(keep func(i int, p *linked) bool) func([]linked) []linked {
	return func(l []linked) (out []linked) {
		for i := range l {
			if keep(i, &l[i]) {
				out = append(out, l[i])
			}
		}
		return out
	}
}

// sorted changes the order of packets. Each place in the capture keeps its time.
func sorted(key func(i int, p *linked) int) func([]linked) []linked {
	return func(l []linked) []linked {
		order := make([]int, len(l))
		for i := range order {
			order[i] = i
		}
		slices.SortStableFunc(order, func(a, b int) int { return key(a, &l[a]) - key(b, &l[b]) })
		out := make([]linked, len(l))
		for i, k := range order {
			out[i] = l[k]
			out[i].at = l[i].at
		}
		return out
	}
}

// packetsWithLinks reads the packets of a capture that have its first link type.
func packetsWithLinks(path string) (list []linked, link uint16, err error) {
	err = eachFrame(path, func(p *pcapng.Packet, f *decode.Frame) {
		if len(list) == 0 {
			link = p.LinkType
		}
		if p.LinkType != link {
			return
		}
		back := f.Src.Netip().Compare(f.Dst.Netip())
		list = append(list, linked{aPacket{p.Time, int(p.OrigLen), slices.Clone(p.Data)}, f.L4 && f.Proto == 6, len(f.Payload) > 0, uint16(f.Flags),
			back > 0 || back == 0 && f.SrcPort > f.DstPort})
	})
	if err != nil {
		return nil, 0, err
	}
	return list, link, nil
}

// capture writes packets.
func (l linkedList) capture(link uint16) []byte {
	plain := make([]aPacket, len(l))
	for i := range l {
		plain[i] = l[i].aPacket
	}
	data := aPcap(binary.LittleEndian, 1, plain)
	binary.LittleEndian.PutUint32(data[20:], uint32(link))
	return data
}

type linkedList []linked

// TestThinnedCaptures loses packets of captures systematically, and changes their order. Each run ends, has all packets,
// and each byte is in one account. make nightly also takes the public captures.
func TestThinnedCaptures(t *testing.T) {
	files, err := filepath.Glob("../samples/*.pcap*")
	if err != nil || len(files) == 0 {
		t.Fatal("no samples: ", err)
	}
	most := 120
	if nightly.On() {
		files = append(files, captureFiles(t, "*/*.pcap*")...)
		more, _ := filepath.Glob("../samples/*/*.pcap*")
		files, most = append(files, more...), 1<<20
	}
	for _, path := range files {
		list, link, err := packetsWithLinks(path)
		if err != nil || len(list) > most {
			continue
		}
		for _, thin := range thinnings {
			kept := thin.make(list)
			data := linkedList(kept).capture(link)
			for _, budget := range []int{256 << 20, 8 << 10} {
				name := fmt.Sprintf("%s, %s, %d bytes for a shard", path, thin.name, budget)
				x := ends(t, name, func() *taken { return takeInWithin(t, data, budget) })
				if x.err != nil || len(x.odd) > 0 || len(x.packets) != len(kept) || len(x.accounts) > 0 {
					t.Errorf("%s: %d packets of %d; accounts %q; %d conversations without an end; error %v", name, len(x.packets), len(kept), x.odd, len(x.accounts), x.err)
				}
			}
		}
	}
}

// takeInWithin is takeIn with less memory for connections than a run ever has.
func takeInWithin(t *testing.T, data []byte, budget int) *taken {
	x, o := newTaken(), Options{}
	sources, remove := x.open(t, data)
	if sources == nil {
		return x
	}
	defer remove()
	pool := round.NewPool(o.limit())
	reader, err := o.reads(sources, nil, Protocols)(pool)
	if err != nil {
		t.Fatal(err)
	}
	var shards [flow.ShardCount]*flow.Shard
	for i := range shards {
		shards[i] = flow.NewShard(i, flow.Options{Protocols: Protocols, Repanic: true})
	}
	rounds, done := make(chan *round.Round, 1), make(chan error, 1)
	go func() { done <- reader.Run(context.Background(), rounds) }()
	var last dissect.Packet
	for r := range rounds {
		last = dissect.Packet{No: max(r.Last, 0), Time: r.Now}
		for i, sh := range shards {
			sh.SetBudget(budget)
			sh.SetSeen(r.Seen)
			sh.Run(r.Packets, r.Shards[i], &r.Out[i])
			sh.Expire(r.Now, last, &r.Out[i])
		}
		x.add(r)
		pool.Put(r)
	}
	x.err = <-done
	for open := true; open; {
		r := pool.Get()
		r.Final, open = true, false
		for i, sh := range shards {
			before := sh.Open()
			if sh.Close(last, &r.Out[i]); sh.Open() == before && before > 0 {
				t.Fatalf("none of %d conversations ends at the end of the capture", before)
			}
			open = open || sh.Open() > 0
		}
		x.add(r)
		pool.Put(r)
	}
	return x
}

// longest is how long a run over a public capture may take on a busy machine.
const longest = 2 * time.Minute

// ends runs f and stops the test if it does not end.
func ends(t *testing.T, name string, f func() *taken) *taken {
	done := time.AfterFunc(longest, func() {
		debug.SetTraceback("all")
		panic("a run does not end: " + name)
	})
	defer done.Stop()
	return f()
}
