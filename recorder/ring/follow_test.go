package ring

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

func TestFollowAcrossRotationsAndRestarts(t *testing.T) {
	dir := t.TempDir()
	finish(t, create(t, Options{Dir: dir}))
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	const total = 3000
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := 1; n <= total; {
			w, err := Create(Options{Dir: dir, Node: "n", SegmentBytes: 20_000, FlushEvery: 2 * time.Millisecond})
			if err != nil {
				t.Error(err)
				return
			}
			s, _ := w.Series(SeriesOptions{Name: "sockets", LinkType: 276})
			a, _ := s.Interface(pcapng.Interface{Name: "a"})
			for range 1000 {
				if err := s.Append(packet(a, n)); err != nil {
					t.Error(err)
				}
				if n++; n%100 == 0 {
					time.Sleep(time.Millisecond)
				}
			}
			if err := w.Close(ctx); err != nil {
				t.Error(err)
			}
		}
	}()
	f, err := Follow(ctx, dir, FollowOptions{Series: "sockets", Poll: time.Millisecond})
	must(t, err)
	defer f.Close()
	var b pcapng.Batch
	last := uint64(0)
	segments := map[ID]bool{}
	for last < total {
		must(t, f.Next(&b))
		for i := range b.Packets {
			id, _ := b.Packets[i].PacketID()
			if id != last+1 {
				t.Fatalf("%s: packet %d after %d", f.Segment(), id, last)
			}
			last = id
		}
		segments[f.Segment()] = true
	}
	if len(segments) < 10 || f.Missed() != 0 {
		t.Fatalf("%d segments, %d missed", len(segments), f.Missed())
	}
	<-done
	cancel()
	if err := f.Next(&b); !errors.Is(err, context.Canceled) {
		t.Fatalf("after the end: %v", err)
	}
}

func TestFollowFromATime(t *testing.T) {
	dir := t.TempDir()
	w := create(t, Options{Dir: dir})
	s := sockets(t, w)
	a := declare(t, s, "a")
	fill(t, w, s, a, 0, 5)
	f, err := Follow(context.Background(), dir, FollowOptions{From: epoch + 3e9 + 5})
	must(t, err)
	var b pcapng.Batch
	must(t, f.Next(&b))
	if f.Segment().Sequence != 4 || len(b.Packets) != 5 {
		t.Fatalf("%s, %d packets", f.Segment(), len(b.Packets))
	}
	must(t, f.Close())
	finish(t, w)
}

// TestAnOpenSegmentIsReadUpToItsLastWholeBlock truncates the hidden file at every length.
func TestAnOpenSegmentIsReadUpToItsLastWholeBlock(t *testing.T) {
	dir, _, _ := sealedRing(t, 1)
	list, err := Segments(dir)
	must(t, err)
	whole, err := os.ReadFile(list[0].Path)
	must(t, err)
	path := filepath.Join(t.TempDir(), list[0].ID.hidden())
	for n := len(whole); n >= 0; n -= 3 {
		must(t, os.WriteFile(path, whole[:n], 0o644))
		s, err := scan(bytes.NewReader(whole[:n]))
		must(t, err)
		in, err := Segment{ID: list[0].ID, Path: path, Open: true}.Reader()
		must(t, err)
		got, err := io.ReadAll(in)
		must(t, err)
		must(t, in.Close())
		if int64(len(got)) != s.size || !bytes.Equal(got, whole[:s.size]) || (s.what == "") != (s.size == int64(n)) {
			t.Fatalf("%d bytes: read %d, scanned %d: %s", n, len(got), s.size, s.what)
		}
	}
}

// TestRecoveryAtEveryLength starts a recorder with a segment truncated at each length.
func TestRecoveryAtEveryLength(t *testing.T) {
	dir, key, _ := sealedRing(t, 1)
	list, err := Segments(dir)
	must(t, err)
	whole, err := os.ReadFile(list[0].Path)
	must(t, err)
	for n := 0; n <= len(whole); n += 7 {
		dir := filepath.Join(t.TempDir(), "r")
		finish(t, create(t, Options{Dir: dir, Key: key}))
		must(t, os.WriteFile(filepath.Join(dir, list[0].ID.hidden()), whole[:n], 0o644))
		s, err := scan(bytes.NewReader(whole[:n]))
		must(t, err)
		w := create(t, Options{Dir: dir, Key: key})
		if got := len(w.Recovered()); got != int(min(s.tally.packets, 1)) {
			t.Fatalf("%d bytes: %d segments recovered", n, got)
		}
		if got := w.Recovered(); len(got) == 1 {
			r := got[0].Segment
			if !r.Recovered || r.Size != s.size || r.LostTail != int64(n)-s.size || r.Packets != s.tally.packets {
				t.Fatalf("%d bytes: %+v", n, r)
			}
		}
		finish(t, w)
		rep, err := Verify(dir, VerifyOptions{Keys: public(key)})
		must(t, err)
		if !rep.OK() || len(rep.Open) != 0 {
			t.Fatalf("%d bytes: %+v", n, rep)
		}
	}
}
