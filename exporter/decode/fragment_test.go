package decode

import (
	"bytes"
	"fmt"
	"math/rand"
	"runtime"
	"slices"
	"testing"
	"time"
)

// fragments feeds a Decoder with fragments of one datagram.
type fragments struct {
	t     *testing.T
	d     *Decoder
	f     Frame
	no    int64
	now   time.Duration
	given []Incomplete
	link  uint16
	wrap  func([]byte) []byte
}

func newFragments(t *testing.T, opt Options) *fragments {
	x := &fragments{t: t, link: LinkRaw, wrap: func(b []byte) []byte { return b }}
	opt.OnIncomplete = func(in Incomplete) {
		in.Nos = slices.Clone(in.Nos)
		x.given = append(x.given, in)
	}
	x.d = New(opt)
	return x
}

func (x *fragments) send(pkt []byte) {
	pkt = x.wrap(pkt)
	x.no++
	x.d.Decode(Input{LinkType: x.link, Data: pkt, OrigLen: uint32(len(pkt)), No: x.no, Time: int64(x.now)}, &x.f)
}

// four sends bytes from off to off+len(data) of an IPv4 datagram.
func (x *fragments) four(id uint16, off int, more bool, data []byte) {
	frag := uint16(off / 8)
	if more {
		frag |= 0x2000
	}
	x.send(ipv4(protoUDP, id, frag, data))
}

func (x *fragments) six(id byte, off int, more bool, next uint8, data []byte) {
	head := join(next, 0, off>>8, off&0xf8|b2i(more), 0, 0, 0, int(id))
	x.send(ipv6(protoFragment, join(head, data)))
}

func body(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 7)
	}
	return b
}

func TestFragments(t *testing.T) {
	whole := udpDatagram(9, 53, body(100)) // 108 bytes
	type part struct {
		off, end int
		more     bool
		data     []byte // instead of whole[off:end]
	}
	other := bytes.Repeat([]byte{0xff}, 108)
	for _, c := range []struct {
		name  string
		parts []part
		want  string
	}{
		{"in order", []part{{0, 48, true, nil}, {48, 96, true, nil}, {96, 108, false, nil}}, "ip [1 2 3] 100 "},
		{"last first", []part{{96, 108, false, nil}, {48, 96, true, nil}, {0, 48, true, nil}}, "ip [1 2 3] 100 "},
		{"a duplicate is not an overlap", []part{{0, 48, true, nil}, {0, 48, true, nil}, {48, 108, false, nil}}, "ip [1 3] 100 "},
		{"overlap of equal bytes", []part{{0, 48, true, nil}, {40, 108, false, nil}}, "ip [1 2] 100 fragment_overlap"},
		{"overlap of other bytes keeps the first", []part{{0, 48, true, nil}, {40, 96, true, other[40:96]}, {40, 108, false, nil}}, "ip [1 2 3] 100 fragment_overlap,fragment_conflict"},
		{"one that covers gaps on both sides", []part{{48, 56, true, nil}, {0, 96, true, nil}, {96, 108, false, nil}}, "ip [1 2 3] 100 fragment_overlap"},
		{"two ends", []part{{0, 48, true, nil}, {96, 108, false, nil}, {48, 72, false, nil}}, "fragment [] 0 fragment_conflict"},
		{"bytes after the end", []part{{48, 96, false, nil}, {96, 108, true, other[:8]}}, "fragment [] 0 fragment_conflict"},
		{"a missing middle", []part{{0, 48, true, nil}, {96, 108, false, nil}}, "fragment [] 0 "},
		{"a middle of odd length is cut", []part{{0, 51, true, nil}, {48, 108, false, nil}}, "ip [1 2] 100 "},
		{"an empty middle", []part{{0, 0, true, []byte{}}}, "fragment [] 0 fragment_dropped"},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := newFragments(t, Options{})
			for _, p := range c.parts {
				data := p.data
				if data == nil {
					data = whole[p.off:p.end]
				}
				x.four(1, p.off, p.more, data)
			}
			got := fmt.Sprintf("%s %v %d %s", x.f.Kind, x.f.FragNos, b2i(x.f.L4)*x.f.PayloadLen, x.f.Problems)
			if got != c.want {
				t.Errorf("\n got %s\nwant %s", got, c.want)
			}
			if x.f.L4 && !bytes.Equal(x.f.Payload[:32], body(32)) {
				t.Error("the payload is not the first copy's")
			}
		})
	}
}

