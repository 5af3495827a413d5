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

func TestAPacketIsShownOnce(t *testing.T) {
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
		{"it comes in before it left", udp(1, 64, "a"), false, now, false},
		{"it leaves", udp(1, 64, "a"), true, now, false},
		{"it comes in", udp(1, 64, "a"), false, now + 1, true},
		{"it comes to another socket too", udp(1, 64, "a"), false, now + 2, true},
		{"behind a router", routed, false, now + 3, true},
		{"with its checksum", summed, false, now + 4, true},
		{"another packet", udp(2, 64, "a"), false, now + 5, false},
		{"other bytes", udp(1, 64, "b"), false, now + 6, false},
		{"it leaves again", udp(1, 64, "a"), true, now + 7, false},
		{"long after", udp(1, 64, "a"), false, now + 2e9, false},
		{"no packet", []byte{0x45}, false, now, false},
		{"a header that is cut", udp(1, 64, "")[:20], true, now, false},
	} {
		if got := f.Again(step.ip, step.out, step.at); got != step.want {
			t.Errorf("%s: %v", step.name, got)
		}
	}
	for i := range 2 * maxKept {
		f.Again(udp(uint16(i), byte(i>>16), string(rune(i))), true, now)
	}
	if len(f.left) > maxKept || len(f.ring) != maxKept {
		t.Errorf("%d and %d are remembered", len(f.left), len(f.ring))
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
