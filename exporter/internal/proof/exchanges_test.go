package proof

import (
	"hash/maphash"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/internal/flow"
)

const dnsQuestion = "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03WwW\x07example\x03com\x00\x00\x41\x00\x01"

func BenchmarkExchanged(b *testing.B) {
	p := flow.Packet{IP: flow.IP{Proto: protoUDP}, Segment: flow.Segment{DstPort: 53}, Payload: []byte(dnsQuestion)}
	x := &exchanges{seed: maphash.MakeSeed()}
	b.ReportAllocs()
	for b.Loop() {
		x.exchanged(&p)
	}
}

// TestQuestionsThatAreTheSame compares questions with one: letters of a name have no case (RFC 4343), and nothing else is equal.
func TestQuestionsThatAreTheSame(t *testing.T) {
	x := &exchanges{seed: maphash.MakeSeed()}
	of := func(s string) uint64 {
		id, _, ok := x.exchanged(&flow.Packet{IP: flow.IP{Proto: protoUDP}, Segment: flow.Segment{DstPort: 53}, Payload: []byte(s)})
		if !ok {
			t.Fatalf("%q is no question", s)
		}
		return id
	}
	for _, tt := range []struct {
		name, from, to string
		same           bool
	}{
		{"another case", "example", "eXaMPLE", true},
		{"another id", "\x12\x34\x01", "\x12\x54\x01", false},
		{"another type that is a letter", "\x00\x41\x00\x01", "\x00\x61\x00\x01", false},
		{"another byte that is no letter", "example", "exam\xffle", false},
	} {
		if got := of(strings.Replace(dnsQuestion, tt.from, tt.to, 1)) == of(dnsQuestion); got != tt.same {
			t.Errorf("%s: the same is %v, want %v", tt.name, got, tt.same)
		}
	}
	if n := testing.AllocsPerRun(100, func() { of(dnsQuestion) }); n > 2 { // the packet and its payload
		t.Errorf("%v allocations, want 2", n)
	}
}