func TestFragmentsOfIPv6(t *testing.T) {
	whole := join(protoUDP, 0, make([]byte, 6), udpDatagram(9, 53, body(100))) // options in the fragmentable part
	x := newFragments(t, Options{})
	x.six(1, 64, false, protoTCP, whole[64:]) // its next header must not count
	x.six(1, 0, true, protoDestOpts, whole[:64])
	if x.f.Kind != KindIP || x.f.DstPort != 53 || x.f.PayloadLen != 100 || x.f.Proto != protoUDP {
		t.Errorf("reassembled: %s %s", describe(&x.f), x.f.Problems)
	}
	x.six(2, 0, true, protoUDP, whole[:63])
	if x.f.Problems != BadLength|FragmentDropped {
		t.Errorf("middle of odd length: %v, want it dropped (RFC 8200 4.5)", x.f.Problems)
	}
}

func TestFragmentsStayInTheirContext(t *testing.T) {
	whole := udpDatagram(9, 53, body(100))
	x := newFragments(t, Options{})
	x.link = linkEthernet
	x.wrap = func(b []byte) []byte { return ethernet(etherVLAN, join("00 01 08 00", b)) }
	x.four(1, 0, true, whole[:48])
	x.wrap = func(b []byte) []byte { return ethernet(etherVLAN, join("00 02 08 00", b)) }
	x.four(1, 48, false, whole[48:])
	if x.f.Kind != KindFragment {
		t.Error("fragments of two VLANs were joined")
	}
	x.four(1, 0, true, whole[:48])
	if x.f.Kind != KindIP || x.f.VLANs[0] != 2 {
		t.Errorf("fragments of one VLAN were not joined: %s", describe(&x.f))
	}
}

func TestFragmentsInsideATunnelInsideFragments(t *testing.T) {
	whole := udpDatagram(9, 53, body(1000))
	x := newFragments(t, Options{})
	// Each half of the datagram travels in IPv4, which is itself cut in two.
	for i, p := range [][]byte{ipv4(protoUDP, 5, 0x2000, whole[:504]), ipv4(protoUDP, 5, 63, whole[504:])} {
		id := uint16(10 + i)
		x.send(ipv4(protoIPv4, id, 0x2000, p[:256]))
		x.send(ipv4(protoIPv4, id, 32, p[256:]))
	}
	if got := fmt.Sprint(x.f.Kind, x.f.FragNos, x.f.PayloadLen, x.f.Tunnels[0].Kind); got != "ip [1 2 3 4] 1000 ipip" {
		t.Errorf("got %s %s", got, describe(&x.f))
	}
}

func TestFragmentCutBySnapLength(t *testing.T) {
	whole := udpDatagram(9, 53, body(1000))
	x := newFragments(t, Options{})
	first := ipv4(protoUDP, 1, 0x2000, whole[:504])
	x.d.Decode(Input{LinkType: LinkRaw, Data: first[:200], OrigLen: uint32(len(first)), No: 1}, &x.f)
	x.no = 1
	x.four(1, 504, false, whole[504:])
	if x.f.Kind != KindIP || x.f.PayloadLen != 1000 || len(x.f.Payload) != 200-20-8 || x.f.Problems != Truncated {
		t.Errorf("got %s", describe(&x.f))
	}
}

