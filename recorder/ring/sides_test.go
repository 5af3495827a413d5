package ring

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var sideKindsOfTest = []string{"owners.jsonl", "events", KeysKind}

// writeSides appends a line to each side file of a segment.
func writeSides(t testing.TB, dir string, id ID, line string) {
	t.Helper()
	for _, kind := range sideKindsOfTest {
		f, err := os.OpenFile(filepath.Join(dir, id.Side(kind)), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		must(t, err)
		_, err = fmt.Fprintln(f, kind, id, line)
		must(t, err)
		must(t, f.Close())
	}
}

// withSides creates a writer with a series whose segments have side files.
func withSides(t testing.TB, opt Options) (*Writer, *Series, InterfaceID) {
	t.Helper()
	w := create(t, opt)
	s, err := w.Series(SeriesOptions{Name: "sockets", LinkType: 276, Sides: sideKindsOfTest})
	must(t, err)
	return w, s, declare(t, s, "a")
}

// ringWithSides creates a ring of three segments with three side files each.
func ringWithSides(t testing.TB) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "ring")
	w, s, a := withSides(t, Options{Dir: dir})
	for n := range 3 {
		must(t, s.Append(packet(a, n)))
		id := s.Current()
		must(t, w.Seal(context.Background()))
		writeSides(t, dir, id, "one")
		s.FinishSides(s.Ended())
	}
	finish(t, w)
	return dir
}

func verified(t testing.TB, dir string) *Report {
	t.Helper()
	rep, err := Verify(dir, VerifyOptions{})
	must(t, err)
	return rep
}

func TestVerifyNamesChangedSideFiles(t *testing.T) {
	id := func(n uint64) ID { return ID{"sockets", "worker-3", n} }
	swap := func(t *testing.T, dir, kind string) {
		a, b := filepath.Join(dir, id(1).Side(kind)), filepath.Join(dir, id(2).Side(kind))
		must(t, os.Rename(a, a+".x"))
		must(t, os.Rename(b, a))
		must(t, os.Rename(a+".x", b))
	}
	for _, c := range []struct {
		what   string
		change func(t *testing.T, dir, kind string)
		want   []string // including the end of the file's name
	}{
		{"a byte edited", func(t *testing.T, dir, kind string) {
			path := filepath.Join(dir, id(2).Side(kind))
			b, err := os.ReadFile(path)
			must(t, err)
			b[len(b)/2] ^= 1
			must(t, os.WriteFile(path, b, 0o600))
		}, []string{"000000002.%s: its SHA-256 differs from its seal"}},
		{"a line added", func(t *testing.T, dir, kind string) {
			f, err := os.OpenFile(filepath.Join(dir, id(2).Side(kind)), os.O_WRONLY|os.O_APPEND, 0)
			must(t, err)
			_, err = f.WriteString("{}\n")
			must(t, err)
			must(t, f.Close())
		}, []string{"000000002.%s: "}},
		{"the file removed", func(t *testing.T, dir, kind string) { must(t, os.Remove(filepath.Join(dir, id(2).Side(kind)))) },
			[]string{"000000002.%s: the side file is missing"}},
		{"a link instead of the file", func(t *testing.T, dir, kind string) {
			path := filepath.Join(dir, id(2).Side(kind))
			must(t, os.Rename(path, filepath.Join(dir, "elsewhere")))
			must(t, os.Symlink("elsewhere", path))
		}, []string{"000000002.%s: not a regular file"}},
		{"an unlisted file", func(t *testing.T, dir, kind string) {
			must(t, os.WriteFile(filepath.Join(dir, id(3).Side(kind+".age")), nil, 0o600))
		}, []string{"000000003.%s.age: an unexpected side file"}},
		{"two segments' files swapped", swap, []string{"000000001.%s: the side file of another segment: it is sealed with sockets-worker-3-000000002", "000000002.%s: the side file of another segment: it is sealed with sockets-worker-3-000000001"}},
	} {
		for _, kind := range sideKindsOfTest {
			t.Run(c.what+"/"+kind, func(t *testing.T) {
				dir := ringWithSides(t)
				if rep := verified(t, dir); !rep.OK() || rep.SideFiles != 9 || len(rep.SidesOpen)+len(rep.SidesUncovered)+len(rep.SidesRecovered) != 0 {
					t.Fatalf("before: %+v", rep)
				}
				c.change(t, dir, kind)
				rep := verified(t, dir)
				if len(rep.Problems) != len(c.want) {
					t.Fatalf("%d problems, want %d: %v", len(rep.Problems), len(c.want), rep.Problems)
				}
				for i, want := range c.want {
					if got := rep.Problems[i].String(); !strings.Contains(got, fmt.Sprintf(want, kind)) {
						t.Errorf("problem %q, want %q", got, fmt.Sprintf(want, kind))
					}
				}
			})
		}
	}
}

