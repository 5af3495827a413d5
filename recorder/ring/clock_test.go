package ring

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// TestClockSteps sets the clock forward and back while a ring is written. Segments, their
// seals, time windows and the removal of segments by age must stay correct, although packets
// have the times of the clock.
func TestClockSteps(t *testing.T) {
	const year = 365 * 24 * time.Hour
	steps := []time.Duration{0, -50 * year, time.Hour, -time.Hour, 10 * year, 0} // of the clock, by segment
	dir := filepath.Join(t.TempDir(), "ring")
	w, err := newWriter(Options{Dir: dir, Node: "n", MaxAge: time.Minute})
	must(t, err)
	w.sealer.Go(w.runSealer)
	s := sockets(t, w)
	id := declare(t, s, "a")
	began := time.Now()
	at := func(step time.Duration, n int) int64 { return began.Add(step).UnixNano() + int64(n) }
	for i, step := range steps {
		for n := range 10 {
			p := packet(id, i*10+n)
			p.Time = at(step, n)
			must(t, s.Append(p))
			if n == 4 && i == 2 {
				p.Time = at(-2*time.Hour, n) // in the middle of a segment
				must(t, s.Append(p))
			}
		}
		must(t, w.Seal(context.Background()))
	}
	must(t, w.retain())
	list, err := Segments(dir)
	must(t, err)
	if len(list) != len(steps) {
		t.Fatalf("%d segments: new segments must not be removed, whatever their clock said", len(list))
	}
	for i, seg := range list {
		first, last := at(steps[i], 0), at(steps[i], 9)
		if i == 2 {
			first = at(-2*time.Hour, 4)
		}
		if seg.Seal.First != Time(first) || seg.Seal.Last != Time(last) {
			t.Errorf("segment %d: sealed from %s to %s", i+1, seg.Seal.First, seg.Seal.Last)
		}
	}
	for _, c := range []struct {
		name     string
		from, to int64
		want     []uint64
	}{
		{"at the current time", at(0, 0), at(0, 9), []uint64{1, 3, 6}},
		{"at the time of one segment", at(-50*year, 3), at(-50*year, 3), []uint64{2}},
		{"from one hour ago", at(-time.Hour, 0), at(20*year, 0), []uint64{1, 3, 4, 5, 6}},
		{"at a time without packets", at(year, 0), at(2*year, 0), nil},
	} {
		var got []uint64
		for _, seg := range list {
			if int64(seg.Seal.Last) >= c.from && int64(seg.Seal.First) <= c.to {
				got = append(got, seg.ID.Sequence)
			}
		}
		pin := filepath.Join(t.TempDir(), "pin")
		p, err := Pin(context.Background(), dir, c.from, c.to, pin, PinOptions{})
		must(t, err)
		must(t, os.RemoveAll(pin))
		if !slices.Equal(got, c.want) || len(p.Segments) != len(c.want) {
			t.Errorf("%s: %v and %v, want %v", c.name, got, p.Segments, c.want)
		}
	}
	for i := range w.live {
		w.live[i].newest = w.live[i].newest.Add(-time.Hour) // time passes
	}
	must(t, w.retain())
	if got := sequences(t, dir); len(got) != 0 {
		t.Errorf("segments %v exist after an hour: a future clock must not keep a segment", got)
	}
	finish(t, w)
	if r, err := Verify(dir, VerifyOptions{}); err != nil || !r.OK() {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestAgeOfEarlierSegments checks their age by the clock at the start, which is bounded.
func TestAgeOfEarlierSegments(t *testing.T) {
	for _, c := range []struct {
		last         time.Duration
		atMost, want time.Duration
	}{
		{-time.Hour, maxAgo, time.Hour},
		{-time.Hour, time.Minute, time.Minute},
		{time.Hour, maxAgo, 0},
		{-200 * 365 * 24 * time.Hour, maxAgo, maxAgo},
	} {
		got := time.Since(arrival(Time(time.Now().Add(c.last).UnixNano()), c.atMost))
		if got < c.want || got > c.want+time.Minute {
			t.Errorf("%s: %s ago, want %s", c.last, got, c.want)
		}
	}
}