func TestFragmentsGivenUp(t *testing.T) {
	x := newFragments(t, Options{MaxFragments: 4})
	x.four(1, 0, true, body(48))
	x.now = 31 * time.Second
	x.six(7, 0, true, protoUDP, body(48))
	x.now = 92 * time.Second
	for i := range 4 {
		x.four(3, i*8, true, body(8))
	}
	x.four(4, 8, false, body(8))
	x.d.Flush()
	got := ""
	for _, in := range x.given {
		got += fmt.Sprintf("%d:%s:%v:%d:%d ", in.ID, in.Reason, in.Nos, in.Bytes, in.Missing)
	}
	if want := "1:timeout:[1]:48:-1 7:timeout:[2]:48:-1 3:too_many:[3 4 5 6]:32:-1 4:end:[7]:8:8 "; got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	if c := x.d.Counts(); c.Fragments != 7 || c.TimedOut != 2 || c.TooMany != 1 || c.Flushed != 1 {
		t.Errorf("counts %+v", c)
	}
	if x.d.Held() != 0 {
		t.Errorf("%d bytes held after all was given up", x.d.Held())
	}
}

func TestFragmentBeyondTheLargestDatagram(t *testing.T) {
	x := newFragments(t, Options{})
	x.four(1, 65528, false, body(100)) // ping of death
	if x.f.Problems != FragmentDropped|FragmentTooLong || x.d.Counts().Dropped != 1 || x.d.Held() != 0 {
		t.Errorf("got %v, %+v", x.f.Problems, x.d.Counts())
	}
}

// A flood of fragments that never complete must stay within the budget, by its own account and
// on the heap.
func TestFragmentFloodIsBounded(t *testing.T) {
	const budget = 4 << 20
	evicted := 0
	d := New(Options{MaxFragmentBytes: budget, OnIncomplete: func(Incomplete) { evicted++ }})
	r := rand.New(rand.NewSource(1))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var f Frame
	for i := range 200_000 {
		pkt := ipv4(protoUDP, uint16(r.Intn(1<<16)), uint16(0x2000|r.Intn(8000)), make([]byte, 8*r.Intn(20)))
		pkt[12] = byte(r.Intn(16))
		d.Decode(Input{LinkType: LinkRaw, Data: pkt, OrigLen: uint32(len(pkt)), No: int64(i)}, &f)
		if d.Held() > budget {
			t.Fatalf("%d bytes held after packet %d, want at most %d", d.Held(), i, budget)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 2*budget {
		t.Errorf("the heap grew by %d bytes, want at most twice the budget of %d", grown, budget)
	}
	if evicted == 0 {
		t.Error("nothing was evicted")
	}
	runtime.KeepAlive(d)
}

// Fragments of a datagram in any order, with duplicates, must give the datagram back.
func TestFragmentsInAnyOrder(t *testing.T) {
	r := rand.New(rand.NewSource(2))
	whole := udpDatagram(9, 53, body(2000))
	for round := range 300 {
		x := newFragments(t, Options{})
		var cuts [][2]int
		for at := 0; at < len(whole); {
			end := min(len(whole), at+8*(1+r.Intn(60)))
			cuts = append(cuts, [2]int{at, end})
			at = end
		}
		for range r.Intn(5) { // repeats at other positions
			at := r.Intn(len(whole)/8) * 8
			end := min(len(whole), at+8*(1+r.Intn(60)))
			cuts = append(cuts, [2]int{at, end})
		}
		r.Shuffle(len(cuts), func(i, j int) { cuts[i], cuts[j] = cuts[j], cuts[i] })
		done := false
		for _, c := range cuts {
			x.four(1, c[0], c[1] < len(whole), whole[c[0]:c[1]])
			if x.f.Kind == KindIP {
				done = true
				if !bytes.Equal(x.f.Payload, whole[8:]) || !slices.IsSorted(x.f.FragNos) {
					t.Fatalf("round %d: another payload came back", round)
				}
			}
			if x.f.Problems&FragmentConflict != 0 {
				t.Fatalf("round %d: conflict among equal bytes", round)
			}
		}
		if !done {
			t.Fatalf("round %d: %v gave nothing", round, cuts)
		}
	}
}
