package stream

import (
	"bytes"
	"fmt"
	"math"
	"math/rand"
	"strings"
	"testing"
)

// heard is a Sink that logs its calls.
type heard struct {
	log  []string
	data [2]bytes.Buffer
	gaps [2]int64
	ends [2]int
	bad  int
}

func (h *heard) Data(dir uint8, data []byte, _ *Segment) {
	h.data[dir].Write(data)
	h.log = append(h.log, fmt.Sprintf("%d:%s", dir, data))
}

func (h *heard) Gap(dir uint8, n int64, _ bool, _ *Segment) {
	if n <= 0 || n > math.MaxUint32 {
		panic(fmt.Sprintf("a gap of %d bytes", n))
	}
	h.gaps[dir] += n
	h.data[dir].WriteString(strings.Repeat("?", int(min(n, 1<<16))))
	h.log = append(h.log, fmt.Sprintf("%d:gap %d", dir, n))
}

func (h *heard) End(dir uint8, _ *Segment) {
	h.ends[dir]++
	h.log = append(h.log, fmt.Sprintf("%d:end", dir))
}

func (h *heard) Odd(dir uint8, why Oddity, n int, first int64, _ *Segment) {
	h.bad++
	text := fmt.Sprintf("%d:%s %d", dir, []string{"conflict", "uncompared", "late", "early", "stray", "after-end", "other-end", "refused", "redeemed"}[why], n)
	if first >= 0 {
		text += fmt.Sprintf(" with %d", first)
	}
	h.log = append(h.log, text)
}

func (h *heard) Again(uint8, int64, *Segment) {}

func (h *heard) Acked(uint8, *Segment) {}

// step is one segment: direction, flags, sequence number, payload, acknowledgement.
type step struct {
	dir   uint8
	flags uint16
	seq   uint32
	text  string
	ack   uint32
	cut   int   // bytes that the snap length cut off; negative: another view may show them
	later int64 // ns after the step before
}

// twoKiB, as step.flags, announces a window of 2 KiB; the others announce the largest.
const twoKiB = 1 << 14

// wrong is the bit of step.flags for a wrong checksum.
const wrong = 1 << 15

func play(steps []step) *heard {
	h := &heard{}
	b := &Budget{Left: 1 << 20}
	y := &History{Budget: b}
	c := &Conn{Sink: h, Budget: b, History: y}
	s := Segment{}
	for i, st := range steps {
		flags := st.flags
		if st.ack != 0 {
			flags |= ACK
		}
		s = Segment{Packet: Packet{No: int64(i), Time: s.Time + 1000 + st.later}, Seq: st.seq, Ack: st.ack, Flags: flags,
			Payload: []byte(st.text), Len: len(st.text) + max(st.cut, -st.cut), Awaits: st.cut < 0, Window: 1 << 30}
		if flags&twoKiB != 0 {
			s.Window = 2048
		}
		in := s
		if flags&wrong == 0 {
			c.Segment(st.dir, &in)
		} else if !c.Doubt(st.dir, &in) {
			h.log = append(h.log, fmt.Sprintf("%d:dropped %d", st.dir, in.Len))
		}
	}
	c.Close(&s)
	y.Drop()
	in, out := c.In[0]+c.In[1], c.Out[0]+c.Out[1]
	if out > in {
		h.log = append(h.log, fmt.Sprintf("%d bytes came in, %d out", in, out))
	}
	if b.Left != 1<<20 {
		h.log = append(h.log, fmt.Sprintf("budget off by %d", 1<<20-b.Left))
	}
	return h
}

