package stream

import (
	"fmt"
	"math/rand"
	"strings"
	"testing"
)

func TestAcknowledgements(t *testing.T) {
	pure := func(n int, dir uint8, seq, ack uint32) (list []step) {
		for range n {
			list = append(list, step{dir: dir, seq: seq, ack: ack})
		}
		return list
	}
	small := []step{{dir: 0, flags: SYN | twoKiB, seq: 100}, {dir: 1, flags: SYN | twoKiB, seq: 500, ack: 101}}
	for _, tt := range []struct {
		name  string
		steps [][]step
		want  string
	}{
		{"forged, and the real one later", [][]step{handshake, {{seq: 101, text: "xy", ack: 9501}, {seq: 101, text: "ab", ack: 501}}}, "0:ab 0:refused 2"},
		{"forged far away, and the real one later", [][]step{handshake, {{seq: 101, text: "xy", ack: 1 << 30}, {seq: 101, text: "ab", ack: 501}}}, "0:ab 0:refused 2"},
		{"forged by the other side", [][]step{handshake, {{seq: 101, text: "a?", ack: 501}, {dir: 1, seq: 501, text: "X", ack: 9103}, {dir: 1, seq: 501, text: "A", ack: 103}}}, "0:a? 1:A 1:refused 1"},
		{"forged after the real one", [][]step{handshake, {{seq: 101, text: "ab", ack: 501}, {seq: 101, text: "xy", ack: 9501}}}, "0:ab 0:conflict 2 with 2"},
		{"the answer that it acknowledges comes a moment later", [][]step{handshake, {{seq: 101, text: "a?", ack: 501}, {seq: 103, text: "b?", ack: 503}, {dir: 1, seq: 501, text: "AA", ack: 103}}}, "0:a? 1:AA 0:b?"},
		{"the same, with FINs", [][]step{handshake, {{seq: 101, text: "a?", ack: 501}, {seq: 103, flags: FIN, ack: 504}, {dir: 1, seq: 501, flags: FIN, text: "AA", ack: 103}}}, "0:a? 1:AA 1:end 0:end"},
		{"the answer that it acknowledges is not captured, and an acknowledgement", [][]step{handshake, {{seq: 101, text: "a?", ack: 501}, {seq: 103, text: "b?", ack: 503}}, pure(300, 1, 503, 105)}, "0:a? 1:gap 2 0:b?"},
		{"the other side is no longer captured", [][]step{handshake, {{seq: 101, text: "a?", ack: 501}, {seq: 103, text: "b?", ack: 503}, {seq: 105, text: "c?", ack: 505}}}, "0:a? 1:gap 2 0:b? 1:gap 2 0:c?"},
		{"20 MiB of the other side are not captured", [][]step{handshake, {{seq: 101, text: "a?", ack: 501}, {seq: 103, text: "b?", ack: 20<<20 + 501}, {dir: 1, seq: 20<<20 + 501, text: "B", ack: 105}}}, "0:a? 1:gap 20971520 0:b? 1:B"},
		{"forged, and the receiver speaks, but does not acknowledge it", [][]step{handshake, {{seq: 101, text: "ab", ack: 9501}}, pure(20, 1, 501, 101)}, "0:refused 2"},
		{"forged, and the receiver acknowledges the real one that is not captured", [][]step{handshake, {{seq: 101, text: "xy", ack: 9501}, {seq: 103, text: "cd", ack: 501}}, pure(300, 1, 501, 105)}, "0:redeemed 0 0:xy 0:cd"},
		{"forged, longer than the real one, which ends", [][]step{handshake, {{seq: 101, text: "xyz", ack: 9501}, {seq: 101, text: "ab", flags: FIN, ack: 501}}}, "0:ab 0:end 0:refused 3"},
		{"a forged FIN", [][]step{handshake, {{seq: 101, flags: FIN, ack: 9501}, {seq: 101, text: "ab", ack: 501}}}, "0:ab 0:refused 0"},
		{"a forged acknowledgement", [][]step{handshake, {{seq: 101, ack: 9501}, {seq: 101, text: "ab", ack: 501}}}, "0:refused 0 0:ab"},
		{"an acknowledgement of what is not captured", [][]step{handshake, {{seq: 101, ack: 503}}}, "1:gap 2"},
		{"older than the connection, and the real one later", [][]step{handshake, {{seq: 101, text: "xy", ack: 499}, {seq: 101, text: "ab", ack: 501}}}, "0:ab 0:refused 2"},
		{"older than the connection, and acknowledged at once", [][]step{handshake, {{seq: 101, text: "ab", ack: 499}}, pure(1, 1, 501, 103), {{seq: 101, text: "xy", ack: 501}}}, "0:redeemed 0 0:ab 0:conflict 2 with 2"},
		{"older than a window", [][]step{small, {{dir: 1, flags: twoKiB, seq: 501, text: strings.Repeat("w", 3000), ack: 101}, {flags: twoKiB, seq: 101, ack: 3501}, {flags: twoKiB, seq: 101, text: "xy", ack: 1000}, {flags: twoKiB, seq: 101, text: "ab", ack: 3501}}},
			"1:" + strings.Repeat("w", 3000) + " 0:ab 0:refused 2"},
		{"older by less than a window", [][]step{small, {{dir: 1, flags: twoKiB, seq: 501, text: "www", ack: 101}, {flags: twoKiB, seq: 101, ack: 504}, {flags: twoKiB, seq: 101, text: "ab", ack: 501}}}, "1:www 0:ab"},
		{"the client's side comes late", [][]step{{{dir: 1, flags: SYN, seq: 500, ack: 101}, {dir: 1, seq: 501, text: "A", ack: 103}, {seq: 101, text: "a?", ack: 501}, {flags: SYN, seq: 100}, {seq: 103, text: "b?", ack: 502}}}, "0:a? 1:A 0:b?"},
		{"the client's side is not captured", [][]step{{{dir: 1, flags: SYN, seq: 500, ack: 101}, {dir: 1, seq: 501, text: "A", ack: 103}, {dir: 1, seq: 502, text: "B", ack: 105}}}, "1:A 1:B"},
		{"older than a SYN that nothing answers", [][]step{{{flags: SYN, seq: 1 << 30}, {dir: 1, seq: 501, text: "AB", ack: 101}}}, "1:refused 2"},
		{"older than a stray SYN, and acknowledged", [][]step{{{flags: SYN, seq: 1 << 30}, {dir: 1, seq: 501, text: "AB", ack: 101}, {dir: 1, seq: 503, text: "CD", ack: 101}, {seq: 101, ack: 505}}},
			"1:redeemed 0 1:AB 1:redeemed 0 1:CD"},
		{"older than a SYN, before its answer", [][]step{{{flags: SYN, seq: 1 << 30}, {dir: 1, seq: 501, text: "AB", ack: 101}, {dir: 1, flags: SYN, seq: 600, ack: 1<<30 + 1}, {dir: 1, seq: 601, text: "A", ack: 1<<30 + 1}}}, "1:A 1:refused 2"},
		{"in the middle, forged first", [][]step{{{seq: 101, text: "xy", ack: 9501}, {seq: 101, text: "a?", ack: 501}, {dir: 1, seq: 501, text: "A", ack: 103}, {seq: 103, text: "b?", ack: 502}, {dir: 1, seq: 502, text: "B", ack: 105}}},
			"0:refused 2 0:a? 1:A 0:b? 1:B"},
		{"in the middle, forged second", [][]step{{{seq: 101, text: "a?", ack: 501}, {dir: 1, seq: 501, text: "A", ack: 103}, {seq: 103, text: "xy", ack: 9502}, {seq: 103, text: "b?", ack: 502}, {dir: 1, seq: 502, text: "B", ack: 105}}},
			"0:a? 1:A 0:b? 1:B 0:refused 2"},
		{"in the middle, the other side acknowledges only", [][]step{pure(1, 1, 501, 101), {{seq: 101, text: "xy", ack: 9501}}, pure(300, 0, 101, 501), {{seq: 101, text: "ab", ack: 501}}}, "0:ab 0:refused 2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var steps []step
			for _, s := range tt.steps {
				steps = append(steps, s...)
			}
			if got := strings.Join(play(steps).log, " "); got != tt.want {
				t.Errorf("\n got %.300s\nwant %.300s", got, tt.want)
			}
		})
	}
}

