package ring

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// eventually waits until a condition is true.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 30 s", what)
		}
	}
}

// fill seals n segments of ten packets each, one second apart, numbered from first.
func fill(t testing.TB, w *Writer, s *Series, iface InterfaceID, first, n int) {
	t.Helper()
	for i := first; i < first+n; i++ {
		for k := range 10 {
			p := packet(iface, i*10+k)
			p.Time = epoch + int64(i)*1e9 + int64(k)
			must(t, s.Append(p))
		}
		must(t, w.Seal(context.Background()))
	}
}

func sequences(t testing.TB, dir string) (list []uint64) {
	t.Helper()
	all, err := Segments(dir)
	must(t, err)
	for _, s := range all {
		if !s.Missing {
			list = append(list, s.ID.Sequence)
		}
	}
	return list
}

func TestRetentionKeepsWhatASnapshotHolds(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ring")
	w := create(t, Options{Dir: dir, MaxBytes: 12_000})
	s := sockets(t, w)
	a := declare(t, s, "a")
	fill(t, w, s, a, 0, 2)
	must(t, os.WriteFile(filepath.Join(dir, ID{"sockets", "worker-3", 2}.Side(KeysKind)), []byte("CLIENT_RANDOM\n"), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, ID{"sockets", "worker-3", 1}.Side("owners.jsonl")), []byte("{}\n"), 0o644))
	dest := filepath.Join(filepath.Dir(dir), "snapshot")
	p, err := Pin(context.Background(), dir, epoch+1e9, epoch+1e9+3, dest, PinOptions{})
	must(t, err)
	if p.Linked != 1 || len(p.Segments) != 1 || p.Segments[0] != "sockets-worker-3-000000002.pcapng" {
		t.Fatalf("%+v", p)
	}
	fill(t, w, s, a, 2, 10)
	eventually(t, "retention", func() bool { return len(sequences(t, dir)) < 7 })
	list := sequences(t, dir)
	if list[0] != 2 || slices.Contains(list, 1) || list[len(list)-1] != 12 {
		t.Fatalf("segments %v are left", list)
	}
	if _, err := os.Stat(filepath.Join(dir, ID{"sockets", "worker-3", 1}.Side("owners.jsonl"))); !errors.Is(err, os.ErrNotExist) {
		t.Fatal("the side file of a removed segment still exists")
	}
	if left, err := filepath.Glob(filepath.Join(dest, "*."+KeysKind)); err != nil || len(left) > 0 {
		t.Fatalf("keys were copied without PinOptions.Keys: %v %v", left, err)
	}
	// A side file that is written too late is removed too.
	late := filepath.Join(dir, ID{"sockets", "worker-3", 1}.Side("keys"))
	must(t, os.WriteFile(late, nil, 0o600))
	eventually(t, "the end of a side file without its segment", func() bool { _, err := os.Stat(late); return errors.Is(err, os.ErrNotExist) })
	// The snapshot can be verified by itself, and removing it releases its segments.
	rep, err := Verify(dest, VerifyOptions{})
	must(t, err)
	if !rep.OK() || rep.Segments != 1 || rep.Pin == nil {
		t.Fatalf("%+v", rep)
	}
	must(t, os.RemoveAll(dest))
	fill(t, w, s, a, 12, 1)
	eventually(t, "retention", func() bool { return !slices.Contains(sequences(t, dir), 2) })
	finish(t, w)
	rep, err = Verify(dir, VerifyOptions{})
	must(t, err)
	if !rep.OK() || rep.Deleted == 0 {
		t.Fatalf("%+v", rep)
	}
	// Numbering continues.
	w = create(t, Options{Dir: dir})
	s = sockets(t, w)
	fill(t, w, s, declare(t, s, "a"), 20, 1)
	finish(t, w)
	if list := sequences(t, dir); list[len(list)-1] != 14 {
		t.Fatalf("%v", list)
	}
}