func TestSegment(t *testing.T) {
	quiet := func(n int, ack uint32) (list []step) { // packets that only pass time
		for range n {
			list = append(list, step{dir: 1, seq: 500, ack: ack})
		}
		return list
	}
	for _, tt := range []struct {
		name  string
		steps []step
		want  string
	}{
		{"in order with handshake", []step{{0, SYN, 100, "", 0, 0, 0}, {1, SYN, 500, "", 101, 0, 0}, {0, 0, 101, "ab", 501, 0, 0}, {0, 0, 103, "cd", 501, 0, 0}}, "0:ab 0:cd"},
		{"two segments swapped", []step{{0, SYN, 100, "", 0, 0, 0}, {0, 0, 103, "cd", 0, 0, 0}, {0, 0, 101, "ab", 0, 0, 0}}, "0:ab 0:cd"},
		{"sent again is not told again", []step{{0, SYN, 100, "", 0, 0, 0}, {0, 0, 101, "ab", 0, 0, 0}, {0, 0, 101, "ab", 0, 0, 0}, {0, 0, 103, "c", 0, 0, 0}}, "0:ab 0:c"},
		{"sent again with more", []step{{0, SYN, 100, "", 0, 0, 0}, {0, 0, 101, "ab", 0, 0, 0}, {0, 0, 101, "abcd", 0, 0, 0}}, "0:ab 0:cd"},
		{"sent again with other bytes: the first copy wins", []step{{0, SYN, 100, "", 0, 0, 0}, {0, 0, 101, "ab", 0, 0, 0}, {0, 0, 101, "xy", 0, 0, 0}}, "0:ab 0:conflict 2 with 1"},
		{"overlap while held, other bytes", []step{{0, SYN, 100, "", 0, 0, 0}, {0, 0, 103, "cd", 0, 0, 0}, {0, 0, 102, "BXYe", 0, 0, 0}, {0, 0, 101, "a", 0, 0, 0}}, "0:conflict 2 with 1 0:a 0:B 0:cd 0:e"},
		{"sequence numbers wrap", []step{{0, SYN, 0xfffffffd, "", 0, 0, 0}, {0, 0, 0xfffffffe, "ab", 0, 0, 0}, {0, 0, 1, "d", 0, 0, 0}, {0, 0, 0, "c", 0, 0, 0}}, "0:ab 0:c 0:d"},
		{"starts in the middle", []step{{0, 0, 1000, "ab", 7, 0, 0}, {0, 0, 1002, "cd", 7, 0, 0}}, "0:ab 0:cd"},
		{"starts in the middle with an answer to bytes that come backwards", []step{{1, 0, 500, "ok", 1004, 0, 0}, {0, 0, 1002, "cd", 500, 0, 0}, {0, 0, 1000, "ab", 500, 0, 0}}, "0:ab 0:cd 1:ok"},
		{"a keep-alive's byte is not a conflict", []step{{0, SYN, 100, "", 0, 0, 0}, {0, 0, 101, "ab", 0, 0, 0}, {1, 0, 500, "", 103, 0, 0}, {0, 0, 102, "\x00", 0, 0, 0}}, "0:ab"},
		{"one unacknowledged byte is not a keep-alive", []step{{0, SYN, 100, "", 0, 0, 0}, {0, 0, 101, "ab", 0, 0, 0}, {0, 0, 102, "\x00", 0, 0, 0}}, "0:ab 0:conflict 1 with 1"},
		{"lost and acknowledged", append([]step{{0, SYN, 100, "", 0, 0, 0}, {0, 0, 101, "ab", 0, 0, 0}, {0, 0, 105, "ef", 0, 0, 0}}, quiet(20, 107)...), "0:ab 0:gap 2 0:ef"},
		{"lost in a one-sided capture, after a second", []step{{0, SYN, 100, "", 0, 0, 0}, {0, 0, 103, "cd", 0, 0, 0}, {0, 0, 105, "ef", 0, 0, 2e9}}, "0:gap 2 0:cd 0:ef"},
		{"lost before the end", []step{{0, SYN, 100, "", 0, 0, 0}, {0, 0, 103, "cd", 0, 0, 0}}, "0:gap 2 0:cd"},
		{"acknowledged but never seen", []step{{0, SYN, 100, "", 0, 0, 0}, {0, 0, 101, "ab", 0, 0, 0}, {1, 0, 500, "", 106, 0, 0}}, "0:ab 0:gap 3"},
		{"cut by the snap length", []step{{0, SYN, 100, "", 0, 0, 0}, {0, 0, 101, "ab", 0, 3, 0}, {0, 0, 106, "fg", 0, 0, 0}}, "0:ab 0:gap 3 0:fg"},
		{"FIN with data", []step{{0, SYN, 100, "", 0, 0, 0}, {0, FIN, 101, "ab", 0, 0, 0}}, "0:ab 0:end"},
		{"FIN before its data", []step{{0, SYN, 100, "", 0, 0, 0}, {0, FIN, 103, "", 0, 0, 0}, {0, 0, 101, "ab", 0, 0, 0}}, "0:ab 0:end"},
		{"FIN sent twice ends once", []step{{0, SYN, 100, "", 0, 0, 0}, {0, FIN, 101, "", 0, 0, 0}, {0, FIN, 101, "", 0, 0, 0}}, "0:end"},
		{"data in the SYN", []step{{0, SYN, 100, "ab", 0, 0, 0}, {0, 0, 103, "c", 0, 0, 0}}, "0:ab 0:c"},
		{"a stray segment far ahead does not end the stream", []step{{0, SYN, 100, "", 0, 0, 0}, {0, 0, 101, "ab", 0, 0, 0}, {0, 0, 1 << 30, "evil", 0, 0, 0}, {1, SYN, 1, "", 103, 0, 70e9}, {0, 0, 103, "cd", 0, 0, 0}}, "0:ab 0:cd 0:stray 4"},
		{"simultaneous open", []step{{0, SYN, 100, "", 0, 0, 0}, {1, SYN, 500, "", 0, 0, 0}, {0, SYN, 100, "", 501, 0, 0}, {1, SYN, 500, "", 101, 0, 0}, {0, 0, 101, "a", 501, 0, 0}, {1, 0, 501, "b", 102, 0, 0}}, "0:a 1:b"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := strings.Join(play(tt.steps).log, " "); got != tt.want {
				t.Errorf("\n got %s\nwant %s", got, tt.want)
			}
		})
	}
}

