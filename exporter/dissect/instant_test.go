package dissect

import "testing"

// TestEndsOfLongTurnsAreKnown checks that the times of both ends of a message are known by the other
// clock, however long the message, and that memory is bounded.
func TestEndsOfLongTurnsAreKnown(t *testing.T) {
	const packets, later = 5000, 7
	c := &Conn{}
	taken, no := 0, int64(0)
	var ends [4]Instant // of the request and of the response
	for i, dir := range []Dir{ToServer, ToClient} {
		for n := range packets {
			no++
			at := Instant{no * 1000, no, int32(i)}                      // each side's packets are first seen at that side
			taken += c.SeenAgain(dir, no, Instant{at.Ns, no, at.Clock}) // another interface there
			taken += c.SeenAgain(dir, no, Instant{at.Ns + later, no, 1 - at.Clock})
			switch n {
			case 0:
				ends[2*i] = at
			case packets - 1:
				ends[2*i+1] = at
			}
		}
	}
	for i, a := range ends {
		for _, b := range ends[i+1:] {
			want := b.Ns - a.Ns
			if a.Clock != b.Clock {
				want -= later
			}
			if got, ok := c.Between(a, b); !ok || got != want {
				t.Errorf("from packet %d to %d: %d ns, %v; want %d", a.No, b.No, got, ok, want)
			}
		}
	}
	for range 10_000 {
		for _, dir := range []Dir{ToServer, ToClient} {
			no++
			taken += c.SeenAgain(dir, no, Instant{no, no, 1})
		}
	}
	if limit := (maxRecent + 2*maxTurns) * instantSize; taken > limit || len(c.sightings.turns) > maxTurns {
		t.Errorf("%d bytes, %d times; want at most %d bytes", taken, len(c.sightings.turns), limit)
	}
}