func TestRetentionByAgeAndReserve(t *testing.T) {
	for _, c := range []struct {
		why string
		opt Options
	}{
		{"age", Options{MaxAge: time.Hour}},
		{"reserve", Options{Reserve: Reserve{Bytes: 1 << 60}}},
		{"reserve", Options{Reserve: Reserve{Percent: 100}}},
	} {
		dir := t.TempDir()
		w := create(t, Options{Dir: dir})
		s := sockets(t, w)
		fill(t, w, s, declare(t, s, "a"), 0, 3)
		finish(t, w)
		c.opt.Dir = dir
		w = create(t, c.opt)
		eventually(t, c.why, func() bool { return len(sequences(t, dir)) == 0 })
		finish(t, w)
		rep, err := Verify(dir, VerifyOptions{})
		must(t, err)
		text, err := os.ReadFile(filepath.Join(dir, sealsName))
		must(t, err)
		if !rep.OK() || rep.Deleted != 3 || !strings.Contains(string(text), `"reason":"`+c.why+`"`) {
			t.Fatalf("%s: %+v", c.why, rep)
		}
	}
}

func TestALeaseKeepsRetentionAway(t *testing.T) {
	dir := t.TempDir()
	w := create(t, Options{Dir: dir})
	s := sockets(t, w)
	fill(t, w, s, declare(t, s, "a"), 0, 3)
	finish(t, w)
	release, err := acquireLease(dir, epoch+1e9, epoch+1e9)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, leasesName, "stale"), []byte(`{"from":null,"to":"2200-01-01T00:00:00Z"}`), 0o644))
	w = create(t, Options{Dir: dir, MaxAge: time.Hour})
	eventually(t, "retention", func() bool { return len(sequences(t, dir)) < 3 })
	if list := sequences(t, dir); !slices.Equal(list, []uint64{2}) {
		t.Fatalf("%v", list)
	}
	release()
	eventually(t, "the end of the lease", func() bool { return len(sequences(t, dir)) == 0 })
	if list, err := os.ReadDir(filepath.Join(dir, leasesName)); err != nil || len(list) != 0 {
		t.Fatalf("%v %v", list, err)
	}
	finish(t, w)
}

func TestPinCopiesToAnotherDisk(t *testing.T) {
	dir, _, _ := sealedRing(t, 3)
	dest := filepath.Join(memory(t), "pin")
	p, err := Pin(context.Background(), dir, 0, 1<<62, dest, PinOptions{})
	must(t, err)
	rep, err := Verify(dest, VerifyOptions{})
	must(t, err)
	if len(p.Segments) != 3 || !rep.OK() || rep.Segments != 3 {
		t.Fatalf("%+v %+v", p, rep)
	}
	if _, err := Pin(context.Background(), dir, 0, 1<<62, dest, PinOptions{}); !errors.Is(err, os.ErrExist) {
		t.Fatalf("pinned a second time: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Pin(ctx, dir, 0, 1<<62, dest+"2", PinOptions{}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if _, err := os.Stat(dest + "2"); err == nil {
		t.Fatal("a pin that failed left its folder")
	}
}

func TestAskSealEndsTheSegmentOfAnotherProcess(t *testing.T) {
	dir := t.TempDir()
	w := create(t, Options{Dir: dir})
	s := sockets(t, w)
	must(t, s.Append(packet(declare(t, s, "a"), 1)))
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	must(t, AskSeal(ctx, dir))
	list, err := Segments(dir)
	must(t, err)
	if len(list) != 1 || list[0].Open || list[0].Seal == nil {
		t.Fatalf("%+v", list)
	}
	finish(t, w)
	must(t, AskSeal(ctx, dir)) // no recorder: it does not wait
}

func TestOneWriterAtATime(t *testing.T) {
	dir := t.TempDir()
	w := create(t, Options{Dir: dir})
	if _, err := Create(Options{Dir: dir}); !errors.Is(err, ErrLocked) {
		t.Fatalf("a second writer: %v", err)
	}
	finish(t, w)
	finish(t, create(t, Options{Dir: dir}))
}