// TestHonestAcknowledgements shows conversations without forged segments in captures that lost packets and have
// the others in another order. Nothing is in doubt, and all captured bytes are in the streams.
func TestHonestAcknowledgements(t *testing.T) {
	for seed := range int64(100) {
		rnd := rand.New(rand.NewSource(seed))
		steps, next := append([]step(nil), handshake...), [2]uint32{101, 501}
		for len(steps) < 400 {
			dir := uint8(rnd.Intn(2))
			for range 1 + rnd.Intn(3) {
				text := fmt.Sprintf("%d:%08d;", dir, next[dir])
				steps = append(steps, step{dir: dir, seq: next[dir], ack: next[dir^1], text: text})
				next[dir] += uint32(len(text))
			}
			if rnd.Intn(3) == 0 {
				steps = append(steps, step{dir: dir ^ 1, seq: next[dir^1], ack: next[dir]})
			}
		}
		captured := steps[:2:2]
		if seed%4 >= 2 {
			captured = nil // it begins in the middle
		}
		loss, from, silent := rnd.Intn(20), rnd.Intn(2*len(steps)), uint8(rnd.Intn(2)) // from then on one side is not captured
		for i, s := range steps[2:] {
			if rnd.Intn(100) >= loss && !(i > from && s.dir == silent) {
				captured = append(captured, s)
			}
		}
		if seed%2 == 0 {
			for i := len(captured) - len(captured[min(2, len(captured)):]); i < len(captured); i++ {
				k := min(i+rnd.Intn(6), len(captured)-1)
				captured[i], captured[k] = captured[k], captured[i]
			}
		}
		got := play(captured)
		log := strings.Join(got.log, " ")
		if strings.Contains(log, "refused") || strings.Contains(log, "redeemed") {
			t.Errorf("seed %d: in doubt: %.400s", seed, log)
		}
		for _, s := range captured {
			if seed%4 < 2 && !strings.Contains(got.data[s.dir].String(), s.text) {
				t.Errorf("seed %d: %q is missing", seed, s.text)
			}
		}
	}
}

