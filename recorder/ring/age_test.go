package ring

import (
	"context"
	"slices"
	"testing"
	"time"
)

func TestSeriesAge(t *testing.T) {
	for _, c := range []struct {
		name string
		want time.Duration
	}{
		{"sockets_1h", time.Hour}, {"sockets_1h30m", 90 * time.Minute}, {"sockets_90s", 0}, {"sockets_1m30s", 90 * time.Second}, {"sockets_24h", 24 * time.Hour},
		{"sockets_1h0m1s", time.Hour + time.Second}, {"sockets", 0}, {"sockets_", 0}, {"sockets_plain", 0}, {"sockets_0s", 0}, {"sockets_1ms", 0}, {"sockets_-1h", 0}, {"sockets_01h", 0},
	} {
		if got := SeriesAge(c.name); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
		if c.want > 0 && (AgedSeries("sockets", c.want) != c.name || !validSeries(c.name)) {
			t.Errorf("the series for %s is named %s", c.want, AgedSeries("sockets", c.want))
		}
	}
}

// TestAgedSeries checks that a series with an age is kept for that time only, even by a ring
// that keeps everything else, and by a recorder that no longer has that series.
func TestAgedSeries(t *testing.T) {
	dir := t.TempDir()
	fill := func(w *Writer, name string) {
		t.Helper()
		s, err := w.Series(SeriesOptions{Name: name, LinkType: 276})
		if err != nil {
			t.Fatal(err)
		}
		id := declare(t, s, "n/-/x")
		for range 2 {
			if err := s.Append(&Packet{Interface: id, Time: time.Now().UnixNano(), Data: []byte("x"), OrigLen: 1}); err != nil {
				t.Fatal(err)
			}
			if err := w.Seal(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		w.live[len(w.live)-2].newest = time.Now().Add(-time.Hour)
	}
	names := func() (list []string) {
		r, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range r.Segments {
			list = append(list, s.ID.Name())
		}
		return list
	}
	w, err := newWriter(Options{Dir: dir, Node: "n"})
	if err != nil {
		t.Fatal(err)
	}
	w.sealer.Go(w.runSealer)
	fill(w, "sockets")
	fill(w, "sockets_30m")
	if err := w.retain(); err != nil {
		t.Fatal(err)
	}
	want := []string{"sockets-n-000000001", "sockets-n-000000002", "sockets_30m-n-000000002"}
	if got := names(); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if err := w.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	// Time passes: what is left of the series is too old, for a recorder that does not know it.
	if w, err = newWriter(Options{Dir: dir, Node: "n"}); err != nil {
		t.Fatal(err)
	}
	w.sealer.Go(w.runSealer)
	for i := range w.live {
		if w.live[i].id.Series == "sockets_30m" {
			w.live[i].newest = w.live[i].newest.Add(-time.Hour)
		}
	}
	if err := w.retain(); err != nil {
		t.Fatal(err)
	}
	if got := names(); !slices.Equal(got, want[:2]) {
		t.Errorf("%v, want %v", got, want[:2])
	}
	if err := w.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if r, err := Verify(dir, VerifyOptions{}); err != nil || !r.OK() {
		t.Errorf("%+v, error %v", r, err)
	}
}