func TestSideFilesOfNoSegmentAreNamed(t *testing.T) {
	dir := ringWithSides(t)
	for _, name := range []string{"sockets-worker-3-000000004.events", "sockets-worker-3-000000009.owners.jsonl", "other-worker-3-000000001.events"} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte("{}\n"), 0o600))
	}
	const want = "side files that belong to no segment are not read: other-worker-3-000000001.events, sockets-worker-3-000000004.events, sockets-worker-3-000000009.owners.jsonl (3 in all)"
	if rep := verified(t, dir); !rep.OK() || len(rep.Notes) != 1 || rep.Notes[0] != want {
		t.Errorf("%+v", rep)
	}
}

func TestASeriesWithoutSideFilesHasNone(t *testing.T) {
	dir, _, _ := sealedRing(t, 1)
	must(t, os.WriteFile(filepath.Join(dir, "sockets-worker-3-000000001.owners.jsonl"), nil, 0o600))
	if rep := verified(t, dir); len(rep.Problems) != 1 || !strings.Contains(rep.Problems[0].String(), "owners.jsonl: an unexpected side file") {
		t.Fatalf("%+v", rep.Problems)
	}
}

// TestRingsOfEarlierReleases verifies a ring whose seals do not mention side files.
func TestRingsOfEarlierReleases(t *testing.T) {
	dir := ringWithSides(t)
	path := filepath.Join(dir, sealsName)
	text, err := os.ReadFile(path)
	must(t, err)
	var out []byte
	prev, n := "", uint64(0)
	for line := range bytes.Lines(text) {
		r, err := parseRecord(bytes.TrimSpace(line))
		must(t, err)
		if r.Sides != nil {
			continue
		}
		if r.Segment != nil {
			r.Segment.SideFiles = ""
		}
		r.N, r.Prev = n, prev
		line, err := r.encode(nil)
		must(t, err)
		out, prev, n = append(out, line...), r.Hash, n+1
	}
	must(t, os.WriteFile(path, out, 0o644))
	rep := verified(t, dir)
	if !rep.OK() || len(rep.SidesUncovered) != 3 || rep.SideFiles != 0 || len(rep.SidesOpen) != 0 {
		t.Fatalf("%+v", rep)
	}
	// A current recorder continues the ring, but does not seal side files of earlier segments.
	w, s, a := withSides(t, Options{Dir: dir})
	must(t, s.Append(packet(a, 9)))
	writeSides(t, dir, s.Current(), "one")
	finish(t, w)
	if rep = verified(t, dir); !rep.OK() || len(rep.SidesUncovered) != 3 || rep.SideFiles != 3 {
		t.Fatalf("%+v", rep)
	}
}