// TestShuffled sends a text in random pieces with reordering, overlaps and repetitions; it must
// be reassembled completely.
func TestShuffled(t *testing.T) {
	for seed := range int64(300) {
		rnd := rand.New(rand.NewSource(seed))
		text := make([]byte, 200+rnd.Intn(2000))
		for i := range text {
			text[i] = 'a' + byte(rnd.Intn(26))
		}
		isn := rnd.Uint32()
		steps := []step{{dir: 0, flags: SYN, seq: isn}}
		var pieces []step
		decoys := 0
		for at := 0; at < len(text); {
			n := min(1+rnd.Intn(90), len(text)-at)
			from := max(0, at-rnd.Intn(20)*rnd.Intn(2))
			pieces = append(pieces, step{dir: 0, seq: isn + 1 + uint32(from), text: string(text[from : at+n])})
			if rnd.Intn(5) == 0 {
				pieces = append(pieces, pieces[len(pieces)-1])
			}
			if rnd.Intn(5) == 0 { // a decoy that its receiver drops
				pieces = append(pieces, step{dir: 0, flags: wrong, seq: isn + 1 + uint32(from), text: strings.Repeat("?", at+n-from)})
				decoys++
			}
			at += n
		}
		rnd.Shuffle(len(pieces), func(i, j int) { pieces[i], pieces[j] = pieces[j], pieces[i] })
		h := play(append(append(steps, pieces...), step{dir: 0, flags: FIN, seq: isn + 1 + uint32(len(text))}))
		if h.data[0].String() != string(text) || h.ends[0] != 1 || h.bad > decoys {
			t.Fatalf("seed %d: %d of %d bytes, %d ends, %d conflicts", seed, h.data[0].Len(), len(text), h.ends[0], h.bad)
		}
	}
}

// TestBudget floods a connection with segments that are never in order.
func TestBudget(t *testing.T) {
	h := &heard{}
	b := &Budget{Left: 1 << 16}
	c := &Conn{Sink: h, Budget: b}
	c.Segment(0, &Segment{Seq: 0, Flags: SYN})
	low := b.Left
	for i := range 20000 {
		c.Segment(0, &Segment{Packet: Packet{No: int64(i)}, Seq: uint32(10 + 200*i), Payload: make([]byte, 100), Len: 100})
		low = min(low, b.Left)
	}
	c.Close(&Segment{})
	if low < -2000 {
		t.Errorf("held %d bytes over the budget", -low)
	}
	if b.Left != 1<<16 {
		t.Errorf("budget is %d after the end, want %d", b.Left, 1<<16)
	}
}

func FuzzSegment(f *testing.F) {
	f.Add([]byte{12, 0, 2, 0, 0, 0, 0, 1, 16, 0, 5, 3, 9})
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) == 0 {
			return
		}
		budget := 256 << (in[0] & 15)
		h := &heard{}
		b := &Budget{Left: budget}
		y := &History{Budget: b}
		c := &Conn{Sink: h, Budget: b, History: y}
		in = in[1:]
		now := int64(0)
		near := func(at, scale byte) uint32 { // a number around the largest and, with a scale, far from it
			return math.MaxUint32 - 20 + uint32(int32(int8(at)))<<(scale&24)
		}
		for i := int64(0); len(in) >= 7; i++ {
			n := int(in[5] & 63)
			now += int64(in[6]) << (in[6] & 31) // up to a minute
			s := Segment{Packet: Packet{No: i, Time: now}, Flags: uint16(in[1]), Seq: near(in[2], in[3]), Ack: near(in[4], in[3]>>3), Window: uint32(in[3]) << 6,
				Payload: in[:min(n, len(in))], Len: n + int(in[5]>>6)}
			switch in[0] & 6 {
			case 2:
				c.Doubt(in[0]&1, &s)
			case 4:
				c.Pass(&s)
			default:
				c.Segment(in[0]&1, &s)
			}
			in = in[7:]
		}
		c.Close(&Segment{})
		y.Drop()
		if b.Left != budget {
			t.Fatalf("budget is %d after the end, want %d", b.Left, budget)
		}
		for d := range c.In {
			if c.Out[d] > c.In[d] {
				t.Fatalf("direction %d: %d bytes came in, %d out", d, c.In[d], c.Out[d])
			}
		}
		if h.ends[0] > 1 || h.ends[1] > 1 {
			t.Fatal("an end was reported twice")
		}
	})
}

func BenchmarkInOrder(b *testing.B) {
	h := nothing{}
	b0 := &Budget{Left: 16 << 20}
	c := &Conn{Sink: h, Budget: b0, History: &History{Budget: b0}}
	p := make([]byte, 1400)
	s := Segment{Flags: SYN}
	c.Segment(0, &s)
	seq := uint32(1)
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	for b.Loop() {
		s = Segment{Seq: seq, Payload: p, Len: len(p), Flags: ACK}
		c.Segment(0, &s)
		seq += uint32(len(p))
	}
}

type nothing struct{}

func (nothing) Data(uint8, []byte, *Segment)            {}
func (nothing) Gap(uint8, int64, bool, *Segment)        {}
func (nothing) End(uint8, *Segment)                     {}
func (nothing) Odd(uint8, Oddity, int, int64, *Segment) {}
func (nothing) Again(uint8, int64, *Segment)            {}
func (nothing) Acked(uint8, *Segment)                   {}
