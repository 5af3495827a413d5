package flow

import (
	"testing"

	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// writes is a packet of 10 bytes that a process sent, or was last to use the socket of.
type writes struct {
	owner int32
	exact bool
}

const (
	a, b, idleA = 1, 2, 3 // two processes, and the first as the last user
	unnamed     = 0
)

func (w writes) packet(no int, seq uint32) *Packet {
	p := &Packet{
		Capture: Capture{No: int64(no)},
		IP:      IP{Direction: decode.DirOut},
		Segment: Segment{Seq: seq, PayloadLen: 10},
		Origin:  Origin{Owner: w.owner, Wrote: w.exact, OwnerRank: 1},
	}
	if w.owner == unnamed {
		p.OwnerRank = 0
	}
	return p
}

func TestWriters(t *testing.T) {
	exact := func(owner int32) writes { return writes{owner, true} }
	last := writes{idleA, false}
	for _, tt := range []struct {
		name  string
		sent  []writes
		bytes int64 // of each message
		want  []Writer
	}{
		{"one process", []writes{exact(a), exact(a)}, 10, []Writer{{}, {}}},
		{"in turn", []writes{exact(a), exact(b), exact(a)}, 10, []Writer{{a, false}, {b, false}, {a, false}}},
		{"one message of two", []writes{exact(a), exact(b)}, 20, []Writer{{a, true}}},
		{"the kernel sends the rest", []writes{exact(a), last, last, exact(a)}, 30, []Writer{{}, {}}},
		{"the kernel sends a message", []writes{exact(a), last}, 10, []Writer{{}, {idleA, true}}},
		{"the kernel sends one of two's", []writes{exact(a), last, exact(b)}, 10, []Writer{{a, false}, {idleA, true}, {b, false}}},
		{"the first is not known for sure", []writes{last, exact(b)}, 10, []Writer{{idleA, true}, {}}},
		{"somebody who is not named", []writes{exact(a), {unnamed, false}, exact(b)}, 10, []Writer{{a, false}, {0, true}, {b, false}}},
		{"nobody is named at first", []writes{{}, exact(a)}, 10, []Writer{{}, {}}},
	} {
		for transport, start := range map[dissect.Transport]uint32{dissect.TCP: 1<<32 - 15, dissect.UDP: 0} {
			s, c := &Shard{}, &Conn{transport: transport}
			for i, w := range tt.sent {
				s.wrote(c, 0, w.packet(i, start+uint32(10*i)))
			}
			for i, want := range tt.want {
				first := i * int(tt.bytes) / 10
				m := dissect.Span{Seen: true, First: int64(first), Last: min(int64(first)+tt.bytes/10, int64(len(tt.sent))) - 1, Seq: start + uint32(10*first), Bytes: tt.bytes}
				if got := c.writers[0].of(&m, transport == dissect.TCP); got != want {
					t.Errorf("%s, %v: message %d is %+v, want %+v", tt.name, transport, i, got, want)
				}
			}
		}
	}
}

// TestSentAgain: TCP's second copy of a segment says nothing of who wrote it.
func TestSentAgain(t *testing.T) {
	s, c := &Shard{}, &Conn{transport: dissect.TCP}
	for i, w := range []writes{{a, true}, {b, true}, {b, true}, {a, true}} {
		s.wrote(c, 0, w.packet(i, []uint32{0, 10, 0, 10}[i]))
	}
	for i, want := range []Writer{{a, false}, {b, false}} {
		if got := c.writers[0].of(&dissect.Span{Seen: true, Seq: uint32(10 * i), Bytes: 10}, true); got != want {
			t.Errorf("message %d is %+v, want %+v", i, got, want)
		}
	}
}

// TestManyWriters: of the changes of the writer the newest are kept, in bounded memory, and
// what is older is a guess.
func TestManyWriters(t *testing.T) {
	s, c := &Shard{}, &Conn{transport: dissect.TCP}
	const n = 100_000
	for i := range n {
		s.wrote(c, 0, writes{int32(1 + i%2), true}.packet(i, uint32(10*i)))
	}
	if got := cap(c.writers[0].list); got > 2*maxWritten || s.taken > 2*maxWritten*writtenCost || s.taken < maxWritten*writtenCost {
		t.Errorf("%d stretches, %d bytes held", got, s.taken)
	}
	for i := range n {
		m := dissect.Span{Seen: true, Seq: uint32(10 * i), Bytes: 10}
		want := Writer{int32(1 + i%2), false}
		if got := c.writers[0].of(&m, true); got != want && !(got.Guess && i < n-maxWritten) {
			t.Fatalf("message %d of %d: %+v, want %+v", i, n, got, want)
		}
	}
}