// TestPlaceOfWhatIsAcknowledged states that a reset counts where an answer in doubt says that bytes were sent.
func TestPlaceOfWhatIsAcknowledged(t *testing.T) {
	b := &Budget{Left: 1 << 20}
	c := &Conn{Sink: nothing{}, Budget: b}
	for i, s := range []Segment{{Seq: 100, Flags: SYN}, {Seq: 500, Ack: 101, Flags: SYN | ACK}, {Seq: 501, Ack: 110, Flags: ACK, Payload: []byte("A"), Len: 1}} {
		c.Segment(uint8(i)&1|uint8(i)>>1, &s)
	}
	if low, high, ok := c.Place(0); low != 101 || high != 110 || !ok {
		t.Errorf("the place is from %d to %d, want from 101 to 110", low, high)
	}
}

// brought logs which packet brought bytes, and what that acknowledges.
type brought struct {
	nothing
	log []string
}

func (b *brought) Data(_ uint8, data []byte, s *Segment) {
	b.log = append(b.log, fmt.Sprintf("%s of %d, ack %d", data, s.No, s.Ack))
}

// TestPacketsThatBringBytes has retransmissions with other borders that were captured before bytes that they repeat or acknowledge.
func TestPacketsThatBringBytes(t *testing.T) {
	for _, tt := range []struct {
		name  string
		steps []Segment
		dirs  []uint8
		want  string
	}{
		{"the first copy counts among those that acknowledge a late segment", []Segment{{Seq: 101, Ack: 501, Payload: []byte("a?")}, {Seq: 103, Ack: 503, Payload: []byte("b?")},
			{Seq: 102, Ack: 503, Payload: []byte("?b?")}, {Seq: 501, Ack: 103, Payload: []byte("AA")}}, []uint8{0, 0, 0, 1},
			"a? of 0, ack 501; AA of 3, ack 103; b? of 1, ack 503"},
		{"a retransmission before the answer that it acknowledges", []Segment{{Seq: 501, Ack: 103, Payload: []byte("AA")}, {Seq: 103, Ack: 503, Payload: []byte("b?")},
			{Seq: 101, Ack: 503, Payload: []byte("a?b?")}}, []uint8{1, 0, 0},
			"a? of 2, ack 501; AA of 0, ack 103; b? of 1, ack 503"},
	} {
		b := &Budget{Left: 1 << 20}
		log := &brought{}
		c := &Conn{Sink: log, Budget: b, History: &History{Budget: b}}
		c.Segment(0, &Segment{Seq: 100, Flags: SYN})
		c.Segment(1, &Segment{Seq: 500, Ack: 101, Flags: SYN | ACK})
		for i, s := range tt.steps {
			s.No, s.Flags, s.Len, s.Window = int64(i), ACK, len(s.Payload), 1<<16
			c.Segment(tt.dirs[i], &s)
		}
		c.Close(&Segment{})
		if got := strings.Join(log.log, "; "); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.want)
		}
	}
}