// TestACrashBeforeSideFilesAreSealed checks that it is reported, but not as tampering.
func TestACrashBeforeSideFilesAreSealed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ring")
	w, s, a := withSides(t, Options{Dir: dir})
	must(t, s.Append(packet(a, 1)))
	id := s.Current()
	must(t, w.Seal(context.Background()))
	writeSides(t, dir, id, "one")
	copied := filepath.Join(t.TempDir(), "ring") // as after a crash
	must(t, os.CopyFS(copied, os.DirFS(dir)))
	finish(t, w)
	rep := verified(t, copied)
	if !rep.OK() || !slices.Equal(rep.SidesOpen, []string{id.Segment()}) || rep.SideFiles != 0 {
		t.Fatalf("%+v", rep)
	}
	finish(t, create(t, Options{Dir: copied}))
	rep = verified(t, copied)
	if !rep.OK() || len(rep.SidesOpen) != 0 || !slices.Equal(rep.SidesRecovered, []string{id.Segment()}) || rep.SideFiles != 3 {
		t.Fatalf("%+v", rep)
	}
	must(t, os.Remove(filepath.Join(copied, id.Side("events"))))
	if verified(t, copied).OK() {
		t.Fatal("a removed side file was not noticed after the recovery")
	}
}

// TestLinesAfterTheSeal covers a recorder that stops while no segment is open.
func TestLinesAfterTheSeal(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ring")
	w, s, a := withSides(t, Options{Dir: dir})
	must(t, s.Append(packet(a, 1)))
	id := s.Current()
	must(t, w.Seal(context.Background()))
	writeSides(t, dir, id, "one")
	s.FinishSides(s.Ended())
	w.awaitSides()
	must(t, w.ReopenSides(id))
	must(t, w.ReopenSides(id)) // owners and keys may both do it
	writeSides(t, dir, id, "two")
	rep := verified(t, dir)
	if !rep.OK() || !slices.Equal(rep.SidesOpen, []string{id.Segment()}) {
		t.Fatalf("%+v", rep)
	}
	path := filepath.Join(dir, id.Side("events"))
	text, err := os.ReadFile(path)
	must(t, err)
	must(t, os.WriteFile(path, bytes.ToUpper(text), 0o600))
	if rep = verified(t, dir); rep.OK() {
		t.Fatal("a change of sealed lines was not noticed")
	}
	must(t, os.WriteFile(path, text, 0o600))
	finish(t, w)
	if rep = verified(t, dir); !rep.OK() || len(rep.SidesOpen) != 0 || rep.SideFiles != 3 {
		t.Fatalf("%+v", rep)
	}
}

// TestSideFilesOfANumberUsedAgain covers a segment without packets, whose number is reused.
func TestSideFilesOfANumberUsedAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ring")
	w, s, a := withSides(t, Options{Dir: dir})
	must(t, s.Append(packet(a, 1)))
	must(t, w.Seal(context.Background()))
	s.mu.Lock()
	s.next++
	s.mu.Unlock()
	s.FinishSides(2)
	s.mu.Lock()
	s.freeNumber()
	s.mu.Unlock()
	must(t, s.Append(packet(a, 2)))
	id := s.Current()
	must(t, w.Seal(context.Background()))
	writeSides(t, dir, id, "late")
	if got := w.finalSides(); slices.Contains(got, id) || id.Sequence != 2 {
		t.Fatalf("%v is final, but its lines are still being written", got)
	}
	finish(t, w)
	if rep := verified(t, dir); !rep.OK() || rep.SideFiles != 3 {
		t.Fatalf("%+v", rep)
	}
}

// slowRecorder writes side files after its segment is sealed, when asked is closed or after a
// while.
func slowRecorder(t *testing.T, dir string, wait time.Duration) (w *Writer, s *Series, asked chan struct{}) {
	sealed, asked := make(chan ID, 1), make(chan struct{})
	w, s, a := withSides(t, Options{Dir: dir, OnSeal: func(r Record) { sealed <- r.Segment.ID() }})
	must(t, s.Append(packet(a, 1)))
	done := make(chan struct{})
	go func() {
		defer close(done)
		id := <-sealed
		select {
		case <-asked:
		case <-time.After(wait):
		}
		writeSides(t, dir, id, "late")
		s.FinishSides(s.Ended())
	}()
	t.Cleanup(func() { <-done; finish(t, w) })
	return w, s, asked
}

