package sight

import (
	"encoding/binary"
	"testing"
)

func udp(id uint16, ttl byte, text string) []byte {
	b := make([]byte, 28, 28+len(text))
	b[0], b[8], b[9] = 0x45, ttl, 17
	binary.BigEndian.PutUint16(b[4:], id)
	copy(b[12:], []byte{127, 0, 0, 1, 127, 0, 0, 1})
	return append(b, text...)
}

func TestAgain(t *testing.T) {
	const now = int64(1e18)
	routed, summed := udp(1, 63, "a"), udp(1, 64, "a")
	routed[10], summed[26] = 7, 9
	var f Filter
	for _, step := range []struct {
		name string
		ip   []byte
		out  bool
		at   int64
		want bool
	}{
		{"it arrives before it leaves", udp(1, 64, "a"), false, now, false},
		{"it leaves", udp(1, 64, "a"), true, now, false},
		{"it arrives", udp(1, 64, "a"), false, now + 1, true},
		{"it arrives at another socket too", udp(1, 64, "a"), false, now + 2, true},
		{"after a router", routed, false, now + 3, true},
		{"with a checksum", summed, false, now + 4, true},
		{"a different packet", udp(2, 64, "a"), false, now + 5, false},
		{"different bytes", udp(1, 64, "b"), false, now + 6, false},
		{"it leaves again", udp(1, 64, "a"), true, now + 7, false},
		{"long afterwards", udp(1, 64, "a"), false, now + 2e9, false},
		{"not a packet", []byte{0x45}, false, now, false},
		{"a truncated header", udp(1, 64, "")[:20], true, now, false},
	} {
		if got := f.Again(step.ip, step.out, step.at); got != step.want {
			t.Errorf("%s: %v", step.name, got)
		}
	}
	for i := range 2 * maxKept {
		f.Again(udp(uint16(i), byte(i>>16), string(rune(i))), true, now)
	}
	if len(f.left) > maxKept || len(f.ring) != maxKept {
		t.Errorf("remembered %d and %d packets, want at most %d", len(f.left), len(f.ring), maxKept)
	}
}

func BenchmarkAgain(b *testing.B) {
	var f Filter
	p := udp(1, 64, "some sixty bytes of payload, as small packets have them here")
	for i := 0; b.Loop(); i++ {
		binary.BigEndian.PutUint16(p[4:], uint16(i))
		f.Again(p, i&1 == 0, int64(i))
	}
}