// TestAPinHasTheOwnersOfItsSegments pins segments while the recorder is about to write side
// files: AskSeal must wait for them.
func TestAPinHasTheOwnersOfItsSegments(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ring")
	_, _, asked := slowRecorder(t, dir, 400*time.Millisecond)
	must(t, AskSeal(context.Background(), dir))
	dest := filepath.Join(t.TempDir(), "pin")
	p, err := Pin(context.Background(), dir, 0, 1<<62, dest, PinOptions{Keys: true})
	close(asked)
	must(t, err)
	for _, kind := range sideKindsOfTest {
		if _, err := os.Stat(filepath.Join(dest, strings.TrimSuffix(p.Segments[0], "pcapng")+kind)); err != nil {
			t.Error(err)
		}
	}
	if rep := verified(t, dest); !rep.OK() || rep.SideFiles != 3 || len(p.Unsealed) != 0 {
		t.Fatalf("%v, %+v", p.Unsealed, rep)
	}
}

// TestAPinStatesMissingOwners pins segments of a recorder that does not finish its side files.
func TestAPinStatesMissingOwners(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ring")
	w, err := newWriter(Options{Dir: dir, Node: "worker-3"})
	must(t, err)
	w.sideWait = 50 * time.Millisecond
	w.run()
	s, err := w.Series(SeriesOptions{Name: "sockets", LinkType: 276, Sides: sideKindsOfTest})
	must(t, err)
	must(t, s.Append(packet(declare(t, s, "a"), 1)))
	id := s.Current()
	must(t, AskSeal(context.Background(), dir))
	dest := filepath.Join(t.TempDir(), "pin")
	p, err := Pin(context.Background(), dir, 0, 1<<62, dest, PinOptions{})
	must(t, err)
	writeSides(t, dir, id, "too late")
	finish(t, w)
	if want := []string{id.Segment()}; !slices.Equal(p.Unsealed, want) || !slices.Equal(verified(t, dest).SidesOpen, want) {
		t.Fatalf("%+v", p)
	}
	text, err := os.ReadFile(filepath.Join(dest, pinName))
	must(t, err)
	var on struct {
		Unsealed []string `json:"side_files_not_sealed"`
	}
	must(t, json.Unmarshal(text, &on))
	if len(on.Unsealed) != 1 {
		t.Fatalf("%s", text)
	}
}

// TestAPinWithoutKeysIsWhole checks that a key log that was not pinned is not missing.
func TestAPinWithoutKeysIsWhole(t *testing.T) {
	dir, dest := ringWithSides(t), filepath.Join(t.TempDir(), "pin")
	_, err := Pin(context.Background(), dir, 0, 1<<62, dest, PinOptions{})
	must(t, err)
	if rep := verified(t, dest); !rep.OK() {
		t.Fatalf("%+v", rep.Problems)
	}
	must(t, os.Remove(filepath.Join(dest, "sockets-worker-3-000000001.owners.jsonl")))
	if verified(t, dest).OK() {
		t.Fatal("missing owners were not noticed")
	}
}

// TestSideFilesAreSealedAfterTrouble checks that a file that cannot be read is tried again.
func TestSideFilesAreSealedAfterTrouble(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ring")
	w, s, a := withSides(t, Options{Dir: dir, SyncEvery: 20 * time.Millisecond})
	must(t, s.Append(packet(a, 1)))
	id := s.Current()
	must(t, w.Seal(context.Background()))
	path := filepath.Join(dir, id.Side("events"))
	must(t, os.Mkdir(path, 0o755)) // reading a folder fails
	s.FinishSides(s.Ended())
	for end := time.Now().Add(200 * time.Millisecond); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if !slices.Contains(w.finalSides(), id) {
			t.Fatal("sealed without the file")
		}
	}
	must(t, os.Remove(path))
	w.awaitSides()
	if rep := verified(t, dir); !rep.OK() || len(rep.SidesOpen) != 0 {
		t.Fatalf("%+v", rep)
	}
	finish(t, w)
}
